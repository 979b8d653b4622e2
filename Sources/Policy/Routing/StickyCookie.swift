import Base

/// The issued cookie's value: a position, the time of issue and a keyed MAC, in base64url.
///
/// 13 bytes, big-endian: format 1, position, seconds since 1970 in 32 bits; then 8 bytes of
/// SipHash-2-4 over them when there is a key. 18 or 28 characters.
public enum StickyCookie {
    public struct Ticket: Equatable, Sendable, BitwiseCopyable {
        public var position: UInt64
        public var issuedSeconds: Int64
        /// The place of the key that has verified the ticket in the list of keys; 0 for a ticket
        /// without a signature, and for one that is to be encoded.
        public var key = 0
        public init(position: UInt64, issuedSeconds: Int64) {
            self.position = position
            self.issuedSeconds = issuedSeconds
        }
    }

    private static let format: UInt8 = 1
    private static let bodyBytes = 13

    public static func encode(_ ticket: Ticket, key: SipHash?, to out: inout ByteBuffer) {
        var bytes = InlineArray<21, UInt8>(repeating: 0)
        bytes[0] = format
        for i in 0..<8 {
            bytes[1 + i] = UInt8(truncatingIfNeeded: ticket.position >> UInt64(56 - 8 * i))
        }
        for i in 0..<4 {
            bytes[9 + i] = UInt8(truncatingIfNeeded: ticket.issuedSeconds >> Int64(24 - 8 * i))
        }
        var count = bodyBytes
        if let key {
            let mac = key.mac(bytes.span.extracting(0..<bodyBytes))
            for i in 0..<8 {
                bytes[13 + i] = UInt8(truncatingIfNeeded: mac >> UInt64(56 - 8 * i))
            }
            count = 21
        }
        var at = 0
        while at < count {
            let left = min(3, count - at)
            var word = UInt32(bytes[at]) << 16
            if left > 1 { word |= UInt32(bytes[at + 1]) << 8 }
            if left > 2 { word |= UInt32(bytes[at + 2]) }
            for i in 0...left { out.append(letter(UInt8((word >> UInt32(18 - 6 * i)) & 63))) }
            at += 3
        }
    }

    /// - Parameter acceptsUnsigned: whether a cookie without a signature is taken.
    /// - Returns: `nil` for everything that `encode` with one of the keys would not have written.
    public static func decode(
        _ text: Span<UInt8>, keys: borrowing [SipHash], acceptsUnsigned: Bool
    ) -> Ticket? {
        let isSigned = text.count == 28
        var key = 0
        guard isSigned ? !keys.isEmpty : text.count == 18 && acceptsUnsigned else { return nil }
        var bytes = InlineArray<21, UInt8>(repeating: 0)
        var word: UInt32 = 0
        var bits = 0
        var count = 0
        for i in 0..<text.count {
            guard let value = value(text[i]) else { return nil }
            word = word << 6 | UInt32(value)
            bits += 6
            if bits >= 8, count < 21 {
                bits -= 8
                bytes[count] = UInt8(truncatingIfNeeded: word >> UInt32(bits))
                count += 1
            }
        }
        // One value has one spelling: bits left over are zero.
        guard word & ((1 << UInt32(bits)) - 1) == 0, bytes[0] == format else { return nil }
        if isSigned {
            var mac: UInt64 = 0
            for i in 0..<8 { mac = mac << 8 | UInt64(bytes[13 + i]) }
            key = -1
            // Backwards, and all of them: of a key that is listed twice the first place counts.
            for i in keys.indices.reversed() {
                // Compared as whole words: no byte of the MAC can be guessed on its own.
                if keys[i].mac(bytes.span.extracting(0..<bodyBytes)) == mac { key = i }
            }
            guard key >= 0 else { return nil }
        }
        var position: UInt64 = 0
        for i in 0..<8 { position = position << 8 | UInt64(bytes[1 + i]) }
        var issued: Int64 = 0
        for i in 0..<4 { issued = issued << 8 | Int64(bytes[9 + i]) }
        var ticket = Ticket(position: position, issuedSeconds: issued)
        ticket.key = key
        return ticket
    }

    private static func letter(_ value: UInt8) -> UInt8 {
        switch value {
        case 0..<26: return 0x41 + value
        case 26..<52: return 0x61 + value - 26
        case 52..<62: return 0x30 + value - 52
        case 62: return 0x2d
        default: return 0x5f
        }
    }

    private static func value(_ letter: UInt8) -> UInt8? {
        switch letter {
        case 0x41...0x5a: return letter - 0x41
        case 0x61...0x7a: return letter - 0x61 + 26
        case 0x30...0x39: return letter - 0x30 + 52
        case 0x2d: return 62
        case 0x5f: return 63
        default: return nil
        }
    }
}
