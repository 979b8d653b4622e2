import Base
import Simulation
import Testing

/// HTTP/2 connections to endpoints that take few streams, and requests that do not know yet how
/// few.
@Suite struct IsolationScenarios {
    @Test(
        "a burst on new HTTP/2 connections waits for their settings: nobody is refused, and nothing repeated",
        arguments: [1, 2, 7])
    func burst(streamsMax: Int) {
        for seed: UInt64 in 1...20 {
            let origins = Resilience.origins()
            for origin in origins {
                origin.speaksHTTP2 = true
                origin.streamsMax = streamsMax
                origin.delay = .milliseconds(20)
            }
            let world = Resilience.world(seed: seed, origins, service: "protocol: http2")
            let client = SimulatedHTTP2Client(world, name: "h", Resilience.gets(60))
            client.start()
            world.run()
            #expect(client.outcomes.map(\.status) == [Int](repeating: 200, count: 60))
            #expect(origins.reduce(0) { $0 + $1.requestCount } == 60)
            #expect(world.metric("sluice_upstream_retries_total") == 0)
            #expect(world.leftovers.isEmpty, "\(world.leftovers)")
        }
    }

    @Test("later requests find the limit known, and wait for a stream or make an HTTP/2 connection")
    func later() {
        let origins = Resilience.origins()
        for origin in origins {
            origin.speaksHTTP2 = true
            origin.streamsMax = 1
            origin.delay = .milliseconds(5)
        }
        let world = Resilience.world(origins, service: "protocol: http2")
        #expect(Resilience.statuses(world, Resilience.gets(3)) == [200, 200, 200])
        for name in ["x", "y"] {
            let client = SimulatedHTTP2Client(world, name: name, Resilience.gets(40))
            client.start()
            world.run(until: .seconds(60))
            #expect(client.outcomes.map(\.status) == [Int](repeating: 200, count: 40))
        }
        #expect(world.metric("sluice_upstream_retries_total") == 0)
    }
}
