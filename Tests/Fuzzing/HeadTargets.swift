import Base
import HTTP1
import HTTPSemantics

/// The heads of messages.
enum HeadTargets {
    /// The result of a reading, so that two can be compared.
    private struct Reading: Equatable {
        var length: Int?
        var isRefused = false
        var facts: [String] = []
        var fields: [[UInt8]] = []
    }

    private static func copy(_ bytes: Span<UInt8>, _ range: ByteRange) -> [UInt8] {
        var out: [UInt8] = []
        for i in range.range { out.append(bytes[i]) }
        return out
    }

    private static func fields(
        _ bytes: Span<UInt8>, _ table: borrowing FieldTable
    ) -> [[UInt8]] {
        var out: [[UInt8]] = []
        for i in 0..<table.count {
            out.append(copy(bytes, table[i].name))
            out.append(copy(bytes, table[i].value))
        }
        return out
    }

    /// Reads a request's head that comes in two pieces, of which the second begins at `cut`.
    private static func readRequest(_ bytes: [UInt8], cut: Int) -> Reading {
        var head = RequestHead(fieldCountMax: 100)
        var parser = RequestHeadParser()
        let limits = HeadLimits()
        var reading = Reading()
        for end in [cut, bytes.count] where end > 0 {
            do {
                let view = bytes.span.extracting(0..<end)
                guard
                    case .complete(let length) = try parser.parse(view, into: &head, limits: limits)
                else { continue }
                reading.length = length
                reading.fields = fields(view, head.fields)
                reading.facts = [
                    "\(head.method)", "\(copy(view, head.methodName))", "\(copy(view, head.path))",
                    "\(copy(view, head.query))", "\(head.hasQuery)", "\(head.framing)",
                    "\(copy(view, head.authority))", "\(head.isHTTP10)", "\(head.keepsAlive)",
                    "\(head.expectsContinue)", "\(head.form)",
                ]
                return reading
            } catch {
                reading.isRefused = true
                return reading
            }
        }
        return reading
    }

    private static func readResponse(_ bytes: [UInt8], cut: Int) -> Reading {
        var head = ResponseHead(fieldCountMax: 100)
        var parser = ResponseHeadParser()
        let limits = HeadLimits()
        var reading = Reading()
        for end in [cut, bytes.count] where end > 0 {
            do {
                let view = bytes.span.extracting(0..<end)
                guard
                    case .complete(let length) = try parser.parse(view, into: &head, limits: limits)
                else { continue }
                reading.length = length
                reading.fields = fields(view, head.fields)
                reading.facts = [
                    "\(head.status)", "\(copy(view, head.reason))", "\(head.framing)",
                    "\(head.isHTTP10)", "\(head.keepsAlive)",
                ]
                return reading
            } catch {
                reading.isRefused = true
                return reading
            }
        }
        return reading
    }

    /// The first byte says where the rest is cut.
    private static func cut(_ input: [UInt8]) -> (cut: Int, bytes: [UInt8]) {
        guard let first = input.first else { return (0, []) }
        let bytes = Array(input.dropFirst())
        return (min(bytes.count, Int(first) * max(1, bytes.count / 256)), bytes)
    }

    static func request(_ input: [UInt8]) throws {
        let (cut, bytes) = cut(input)
        let whole = readRequest(bytes, cut: 0)
        try demand(readRequest(bytes, cut: cut) == whole, "cut at \(cut) it reads differently")
        guard let length = whole.length else { return }
        // What is taken for a head is one to everybody else.
        var plain = Array(bytes[..<length])
        if plain.starts(with: [13, 10]) { plain.removeFirst(2) }
        var oracle = Oracle(plain)
        let second = try oracle.next(isRequest: true, isHead: false)
        guard let second else { throw Finding("no whole head to a second reader") }
        try demand(second.fields.count * 2 == whole.fields.count, "other fields to a second reader")
        for (i, field) in second.fields.enumerated() {
            try demand(field.value == whole.fields[2 * i + 1], "value \(i) reads differently")
        }
    }

    static func response(_ input: [UInt8]) throws {
        let (cut, bytes) = cut(input)
        let whole = readResponse(bytes, cut: 0)
        try demand(readResponse(bytes, cut: cut) == whole, "cut at \(cut) it reads differently")
        guard let length = whole.length else { return }
        var oracle = Oracle(Array(bytes[..<length]))
        guard let second = try oracle.next(isRequest: false, isHead: false) else {
            throw Finding("no whole head to a second reader")
        }
        try demand(second.fields.count * 2 == whole.fields.count, "other fields to a second reader")
    }
}

/// Bodies.
enum BodyTargets {
    /// The first byte draws the cuts. The content must be that of a plain second reading.
    static func chunked(_ input: [UInt8]) throws {
        guard let first = input.first else { return }
        let bytes = Array(input.dropFirst())
        let whole = read(bytes, seed: nil)
        let pieces = read(bytes, seed: UInt64(first))
        try demand(whole.isRefused == pieces.isRefused, "in pieces it is judged differently")
        if !whole.isRefused {
            try demand(whole.content == pieces.content, "in pieces it reads differently")
            try demand(whole.end == pieces.end, "in pieces it ends elsewhere")
        }
        try demandRefusal(of: bytes, whole)
        guard let end = whole.end else { return }
        let head = Array("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n".utf8)
        var oracle = Oracle(head + bytes[..<end])
        let second = try oracle.next(isRequest: true, isHead: false)
        try demand(second?.isWhole == true && oracle.isAtEnd, "a second reader finds another end")
        try demand(second?.body == whole.content, "a second reader finds other content")
    }

    /// Demands that the second reader refuses all that the decoder refuses within its limits.
    private static func demandRefusal(
        of bytes: [UInt8], _ whole: (content: [UInt8], end: Int?, isRefused: Bool)
    ) throws {
        guard whole.isRefused, bytes.count < 1_000 else { return }
        let head = Array("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n".utf8)
        var oracle = Oracle(head + bytes)
        let second = try? oracle.next(isRequest: true, isHead: false)
        try demand(second?.isWhole != true, "a second reader takes what is refused")
    }

    private static func read(
        _ bytes: [UInt8], seed: UInt64?
    ) -> (content: [UInt8], end: Int?, isRefused: Bool) {
        var decoder = BodyDecoder(.chunked)
        var random = PRNG(seed: seed ?? 0)
        let limits = HeadLimits()
        var content: [UInt8] = []
        var at = 0, there = seed == nil ? bytes.count : 0
        while true {
            let view = bytes.span.extracting(0..<there)
            do {
                switch try decoder.next(view, at: &at, limits: limits) {
                case .content(let range): for i in range.range { content.append(bytes[i]) }
                case .trailers, .complete: return (content, at, false)
                case .incomplete:
                    if there == bytes.count { return (content, nil, false) }
                    there = min(bytes.count, there + 1 + Int(random.below(9)))
                }
            } catch {
                return (content, nil, true)
            }
        }
    }
}
