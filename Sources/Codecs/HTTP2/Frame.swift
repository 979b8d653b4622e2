import Base

/// Frame types (RFC 9113 §6). Types that are not known are ignored (§4.1).
enum FrameType {
    static let data: UInt8 = 0, headers: UInt8 = 1, priority: UInt8 = 2, reset: UInt8 = 3
    static let settings: UInt8 = 4, pushPromise: UInt8 = 5, ping: UInt8 = 6, goAway: UInt8 = 7
    static let windowUpdate: UInt8 = 8, continuation: UInt8 = 9
    /// The type of PRIORITY_UPDATE frames (RFC 9218 §7.1).
    static let priorityUpdate: UInt8 = 16
}

enum FrameFlag {
    static let endStream: UInt8 = 1, ack: UInt8 = 1, endHeaders: UInt8 = 4, padded: UInt8 = 8
    static let priority: UInt8 = 0x20
}

enum SettingID {
    static let headerTableSize: UInt16 = 1, enablePush: UInt16 = 2
    static let maxConcurrentStreams: UInt16 = 3, initialWindowSize: UInt16 = 4
    static let maxFrameSize: UInt16 = 5, maxHeaderListSize: UInt16 = 6
    static let enableConnectProtocol: UInt16 = 8
}

/// Error codes (RFC 9113 §7).
public enum HTTP2Code: UInt32, Sendable, BitwiseCopyable {
    case none = 0, protocolError, internalError, flowControlError, settingsTimeout, streamClosed
    case frameSizeError, refusedStream, cancel, compressionError, connectError, enhanceYourCalm
    case inadequateSecurity, http11Required
}

/// The nine bytes in front of every frame (RFC 9113 §4.1).
struct FrameHeader: BitwiseCopyable {
    static let byteCount = 9
    /// The largest payload that is accepted, and that is sent: the least that every peer accepts.
    static let payloadMax = 16_384

    var length = 0
    var type: UInt8 = 0
    var flags: UInt8 = 0
    /// The stream's number; the reserved bit is ignored.
    var id: Int32 = 0

    init() {}

    init(_ bytes: Span<UInt8>) {
        length = Int(bytes[0]) << 16 | Int(bytes[1]) << 8 | Int(bytes[2])
        type = bytes[3]
        flags = bytes[4]
        id = Int32(bitPattern: FrameHeader.word(bytes, at: 5) & 0x7fff_ffff)
    }

    func has(_ flag: UInt8) -> Bool { flags & flag != 0 }

    /// Reads four bytes as a number, the highest first.
    static func word(_ bytes: Span<UInt8>, at i: Int) -> UInt32 {
        UInt32(bytes[i]) << 24 | UInt32(bytes[i + 1]) << 16 | UInt32(bytes[i + 2]) << 8
            | UInt32(bytes[i + 3])
    }

    static func append(
        _ type: UInt8, flags: UInt8 = 0, id: Int32, length: Int, to out: inout ByteBuffer
    ) {
        out.reserve(byteCount + length)
        out.append(UInt8(truncatingIfNeeded: length >> 16))
        out.append(UInt8(truncatingIfNeeded: length >> 8))
        out.append(UInt8(truncatingIfNeeded: length))
        out.append(type)
        out.append(flags)
        append(UInt32(bitPattern: id), to: &out)
    }

    static func append(_ word: UInt32, to out: inout ByteBuffer) {
        out.append(UInt8(truncatingIfNeeded: word >> 24))
        out.append(UInt8(truncatingIfNeeded: word >> 16))
        out.append(UInt8(truncatingIfNeeded: word >> 8))
        out.append(UInt8(truncatingIfNeeded: word))
    }

    /// Writes the length and flags of a frame whose header lies at `start`, and whose payload is
    /// all that follows.
    static func finish(at start: Int, flags: UInt8, in out: inout ByteBuffer) {
        let length = out.writerIndex - start - byteCount
        let bytes: InlineArray<3, UInt8> = [
            UInt8(truncatingIfNeeded: length >> 16), UInt8(truncatingIfNeeded: length >> 8),
            UInt8(truncatingIfNeeded: length),
        ]
        out.overwrite(at: start, with: bytes.span)
        let last: InlineArray<1, UInt8> = [flags]
        out.overwrite(at: start + 4, with: last.span)
    }
}
