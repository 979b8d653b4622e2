import Configuration
import Testing

/// A configuration that is valid and can hardly be meant is warned of, at its place; what may be meant is not.
@Suite struct WarningTests {
    /// The good file with two of its lines replaced.
    private func read(_ edits: [(String, String)]) -> ConfigurationReading {
        var text = BadConfigurationTests.base
        for (old, new) in edits {
            #expect(text.contains(old), "\(old) is not there")
            text = Text.replacing(text, old, with: new)
        }
        return ConfigurationReading(Array(text.utf8))
    }

    static let rest = "  - { name: rest, to: s }"

    /// (what is replaced, by what, line of the one warning, part of its message, part of its hint)
    static let cases: [(String, String, Int, String, String)] = [
        ("routes:\n\(rest)", "", 4, "there are no routes", "routes: [{ name: rest, to: s }]"),
        ("routes:\n\(rest)", "routes: []", 9, "is answered with 404", "add routes"),
        (
            "routes:\n",
            "  t: { versions: { v1: { endpoints: [\"127.0.0.1:3\"] } } }\nroutes:\n", 9,
            "no route leads to the service \"t\"", "to: t"
        ),
        ("127.0.0.1:2", "127.0.0.1:8080", 8, "own listener \"http\"", "of the application"),
        ("127.0.0.1:2", "0.0.0.0:8080", 8, "own listener \"http\"", "of the application"),
        ("endpoints: [\"127.0.0.1:2\"]", "dns: localhost:8080", 8, "listener \"http\"", "ports of"),
        ("endpoints: [\"127.0.0.1:2\"]", "dns: 127.0.0.1:8080", 8, "listener \"http\"", "ports of"),
        (rest, "  - { name: a, match: { path: { prefix: /api/* } }, to: s }", 10, "star", "/api }"),
        (
            rest, rest + "\naccessLog: { path: stdout }", 11, "a file named \"stdout\"",
            "/dev/stdout"
        ),
        (
            rest, rest + "\n  - { name: b, match: { path: { exact: /x } }, to: s/v2 }", 11,
            "\"b\" is never reached", "\"rest\" on line 10"
        ),
        (
            rest,
            "  - { name: a, match: { path: { template: \"/u/{id}\" } }, to: s }\n"
                + "  - { name: b, match: { path: { exact: /u/me } }, to: s/v2 }", 11,
            "\"b\" is never reached", "\"a\" on line 10"
        ),
        (
            rest,
            "  - { name: a, match: { path: { prefix: /u } }, to: s }\n"
                + "  - { name: b, match: { path: { template: \"/u/{id}/x\" } }, to: s/v2 }", 11,
            "\"b\" is never reached", "\"a\" on line 10"
        ),
    ]

    @Test("what can hardly be meant is a warning at its line", arguments: cases)
    func warned(_ old: String, _ new: String, _ line: Int, _ message: String, _ hint: String) throws
    {
        let reading = read([(old, new)])
        #expect(reading.document != nil, "\(reading.errors)")
        let warning = try #require(reading.warnings.first)
        #expect(reading.warnings.count == 1)
        #expect(warning.mark.line == line && warning.message.contains(message), "\(warning)")
        #expect(warning.hint.contains(hint), "\(warning)")
    }

    @Test("a version without weight beside weighted ones is warned of, unless something names it")
    func weights() throws {
        let integers = [("weight: 90%, ", "weight: 9, "), ("weight: 10%, ", "")]
        let warning = try #require(read(integers).warnings.first)
        #expect(warning.mark.line == 8)
        #expect(warning.message.contains("\"v2\" of \"s\" has no weight, which counts as 0"))
        let meant: [(String, String)] = [
            ("weight: 9, ", "weight: 9, headers: {}, "),
            (WarningTests.rest, WarningTests.rest + "\n  - { name: b, to: s/v2 }"),
            ("{ endpoints: [\"127.0.0.1:2\"] }", "{ weight: 0, endpoints: [\"127.0.0.1:2\"] }"),
            ("to: s }", "to: s, mirror: { to: s/v2 } }"),
            ("to: s }", "to: s, split: { v1: 1, v2: 1 } }"),
        ]
        for (i, edit) in meant.enumerated() {
            let said = read(integers + [edit]).warnings.contains {
                $0.message.contains("has no weight")
            }
            #expect(said == (i == 0), "\(edit)")
        }
        // Of percents it is an error, which says how much is missing.
        let error = try #require(read([("weight: 10%, ", "")]).errors.first)
        #expect(error.hint == "\"v2\" has none, which counts as 0 %; give it 10%")
    }

    @Test("a loop is warned of for spellings of one address that are certain, and for no others")
    func loops() {
        // (listener, endpoint, whether the two certainly are one)
        let cases: [(String, String, Bool)] = [
            ("0.0.0.0:8080", "127.0.0.1:8080", true), ("0.0.0.0:8080", "127.9.9.9:8080", true),
            ("[::]:8080", "127.0.0.1:8080", true), ("[::]:8080", "[::1]:8080", true),
            ("[::1]:8080", "[::]:8080", true), ("127.0.0.1:8080", "0.0.0.0:8080", true),
            ("unix:/run/a", "unix:/run/a", true), ("10.0.0.1:8080", "10.0.0.1:8080", true),
            ("0.0.0.0:8080", "10.0.0.1:8080", false), ("0.0.0.0:8080", "[::1]:8080", false),
            ("127.0.0.1:8080", "127.0.0.2:8080", false), ("127.0.0.2:8080", "0.0.0.0:8080", false),
            ("127.0.0.1:8080", "127.0.0.1:8081", false), ("unix:/run/a", "unix:/run/b", false),
            ("127.0.0.1:0", "127.0.0.1:1", false),
        ]
        for (listener, endpoint, isLoop) in cases {
            let reading = read([("127.0.0.1:8080", listener), ("127.0.0.1:2", endpoint)])
            #expect(reading.document != nil)
            let said = reading.warnings.contains { $0.message.contains("own listener \"http\"") }
            #expect(said == isLoop, "\(listener) and \(endpoint)")
        }
        // A second listener behind the first, whose requests go elsewhere, is no loop.
        let chain = read([
            ("services:", "  - { name: in, address: \"127.0.0.1:2\" }\nservices:"),
            ("to: s }", "match: { listeners: [http] }, to: s }"),
        ])
        #expect(chain.document != nil && chain.warnings.isEmpty, "\(chain.warnings)")
    }

    @Test("two of one name, or of one address, are an error that names both places")
    func twice() throws {
        let listener = "  - { name: http, address: \"127.0.0.1:8080\" }"
        let cases: [(String, String, String, String)] = [
            (
                listener, listener + "\n  - { name: http, address: \"127.0.0.1:8081\" }",
                "two listeners named \"http\": the first stands on line 2", "name: http-2"
            ),
            (
                listener, listener + "\n  - { name: b, address: \"127.0.0.1:8080\" }",
                "listeners \"http\" on line 2 and \"b\" have the same address", "another port"
            ),
            (
                listener, listener + "\n  - { name: b, address: \"0.0.0.0:8080\" }",
                "\"http\" on line 2 and \"b\" have the same port, and one of them takes every",
                "another port"
            ),
            (
                WarningTests.rest, WarningTests.rest + "\n" + WarningTests.rest,
                "two routes named \"rest\": the first stands on line 10", "name: rest-2"
            ),
            (
                "stable: v1", "stable: v1\n    stable: v2",
                "\"stable\" is given twice: the first stands on line 5", "keep one"
            ),
            (
                "routes:", "admin: \"0.0.0.0:8080\"\nroutes:",
                "admin and the listener \"http\" have the same port", "another port"
            ),
        ]
        for (old, new, message, hint) in cases {
            let error = try #require(read([(old, new)]).errors.first)
            #expect(error.message.contains(message) && error.hint.contains(hint), "\(error)")
        }
        // Each family has its own part.
        #expect(
            read([(listener, listener + "\n  - { name: b, address: \"[::]:8080\" }")]).document
                != nil)
    }

    @Test("of a pair of which one half is missing, one message says so")
    func halves() {
        for half in ["certificate: a", "key: a"] {
            let reading = read([("name: http,", "name: http, tls: { \(half) },")])
            #expect(reading.errors.count == 1, "\(reading.errors)")
        }
    }
}
