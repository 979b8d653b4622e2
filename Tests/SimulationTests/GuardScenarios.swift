import Base
import Configuration
import Evidence
import Simulation
import Testing

/// The guard: a version that alone has the errors is off at once, and nothing else is.
@Suite struct GuardScenarios {
    private typealias Scenes = EvidenceScenarios

    /// A thousand requests a second for a while, by clients that each send one.
    ///
    /// - Returns: the outcomes, with when the first request of the time began.
    private static func traffic(
        _ world: World, _ count: Int, cookies: (Int) -> [String] = { _ in [] }
    ) -> [SimulatedClient] {
        (0..<count).map { n in
            let client = SimulatedClient(world, name: "c\(n)", Resilience.gets(1, cookies(n)))
            world.after(.milliseconds(Int64(n))) { client.start() }
            return client
        }
    }

    @Test(
        "a version that answers 500 to everything is off after at most 20 of its requests",
        arguments: [(1, 12), (5, 20), (25, 40), (50, 60)])
    func failing(weight: Int, requests: Int) {
        let origins = Scenes.origins()
        origins[1].status = 500
        let world = Scenes.world(origins, [100 - weight, weight], service: "guard: on")
        let clients = GuardScenarios.traffic(world, 3_000)
        world.run(until: .seconds(60))
        #expect(origins[1].requestCount <= requests, "\(origins[1].requestCount)")
        let outcomes = clients.flatMap(\.outcomes)
        #expect(outcomes.count == 3_000)
        #expect(outcomes.count { $0.status != 200 } == origins[1].requestCount)
        let latch = world.latch(service: "s", version: "v2")
        #expect(latch?.isTripped == true && latch?.tripCount == 1)
        #expect(latch?.lastTrip?.cause == .errors)
        let fallbacks = world.metric("sluice_requests_total", "assign=\"fallback\"")
        #expect(fallbacks > 0)
        #expect(Scenes.counts(world, "v2").requests == origins[1].requestCount)
    }

    @Test(
        "at 5 % and 1,000 requests a second it is off behind its sixth error, in 100 ms on average",
        arguments: 1...12 as ClosedRange<UInt64>)
    func time(seed: UInt64) throws {
        let origins = Scenes.origins()
        origins[1].status = 500
        let world = Scenes.world(seed: seed, origins, [95, 5], service: "guard: on")
        _ = GuardScenarios.traffic(world, 1_000)
        world.run(until: .seconds(60))
        let requests = origins[1].requests.map(\.at)
        #expect(requests.count == 6)
        let first = try #require(requests.first), last = try #require(requests.last)
        // Five times 20 requests, and where in the first and the last 20 the canary's are.
        #expect(last - first < .milliseconds(120))
        let trip = try #require(world.latch(service: "s", version: "v2")?.lastTrip)
        #expect(trip.at - last < .milliseconds(1), "as soon as the error has come back")
    }

    @Test(
        "a killed origin is off after at most 20 requests, by its errors or as unreachable",
        arguments: [1, 5, 50])
    func killed(weight: Int) {
        let origins = Scenes.origins()
        let world = Scenes.world(
            origins, [100 - weight, weight], service: "guard: on", route: "retries: off")
        world.after(.milliseconds(500)) {
            origins[1].isUp = false
            // Connections that are there end too.
            origins[1].onRequest = { _ in .init(200, reply: .reset) }
        }
        let clients = GuardScenarios.traffic(world, 3_000)
        world.run(until: .seconds(60))
        let failed = clients.flatMap(\.outcomes).count { $0.status != 200 }
        #expect(failed > 0 && failed <= 20, "\(failed)")
        let latch = world.latch(service: "s", version: "v2")
        #expect(latch?.isTripped == true)
        // With half of the requests 20 errors would be needed.
        if weight == 50 { #expect(latch?.lastTrip?.cause == .unreachable) }
    }

    @Test("above 90 % a version that fails is taken out once the stable one is seen to be well")
    func large() {
        for (status, isOut) in [(200, true), (500, false)] {
            let origins = Scenes.origins()
            origins[0].status = status
            origins[1].status = 500
            let world = Scenes.world(origins, [5, 95], service: "guard: on")
            _ = GuardScenarios.traffic(world, 2_000)
            world.run(until: .seconds(60))
            #expect(world.latch(service: "s", version: "v2")?.isTripped == isOut)
            // 20 requests of the stable version are 400 of all.
            if isOut { #expect(origins[1].requestCount <= 420, "\(origins[1].requestCount)") }
        }
    }

    @Test("two versions that fail alike trip nothing")
    func alike() {
        let origins = Scenes.origins()
        for origin in origins { origin.script = { $0 % 2 == 0 ? .init(500) : nil } }
        for weight in [5, 50] {
            let world = Scenes.world(origins, [100 - weight, weight], service: "guard: on")
            _ = GuardScenarios.traffic(world, 2_000)
            world.run(until: .seconds(60))
            #expect(world.latch(service: "s", version: "v2")?.tripCount == 0)
        }
    }

    @Test("a stable version that fails by slow timeouts beside a canary that fails fast: no trip")
    func slow() {
        let origins = Scenes.origins()
        origins[0].script = { $0 % 2 == 0 ? .init(200, reply: .silence) : nil }
        origins[1].script = { $0 % 2 == 0 ? .init(500) : nil }
        let world = Scenes.world(
            origins, [80, 20], service: "guard: on",
            route: "timeouts: { firstByte: 200ms }, retries: off")
        let clients = GuardScenarios.traffic(world, 3_000)
        // Both versions have failed for a while when the guard begins to look.
        world.after(.milliseconds(600)) { _ = world.resetGuard(service: "s") }
        world.run(until: .seconds(60))
        #expect(clients.flatMap(\.outcomes).count == 3_000)
        #expect(world.latch(service: "s", version: "v2")?.isTripped == false)
    }

    @Test("never the last version that can take requests")
    func last() {
        let origins = Scenes.origins()
        origins[0].isUp = false
        origins[1].status = 500
        let world = Scenes.world(origins, [10, 90], service: "guard: on", route: "retries: off")
        _ = GuardScenarios.traffic(world, 500)
        world.run(until: .milliseconds(400))
        #expect(world.latch(service: "s", version: "v2")?.tripCount == 0)
    }

    @Test("one session that errors a thousand times trips nothing; many sessions do")
    func sessions() throws {
        let origins = Scenes.origins()
        origins[1].script = { _ in .init(500) }
        let world = Scenes.world(
            origins, [50, 50], service: "guard: on\n    sticky: { cookie: session }")
        // Somebody whose version is the one that fails.
        let names = Scenes.outcomes(world, clients: 8, each: 1) { n, _ in
            ["cookie: session=user\(n)"]
        }
        let name = try #require(names.first { $0.version == "v2" }?.id.dropFirst().prefix(1))
        #expect(world.resetGuard(service: "s") == [])
        let one = Scenes.outcomes(world, clients: 1, each: 1_000) { _, _ in
            ["cookie: session=user\(name)"]
        }
        #expect(one.count == 1_000 && one.allSatisfy { $0.version == "v2" && $0.status == 500 })
        #expect(world.latch(service: "s", version: "v2")?.tripCount == 0)
        let clients = GuardScenarios.traffic(world, 400) { ["cookie: session=other\($0)"] }
        world.run(until: .seconds(7_300))
        #expect(clients.flatMap(\.outcomes).count == 400)
        #expect(world.latch(service: "s", version: "v2")?.isTripped == true)
    }

    @Test(
        "of the users only those of a tripped version move, to the stable one, and back by a reset")
    func users() {
        let origins = Scenes.origins()
        let world = Scenes.world(
            origins, [50, 50], service: "guard: on\n    sticky: { cookie: session }")
        func versions() -> [String] {
            Scenes.outcomes(world, clients: 60, each: 1) { n, _ in
                ["cookie: session=user\(n)"]
            }.sorted { $0.id < $1.id }.map(\.version)
        }
        let before = versions()
        #expect(Set(before) == ["v1", "v2"])
        origins[1].status = 500
        _ = GuardScenarios.traffic(world, 400) { ["cookie: session=other\($0)"] }
        world.run(until: .seconds(7_300))
        origins[1].status = 200
        #expect(versions() == before.map { _ in "v1" })
        #expect(world.resetGuard(service: "s") == ["v2"])
        #expect(versions() == before)
    }

    @Test("a trip survives a reload and new weights; a weight of 0 in force ends it")
    func reloads() {
        let origins = Scenes.origins()
        origins[1].status = 500
        let world = Scenes.world(origins, [90, 10], service: "guard: on")
        _ = GuardScenarios.traffic(world, 300)
        world.run(until: .seconds(10))
        let count = origins[1].requestCount
        #expect(world.latch(service: "s", version: "v2")?.isTripped == true)
        world.reload(yaml: Scenes.yaml([70, 30], service: "guard: on"), generation: 2)
        _ = GuardScenarios.traffic(world, 200)
        world.run(until: .seconds(20))
        #expect(origins[1].requestCount == count)
        world.reload(yaml: Scenes.yaml([100, 0], service: "guard: on"), generation: 3)
        #expect(world.latch(service: "s", version: "v2")?.isTripped == false)
        origins[1].status = 200
        world.reload(yaml: Scenes.yaml([50, 50], service: "guard: on"), generation: 4)
        _ = GuardScenarios.traffic(world, 100)
        world.run(until: .seconds(30))
        #expect(origins[1].requestCount == count + 50)
    }

    @Test("a route that names the version outright is its author's word")
    func named() {
        let origins = Scenes.origins()
        origins[1].status = 500
        let world = Scenes.world(origins, [90, 10], service: "guard: on")
        _ = GuardScenarios.traffic(world, 300)
        world.run(until: .seconds(10))
        let count = origins[1].requestCount
        let outcomes = Scenes.outcomes(world, clients: 1, each: 5) { _, _ in ["x-group: beta"] }
        #expect(outcomes.allSatisfy { $0.version == "v2" && $0.status == 500 })
        #expect(origins[1].requestCount == count + 5)
    }

    @Test("without a guard nothing is taken out")
    func off() {
        let origins = Scenes.origins()
        origins[1].status = 500
        let world = Scenes.world(origins, [90, 10])
        _ = GuardScenarios.traffic(world, 500)
        world.run(until: .seconds(10))
        #expect(origins[1].requestCount == 50)
    }
}
