import Base
import Foundation
import Judge
import Support
import Testing

/// The promises of the judge, tried on simulated rollouts with fixed seeds.
@Suite struct BudgetTests {
    struct Version {
        /// Chance of an error, and of a hang until the client leaves.
        var errors: Double
        var hangs = 0.0
        /// How much slower it is; 1: as the stable version.
        var slowness = 1.0
        /// An error takes 1 ms rather than 50.
        var failsFast = false

        func run(_ count: Int, _ random: inout PRNG) -> VersionCounts {
            var counts = VersionCounts(
                units: count, errors: 0,
                latency: Array(repeating: 0, count: LatencyBuckets.count),
                censored: Array(repeating: 0, count: LatencyBuckets.count))
            for _ in 0..<count {
                if random.chance(errors) {
                    counts.errors += 1
                    counts.firstErrors += 1
                    counts.censored[BudgetTests.bucket(failsFast ? 0.001 : 0.05)] += 1
                } else if random.chance(hangs) {
                    counts.left += 1
                    counts.censored[BudgetTests.bucket(3)] += 1
                } else {
                    let time = 0.05 * slowness * exp(0.6 * random.normal())
                    counts.latency[BudgetTests.bucket(time)] += 1
                }
            }
            return counts
        }
    }

    static func bucket(_ seconds: Double) -> Int {
        let shortest = 250e-6
        let place = (log(max(seconds, shortest) / shortest) / log(2) * 4).rounded(.up)
        return min(LatencyBuckets.count - 1, max(0, Int(place)))
    }

    /// Runs rollouts; returns how many were taken back, and the median of the canary's requests
    /// since it turned bad.
    static func rollouts(
        _ runs: Int, share: Double, requests: Int, looks: Int, stable: Version, canary: Version,
        healthyLooks: Int = 0
    ) -> (share: Double, median: Int) {
        var found: [Int] = []
        for seed in 0..<runs {
            var random = PRNG(seed: UInt64(seed)), judge = Judge(), seen = 0
            for look in 0..<(looks + healthyLooks) {
                let isBad = look >= healthyLooks
                var toCanary = 0
                for _ in 0..<requests where random.chance(share) { toCanary += 1 }
                if isBad { seen += toCanary }
                judge.add(
                    Increment(
                        stable: stable.run(requests - toCanary, &random),
                        canary: (isBad ? canary : stable).run(toCanary, &random)))
                guard judge.isRegression else { continue }
                found.append(seen)
                break
            }
        }
        found.sort()
        return (Double(found.count) / Double(runs), found.isEmpty ? 0 : found[found.count / 2])
    }

    @Test("a version that is no worse is taken back in at most 1 % of rollouts")
    func healthy() {
        let version = Version(errors: 0.01)
        let result = BudgetTests.rollouts(
            400, share: 0.05, requests: 200, looks: 100, stable: version, canary: version)
        // The budget and three standard errors.
        #expect(result.share <= 0.01 + 3 * 0.005)
    }

    @Test("a hotfix is not taken back because the old version's fast errors are gone")
    func hotfix() {
        let result = BudgetTests.rollouts(
            200, share: 0.05, requests: 200, looks: 100,
            stable: Version(errors: 0.1, failsFast: true), canary: Version(errors: 0))
        #expect(result.share <= 0.01 + 3 * 0.007)
    }

    @Test("errors that rise from 1 to 5 % are found within some hundred requests")
    func errors() {
        let result = BudgetTests.rollouts(
            100, share: 0.05, requests: 400, looks: 120, stable: Version(errors: 0.01),
            canary: Version(errors: 0.05))
        #expect(result.share >= 0.95 && result.median <= 450)
    }

    @Test("a version that is a fifth slower is found, with no error to go by")
    func slowness() {
        let result = BudgetTests.rollouts(
            50, share: 0.25, requests: 200, looks: 60, stable: Version(errors: 0.001),
            canary: Version(errors: 0.001, slowness: 1.2))
        #expect(result.share >= 0.95 && result.median <= 800)
    }

    @Test("hangs of 2 % of the requests are found, though nobody answers them")
    func hangs() {
        let result = BudgetTests.rollouts(
            30, share: 0.05, requests: 400, looks: 150, stable: Version(errors: 0.001),
            canary: Version(errors: 0.001, hangs: 0.02))
        #expect(result.share >= 0.9 && result.median <= 1_200)
    }

    @Test("a version that turns bad after 5,000 healthy requests is found in twice the time")
    func late() {
        let result = BudgetTests.rollouts(
            30, share: 0.25, requests: 200, looks: 40, stable: Version(errors: 0.01),
            canary: Version(errors: 0.05), healthyLooks: 100)
        #expect(result.share >= 0.9 && result.median <= 900)
    }

    @Test("a confidence sequence of 95 % that is looked at 60 times misses in at most 5 %")
    func confidence() {
        var misses = 0
        for seed in 0..<400 {
            var random = PRNG(seed: UInt64(seed)), events = 0, isOutside = false
            for look in 1...60 {
                for _ in 0..<50 where random.chance(0.02) { events += 1 }
                let bounds = ConfidenceSequence(events: events, units: look * 50, alpha: 0.05)
                isOutside = isOutside || !(bounds.lower...bounds.upper).contains(0.02)
            }
            if isOutside { misses += 1 }
        }
        #expect(Double(misses) / 400 <= 0.05 + 3 * 0.011)
    }
}
