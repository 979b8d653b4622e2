import Base
import Simulation
import Testing

/// Faults, mirrors and rate limits of a route.
@Suite struct FilterScenarios {
    // MARK: Faults

    @Test("an abort has exactly its share, and reaches no endpoint")
    func abort() {
        let origins = Resilience.origins()
        let world = Resilience.world(
            origins, route: "fault: { abort: { status: 503, share: 10% } }")
        world.faults.latencyMax = .zero
        let statuses = Resilience.statuses(world, Resilience.gets(2_000))
        #expect(statuses.count { $0 == 503 } == 200)
        #expect(origins.reduce(0) { $0 + $1.requestCount } == 1_800)
        #expect(world.metric("sluice_faults_injected_total", "kind=\"abort\"") == 200)
        #expect(world.metric("sluice_requests_total", "assign=\"none\",code=\"503\"") == 200)
        // The share holds at every point, not only in the end.
        for n in [10, 55, 100, 1_234] {
            let seen = statuses[..<n].count { $0 == 503 }
            #expect(abs(Double(seen) - Double(n) / 10) < 1, "\(seen) of \(n)")
        }
        #expect(world.leftovers.isEmpty)
    }

    @Test("a version's fault has its share of the version's requests, whatever the split")
    func abortOfVersion() {
        let origins = Resilience.origins()
        let yaml = Resilience.yaml().replacingFirst("weight: 100%", with: "weight: 80%")
            .replacingFirst(
                "v2: { weight: 0%,",
                with: "v2: { fault: { abort: { status: 500, share: 25% } }, weight: 20%,")
        let world = World(seed: 3, yaml: yaml, origins: origins)
        world.faults.latencyMax = .zero
        let statuses = Resilience.statuses(world, Resilience.gets(2_000))
        #expect(statuses.count { $0 == 500 } == 100)
        #expect(
            world.metric("sluice_requests_total", "version=\"v2\",assign=\"weighted\",code=\"500\"")
                == 100)
        #expect(world.metric("sluice_requests_total", "version=\"v1\"") == 1_600)
        #expect(origins[3].requestCount == 300)
        #expect(world.leftovers.isEmpty)
    }

    @Test("a delay holds back exactly its share, for its time")
    func delay() {
        let origins = Resilience.origins()
        let world = Resilience.world(
            origins, route: "fault: { delay: { time: 1s, share: 20% } }",
            defaults: "timeouts: { firstByte: 500ms }")
        world.faults.latencyMax = .zero
        var times: [Duration] = []
        var last = world.now
        let client = SimulatedClient(world, name: "c", Resilience.gets(200))
        client.onOutcome = {
            times.append(world.now - last)
            last = world.now
        }
        client.start()
        world.run()
        #expect(client.outcomes.allSatisfy { $0.status == 200 }, "the delay is not the endpoint's")
        #expect(times.count { $0 >= .seconds(1) } == 40)
        #expect(times.count { $0 < .milliseconds(50) } == 160)
        #expect(world.metric("sluice_faults_injected_total", "kind=\"delay\"") == 40)
    }

    @Test("a request with a body waits out its delay whole, and may be answered behind it")
    func delayOfBodies() {
        let origins = Resilience.origins()
        let world = Resilience.world(
            origins,
            route: "fault: { delay: { time: 90s, share: 50% }, abort: { status: 418, share: 25% } }"
        )
        world.faults.readBytesMax = 500
        // Each on a connection of its own: one whose body was not wanted may be its last.
        let statuses = (0..<8).flatMap {
            Resilience.statuses(
                world, [Resilience.put(10_000, chunked: $0 % 2 == 0)], until: .seconds(200))
        }
        #expect(
            statuses.sorted() == [200, 200, 200, 200, 200, 200, 418, 418], "\(statuses)")
        #expect(origins.flatMap(\.requests).allSatisfy { $0.bodyBytes == 10_000 })
        #expect(world.leftovers.isEmpty)
    }

    @Test("a request asks for its own fault only where that is allowed")
    func byHeader() {
        for (allow, expected) in [("allow", [429, 200]), ("ignore", [200, 200])] {
            let origins = Resilience.origins()
            let world = Resilience.world(
                origins,
                route: "fault: { byHeader: \(allow), delay: { time: 1s, share: 0% } }")
            let start = world.now
            let requests = [
                Resilience.gets(1, ["x-sluice-fault-abort: 429"])[0],
                Resilience.gets(1, ["x-sluice-fault-delay: 3s"])[0],
            ]
            #expect(Resilience.statuses(world, requests) == expected)
            let last = origins.flatMap(\.requests).map(\.at).max() ?? start
            #expect((last - start >= .seconds(3)) == (allow == "allow"))
        }
        // What is no fault is none.
        let world = Resilience.world(Resilience.origins(), route: "fault: { byHeader: allow }")
        for header in ["abort: 99", "abort: x", "delay: 3", "delay: ", "delay: 99999999h"] {
            #expect(
                Resilience.statuses(world, Resilience.gets(1, ["x-sluice-fault-\(header)"])) == [
                    200
                ])
        }
    }

    @Test("a client that leaves while it is held back leaves nothing behind")
    func leavesDuringDelay() {
        let world = Resilience.world(
            Resilience.origins(), route: "fault: { delay: { time: 10s } }")
        let client = SimulatedClient(world, name: "c", Resilience.gets(2))
        client.start()
        world.after(.seconds(1)) { client.breakOff() }
        world.run()
        #expect(world.metric("sluice_requests_total", "code=\"0\"") == 1)
        #expect(world.leftovers.isEmpty)
    }

    // MARK: Mirrors

    static let mirror = "mirror: { to: s/v2 }"

    @Test("a copy of each request goes to the other version, with its body and its id, and a mark")
    func mirror() {
        let origins = Resilience.origins()
        let world = Resilience.world(origins, route: FilterScenarios.mirror)
        world.faults.readBytesMax = 900
        let requests =
            Resilience.gets(5)
            + [Resilience.put(20_000), Resilience.put(20_000, chunked: true), Resilience.put(0)]
        #expect(Resilience.statuses(world, requests) == [Int](repeating: 200, count: 8))
        let copies = origins[3].requests
        #expect(copies.map(\.id) == (0..<8).map { "c-\($0)" })
        #expect(copies.map(\.bodyBytes) == [0, 0, 0, 0, 0, 20_000, 20_000, 0])
        #expect(copies.allSatisfy { $0.head.contains("x-sluice-mirror: 1\r\n") })
        let originals = origins[..<3].flatMap(\.requests)
        #expect(originals.allSatisfy { !$0.head.contains("x-sluice-mirror") })
        func identity(_ head: String) -> Substring? {
            head.split(separator: "\r\n").first { $0.hasPrefix("x-request-id: ") }
        }
        for copy in copies {
            let original = originals.first { $0.id == copy.id }
            #expect(original.flatMap { identity($0.head) } == identity(copy.head))
        }
        #expect(world.metric("sluice_requests_total", "assign=\"mirror\"") == 8)
        #expect(world.metric("sluice_requests_total", "version=\"v1\"") == 8)
        #expect(world.metric("sluice_requests_started_total") == 8, "a copy is nobody's request")
        #expect(world.metric("sluice_mirror_duration_seconds_count", "version=\"v2\"") == 8)
        #expect(world.metric("sluice_request_duration_seconds_count", "version=\"v2\"") == 0)
        #expect(world.leftovers.isEmpty, "\(world.leftovers)")
    }

    @Test("copies have exactly their share")
    func share() {
        let origins = Resilience.origins()
        let world = Resilience.world(origins, route: "mirror: { to: s/v2, share: 12.5% }")
        world.faults.latencyMax = .zero
        _ = Resilience.statuses(world, Resilience.gets(800))
        #expect(origins[3].requestCount == 100)
    }

    @Test(
        "whatever becomes of copies, clients see what they would see without",
        arguments: [SimulatedOrigin.Reply.silence, .garbage, .reset, .untilClose, .chunked])
    func badMirror(reply: SimulatedOrigin.Reply) {
        func run(_ route: String) -> (statuses: [Int], time: Duration, world: World) {
            let origins = Resilience.origins()
            origins[3].reply = reply
            let world = Resilience.world(origins, route: route)
            world.faults.latencyMax = .zero
            let start = world.now
            var end = start
            let client = SimulatedClient(
                world, name: "c", Resilience.gets(300) + [Resilience.put(40_000)])
            client.onOutcome = { end = world.now }
            client.start()
            world.run()
            return (client.outcomes.map(\.status), end - start, world)
        }
        let with = run(FilterScenarios.mirror), without = run("")
        #expect(with.statuses == without.statuses)
        #expect(with.time == without.time)
        #expect(with.world.leftovers.isEmpty, "\(with.world.leftovers)")
        #expect(with.world.metric("sluice_upstream_retries_total") == 0)
    }

    @Test("copies beyond their own limits are dropped and counted, and take none of the version's")
    func limits() {
        let origins = Resilience.origins()
        origins[3].reply = .silence
        let world = Resilience.world(
            origins,
            route: "mirror: { to: s/v2, connectionPool: { maxConnections: 2, maxRequests: 5 } }")
        world.faults.latencyMax = .zero
        #expect(
            Resilience.statuses(world, Resilience.gets(50), until: .seconds(5))
                == [Int](repeating: 200, count: 50))
        #expect(world.metric("sluice_mirrors_dropped_total") == 45)
        #expect(origins[3].requestCount == 2)
        origins[3].reply = .length
        let beta = Resilience.gets(1, ["x-group: beta"])
        #expect(Resilience.statuses(world, beta, until: .seconds(1)) == [200])
        world.run()
        #expect(world.leftovers.isEmpty)
    }

    @Test("a copy that falls behind by more than its room is given up, not kept in memory")
    func slowMirror() {
        let origins = Resilience.origins()
        let world = Resilience.world(origins, route: "mirror: { to: s/v2, bodyBytes: 4KiB }")
        world.faults.readBytesMax = 1_000
        world.faults.isBlackHole = { $0 == origins[3].address }
        #expect(Resilience.statuses(world, [Resilience.put(100_000)]) == [200])
        #expect(world.metric("sluice_mirrors_dropped_total") == 1)
        #expect(origins[3].requestCount == 0)
        #expect(world.leftovers.isEmpty)
    }

    @Test("a client that leaves in the middle of its body takes the copy with it")
    func leaves() {
        let origins = Resilience.origins()
        let world = Resilience.world(origins, route: FilterScenarios.mirror)
        let client = SimulatedClient(world, name: "c", [Resilience.put(1)])
        client.start(raw: "PUT / HTTP/1.1\r\nHost: s\r\nContent-Length: 100\r\n\r\nabc")
        world.after(.milliseconds(200)) { client.breakOff() }
        world.run()
        #expect(origins[3].requestCount == 0)
        #expect(world.leftovers.isEmpty, "\(world.leftovers)")
    }

    @Test("a client cannot mark its own request as a copy")
    func forged() {
        let origins = Resilience.origins()
        let world = Resilience.world(origins)
        _ = Resilience.statuses(world, Resilience.gets(1, ["X-Sluice-Mirror: 1"]))
        let heads = origins.flatMap(\.requests).map(\.head)
        #expect(heads.count == 1 && heads.allSatisfy { !$0.lowercased().contains("mirror") })
    }

    // MARK: Rate limits

    @Test("requests beyond the limit get 429 with when to come again, and reach no endpoint")
    func rateLimit() {
        let origins = Resilience.origins()
        let world = Resilience.world(
            origins, route: "rateLimit: { requests: 10, per: 1s, burst: 5 }")
        world.faults.latencyMax = .zero
        let client = SimulatedClient(world, name: "c", Resilience.gets(20))
        client.start()
        world.run()
        #expect(
            client.outcomes.map(\.status) == [200, 200, 200, 200, 200]
                + [Int](repeating: 429, count: 15))
        let last = client.outcomes.last?.fields ?? [:]
        #expect(last["retry-after"] == "1")
        #expect(last["ratelimit-policy"] == "\"rest\";q=10;w=1")
        #expect(last["ratelimit"] == "\"rest\";r=0;t=1")
        #expect(origins.reduce(0) { $0 + $1.requestCount } == 5)
        #expect(world.metric("sluice_rate_limited_total") == 15)
        world.after(.seconds(1)) {}
        world.run()
        #expect(Resilience.statuses(world, Resilience.gets(6)).count { $0 == 200 } == 5)
    }

    @Test("each value of a header has its own bucket")
    func rateLimitByHeader() {
        let world = Resilience.world(
            Resilience.origins(),
            route: "rateLimit: { requests: 1, per: 1m, burst: 2, by: { header: x-user } }")
        world.faults.latencyMax = .zero
        for user in ["a", "b", "c"] {
            let statuses = Resilience.statuses(world, Resilience.gets(3, ["X-User: \(user)"]))
            #expect(statuses == [200, 200, 429])
        }
        #expect(Resilience.statuses(world, Resilience.gets(3)) == [200, 200, 429], "and none")
    }

    @Test("a call is refused in gRPC's words")
    func rateLimitOfCalls() {
        let origins = Resilience.origins()
        let world = Resilience.world(origins, route: "rateLimit: { requests: 1, per: 1m }")
        world.faults.latencyMax = .zero
        var call = SimulatedRequest("POST", "/a.B/C")
        call.headers = ["content-type: application/grpc", "te: trailers"]
        let client = SimulatedClient(world, name: "c", [call, call])
        client.start()
        world.run()
        #expect(client.outcomes.map(\.status) == [200, 200])
        #expect(client.outcomes.last?.fields["grpc-status"] == "8")
        #expect(client.outcomes.last?.fields["grpc-retry-pushback-ms"] == "60000")
        #expect(world.metric("sluice_grpc_calls_total", "grpc_status=\"8\"") == 1)
    }

    @Test("a reload that leaves the limit alone keeps its buckets")
    func rateLimitOverReloads() {
        let route = "rateLimit: { requests: 1, per: 1h, burst: 3 }"
        let world = Resilience.world(Resilience.origins(), route: route)
        #expect(Resilience.statuses(world, Resilience.gets(2), until: .seconds(1)) == [200, 200])
        world.reload(
            yaml: Resilience.yaml(service: "connectTimeout: 300ms", route: route), generation: 2)
        #expect(Resilience.statuses(world, Resilience.gets(2), until: .seconds(1)) == [200, 429])
    }
}
