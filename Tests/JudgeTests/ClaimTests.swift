import Base
import Foundation
import Judge
import Support
import Testing

/// The claims of docs/judge.md about the evidence of a canary that is no worse, tried by drawing
/// labels at random among units that are what they are.
@Suite struct ClaimTests {
    /// A unit and all that became of it, whoever served it.
    struct Unit {
        var isError: Bool
        var isFirstError: Bool
        var bucket: Int
        var isLeft: Bool
    }

    static let buckets = 6

    /// Units of one increment; rates and times are as the increment has them.
    static func units(_ count: Int, errors: Double, _ random: inout PRNG) -> [Unit] {
        (0..<count).map { _ in
            let isError = random.chance(errors)
            return Unit(
                isError: isError, isFirstError: isError || random.chance(0.05),
                bucket: Int(min(random.below(6), random.below(6))),
                isLeft: !isError && random.chance(0.02))
        }
    }

    /// Gives so many units, drawn at random, to the canary.
    static func labelled(
        _ units: [Unit], canary count: Int, _ random: inout PRNG
    ) -> Increment {
        var units = units
        func counts(_ units: some Sequence<Unit>) -> VersionCounts {
            var counts = VersionCounts(
                units: 0, errors: 0, latency: Array(repeating: 0, count: buckets),
                censored: Array(repeating: 0, count: buckets))
            for unit in units {
                counts.units += 1
                if unit.isError { counts.errors += 1 }
                if unit.isFirstError { counts.firstErrors += 1 }
                if unit.isLeft { counts.left += 1 }
                if unit.isError || unit.isLeft {
                    counts.censored[unit.bucket] += 1
                } else {
                    counts.latency[unit.bucket] += 1
                }
            }
            return counts
        }
        for i in 0..<count {
            units.swapAt(i, i + Int(random.below(UInt64(units.count - i))))
        }
        return Increment(stable: counts(units[count...]), canary: counts(units[..<count]))
    }

    /// The mean of E, of the whole and of each component, over many drawings of the labels; and the
    /// standard error of the whole's.
    static func means(
        _ increments: [(units: [Unit], canary: Int)], drawings: Int, _ random: inout PRNG
    ) -> (means: [Double], errors: [Double]) {
        var sums = Array(repeating: 0.0, count: 6), squares = sums
        for _ in 0..<drawings {
            var judge = Judge()
            for (units, canary) in increments {
                judge.add(labelled(units, canary: canary, &random))
            }
            let values =
                [exp(judge.logEvidence)]
                + Judge.Component.allCases.map { exp(judge.logEvidence($0)) }
            for (i, value) in values.enumerated() {
                sums[i] += value
                squares[i] += value * value
            }
        }
        let count = Double(drawings)
        return (
            sums.map { $0 / count },
            zip(sums, squares).map { sum, square in
                max(0, square / count - (sum / count) * (sum / count)).squareRoot()
                    / count.squareRoot()
            }
        )
    }

    @Test("with labels drawn inside of increments the mean of E is at most 1, in whole and parts")
    func permuted() {
        var random = PRNG(seed: 21)
        let increments = [0.02, 0.3, 0.1, 0.6].map { rate in
            (units: ClaimTests.units(60, errors: rate, &random), canary: 15)
        }
        let result = ClaimTests.means(increments, drawings: 1_500, &random)
        for (mean, error) in zip(result.means, result.errors) { #expect(mean <= 1 + 3 * error) }
    }

    @Test("the mean of E is at most 1 however units are dealt out to strata of unequal shares")
    func strata() {
        var random = PRNG(seed: 22)
        for _ in 0..<4 {
            // Strata of other sizes, shares and rates: summed, the canary looks far worse.
            let increments = (0..<5).map { i in
                let count = 20 + Int(random.below(60))
                return (
                    units: ClaimTests.units(count, errors: 0.05 + 0.15 * Double(i), &random),
                    canary: max(1, count * (1 + 2 * i) / 10)
                )
            }
            let result = ClaimTests.means(increments, drawings: 400, &random)
            for (mean, error) in zip(result.means, result.errors) {
                #expect(mean <= 1 + 3.5 * error)
            }
        }
    }

    @Test("summed over strata of unequal shares and rates, a healthy canary is taken back")
    func summed() {
        var random = PRNG(seed: 23), apart = Judge(), together = Judge()
        for _ in 0..<40 {
            let quiet = ClaimTests.labelled(
                ClaimTests.units(200, errors: 0.01, &random), canary: 10, &random)
            let failing = ClaimTests.labelled(
                ClaimTests.units(200, errors: 0.4, &random), canary: 100, &random)
            apart.add(quiet)
            apart.add(failing)
            func sum(_ a: VersionCounts, _ b: VersionCounts) -> VersionCounts {
                VersionCounts(units: a.units + b.units, errors: a.errors + b.errors)
            }
            together.add(
                Increment(
                    stable: sum(quiet.stable, failing.stable),
                    canary: sum(quiet.canary, failing.canary)))
        }
        #expect(!apart.isRegression)
        #expect(together.isRegression)
    }

    @Test("no traffic is no evidence: empty increments change nothing")
    func silence() {
        for seed in 0..<30 as Range<UInt64> {
            var random = PRNG(seed: seed), judge = Judge()
            for _ in 0..<random.below(6) {
                let units = ClaimTests.units(80, errors: 0.1, &random)
                judge.add(ClaimTests.labelled(units, canary: 30, &random))
            }
            let before = judge.logEvidence
            let none = VersionCounts(
                units: 0, errors: 0, latency: Array(repeating: 0, count: ClaimTests.buckets))
            for _ in 0..<50 { judge.add(Increment(stable: none, canary: none)) }
            #expect(abs(judge.logEvidence - before) < 1e-9)
        }
    }
}
