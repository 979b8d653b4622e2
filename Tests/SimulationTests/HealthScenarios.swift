import Base
import Proxy
import Simulation
import Testing
import Upstream

/// Endpoints that are not well: ejected by their answers, out by their checks, and back.
@Suite struct HealthScenarios {
    static let ejection =
        "outlierDetection: { consecutive5xx: 5, baseEjectionTime: 10s, maxEjectionPercent: 50 }"

    /// Statuses of requests that come one each 10 ms, with the time of each.
    static func traffic(
        _ world: World, _ count: Int, every gap: Duration = .milliseconds(10)
    ) -> [(at: Instant, status: Int)] {
        var seen: [(Instant, Int)] = []
        let client = SimulatedClient(world, name: "t", Resilience.gets(count))
        client.pause = gap
        client.onOutcome = { seen.append((world.now, client.outcomes.last?.status ?? 0)) }
        client.start()
        world.run(until: .seconds(3_600))
        return seen
    }

    @Test(
        "one of three answers 500: after its ejection clients see none, and it comes back by itself"
    )
    func ejected() {
        let origins = Resilience.origins()
        origins[1].status = 500
        let world = Resilience.world(origins, service: HealthScenarios.ejection)
        world.faults.latencyMax = .milliseconds(1)
        world.after(.seconds(5)) { origins[1].status = 200 }
        let seen = HealthScenarios.traffic(world, 2_000)
        #expect(seen.count == 2_000)
        #expect(seen.count { $0.status == 500 } == 5, "five in a row, and then none")
        #expect(world.metric("sluice_upstream_ejections_total", "consecutive-5xx") == 1)
        let news = world.takeNews()
        #expect(news.count == 1)
        if case .ejected(.errors)? = news.first?.kind {} else { Issue.record("\(news)") }
        // Two thirds of its share while it was out for 10 s of 20, and back with all of it.
        #expect(origins[1].requestCount > 250 && origins[1].requestCount < 400)
        #expect(world.leftovers.isEmpty)
    }

    @Test("never more than the limit are out, however many fail")
    func limit() {
        let origins = Resilience.origins()
        for origin in origins { origin.status = 500 }
        let world = Resilience.world(origins, service: HealthScenarios.ejection)
        world.faults.latencyMax = .milliseconds(1)
        let seen = HealthScenarios.traffic(world, 500)
        #expect(seen.allSatisfy { $0.status == 500 }, "never 503: one of three is out at most")
        #expect(world.metric("sluice_upstream_ejections_total") == 1)
    }

    @Test("an endpoint that goes on failing is out longer each time")
    func longer() {
        let origins = Resilience.origins()
        origins[1].status = 502
        let world = Resilience.world(origins, service: HealthScenarios.ejection)
        world.faults.latencyMax = .milliseconds(1)
        let seen = HealthScenarios.traffic(world, 8_000)
        let failures = seen.filter { $0.status == 502 }.map(\.at)
        // Five failures, 10 s of rest, five failures, 20 s, and so on.
        var rests: [Int64] = []
        for (a, b) in zip(failures, failures.dropFirst()) where b - a > .seconds(5) {
            rests.append((b - a).nanoseconds / 1_000_000_000)
        }
        #expect(rests.count >= 3)
        for (i, rest) in rests.enumerated() { #expect(abs(rest - Int64(10 * (i + 1))) <= 1) }
    }

    @Test("connections that break, and answers that do not come, eject too")
    func localFailures() {
        for (reply, option) in [
            (SimulatedOrigin.Reply.reset, ""), (.garbage, ""),
            (.silence, ", timeouts: { firstByte: 100ms }"),
        ] {
            let origins = Resilience.origins()
            origins[1].reply = reply
            let world = Resilience.world(
                origins,
                service: "outlierDetection: { consecutive5xx: off, "
                    + "consecutiveLocalOriginFailures: 3, maxEjectionPercent: 50 }",
                route: "retries: off" + option)
            let seen = HealthScenarios.traffic(world, 100)
            let failed = seen.count { $0.status != 200 }
            #expect(failed == 3, "\(reply): \(failed)")
            #expect(
                world.metric(
                    "sluice_upstream_ejections_total", "consecutive-local-origin-failures") == 1)
        }
    }

    @Test("a reload that takes outlier detection away lets everybody back in")
    func reload() {
        let origins = Resilience.origins()
        origins[1].status = 500
        let world = Resilience.world(origins, service: HealthScenarios.ejection)
        _ = HealthScenarios.traffic(world, 100)
        origins[1].status = 200
        let before = origins[1].requestCount
        world.reload(yaml: Resilience.yaml(), generation: 2)
        #expect(Resilience.statuses(world, Resilience.gets(9)) == [Int](repeating: 200, count: 9))
        #expect(origins[1].requestCount == before + 3)
    }

    @Test("an endpoint whose success rate is far below the others' is ejected at the interval")
    func successRate() {
        let names = (1...6).map { "10.0.0.\($0):80" }
        let origins = names.map { SimulatedOrigin($0, version: "v1") }
        // A third fails, but never many in a row.
        origins[4].script = { $0 % 3 == 0 ? .init(500) : nil }
        let list = names.map { "\"\($0)\"" }.joined(separator: ", ")
        let world = World(
            seed: 5,
            yaml: """
                listeners: [{ name: http, address: "127.0.0.1:80" }]
                services:
                  s:
                    versions: { v1: { endpoints: [\(list)] } }
                    loadBalancer: roundRobin
                    outlierDetection: { interval: 5s, maxEjectionPercent: 50, successRate: { minRequests: 50 } }
                routes: [{ name: rest, to: s }]
                """, origins: origins)
        world.faults.latencyMax = .milliseconds(1)
        let seen = HealthScenarios.traffic(world, 1_500)
        #expect(world.metric("sluice_upstream_ejections_total", "success-rate") == 1)
        let failures = seen.filter { $0.status == 500 }.map(\.at)
        let start = Instant(nanoseconds: 1_000_000_000)
        #expect(!failures.isEmpty && failures.allSatisfy { $0 - start < .seconds(6) })
    }

    // MARK: Active checks

    static let check =
        "healthCheck: { path: /healthz, interval: 1s, timeout: 200ms, healthyThreshold: 2, unhealthyThreshold: 3 }"

    @Test(
        "an endpoint whose checks fail is out, and back when they succeed again",
        arguments: ["path: /healthz", "grpc: shop.Cart"])
    func checks(kind: String) {
        let origins = Resilience.origins()
        let isGRPC = kind.hasPrefix("grpc")
        for origin in origins { origin.speaksHTTP2 = isGRPC }
        let world = Resilience.world(
            origins,
            service: HealthScenarios.check.replacingFirst("path: /healthz", with: kind)
                + (isGRPC ? "\n    protocol: http2" : ""))
        world.faults.latencyMax = .milliseconds(1)
        world.after(.seconds(5)) { origins[1].isHealthy = false }
        world.after(.seconds(15)) { origins[1].isHealthy = true }
        var counts: [Int] = []
        for second in [5, 10, 15, 20, 25] {
            world.after(.seconds(Int64(second))) { counts.append(origins[1].requestCount) }
        }
        _ = HealthScenarios.traffic(world, 3_000)
        // Of 100 requests a second a third, but from about 8 s to 17 s none.
        #expect(counts[0] > 130)
        #expect(counts[1] - counts[0] > 50 && counts[1] - counts[0] < 130, "\(counts)")
        #expect(counts[2] == counts[1], "\(counts)")
        #expect(counts[3] - counts[2] > 50 && counts[4] - counts[3] > 130, "\(counts)")
        #expect(
            HealthScenarios.told(world)
                == ["unhealthy: \(isGRPC ? "not serving" : "status 503")", "healthy"])
        #expect(world.metric("sluice_upstream_health_checks_total", "result=\"failed\"") >= 9)
        // Checks are nobody's requests.
        #expect(world.metric("sluice_requests_total") == 3_000)
        #expect(world.metric("sluice_requests_started_total") == 3_000)
        #expect(origins[0].checkCount > 25)
    }

    /// The news of endpoints' health, with the cause in words.
    private static func told(_ world: World) -> [String] {
        world.takeNews().map { item in
            switch item.kind {
            case .becameUnhealthy(let failure): return "unhealthy: \(failure.text())"
            case .becameHealthy: return "healthy"
            default: return "other"
            }
        }
    }

    @Test("a check that only connects finds an endpoint that refuses, and one that is back")
    func tcp() {
        let origins = Resilience.origins()
        let world = Resilience.world(
            origins, service: "healthCheck: { tcp: true, interval: 1s, unhealthyThreshold: 2 }")
        origins[1].isUp = false
        world.run(until: .seconds(4))
        let before = origins[1].connectionCount
        #expect(
            Resilience.statuses(world, Resilience.gets(6), until: .seconds(1)).allSatisfy {
                $0 == 200
            })
        #expect(origins[1].connectionCount == before)
        origins[1].isUp = true
        world.run(until: .seconds(4))
        _ = Resilience.statuses(world, Resilience.gets(6), until: .seconds(1))
        #expect(origins[1].requestCount == 2)
        #expect(world.metric("sluice_upstream_pool") == 0)
    }

    @Test("a check that hangs fails in time, and one that is unanswered does not pile up")
    func hanging() {
        let origins = Resilience.origins()
        let world = Resilience.world(origins, service: HealthScenarios.check)
        world.faults.latencyMax = .milliseconds(1)
        world.faults.isBlackHole = { $0 == origins[1].address }
        world.run(until: .seconds(20))
        #expect(world.metric("sluice_upstream_health_checks_total", "failed") >= 15)
        let told = HealthScenarios.told(world)
        // The connect's own time and that of the whole check are the same.
        #expect(told.count == 1 && told[0].hasSuffix("timed out"), "\(told)")
        #expect((world.leftovers["upstream"] ?? 0) <= 4, "\(world.leftovers)")
    }

    @Test("checks end with the reload that takes them away, and begin with one that brings them")
    func reloadOfChecks() {
        let origins = Resilience.origins()
        let world = Resilience.world(origins, service: HealthScenarios.check)
        world.run(until: .seconds(10))
        world.reload(yaml: Resilience.yaml(), generation: 2)
        let after = origins.map(\.checkCount)
        #expect(after.allSatisfy { $0 >= 8 })
        world.run(until: .seconds(10))
        #expect(origins.map(\.checkCount) == after)
        #expect(world.leftovers.isEmpty, "\(world.leftovers)")
        world.reload(yaml: Resilience.yaml(service: HealthScenarios.check), generation: 3)
        world.run(until: .seconds(10))
        #expect(zip(origins, after).allSatisfy { $0.checkCount >= $1 + 8 })
    }

    @Test("an endpoint that is back warms up: its share grows over the time")
    func warmup() {
        let origins = Resilience.origins()
        let world = Resilience.world(
            origins, service: HealthScenarios.check + "\n    warmup: 20s")
        world.faults.latencyMax = .milliseconds(1)
        origins[1].isHealthy = false
        world.after(.seconds(10)) { origins[1].isHealthy = true }
        var counts: [Int] = []
        for second in [10, 15, 20, 25, 30, 35, 40] {
            world.after(.seconds(Int64(second))) { counts.append(origins[1].requestCount) }
        }
        _ = HealthScenarios.traffic(world, 4_500)
        let shares = zip(counts, counts.dropFirst()).map { $1 - $0 }
        #expect(shares[0] < shares[2] && shares[2] < shares[4], "\(shares)")
        #expect(shares[5] > 130, "\(shares)")
        #expect(shares[1] < 80, "\(shares)")
    }

    // MARK: Leaving

    @Test("an endpoint that leaves finishes what it has and gets nothing more")
    func leaving() {
        let origins = Resilience.origins()
        origins[1].script = { _ in .init(200, delay: .seconds(2)) }
        let world = Resilience.world(origins)
        let clients = (0..<6).map { SimulatedClient(world, name: "c\($0)", Resilience.gets(2)) }
        for client in clients {
            client.pause = .seconds(4)
            client.start()
        }
        world.after(.seconds(1)) {
            world.reload(
                yaml: Resilience.yaml().replacingFirst("\"10.0.0.2:80\", ", with: ""), generation: 2
            )
        }
        world.run(until: .seconds(3))
        #expect(clients.allSatisfy { $0.outcomes.map(\.status) == [200] })
        let before = origins[1].requestCount
        #expect(before == 2)
        world.run()
        #expect(clients.allSatisfy { $0.outcomes.map(\.status) == [200, 200] })
        #expect(origins[1].requestCount == before)
        #expect(world.leftovers.isEmpty)
    }

    @Test("an HTTP/2 endpoint that leaves gets GOAWAY behind its last stream")
    func leavingSessions() {
        let origins = Resilience.origins()
        for origin in origins { origin.speaksHTTP2 = true }
        origins[0].script = { _ in .init(200, delay: .seconds(2)) }
        let world = Resilience.world(origins, service: "protocol: http2")
        let clients = (0..<6).map { SimulatedClient(world, name: "c\($0)", Resilience.gets(1)) }
        for client in clients { client.start() }
        world.after(.seconds(1)) {
            world.reload(
                yaml: Resilience.yaml(service: "protocol: http2").replacingFirst(
                    "\"10.0.0.1:80\", ", with: ""), generation: 2)
        }
        world.run(until: .seconds(4))
        #expect(clients.allSatisfy { $0.outcomes.map(\.status) == [200] })
        #expect(world.leftovers["links"] ?? 0 == 2, "those of the endpoints that stay")
    }
}
