import Simulation
import Testing

/// Endpoints that take HTTP/2 by ALPN and then want HTTP/1.1 (RFC 9113 §7, HTTP_1_1_REQUIRED).
@Suite struct DowngradeScenarios {
    static func run(
        _ requests: [SimulatedRequest], protocol: String = "auto"
    ) -> ([Int], World, [SimulatedOrigin]) {
        let origins = Resilience.origins()
        for origin in origins {
            origin.choosesHTTP2 = true
            origin.wantsHTTP1 = true
        }
        let world = Resilience.world(
            origins, service: "protocol: \(`protocol`)\n    tls: { verify: off }",
            route: "retries: off")
        return (Resilience.statuses(world, requests, until: .seconds(60)), world, origins)
    }

    @Test("are asked once more by HTTP/1.1, with the same body")
    func repeated() {
        let requests =
            Resilience.gets(3) + [Resilience.put(100), Resilience.put(5_000, chunked: true)]
        let (statuses, world, origins) = DowngradeScenarios.run(requests)
        #expect(statuses == [200, 200, 200, 200, 200])
        #expect(origins.flatMap(\.requests).map(\.bodyBytes).sorted() == [0, 0, 0, 100, 5_000])
        #expect(world.metric("sluice_errors_total") == 0)
    }

    @Test("with a body that is too long to be kept the client is told 502")
    func tooLong() {
        let (statuses, world, _) = DowngradeScenarios.run([Resilience.put(200_000)])
        #expect(statuses == [502])
        #expect(world.metric("sluice_errors_total", "cause=\"reset\"") == 1)
        #expect(world.leftovers["exchanges"] == nil && world.leftovers["attempts"] == nil)
    }

    @Test("where HTTP/2 is what was set up the client is told 502")
    func prescribed() {
        let (statuses, _, origins) = DowngradeScenarios.run(
            Resilience.gets(2), protocol: "http2")
        #expect(statuses == [502, 502])
        #expect(origins.allSatisfy { $0.requestCount == 0 })
    }
}
