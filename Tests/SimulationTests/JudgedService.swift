import Base
import Configuration
import Foundation
import Rollout
import Simulation
import Support

/// A canary beside its stable version over the production data plane, second by second, and looks
/// at the evidence about them.
///
/// Everything follows from the seed. Whoever wants a decision within a second asks between two
/// calls of `pass`.
final class JudgedService {
    /// How one version behaves.
    struct Version: Sendable {
        /// The chance of an answer of 500, and how long such an answer takes.
        var errors = 0.0
        var errorTime = Duration.milliseconds(50)
        /// The chance that nothing is answered; the client leaves after three seconds.
        var hangs = 0.0
        /// Times are drawn around a median of 50 ms (log-normal, sigma 0.6), times this.
        var slowness = 1.0

        static func errors(_ share: Double) -> Version { Version(errors: share) }
    }

    let world: World
    let origins: [SimulatedOrigin]
    var stable: Version
    var canary: Version
    /// When the canary's first answer of 500 was sent.
    private(set) var firstError: Instant?
    private var random: PRNG
    private var clients: [SimulatedClient] = []
    private var seconds = 0

    /// - Parameters:
    ///   - weights: of the stable version and the canary.
    ///   - service: keys of the service, in YAML.
    ///   - route: keys of the route, in YAML.
    init(
        seed: UInt64, weights: [Int], stable: Version, canary: Version, service: String = "",
        route: String = ""
    ) {
        origins = EvidenceScenarios.origins()
        world = EvidenceScenarios.world(
            seed: seed, origins, weights, service: service, route: route)
        world.checksTables = false
        random = PRNG(seed: seed &+ 1_000)
        self.stable = stable
        self.canary = canary
        for (i, origin) in origins.enumerated() {
            origin.answer = { [unowned self] request in answer(request, isCanary: i == 1) }
        }
    }

    private func answer(
        _ request: SimulatedOrigin.Request, isCanary: Bool
    ) -> SimulatedOrigin.Answer {
        let version = isCanary ? canary : stable
        if version.errors > 0, random.chance(version.errors) {
            if isCanary, firstError == nil { firstError = world.now + version.errorTime }
            return .init(500, delay: version.errorTime)
        }
        if version.hangs > 0, random.chance(version.hangs) {
            let number = Int(request.id.split(separator: "-")[0].dropFirst()) ?? 0
            let client = clients[number]
            world.after(.seconds(3)) { client.leave() }
            return .init(200, reply: .silence)
        }
        let time = 0.05 * version.slowness * exp(0.6 * random.normal())
        return .init(200, delay: .microseconds(Int64(time * 1e6)))
    }

    /// A second passes, in which clients begin that send one request each.
    func pass(requests: Int) {
        for i in 0..<requests {
            let number = clients.count
            let client = SimulatedClient(world, name: "c\(number)", [SimulatedRequest()])
            clients.append(client)
            let gap = 1_000_000 / Int64(requests)
            let at = Int64(i) * gap + Int64(random.below(UInt64(gap)))
            world.after(.microseconds(at)) { client.start() }
        }
        world.run(until: .seconds(1))
        seconds += 1
    }

    /// The evidence of now.
    ///
    /// - Parameter limit: the longest that a request may take until it counts.
    func sample(limit: Duration) -> EvidenceSample? {
        world.evidenceSample(
            EvidenceQuestion(service: "s", canary: "v2", startedAt: 1, timeLimit: { _ in limit }))
    }
}
