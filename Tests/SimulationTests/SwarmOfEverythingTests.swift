import Simulation
import Testing

/// Worlds in which everything may happen; scripts/simulate runs more of them.
@Suite struct SwarmOfEverythingTests {
    @Test("whatever happens, all that must hold does", arguments: Array(0..<400) + [977])
    func swarm(seed: UInt64) {
        let swarm = Swarm(seed: seed)
        swarm.run()
        #expect(swarm.findings.isEmpty, "scripts/simulate --seed \(seed): \(swarm.findings)")
    }

    @Test("worlds whose weights change have epochs, trips and drift")
    func reach() {
        // Weights that are refused behind a trip are rarer than these worlds are many: TripTests.
        var trips = 0, drifts = 0, epochs = 0
        for seed in 98..<112 as Range<UInt64> {
            let swarm = Swarm(seed: seed, checksTables: false)
            swarm.run()
            let changes = swarm.changes
            trips += changes.trips
            drifts += changes.drifts
            epochs += changes.epochs
        }
        #expect(trips > 1 && drifts > 0 && epochs > 14, "\(trips), \(drifts), \(epochs)")
    }

    @Test("a seed is a world: run again, it is the same", arguments: [12_345, 12_365] as [UInt64])
    func replays(seed: UInt64) {
        let stories = (0..<2).map { _ in
            let swarm = Swarm(seed: seed)
            swarm.run()
            return swarm.story + swarm.fates
        }
        #expect(stories[0] == stories[1])
        #expect(stories[0].count > 10)
    }
}
