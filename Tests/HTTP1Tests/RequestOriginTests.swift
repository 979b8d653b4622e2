import Base
import HTTP1
import HTTPSemantics
import Testing

/// Who is believed about a request's client, and what follows.
@Suite struct RequestOriginTests {
    /// `client scheme authority port`, of a request from 10.0.0.9 without TLS.
    static func origin(_ hops: Int, _ lines: [String], host: String? = "h.test") -> String {
        let host = host.map { "Host: \($0)\r\n" } ?? ""
        let version = host.isEmpty ? "1.0" : "1.1"
        let text = "GET / HTTP/\(version)\r\n\(host)" + lines.map { $0 + "\r\n" }.joined() + "\r\n"
        let bytes = Array(text.utf8)
        var head = RequestHead(fieldCountMax: 100)
        var parser = RequestHeadParser()
        guard
            case .complete? = try? parser.parse(bytes.span, into: &head, limits: HeadLimits())
        else { return "no head" }
        let origin = RequestOrigin(
            head, bytes.span, peer: .ipv4(10, 0, 0, 9, port: 4_000), isSecure: false,
            trustedHops: hops)
        let authority = ASCII.string(bytes.span.extracting(origin.authority.range))
        #expect(origin.hostLength <= authority.utf8.count)
        return "\(origin.client.host) \(origin.isSecure ? "https" : "http") \(authority) "
            + "\(origin.port(bytes.span))"
    }

    static let plain = "10.0.0.9 http h.test 80"

    @Test(
        "the n-th address from the right is the client, whatever the clients wrote left of it",
        arguments: [
            (0, ["X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https"], plain),
            (0, ["Forwarded: for=1.1.1.1;proto=https;host=evil.test"], plain),
            (0, ["X-Forwarded-Port: 8443", "X-Forwarded-Host: evil.test"], plain),
            (1, [], plain),
            (1, ["X-Forwarded-For: 1.1.1.1"], "1.1.1.1 http h.test 80"),
            (1, ["X-Forwarded-For: 6.6.6.6, 1.1.1.1"], "1.1.1.1 http h.test 80"),
            (2, ["X-Forwarded-For: 6.6.6.6, 1.1.1.1, 2.2.2.2"], "1.1.1.1 http h.test 80"),
            // Several lines are one list (RFC 9110 §5.3); empty elements are none.
            (
                2, ["X-Forwarded-For: 6.6.6.6,1.1.1.1,", "X-Forwarded-For: , 2.2.2.2"],
                "1.1.1.1 http h.test 80"
            ),
            // Fewer elements than hops: all of them are the hops'.
            (3, ["X-Forwarded-For: 1.1.1.1, 2.2.2.2"], "1.1.1.1 http h.test 80"),
            // What is no address ends the walk at the nearest hop that is known.
            (2, ["X-Forwarded-For: unknown, 2.2.2.2"], "2.2.2.2 http h.test 80"),
            (2, ["X-Forwarded-For: 1.1.1.1, garbage"], plain),
            (1, ["X-Forwarded-For: 1.1.1.256"], plain),
            (1, ["X-Forwarded-For: 1.1.1.1.1"], plain),
        ])
    func addresses(hops: Int, lines: [String], expected: String) {
        #expect(RequestOriginTests.origin(hops, lines) == expected)
    }

    @Test("an address is read as proxies write it: with port, in brackets, IPv4 within IPv6")
    func nodes() {
        let nodes = [
            ("192.0.2.1:4711", "192.0.2.1"), ("192.0.2.1:_hidden", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"), ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:DB8::1]:443", "2001:db8::1"), ("::1", "::1"), ("::", "::"),
            ("::ffff:192.0.2.1", "192.0.2.1"), ("[::ffff:c000:201]:80", "192.0.2.1"),
            ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"), ("1::8", "1::8"), ("1:2::7:8", "1:2::7:8"),
            ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"), ("1::", "1::"),
        ]
        for (text, host) in nodes {
            #expect(Address(node: Array(text.utf8).span)?.host == host, "\(text)")
        }
        let none = [
            "", "unknown", "_hidden", "1.2.3", "1.2.3.4:", "1.2.3.4:123456", "1.2.3.4:8o", ":80",
            "[", "[]", "[::1", "[::1]80", "[::1]:", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3",
            "12345::", ":::", "1:", "::1.2.3", "::1.2.3.4.5", "fe80::1%eth0",
            "1:2:3:4:5:6:7:1.2.3.4",
            "g::1", "1:2:3:4:5:6:7::8:9", "1.2.3.4 ",
        ]
        for text in none { #expect(Address(node: Array(text.utf8).span) == nil, "\(text)") }
    }

    @Test("addresses of nodes are those that the configuration's reader finds")
    func sameReading() {
        var random = PRNG(seed: 5)
        let letters = Array("0123456789abcdef::::..1".utf8)
        var found = 0
        for _ in 0..<200_000 {
            let text = (0..<(2 + random.below(14))).map { _ in
                letters[Int(random.below(UInt64(letters.count)))]
            }
            let mine = Address(node: text.span)
            let string = String(decoding: text, as: UTF8.self)
            // An IPv4 node may have a port.
            if mine?.family == .ipv4, string.contains(where: { $0 == ":" }) { continue }
            var other = Address(string.contains(":") ? "[\(string)]:0" : "\(string):0")
            if let mapped = other, mapped.family == .ipv6, mapped.high == 0,
                mapped.low >> 32 == 0xffff
            {
                other = Address(family: .ipv4, port: 0, high: 0, low: mapped.low & 0xffff_ffff)
            }
            #expect(mine == other, "\(string)")
            if mine != nil { found += 1 }
        }
        #expect(found > 1_000)
    }

    @Test(
        "scheme, host and port are the outermost trusted hop's word, and only valid ones",
        arguments: [
            (["X-Forwarded-Proto: https"], "10.0.0.9 https h.test 443"),
            (["X-Forwarded-Proto: HTTPS"], "10.0.0.9 https h.test 443"),
            (["X-Forwarded-Proto: wss"], "10.0.0.9 https h.test 443"),
            (["X-Forwarded-Proto: gopher"], plain), (["X-Forwarded-Proto: "], plain),
            // One hop has written the last element; what stands left of it is the client's.
            (["X-Forwarded-Proto: https, http"], plain),
            (["X-Forwarded-Proto: http", "X-Forwarded-Proto: https"], "10.0.0.9 https h.test 443"),
            (["X-Forwarded-Host: shop.test"], "10.0.0.9 http shop.test 80"),
            (["X-Forwarded-Host: evil.test, shop.test:81"], "10.0.0.9 http shop.test:81 81"),
            (["X-Forwarded-Host: a/b"], plain),
            (["X-Forwarded-Host: [::1]:9"], "10.0.0.9 http [::1]:9 9"),
            (["X-Forwarded-Port: 8080"], "10.0.0.9 http h.test 8080"),
            (["X-Forwarded-Port: 0"], plain), (["X-Forwarded-Port: 70000"], plain),
            (["X-Forwarded-Port: 8o"], plain),
            // A port in the authority is the client's own word.
            (["X-Forwarded-Port: 8080", "X-Forwarded-Host: a:81"], "10.0.0.9 http a:81 81"),
        ])
    func schemes(lines: [String], expected: String) {
        #expect(RequestOriginTests.origin(1, lines) == expected)
        // With two hops a list of two is theirs.
        let both = RequestOriginTests.origin(2, ["X-Forwarded-Proto: https, http"])
        #expect(both == "10.0.0.9 https h.test 443")
    }

    @Test(
        "Forwarded is read where nothing else speaks, by the same rules",
        arguments: [
            (
                1, ["Forwarded: for=1.1.1.1;proto=https;host=shop.test"],
                "1.1.1.1 https shop.test 443"
            ),
            (
                1, ["Forwarded: for=6.6.6.6;proto=https, For=\"[2001:db8::1]:47\";by=x"],
                "2001:db8::1 http h.test 80"
            ),
            (
                2, ["Forwarded: for=1.1.1.1;proto=https", "Forwarded: for=2.2.2.2;host=in.test"],
                "1.1.1.1 https in.test 443"
            ),
            (2, ["Forwarded: for=unknown, for=2.2.2.2"], "2.2.2.2 http h.test 80"),
            (1, ["Forwarded: for=\"a,b\\\", c\";proto=https"], "10.0.0.9 https h.test 443"),
            (1, ["Forwarded: host=\"a b\";proto=\"https\""], "10.0.0.9 https h.test 443"),
            (1, ["Forwarded: for=\"1.1.1.1"], "1.1.1.1 http h.test 80"),
            (1, ["Forwarded: ;;=;for", "Forwarded: ,\""], plain),
            // A hop that writes X-Forwarded-* passes a client's Forwarded on unread.
            (
                1,
                ["X-Forwarded-For: 1.1.1.1", "Forwarded: for=6.6.6.6;proto=https;host=evil.test"],
                "1.1.1.1 http h.test 80"
            ),
            (1, ["X-Forwarded-Proto: http", "Forwarded: for=6.6.6.6;proto=https"], plain),
        ])
    func forwarded(hops: Int, lines: [String], expected: String) {
        #expect(RequestOriginTests.origin(hops, lines) == expected)
    }

    @Test("without Host there is no authority")
    func noHost() {
        #expect(RequestOriginTests.origin(0, [], host: nil) == "10.0.0.9 http  80")
        #expect(
            RequestOriginTests.origin(1, ["X-Forwarded-Host: a.test"], host: nil)
                == "10.0.0.9 http a.test 80")
    }

    @Test("any bytes in the fields of hops have a reading")
    func anything() {
        var random = PRNG(seed: 11)
        let letters = Array("for=proto;host,\"\\[]:1.2a \t".utf8)
        let names = ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port"]
        for round in 0..<20_000 {
            let value = (0..<random.below(40)).map { _ in
                letters[Int(random.below(UInt64(letters.count)))]
            }
            let name = names[round % names.count]
            let line = "\(name): \(String(decoding: value, as: UTF8.self))"
            let text = RequestOriginTests.origin(1 + round % 16, [line, line])
            #expect(text.split(separator: " ").count == 4, "\(line): \(text)")
        }
    }

    @Test(
        "what shared caches may do follows from Cache-Control and Expires",
        arguments: [
            ("", .unsaid), ("cache-control: no-cache\r\n", .unsaid),
            ("cache-control: max-age=0\r\n", .unsaid), ("cache-control: max-age\r\n", .unsaid),
            ("Cache-Control: max-age=60\r\n", .allowed),
            ("cache-control: must-revalidate, MAX-AGE=\"60\"\r\n", .allowed),
            ("expires: Sat, 28 Nov 2026 18:00:00 GMT\r\n", .allowed),
            ("cache-control: public, max-age=31536000, immutable\r\n", .meant),
            ("cache-control: s-maxage=60\r\n", .meant),
            ("cache-control: max-age=60\r\nx: y\r\nCACHE-CONTROL: Public\r\n", .meant),
            ("cache-control: public\r\ncache-control: no-store\r\n", .forbidden),
            ("cache-control: private, max-age=60\r\n", .forbidden),
            ("cache-control: private=\"set-cookie, public\"\r\n", .forbidden),
            ("cache-control: x=\"private\", publicly\r\n", .unsaid),
            ("x-cache-control: public\r\n", .unsaid),
        ] as [(String, CacheSharing)])
    func caches(lines: String, expected: CacheSharing) {
        #expect(CacheSharing(lines: Array(lines.utf8).span) == expected)
    }
}
