import Base
import HTTPSemantics
import Rewriting
import Testing

@Suite struct RequestHeadTests {
    /// Rows: subject · the request · what the origin gets of it, without the fields of this
    /// hop, which `fields()` checks.
    static let lines: [(String, String, String)] = [
        (
            "canonical lines go on byte for byte",
            "GET /a?b=c HTTP/1.1|Host: a.test|X-One: 1|Accept: */*",
            "GET /a?b=c HTTP/1.1|Host: a.test|X-One: 1|Accept: */*"
        ),
        (
            "a line with other blanks is written from its parts",
            "GET / HTTP/1.1|Host:a.test|X-One: \t 1  |X-Two: 2",
            "GET / HTTP/1.1|Host: a.test|X-One: 1|X-Two: 2"
        ),
        (
            "hop-by-hop fields and those that Connection names end here",
            "GET / HTTP/1.1|Host: a.test|Connection: x-mine, keep-alive|X-Mine: 1|Keep-Alive: 5"
                + "|TE: trailers|Proxy-Connection: close|X-Last: 2",
            "GET / HTTP/1.1|Host: a.test|X-Last: 2"
        ),
        (
            "what a client says of its own way is dropped without trusted hops",
            "GET / HTTP/1.1|Host: a.test|X-Forwarded-For: 1.2.3.4|Forwarded: for=1.2.3.4"
                + "|X-Forwarded-Proto: https|X-Forwarded-Host: b|X-Forwarded-Port: 9|X-Real-IP: 1"
                + "|X-Forwarded-Prefix: /p|X-Forwarded-Client-Cert: Hash=1|X-Sluice-Mirror: 1",
            "GET / HTTP/1.1|Host: a.test"
        ),
        (
            "an absolute target is asked for as a path, and its host is the Host's",
            "GET http://b.test/x?y HTTP/1.1|Host: b.test|X-One: 1",
            "GET /x?y HTTP/1.1|Host: b.test|X-One: 1"
        ),
        (
            "an absolute target without a path is /",
            "GET http://b.test HTTP/1.1|Host: b.test", "GET / HTTP/1.1|Host: b.test"
        ),
        (
            "OPTIONS of an absolute target without a path asks for *",
            "OPTIONS http://b.test HTTP/1.1|Host: b.test", "OPTIONS * HTTP/1.1|Host: b.test"
        ),
        (
            "HTTP/1.0 goes on as 1.1, with the service's name for a Host",
            "GET / HTTP/1.0|X-One: 1", "GET / HTTP/1.1|X-One: 1|host: reviews"
        ),
        (
            "HTTP/1.0 has no 100 Continue",
            "GET / HTTP/1.0|Host: a.test|Expect: 100-continue", "GET / HTTP/1.1|Host: a.test"
        ),
        (
            "a trailing dot and upper case of a host are the client's",
            "GET / HTTP/1.1|Host: A.Test.", "GET / HTTP/1.1|Host: A.Test."
        ),
        (
            "a path that was matched in another form goes on as it came",
            "GET /a/%7e/../b<c HTTP/1.1|Host: a.test", "GET /a/%7e/../b<c HTTP/1.1|Host: a.test"
        ),
    ]

    @Test("each line goes on as it came, anew, or not at all", arguments: lines)
    func linesGoOn(_ row: (String, String, String)) throws {
        let answer = try RewritingWorld(forwarding: "requestId: off").write(row.1)
        #expect(
            answer.text.hasPrefix(row.2 + "|x-forwarded-host: ") || answer.text == row.2,
            "\(row.0): \(answer.text)")
    }

    /// Rows: subject · the world · the request · the fields that this hop writes.
    static let fields: [(String, RewritingWorld, String, String)] = [
        (
            "over TCP", RewritingWorld(), "GET / HTTP/1.1|Host: a.test:81",
            "x-forwarded-host: a.test:81|x-request-id: NEW"
        ),
        (
            "a client's own id is replaced", RewritingWorld(),
            "GET / HTTP/1.1|X-Request-Id: mine|Host: a.test",
            "Host: a.test|x-forwarded-host: a.test|x-request-id: NEW"
        ),
        (
            "over TLS, with a certificate",
            RewritingWorld(isSecure: true, identity: "Hash=ab;Subject=\"CN=c\""),
            "GET / HTTP/1.1|Host: a.test",
            "x-forwarded-proto: https|x-forwarded-host: a.test|x-request-id: NEW"
                + "|x-forwarded-client-cert: Hash=ab;Subject=\"CN=c\""
        ),
        (
            "no certificate is told of a connection without TLS",
            RewritingWorld(identity: "Hash=ab"), "GET / HTTP/1.1|Host: a.test",
            "x-forwarded-host: a.test|x-request-id: NEW"
        ),
        (
            "a copy has the id of its original and says that it is one",
            RewritingWorld(isCopy: true), "GET / HTTP/1.1|Host: a.test",
            "x-forwarded-host: a.test|x-request-id: 00000000-0000-0001-0000-000000000002"
                + "|x-sluice-mirror: 1"
        ),
        (
            "without a host there is none to tell", RewritingWorld(), "GET / HTTP/1.0|X-A: 1",
            "host: reviews|x-request-id: NEW"
        ),
        (
            "via names the protocol that came in", RewritingWorld(forwarding: "via: on"),
            "GET / HTTP/1.0|Host: a.test",
            "x-forwarded-host: a.test|x-request-id: NEW|via: 1.0 sluice"
        ),
        (
            "a body of unknown length is chunked",
            RewritingWorld(), "POST / HTTP/1.1|Host: a.test|Transfer-Encoding: chunked",
            "x-forwarded-host: a.test|x-request-id: NEW|transfer-encoding: chunked"
        ),
        (
            "an id that came is passed on, and none is made",
            RewritingWorld(forwarding: "requestId: pass"), "GET / HTTP/1.1|Host: a.test",
            "x-forwarded-host: a.test"
        ),
    ]

    @Test("the fields of this hop stand behind the client's", arguments: fields)
    func fieldsOfThisHop(_ row: (String, RewritingWorld, String, String)) throws {
        let answer = try row.1.write(row.2)
        #expect(answer.text.hasSuffix("|" + row.3), "\(row.0): \(answer.text)")
        #expect(!answer.text.contains("mine"), "\(row.0): \(answer.text)")
    }

    @Test("a client of a unix socket has no address, and the origin is told of it as unknown")
    func unixClients() throws {
        var world = RewritingWorld(peer: Address(family: .unix, port: 0, high: 0, low: 0))
        let answer = try world.write("GET / HTTP/1.1|Host: a.test")
        #expect(answer.text.contains("|x-forwarded-for: unknown|"), "\(answer.text)")
        world.forwarding = "trustedHops: 2"
        let behind = try world.write(
            "GET / HTTP/1.1|Host: a.test|X-Forwarded-For: 1.2.3.4, 5.6.7.8")
        #expect(
            behind.text.contains("|x-forwarded-for: 1.2.3.4, 5.6.7.8, unknown|"), "\(behind.text)")
    }

    /// Rows: subject · hops · the request's fields · what the origin is told.
    static let hops: [(String, Int, String, String)] = [
        (
            "one hop is believed, and what stands left of its word is dropped", 1,
            "X-Forwarded-For: 6.6.6.6, 1.2.3.4|X-Forwarded-Proto: https|X-Forwarded-Host: w.test"
                + "|X-Forwarded-Port: 8443",
            "x-forwarded-for: 1.2.3.4, 192.0.2.7|x-forwarded-proto: https"
                + "|x-forwarded-host: w.test|x-forwarded-port: 8443"
        ),
        (
            "of two hops both addresses are kept", 2, "X-Forwarded-For: 6.6.6.6, 1.2.3.4, 5.6.7.8",
            "x-forwarded-for: 1.2.3.4, 5.6.7.8, 192.0.2.7"
        ),
        (
            "Forwarded goes on as x-forwarded-*", 1,
            "Forwarded: for=6.6.6.6, for=\"[2001:db8::1]:99\";proto=https;host=w.test",
            "x-forwarded-for: 2001:db8::1, 192.0.2.7|x-forwarded-proto: https"
                + "|x-forwarded-host: w.test"
        ),
        (
            "a node that hides is passed on as it is named", 1, "Forwarded: for=_hidden",
            "x-forwarded-for: _hidden, 192.0.2.7"
        ),
        (
            "a client's x-real-ip is written anew", 1,
            "X-Forwarded-For: 1.2.3.4|X-Real-IP: 6.6.6.6", "x-real-ip: 1.2.3.4"
        ),
        (
            "a request id of a trusted hop stays", 1, "X-Request-Id: theirs",
            "X-Request-Id: theirs|x-forwarded-host: a.test"
        ),
        (
            "a prefix that a trusted hop took off stays", 1, "X-Forwarded-Prefix: /p",
            "X-Forwarded-Prefix: /p|"
        ),
    ]

    @Test("trusted hops are believed, and nobody further left", arguments: hops)
    func trusted(_ row: (String, Int, String, String)) throws {
        let world = RewritingWorld(forwarding: "trustedHops: \(row.1)")
        let answer = try world.write("GET / HTTP/1.1|Host: a.test|" + row.2)
        #expect(answer.text.contains(row.3), "\(row.0): \(answer.text)")
        #expect(!answer.text.contains("6.6.6.6"), "\(row.0): \(answer.text)")
    }

    /// The `Upgrade` of the request and what stands beside it · what goes on; empty for nothing.
    static let upgrades: [(String, String)] = [
        ("GET / HTTP/1.1|Host: a|Connection: upgrade|Upgrade: websocket", "websocket"),
        ("GET / HTTP/1.1|Host: a|Connection: upgrade|Upgrade: h2c", ""),
        ("GET / HTTP/1.1|Host: a|Connection: upgrade|Upgrade: a, b", ""),
        ("GET / HTTP/1.1|Host: a|Upgrade: websocket", ""),
        ("GET / HTTP/1.0|Host: a|Connection: upgrade|Upgrade: websocket", ""),
        ("POST / HTTP/1.1|Host: a|Content-Length: 1|Connection: upgrade|Upgrade: websocket", ""),
    ]

    @Test(
        "one other protocol may be asked for, but not h2c, by 1.0 or with a body",
        arguments: upgrades)
    func upgrade(_ row: (String, String)) throws {
        let answer = try RewritingWorld().write(row.0)
        #expect(answer.log["upgrade"] == row.1)
        #expect(answer.head.wantsTunnel == !row.1.isEmpty)
        #expect(answer.text.contains("connection: upgrade|upgrade: " + row.1) == !row.1.isEmpty)
    }

    @Test("a drawn id is a UUID of version 4")
    func requestID() throws {
        let id = try #require(try RewritingWorld().write("GET / HTTP/1.1|Host: a").log["requestID"])
        let parts = id.split(separator: "-").map(String.init)
        #expect(parts.map(\.count) == [8, 4, 4, 4, 12])
        #expect(parts[2].hasPrefix("4") && "89ab".contains(parts[3].prefix(1)))
    }
}
