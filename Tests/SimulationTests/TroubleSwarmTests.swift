import Base
import Simulation
import Testing

/// Random worlds in which everything that keeps trouble small is on, in any combination.
@Suite struct TroubleSwarmTests {
    /// What the seed configures.
    struct Options {
        var service: [String] = []
        var route: [String] = []
        var defaults: [String] = []
        var isHTTP2Upstream = false

        init(_ random: inout PRNG) {
            func sometimes(_ list: inout [String], _ choices: [String]) {
                if random.below(2) == 0 {
                    list.append(choices[Int(random.below(UInt64(choices.count)))])
                }
            }
            isHTTP2Upstream = random.below(3) == 0
            if isHTTP2Upstream { service.append("protocol: http2") }
            sometimes(
                &service,
                [
                    "outlierDetection: { consecutive5xx: 2, baseEjectionTime: 50ms, interval: 100ms, maxEjectionPercent: 100 }",
                    "outlierDetection: { consecutiveLocalOriginFailures: 1, maxEjectionPercent: 50, minHealthPercent: 50 }",
                    "outlierDetection: { successRate: { minEndpoints: 2, minRequests: 1, stdevFactor: 0 }, interval: 200ms }",
                ])
            sometimes(
                &service,
                [
                    "healthCheck: { path: /healthz, interval: 300ms, timeout: 50ms, unhealthyThreshold: 1 }",
                    "healthCheck: { tcp: true, interval: 200ms, timeout: 50ms }",
                ])
            sometimes(&service, ["warmup: 200ms"])
            sometimes(
                &service,
                [
                    "connectionPool: { maxConnections: 2, maxPendingRequests: 3, maxRequests: 6, maxRetries: 1 }",
                    "connectionPool: { maxConnections: 1, maxRequestsPerConnection: 2 }",
                    "connectionPool: { maxConnectionDuration: 40ms, idleTimeout: 20ms }",
                ])
            sometimes(&service, ["whenUnavailable: fallback"])
            sometimes(
                &route,
                [
                    "retries: { attempts: 3, on: [connect-failure, refused-stream, reset, 5xx], backoff: 5ms, methods: all }",
                    "retries: { attempts: 1, on: [gateway-error], bodyBytes: 100B }",
                    "retries: off",
                ])
            sometimes(
                &route,
                [
                    "fault: { delay: { time: 10ms, share: 30% }, abort: { status: 503, share: 20% } }",
                    "fault: { byHeader: allow, delay: { time: 100ms, share: 10% } }",
                ])
            sometimes(
                &route,
                [
                    "mirror: { to: s/v2 }", "mirror: { to: s/v2, share: 50%, bodyBytes: 50B }",
                    "mirror: { to: s/v2, connectionPool: { maxConnections: 1, maxRequests: 2 } }",
                ])
            sometimes(&route, ["rateLimit: { requests: 100, per: 1s, burst: 10, by: address }"])
            sometimes(
                &route,
                [
                    "timeouts: { perTry: 15ms, request: 200ms }",
                    "timeouts: { firstByte: 30ms, idle: 40ms }",
                ])
            sometimes(
                &defaults,
                [
                    "timeouts: { maxConnectionDuration: 60ms, write: 50ms }",
                    "retries: { budget: 0%, minPerSecond: 1 }",
                ])
        }

        var yaml: String {
            Resilience.yaml(
                service: service.joined(separator: "\n    "),
                route: route.joined(separator: ", "), defaults: defaults.joined(separator: ", "))
        }
    }

    static func trouble(_ world: World, _ origins: [SimulatedOrigin], _ random: inout PRNG) {
        world.faults.readBytesMax = [1, 7, 100, 65_536][Int(random.below(4))]
        world.faults.writeBytesMax = [1, 13, 1_000, 65_536][Int(random.below(4))]
        world.faults.latencyMax = .milliseconds(Int64(random.below(20)))
        world.faults.refusePercent = [0, 0, 10, 30][Int(random.below(4))]
        world.faults.resetPercent = [0, 0, 10, 30][Int(random.below(4))]
        for origin in origins {
            origin.reply = [.length, .chunked, .untilClose][Int(random.below(3))]
            origin.bodyBytes = [0, 20, 900][Int(random.below(3))]
            origin.delay = .milliseconds(Int64(random.below(30)))
            origin.requestsPerConnection = [1, 3, 1_000][Int(random.below(3))]
            origin.isHealthy = random.below(4) > 0
            let badness = [0, 0, 3, 2, 1][Int(random.below(5))]
            let bad: SimulatedOrigin.Answer = [
                .init(503), .init(500, headers: ["retry-after: 0"]), .init(200, reply: .silence),
                .init(200, reply: .garbage), .init(200, reply: .reset), .init(503, reply: .chunked),
            ][Int(random.below(6))]
            if badness > 0 { origin.script = { $0 % badness == 0 ? bad : nil } }
            if random.below(6) == 0 {
                origin.isUp = false
                world.after(.milliseconds(Int64(random.below(300)))) { origin.isUp = true }
            }
        }
        if random.below(5) == 0 {
            let hole = origins[Int(random.below(4))].address
            world.faults.isBlackHole = { $0 == hole }
        }
    }

    /// Regressions: 104 and 143 left a mirrored body waiting for ever when its original had ended
    /// early; so did 182 and 305.
    @Test(
        "with everything on, each request has one end, its own, and nothing is left behind",
        arguments: 0..<400)
    func swarm(seed: Int) {
        var random = PRNG(seed: UInt64(seed) &* 15_485_863 &+ 7)
        let options = Options(&random)
        let origins = Resilience.origins()
        for origin in origins { origin.speaksHTTP2 = options.isHTTP2Upstream }
        let world = World(seed: UInt64(seed), yaml: options.yaml, origins: origins)
        TroubleSwarmTests.trouble(world, origins, &random)
        var clients: [SimulatedClient] = [], others: [SimulatedHTTP2Client] = []
        for n in 0..<8 {
            let requests = SwarmTests.requests(&random)
            if random.below(3) == 0 {
                let client = SimulatedHTTP2Client(world, name: "h\(n)", requests)
                if random.below(4) == 0 { client.cancels = Int(random.below(3)) }
                others.append(client)
                world.after(.milliseconds(Int64(random.below(100)))) { client.start() }
            } else {
                let client = SimulatedClient(
                    world, name: "c\(n)", requests, pipelined: random.below(3) == 0)
                if random.below(5) == 0 { client.leavesAfter = Int(random.below(3)) }
                clients.append(client)
                world.after(.milliseconds(Int64(random.below(100)))) { client.start() }
            }
        }
        if random.below(3) == 0 {
            let other = Options(&random)
            world.after(.milliseconds(Int64(random.below(150)))) {
                guard other.isHTTP2Upstream == options.isHTTP2Upstream else { return }
                world.reload(yaml: other.yaml, generation: 2)
            }
        }
        if random.below(8) == 0 { world.after(.milliseconds(80)) { world.leaveListener() } }
        world.run(until: .seconds(40))
        // Without checks the world comes to rest.
        world.reload(yaml: Resilience.yaml(), generation: 3)
        world.run()
        #expect(world.leftovers.isEmpty, "seed \(seed): \(world.inventory)\n\(options.yaml)")
        let outcomes = clients.flatMap(\.outcomes) + others.flatMap(\.outcomes)
        for outcome in outcomes {
            if !outcome.responseID.isEmpty {
                #expect(outcome.responseID == outcome.id, "seed \(seed)")
            }
            #expect(
                [200, 408, 429, 500, 502, 503, 504].contains(outcome.status),
                "seed \(seed): \(outcome)")
        }
        let started = world.metric("sluice_requests_started_total")
        let ended =
            world.metric("sluice_requests_total")
            - world.metric("sluice_requests_total", "assign=\"mirror\"")
        #expect(ended == started, "seed \(seed)")
        #expect(world.metric("sluice_requests_in_flight") == 0, "seed \(seed)")
        #expect(UInt64(outcomes.count) <= started, "seed \(seed)")
        #expect(world.held.isEmpty, "seed \(seed): \(world.held)")
    }
}
