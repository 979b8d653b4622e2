import Base
import Simulation
import Testing

/// Random worlds: every fault at once, drawn from the seed. A failure names its seed.
@Suite struct SwarmTests {
    static func world(_ seed: UInt64) -> (World, [SimulatedOrigin]) {
        let origins = Setup.origins()
        let world = World(seed: seed, yaml: Setup.yaml, origins: origins)
        var random = PRNG(seed: seed ^ 0xabcd)
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
        }
        return (world, origins)
    }

    static func requests(_ random: inout PRNG) -> [SimulatedRequest] {
        (0..<Int(random.below(6) + 1)).map { _ in
            var request = SimulatedRequest(
                ["GET", "HEAD", "POST", "PUT"][Int(random.below(4))],
                ["/", "/ok", "/a/../b", "/x?y"][Int(random.below(4))])
            if random.below(3) == 0 { request.headers.append("x-group: beta") }
            if request.method == "POST" || request.method == "PUT" {
                request.body = String(repeating: "r", count: Int(random.below(600)))
                request.isChunked = random.below(2) == 0
            }
            return request
        }
    }

    @Test(
        "whatever the network does, each request has one end, its own, and nothing is left behind",
        arguments: 0..<300)
    func swarm(seed: Int) {
        let (world, _) = SwarmTests.world(UInt64(seed))
        var random = PRNG(seed: UInt64(seed) &* 7_919)
        var clients: [SimulatedClient] = []
        for n in 0..<8 {
            let client = SimulatedClient(
                world, name: "c\(n)", SwarmTests.requests(&random), pipelined: random.below(3) == 0)
            if random.below(5) == 0 { client.leavesAfter = Int(random.below(3)) }
            clients.append(client)
            world.after(.milliseconds(Int64(random.below(100)))) { client.start() }
        }
        if random.below(3) == 0 {
            world.after(.milliseconds(40)) {
                world.reload(
                    yaml: Setup.yaml.replacingFirst("weight: 80", with: "weight: 60")
                        .replacingFirst("weight: 20", with: "weight: 40"), generation: 2)
            }
        }
        world.run()
        #expect(world.leftovers.isEmpty, "seed \(seed): \(world.leftovers)")
        for client in clients {
            for outcome in client.outcomes where !outcome.responseID.isEmpty {
                #expect(outcome.responseID == outcome.id, "seed \(seed)")
            }
            for outcome in client.outcomes {
                #expect([200, 502, 503, 504].contains(outcome.status), "seed \(seed): \(outcome)")
            }
        }
        let started = world.metric("sluice_requests_started_total")
        #expect(world.metric("sluice_requests_total") == started, "seed \(seed)")
        #expect(world.metric("sluice_requests_in_flight") == 0, "seed \(seed)")
        let seen = clients.reduce(0) { $0 + $1.outcomes.count }
        #expect(UInt64(seen) <= started, "seed \(seed)")
    }

    @Test(
        "HTTP/2 on either side, with resets, cancels and GOAWAY: one end each, and nothing is left",
        arguments: 0..<300)
    func swarmOfStreams(seed: Int) {
        var random = PRNG(seed: UInt64(seed) &* 104_729)
        let origins = Setup.origins()
        let isUpstream = random.below(2) == 0
        let yaml =
            isUpstream
            ? Setup.yaml.replacingFirst(
                "    stable: v1", with: "    protocol: http2\n    stable: v1")
            : Setup.yaml
        let world = World(seed: UInt64(seed), yaml: yaml, origins: origins)
        world.faults.readBytesMax = [1, 7, 100, 65_536][Int(random.below(4))]
        world.faults.writeBytesMax = [1, 13, 1_000, 65_536][Int(random.below(4))]
        world.faults.latencyMax = .milliseconds(Int64(random.below(20)))
        world.faults.refusePercent = [0, 0, 10, 30][Int(random.below(4))]
        world.faults.resetPercent = [0, 0, 10, 30][Int(random.below(4))]
        for origin in origins {
            origin.speaksHTTP2 = isUpstream
            origin.reply = [.length, .chunked, .untilClose][Int(random.below(3))]
            origin.bodyBytes = [0, 20, 900, 200_000][Int(random.below(4))]
            origin.delay = .milliseconds(Int64(random.below(30)))
            origin.requestsPerConnection = [1, 3, 1_000][Int(random.below(3))]
        }
        if world.faults.readBytesMax < 100 || world.faults.writeBytesMax < 100 {
            // Byte by byte a large body takes more steps than a test has.
            for origin in origins { origin.bodyBytes = min(origin.bodyBytes, 900) }
        }
        var clients: [SimulatedHTTP2Client] = []
        var sent = 0
        for n in 0..<6 {
            let requests = SwarmTests.requests(&random)
            sent += requests.count
            let client = SimulatedHTTP2Client(world, name: "c\(n)", requests)
            if random.below(4) == 0 { client.cancels = Int(random.below(3)) }
            if random.below(5) == 0 { client.leavesAfter = Int(random.below(3)) + 1 }
            clients.append(client)
            world.after(.milliseconds(Int64(random.below(100)))) { client.start() }
        }
        world.run()
        #expect(world.leftovers.isEmpty, "seed \(seed): \(world.leftovers)")
        for outcome in clients.flatMap(\.outcomes) {
            if !outcome.responseID.isEmpty { #expect(outcome.responseID == outcome.id, "\(seed)") }
            #expect([200, 502, 503, 504].contains(outcome.status), "seed \(seed): \(outcome)")
        }
        let started = world.metric("sluice_requests_started_total")
        #expect(world.metric("sluice_requests_total") == started, "seed \(seed)")
        #expect(world.metric("sluice_requests_in_flight") == 0, "seed \(seed)")
        #expect(started > 0, "seed \(seed)")
        let isKind =
            world.faults.refusePercent == 0 && world.faults.resetPercent == 0
            && clients.allSatisfy { $0.cancels == 0 && $0.leavesAfter == nil }
            // A POST is not repeated when an origin of HTTP/1.1 closes as it comes.
            && origins.allSatisfy {
                $0.requestsPerConnection == 1_000 && (isUpstream || $0.reply != .untilClose)
            }
        if isKind {
            let whole = clients.flatMap(\.outcomes).filter {
                $0.status == 200 && $0.end == .complete
            }
            let others = clients.flatMap(\.outcomes).filter {
                $0.status != 200 || $0.end != .complete
            }
            #expect(
                whole.count == sent,
                "seed \(seed), HTTP/2 upstream \(isUpstream), \(origins.map(\.reply)): \(others)")
        }
    }
}
