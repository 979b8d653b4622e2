import Base
import HTTP1
import HTTPSemantics
import Testing

@Suite struct BodyDecoderTests {
    /// The content of a body that arrives in pieces of `step` bytes, or the violation's cause.
    static func decode(
        _ text: String, _ framing: BodyFraming, step: Int, isResponse: Bool = false
    ) -> String {
        decode(Array(text.utf8), framing, step: step, isResponse: isResponse)
    }

    static func decode(
        _ bytes: [UInt8], _ framing: BodyFraming, step: Int, isResponse: Bool = false
    ) -> String {
        var decoder = BodyDecoder(framing, isResponse: isResponse)
        var kept: [UInt8] = []
        var content = ""
        var at = 0
        let limits = HeadLimits()
        while at < bytes.count {
            let end = min(bytes.count, at + step)
            kept += bytes[at..<end]
            at = end
            var position = 0
            loop: while true {
                do throws(HTTP1Violation) {
                    switch try decoder.next(kept.span, at: &position, limits: limits) {
                    case .content(let range):
                        content += ASCII.string(kept.span.extracting(range.range))
                    case .trailers(let section):
                        return content + "|" + ASCII.string(kept.span.extracting(section.range))
                    case .complete: return content + "|"
                    case .incomplete: break loop
                    }
                } catch {
                    return "\(error.cause)"
                }
            }
            kept.removeFirst(position)
        }
        return content + "|incomplete"
    }

    static let cases: [(String, String)] = [
        ("5\r\nhello\r\n0\r\n\r\n", "hello|"),
        ("5;a=b\r\nhello\r\n1;c\r\n!\r\n0\r\n\r\n", "hello!|"),
        ("5\r\nhello\r\n0\r\nA: b\r\n\r\n", "hello|A: b\r\n"),
        ("005\r\nhello\r\n000\r\n\r\n", "hello|"),
        ("g\r\n", "bad-chunk-size"),
        ("-1\r\n", "bad-chunk-size"),
        ("\r\n", "bad-chunk-size"),
        ("5\nhello\r\n", "bad-chunk-size"),
        ("5\r\nhelloX\r\n", "bad-chunk-end"),
        ("5\r\nhello\n", "bad-chunk-end"),
        ("1000000000000000\r\n", "bad-chunk-size"),
        ("0x5\r\n", "bad-chunk-size"),
        ("0\r\nA b\r\n\r\n", "bad-field-name"),
        ("0\r\n B: c\r\n\r\n", "obsolete-fold"),
    ]

    @Test("the chunked coding is read strictly, in any pieces", arguments: cases)
    func chunked(text: String, outcome: String) {
        for step in 1...text.utf8.count {
            #expect(BodyDecoderTests.decode(text, .chunked, step: step) == outcome)
        }
    }

    @Test("endless extensions are refused")
    func extensions() {
        let chunk = "1;" + String(repeating: "x", count: 1_000) + "\r\na\r\n"
        let text = String(repeating: chunk, count: 20)
        #expect(BodyDecoderTests.decode(text, .chunked, step: 700) == "chunk-extensions-too-long")
    }

    @Test("a length is exact, and a close ends only what a close may end")
    func lengths() {
        #expect(BodyDecoderTests.decode("hello", .length(5), step: 2) == "hello|")
        #expect(BodyDecoderTests.decode("hell", .length(5), step: 2) == "hell|incomplete")
        var counted = BodyDecoder(.length(5)), open = BodyDecoder(.untilClose)
        let ends = [counted.close(), open.close()]
        #expect(ends == [false, true])
        #expect(open.isComplete)
    }
}

@Suite struct ResponseHeadParserTests {
    static func parse(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var head = ResponseHead(fieldCountMax: 100)
        var parser = ResponseHeadParser()
        do throws(HTTP1Violation) {
            switch try parser.parse(bytes.span, into: &head, limits: HeadLimits()) {
            case .complete: return "\(head.status) \(head.framing) \(head.keepsAlive)"
            case .incomplete: return "incomplete"
            }
        } catch {
            return "\(error.cause)"
        }
    }

    @Test(
        "responses are read as strictly as requests",
        arguments: [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "200 length(3) true"),
            ("HTTP/1.1 200\r\n\r\n", "200 untilClose true"),
            ("HTTP/1.0 200 OK\r\n\r\n", "200 untilClose false"),
            ("HTTP/1.1 204 No\r\nConnection: close\r\n\r\n", "204 untilClose false"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200 chunked true"),
            ("HTTP/1.1 20 OK\r\n\r\n", "bad-status-line"),
            ("HTTP/1.1 099 OK\r\n\r\n", "bad-status-line"),
            ("HTTP/2 200 OK\r\n\r\nxxxx", "bad-status-line"),
            ("HTTP/1.1 200 OK\nA: b\r\n\r\n", "bad-status-line"),
            ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "obsolete-fold"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
                "length-with-transfer-encoding"
            ),
            ("ICY 200 OK\r\n\r\nxxxxxxx", "bad-status-line"),
        ])
    func responses(text: String, outcome: String) {
        #expect(ResponseHeadParserTests.parse(text) == outcome)
    }
}

@Suite struct PathNormalizerTests {
    static func normal(_ path: String) -> String {
        var out = ByteBuffer()
        do throws(PathNormalizer.Failure) {
            try PathNormalizer.normalize(Array(path.utf8).span, into: &out)
            return ASCII.string(out.readable)
        } catch {
            return "\(error)"
        }
    }

    @Test(
        "paths have one normal form",
        arguments: [
            ("/a/b", "/a/b"), ("//a///b", "/a/b"), ("/a/./b", "/a/b"), ("/a/../b", "/b"),
            ("/a/b/..", "/a/"), ("/a/.", "/a/"), ("/%61", "/a"), ("/%2f", "/%2F"),
            ("/a%5cb", "/a%5Cb"),
            ("/..", "leavesRoot"), ("/a/../..", "leavesRoot"), ("/%2e%2e", "leavesRoot"),
            ("/%00", "encodedNUL"), ("/a|b%00", "encodedNUL"), ("/a|b/../..", "leavesRoot"),
            ("/%", "/%25"), ("/%4", "/%254"), ("/%zz", "/%25zz"), ("/100%", "/100%25"),
            ("/100%25", "/100%25"), ("/%2%65", "/%252e"), ("/%%32%65", "/%252e"),
            ("/%2%65%2%65/a", "/%252e%252e/a"),
            ("/a|b", "/a%7Cb"), ("/a%7cb", "/a%7Cb"), ("/[1]", "/%5B1%5D"), ("/a^b", "/a%5Eb"),
            ("/\"{}`<>", "/%22%7B%7D%60%3C%3E"), ("/a\\b", "/a%5Cb"), ("/a\\..\\b", "/a%5C..%5Cb"),
            ("/a/..\\b", "/a/..%5Cb"), ("/\\/..", "/"), ("/caf\u{e9}", "/caf%C3%A9"),
            ("/caf%c3%a9", "/caf%C3%A9"), ("/\u{e9}/../b", "/b"),
            ("/a/%2e%2E/b", "/b"), ("/...", "/..."), ("/a/..b", "/a/..b"), ("/", "/"),
        ])
    func forms(path: String, outcome: String) {
        #expect(PathNormalizerTests.normal(path) == outcome)
    }

    @Test("cookies are found by name, whatever stands around them")
    func cookies() {
        let field = Array("a=1; session=x y\t; session=2;b; q=\"z\"".utf8)
        func value(_ name: String) -> String? {
            Cookie.value(named: Array(name.utf8).span, in: field.span).map {
                ASCII.string(field.span.extracting($0.range))
            }
        }
        #expect(value("a") == "1")
        #expect(value("session") == "x y")
        #expect(value("q") == "z")
        #expect(value("b") == nil)
        #expect(value("ession") == nil)
    }
}
