import Base
import Simulation
import Testing

/// Connections that are to end while their clients go on: nothing that a client sent in good faith
/// is lost.
@Suite struct EndingScenarios {
    enum Way: CaseIterable { case age, listener, drain }

    @Test(
        "clients that reuse their connections lose nothing when these end", arguments: Way.allCases,
        0..<30)
    func lossless(way: Way, seed: Int) {
        let origins = Resilience.origins()
        for origin in origins { origin.delay = .milliseconds(30) }
        let world = World(
            seed: UInt64(seed),
            yaml: Resilience.yaml(
                defaults: way == .age ? "timeouts: { maxConnectionDuration: 300ms }" : ""),
            origins: origins)
        world.faults.latencyMax = .milliseconds(20)
        let clients = (0..<20).map { SimulatedClient(world, name: "c\($0)", Resilience.gets(20)) }
        var random = PRNG(seed: UInt64(seed))
        for client in clients {
            client.pause = .milliseconds(Int64(random.below(300)))
            world.after(.milliseconds(Int64(random.below(100)))) { client.start() }
        }
        world.after(.milliseconds(Int64(200 + random.below(300)))) {
            switch way {
            case .age: break
            case .listener: world.leaveListener()
            case .drain: world.drain()
            }
        }
        world.run()
        for client in clients {
            #expect(client.isClosed && client.outcomes.count == client.sentCount)
            for outcome in client.outcomes {
                #expect(outcome.status == 200 && outcome.end == .complete, "\(way) \(outcome)")
            }
        }
        #expect(world.leftovers["downstream"] == nil, "\(world.inventory)")
    }

    @Test("under another name of its listener a connection goes on, and what it began ends well")
    func renamed() {
        let origins = Resilience.origins()
        for origin in origins { origin.delay = .milliseconds(30) }
        let world = World(seed: 3, yaml: Resilience.yaml(), origins: origins)
        let clients = (0..<10).map { SimulatedClient(world, name: "c\($0)", Resilience.gets(10)) }
        for client in clients { client.start() }
        world.after(.milliseconds(150)) { world.renameListener(to: "renamed") }
        world.run()
        for client in clients {
            #expect(client.outcomes.map(\.status) == [Int](repeating: 200, count: 10))
        }
        let old = world.metric("sluice_requests_total", "listener=\"http\"")
        let new = world.metric("sluice_requests_total", "listener=\"renamed\"")
        #expect(old > 0 && new > 0 && old + new == 100)
        #expect(world.metric("sluice_downstream_connections_accepted_total") == 10)
    }

    @Test("one that has nothing to ask is not waited for", arguments: Way.allCases)
    func idle(way: Way) {
        let world = Resilience.world(
            Resilience.origins(),
            defaults: way == .age ? "timeouts: { maxConnectionDuration: 5s }" : "")
        let client = SimulatedClient(world, name: "a", Resilience.gets(2))
        client.pause = .seconds(60)
        client.start()
        world.after(.seconds(5)) {
            if way == .listener { world.leaveListener() }
            if way == .drain { world.drain() }
        }
        world.run(until: .milliseconds(5_900))
        #expect(!client.isClosed)
        world.run(until: .milliseconds(300))
        #expect(client.isClosed && client.outcomes.count == 1)
    }
}
