import Base
import HTTPSemantics

/// Parses one response head (RFC 9112 §4 and §5); the same strictness as for requests.
public struct ResponseHeadParser: BitwiseCopyable, Sendable {
    @usableFromInline var cursor = HeadCursor()

    @inlinable public init() {}

    /// Call again with the same bytes plus more after `.incomplete`.
    /// - Throws: the origin's violation; the client is owed 502.
    public mutating func parse(
        _ bytes: Span<UInt8>, into head: inout ResponseHead, limits: borrowing HeadLimits
    ) throws(HTTP1Violation) -> HeadProgress {
        guard try cursor.isReady(bytes, limits: limits) else { return .incomplete }
        head.reset()
        let lines = try statusLine(bytes, into: &head)
        let end = try cursor.readLines(bytes, from: lines, into: &head.fields, limits: limits)
        guard let end else { return .incomplete }
        head.byteCount = end
        try finish(bytes, &head)
        return .complete(headBytes: end)
    }

    /// Finds the meaning of the fields, once all of them are there.
    @inline(__always)
    private func finish(
        _ bytes: Span<UInt8>, _ head: inout ResponseHead
    ) throws(HTTP1Violation) {
        head.framing = try FramingFacts(bytes, head.fields).framing(
            isHTTP10: head.isHTTP10, otherwise: .untilClose)
        head.hasUpgradeField = head.fields.seen.contains(.upgrade)
        try FieldLineParser.connection(bytes, &head.fields, into: &head.options)
    }

    /// RFC 9112 §4: `HTTP/1.1 200 reason`. The space before an absent reason may be absent too.
    @inline(__always)
    private func statusLine(
        _ bytes: Span<UInt8>, into head: inout ResponseHead
    ) throws(HTTP1Violation) -> Int? {
        let count = bytes.count
        let isPlain = count >= 13 && ASCII.word(bytes, at: 0) == ASCII.word("HTTP/1.1")
        guard isPlain || ASCII.equalPrefix(bytes.extracting(0..<min(7, count)), "HTTP/1.") else {
            throw .badStatusLine
        }
        guard count > 12 else { return nil }
        guard ASCII.isDigit(bytes[7]), bytes[8] == 0x20, ASCII.isDigit(bytes[9]),
            ASCII.isDigit(bytes[10]), ASCII.isDigit(bytes[11])
        else { throw .badStatusLine }
        head.isHTTP10 = bytes[7] == 0x30
        let hundreds = UInt16(bytes[9] &- 0x30) * 100
        head.status = hundreds + UInt16(bytes[10] &- 0x30) * 10 + UInt16(bytes[11] &- 0x30)
        guard head.status >= 100 else { throw .badStatusLine }
        var at = 12
        if bytes[12] == 0x20 {
            at = 13
            let length = ASCII.valueLength(bytes.extracting(13..<count))
            head.reason = ByteRange(start: 13, count: length)
            at += length
        }
        guard at < count else { return nil }
        guard bytes[at] == ASCII.cr else { throw .badStatusLine }
        guard at + 1 < count else { return nil }
        guard bytes[at + 1] == ASCII.lf else { throw .badStatusLine }
        head.isLinePlain = isPlain && bytes[12] == 0x20
        head.linesStart = at + 2
        return at + 2
    }
}
