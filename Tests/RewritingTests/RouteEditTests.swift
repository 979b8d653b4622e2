import HTTPSemantics
import Rewriting
import Testing

@Suite struct RouteEditTests {
    /// A match · a rewrite · the target asked for · the one that the origin gets.
    static let rewrites: [(String, String, String, String)] = [
        ("path: { prefix: /api }", "prefix: /v2", "/api", "/v2"),
        ("path: { prefix: /api }", "prefix: /v2", "/api/x?q=/api", "/v2/x?q=/api"),
        ("path: { prefix: /api }", "prefix: /v2/", "/api/x", "/v2/x"),
        ("path: { prefix: /api }", "prefix: /", "/api/x", "/x"),
        ("path: { prefix: /api }", "prefix: /", "/api", "/"),
        ("path: { prefix: / }", "prefix: /v2", "/x", "/v2/x"),
        ("path: { prefix: /api }", "prefix: /v2", "/a%70i/./x", "/v2/x"),
        ("path: { prefix: /api }", "prefix: /v2", "/api/a%2Fb", "/v2/a%2Fb"),
        ("path: { exact: /old }", "path: /new", "/old?q=1", "/new?q=1"),
    ]

    @Test(
        "a rewrite replaces the matched prefix or the path, and keeps the query",
        arguments: rewrites)
    func rewrite(_ row: (String, String, String, String)) throws {
        var world = RewritingWorld(route: "rewrite: { \(row.1) }")
        world.match = row.0
        let answer = try world.write("GET \(row.2) HTTP/1.1|Host: a.test")
        #expect(answer.text.hasPrefix("GET \(row.3) HTTP/1.1|Host: a.test|"), "\(answer.text)")
        // The log shows what the client asked for.
        #expect(answer.log["target"] == row.2)
    }

    @Test("a rewritten host is the origin's, and the log keeps the client's")
    func host() throws {
        let world = RewritingWorld(route: "rewrite: { host: in.test }")
        let answer = try world.write("GET / HTTP/1.1|Host: a.test")
        #expect(answer.text.hasPrefix("GET / HTTP/1.1|Host: in.test|x-forwarded-host: a.test|"))
        #expect(answer.log["authority"] == "a.test")
    }

    /// Edits of the route · edits of the version · fields of the request · those at the origin.
    static let edits: [(String, String, String, String)] = [
        ("set: { x-a: \"1\" }", "", "X-A: 0|X-A: 2|X-B: 3", "X-B: 3|…|x-a: 1"),
        ("add: { x-a: \"1\" }", "", "X-A: 0", "X-A: 0|…|x-a: 1"),
        ("remove: [x-a]", "", "x-a: 0|X-A: 1|X-B: 3", "X-B: 3|…"),
        ("set: { x-a: route }", "set: { x-a: version }", "X-A: 0", "…|x-a: version"),
        ("remove: [x-forwarded-host]", "", "X-B: 3", "X-B: 3"),
    ]

    @Test("edits act on all lines of a head, the version's last", arguments: edits)
    func edit(_ row: (String, String, String, String)) throws {
        var world = RewritingWorld(
            route: "headers: { request: { \(row.0) } }", forwarding: "requestId: off")
        if !row.1.isEmpty { world.version = "headers: { request: { \(row.1) } }" }
        let answer = try world.write("GET / HTTP/1.1|Host: a.test|" + row.2)
        let wanted = row.3.split(separator: "|").map {
            $0 == "…" ? "x-forwarded-host: a.test" : $0
        }
        #expect(
            answer.text == (["GET / HTTP/1.1", "Host: a.test"] + wanted).joined(separator: "|"))
    }

    @Test("texts for the log are those of the edited head")
    func log() throws {
        let world = RewritingWorld(
            route: "headers: { request: { set: { user-agent: ours }, remove: [referer] } }")
        let answer = try world.write(
            "GET /p HTTP/1.1|Host: a.test|User-Agent: theirs|Referer: r|Traceparent: 00-1")
        #expect(answer.log["userAgent"] == "ours")
        #expect(answer.log["referer"] == "")
        #expect(answer.log["traceparent"] == "00-1")
        #expect(answer.log["method"] == "GET" && answer.log["target"] == "/p")
        #expect(answer.log["forwardedFor"] == "192.0.2.7")
    }

    /// A redirect · the target and Host asked for · `Location`; `nil`: there is none.
    static let redirects: [(String, String, String?)] = [
        ("path: /new", "GET /old?q=1 HTTP/1.1|Host: a.test", "/new?q=1"),
        ("path: \"/new?by=us\"", "GET /old?q=1 HTTP/1.1|Host: a.test", "/new?by=us"),
        ("scheme: https", "GET /a HTTP/1.1|Host: a.test:8080", "https://a.test/a"),
        ("scheme: http", "GET /a HTTP/1.1|Host: a.test:8080", "http://a.test:8080/a"),
        ("scheme: https, port: 8443", "GET /a HTTP/1.1|Host: a.test", "https://a.test:8443/a"),
        ("host: b.test", "GET /a?q HTTP/1.1|Host: a.test:8080", "http://b.test/a?q"),
        ("host: b.test", "GET / HTTP/1.0|X-A: 1", "http://b.test/"),
        ("scheme: https", "GET / HTTP/1.0|X-A: 1", nil),
        ("scheme: https", "GET /a<b HTTP/1.1|Host: a.test", "https://a.test/a%3Cb"),
    ]

    @Test("a redirect keeps what it does not change", arguments: redirects)
    func redirect(_ row: (String, String, String?)) throws {
        var world = RewritingWorld(route: "redirect: { \(row.0) }")
        world.match = "path: { prefix: / }"
        #expect(try world.location(row.1) == row.2)
    }

    @Test("a redirect's path never names a host")
    func slashes() throws {
        var world = RewritingWorld(route: "redirect: { prefix: / }")
        world.match = "path: { prefix: /old }"
        // In normal form a run of slashes is one; the path that came is not used.
        #expect(try world.location("GET /old//evil.test HTTP/1.1|Host: a.test") == "/evil.test")
    }
}
