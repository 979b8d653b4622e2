/// Where a peer listens or calls from: IPv4, IPv6 or a unix socket's path. A plain value.
public struct Address: Hashable, Sendable, BitwiseCopyable {
    public enum Family: UInt8, Sendable, BitwiseCopyable { case ipv4, ipv6, unix }

    public var family: Family
    public var port: UInt16
    /// The address in network order, IPv4 in the low 32 bits of `low`; for unix sockets the
    /// number of the path in `UnixPaths`.
    public var high: UInt64
    public var low: UInt64

    public init(family: Family, port: UInt16, high: UInt64, low: UInt64) {
        self.family = family
        self.port = port
        self.high = high
        self.low = low
    }

    public static func ipv4(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8, port: UInt16) -> Address
    {
        let word = UInt64(a) << 24 | UInt64(b) << 16 | UInt64(c) << 8 | UInt64(d)
        return Address(family: .ipv4, port: port, high: 0, low: word)
    }

    /// A hash that is the same in every process, for hash rings.
    public var stableHash: UInt64 {
        var z = low ^ (high &* 0x9e37_79b9_7f4a_7c15) ^ (UInt64(port) << 48)
        z ^= UInt64(family.rawValue) << 40
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

extension Address {
    /// Parses `1.2.3.4:80` or `[::1]:80`; `nil` for anything else, names included.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        if bytes.first == UInt8(ascii: "[") {
            guard let close = bytes.lastIndex(of: UInt8(ascii: "]")), close + 1 < bytes.count,
                bytes[close + 1] == UInt8(ascii: ":"),
                let port = Address.port(bytes[(close + 2)...]),
                let words = Address.ipv6(Array(bytes[1..<close]))
            else { return nil }
            self.init(family: .ipv6, port: port, high: words.high, low: words.low)
        } else {
            guard let colon = bytes.lastIndex(of: UInt8(ascii: ":")),
                let port = Address.port(bytes[(colon + 1)...]),
                let word = Address.ipv4(Array(bytes[..<colon]))
            else { return nil }
            self.init(family: .ipv4, port: port, high: 0, low: word)
        }
    }

    public static func port(_ digits: ArraySlice<UInt8>) -> UInt16? {
        guard !digits.isEmpty, digits.count <= 5, digits.allSatisfy(ASCII.isDigit) else {
            return nil
        }
        return UInt16(String(decoding: digits, as: UTF8.self))
    }

    static func ipv4(_ bytes: [UInt8]) -> UInt64? {
        let parts = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var word: UInt64 = 0
        for part in parts {
            guard (1...3).contains(part.count), part.allSatisfy(ASCII.isDigit),
                let value = UInt8(String(decoding: part, as: UTF8.self))
            else { return nil }
            word = word << 8 | UInt64(value)
        }
        return word
    }

    /// RFC 4291 §2.2: eight groups of hex, one run of zeros as `::`, an IPv4 tail allowed.
    static func ipv6(_ bytes: [UInt8]) -> (high: UInt64, low: UInt64)? {
        var groups: [UInt16] = []
        var gap: Int?
        var at = 0
        if bytes.starts(with: [0x3a, 0x3a]) {
            gap = 0
            at = 2
        }
        while at < bytes.count {
            let end = bytes[at...].firstIndex(of: 0x3a) ?? bytes.count
            let part = Array(bytes[at..<end])
            if end == bytes.count, part.contains(UInt8(ascii: ".")) {
                guard let word = ipv4(part) else { return nil }
                groups.append(UInt16(word >> 16))
                groups.append(UInt16(word & 0xffff))
            } else {
                guard (1...4).contains(part.count),
                    let value = UInt16(String(decoding: part, as: UTF8.self), radix: 16),
                    part.allSatisfy({ ASCII.hex($0) != nil })
                else { return nil }
                groups.append(value)
            }
            at = end + 1
            if end == bytes.count { break }
            if at == bytes.count { return nil }
            if bytes[at] == 0x3a {
                guard gap == nil else { return nil }
                gap = groups.count
                at += 1
            }
        }
        if let gap {
            guard groups.count < 8 else { return nil }
            groups.insert(contentsOf: [UInt16](repeating: 0, count: 8 - groups.count), at: gap)
        }
        guard groups.count == 8 else { return nil }
        func word(_ part: ArraySlice<UInt16>) -> UInt64 {
            part.reduce(0) { $0 << 16 | UInt64($1) }
        }
        return (word(groups[0..<4]), word(groups[4..<8]))
    }

    /// `1.2.3.4:80`, `[2001:db8::1]:80`, or `unix`.
    public var description: String {
        switch family {
        case .ipv4: return "\(host):\(port)"
        case .ipv6: return "[\(host)]:\(port)"
        case .unix: return "unix"
        }
    }

    /// The address without its port, IPv6 in RFC 5952's form.
    public var host: String {
        var buffer = ByteBuffer(capacity: 48)
        appendHost(to: &buffer)
        return ASCII.string(buffer.readable)
    }

    /// Appends the address without its port; allocates nothing when the buffer has 48 bytes free.
    public func appendHost(to buffer: inout ByteBuffer) {
        switch family {
        case .unix: buffer.append("unix")
        case .ipv4: buffer.appendIPv4(UInt32(truncatingIfNeeded: low))
        case .ipv6: appendIPv6(to: &buffer)
        }
    }

    private func group(_ i: Int) -> UInt64 {
        ((i < 4 ? high : low) >> UInt64(48 - 16 * (i & 3))) & 0xffff
    }

    private func appendIPv6(to buffer: inout ByteBuffer) {
        // RFC 5952 §4.2: the longest run of at least two zero groups, the first of equals.
        var best = 0, bestLength = 0, i = 0
        while i < 8 {
            var end = i
            while end < 8 && group(end) == 0 { end += 1 }
            if end - i > bestLength {
                best = i
                bestLength = end - i
            }
            i = max(end, i + 1)
        }
        if bestLength < 2 { best = 8 }
        i = 0
        while i < 8 {
            if i == best {
                buffer.append("::")
                i += bestLength
                continue
            }
            if i != 0 && i != best + bestLength { buffer.append(UInt8(ascii: ":")) }
            buffer.appendHex(group(i))
            i += 1
        }
    }

    /// Whether the address stands for every address of its family.
    public var isUnspecified: Bool { family != .unix && high == 0 && low == 0 }

    /// Whether the address is of the loopback range, or a unix socket.
    public var isLoopback: Bool {
        switch family {
        case .unix: return true
        case .ipv4: return low >> 24 == 127
        case .ipv6: return high == 0 && low == 1
        }
    }
}
