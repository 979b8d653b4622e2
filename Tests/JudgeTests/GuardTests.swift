import Base
import Foundation
import Judge
import Testing

/// The guard's rule against the model in plain Python (`Guard` in judge_reference.py): guard.jsonl
/// has error sequences, the model's sum after every tenth, its last limit and when it tripped.
@Suite struct GuardTests {
    struct Case: Decodable, Sendable {
        var share: Double
        var ratio: Double
        /// `c` for an error of the canary, `s` for one of the stable version.
        var errors: String
        var sums: [Double]
        var limit: Double
        /// The number of the error that tripped; 0 for none.
        var trip: Int
    }

    static let cases: [Case] = Reference.text("guard.jsonl").split(separator: "\n").compactMap {
        try? JSONDecoder().decode(Case.self, from: Data($0.utf8))
    }

    /// The rule in real numbers, as the model has it.
    struct Slow {
        var sum = 0.0
        var errors = 0
        let share: Double
        let ratio: Double

        mutating func add(isCanary: Bool) -> Bool {
            errors += 1
            let rise = Guard.rise(share: share, ratio: ratio)
            let fall = Guard.fall(share: share, ratio: ratio)
            sum = max(0, sum + (isCanary ? rise : -fall))
            return sum >= Guard.limit(errors: errors)
        }
    }

    @Test("steps and limits are the model's, error by error")
    func model() {
        #expect(GuardTests.cases.count == 8)
        for example in GuardTests.cases {
            var slow = Slow(share: example.share, ratio: example.ratio)
            var trip = 0, sums: [Double] = []
            for (i, error) in example.errors.enumerated() {
                if slow.add(isCanary: error == "c"), trip == 0 { trip = i + 1 }
                if i % 10 == 9 || i == example.errors.utf8.count - 1 { sums.append(slow.sum) }
            }
            #expect(trip == example.trip)
            #expect(sums.count == example.sums.count)
            for (sum, expected) in zip(sums, example.sums) {
                #expect(Reference.agrees(sum, expected))
            }
            #expect(Reference.agrees(Guard.limit(errors: slow.errors), example.limit))
        }
    }

    @Test("the fixed point follows the real sum from below, within a step of it an error")
    func fixedPoint() {
        let step = 1.0 / Double(1 << GuardSteps.fractionBits)
        for example in GuardTests.cases {
            let steps = GuardSteps(share: example.share, ratio: example.ratio)
            var slow = Slow(share: example.share, ratio: example.ratio), sum = GuardSum()
            var trip = 0
            for (i, error) in example.errors.enumerated() {
                _ = slow.add(isCanary: error == "c")
                sum = error == "c" ? sum.afterCanary(steps) : sum.afterStable(steps)
                if sum.isReached, trip == 0 { trip = i + 1 }
                #expect(sum.errors == i + 1)
                #expect(sum.value <= slow.sum && sum.value >= slow.sum - Double(i + 1) * step)
            }
            #expect(trip == example.trip)
        }
    }

    @Test("a sum in whole numbers is exactly what plain arithmetic gives, for any sequence")
    func whole() {
        var random = PRNG(seed: 3)
        for _ in 0..<200 {
            let share = Double(1 + random.below(9_000)) / 10_000
            let steps = GuardSteps(share: share, ratio: 2 + Double(random.below(30)))
            var sum = GuardSum(), plain = 0
            for _ in 0..<300 {
                if random.below(4) == 0 {
                    sum = sum.afterCanary(steps)
                    plain += Int(steps.rise)
                } else {
                    let count = Int(random.below(5))
                    sum = sum.afterStable(steps, errors: count)
                    plain = max(0, plain - Int(steps.fall) * count)
                }
                #expect(Int(sum.word >> 32) == plain)
            }
        }
    }

    @Test(
        "a version that fails every request is off after as many errors as the model says",
        arguments: [(0.01, 6), (0.05, 6), (0.25, 11), (0.5, 20)])
    func inARow(share: Double, errors: Int) {
        let steps = GuardSteps(share: share, ratio: Guard.ratio)
        var sum = GuardSum(), count = 0
        while !sum.isReached {
            sum = sum.afterCanary(steps)
            count += 1
        }
        #expect(count == errors)
        if share == 0.05 {
            let name = "guard(0.05): canary errors in a row until it trips"
            #expect(Reference.values[name] == Double(count))
        }
    }

    @Test("counts and sums end at what their words hold")
    func saturation() {
        let steps = GuardSteps(share: 0.01, ratio: 100)
        var sum = GuardSum(word: .max)
        sum = sum.afterCanary(steps)
        #expect(sum.word == .max)
        #expect(sum.afterStable(steps, errors: .max).word == 0xffff_ffff)
        #expect(GuardSteps(word: steps.word) == steps)
    }

    /// Days of a healthy canary with errors at 10 a second, each of which is the canary's with its
    /// share. Errors of the stable version in front of one of the canary come as one number, which
    /// is the same sum (`whole`).
    @Test(
        "of 200 days of a healthy canary at ten errors a second at most 2 % have a trip",
        arguments: [0.01, 0.05, 0.25, 0.5])
    func healthy(share: Double) {
        let steps = GuardSteps(share: share, ratio: Guard.ratio)
        var random = PRNG(seed: 51 + UInt64(share * 100)), trips = 0
        for _ in 0..<200 {
            var sum = GuardSum(), isTripped = false
            while sum.errors < 864_000, !isTripped {
                let uniform = (Double(random.next() >> 11) + 0.5) / 0x1p53
                let between = Int(log(uniform) / log1p(-share))
                sum = sum.afterStable(steps, errors: between).afterCanary(steps)
                isTripped = sum.isReached
            }
            if isTripped { trips += 1 }
        }
        #expect(trips <= 4, "\(trips) of 200")
    }

    @Test("with a limit that does not grow most such days would have a trip")
    func fixedLimit() {
        let steps = GuardSteps(share: 0.05, ratio: Guard.ratio)
        var random = PRNG(seed: 9), trips = 0
        for _ in 0..<40 {
            var sum = GuardSum(), isTripped = false
            while sum.errors < 864_000, !isTripped {
                let uniform = (Double(random.next() >> 11) + 0.5) / 0x1p53
                sum = sum.afterStable(steps, errors: Int(log(uniform) / log1p(-0.05)))
                    .afterCanary(steps)
                isTripped = sum.value >= Guard.firstLimit
            }
            if isTripped { trips += 1 }
        }
        #expect(trips >= 8, "\(trips) of 40")
    }

    @Test("two versions that fail alike trip nothing, however much they fail")
    func alike() {
        var random = PRNG(seed: 4)
        for share in [0.01, 0.05, 0.5] {
            let steps = GuardSteps(share: share, ratio: Guard.ratio)
            var sum = GuardSum()
            for _ in 0..<100_000 {
                let isCanary = Double(random.next() >> 11) / 0x1p53 < share
                sum = isCanary ? sum.afterCanary(steps) : sum.afterStable(steps)
                #expect(!sum.isReached)
            }
        }
    }
}
