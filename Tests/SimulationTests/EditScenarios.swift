import Base
import Simulation
import Testing

/// Edits of requests and answers: what the origin and the client get is what a slow reading of the
/// configuration says, on every answer of a route.
@Suite struct EditScenarios {
    /// One level of edits of one direction.
    struct Level {
        var remove: [String] = []
        var set: [(name: String, value: String)] = []
        var add: [(name: String, value: String)] = []

        /// Draws some edits of names that occur, of names that do not, and in any case.
        init(_ random: inout PRNG, _ names: [String]) {
            func draw() -> [String] {
                let count = Int(random.below(3))
                var drawn: [String] = []
                for _ in 0..<count {
                    let name = names[Int(random.below(UInt64(names.count)))]
                    if !drawn.contains(where: { $0.lowercased() == name }) {
                        drawn.append(random.below(2) == 0 ? name : name.uppercased())
                    }
                }
                return drawn
            }
            remove = draw()
            set = draw().map { ($0, "set\(random.below(100))") }
            add = draw().map { ($0, "add\(random.below(100))") }
        }

        init() {}

        var yaml: String {
            func map(_ pairs: [(name: String, value: String)]) -> String {
                pairs.map { "\"\($0.name)\": \"\($0.value)\"" }.joined(separator: ", ")
            }
            let removed = remove.map { "\"\($0)\"" }.joined(separator: ", ")
            return "{ set: { \(map(set)) }, add: { \(map(add)) }, remove: [\(removed)] }"
        }

        /// The lines that a level leaves, edit by edit.
        func applied(to lines: [String]) -> [String] {
            var lines = lines
            func take(_ name: String) {
                lines.removeAll { $0.lowercased().hasPrefix(name.lowercased() + ": ") }
            }
            remove.forEach(take)
            for (name, value) in set {
                take(name)
                lines.append("\(name.lowercased()): \(value)")
            }
            for (name, value) in add { lines.append("\(name.lowercased()): \(value)") }
            return lines
        }
    }

    /// The edits of one direction at both levels.
    struct Edits {
        var route = Level()
        var version = Level()

        func applied(to lines: [String], isVersion: Bool) -> [String] {
            let edited = route.applied(to: lines)
            return isVersion ? version.applied(to: edited) : edited
        }
    }

    static let requestNames = [
        "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id", "via",
        "x-forwarded-port", "user-agent", "cookie", "x-own", "traceparent",
        "x-long-name-of-a-field",
    ]
    static let answerNames = [
        "date", "content-type", "x-served-by", "x-version", "server", "via", "set-cookie",
        "x-flags",
        "cache-control", "retry-after", "location", "x-long-name-of-a-field", "grpc-status",
    ]

    static func yaml(_ requests: Edits, _ answers: Edits) -> String {
        func headers(_ request: Level, _ response: Level) -> String {
            "headers: { request: \(request.yaml), response: \(response.yaml) }"
        }
        let route = headers(requests.route, answers.route)
        let version = headers(requests.version, answers.version)
        return """
            listeners: [{ name: http, address: "127.0.0.1:80" }]
            services:
              s:
                versions: { v1: { endpoints: ["10.0.0.1:80"], \(version) } }
              gone:
                versions: { v1: { endpoints: ["10.0.0.9:80"], \(version) } }
              bad:
                versions:
                  v1:
                    endpoints: ["10.0.0.1:80"]
                    fault: { abort: { status: 500 } }
                    \(version)
            routes:
              - { name: limit, match: { path: { prefix: /limit } }, to: s, \(route), rateLimit: { requests: 1, per: 1h } }
              - { name: fault, match: { path: { prefix: /fault } }, to: s, \(route), fault: { abort: { status: 503 } } }
              - { name: bad, match: { path: { prefix: /bad } }, to: bad, \(route) }
              - { name: gone, match: { path: { prefix: /gone } }, to: gone, \(route) }
              - { name: slow, match: { path: { prefix: /slow } }, to: s, \(route), timeouts: { request: 1s } }
              - { name: old, match: { path: { prefix: /old } }, redirect: { prefix: /new }, \(route) }
              - { name: own, match: { path: { prefix: /own } }, respond: { status: 200, body: x }, \(route) }
              - { name: rest, to: s, \(route) }
            defaults: { forwarding: { via: on, version: x-served-by, flags: x-flags } }
            """
    }

    /// Paths, the statuses of their answers, and whether a version is behind the answer.
    static let paths: [(path: String, status: Int, isVersion: Bool)] = [
        ("/", 200, true), ("/limit", 200, true), ("/limit", 429, false), ("/fault", 503, false),
        ("/bad", 500, true), ("/gone", 502, true), ("/old/x", 302, false), ("/own", 200, false),
        ("/slow", 504, true), ("/", 200, true),
    ]

    static func requests(isGRPC: Bool) -> [SimulatedRequest] {
        paths.map { path, _, _ in
            var request = SimulatedRequest("GET", path)
            request.headers = [
                "User-Agent: me", "Cookie: a=b", "X-Own: 1", "x-own:  2", "Traceparent: t",
                "x-forwarded-proto: ftp", "Forwarded: for=6.6.6.6", "x-real-ip: 6.6.6.6",
            ]
            if isGRPC { request.headers.append("content-type: application/grpc") }
            return request
        }
    }

    /// Runs one world under a configuration, and returns what the clients and the origin got;
    /// everything else is the same.
    static func run(_ yaml: String, isGRPC: Bool, isHTTP2: Bool) -> (
        answers: [Outcome], requests: [String: [String]]
    ) {
        let origin = SimulatedOrigin("10.0.0.1:80", version: "v1")
        let world = World(seed: 9, yaml: yaml, origins: [origin])
        world.faults.latencyMax = .zero
        origin.script = { number in
            var answer = SimulatedOrigin.Answer(
                200, headers: ["Server: o", "cache-control: no-cache", "Set-Cookie: app=1"])
            // The third request that reaches the origin is the slow route's.
            if number == 2 { answer.delay = .seconds(5) }
            return answer
        }
        var answers: [Outcome] = []
        for request in requests(isGRPC: isGRPC) {
            if isHTTP2 {
                let client = SimulatedHTTP2Client(world, name: "\(answers.count)", [request])
                client.start()
                world.run(until: .seconds(2))
                answers += client.outcomes
            } else {
                let client = SimulatedClient(world, name: "\(answers.count)", [request])
                client.start()
                world.run(until: .seconds(2))
                answers += client.outcomes
            }
        }
        var seen: [String: [String]] = [:]
        for request in origin.requests {
            let lines = request.head.split(separator: "\r\n").dropFirst()
            seen[request.id] = lines.map {
                let name = $0.prefix { $0 != ":" }
                return name.lowercased() + $0.dropFirst(name.count)
            }
        }
        return (answers, seen)
    }

    @Test(
        "whatever edits there are, requests and answers have the fields that a slow model says",
        arguments: [(false, false), (true, false), (false, true)])
    func property(isGRPC: Bool, isHTTP2: Bool) throws {
        let plain = EditScenarios.run(
            EditScenarios.yaml(Edits(), Edits()), isGRPC: isGRPC, isHTTP2: isHTTP2)
        try #require(plain.answers.count == EditScenarios.paths.count)
        if !isGRPC {
            #expect(plain.answers.map(\.status) == EditScenarios.paths.map(\.status))
        }
        var random = PRNG(seed: 77)
        for _ in 0..<40 {
            var requests = Edits(), answers = Edits()
            requests.route = Level(&random, EditScenarios.requestNames)
            requests.version = Level(&random, EditScenarios.requestNames)
            answers.route = Level(&random, EditScenarios.answerNames)
            answers.version = Level(&random, EditScenarios.answerNames)
            let yaml = EditScenarios.yaml(requests, answers)
            let edited = EditScenarios.run(yaml, isGRPC: isGRPC, isHTTP2: isHTTP2)
            try #require(edited.answers.count == plain.answers.count, "\(yaml)")
            for (i, answer) in edited.answers.enumerated() {
                let before = plain.answers[i]
                #expect(answer.status == before.status, "\(yaml)")
                let expected = answers.applied(
                    to: before.lines, isVersion: EditScenarios.paths[i].isVersion)
                #expect(
                    answer.lines.sorted() == expected.sorted(),
                    "\(EditScenarios.paths[i]) under\n\(yaml)")
            }
            #expect(edited.requests.count == plain.requests.count)
            for (id, lines) in edited.requests {
                let before = try #require(plain.requests[id])
                let expected = requests.applied(to: before, isVersion: true)
                #expect(lines.sorted() == expected.sorted(), "\(id) under\n\(yaml)")
            }
        }
    }

    @Test("a handshake's answer is edited and issues the session's cookie as any other is")
    func handshake() {
        let yaml = Resilience.yaml(
            service: "sticky: { issue: sid }",
            route: "headers: { response: { set: { x-env: canary }, remove: [x-version] } }",
            defaults: "forwarding: { version: x-served-by }")
        let world = World(seed: 1, yaml: yaml, origins: Resilience.origins())
        let tunnel = SimulatedTunnel(world, name: "t", pieces: [100, 5])
        tunnel.start()
        world.run()
        #expect(tunnel.status == 101)
        #expect(tunnel.answer.fields["x-env"] == "canary")
        #expect(tunnel.answer.fields["x-served-by"] == "v1")
        #expect(tunnel.answer.fields["x-version"] == nil)
        #expect(tunnel.answer.cookie.hasPrefix("sid="))
        #expect(tunnel.heard.count == 105)
        #expect(world.metric("sluice_sticky_cookies_issued_total") == 1)
        #expect(world.leftovers.isEmpty)
    }

    @Test("a copy of a request has the edits of its own version, and stays marked")
    func copies() throws {
        let origins = Resilience.origins()
        let yaml = Resilience.yaml(
            route: "mirror: { to: s/v2 }, headers: { request: { set: { x-env: route } } }"
        ).replacingFirst(
            "v2: { weight: 0%,",
            with: "v2: { headers: { request: { set: { x-env: version } } }, weight: 0%,")
        let world = World(seed: 1, yaml: yaml, origins: origins)
        #expect(Resilience.statuses(world, Resilience.gets(1)) == [200])
        let own = try #require(origins[0...2].flatMap(\.requests).first)
        let copy = try #require(origins[3].requests.first)
        #expect(own.head.contains("x-env: route\r\n") && !own.head.contains("x-sluice-mirror"))
        #expect(copy.head.contains("x-env: version\r\n"))
        #expect(copy.head.contains("x-sluice-mirror: 1\r\n") && !copy.head.contains("route"))
    }

    @Test(
        "a session's cookie is kept from shared caches",
        arguments: [
            ("public, max-age=60", nil, "public, max-age=60"),
            ("s-maxage=60", nil, "s-maxage=60"),
            ("max-age=60", "sid=", "max-age=60, private"),
            ("private, max-age=60", "sid=", "private, max-age=60"),
            ("no-store", "sid=", "no-store"), ("no-cache", "sid=", "no-cache"),
        ] as [(String, String?, String)])
    func caches(said: String, cookie: String?, sent: String) throws {
        let origins = Resilience.origins()
        for origin in origins {
            origin.script = { _ in .init(200, headers: ["Cache-Control: \(said)"]) }
        }
        let world = Resilience.world(origins, service: "sticky: { issue: sid }")
        let client = SimulatedClient(world, name: "c", Resilience.gets(1))
        client.start()
        world.run()
        let outcome = try #require(client.outcomes.first)
        #expect(outcome.fields["cache-control"] == sent)
        #expect(outcome.lines.count { $0.hasPrefix("cache-control: ") } == 1)
        #expect(outcome.cookie.hasPrefix(cookie ?? "") && outcome.cookie.isEmpty == (cookie == nil))
        #expect(!outcome.cookie.contains("Secure"))
        #expect(
            world.metric("sluice_sticky_cookies_withheld_total") == (cookie == nil ? 1 : 0))
        #expect(world.metric("sluice_sticky_cookies_issued_total") == (cookie == nil ? 0 : 1))
    }

    @Test("what the edits leave of Cache-Control and Set-Cookie decides about the session's cookie")
    func editedCaches() throws {
        func answer(_ edits: String) throws -> Outcome {
            let origins = Resilience.origins()
            for origin in origins {
                origin.script = { _ in .init(200, headers: ["Cache-Control: public"]) }
            }
            let world = Resilience.world(
                origins, service: "sticky: { issue: sid }",
                route: "headers: { response: { \(edits) } }")
            let client = SimulatedClient(world, name: "c", Resilience.gets(1))
            client.start()
            world.run()
            return try #require(client.outcomes.first)
        }
        #expect(try answer("set: { x-a: b }").cookie.isEmpty)
        let private_ = try answer("set: { Cache-Control: no-store }")
        #expect(private_.cookie.hasPrefix("sid="))
        #expect(private_.fields["cache-control"] == "no-store")
        let lasting = try answer("set: { cache-control: max-age=5 }")
        #expect(lasting.fields["cache-control"] == "max-age=5, private")
        let expiring = try answer("remove: [cache-control], set: { expires: tomorrow }")
        #expect(expiring.fields["cache-control"] == "private")
        #expect(try answer("remove: [cache-control, set-cookie]").cookie.isEmpty)
        let set = try answer("remove: [cache-control], set: { set-cookie: a=b }")
        #expect(set.lines.filter { $0.hasPrefix("set-cookie") } == ["set-cookie: a=b"])
    }

    @Test("each client behind a trusted hop has a bucket of its own, and a place on the ring")
    func clients() {
        func requests(_ count: Int, _ each: Int) -> [SimulatedRequest] {
            (0..<count).flatMap {
                Resilience.gets(each, ["x-forwarded-for: 9.9.9.9, 192.0.2.\($0)"])
            }
        }
        for (hops, refused) in [(0, 6), (1, 0), (2, 6)] {
            let world = Resilience.world(
                Resilience.origins(), route: "rateLimit: { requests: 2, per: 1h, by: address }",
                defaults: "forwarding: { trustedHops: \(hops) }")
            let statuses = Resilience.statuses(world, requests(4, 2))
            #expect(statuses.count { $0 == 429 } == refused, "\(hops) hops: \(statuses)")
        }
        for (hops, used) in [(0, 1), (1, 3)] {
            let origins = Resilience.origins()
            let yaml = Resilience.yaml(defaults: "forwarding: { trustedHops: \(hops) }")
                .replacingFirst("roundRobin", with: "ringHash")
            let world = World(seed: 2, yaml: yaml, origins: origins)
            #expect(Resilience.statuses(world, requests(60, 2)).allSatisfy { $0 == 200 })
            #expect(origins[0...2].count { $0.requestCount > 0 } == used, "\(hops) hops")
            // Each client stays with its endpoint.
            #expect(origins[0...2].allSatisfy { $0.requestCount % 2 == 0 })
        }
    }

    @Test("a cookie is Secure when a trusted hop says that the client came by https")
    func secure() throws {
        for (hops, isSecure) in [(0, false), (1, true)] {
            let world = Resilience.world(
                Resilience.origins(), service: "sticky: { issue: sid }",
                defaults: "forwarding: { trustedHops: \(hops) }")
            let client = SimulatedClient(
                world, name: "c", Resilience.gets(1, ["X-Forwarded-Proto: https"]))
            client.start()
            world.run()
            let cookie = try #require(client.outcomes.first).cookie
            #expect(cookie.hasSuffix("; Secure") == isSecure, "\(cookie)")
        }
    }
}
