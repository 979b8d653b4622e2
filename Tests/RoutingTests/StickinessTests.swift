import Base
import HTTP1
import HTTPSemantics
import Routing
import Testing

/// Whose session a request is: which of several cookies counts, and whose keys.
@Suite struct StickinessTests {
    static let one = SipHash(k0: 1, k1: 2), two = SipHash(k0: 3, k1: 4)
    static let now = WallTime(microseconds: 1_800_000_000_000_000)

    static func stickiness(
        _ keys: [SipHash], siblings: [SipHash] = [], ttl: Int64 = 100
    ) -> SharedBox<Stickiness> {
        SharedBox(
            Stickiness(
                source: .cookie, name: "app", issue: "sid", ttlSeconds: ttl, salt: "s", keys: keys,
                siblingKeys: siblings))
    }

    /// The value of a cookie as its issuer writes it.
    static func value(_ position: UInt64, _ key: SipHash?, age: Int64 = 0) -> String {
        var out = ByteBuffer()
        StickyCookie.encode(
            .init(position: position, issuedSeconds: now.seconds - age), key: key, to: &out)
        return ASCII.string(out.readable)
    }

    struct Incomplete: Error {}

    static func session(
        _ cookies: [String], _ stickiness: SharedBox<Stickiness>
    ) throws -> Stickiness.Session {
        let lines = cookies.map { "Cookie: \($0)\r\n" }.joined()
        let bytes = Array("GET / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n".utf8)
        var head = RequestHead(fieldCountMax: 200)
        var parser = RequestHeadParser()
        guard
            case .complete = try parser.parse(
                bytes.span, into: &head, limits: HeadLimits(fieldCountMax: 200))
        else { throw Incomplete() }
        return stickiness.value.session(head: head, bytes: bytes.span, wall: now)
    }

    @Test("a genuine cookie is found wherever it stands among others of its name")
    func anywhere() throws {
        let sticky = StickinessTests.stickiness([StickinessTests.one])
        let own = "sid=" + StickinessTests.value(7, StickinessTests.one)
        let forged = "sid=" + StickinessTests.value(9, StickinessTests.two)
        let old = "sid=" + StickinessTests.value(11, StickinessTests.one, age: 101)
        for cookies in [
            [own], ["a=b; \(own)"], [forged, own], ["\(forged); \(own)"], ["sid=; \(own)"],
            ["sid=x; sid=y", "b=c", "sid=z; \(own); sid=w"], ["\(old); \(own)"], [old, own],
            ["\(own); \(forged)"], ["xsid=1; \(own)"], ["\(forged);\(own)"],
        ] {
            let found = try StickinessTests.session(cookies, sticky)
            #expect(found.origin == .issued, "\(cookies)")
            #expect(found.position == 7 &+ sticky.value.saltHash, "\(cookies)")
            #expect(!found.wantsCookie, "\(cookies)")
        }
        for cookies in [[forged], [old], ["sid"], ["Sid=" + own.dropFirst(4)]] {
            let found = try StickinessTests.session(cookies, sticky)
            #expect(found.origin == .none, "\(cookies)")
            #expect(found.wantsCookie)
        }
    }

    @Test("of a request's cookies so many are looked at, and no more")
    func bounded() throws {
        let sticky = StickinessTests.stickiness([StickinessTests.one])
        let own = "sid=" + StickinessTests.value(7, StickinessTests.one)
        let forged = "sid=" + StickinessTests.value(9, StickinessTests.two)
        let many = Array(repeating: forged, count: 63).joined(separator: "; ")
        #expect(try StickinessTests.session([many + "; " + own], sticky).origin == .issued)
        #expect(try StickinessTests.session([many, forged, own], sticky).origin == .none)
    }

    @Test("services that issue one cookie take what the other has signed, and no one else's")
    func siblings() throws {
        let one = StickinessTests.one, two = StickinessTests.two
        let first = StickinessTests.stickiness([one], siblings: [two])
        let second = StickinessTests.stickiness([two], siblings: [one])
        let foreign = "sid=" + StickinessTests.value(9, SipHash(k0: 5, k1: 6))
        for (issuer, reader) in [(first, second), (second, first)] {
            let found = try StickinessTests.session([issued(by: issuer)], reader)
            #expect(found.origin == .issued)
            #expect(try StickinessTests.session([foreign], reader).hadForgery)
            let unsigned = "sid=" + StickinessTests.value(9, nil)
            #expect(try StickinessTests.session([unsigned], reader).origin == .none)
        }
    }

    @Test("beside a service with keys one without signs with them, and still takes unsigned ones")
    func keyless() throws {
        let one = StickinessTests.one
        let keyless = StickinessTests.stickiness([], siblings: [one])
        let keyed = StickinessTests.stickiness([one])
        #expect(try StickinessTests.session([issued(by: keyless)], keyed).origin == .issued)
        #expect(try StickinessTests.session([issued(by: keyed)], keyless).origin == .issued)
        let unsigned = "sid=" + StickinessTests.value(9, nil)
        #expect(try StickinessTests.session([unsigned], keyless).origin == .issued)
    }

    /// The cookie that a service sets.
    func issued(by sticky: SharedBox<Stickiness>) -> String {
        var out = ByteBuffer()
        sticky.value.appendSetCookie(
            position: 77, wall: StickinessTests.now, isSecure: false, to: &out)
        let line = ASCII.string(out.readable).dropFirst("set-cookie: ".count)
        return String(line.prefix { $0 != ";" })
    }

    @Test("a cookie that an older key has signed is issued anew with the first key at once")
    func olderKey() throws {
        let (one, two) = (StickinessTests.one, StickinessTests.two)
        let rotated = StickinessTests.stickiness([two, one])
        let old = "sid=" + StickinessTests.value(7, one)
        let found = try StickinessTests.session([old], rotated)
        #expect(found.position == 7 &+ rotated.value.saltHash && found.wantsCookie)
        var line = ByteBuffer()
        rotated.value.appendSetCookie(
            position: found.position, wall: StickinessTests.now, isSecure: false, to: &line)
        let issued = "sid=" + StickinessTests.value(7, two)
        #expect(ASCII.string(line.readable).hasPrefix("set-cookie: \(issued);"))
        let again = try StickinessTests.session([issued], rotated)
        #expect(!again.wantsCookie, "once is enough")
        let alone = StickinessTests.stickiness([two])
        #expect(try StickinessTests.session([issued], alone).position == found.position)
        // A key that is listed twice is the first.
        let twice = StickinessTests.stickiness([two, one, two])
        #expect(try !StickinessTests.session([issued], twice).wantsCookie)
    }

    @Test("a cookie that a sibling has signed is left alone, or the two would replace it for ever")
    func siblingsKey() throws {
        let (one, two) = (StickinessTests.one, StickinessTests.two)
        let sticky = StickinessTests.stickiness([one], siblings: [two])
        let found = try StickinessTests.session(["sid=" + StickinessTests.value(7, two)], sticky)
        #expect(found.origin == .issued && !found.wantsCookie)
    }
}
