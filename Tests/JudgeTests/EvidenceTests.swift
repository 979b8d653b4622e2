import Base
import Testing

import Judge

@Suite struct EvidenceTests {
    @Test(
        "the bound of an increment is the model's",
        arguments: [
            (1000, 10, 50, 10.0), (1000, 10, 50, 2), (200, 40, 50, 1.5), (40, 3, 10, 40),
            (5000, 50, 1250, 2), (100, 100, 25, 3), (2000, 500, 100, 0.8),
        ] as [(Int, Int, Int, Double)])
    func bound(n: Int, x: Int, nc: Int, r: Double) {
        let text = r == r.rounded() ? String(Int(r)) : String(r)
        let value = OddsBound.logMean(
            units: Double(n), events: Double(x), canaryUnits: Double(nc), ratio: r)
        #expect(Reference.agrees(value, Reference.values["bound(\(n), \(x), \(nc), \(text))"]))
    }

    @Test("the bound is never below the exact mean, for any increment")
    func exact() {
        var random = PRNG(seed: 11)
        for _ in 0..<3_000 {
            let n = 1 + Int(random.below(300))
            let x = Int(random.below(UInt64(n + 1))), nc = Int(random.below(UInt64(n + 1)))
            let r = Exact.exp(Double(random.below(6_000)) / 1_000 - 2)
            let bound = OddsBound.logMean(
                units: Double(n), events: Double(x), canaryUnits: Double(nc), ratio: r)
            let exact = Exact.logMean(n: n, x: x, nc: nc, r: r)
            #expect(bound >= exact - 1e-9 * max(1, abs(exact)))
        }
    }

    @Test("the ratios of the grids are the model's")
    func grids() {
        for j in [0, 6, 13] {
            #expect(Reference.agrees(Judge.odds[j], Reference.values["odds[\(j)]"]))
        }
        for j in [0, 7] {
            #expect(Reference.agrees(Judge.hazards[j], Reference.values["hazard[\(j)]"]))
        }
    }

    @Test(
        "the bounds of a rate are the model's",
        arguments: [(0, 100), (1, 100), (10, 1_000), (500, 100_000)])
    func bounds(x: Int, n: Int) {
        let bounds = ConfidenceSequence(events: x, units: n, alpha: 0.025)
        #expect(Reference.agrees(bounds.lower, Reference.values["low(\(x), \(n))"]))
        #expect(Reference.agrees(bounds.upper, Reference.values["high(\(x), \(n))"]))
    }

    @Test("a canary that is hardly better is judged as the model judges it, look by look")
    func slightly() {
        var judge = Judge()
        for i in 0..<40 {
            judge.add(EvidenceTests.slightIncrement(i))
            guard [0, 9, 39].contains(i) else { continue }
            let name = "judge.slightly[\(i)]"
            for component in Judge.Component.allCases {
                #expect(
                    Reference.agrees(
                        judge.logEvidence(component), Reference.values["\(name).\(component)"]),
                    "\(name).\(component)")
            }
            #expect(Reference.agrees(judge.logEvidence, Reference.values[name]))
            #expect(judge.isRegression == (Reference.values["\(name).regression"] == 1))
        }
        let effect = judge.rollout.errors
        #expect(
            Reference.agrees(effect.difference, Reference.values["effect.errors.difference"]))
        #expect(Reference.agrees(effect.ratio, Reference.values["effect.errors.ratio"]))
    }

    private static func slightIncrement(_ i: Int) -> Increment {
        Increment(
            stable: VersionCounts(
                units: 950, errors: 9 + i % 2, firstErrors: 12, latency: [300, 400, 200, 30],
                censored: [9, 0, 0, 11], left: 10),
            canary: VersionCounts(
                units: 50, errors: i % 3, firstErrors: 1, latency: [15, 20, 11, 2],
                censored: [1, 0, 0, 1], left: 1))
    }

    @Test("a canary that is worse is judged as the model judges it, and taken back by then")
    func worse() {
        var judge = Judge()
        for i in 0..<12 {
            judge.add(
                Increment(
                    stable: VersionCounts(
                        units: 950, errors: 10, firstErrors: 10, latency: [300, 400, 200, 40]),
                    canary: VersionCounts(
                        units: 50, errors: 4, firstErrors: 5, latency: [8, 15, 18, 5])))
            guard [0, 5, 11].contains(i) else { continue }
            let name = "judge.worse[\(i)]"
            #expect(
                Reference.agrees(judge.logEvidence(.errors), Reference.values["\(name).errors"]))
            #expect(Reference.agrees(judge.logEvidence, Reference.values[name]))
            #expect(judge.isRegression == (Reference.values["\(name).regression"] == 1))
        }
        #expect(judge.isRegression)
    }

    @Test("sixty random increments give the model's evidence and verdict after each")
    func random() throws {
        let expected = Reference.text("random.expected.txt").split(separator: "\n")
        let increments = try Reference.randomIncrements()
        #expect(increments.count == 60 && expected.count == 60)
        var judge = Judge()
        for (increment, line) in zip(increments, expected) {
            judge.add(increment)
            let words = line.split(separator: " ")
            #expect(Reference.agrees(judge.logEvidence, Double(words[0])))
            #expect(judge.isRegression == (words[1] == "1"))
        }
    }

    @Test("a quantile is interpolated within its bucket, and that of nothing is 0")
    func quantiles() {
        #expect(
            Reference.agrees(
                LatencyBuckets.quantile([3, 4, 2, 1], 0.5),
                Reference.values["quantile([3,4,2,1], 0.5)"]))
        #expect(LatencyBuckets.quantile([], 0.5) == 0)
        #expect(LatencyBuckets.quantile([0, 0], 0.5) == 0)
    }

    @Test("an increment without canary units, or without events, changes nothing but estimates")
    func nothing() {
        var judge = Judge()
        judge.add(
            Increment(
                stable: VersionCounts(units: 100, errors: 3),
                canary: VersionCounts(units: 0, errors: 0)))
        judge.add(
            Increment(
                stable: VersionCounts(units: 100, errors: 0),
                canary: VersionCounts(units: 100, errors: 0)))
        #expect(abs(judge.logEvidence) < 1e-12)
        #expect(judge.worse.isEmpty && !judge.isRegression)
    }
}
