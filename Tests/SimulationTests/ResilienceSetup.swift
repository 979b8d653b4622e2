import Base
import Simulation

/// A version of three endpoints and another of one, with whatever a scenario adds.
enum Resilience {
    static func yaml(
        service: String = "", route: String = "", routes: String = "", defaults: String = ""
    ) -> String {
        """
        listeners: [{ name: http, address: "127.0.0.1:80" }]
        services:
          s:
            stable: v1
            versions:
              v1: { weight: 100%, endpoints: ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"] }
              v2: { weight: 0%, endpoints: ["10.0.1.1:80"] }
            loadBalancer: roundRobin
            \(service)
        routes:
          \(routes)
          - { name: beta, match: { headers: { x-group: beta } }, to: s/v2 }
          - { name: rest, to: s\(route.isEmpty ? "" : ", " + route) }
        defaults: { \(defaults) }
        """
    }

    static func origins() -> [SimulatedOrigin] {
        [
            SimulatedOrigin("10.0.0.1:80", version: "v1"),
            SimulatedOrigin("10.0.0.2:80", version: "v1"),
            SimulatedOrigin("10.0.0.3:80", version: "v1"),
            SimulatedOrigin("10.0.1.1:80", version: "v2"),
        ]
    }

    static func world(
        seed: UInt64 = 1, _ origins: [SimulatedOrigin], service: String = "", route: String = "",
        routes: String = "", defaults: String = ""
    ) -> World {
        World(
            seed: seed,
            yaml: yaml(service: service, route: route, routes: routes, defaults: defaults),
            origins: origins)
    }

    /// The statuses of requests that a client sends one after the other.
    static func statuses(
        _ world: World, _ requests: [SimulatedRequest], until limit: Duration = .seconds(600)
    ) -> [Int] {
        let client = SimulatedClient(world, name: "c", requests)
        client.start()
        world.run(until: limit)
        return client.outcomes.map(\.status)
    }

    static func gets(_ count: Int, _ headers: [String] = []) -> [SimulatedRequest] {
        (0..<count).map { _ in
            var request = SimulatedRequest()
            request.headers = headers
            return request
        }
    }

    static func put(_ body: Int, chunked: Bool = false) -> SimulatedRequest {
        var request = SimulatedRequest("PUT", "/")
        request.body = String(repeating: "p", count: body)
        request.isChunked = chunked
        return request
    }
}
