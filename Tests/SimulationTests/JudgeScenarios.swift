import Base
import Configuration
import Foundation
import Rollout
import Simulation
import Support
import Testing

/// The judge of a rollout over the production data plane: real draws, retries, sessions and
/// counters, under the virtual clock.
///
/// With `SLUICE_LONG=1` there are 240 rollouts of an equal version, and else one of each kind.
@Suite struct JudgeScenarios {
    /// How users come, and what befalls both versions.
    enum Traffic: String, CaseIterable {
        case steady
        /// Every user sends a page and its assets at once.
        case pages
        /// Sessions, of which some fail far more often than others.
        case sessions
        /// Half of the requests of five seconds fail, whoever serves them.
        case outage
        /// Requests that hang for a second before they fail, or fail at once.
        case slowErrors
        /// Two routes: one has a tenth of the requests, ten times the errors, and half of its
        /// requests go to the canary, where the other one gives it a fifth. Taken together, the
        /// canary has far more errors; on neither route has it.
        case uneven
    }

    static let rollouts = ProcessInfo.processInfo.environment["SLUICE_LONG"] == nil ? 1 : 40
    static let question = EvidenceQuestion(
        service: "s", canary: "v2", startedAt: 1, timeLimit: { _ in .seconds(2) })

    /// - Parameters:
    ///   - errors: the chances of an error of the stable version and of the canary.
    ///   - slowness: of the canary.
    static func run(
        seed: UInt64, _ traffic: Traffic, errors: (stable: Double, canary: Double),
        slowness: Double = 1, route: String = "", seconds: Int = 40
    ) -> (judge: StageJudge, verdicts: [Verdict]) {
        let origins = EvidenceScenarios.origins()
        let isSticky = traffic == .sessions
        let world = EvidenceScenarios.world(
            seed: seed, origins,
            service: isSticky ? "sticky: { cookie: session }" : "", route: route,
            routes: traffic == .uneven
                ? "- { name: cart, match: { path: { prefix: /cart } }, to: s, "
                    + "split: { v1: 50%, v2: 50% } }" : "")
        world.checksTables = false
        var random = PRNG(seed: seed &+ 1_000)
        for (i, origin) in origins.enumerated() {
            origin.answer = { request in
                var rate = i == 0 ? errors.stable : errors.canary
                if request.head.contains("x-user: unlucky") { rate = min(1, rate * 20) }
                if request.head.hasPrefix("GET /cart") { rate = min(1, rate * 10) }
                let second = (world.now.nanoseconds / 1_000_000_000) % 60
                if traffic == .outage, (20..<25).contains(second) { rate = 0.5 }
                let spread = Double(2_000 + random.below(18_000)) * (i == 0 ? 1 : slowness)
                let time = Duration.microseconds(Int64(spread))
                guard random.chance(rate) else { return .init(200, delay: time) }
                let isSlow = traffic == .slowErrors && random.chance(0.5)
                return .init(500, delay: isSlow ? .seconds(1) : .milliseconds(1))
            }
        }
        start(world, traffic, seconds: seconds, &random)
        var judge = StageJudge(), verdicts: [Verdict] = []
        let terms = StageTerms(name: "fifth", share: 0.2, minTime: .seconds(86_400))
        _ = judge.enter(terms, world.evidenceSample(question), now: world.now)
        for second in 1...seconds {
            world.after(.seconds(Int64(second))) {
                guard let sample = world.evidenceSample(question) else { return }
                verdicts.append(
                    judge.look(
                        sample,
                        .init(now: world.now, elapsed: .seconds(Int64(second)))))
            }
        }
        world.run(until: .seconds(Int64(seconds) + 1))
        return (judge, verdicts)
    }

    /// Clients that come over the whole time.
    private static func start(
        _ world: World, _ traffic: Traffic, seconds: Int, _ random: inout PRNG
    ) {
        let perSecond = traffic == .pages ? 5 : 25
        for n in 0..<(seconds * perSecond) {
            let isUnlucky = random.below(20) == 0
            // Users come back: there are 300 of them.
            let user = Int(random.below(300))
            let requests = (0..<(traffic == .pages ? 12 : 4)).map { i in
                var request = SimulatedRequest("GET", i == 0 ? "/" : "/asset\(i)")
                if traffic == .uneven, n % 10 == 0 { request.path = "/cart/\(i)" }
                if traffic == .sessions {
                    request.headers = ["cookie: session=user\(user)"]
                    if user.isMultiple(of: 20) { request.headers.append("x-user: unlucky") }
                } else if traffic == .pages, isUnlucky {
                    request.headers = ["x-user: unlucky"]
                }
                return request
            }
            let client = SimulatedClient(
                world, name: "c\(n)", requests, pipelined: traffic == .pages)
            client.pause = .milliseconds(200)
            world.after(
                .milliseconds(Int64(n) * 1_000 / Int64(perSecond) + Int64(random.below(200)))
            ) { client.start() }
        }
    }

    @Test("an equal version is taken back within the budget, however users come")
    func equal() async {
        let found = await withTaskGroup(of: (Traffic, [Bool], Int).self) { group in
            for traffic in Traffic.allCases {
                group.addTask {
                    var taken: [Bool] = [], units = 0
                    for seed in 0..<UInt64(JudgeScenarios.rollouts) {
                        let result = JudgeScenarios.run(
                            seed: seed, traffic, errors: (0.02, 0.02), seconds: 60)
                        taken.append(result.verdicts.contains { $0.kind == .regression })
                        units += result.judge.totals.canary.units
                    }
                    return (traffic, taken, units)
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        let taken = found.reduce(0) { $0 + $1.1.count(where: { $0 }) }
        let rollouts = Double(found.reduce(0) { $0 + $1.1.count })
        // 1 % of the rollouts, and three standard errors, over all kinds.
        let most = rollouts * 0.01 + 3 * (rollouts * 0.01 * 0.99).squareRoot()
        #expect(Double(taken) <= (JudgeScenarios.rollouts > 1 ? most : 0), "\(found)")
        for (traffic, rollouts, units) in found {
            let each = traffic == .sessions ? 20 : 300
            #expect(units >= each * rollouts.count, "\(traffic): \(units) units were judged")
            guard JudgeScenarios.rollouts > 1 else { continue }
            print(
                "| \(traffic) | \(rollouts.count) | \(rollouts.count(where: { $0 })) | \(units) |")
        }
    }

    @Test("two routes with unequal rates and shares mislead their sum, and not the judge")
    func uneven() {
        let result = JudgeScenarios.run(seed: 7, .uneven, errors: (0.02, 0.02), seconds: 60)
        #expect(!result.verdicts.contains { $0.kind == .regression })
        let totals = result.judge.totals
        #expect(totals.canary.errorRate > 1.3 * totals.stable.errorRate)
        // A version that is worse on both of them is found.
        let worse = JudgeScenarios.run(seed: 7, .uneven, errors: (0.01, 0.05), seconds: 60)
        #expect(worse.verdicts.contains { $0.kind == .regression })
    }

    @Test(
        "errors that rise from 2 to 12 % are a regression, sessions or not",
        arguments: [Traffic.steady, .pages, .sessions])
    func worse(traffic: Traffic) {
        let result = JudgeScenarios.run(seed: 1, traffic, errors: (0.02, 0.12), seconds: 60)
        let found = result.verdicts.first { $0.kind == .regression }
        #expect(found?.reason.contains("v2 is worse than v1: errors") == true)
    }

    @Test("errors that retries hide from users are a regression by first attempts")
    func hidden() {
        let result = JudgeScenarios.run(
            seed: 2, .steady, errors: (0.01, 0.15),
            route: "retries: { attempts: 2, on: [5xx] }", seconds: 60)
        let found = result.verdicts.first { $0.kind == .regression }
        #expect(found?.reason.contains("failed first attempts") == true)
        #expect(result.judge.totals.canary.errors < result.judge.totals.canary.firstErrors)
    }

    @Test("a version half as slow again is a regression by its times")
    func slower() {
        let result = JudgeScenarios.run(
            seed: 3, .steady, errors: (0, 0), slowness: 1.5, seconds: 60)
        let found = result.verdicts.first { $0.kind == .regression }
        #expect(found?.reason.contains("times p50") == true)
    }
}
