import Base

/// The proof that a WebSocket handshake was understood (RFC 6455 §4.2.2): base64 of SHA-1 of the
/// client's key and a fixed text. Needed where one side of the proxy has the HTTP/2 form of the
/// handshake (RFC 8441), which knows no key.
public struct WebSocketAccept: Sendable, BitwiseCopyable {
    private var characters = InlineArray<28, UInt8>(repeating: 0x3d)

    public init() {}

    /// - Parameter key: the value of `Sec-WebSocket-Key`.
    public init(key: Span<UInt8>) {
        var message = ByteBuffer(capacity: 128)
        message.append(key.extracting(0..<min(key.count, 64)))
        message.append("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        let digest = SHA1.digest(message.readable)
        Base64.encode(digest.span) { characters[$0] = $1 }
    }

    public func append(to out: inout ByteBuffer) { out.append(characters.span) }

    /// A key for a handshake of our own: 16 bytes in base64.
    public static func appendKey(_ random: (UInt64, UInt64), to out: inout ByteBuffer) {
        var bytes = InlineArray<16, UInt8>(repeating: 0)
        for i in 0..<8 {
            bytes[i] = UInt8(truncatingIfNeeded: random.0 >> UInt64(i * 8))
            bytes[i + 8] = UInt8(truncatingIfNeeded: random.1 >> UInt64(i * 8))
        }
        Base64.encode(bytes.span) { out.append($1) }
    }
}

/// SHA-1 (FIPS 180-4), for the WebSocket handshake alone, which asks for no secrecy.
enum SHA1 {
    static func digest(_ message: Span<UInt8>) -> InlineArray<20, UInt8> {
        var state: InlineArray<5, UInt32> = [
            0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0,
        ]
        let bits = UInt64(message.count) * 8
        let blocks = (message.count + 9 + 63) / 64
        for block in 0..<blocks {
            var words = InlineArray<80, UInt32>(repeating: 0)
            for i in 0..<64 {
                let at = block * 64 + i
                var byte: UInt8 = 0
                if at < message.count {
                    byte = message[at]
                } else if at == message.count {
                    byte = 0x80
                } else if block == blocks - 1, i >= 56 {
                    byte = UInt8(truncatingIfNeeded: bits >> UInt64(8 * (63 - i)))
                }
                words[i / 4] = words[i / 4] << 8 | UInt32(byte)
            }
            mix(&state, &words)
        }
        var digest = InlineArray<20, UInt8>(repeating: 0)
        for i in 0..<20 {
            digest[i] = UInt8(truncatingIfNeeded: state[i / 4] >> UInt32(24 - 8 * (i % 4)))
        }
        return digest
    }

    private static func mix(
        _ state: inout InlineArray<5, UInt32>, _ words: inout InlineArray<80, UInt32>
    ) {
        func rotate(_ x: UInt32, _ n: UInt32) -> UInt32 { x << n | x >> (32 - n) }
        for i in 16..<80 {
            words[i] = rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1)
        }
        var a = state[0], b = state[1], c = state[2], d = state[3], e = state[4]
        for i in 0..<80 {
            let f: UInt32, k: UInt32
            switch i {
            case 0..<20: (f, k) = (b & c | ~b & d, 0x5a82_7999)
            case 20..<40: (f, k) = (b ^ c ^ d, 0x6ed9_eba1)
            case 40..<60: (f, k) = (b & c | b & d | c & d, 0x8f1b_bcdc)
            default: (f, k) = (b ^ c ^ d, 0xca62_c1d6)
            }
            let next = rotate(a, 5) &+ f &+ e &+ k &+ words[i]
            e = d
            d = c
            c = rotate(b, 30)
            b = a
            a = next
        }
        state[0] &+= a
        state[1] &+= b
        state[2] &+= c
        state[3] &+= d
        state[4] &+= e
    }
}
