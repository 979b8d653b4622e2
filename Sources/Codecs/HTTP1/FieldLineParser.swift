import Base
import HTTPSemantics

/// Parses field lines (RFC 9112 §5), CRLF only, no folding, no space before the colon.
public enum FieldLineParser {
    public enum Line {
        case field(Field, next: Int)
        /// The empty line; `next` is the first byte after it.
        case end(next: Int)
        case incomplete
    }

    /// The outcome of reading a section of field lines.
    enum Section {
        /// All lines are in the table; `next` is the first byte after the empty line.
        case complete(next: Int)
        /// The line that starts there is not all there.
        case incomplete(line: Int)
    }

    /// Reads field lines into a table, up to the empty line. What the fields mean is not looked at.
    static func section(
        _ bytes: Span<UInt8>, at start: Int, into fields: inout FieldTable,
        limits: borrowing HeadLimits
    ) throws(HTTP1Violation) -> Section {
        var at = start
        while true {
            at = fields.scan(bytes, from: at)
            guard fields.count <= limits.fieldCountMax else { throw .tooManyFields }
            if at + 1 < bytes.count, bytes[at] == ASCII.cr, bytes[at + 1] == ASCII.lf {
                return .complete(next: at + 2)
            }
            switch try line(bytes, at: at) {
            case .incomplete: return .incomplete(line: at)
            case .end(let next): return .complete(next: next)
            case .field(let field, let next):
                guard fields.append(field) else { throw .tooManyFields }
                at = next
            }
        }
    }

    /// Reads the line that starts at `start`, of whatever kind.
    public static func line(
        _ bytes: Span<UInt8>, at start: Int
    ) throws(HTTP1Violation) -> Line {
        let count = bytes.count
        if start >= count { return .incomplete }
        if bytes[start] == ASCII.cr { return try emptyName(bytes, at: start) }
        let nameLength = ASCII.tokenLength(bytes.extracting(start..<count))
        let colon = start + nameLength
        if colon >= count { return .incomplete }
        if nameLength == 0 { return try emptyName(bytes, at: start) }
        guard bytes[colon] == UInt8(ascii: ":") else { throw .badFieldName }
        var from = colon + 1
        while from < count, ASCII.isBlank(bytes[from]) { from += 1 }
        var to = from + ASCII.valueLength(bytes.extracting(from..<count))
        if to >= count { return .incomplete }
        guard bytes[to] == ASCII.cr else { throw .badFieldValue }
        if to + 1 >= count { return .incomplete }
        guard bytes[to + 1] == ASCII.lf else { throw .badFieldValue }
        let next = to + 2
        var isCanonical = from == colon + 2 && bytes[colon + 1] == 0x20
        while to > from, ASCII.isBlank(bytes[to - 1]) {
            to -= 1
            isCanonical = false
        }
        let known = KnownField.intern(bytes.extracting(start..<colon))
        let name = ByteRange(start, end: colon)
        let value = ByteRange(from, end: to)
        return .field(
            Field(name: name, value: value, known: known, isCanonical: isCanonical), next: next)
    }

    private static func emptyName(
        _ bytes: Span<UInt8>, at start: Int
    ) throws(HTTP1Violation) -> Line {
        if ASCII.isBlank(bytes[start]) { throw .obsoleteFold }
        guard bytes[start] == ASCII.cr else { throw .badFieldName }
        if start + 1 >= bytes.count { return .incomplete }
        guard bytes[start + 1] == ASCII.lf else { throw .badFieldName }
        return .end(next: start + 2)
    }

    /// Calls `body` for each element of a comma-separated list (RFC 9110 §5.6.1); empty ones are
    /// skipped. Stops early when `body` returns `false`, and returns `false` then.
    public static func list(
        _ bytes: Span<UInt8>, in value: ByteRange, _ body: (ByteRange) -> Bool
    ) -> Bool {
        var at = value.lower
        while at < value.upper {
            while at < value.upper, ASCII.isBlank(bytes[at]) || bytes[at] == 0x2c { at += 1 }
            let start = at
            while at < value.upper, bytes[at] != 0x2c { at += 1 }
            var end = at
            while end > start, ASCII.isBlank(bytes[end - 1]) { end -= 1 }
            if end > start, !body(ByteRange(start, end: end)) { return false }
        }
        return true
    }

    /// Fields that a message may nominate: more than it has are of no use to anybody.
    private static let nominationsMax = 64

    /// Reads every `Connection` field (RFC 9110 §7.6.1) and marks the fields that they nominate.
    @inline(__always)
    static func connection(
        _ bytes: Span<UInt8>, _ fields: inout FieldTable, into options: inout ConnectionOptions
    ) throws(HTTP1Violation) {
        guard fields.seen.contains(.connection) else { return }
        var nominations = 0
        for i in 0..<fields.count where fields[i].known == .connection {
            try connection(bytes, fields[i].value, &nominations, into: &options)
        }
        if options.nominates { markNominations(bytes, &fields) }
    }

    private static func connection(
        _ bytes: Span<UInt8>, _ value: ByteRange, _ nominations: inout Int,
        into options: inout ConnectionOptions
    ) throws(HTTP1Violation) {
        var found = options
        var count = nominations
        let valid = list(bytes, in: value) { element in
            let token = bytes.extracting(element.range)
            if ASCII.tokenLength(token) != token.count { return false }
            if ASCII.equalName(token, "keep-alive") {
                found.keepAlive = true
            } else if ASCII.equalName(token, "close") {
                found.close = true
            } else if ASCII.equalName(token, "upgrade") {
                found.upgrade = true
            } else {
                found.nominates = true
                count += 1
                // Each is compared with every field.
                return count <= nominationsMax
            }
            return true
        }
        guard valid else { throw .badConnectionField }
        options = found
        nominations = count
    }

    /// Marks the fields that `Connection` nominates, except those that must stay.
    private static func markNominations(_ bytes: Span<UInt8>, _ fields: inout FieldTable) {
        for i in 0..<fields.count where fields[i].known == .connection {
            var at = fields[i].value.lower
            let end = fields[i].value.upper
            while at < end {
                let start = at
                while at < end, bytes[at] != 0x2c { at += 1 }
                var from = start, to = at
                while from < to, ASCII.isBlank(bytes[from]) { from += 1 }
                while to > from, ASCII.isBlank(bytes[to - 1]) { to -= 1 }
                at += 1
                for j in 0..<fields.count where !fields[j].known.isProtectedFromNomination {
                    let name = bytes.extracting(fields[j].name.range)
                    if ASCII.equalFold(name, bytes.extracting(from..<to)) { fields.nominate(j) }
                }
            }
        }
    }
}

/// Collects what the fields of a head say about its body, and refuses what has two readings
/// (RFC 9112 §6.1 to §6.3).
struct FramingFacts {
    private var length: UInt64?
    private var isChunked = false

    @inline(__always)
    init(_ bytes: Span<UInt8>, _ fields: borrowing FieldTable) throws(HTTP1Violation) {
        if let field = fields.first(.contentLength) {
            // Repeated and listed lengths are refused even when equal: two parsers may differ on
            // them.
            guard !fields.repeated.contains(.contentLength) else { throw .repeatedContentLength }
            let value = bytes.extracting(field.value.range)
            guard let bytes = ASCII.decimal(value) else { throw .badContentLength }
            length = bytes
        }
        if let field = fields.first(.transferEncoding) {
            try transferEncoding(bytes.extracting(field.value.range))
            guard !fields.repeated.contains(.transferEncoding) else { throw .badTransferEncoding }
        }
    }

    private mutating func transferEncoding(_ value: Span<UInt8>) throws(HTTP1Violation) {
        if ASCII.equalFold(value, "chunked") {
            isChunked = true
            return
        }
        // A list of valid tokens is a coding that is not spoken here; anything else is garbage.
        for i in 0..<value.count {
            let byte = value[i]
            let isToken = ASCII.isAlpha(byte) || ASCII.isDigit(byte) || byte == 0x2d
            guard isToken || byte == 0x2c || ASCII.isBlank(byte) || byte == 0x3b || byte == 0x3d
            else { throw .badTransferEncoding }
        }
        throw value.isEmpty ? .badTransferEncoding : .unknownTransferCoding
    }

    func framing(isHTTP10: Bool, otherwise: BodyFraming) throws(HTTP1Violation) -> BodyFraming {
        if isChunked {
            if length != nil { throw .lengthWithTransferEncoding }
            if isHTTP10 { throw .framingInHTTP10 }
            return .chunked
        }
        if let length { return .length(length) }
        return otherwise
    }
}
