import Configuration
import Testing

/// A set of bad files: each gets the place, what was expected, and is never loaded.
@Suite struct BadConfigurationTests {
    static let base = """
        listeners:
          - { name: http, address: "127.0.0.1:8080" }
        services:
          s:
            stable: v1
            versions:
              v1: { weight: 90%, endpoints: ["127.0.0.1:1"] }
              v2: { weight: 10%, endpoints: ["127.0.0.1:2"] }
        routes:
          - { name: rest, to: s }
        """

    /// (text replaced, by what, line of the first error, a part of its message)
    static let cases: [(String, String, Int, String)] = [
        ("listeners:", "listener:", 1, "has no key \"listener\""),
        ("name: http, ", "", 2, "lacks the key \"name\""),
        ("address: \"127.0.0.1:8080\"", "address: \"127.0.0.1\"", 2, "expected an address"),
        ("address: \"127.0.0.1:8080\"", "address: localhost:80", 2, "expected an address"),
        ("address: \"127.0.0.1:8080\"", "address: \"1.2.3.4:99999\"", 2, "expected an address"),
        ("address: \"127.0.0.1:8080\"", "address: \"unix:relative\"", 2, "expected an address"),
        ("name: http,", "name: \"h t\",", 2, "expected a name"),
        ("name: http,", "name: [a],", 2, "is a list, expected a name"),
        ("name: http,", "name: http, protocol: h3,", 2, "expected one of auto, http1, http2"),
        ("name: http,", "name: http, tls: {},", 2, "has no certificate"),
        ("name: http,", "name: http, tls: { key: a },", 2, "a key without a certificate"),
        ("stable: v1", "stable: v1\n    tls: { certificate: a }", 6, "a certificate without a key"),
        ("name: http,", "name: http, name: b,", 2, "given twice"),
        ("  s:\n", "  \"s s\":\n", 4, "is not a name"),
        ("stable: v1", "stable: v3", 5, "no version of"),
        ("stable: v1", "stabel: v1", 5, "has no key \"stabel\""),
        ("stable: v1", "healthCheck: {}", 5, "needs one of path, tcp, grpc"),
        ("stable: v1", "healthCheck: { path: /, tcp: true }", 5, "needs one of path, tcp, grpc"),
        ("stable: v1", "healthCheck: { path: x }", 5, "is not a path"),
        ("stable: v1", "healthCheck: { grpc: \"\" }", 5, "needs protocol: http2"),
        ("stable: v1", "healthCheck: { path: /, interval: 0s }", 5, "interval is 0"),
        ("stable: v1", "healthCheck: { path: /, statuses: 200-199 }", 5, "a status or a range"),
        ("stable: v1", "healthCheck: { path: /, statuses: \"200-299-\" }", 5, "or a range"),
        ("stable: v1", "healthCheck: { path: /, host: \"a b\" }", 5, "is not a host"),
        ("stable: v1", "healthCheck: { path: /, healthyThreshold: 0 }", 5, "from 1 to 1000"),
        ("stable: v1", "outlierDetection: { consecutive5xx: 0 }", 5, "from 1 to 10000, or off"),
        ("stable: v1", "outlierDetection: { consecutive5XX: 5 }", 5, "has no key"),
        ("stable: v1", "outlierDetection: { maxEjectionPercent: 101 }", 5, "from 0 to 100"),
        ("stable: v1", "outlierDetection: { baseEjectionTime: 0s }", 5, "baseEjectionTime is 0"),
        ("stable: v1", "warmup: { duration: 0s }", 5, "warmup.duration is 0"),
        ("stable: v1", "warmup: { minimumPercent: 10 }", 5, "lacks the key \"duration\""),
        ("stable: v1", "whenUnavailable: retry", 5, "one of fail, fallback"),
        ("stable: v1", "connectTimeout: 250", 5, "expected a duration"),
        ("stable: v1", "connectTimeout: 0s", 5, "connectTimeout is 0"),
        ("stable: v1", "dnsRefresh: 1ms", 5, "below 100ms"),
        ("stable: v1", "loadBalancer: fastest", 5, "loadBalancer"),
        ("stable: v1", "loadBalancer: { ringHash: {} }", 5, "needs a header or a cookie"),
        (
            "stable: v1", "loadBalancer: { ringHash: { header: \"a b\" } }", 5,
            "no header or cookie name"
        ),
        (
            "stable: v1", "loadBalancer: { ringHash: { header: a, cookie: b } }", 5,
            "needs a header or a cookie"
        ),
        ("stable: v1", "connectionPool: { maxConnections: 0 }", 5, "whole number from 1"),
        ("stable: v1", "connectionPool: { idleTimeout: soon }", 5, "expected a duration"),
        ("stable: v1", "hosts: [\"a b\"]", 5, "is not a host"),
        ("stable: v1", "hosts: [\"a:80\"]", 5, "is not a host"),
        ("stable: v1", "hosts: [\"a.*.b\"]", 5, "is not a host"),
        ("stable: v1", "sticky: { cookie: a }", 5, "names no stable version"),
        ("stable: v1", "stable: v1\n    sticky: {}", 6, "says nothing to know a session by"),
        (
            "stable: v1", "stable: v1\n    sticky: { cookie: a, header: b }", 6,
            "a cookie and a header"
        ),
        ("stable: v1", "stable: v1\n    sticky: { cookie: a, issue: a }", 6, "own cookie"),
        ("stable: v1", "stable: v1\n    sticky: { cookie: \"a b\" }", 6, "no cookie name"),
        ("stable: v1", "stable: v1\n    sticky: { cookie: a, ttl: 10ms }", 6, "below 1s"),
        ("weight: 90%", "weight: 80%", 7, "total 90.00 %"),
        ("weight: 90%", "weight: 9", 8, "mix percents and integers"),
        ("weight: 90%", "weight: 90.123%", 7, "expected a whole number"),
        ("weight: 90%", "weight: -1", 7, "expected a whole number"),
        ("weight: 90%", "weight: 101%", 7, "expected a whole number"),
        ("weight: 90%", "weight: ~", 7, "has no value"),
        ("weight: 90%", "wieght: 90%", 7, "has no key \"wieght\""),
        ("endpoints: [\"127.0.0.1:1\"]", "endpoints: [\"127.0.0.1:0\"]", 7, "port 0"),
        ("endpoints: [\"127.0.0.1:1\"]", "endpoints: \"127.0.0.1:1\"", 7, "expected a list"),
        (
            "endpoints: [\"127.0.0.1:1\"]", "endpoints: [\"127.0.0.1:1\"], dns: \"a:1\"", 7,
            "endpoints and dns"
        ),
        ("endpoints: [\"127.0.0.1:1\"]", "dns: a", 7, "expected name:port"),
        ("to: s", "to: t", 10, "no service named \"t\""),
        ("to: s", "to: s/v9", 10, "has no version \"v9\""),
        ("to: s", "to: s/v1, split: { v1: 1 }", 10, "no split"),
        ("to: s", "to: s, split: { v3: 1 }", 10, "no version of"),
        ("to: s", "to: s, split: { v1: 0, v2: 0 }", 10, "all weights of split are 0"),
        ("to: s", "to: s, split: { v1: 50%, v2: 40% }", 10, "total 90.00 %"),
        ("to: s", "to: s, split: { v1: 999999, v2: 1 }", 10, "above 10000"),
        (", to: s", "", 10, "has none, expected one of"),
        ("to: s", "to: s, respond: { status: 200 }", 10, "to and respond"),
        ("to: s", "redirect: { status: 301 }", 10, "changes nothing"),
        ("to: s", "redirect: { path: x }", 10, "is not a path"),
        ("to: s", "redirect: { path: \"/x?a b\" }", 10, "is not a path"),
        ("to: s", "redirect: { prefix: \"/x?a=b\" }", 10, "is not a path"),
        (
            "to: s", "to: s, headers: { request: { remove: [X-Sluice-Mirror] } }", 10,
            "cannot be edited"
        ),
        ("to: s", "redirect: { path: /x, status: 200 }", 10, "one of 301"),
        ("to: s", "respond: { status: 99 }", 10, "from 200 to 599"),
        ("to: s", "respond: { status: 204, body: a }", 10, "status 204 has no body (RFC 9110 §15"),
        ("to: s", "respond: { status: 205, body: a }", 10, "status 205 has no body (RFC 9110 §15"),
        ("to: s", "respond: { status: 304, body: a }", 10, "status 304 has no body (RFC 9110 §15"),
        ("to: s", "to: s, match: []", 10, "empty list"),
        ("to: s", "to: s, match: { path: { exact: /a, prefix: /b } }", 10, "needs one of"),
        ("to: s", "to: s, match: { path: { exact: a } }", 10, "is not a path"),
        ("to: s", "to: s, match: { path: { exact: /a/../b } }", 10, "not in normal form"),
        ("to: s", "to: s, match: { path: { regex: \"(\" } }", 10, "not an RE2 pattern"),
        ("to: s", "to: s, match: { path: { template: \"/a{b\" } }", 10, "neither text nor {name}"),
        ("to: s", "to: s, match: { methods: [get] }", 10, "not a method as clients send it"),
        ("to: s", "to: s, match: { headers: { x: { exact: a, prefix: b } } }", 10, "needs one of"),
        ("to: s", "to: s, match: { headers: { \"a b\": c } }", 10, "not a header name"),
        ("to: s", "to: s, match: { header: { a: b } }", 10, "has no key \"header\""),
        ("to: s", "to: s, rewrite: { prefix: /x }", 10, "matches none"),
        ("to: s", "to: s, rewrite: { path: /x, prefix: /y }", 10, "a path and a prefix"),
        ("to: s", "to: s, rewrite: { host: \"a b\" }", 10, "is not a host"),
        ("to: s", "to: s, headers: { request: { set: { host: a } } }", 10, "cannot be edited"),
        (
            "to: s", "to: s, headers: { request: { set: { content-length: 1 } } }", 10,
            "cannot be edited"
        ),
        (
            "to: s", "to: s, headers: { response: { add: { a: \"x\\ny\" } } }", 10,
            "control character"
        ),
        ("to: s", "to: s, timeouts: { request: 2 }", 10, "expected a duration"),
        ("to: s", "to: s, timeouts: { headers: 2s }", 10, "has no key \"headers\""),
        ("to: s", "to: s, mirror: { to: s }", 10, "names no version"),
        ("to: s", "to: s, mirror: { to: s/v3 }", 10, "has no version \"v3\""),
        ("to: s", "to: s, mirror: { to: t/v1 }", 10, "no service named \"t\""),
        ("to: s", "to: s, mirror: { to: s/v2, share: 50 }", 10, "expected a percentage"),
        ("to: s", "to: s, mirror: { to: s/v2, bodyBytes: 17MiB }", 10, "at most 16MiB"),
        ("to: s", "respond: {}, mirror: { to: s/v2 }", 10, "mirror needs a route with to:"),
        ("to: s", "to: s, fault: {}", 10, "does nothing"),
        ("to: s", "to: s, fault: { abort: {} }", 10, "abort has no status"),
        ("to: s", "to: s, fault: { abort: { status: 600 } }", 10, "from 200 to 599"),
        ("to: s", "to: s, fault: { delay: { share: 1% } }", 10, "lacks the key \"time\""),
        ("to: s", "to: s, fault: { delay: { time: 0s } }", 10, "time is 0"),
        ("to: s", "respond: {}, fault: { abort: { status: 503 } }", 10, "fault needs a route"),
        ("to: s", "to: s, retries: on", 10, "such as { attempts: 2 }, or off"),
        ("to: s", "to: s, retries: { on: [5xxx] }", 10, "expected one of connect-failure"),
        ("to: s", "to: s, retries: { on: [200] }", 10, "from 400 to 599"),
        ("to: s", "to: s, retries: { on: [] }", 10, "is an empty list"),
        ("to: s", "to: s, retries: { attempts: 11 }", 10, "from 0 to 10"),
        ("to: s", "to: s, retries: { budget: 20% }", 10, "has no key \"budget\""),
        ("to: s", "to: s, retries: { backoff: 1s, maxBackoff: 10ms }", 10, "shorter than backoff"),
        ("to: s", "to: s, retries: { bodyBytes: 1GiB }", 10, "at most 16MiB"),
        ("to: s", "to: s, rateLimit: { requests: 10 }", 10, "lacks the key \"per\""),
        ("to: s", "to: s, rateLimit: { requests: 10, per: 0s }", 10, "per is 0"),
        ("to: s", "to: s, rateLimit: { requests: 1000000000, per: 10ms }", 10, "above a billion"),
        ("to: s", "to: s, rateLimit: { requests: 1, per: 1s, maxKeys: 5 }", 10, "without by"),
        ("to: s", "to: s, rateLimit: { requests: 1, per: 1s, by: {} }", 10, "a header or a cookie"),
        ("to: s", "to: s, rateLimit: { requests: 1, per: 1s, by: ip }", 10, "}, or address"),
        ("to: s", "to: s, timeouts: { perTry: 2 }", 10, "expected a duration"),
        ("name: rest", "name: rest, name: rest", 10, "given twice"),
        (
            "  - { name: rest, to: s }", "  - { name: rest, to: s }\n  - { name: rest, to: s }", 11,
            "two routes named"
        ),
        (
            "  - { name: rest, to: s }", "  - { name: rest, to: s }\n workers: 0", 11,
            "is indented by 1"
        ),
        ("  - { name: rest, to: s }", "  - { name: rest, to: s }\nworkers: 0", 11, "from 1 to 64"),
        (
            "  - { name: rest, to: s }", "  - { name: rest, to: s }\nadmin: 127.0.0.1:8080", 11,
            "the same address"
        ),
        (
            "  - { name: rest, to: s }",
            "  - { name: rest, to: s }\ndefaults: { limits: { headerBytes: 10 } }", 11,
            "1KiB to 256KiB"
        ),
        (
            "  - { name: rest, to: s }",
            "  - { name: rest, to: s }\ndefaults: { timeouts: { idle: 0 } }", 11, "a duration"
        ),
        (
            "  - { name: rest, to: s }",
            "  - { name: rest, to: s }\ndefaults: { forwarding: { version: \"a b\" } }", 11,
            "not a header name"
        ),
        (
            "  - { name: rest, to: s }", "  - { name: rest, to: s }\naccessLog: on", 11,
            "expected a mapping such as { path: /dev/stdout }, or off"
        ),
        (
            "  - { name: rest, to: s }",
            "  - { name: rest, to: s }\naccessLog: { path: a, sample: 5 }", 11, "percentage"
        ),
        (
            "  - { name: rest, to: s }",
            "  - { name: rest, to: s }\n---\nworkers: 1\n---\nworkers: 2", 14, "in two documents"
        ),
        ("  - { name: rest, to: s }", "  - *nobody", 10, "refers to an anchor"),
        ("  - { name: rest, to: s }", "  - [", 11, "did not find expected node"),
    ]

    @Test(
        "fields that say how a message is read, or have a meaning of their own, are not written",
        arguments: ["version", "flags"],
        [
            "content-length", "Transfer-Encoding", "connection", "host", "upgrade", "trailer", "te",
            "keep-alive", "proxy-connection", "HTTP2-Settings", "x-sluice-mirror", "date",
            "set-cookie", "content-type", "via", "grpc-status", "x-request-id",
        ])
    func fieldsWithMeaning(key: String, name: String) throws {
        let text =
            BadConfigurationTests.base
            + "\ndefaults: { forwarding: { \(key): \(name) } }"
        let reading = ConfigurationReading(Array(text.utf8))
        #expect(reading.document == nil)
        let error = try #require(reading.errors.first)
        #expect(error.message == "\"\(name)\" cannot be written as forwarding.\(key)")
        #expect(error.mark.line == 11)
        #expect(error.hint.hasSuffix(key == "version" ? "x-served-by" : "x-sluice-flags"))
    }

    @Test("a bad file gets its place, what was expected, and is not loaded", arguments: cases)
    func refuses(old: String, new: String, line: Int, message: String) throws {
        let text = Text.replacing(BadConfigurationTests.base, old, with: new)
        #expect(text != BadConfigurationTests.base)
        let reading = ConfigurationReading(Array(text.utf8))
        #expect(reading.document == nil)
        let first = try #require(reading.errors.first)
        #expect(first.message.contains(message), "\(first.message)")
        if !message.isEmpty { #expect(first.mark.line == line) }
        let shown = reading.text(file: "f.yaml", bytes: Array(text.utf8))
        #expect(shown.hasPrefix("f.yaml:\(first.mark.line):\(first.mark.column): error: "))
        // A file that ends too early is wrong behind its last line, which cannot be shown.
        #expect(shown.contains("^") || first.mark.line > text.split(separator: "\n").count)
    }

    @Test("every error is reported at once, in the order of the file")
    func allAtOnce() {
        var text = Text.replacing(BadConfigurationTests.base, "stable: v1", with: "stabel: v1")
        text = Text.replacing(text, "to: s", with: "too: s")
        text = Text.replacing(text, "name: http", with: "nam: http")
        let reading = ConfigurationReading(Array(text.utf8))
        let lines = reading.errors.map(\.mark.line)
        #expect(lines == lines.sorted())
        #expect(Set(lines) == [2, 5, 10])
        let hints = reading.errors.map(\.hint).joined()
        for meant in ["stable", "to", "name"] {
            #expect(hints.contains("did you mean \"\(meant)\"?"))
        }
    }

    @Test("bombs are refused within their limits")
    func bombs() {
        var aliases = "x-a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n"
        for i in 0..<12 {
            let name = String(UnicodeScalar(UInt8(98 + i)))
            let before = String(UnicodeScalar(UInt8(97 + i)))
            let list = [String](repeating: "*\(before)", count: 10).joined(separator: ", ")
            aliases += "x-\(name): &\(name) [\(list)]\n"
        }
        let deep = String(repeating: "[", count: 100) + String(repeating: "]", count: 100)
        let large = String(repeating: "# comment\n", count: 500_000)
        for text in [aliases, deep, large, "", "\u{0}", "- a", "a: b: c", "\t"] {
            #expect(ConfigurationReading(Array(text.utf8)).document == nil)
        }
    }

    @Test("mutated files never trap")
    func mutations() {
        let source = Array(BadConfigurationTests.base.utf8)
        var state: UInt64 = 7
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        for _ in 0..<2_000 {
            var bytes = source
            for _ in 0...random(5) { bytes[random(bytes.count)] = UInt8(random(256)) }
            if random(4) == 0 { bytes.removeLast(random(bytes.count)) }
            _ = ConfigurationReading(bytes)
        }
    }
}

enum Text {
    /// The text with the first occurrence of `old` replaced.
    static func replacing(_ text: String, _ old: String, with new: String) -> String {
        guard let range = text.firstRange(of: old) else { return text }
        return text[..<range.lowerBound] + new + text[range.upperBound...]
    }
}
