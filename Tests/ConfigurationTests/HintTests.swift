import Configuration
import Testing

/// Mistakes that newcomers make, and what they are told.
@Suite struct HintTests {
    /// (what, text replaced in the good file, by what, line, part of the message, part of the hint)
    static let slips: [(String, String, String, Int, String, String)] = [
        (
            "a scalar path", "to: s }", "match: { path: /x }, to: s }", 10,
            "expected a mapping such as { prefix: /api }", "{ prefix: /x }"
        ),
        (
            "a scalar match", "to: s }", "match: /x, to: s }", 10, "expected",
            "{ path: { prefix: /x } }"
        ),
        (
            "a time of too many digits", "to: s }",
            "timeouts: { request: 9999999999h }, to: s }", 10, "expected a duration",
            "at most five digits"
        ),
        (
            "a port alone", "\"127.0.0.1:8080\"", "8080", 2, "expected an address",
            "\"0.0.0.0:8080\""
        ),
        (
            "a colon and a port", "\"127.0.0.1:8080\"", "\":8080\"", 2, "expected an address",
            "\"0.0.0.0:8080\""
        ),
        (
            "every address", "\"127.0.0.1:8080\"", "\"*:8080\"", 2, "expected an address",
            "\"[::]:8080\""
        ),
        (
            "a name", "\"127.0.0.1:8080\"", "localhost:8080", 2, "expected an address",
            "127.0.0.1:8080"
        ),
        (
            "a URL", "\"127.0.0.1:1\"", "\"http://127.0.0.1:1/\"", 7, "expected an address",
            "no scheme"
        ),
        (
            "IPv6 without brackets", "\"127.0.0.1:1\"", "\"::1:1\"", 7, "expected an address",
            "\"[::1]:1\""
        ),
        ("IPv6 without quotes", "\"127.0.0.1:8080\"", "[::]:8080", 2, "is a list", "needs quotes"),
        ("a variable", "\"127.0.0.1:8080\"", "\"${HOST}:8080\"", 2, "${HOST}", "not expanded"),
        (
            "a variable with a default", "to: s }", "to: \"${SERVICE:-s}\" }", 10,
            "no service named", "not expanded"
        ),
        (
            "a template", "to: s }", "to: \"{{ .Values.service }}\" }", 10, "no service",
            "not expanded"
        ),
        (
            "a template without quotes", "stable: v1", "stable: {{ .Values.stable }}", 5,
            "is a mapping in YAML", "render the file first"
        ),
        ("a tab", "    stable: v1", "\tstable: v1", 5, "a tab", "two spaces"),
        ("a tab further in", "    stable: v1", "  \tstable: v1", 5, "a tab", "two spaces"),
        (
            "one space too few", "    stable: v1", "   stable: v1", 6, "cannot stand",
            "in one column"
        ),
        (
            "one space too many", "    versions:", "     versions:", 6, "cannot stand",
            "in one column"
        ),
        (
            "no space behind a colon", "stable: v1", "stable:v1", 5, "has no colon",
            "space behind the colon"
        ),
        ("a star", "stable: v1", "hosts: [*.example.com]", 5, "anchor", "\"*.example.com\""),
        ("a star alone", "stable: v1", "hosts: [*]", 5, "anchor", "needs quotes"),
        ("an at sign", "stable: v1", "stable: @v1", 5, "cannot begin with @", "in quotes"),
        (
            "a bracket that stays open", "endpoints: [\"127.0.0.1:1\"] }",
            "endpoints: [\"127.0.0.1:1\" }", 7, "is not closed", "[a, b]"
        ),
        ("a quote that stays open", "\"127.0.0.1:1\"", "\"127.0.0.1:1", 8, "not closed", "quotes"),
        (
            "a list for a mapping", "  s:\n    stable: v1\n", "  - name: s\n    stable: v1\n", 4,
            "is a list, expected a mapping", "\"s:\""
        ),
        (
            "a mapping for a list", "  - { name: http, address: \"127.0.0.1:8080\" }",
            "  name: http\n  address: \"127.0.0.1:8080\"", 2, "expected a list", "\"- \""
        ),
        (
            "one text for a list", "[\"127.0.0.1:1\"]", "\"127.0.0.1:1\"", 7, "expected a list",
            "[\"127.0.0.1:1\"]"
        ),
        (
            "a port of its own", "address: \"127.0.0.1:8080\"",
            "address: \"127.0.0.1:8080\", port: 80", 2, "no key \"port\"",
            "address: \"0.0.0.0:PORT\""
        ),
        ("another proxy's word", "services:", "upstreams:", 3, "no key \"upstreams\"", "services"),
        (
            "a key of another place", "    stable: v1", "    retries: off", 5, "no key \"retries\"",
            "stands in"
        ),
        (
            "a route's prefix", "to: s }", "prefix: /x, to: s }", 10, "no key \"prefix\"",
            "match: { path:"
        ),
        ("a share as a fraction", "weight: 90%", "weight: 0.9", 7, "percentage", "0.1 is 10%"),
        ("a share of three decimals", "weight: 90%", "weight: 90.001%", 7, "percentage", "two"),
        ("a weight with decimals", "weight: 90%", "weight: 90.5", 7, "percentage", "90.5%"),
        (
            "a number without a unit", "to: s }", "timeouts: { request: 30 }, to: s }", 10,
            "expected a duration", "30s"
        ),
        (
            "no time for no limit", "to: s }", "timeouts: { request: 0 }, to: s }", 10,
            "expected a duration", "off means no limit"
        ),
        (
            "a fraction of a second", "to: s }", "timeouts: { request: 1.5s }, to: s }", 10,
            "expected a duration", "1s500ms"
        ),
        (
            "none for off", "to: s }", "timeouts: { request: none }, to: s }", 10,
            "expected a duration", "\"off\""
        ),
        (
            "another unit of size", "routes:", "defaults: { limits: { bodyBytes: 10mb } }\nroutes:",
            9, "expected a size", "10MiB"
        ),
        (
            "a rate in one word", "to: s }", "rateLimit: 100/s, to: s }", 10, "expected a mapping",
            "per: 1s"
        ),
        ("attempts alone", "to: s }", "retries: 3, to: s }", 10, "}, or off", "attempts: 3"),
        (
            "a listener that is not there", "to: s }", "match: { listeners: [htp] }, to: s }", 10,
            "no listener named \"htp\"", "\"http\""
        ),
    ]

    @Test("a common slip gets its place and what to write instead", arguments: slips)
    func slip(
        _ what: String, _ old: String, _ new: String, _ line: Int, _ message: String, _ hint: String
    ) throws {
        let text = Text.replacing(BadConfigurationTests.base, old, with: new)
        #expect(text != BadConfigurationTests.base)
        let bytes = Array(text.utf8)
        let reading = ConfigurationReading(bytes)
        #expect(reading.document == nil)
        let shown = reading.text(file: "f.yaml", bytes: bytes)
        let first = try #require(reading.errors.first)
        #expect(first.mark.line == line, "\(what): \(shown)")
        #expect(first.message.contains(message), "\(what): \(shown)")
        #expect(!first.hint.isEmpty && first.hint.contains(hint), "\(what): \(shown)")
        // The place, the line itself and the caret under its fault.
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(shown.hasPrefix("f.yaml:\(line):\(first.mark.column): error: "))
        #expect(shown.contains(" \(line) | \(lines[line - 1])"), "\(what): \(shown)")
        #expect(shown.contains("^"), "\(what): \(shown)")
    }

    @Test("a value that looks like a variable is warned of where it is valid")
    func variables() throws {
        let text = Text.replacing(
            BadConfigurationTests.base, "to: s",
            with: "to: s, headers: { request: { set: { x-pod: \"${POD_NAME}\" } } }")
        let reading = ConfigurationReading(Array(text.utf8))
        #expect(reading.document != nil)
        let warning = try #require(reading.warnings.first)
        #expect(warning.message.contains("${POD_NAME}") && warning.hint.contains("not expanded"))
        let pattern = Text.replacing(
            BadConfigurationTests.base, "to: s",
            with: "to: s, match: { path: { regex: \"/a${1}\" } }")
        #expect(ConfigurationReading(Array(pattern.utf8)).warnings.isEmpty)
    }

    @Test("lines that end with a carriage return are shown like others")
    func carriageReturns() {
        let unix = Text.replacing(BadConfigurationTests.base, "stable", with: "stabel")
        let windows = unix.split(separator: "\n").joined(separator: "\r\n")
        let bytes = Array(windows.utf8)
        let shown = ConfigurationReading(bytes).text(file: "f", bytes: bytes)
        #expect(shown.contains(" 5 |     stabel: v1\n   |     ^"), "\(shown)")
    }

    @Test("truth values of YAML 1.1 are the words on and off where the file has those")
    func truthValues() throws {
        let text = """
            listeners: [{ name: http, address: "127.0.0.1:8080" }]
            services:
              s:
                warmup: false
                outlierDetection: { consecutive5xx: False }
                healthCheck: { tcp: yes }
                connectionPool: { idleTimeout: false }
                tls: { verify: true }
                versions: { v1: { endpoints: ["127.0.0.1:1"] } }
            routes:
              - name: a
                match: { headers: { x-country: no, x-there: { present: yes, not: no } } }
                to: s
                retries: { true: [5xx], attempts: 1 }
                timeouts: { request: false }
            defaults:
              retries: false
              pathNormalization: false
              forwarding: { via: yes, version: no }
            accessLog: false
            """
        let reading = ConfigurationReading(Array(text.utf8))
        let document = try #require(reading.document, "\(reading.errors)")
        #expect(document.services[0].warmup == nil)
        #expect(document.services[0].outlier?.errorsInARowMax == 0)
        #expect(document.services[0].limits.idleTimeout.isUnlimited)
        #expect(document.services[0].tls?.verifies == true)
        #expect(document.retries.retriesMax == 0)
        #expect(document.routes[0].retries?.conditions == .serverError)
        #expect(document.routes[0].request?.isUnlimited == true)
        #expect(!document.normalizesPaths && document.forwarding.via)
        #expect(document.forwarding.versionField == nil && document.accessLog == nil)
        guard case .exact(let country)? = document.routes[0].matches[0].values.first?.pattern else {
            Issue.record("an exact value was expected")
            return
        }
        #expect(country == "no")
    }

    @Test("redirects in circles and schemes that nobody speaks are warned of")
    func arrivals() {
        func warnings(_ listeners: String, _ route: String, _ more: String = "") -> [String] {
            let text = """
                listeners: [\(listeners)]
                routes: [{ name: r, \(route) }, { name: rest, respond: {} }]
                \(more)
                """
            let reading = ConfigurationReading(Array(text.utf8))
            #expect(reading.errors.isEmpty, "\(reading.errors)")
            return reading.warnings.map(\.message)
        }
        let plain = "{ name: http, address: \"127.0.0.1:80\" }"
        let secure =
            "{ name: https, address: \"127.0.0.1:443\", tls: { certificate: c, key: k } }"
        let redirect = "redirect: { scheme: https }"
        let trusting = "defaults: { forwarding: { trustedHops: 1 } }"
        #expect(warnings("\(plain), \(secure)", redirect).contains { $0.contains("in circles") })
        #expect(warnings(plain, redirect, trusting).contains { $0.contains("in circles") })
        for match in ["{ scheme: http }", "{ listeners: [http] }"] {
            #expect(warnings("\(plain), \(secure)", "match: \(match), \(redirect)").isEmpty)
        }
        #expect(warnings(plain, "match: { scheme: http }, \(redirect)", trusting).isEmpty)
        #expect(
            warnings(plain, "match: { scheme: https }, respond: {}").contains {
                $0.contains("no listener of it speaks")
            })
    }
}
