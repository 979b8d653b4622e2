import Base
import HTTPSemantics

/// A step is what the body decoder found at its position.
public enum BodyStep: Sendable, BitwiseCopyable {
    /// A run of content, to be passed on.
    case content(ByteRange)
    /// The trailer section's field lines, without the empty line; the body is complete.
    case trailers(ByteRange)
    case complete
    /// Nothing more can be read; bytes from the position on must be kept and shown again.
    case incomplete
}

/// Finds the content of one body (RFC 9112 §6 and §7) in bytes that arrive in any pieces.
public struct BodyDecoder: BitwiseCopyable, Sendable {
    @usableFromInline enum State: BitwiseCopyable, Sendable {
        case complete
        case length(UInt64)
        case untilClose
        case chunkSize
        case chunkData(UInt64)
        case chunkEnd
        case trailers
    }

    @usableFromInline var state: State
    /// Whether the body is a response's. Stands in front of the count, where it takes no room.
    @usableFromInline let isResponse: Bool
    @usableFromInline var extensionBytes: UInt32 = 0

    /// - Parameter isResponse: blanks behind a chunk's size are taken, as some origins send them.
    @inlinable public init(_ framing: BodyFraming, isResponse: Bool = false) {
        self.isResponse = isResponse
        switch framing {
        case .none, .length(0): state = .complete
        case .length(let bytes): state = .length(bytes)
        case .chunked: state = .chunkSize
        case .untilClose: state = .untilClose
        }
    }

    @inlinable public var isComplete: Bool {
        if case .complete = state { return true }
        return false
    }

    /// Bytes of content that must still come; `nil` when that is not known.
    @inlinable public var remaining: UInt64? {
        switch state {
        case .complete: return 0
        case .length(let bytes): return bytes
        default: return nil
        }
    }

    /// The peer closed. `true`: that ended the body.
    public mutating func close() -> Bool {
        switch state {
        case .complete: return true
        case .untilClose:
            state = .complete
            return true
        default: return false
        }
    }

    /// Whether the content is one run of bytes, for `takePlain`.
    @inlinable public var isPlain: Bool {
        switch state {
        case .complete, .length, .untilClose: return true
        case .chunkSize, .chunkData, .chunkEnd, .trailers: return false
        }
    }

    /// How many of the bytes at hand are content of a plain body; they are taken.
    @inlinable public mutating func takePlain(_ available: Int) -> Int {
        switch state {
        case .length(let left):
            if left <= UInt64(available) {
                state = .complete
                return Int(left)
            }
            state = .length(left &- UInt64(available))
            return available
        case .untilClose: return available
        case .complete, .chunkSize, .chunkData, .chunkEnd, .trailers: return 0
        }
    }

    /// Takes the next step from `at`, which moves past what was understood.
    /// - Throws: the peer's violation of the chunked coding.
    public mutating func next(
        _ bytes: Span<UInt8>, at: inout Int, limits: borrowing HeadLimits
    ) throws(HTTP1Violation) -> BodyStep {
        while true {
            let available = bytes.count - at
            switch state {
            case .complete: return .complete
            case .length(let left):
                guard available > 0 else { return .incomplete }
                let take = Int(min(left, UInt64(available)))
                state = left == UInt64(take) ? .complete : .length(left - UInt64(take))
                return content(take, at: &at)
            case .untilClose:
                guard available > 0 else { return .incomplete }
                return content(available, at: &at)
            case .chunkSize:
                guard let size = try chunkSize(bytes, at: &at, limits: limits) else {
                    return .incomplete
                }
                state = size == 0 ? .trailers : .chunkData(size)
            case .chunkData(let left):
                guard available > 0 else { return .incomplete }
                let take = Int(min(left, UInt64(available)))
                state = left == UInt64(take) ? .chunkEnd : .chunkData(left - UInt64(take))
                return content(take, at: &at)
            case .chunkEnd:
                if available > 0, bytes[at] != ASCII.cr { throw .badChunkEnd }
                guard available > 1 else { return .incomplete }
                guard bytes[at + 1] == ASCII.lf else { throw .badChunkEnd }
                at += 2
                state = .chunkSize
            case .trailers:
                guard let section = try trailers(bytes, at: &at, limits: limits) else {
                    return .incomplete
                }
                state = .complete
                return .trailers(section)
            }
        }
    }

    private func content(_ count: Int, at: inout Int) -> BodyStep {
        defer { at += count }
        return .content(ByteRange(start: at, count: count))
    }

    /// `chunk-size [ chunk-ext ] CRLF` (RFC 9112 §7.1). Extensions are checked, counted and
    /// dropped.
    private mutating func chunkSize(
        _ bytes: Span<UInt8>, at: inout Int, limits: borrowing HeadLimits
    ) throws(HTTP1Violation) -> UInt64? {
        var size: UInt64 = 0
        var position = at
        while position < bytes.count, let digit = ASCII.hex(bytes[position]) {
            // 15 digits: below 2^60, so that sums of sizes never overflow.
            guard position - at < 15 else { throw .badChunkSize }
            size = size << 4 | UInt64(digit)
            position += 1
        }
        guard position < bytes.count else { return nil }
        guard position > at else { throw .badChunkSize }
        let extensionStart = position
        if bytes[position] != ASCII.cr {
            let end = try ChunkExtensions.end(bytes, from: position, takesBlanks: isResponse)
            guard (end ?? bytes.count) - extensionStart <= limits.chunkLineBytesMax else {
                throw .chunkExtensionsTooLong
            }
            guard let end else { return nil }
            position = end
        }
        guard position + 1 < bytes.count else { return nil }
        guard bytes[position + 1] == ASCII.lf else { throw .badChunkSize }
        extensionBytes += UInt32(position - extensionStart)
        guard extensionBytes <= limits.chunkExtensionBytesMax else {
            throw .chunkExtensionsTooLong
        }
        at = position + 2
        return size
    }

    /// The trailer section up to its empty line (RFC 9112 §7.1.2).
    private func trailers(
        _ bytes: Span<UInt8>, at: inout Int, limits: borrowing HeadLimits
    ) throws(HTTP1Violation) -> ByteRange? {
        var position = at
        var lines = 0
        while true {
            switch try FieldLineParser.line(bytes, at: position) {
            case .field(_, let next):
                position = next
                lines += 1
                guard lines <= limits.fieldCountMax, position - at <= limits.trailerBytesMax else {
                    throw .trailersTooLarge
                }
            case .end(let next):
                let section = ByteRange(at, end: position)
                at = next
                return section
            case .incomplete:
                guard bytes.count - at <= limits.trailerBytesMax else { throw .trailersTooLarge }
                return nil
            }
        }
    }
}
