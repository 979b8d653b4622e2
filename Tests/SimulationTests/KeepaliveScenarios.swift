import Base
import Simulation
import Testing

/// PINGs to endpoints that are silent (gRPC's proposal A8).
@Suite struct KeepaliveScenarios {
    /// An endpoint that takes requests over HTTP/2 and never says a word.
    private func world(_ origin: SimulatedOrigin, pool: String = "") -> World {
        origin.speaksHTTP2 = true
        origin.reply = .silence
        return World(
            seed: 1,
            yaml: """
                listeners: [{ name: http, address: "127.0.0.1:80" }]
                services:
                  s:
                    protocol: http2
                    versions: { v1: { weight: 1, endpoints: ["10.0.0.1:80"] } }
                    \(pool)
                routes: [{ name: rest, to: s }]
                defaults: { timeouts: { firstByte: 2h, idle: 2h } }
                """,
            origins: [origin])
    }

    /// How often a gRPC server would take a PING as abuse: less than five minutes behind the one
    /// before. It ends the connection at the third.
    private func strikes(_ pings: [Instant]) -> Int {
        zip(pings, pings.dropFirst()).count { $1 - $0 < .seconds(300) }
    }

    @Test("a silent endpoint is asked after 30 seconds, and then every five minutes")
    func silent() {
        let origin = SimulatedOrigin("10.0.0.1:80", version: "v1")
        let world = world(origin)
        let client = SimulatedHTTP2Client(world, name: "c", Resilience.gets(3))
        client.start()
        let start = world.now
        world.run(until: .seconds(3_600))
        #expect(origin.requestCount == 3)
        #expect((10...12).contains(origin.pings.count))
        #expect(strikes(origin.pings) == 0)
        if let first = origin.pings.first { #expect(first - start < .seconds(61)) }
    }

    @Test("requests that a silent endpoint does not answer are need, and cost one strike at most")
    func need() {
        let origin = SimulatedOrigin("10.0.0.1:80", version: "v1")
        let world = world(origin)
        let clients = (0..<80).map {
            SimulatedHTTP2Client(world, name: "c\($0)", Resilience.gets(1))
        }
        for (i, client) in clients.enumerated() {
            world.after(.seconds(45 * Int64(i))) { client.start() }
        }
        world.run(until: .seconds(3_600))
        #expect(origin.requestCount == 80)
        #expect(strikes(origin.pings) == 1)
    }

    @Test("an endpoint that is gone is given up after two silences, by the rules of gRPC too")
    func gone() {
        let origin = SimulatedOrigin("10.0.0.1:80", version: "v1")
        let world = world(origin)
        let client = SimulatedHTTP2Client(world, name: "c", Resilience.gets(1))
        client.start()
        world.after(.seconds(1)) { origin.isGone = true }
        let start = world.now
        var ended: Instant?
        world.afterTurn = {
            if ended == nil, client.outcomes.count == 1 { ended = world.now }
        }
        world.run(until: .seconds(3_600))
        #expect(client.outcomes.map(\.status) == [502])
        #expect(ended.map { $0 - start < .seconds(100) } == true)
    }

    @Test("one that goes after it was asked is noticed by the next request, not in five minutes")
    func goneLater() {
        let origin = SimulatedOrigin("10.0.0.1:80", version: "v1")
        let world = world(origin)
        let clients = (0..<2).map {
            SimulatedHTTP2Client(world, name: "c\($0)", Resilience.gets(1))
        }
        clients[0].start()
        world.after(.seconds(100)) { origin.isGone = true }
        var ended: Instant?
        world.after(.seconds(110)) { clients[1].start() }
        let start = world.now
        world.afterTurn = {
            if ended == nil, clients[1].outcomes.count == 1 { ended = world.now }
        }
        world.run(until: .seconds(3_600))
        #expect(clients.map { $0.outcomes.map(\.status) } == [[502], [502]])
        // It may have been repeated on a connection of its own, which is as silent.
        #expect(ended.map { $0 - start < .seconds(300) } == true)
    }

    @Test("an interval that the operator has set is kept to")
    func explicit() {
        let origin = SimulatedOrigin("10.0.0.1:80", version: "v1")
        let world = world(origin, pool: "connectionPool: { pingInterval: 10s }")
        let client = SimulatedHTTP2Client(world, name: "c", Resilience.gets(1))
        client.start()
        world.run(until: .seconds(600))
        // Silence, the answer to the PING, silence: one each 20 seconds.
        #expect((28...30).contains(origin.pings.count))
    }
}
