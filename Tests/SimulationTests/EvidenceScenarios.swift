import Base
import Configuration
import Evidence
import Simulation
import Testing

/// Counts of each version, against what clients and origins saw.
@Suite struct EvidenceScenarios {
    static func yaml(
        _ weights: [Int] = [80, 20], service: String = "", route: String = "",
        routes: String = "", defaults: String = ""
    ) -> String {
        """
        listeners: [{ name: http, address: "127.0.0.1:80" }]
        services:
          s:
            stable: v1
            versions:
              v1: { weight: \(weights[0])%, endpoints: ["10.0.0.1:80"] }
              v2: { weight: \(weights[1])%, endpoints: ["10.0.1.1:80"] }
            \(service)
        routes:
          - { name: beta, match: { headers: { x-group: beta } }, to: s/v2 }
          \(routes)
          - { name: rest, to: s\(route.isEmpty ? "" : ", " + route) }
        defaults: { \(defaults) }
        """
    }

    static func origins() -> [SimulatedOrigin] {
        [
            SimulatedOrigin("10.0.0.1:80", version: "v1"),
            SimulatedOrigin("10.0.1.1:80", version: "v2"),
        ]
    }

    static func world(
        seed: UInt64 = 1, _ origins: [SimulatedOrigin], _ weights: [Int] = [80, 20],
        service: String = "", route: String = "", routes: String = "", defaults: String = ""
    ) -> World {
        let world = World(
            seed: seed,
            yaml: yaml(
                weights, service: service, route: route, routes: routes, defaults: defaults),
            origins: origins)
        world.faults.latencyMax = .microseconds(100)
        return world
    }

    /// The outcomes of requests by clients that send theirs one after the other.
    static func outcomes(
        _ world: World, clients: Int, each: Int, headers: (Int, Int) -> [String] = { _, _ in [] }
    ) -> [Outcome] {
        let all = (0..<clients).map { n in
            SimulatedClient(
                world, name: "c\(n)",
                (0..<each).map { i in
                    var request = SimulatedRequest()
                    request.headers = headers(n, i)
                    return request
                })
        }
        for client in all { client.start() }
        world.run(until: .seconds(3_600))
        return all.flatMap(\.outcomes)
    }

    /// A version's counts in the epoch in force of the route `rest`.
    static func counts(_ world: World, _ version: String) -> VersionEvidence {
        let epoch = world.evidence.first { $0.route == "rest" }?.epochs.last
        return epoch?.versions.first { $0.version == version }?.counts ?? VersionEvidence()
    }

    @Test("requests, errors and refusals of each version are what clients and origins counted")
    func truth() {
        let origins = EvidenceScenarios.origins()
        origins[0].script = { $0 % 9 == 0 ? .init(500) : $0 % 9 == 4 ? .init(404) : nil }
        origins[1].script = { $0 % 3 == 0 ? .init(503) : nil }
        let world = EvidenceScenarios.world(origins, route: "retries: off")
        let outcomes = EvidenceScenarios.outcomes(world, clients: 5, each: 200) { _, i in
            i % 10 == 3 ? ["x-group: beta"] : []
        }
        #expect(outcomes.count == 1_000)
        let pinned = origins[1].requests.count { $0.head.contains("x-group: beta") }
        for (i, version) in ["v1", "v2"].enumerated() {
            let counts = EvidenceScenarios.counts(world, version)
            let named = version == "v2" ? pinned : 0
            #expect(counts.requests == origins[i].requestCount - named)
            #expect(counts.latency.reduce(0, +) == counts.requests - counts.errors)
            #expect(counts.censored.reduce(0, +) == counts.errors)
            #expect(counts.firstErrors == counts.errors && counts.left == 0)
        }
        let v1 = EvidenceScenarios.counts(world, "v1")
        #expect(v1.errors == outcomes.count { $0.version == "v1" && $0.status == 500 })
        #expect(v1.clientErrors == outcomes.count { $0.version == "v1" && $0.status == 404 })
        #expect(pinned == 100)
    }

    @Test("a retry hides an error from the errors, and not from the first attempts")
    func firstAttempts() {
        let origins = EvidenceScenarios.origins()
        origins[1].script = { $0 % 3 == 0 ? .init(503) : nil }
        let world = EvidenceScenarios.world(
            origins, [0, 100], route: "retries: { attempts: 2, on: [5xx], backoff: 1ms }",
            defaults: "retries: { budget: unlimited }")
        let outcomes = EvidenceScenarios.outcomes(world, clients: 1, each: 60)
        #expect(outcomes.allSatisfy { $0.status == 200 })
        let counts = EvidenceScenarios.counts(world, "v2")
        #expect(counts.requests == 60 && counts.errors == 0)
        #expect(counts.firstErrors == Int(world.metric("sluice_upstream_retries_total")))
        #expect(counts.firstErrors == 30)
    }

    @Test("a request that nobody answers in time is an error, censored at the limit, and left")
    func timeouts() {
        let origins = EvidenceScenarios.origins()
        origins[1].reply = .silence
        let world = EvidenceScenarios.world(
            origins, [0, 100], route: "timeouts: { firstByte: 1s }, retries: off")
        _ = EvidenceScenarios.outcomes(world, clients: 1, each: 3)
        let counts = EvidenceScenarios.counts(world, "v2")
        #expect(counts.requests == 3 && counts.errors == 3 && counts.left == 3)
        // 1 s is the end of bucket 48: 250 µs · 2^12 is a hair more.
        #expect(counts.censored[48] == 3 && counts.latency.allSatisfy { $0 == 0 })
    }

    @Test("a client that leaves is no error of its version")
    func left() {
        let origins = EvidenceScenarios.origins()
        for origin in origins { origin.delay = .milliseconds(200) }
        let world = EvidenceScenarios.world(origins, [0, 100])
        let client = SimulatedClient(world, name: "c", Resilience.gets(1))
        client.start()
        world.after(.milliseconds(50)) { client.leave() }
        world.run(until: .seconds(10))
        let counts = EvidenceScenarios.counts(world, "v2")
        #expect(counts.requests == 1 && counts.errors == 0 && counts.left == 1)
        #expect(counts.censored.reduce(0, +) == 1)
    }

    @Test("a fault on purpose is nothing that a version did")
    func faults() {
        let origins = EvidenceScenarios.origins()
        let world = EvidenceScenarios.world(
            origins, [0, 100],
            route: "fault: { abort: { status: 503, share: 50% }, delay: { time: 5ms, share: 50% } }"
        )
        _ = EvidenceScenarios.outcomes(world, clients: 1, each: 100)
        let counts = EvidenceScenarios.counts(world, "v2")
        #expect(counts.errors == 0)
        #expect(counts.requests < origins[1].requestCount && counts.requests > 0)
    }

    @Test("requests count in the epoch in which their version was chosen, those too late as lost")
    func epochs() {
        let origins = EvidenceScenarios.origins()
        for origin in origins { origin.delay = .milliseconds(100) }
        let world = EvidenceScenarios.world(origins)
        let late = SimulatedClient(world, name: "late", Resilience.gets(1))
        // The first request outlasts two changes of weights.
        origins[0].script = { $0 == 0 ? .init(200, delay: .milliseconds(900)) : nil }
        late.start()
        for (i, weights) in [[70, 30], [60, 40], [60, 40]].enumerated() {
            world.after(.milliseconds(250 * Int64(i + 1))) {
                world.reload(
                    yaml: EvidenceScenarios.yaml(weights), generation: UInt64(i + 2))
            }
        }
        let outcomes = EvidenceScenarios.outcomes(world, clients: 4, each: 20)
        let report = world.evidence.first { $0.route == "rest" }
        #expect(report?.epochs.map(\.epoch) == [2, 3])
        #expect(report?.lost == 1)
        let counted = (report?.epochs ?? []).flatMap(\.versions).map(\.counts.requests)
        // The first epoch is gone with what it had.
        let first = outcomes.count - counted.reduce(0, +)
        #expect(first == 12, "three rounds of four clients began in the first 250 ms")
        #expect(report?.epochs.last?.versions.map(\.weight) == [3, 2])
    }

    @Test("a user who comes often is one session, with one first error")
    func sessions() {
        let origins = EvidenceScenarios.origins()
        origins[1].status = 500
        let world = EvidenceScenarios.world(
            origins, [50, 50], service: "sticky: { cookie: session }")
        _ = EvidenceScenarios.outcomes(world, clients: 40, each: 10) { n, _ in
            ["cookie: session=user\(n)"]
        }
        let epoch = world.evidence.first { $0.route == "rest" }?.epochs.last
        let versions = epoch?.versions ?? []
        #expect(epoch?.isSticky == true)
        #expect(versions.map(\.counts.requests).reduce(0, +) == 400)
        #expect(versions.compactMap { $0.places?.seen }.reduce(0, +) == 40)
        for report in versions {
            let seen = report.places?.seen ?? 0
            #expect(report.counts.requests == seen * 10)
            #expect(report.places?.failed == (report.version == "v2" ? seen : 0))
            let inHistograms = (report.counts.latency + report.counts.censored).reduce(0, +)
            #expect(inHistograms == seen, "a user's first request alone")
        }
    }
}
