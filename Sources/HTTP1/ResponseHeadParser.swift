import Base
import HTTPSemantics

/// Parses one response head (RFC 9112 §4 and §5); the same strictness as for requests.
public struct ResponseHeadParser: BitwiseCopyable, Sendable {
    private var checked: UInt32 = 0

    public init() {}

    /// Call again with the same bytes plus more after `.incomplete`.
    /// - Throws: the origin's violation; the client is owed 502.
    public mutating func parse(
        _ bytes: Span<UInt8>, into head: inout ResponseHead, limits: borrowing HeadLimits
    ) throws(HTTP1Violation) -> HeadProgress {
        if checked > 0 {
            guard try checkLines(bytes, limits: limits) else { return .incomplete }
        }
        head.reset()
        var facts = FramingFacts()
        guard var at = try statusLine(bytes, into: &head) else {
            guard bytes.count < limits.headBytesMax else { throw .headTooLarge }
            return .incomplete
        }
        loop: while true {
            switch try FieldLineParser.line(bytes, at: at) {
            case .incomplete:
                guard bytes.count < limits.headBytesMax else { throw .headTooLarge }
                checked = UInt32(truncatingIfNeeded: at)
                return .incomplete
            case .end(let next):
                at = next
                break loop
            case .field(let field, let next):
                at = next
                guard head.fields.count < limits.fieldCountMax, head.fields.append(field) else {
                    throw .tooManyFields
                }
                switch field.known {
                case .contentLength: try facts.contentLength(bytes.extracting(field.value.range))
                case .transferEncoding:
                    try facts.transferEncoding(bytes.extracting(field.value.range))
                case .connection:
                    try FieldLineParser.connection(bytes, field.value, into: &head.options)
                case .upgrade: head.hasUpgradeField = true
                default: break
                }
            }
        }
        guard at <= limits.headBytesMax else { throw .headTooLarge }
        checked = 0
        head.byteCount = at
        head.framing = try facts.framing(isHTTP10: head.isHTTP10, otherwise: .untilClose)
        if head.options.nominates { FieldLineParser.markNominations(bytes, &head.fields) }
        return .complete(headBytes: at)
    }

    private mutating func checkLines(
        _ bytes: Span<UInt8>, limits: borrowing HeadLimits
    ) throws(HTTP1Violation) -> Bool {
        var at = Int(checked)
        while true {
            switch try FieldLineParser.line(bytes, at: at) {
            case .field(_, let next): at = next
            case .end: return true
            case .incomplete:
                guard bytes.count < limits.headBytesMax else { throw .headTooLarge }
                checked = UInt32(truncatingIfNeeded: at)
                return false
            }
        }
    }

    /// RFC 9112 §4: `HTTP/1.1 200 reason`. The space before an absent reason may be absent too.
    private func statusLine(
        _ bytes: Span<UInt8>, into head: inout ResponseHead
    ) throws(HTTP1Violation) -> Int? {
        let count = bytes.count
        guard ASCII.equalPrefix(bytes.extracting(0..<min(7, count)), "HTTP/1.") else {
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
        return at + 2
    }
}
