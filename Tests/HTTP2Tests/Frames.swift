import Base
import HTTP2

/// Frames and header blocks by hand, for what no honest connection writes.
enum Frames {
    static let data: UInt8 = 0, headers: UInt8 = 1, reset: UInt8 = 3, settings: UInt8 = 4
    static let goAway: UInt8 = 7, windowUpdate: UInt8 = 8, continuation: UInt8 = 9

    struct Seen: Equatable {
        var type: UInt8
        var flags: UInt8
        var stream: Int
        var payload: [UInt8]
        var endsStream: Bool { flags & 1 != 0 && type <= 1 }
    }

    static func frame(_ type: UInt8, _ flags: UInt8, _ stream: Int, _ payload: [UInt8]) -> [UInt8] {
        [
            UInt8(payload.count >> 16), UInt8(payload.count >> 8 & 255), UInt8(payload.count & 255),
            type, flags, 0, 0, UInt8(stream >> 8), UInt8(stream & 255),
        ] + payload
    }

    static var preface: [UInt8] { Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) }

    static func setting(_ id: UInt8, _ value: UInt32) -> [UInt8] {
        [0, id] + (0..<4).map { UInt8(value >> (24 - 8 * $0) & 255) }
    }

    static func string(_ bytes: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        if bytes.count < 127 {
            out.append(UInt8(bytes.count))
        } else {
            out.append(127)
            var rest = bytes.count - 127
            while rest >= 128 {
                out.append(UInt8(rest & 127 | 128))
                rest >>= 7
            }
            out.append(UInt8(rest))
        }
        return out + bytes
    }

    /// A literal with a name of its own. `first`: 0 without indexing, 0x40 with, 0x10 never.
    static func literal(_ name: String, _ value: [UInt8], first: UInt8 = 0) -> [UInt8] {
        [first] + string(Array(name.utf8)) + string(value)
    }

    static func literal(_ name: String, _ value: String, first: UInt8 = 0) -> [UInt8] {
        literal(name, Array(value.utf8), first: first)
    }

    /// A header block in frames of a size. `ends`: the stream's end.
    static func block(
        _ stream: Int, _ bytes: [UInt8], ends: Bool, size: Int = 16_384
    ) -> [UInt8] {
        var out: [UInt8] = []
        var at = 0
        repeat {
            let next = min(bytes.count, at + size)
            let isFirst = at == 0
            out += frame(
                isFirst ? headers : continuation,
                (isFirst && ends ? 1 : 0) | (next == bytes.count ? 4 : 0), stream,
                Array(bytes[at..<next]))
            at = next
        } while at < bytes.count
        return out
    }

    static func read(_ bytes: [UInt8]) -> [Seen] {
        var out: [Seen] = []
        var at = 0
        while at + 9 <= bytes.count {
            let length = Int(bytes[at]) << 16 | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2])
            let stream = Int(bytes[at + 7]) << 8 | Int(bytes[at + 8])
            out.append(
                Seen(
                    type: bytes[at + 3], flags: bytes[at + 4], stream: stream,
                    payload: Array(bytes[at + 9..<at + 9 + length])))
            at += 9 + length
        }
        return out
    }
}
