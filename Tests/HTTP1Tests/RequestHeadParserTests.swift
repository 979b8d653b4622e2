import Base
import HTTP1
import HTTPSemantics
import Testing

enum Parse {
    /// The outcome of a head that arrives in the pieces that `cuts` make.
    static func request(_ text: String, cuts: [Int] = [], limits: HeadLimits = HeadLimits())
        -> String
    {
        let bytes = Array(text.utf8)
        var head = RequestHead(fieldCountMax: limits.fieldCountMax)
        var parser = RequestHeadParser()
        for end in cuts + [bytes.count] {
            do throws(HTTP1Violation) {
                let part = Array(bytes[..<end])
                if case .complete(let count) = try parser.parse(
                    part.span, into: &head, limits: limits)
                {
                    let path = ASCII.string(part.span.extracting(head.path.range))
                    let authority = ASCII.string(part.span.extracting(head.authority.range))
                    return
                        "\(head.method) \(authority) \(path) \(head.framing) \(head.fields.count) \(count)"
                }
            } catch {
                return "\(error.status) \(error.cause)"
            }
        }
        return "incomplete"
    }
}

@Suite struct RequestHeadParserTests {
    static let bad: [(String, String)] = [
        ("GET /\u{0} HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad-target"),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad-target"),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad-method"),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad-method"),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", "400 bad-version"),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", "400 bad-version"),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505 unsupported-version"),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "400 bad-version"),
        ("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad-target"),
        ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad-target"),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad-target"),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad-target"),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad-target"),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 host-mismatch"),
        ("GET / HTTP/1.1\r\n\r\n", "400 missing-host"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400 repeated-host"),
        ("GET / HTTP/1.1\r\nHost: \r\n\r\n", "400 bad-host"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400 bad-host"),
        ("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", "400 bad-host"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400 bad-field-name"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", "400 obsolete-fold"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: y\nZ: 1\r\n\r\n", "400 bad-field-value"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ: 1\r\n\r\n", "400 bad-field-value"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \u{0}\r\n\r\n", "400 bad-field-value"),
        ("GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", "400 bad-field-name"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX y\r\n\r\n", "400 bad-field-name"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "400 repeated-content-length"
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", "400 bad-content-length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", "400 bad-content-length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "400 bad-content-length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", "400 bad-content-length"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n",
            "400 bad-content-length"
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400 length-with-transfer-encoding"
        ),
        (
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400 framing-in-http10"
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "501 unknown-transfer-coding"
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "501 unknown-transfer-coding"
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400 bad-transfer-encoding"
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n",
            "400 bad-field-value"
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", "417 bad-expectation"),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: a b\r\n\r\n", "400 bad-connection-field"),
        ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad-target"),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad-method"),
    ]

    static let good: [(String, String)] = [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "get a / none 1 27"),
        ("\r\nGET /x?y=%20[1]|2 HTTP/1.1\r\nHost: a:80\r\n\r\n", "get a:80 /x none 1 44"),
        ("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "get a  none 1 34"),
        ("GET http://A/b HTTP/1.1\r\nHost: a\r\n\r\n", "get A /b none 1 36"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "options a * none 1 31"),
        ("GET / HTTP/1.0\r\n\r\n", "get  / none 0 18"),
        ("POST / HTTP/1.1\r\nHost:a\r\nContent-Length: 5 \r\n\r\n", "post a / length(5) 2 47"),
        (
            "POST / HTTP/1.1\r\nHost:\ta\t\r\nTransfer-Encoding: Chunked\r\n\r\n",
            "post a / chunked 2 57"
        ),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "connect a:443  none 1 39"),
        ("BREW /pot HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "other [::1]:80 /pot none 1 38"),
    ]

    @Test("what is no request is refused with its status and cause", arguments: bad)
    func refuses(text: String, outcome: String) {
        #expect(Parse.request(text) == outcome)
    }

    @Test("a request says what it says", arguments: good)
    func accepts(text: String, outcome: String) {
        #expect(Parse.request(text) == outcome)
    }

    @Test("every cut of the bytes gives the same outcome", arguments: bad + good)
    func splitInvariance(text: String, outcome: String) {
        let count = text.utf8.count
        for cut in 1..<count { #expect(Parse.request(text, cuts: [cut]) == outcome) }
        #expect(Parse.request(text, cuts: Array(1..<count)) == outcome)
    }

    @Test("limits: line 414, head and count 431")
    func limits() {
        let limits = HeadLimits(headBytesMax: 16_384, fieldCountMax: 3)
        let long = "GET /" + String(repeating: "a", count: 9_000) + " HTTP/1.1\r\nHost: a\r\n\r\n"
        #expect(Parse.request(long, limits: limits) == "414 target-too-long")
        let many = "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"
        #expect(Parse.request(many, limits: limits) == "431 too-many-fields")
        let big = "GET / HTTP/1.1\r\nHost: a\r\nA: " + String(repeating: "a", count: 17_000)
        #expect(Parse.request(big, limits: limits) == "431 head-too-large")
    }

    @Test("mutated heads never trap, and what is accepted has one host and one framing")
    func mutations() {
        var random = PRNG(seed: 42)
        let seeds = RequestHeadParserTests.good.map { Array($0.0.utf8) }
        let limits = HeadLimits()
        var head = RequestHead(fieldCountMax: 100)
        for round in 0..<20_000 {
            var bytes = seeds[round % seeds.count]
            for _ in 0...Int(random.below(4)) where !bytes.isEmpty {
                let at = Int(random.below(UInt64(bytes.count)))
                switch random.below(3) {
                case 0: bytes[at] = UInt8(random.below(256))
                case 1: bytes.remove(at: at)
                default: bytes.insert(UInt8(random.below(256)), at: at)
                }
            }
            var parser = RequestHeadParser()
            guard case .complete? = try? parser.parse(bytes.span, into: &head, limits: limits)
            else {
                continue
            }
            let hosts = (0..<head.fields.count).count(where: { head.fields[$0].known == .host })
            #expect(hosts <= 1)
            #expect(hosts == 1 || head.isHTTP10)
        }
    }
}
