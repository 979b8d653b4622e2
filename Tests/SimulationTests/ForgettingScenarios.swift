import Base
import Simulation
import Testing

/// Rows and clusters whose numbers were others' before.
@Suite struct ForgettingScenarios {
    private func yaml(_ name: String, route: String = "") -> String {
        """
        listeners: [{ name: http, address: "127.0.0.1:80" }]
        services:
          \(name):
            stable: \(name)
            versions:
              \(name): { weight: 100%, endpoints: ["10.0.0.1:80"] }
              beside: { weight: 0%, endpoints: ["10.0.1.1:80"] }
        routes:
          - { name: \(name), to: \(name), mirror: { to: \(name)/beside, share: 100% }\(route) }
        """
    }

    private func origins() -> [SimulatedOrigin] {
        [
            SimulatedOrigin("10.0.0.1:80", version: "v1"),
            SimulatedOrigin("10.0.1.1:80", version: "v2"),
        ]
    }

    /// Requests of clients; copies to the other version have series of their own.
    private func counted(_ world: World, _ name: String) -> UInt64 {
        world.metric("sluice_requests_total", "version=\"\(name)\",assign=\"weighted\"")
    }

    @Test("requests count for the names that they began with, whoever has the numbers later")
    func names() {
        let world = World(seed: 5, yaml: yaml("n0"), origins: origins())
        var largest = 0
        for n in 0..<40 {
            if n > 0 { world.reload(yaml: yaml("n\(n)"), generation: UInt64(n + 1)) }
            let client = SimulatedClient(
                world, name: "c\(n)", Resilience.gets(n % 5 + 1, []))
            client.start()
            world.run()
            #expect(client.outcomes.allSatisfy { $0.status == 200 })
            #expect(counted(world, "n\(n)") == UInt64(n % 5 + 1), "its own, and nobody else's")
            #expect(
                world.metric("sluice_upstream_attempts_total", "version=\"n\(n)\"")
                    == UInt64(n % 5 + 1))
            world.forgetGone()
            if n == 10 { largest = world.metrics.extent.slots }
        }
        #expect(world.metrics.extent.slots == largest)
        #expect(counted(world, "n38") == 0)
        #expect(world.leftovers.isEmpty, "\(world.inventory)")
    }

    @Test("a request that is under way keeps the row of its configuration until it has counted")
    func underWay() {
        let origins = origins()
        origins[0].delay = .seconds(5)
        let world = World(seed: 6, yaml: yaml("old"), origins: origins)
        let slow = SimulatedClient(world, name: "slow", Resilience.gets(1, []))
        slow.start()
        var early = -1, late = -1
        world.after(.seconds(1)) {
            world.reload(yaml: self.yaml("new"), generation: 2)
            early = world.forgetGone()
            origins[0].delay = .zero
            let quick = SimulatedClient(world, name: "quick", Resilience.gets(3, []))
            quick.start()
        }
        world.after(.seconds(4)) {
            #expect(self.counted(world, "new") == 3)
            #expect(world.metric("sluice_requests_in_flight", "route=\"old\"") == 1)
            early = max(early, world.forgetGone())
        }
        world.after(.seconds(20)) {
            #expect(self.counted(world, "old") == 1 && self.counted(world, "new") == 3)
            late = world.forgetGone()
            #expect(self.counted(world, "old") == 0 && self.counted(world, "new") == 3)
        }
        world.run()
        #expect(slow.outcomes.map(\.status) == [200])
        #expect(early == 0 && late > 0)
    }
}
