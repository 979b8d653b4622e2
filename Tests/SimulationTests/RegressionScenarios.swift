import Base
import Simulation
import Testing

/// Bugs that simulated worlds found, each as a world of its own: seeds lose their meaning when the
/// worlds change, these do not.
@Suite struct RegressionScenarios {
    @Test("a stream whose kept body turns out too large is told so (swarm, seed 20: a trap)")
    func keptBodyTooLarge() {
        let origins = Resilience.origins()
        let world = Resilience.world(origins, defaults: "limits: { bodyBytes: 300B }")
        world.faults.latencyMax = .milliseconds(20)
        var requests: [SimulatedRequest] = []
        for _ in 0..<4 {
            var request = SimulatedRequest("POST", "/")
            request.patternBytes = 600
            request.isChunked = true
            requests.append(request)
        }
        let client = SimulatedHTTP2Client(world, name: "h", requests)
        client.start()
        world.run()
        #expect(client.outcomes.map(\.status) == [413, 413, 413, 413])
        #expect(world.leftovers.isEmpty, "\(world.inventory)")
    }

    @Test(
        "an HTTP/2 connection that was told to end does, though its client takes nothing (seed 977)"
    )
    func announcedAndStalled() {
        let origins = Resilience.origins()
        for origin in origins { origin.bodyBytes = 200_000 }
        let world = Resilience.world(origins)
        // The client falls silent in the middle of its answers.
        world.faults.silencePercent = 100
        let client = SimulatedHTTP2Client(world, name: "h", Resilience.gets(3))
        client.start()
        world.after(.milliseconds(100)) { world.leaveListener() }
        world.run()
        #expect(world.leftovers.isEmpty, "\(world.inventory)")
    }
}
