import Base
import HTTPSemantics

/// Parses one request head (RFC 9112 §3 and §5) from bytes that may arrive in any pieces.
///
/// Call again with the same bytes plus more after `.incomplete`; the pieces make no difference
/// (`HeadCursor`).
public struct RequestHeadParser: BitwiseCopyable, Sendable {
    @usableFromInline var cursor = HeadCursor()

    @inlinable public init() {}

    /// - Returns: `.complete` with the head's length; positions in `head` are relative to `bytes`.
    /// - Throws: the peer's violation; `violation.status` is the answer owed.
    public mutating func parse(
        _ bytes: Span<UInt8>, into head: inout RequestHead, limits: borrowing HeadLimits
    ) throws(HTTP1Violation) -> HeadProgress {
        guard try cursor.isReady(bytes, limits: limits) else { return .incomplete }
        head.reset()
        var lines = plainLine(bytes, into: &head, limits: limits)
        if lines == nil { lines = try requestLine(bytes, into: &head, limits: limits) }
        let end = try cursor.readLines(bytes, from: lines, into: &head.fields, limits: limits)
        guard let end else { return .incomplete }
        head.byteCount = end
        try finish(bytes, &head)
        return .complete(headBytes: end)
    }

    /// Whether part of a head is waiting for the rest.
    public var isMidway: Bool { cursor.isMidway }

    // MARK: Lines

    /// The line that nearly every client sends. `nil`: it is another, or not all there.
    @inline(__always)
    private func plainLine(
        _ bytes: Span<UInt8>, into head: inout RequestHead, limits: borrowing HeadLimits
    ) -> Int? {
        guard let line = PlainRequestLine(bytes), line.targetEnd <= limits.requestLineBytesMax
        else { return nil }
        let method = Method(bytes.extracting(0..<line.methodEnd))
        if method == .connect { return nil }
        let target = line.methodEnd + 1
        head.method = method
        head.methodName = ByteRange(start: 0, count: line.methodEnd)
        head.target = ByteRange(target, end: line.targetEnd)
        head.path = ByteRange(target, end: line.pathEnd)
        if line.targetEnd > line.pathEnd {
            head.query = ByteRange(line.pathEnd + 1, end: line.targetEnd)
            head.hasQuery = true
        }
        head.isLinePlain = true
        head.linesStart = line.end
        return line.end
    }

    /// - Returns: where the field lines start, or `nil` when the line is not all there.
    private func requestLine(
        _ bytes: Span<UInt8>, into head: inout RequestHead, limits: borrowing HeadLimits
    ) throws(HTTP1Violation) -> Int? {
        let count = bytes.count
        // RFC 9112 §2.2: an empty line before the request line is ignored; one, not a stream of
        // them.
        var at = 0
        if count > 0, bytes[0] == ASCII.cr {
            guard count > 1 else { return nil }
            guard bytes[1] == ASCII.lf else { throw .badRequestLine }
            at = 2
        }
        let methodLength = ASCII.tokenLength(bytes.extracting(at..<count))
        let space = at + methodLength
        guard space < count else {
            guard count - at <= limits.requestLineBytesMax else { throw .badMethod }
            return nil
        }
        guard bytes[space] == 0x20, methodLength > 0 else { throw .badMethod }
        head.methodName = ByteRange(at, end: space)
        head.method = Method(bytes.extracting(at..<space))
        let targetStart = space + 1
        guard let targetEnd = try target(bytes, at: targetStart, into: &head) else {
            guard count - targetStart <= limits.requestLineBytesMax else { throw .targetTooLong }
            return nil
        }
        guard targetEnd - at <= limits.requestLineBytesMax else { throw .targetTooLong }
        head.target = ByteRange(targetStart, end: targetEnd)
        guard let lines = try version(bytes, at: targetEnd + 1, into: &head) else { return nil }
        head.linesStart = lines
        return lines
    }

    /// RFC 9112 §2.3: `HTTP/1.1` and CRLF. Other minor versions of 1 are read as 1.1.
    private func version(
        _ bytes: Span<UInt8>, at start: Int, into head: inout RequestHead
    ) throws(HTTP1Violation) -> Int? {
        if bytes.count >= start + 10, ASCII.word(bytes, at: start) == ASCII.word("HTTP/1.1"),
            bytes[start + 8] == ASCII.cr, bytes[start + 9] == ASCII.lf
        {
            head.isLinePlain = head.form == .origin || head.form == .asterisk
            return start + 10
        }
        let name: StaticString = "HTTP/"
        let there = min(5, bytes.count - start)
        guard ASCII.equalPrefix(bytes.extracting(start..<(start + there)), name) else {
            throw .badVersion
        }
        guard bytes.count >= start + 10 else {
            if bytes.count > start + 5, !ASCII.isDigit(bytes[start + 5]) { throw .badVersion }
            return nil
        }
        guard ASCII.isDigit(bytes[start + 5]), bytes[start + 6] == UInt8(ascii: "."),
            ASCII.isDigit(bytes[start + 7]), bytes[start + 8] == ASCII.cr,
            bytes[start + 9] == ASCII.lf
        else { throw .badVersion }
        guard bytes[start + 5] == UInt8(ascii: "1") else { throw .unsupportedVersion }
        head.isHTTP10 = bytes[start + 7] == UInt8(ascii: "0")
        return start + 10
    }

    // MARK: Target

    /// - Returns: the position of the space behind the target, or `nil` when it is not there yet.
    private func target(
        _ bytes: Span<UInt8>, at start: Int, into head: inout RequestHead
    ) throws(HTTP1Violation) -> Int? {
        let count = bytes.count
        guard start < count else { return nil }
        if head.method == .connect { return try authorityForm(bytes, at: start, into: &head) }
        if bytes[start] == UInt8(ascii: "*") {
            guard head.method == .options else { throw .badTarget }
            head.form = .asterisk
            head.path = ByteRange(start: start, count: 1)
            guard start + 1 < count else { return nil }
            guard bytes[start + 1] == 0x20 else { throw .badTarget }
            return start + 1
        }
        var pathStart = start
        if bytes[start] != UInt8(ascii: "/") {
            guard let afterAuthority = try absoluteForm(bytes, at: start, into: &head) else {
                return nil
            }
            pathStart = afterAuthority
        }
        return try pathAndQuery(bytes, at: pathStart, into: &head)
    }

    private func pathAndQuery(
        _ bytes: Span<UInt8>, at start: Int, into head: inout RequestHead
    ) throws(HTTP1Violation) -> Int? {
        let count = bytes.count
        var end = start + ASCII.plainPathLength(bytes.extracting(start..<count))
        guard end < count else { return nil }
        if bytes[end] != 0x20, bytes[end] != UInt8(ascii: "?") {
            let scanned = ASCII.pathLength(bytes.extracting(start..<count))
            end = start + scanned.count
            guard end < count else { return nil }
            head.isPathPlain = scanned.plain
        }
        head.path = ByteRange(start, end: end)
        if bytes[end] == UInt8(ascii: "?") {
            let queryStart = end + 1
            end = queryStart + ASCII.queryLength(bytes.extracting(queryStart..<count))
            guard end < count else { return nil }
            head.query = ByteRange(queryStart, end: end)
            head.hasQuery = true
        }
        guard bytes[end] == 0x20 else { throw .badTarget }
        return end
    }

    /// Reads a target in absolute form, `http://authority/path` (RFC 9112 §3.2.2).
    private func absoluteForm(
        _ bytes: Span<UInt8>, at start: Int, into head: inout RequestHead
    ) throws(HTTP1Violation) -> Int? {
        let count = bytes.count
        var at = start
        while at < count, ASCII.isAlpha(bytes[at]), at - start < 6 { at += 1 }
        let isHTTP = ASCII.equalFold(bytes.extracting(start..<at), "http")
        let isHTTPS = ASCII.equalFold(bytes.extracting(start..<at), "https")
        guard at < count else { return nil }
        guard isHTTP || isHTTPS else { throw .badTarget }
        for expected in 0..<3 {
            guard at < count else { return nil }
            guard bytes[at] == (expected == 0 ? 0x3a : 0x2f) else { throw .badTarget }
            at += 1
        }
        let authorityStart = at
        while at < count, bytes[at] != 0x2f, bytes[at] != 0x3f, bytes[at] != 0x20 {
            guard bytes[at] > 0x20, bytes[at] < 0x7f else { throw .badTarget }
            at += 1
        }
        guard at < count else { return nil }
        guard let length = Authority.hostLength(bytes.extracting(authorityStart..<at)) else {
            throw .badTarget
        }
        head.form = .absolute
        head.hostLength = length
        head.authority = ByteRange(authorityStart, end: at)
        return at
    }

    /// RFC 9112 §3.2.3: host and port, for CONNECT only.
    private func authorityForm(
        _ bytes: Span<UInt8>, at start: Int, into head: inout RequestHead
    ) throws(HTTP1Violation) -> Int? {
        var at = start
        while at < bytes.count, bytes[at] != 0x20 {
            guard bytes[at] > 0x20, bytes[at] < 0x7f else { throw .badTarget }
            at += 1
        }
        guard at < bytes.count else { return nil }
        let authority = bytes.extracting(start..<at)
        guard let host = Authority.hostLength(authority), host < authority.count - 1 else {
            throw .badTarget
        }
        head.form = .authority
        head.hostLength = host
        head.authority = ByteRange(start, end: at)
        return at
    }

    // MARK: Fields

    /// Fields that decide how the message is read.
    private static var framing: KnownFields {
        KnownFields(.contentLength).with(.transferEncoding).with(.connection).with(.upgrade)
            .with(.expect)
    }

    /// Finds the meaning of the fields, once all of them are there.
    @inline(__always)
    private func finish(
        _ bytes: Span<UInt8>, _ head: inout RequestHead
    ) throws(HTTP1Violation) {
        try host(bytes, &head)
        guard !head.fields.seen.isDisjoint(with: RequestHeadParser.framing) else { return }
        head.framing = try FramingFacts(bytes, head.fields).framing(
            isHTTP10: head.isHTTP10, otherwise: .none)
        head.hasUpgradeField = head.fields.seen.contains(.upgrade)
        try expectation(bytes, &head)
        try FieldLineParser.connection(bytes, &head.fields, into: &head.options)
        // A body behind CONNECT would be tunnel bytes to one reader and content to another.
        if head.method == .connect, head.framing.hasBody { throw .badContentLength }
    }

    /// RFC 9112 §3.2: one Host, and a target that names an authority says the same.
    @inline(__always)
    private func host(_ bytes: Span<UInt8>, _ head: inout RequestHead) throws(HTTP1Violation) {
        guard let field = head.fields.first(.host) else {
            if !head.isHTTP10 { throw .missingHost }
            return
        }
        guard !head.fields.repeated.contains(.host) else { throw .repeatedHost }
        guard let length = Authority.hostLength(bytes, in: field.value) else { throw .badHost }
        if head.form == .origin || head.form == .asterisk {
            head.authority = field.value
            head.hostLength = length
        } else if !ASCII.equalFold(
            bytes.extracting(field.value.range), bytes.extracting(head.authority.range))
        {
            // RFC 9112 §3.2.2 lets the target win; a client that says two things is refused.
            throw .hostMismatch
        }
    }

    private func expectation(
        _ bytes: Span<UInt8>, _ head: inout RequestHead
    ) throws(HTTP1Violation) {
        guard head.fields.seen.contains(.expect) else { return }
        for i in 0..<head.fields.count where head.fields[i].known == .expect {
            let value = bytes.extracting(head.fields[i].value.range)
            guard ASCII.equalFold(value, "100-continue") else { throw .badExpectation }
        }
        // RFC 9110 §10.1.1: an HTTP/1.0 client's expectation is ignored.
        head.expectsContinue = !head.isHTTP10
    }
}
