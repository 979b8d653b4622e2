import HTTP1
import HTTPSemantics
import Testing

/// RFC 9112 §7.1.1, line by line: what may stand between a chunk's size and its CRLF.
@Suite struct ChunkLineTests {
    static let allowed = [
        "", ";a", ";a=b", ";a=\"b\"", ";a;b=c", " ;a", "\t;\ta", "; a = b", ";a=\"\"",
        ";a=\"b \t;=,\"", ";a=\"b\\\"c\"", ";a=\"\\\\\"", ";a=\"\u{e9}\"", ";a=\"\\\u{e9}\"",
        ";a=\"b\";c", ";a=\"b\" ; c = \"d\"", ";!#$%&'*+-.^_`|~=!", ";1=2",
    ]
    /// (what stands there, the violation)
    static let refused = [
        (";", "bad-chunk-extension"), ("; ", "bad-chunk-extension"), (";;a", "bad-chunk-extension"),
        (";a;", "bad-chunk-extension"), (";a; ", "bad-chunk-extension"),
        (";=", "bad-chunk-extension"), (";=b", "bad-chunk-extension"),
        (";a=", "bad-chunk-extension"), (";a= ", "bad-chunk-extension"),
        (";a==b", "bad-chunk-extension"), (";a=b=c", "bad-chunk-extension"),
        (";a b", "bad-chunk-extension"), (";a=b c", "bad-chunk-extension"),
        (";a=\"b", "bad-chunk-extension"), (";a=\"b\\\"", "bad-chunk-extension"),
        (";a=b\"", "bad-chunk-extension"), (";a=\"b\"c", "bad-chunk-extension"),
        (";a=\"b\"\"c\"", "bad-chunk-extension"), (";\"a\"", "bad-chunk-extension"),
        (";a,b", "bad-chunk-extension"), (";a=b,c", "bad-chunk-extension"),
        (";a/b", "bad-chunk-extension"), (";a=[b]", "bad-chunk-extension"),
        (";a=\u{e9}", "bad-chunk-extension"), (";\u{e9}", "bad-chunk-extension"),
        (";a=\"\u{1}\"", "bad-chunk-extension"), (";a=\"\\\u{1}\"", "bad-chunk-extension"),
        (";a=\"\u{7f}\"", "bad-chunk-extension"), (";a=\"\\\u{0}\"", "bad-chunk-extension"),
        (";a=\"\n\"", "bad-chunk-extension"), (" a", "bad-chunk-size"), (" 5", "bad-chunk-size"),
        ("\ta", "bad-chunk-size"), (",a", "bad-chunk-size"), (" =a", "bad-chunk-size"),
        ("=a", "bad-chunk-size"), ("\u{b};a", "bad-chunk-size"), ("\u{e9}", "bad-chunk-size"),
        ("\r", "bad-chunk-size"), (";a\r", "bad-chunk-size"), ("\n", "bad-chunk-size"),
        (";a\n", "bad-chunk-extension"), (";a=\"b\r\"", "bad-chunk-extension"),
    ]
    /// Blanks in front of the CRLF: refused in a request, taken in a response.
    static let padded = [" ", "\t", "   ", " \t ", ";a ", ";a=b\t", ";a=\"b\" "]

    /// The outcomes of a body with the line, cut in two at every byte and into single bytes.
    static func outcomes(_ line: String, isResponse: Bool) -> Set<String> {
        let text = "5\(line)\r\nhello\r\n0\(line)\r\n\r\n"
        return Set(
            (1...text.utf8.count).map {
                BodyDecoderTests.decode(text, .chunked, step: $0, isResponse: isResponse)
            })
    }

    @Test("what RFC 9112 §7.1.1 allows is read, in any pieces, either way", arguments: allowed)
    func allows(line: String) {
        for isResponse in [false, true] {
            #expect(ChunkLineTests.outcomes(line, isResponse: isResponse) == ["hello|"])
        }
    }

    @Test("what it does not allow is refused, in any pieces, either way", arguments: refused)
    func refuses(line: String, violation: String) {
        for isResponse in [false, true] {
            #expect(ChunkLineTests.outcomes(line, isResponse: isResponse) == [violation])
        }
    }

    @Test("blanks in front of a chunk line's end are taken from origins alone", arguments: padded)
    func pads(line: String) {
        #expect(ChunkLineTests.outcomes(line, isResponse: true) == ["hello|"])
        #expect(ChunkLineTests.outcomes(line, isResponse: false) == ["bad-chunk-size"])
    }

    @Test("a line that is not all there is no violation yet", arguments: allowed)
    func waits(line: String) {
        let bytes = Array("5\(line)\r".utf8)
        for count in 1...bytes.count {
            let outcome = BodyDecoderTests.decode(
                Array(bytes[..<count]), .chunked, step: count)
            #expect(outcome == "|incomplete")
        }
    }

    @Test("an extension above its limit is refused before its line ends")
    func limit() {
        let text = "5;a=\"" + String(repeating: "x", count: 1_200)
        for step in [1, 7, 2_000] {
            #expect(
                BodyDecoderTests.decode(text, .chunked, step: step) == "chunk-extensions-too-long")
        }
    }
}
