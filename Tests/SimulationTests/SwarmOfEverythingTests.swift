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

    @Test("a seed is a world: run again, it is the same")
    func replays() {
        let stories = (0..<2).map { _ in
            let swarm = Swarm(seed: 12_345)
            swarm.run()
            return swarm.story + swarm.fates
        }
        #expect(stories[0] == stories[1])
        #expect(stories[0].count > 10)
    }
}
