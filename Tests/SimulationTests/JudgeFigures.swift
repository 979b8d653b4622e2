import Base
import Foundation
import Rollout
import Testing

/// The figures of the model's `check` (Tests/Fixtures/judge/judge_reference.py) once more, by the
/// judge that ships, over real draws, retries and counters, with the same shares and rates.
///
/// With `SLUICE_LONG=1` there are as many rollouts of each case as the model has, and a table is
/// printed; else there is one of each.
@Suite struct JudgeFigures {
    typealias Version = JudgedService.Version

    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        /// The share of the canary, in percent.
        var share: Int
        var perSecond: Int
        var stable: Version
        var canary: Version
        /// How long the canary is as the stable version at first, and how long it is looked at
        /// then, in seconds.
        var healthy = 0
        var seconds: Int
        var runs: Int
        /// The longest that a request may take until it counts.
        var limit = Duration.seconds(1)
        var route = ""
        /// The share of rollouts in which the model found it and the median of the canary's
        /// requests until then, as `check` prints them; 0: `check` has no such case.
        var model: (found: Double, median: Int) = (0, 0)
        /// The least share that must be found, and the largest median; 0: nothing may be found.
        var wanted: (found: Double, median: Int)
        /// The part of the reason that says what was found.
        var reason = "errors"
        var testDescription: String { name }
    }

    static let cases: [Case] = [
        Case(
            name: "errors of 1 % become 5 %", share: 5, perSecond: 400, stable: .errors(0.01),
            canary: .errors(0.05), seconds: 120, runs: 60, model: (1, 189), wanted: (0.95, 450)),
        Case(
            name: "errors of 0.1 % become 1 %", share: 5, perSecond: 400,
            stable: .errors(0.001), canary: .errors(0.01), seconds: 200, runs: 30,
            model: (1, 475), wanted: (0.9, 1_200)),
        Case(
            name: "a fifth slower", share: 25, perSecond: 200, stable: .errors(0.001),
            canary: Version(errors: 0.001, slowness: 1.2), seconds: 60, runs: 30,
            model: (1, 297), wanted: (0.95, 800), reason: "times"),
        Case(
            name: "2 % hang until the client leaves", share: 5, perSecond: 400,
            stable: .errors(0.001), canary: Version(errors: 0.001, hangs: 0.02), seconds: 150,
            runs: 20, limit: .seconds(4), model: (1, 515), wanted: (0.9, 1_200),
            reason: "answered later"),
        Case(
            name: "errors of 1 % become 5 % after 5,000 healthy requests of the canary", share: 25,
            perSecond: 200, stable: .errors(0.01), canary: .errors(0.05), healthy: 100,
            seconds: 40, runs: 15, model: (1, 581), wanted: (0.9, 900)),
        Case(
            name: "failed first attempts of 1 % become 6 %, and retries hide them", share: 5,
            perSecond: 400, stable: .errors(0.01), canary: .errors(0.06), seconds: 120, runs: 30,
            limit: .seconds(2), route: "retries: { attempts: 2, on: [5xx] }",
            wanted: (0.95, 800), reason: "first attempts"),
        Case(
            name: "a fix of a version that failed fast in 10 %", share: 5, perSecond: 200,
            stable: Version(errors: 0.1, errorTime: .milliseconds(1)), canary: .errors(0),
            seconds: 100, runs: 60, wanted: (0, 0)),
    ]

    /// - Returns: the canary's judged requests from when it turned bad until it was found, and the
    ///   reason; `nil`: it was not found.
    static func run(_ figure: Case, seed: UInt64) -> (units: Int, reason: String)? {
        let service = JudgedService(
            seed: seed, weights: [100 - figure.share, figure.share], stable: figure.stable,
            canary: figure.healthy > 0 ? figure.stable : figure.canary, route: figure.route)
        var judge = StageJudge()
        let terms = StageTerms(
            name: "stage", share: Double(figure.share) / 100, minTime: .seconds(86_400))
        _ = judge.enter(terms, service.sample(limit: figure.limit), now: service.world.now)
        var before = 0
        for second in 1...(figure.healthy + figure.seconds) {
            service.pass(requests: figure.perSecond)
            guard let sample = service.sample(limit: figure.limit) else { continue }
            let verdict = judge.look(
                sample, .init(now: service.world.now, elapsed: .seconds(Int64(second))))
            if verdict.kind == .regression {
                return (judge.totals.canary.units - before, verdict.reason)
            }
            if second == figure.healthy {
                before = judge.totals.canary.units
                service.canary = figure.canary
            }
        }
        return nil
    }

    @Test("the judge over the data plane finds what its model finds, as soon", arguments: cases)
    func figures(figure: Case) {
        let isLong = JudgeScenarios.rollouts > 1
        let runs = isLong ? figure.runs : 1
        let found = (0..<UInt64(runs)).compactMap { JudgeFigures.run(figure, seed: $0) }
        let units = found.map(\.units).sorted()
        let share = Double(found.count) / Double(runs)
        let median = units.isEmpty ? 0 : units[units.count / 2]
        if figure.wanted.median == 0 {
            // The budget of 1 %, and three standard errors.
            #expect(share <= (isLong ? 0.01 + 3 * (0.01 / Double(runs)).squareRoot() : 0))
        } else {
            #expect(share >= figure.wanted.found)
            // A single rollout may be far from the median of many.
            #expect(median <= figure.wanted.median * (isLong ? 1 : 3), "\(units)")
            #expect(found.allSatisfy { $0.reason.contains(figure.reason) }, "\(found)")
        }
        if isLong {
            print(
                "| \(figure.name) | \(figure.share) % of \(figure.perSecond)/s | \(runs) | "
                    + "\(found.count) | \(median) | \(units.first ?? 0)–\(units.last ?? 0) |")
        }
    }
}
