import Base

/// Base64 with padding (RFC 4648 §4).
public enum Base64 {
    private static func character(_ value: UInt32) -> UInt8 {
        let v = UInt8(truncatingIfNeeded: value & 63)
        switch v {
        case 0..<26: return 0x41 + v
        case 26..<52: return 0x61 + v - 26
        case 52..<62: return 0x30 + v - 52
        case 62: return UInt8(ascii: "+")
        default: return UInt8(ascii: "/")
        }
    }

    /// Calls `put` with each character and its position.
    static func encode(_ bytes: Span<UInt8>, _ put: (Int, UInt8) -> Void) {
        var position = 0
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let count = min(3, bytes.count - start)
            var group: UInt32 = 0
            for i in 0..<3 {
                group = group << 8 | (i < count ? UInt32(bytes[start + i]) : 0)
            }
            for i in 0..<4 {
                let sextet = group >> UInt32(18 - 6 * i)
                put(position, i <= count ? character(sextet) : UInt8(ascii: "="))
                position += 1
            }
        }
    }

    /// Bytes as text.
    public static func text(_ bytes: Span<UInt8>) -> String {
        var out = ByteBuffer(capacity: (bytes.count + 2) / 3 * 4)
        encode(bytes) { out.append($1) }
        return ASCII.string(out.readable)
    }
}
