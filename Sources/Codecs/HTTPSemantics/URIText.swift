import Base

/// Text of a request target as RFC 3986 has it, made of what clients send: they leave bytes as they
/// are that the grammar wants escaped.
public enum URIText {
    /// Whether RFC 3986 allows the byte in a path (§3.3) or a query (§3.4) as it is; "%" is not
    /// among them, since it begins an escape.
    public static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x40...0x5a, 0x61...0x7a: return true
        // "!", "$", "&" to "/", ":", ";", "=", "?", "_", "~".
        case 0x21, 0x24, 0x26...0x2f, 0x3a, 0x3b, 0x3d, 0x3f, 0x5f, 0x7e: return true
        default: return false
        }
    }

    /// The byte that an escape at `at` stands for; `nil` when it is none (RFC 3986 §2.1).
    public static func escape(_ text: Span<UInt8>, _ at: Int) -> UInt8? {
        guard at + 2 < text.count, text[at] == 0x25, let high = ASCII.hex(text[at + 1]),
            let low = ASCII.hex(text[at + 2])
        else { return nil }
        return high << 4 | low
    }

    /// Appends "%" and two hex digits in upper case.
    public static func appendEscape(_ byte: UInt8, to output: inout ByteBuffer) {
        output.append(UInt8(0x25))
        output.append(upperHex(byte >> 4))
        output.append(upperHex(byte & 15))
    }

    /// Appends a path or a query that may stand in a URI: escapes stay as they came, and bytes that
    /// need one get it.
    public static func append(_ text: Span<UInt8>, to output: inout ByteBuffer) {
        for at in 0..<text.count {
            let byte = text[at]
            if isAllowed(byte) || escape(text, at) != nil {
                output.append(byte)
            } else {
                appendEscape(byte, to: &output)
            }
        }
    }

    private static func upperHex(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? 0x30 + nibble : 0x37 + nibble
    }
}
