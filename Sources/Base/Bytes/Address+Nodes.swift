// Addresses as proxies write them into fields, read without allocating: every request behind a
// trusted hop has one.

extension Address {
    /// The address of a node of a forwarding chain: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`,
    /// `[2001:db8::1]` or `[2001:db8::1]:80` (RFC 7239 §6, and what proxies write into
    /// `X-Forwarded-For`); `nil` for anything else, `unknown` and hidden names included.
    ///
    /// The port is left out, since proxies differ in whether they write one. An IPv4 address in the
    /// form of IPv6 becomes IPv4, so that one client has one address.
    public init?(node bytes: Span<UInt8>) {
        guard !bytes.isEmpty else { return nil }
        if bytes[0] == UInt8(ascii: "[") {
            guard let close = ASCII.index(of: UInt8(ascii: "]"), in: bytes),
                Address.isPort(bytes.extracting((close + 1)..<bytes.count)),
                let found = Address(ipv6Text: bytes.extracting(1..<close))
            else { return nil }
            self = found
            return
        }
        let colon = ASCII.index(of: 0x3a, in: bytes)
        let host = bytes.extracting(0..<(colon ?? bytes.count))
        if let word = Address.ipv4(text: host),
            Address.isPort(bytes.extracting(host.count..<bytes.count))
        {
            self.init(family: .ipv4, port: 0, high: 0, low: word)
        } else if let found = Address(ipv6Text: bytes) {
            self = found
        } else {
            return nil
        }
    }

    /// Appends the address as a node of a forwarding chain, without its port. A client of a unix
    /// socket has no address, and is `unknown` (RFC 7239 §6.2).
    @inlinable @inline(__always) public func appendNode(to buffer: inout ByteBuffer) {
        if family == .unix { return buffer.append("unknown") }
        appendHost(to: &buffer)
    }

    /// Nothing, or a colon and a port; RFC 7239 §6.3 allows a hidden one behind "_".
    private static func isPort(_ bytes: Span<UInt8>) -> Bool {
        if bytes.isEmpty { return true }
        guard bytes[0] == 0x3a, bytes.count > 1 else { return false }
        if bytes[1] == UInt8(ascii: "_") { return true }
        guard bytes.count <= 6 else { return false }
        for i in 1..<bytes.count where !ASCII.isDigit(bytes[i]) { return false }
        return true
    }

    private static func ipv4(text: Span<UInt8>) -> UInt64? {
        guard text.count <= 15 else { return nil }
        var word: UInt64 = 0
        var at = 0
        for part in 0..<4 {
            if part > 0 {
                guard at < text.count, text[at] == UInt8(ascii: ".") else { return nil }
                at += 1
            }
            let start = at
            var value: UInt64 = 0
            while at < text.count, at < start + 3, ASCII.isDigit(text[at]) {
                value = value * 10 + UInt64(text[at] &- 0x30)
                at += 1
            }
            guard at > start, value < 256 else { return nil }
            word = word << 8 | value
        }
        return at == text.count ? word : nil
    }

    /// RFC 4291 §2.2: eight groups of hex, one run of zeros as `::`, an IPv4 tail allowed.
    private init?(ipv6Text text: Span<UInt8>) {
        guard (2...45).contains(text.count) else { return nil }
        var groups = InlineArray<8, UInt64>(repeating: 0)
        var count = 0
        var gap = -1
        var at = 0
        if text[0] == 0x3a, text[1] == 0x3a {
            gap = 0
            at = 2
        }
        while at < text.count {
            guard count < 8 else { return nil }
            let start = at
            var value: UInt64 = 0
            while at < text.count, let digit = ASCII.hex(text[at]) {
                value = value << 4 | UInt64(digit)
                at += 1
                guard at - start <= 4 else { return nil }
            }
            if at < text.count, text[at] == UInt8(ascii: ".") {
                guard count <= 6,
                    let word = Address.ipv4(text: text.extracting(start..<text.count))
                else { return nil }
                groups[count] = word >> 16
                groups[count + 1] = word & 0xffff
                count += 2
                break
            }
            guard at > start else { return nil }
            groups[count] = value
            count += 1
            if at == text.count { break }
            guard text[at] == 0x3a, at + 1 < text.count else { return nil }
            at += 1
            if text[at] == 0x3a {
                guard gap < 0 else { return nil }
                gap = count
                at += 1
            }
        }
        guard gap < 0 ? count == 8 : count < 8 else { return nil }
        var high: UInt64 = 0
        var low: UInt64 = 0
        for i in 0..<8 {
            // The groups behind the run of zeros stand at the end.
            let from = gap < 0 || i < gap ? i : i - (8 - count)
            let group = gap >= 0 && i >= gap && from < gap ? 0 : groups[from]
            if i < 4 { high = high << 16 | group } else { low = low << 16 | group }
        }
        if high == 0, low >> 32 == 0xffff {
            self.init(family: .ipv4, port: 0, high: 0, low: low & 0xffff_ffff)
        } else {
            self.init(family: .ipv6, port: 0, high: high, low: low)
        }
    }
}
