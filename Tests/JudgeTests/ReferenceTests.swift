import Base
import Testing

import Judge

/// Rollouts at random, judged here and by the model (Tests/Fixtures/judge/random_files.py).
@Suite struct ReferenceTests {
    static let buckets = 8

    static func version(
        _ random: inout PRNG, most: Int, worse: Int, divisor: Int, hasTimes: Bool, slower: Int
    ) -> VersionCounts {
        func below(_ bound: Int) -> Int { Int(random.below(UInt64(bound))) }
        let units = below(most + 1)
        let errors = min(units, below(units * worse / divisor + 2))
        var counts = VersionCounts(
            units: units, errors: errors, firstErrors: min(units, errors + below(3)))
        guard hasTimes else { return counts }
        for k in 0..<buckets {
            let weight = max(8 - abs(k - 2 - slower), 1)
            counts.latency.append(below(1 + units * weight / 32))
            counts.censored.append(below(1 + errors / 4))
        }
        counts.left = below(1 + counts.censored.reduce(0, +))
        return counts
    }

    /// log E at the end, the sum over all looks, and how often it was a regression.
    static func run(_ seed: UInt64) -> (last: Double, sum: Double, regressions: Int) {
        var random = PRNG(seed: seed)
        func below(_ bound: Int) -> Int { Int(random.below(UInt64(bound))) }
        let looks = 1 + below(9), divisor = 5 + below(100), worse = 1 + below(5)
        let slower = below(3), hasTimes = below(6) != 0, share = 2 + below(20)
        var judge = Judge(), last = 0.0, sum = 0.0, regressions = 0
        for look in 0..<looks {
            if look > 0, below(7) == 0 { judge.beginEpoch() }
            let stable = version(
                &random, most: 800, worse: 1, divisor: divisor, hasTimes: hasTimes, slower: 0)
            let canary = version(
                &random, most: 1_600 / share, worse: worse, divisor: divisor,
                hasTimes: hasTimes, slower: slower)
            judge.add(Increment(stable: stable, canary: canary))
            last = judge.logEvidence
            sum += last
            if judge.isRegression { regressions += 1 }
        }
        return (last, sum, regressions)
    }

    @Test("a thousand random rollouts are judged as the model judges them, at every look")
    func thousand() {
        let lines = Reference.text("random_files.expected.txt").split(separator: "\n")
        #expect(lines.count == 1_000)
        var taken = 0
        for (seed, line) in lines.enumerated() {
            let words = line.split(separator: " ")
            let result = ReferenceTests.run(UInt64(seed))
            #expect(Reference.agrees(result.last, Double(words[0])), "rollout \(seed)")
            #expect(Reference.agrees(result.sum, Double(words[1])), "rollout \(seed)")
            #expect(result.regressions == Int(words[2]), "rollout \(seed)")
            taken += result.regressions > 0 ? 1 : 0
        }
        #expect(taken > 100, "both verdicts are among them")
    }
}
