import Base
import HTTPSemantics

/// Parses one request head (RFC 9112 §3 and §5) from bytes that may arrive in any pieces.
///
/// Call again with the same bytes plus more after `.incomplete`. A head that is all there is read
/// once. One that dribbles in is checked line by line and read whole at its end, so that neither
/// the result nor the moment of refusal depends on the pieces, and the work stays linear. `0 <=
/// checked <= bytes.count` on every call.
public struct RequestHeadParser: BitwiseCopyable, Sendable {
    /// Start of the first line that is not complete yet.
    private var checked: UInt32 = 0

    public init() {}

    /// - Returns: `.complete` with the head's length; positions in `head` are relative to `bytes`.
    /// - Throws: the peer's violation; `violation.status` is the answer owed.
    public mutating func parse(
        _ bytes: Span<UInt8>, into head: inout RequestHead, limits: borrowing HeadLimits
    ) throws(HTTP1Violation) -> HeadProgress {
        if checked > 0 {
            guard try checkLines(bytes, limits: limits) else { return .incomplete }
        }
        head.reset()
        var facts = FramingFacts()
        guard var at = try requestLine(bytes, into: &head, limits: limits) else {
            return try incomplete(bytes, lineStart: 0, limits: limits)
        }
        var hosts = 0
        loop: while true {
            switch try FieldLineParser.line(bytes, at: at) {
            case .incomplete: return try incomplete(bytes, lineStart: at, limits: limits)
            case .end(let next):
                at = next
                break loop
            case .field(let field, let next):
                at = next
                guard head.fields.count < limits.fieldCountMax, head.fields.append(field) else {
                    throw .tooManyFields
                }
                if field.known != .other {
                    try note(field, bytes, &head, &facts, &hosts)
                }
            }
        }
        guard at <= limits.headBytesMax else { throw .headTooLarge }
        checked = 0
        head.byteCount = at
        try finish(bytes, &head, facts, hosts: hosts)
        return .complete(headBytes: at)
    }

    /// Whether part of a head is waiting for the rest.
    public var isMidway: Bool { checked > 0 }

    // MARK: Lines

    private mutating func incomplete(
        _ bytes: Span<UInt8>, lineStart: Int, limits: borrowing HeadLimits
    ) throws(HTTP1Violation) -> HeadProgress {
        guard bytes.count < limits.headBytesMax else { throw .headTooLarge }
        checked = UInt32(truncatingIfNeeded: lineStart)
        return .incomplete
    }

    /// Checks the lines that are complete now. `true`: the empty line is among them.
    private mutating func checkLines(
        _ bytes: Span<UInt8>, limits: borrowing HeadLimits
    ) throws(HTTP1Violation) -> Bool {
        var at = Int(checked)
        while true {
            switch try FieldLineParser.line(bytes, at: at) {
            case .field(_, let next): at = next
            case .end: return true
            case .incomplete:
                _ = try incomplete(bytes, lineStart: at, limits: limits)
                return false
            }
        }
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
        return try version(bytes, at: targetEnd + 1, into: &head)
    }

    /// RFC 9112 §2.3: `HTTP/1.1` and CRLF. Other minor versions of 1 are read as 1.1.
    private func version(
        _ bytes: Span<UInt8>, at start: Int, into head: inout RequestHead
    ) throws(HTTP1Violation) -> Int? {
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
        let scanned = ASCII.pathLength(bytes.extracting(start..<count))
        var end = start + scanned.count
        guard end < count else { return nil }
        head.path = ByteRange(start, end: end)
        head.isPathPlain = scanned.plain
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

    /// RFC 9112 §3.2.2, `http://authority/path`.
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

    @inline(__always)
    private func note(
        _ field: Field, _ bytes: Span<UInt8>, _ head: inout RequestHead,
        _ facts: inout FramingFacts, _ hosts: inout Int
    ) throws(HTTP1Violation) {
        switch field.known {
        case .host:
            hosts += 1
            guard hosts == 1 else { throw .repeatedHost }
            guard let length = Authority.hostLength(bytes.extracting(field.value.range)) else {
                throw .badHost
            }
            if head.form == .origin || head.form == .asterisk {
                head.authority = field.value
                head.hostLength = length
            } else {
                // RFC 9112 §3.2.2 lets the target win; a client that says two things is refused.
                let said = bytes.extracting(head.authority.range)
                guard ASCII.equalFold(bytes.extracting(field.value.range), said) else {
                    throw .hostMismatch
                }
            }
        case .contentLength: try facts.contentLength(bytes.extracting(field.value.range))
        case .transferEncoding: try facts.transferEncoding(bytes.extracting(field.value.range))
        case .connection:
            try FieldLineParser.connection(bytes, field.value, into: &head.options)
        case .upgrade: head.hasUpgradeField = true
        case .expect:
            guard ASCII.equalFold(bytes.extracting(field.value.range), "100-continue") else {
                throw .badExpectation
            }
            head.expectsContinue = true
        default: break
        }
    }

    private func finish(
        _ bytes: Span<UInt8>, _ head: inout RequestHead, _ facts: FramingFacts, hosts: Int
    ) throws(HTTP1Violation) {
        if hosts == 0, !head.isHTTP10 { throw .missingHost }
        head.framing = try facts.framing(isHTTP10: head.isHTTP10, otherwise: .none)
        // RFC 9110 §10.1.1: an HTTP/1.0 client's expectation is ignored.
        if head.isHTTP10 { head.expectsContinue = false }
        if head.options.nominates { FieldLineParser.markNominations(bytes, &head.fields) }
        // A body behind CONNECT would be tunnel bytes to one reader and content to another.
        if head.method == .connect, head.framing.hasBody { throw .badContentLength }
    }
}
