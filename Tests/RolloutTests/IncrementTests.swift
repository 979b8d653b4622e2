import Base
import Evidence
import Judge
import Rollout
import Testing

/// Which increments are made of counters that only grow. The judge inside is compared with one that
/// was given the expected increments by hand.
@Suite("Increments of a sample") struct IncrementTests {
    static let terms = StageTerms(name: "small", share: 0.5)

    /// Counts of requests that took 50 ms, and of errors that took as long.
    static func counts(_ requests: Int, errors: Int = 0) -> VersionEvidence {
        var counts = VersionEvidence()
        let bucket = LatencyBuckets.bucket(nanoseconds: 50_000_000)
        counts.requests = requests
        counts.errors = errors
        counts.firstErrors = errors
        counts.latency[bucket] = requests - errors
        counts.censored[bucket] = errors
        return counts
    }

    static func stratum(
        _ route: String = "all", epoch: UInt64 = 1, age: Int64, stable: VersionEvidence,
        canary: VersionEvidence, timeLimit: Duration = .seconds(5), process: String = "",
        startedAt: Int64 = 0, share: Double = 0.5
    ) -> EvidenceSample.Stratum {
        var stratum = EvidenceSample.Stratum(
            route: route, epoch: epoch, age: .seconds(age), timeLimit: timeLimit,
            stableWeight: 1 - share, canaryWeight: share, stable: stable, canary: canary)
        stratum.process = process
        stratum.startedAt = startedAt
        return stratum
    }

    static func increment(
        _ stable: Int, _ stableErrors: Int, _ canary: Int, _ canaryErrors: Int,
        hasTimes: Bool = true
    ) -> Increment {
        func version(_ counts: VersionEvidence) -> VersionCounts {
            VersionCounts(
                units: counts.requests, errors: counts.errors, firstErrors: counts.firstErrors,
                latency: hasTimes ? counts.latency : [],
                censored: hasTimes ? counts.censored : [])
        }
        return Increment(
            stable: version(counts(stable, errors: stableErrors)),
            canary: version(counts(canary, errors: canaryErrors)))
    }

    /// A judge that is shown strata second by second.
    struct Watch {
        var judge = StageJudge()
        var second: UInt64 = 100

        init(_ terms: StageTerms = IncrementTests.terms) {
            _ = judge.enter(terms, nil, now: Instant(nanoseconds: second * 1_000_000_000))
        }

        mutating func look(
            _ strata: [EvidenceSample.Stratum], sessions: EvidenceSample.Sessions? = nil,
            after seconds: UInt64 = 1
        ) {
            second += seconds
            let sample = EvidenceSample(
                stable: "v1", canary: "v2", strata: strata, sessions: sessions)
            _ = judge.look(
                sample,
                .init(
                    now: Instant(nanoseconds: second * 1_000_000_000),
                    elapsed: .seconds(Int64(second) - 100)))
        }
    }

    static func judge(_ increments: [Increment], epochAfter: Int? = nil) -> Judge {
        var judge = Judge.ofPlan
        for (i, increment) in increments.enumerated() {
            judge.add(increment)
            if epochAfter == i { judge.beginEpoch() }
        }
        return judge
    }

    @Test("increments begin when the epoch is as old as the longest time limit")
    func settles() {
        var watch = Watch()
        for age in 1...5 as ClosedRange<Int64> {
            watch.look([
                IncrementTests.stratum(
                    age: age, stable: IncrementTests.counts(Int(age) * 50, errors: 2),
                    canary: IncrementTests.counts(Int(age) * 50))
            ])
            #expect(watch.judge.judge == Judge.ofPlan, "nothing is judged before")
        }
        watch.look([
            IncrementTests.stratum(
                age: 6, stable: IncrementTests.counts(300, errors: 3),
                canary: IncrementTests.counts(320, errors: 4))
        ])
        #expect(
            watch.judge.judge == IncrementTests.judge([IncrementTests.increment(50, 1, 70, 4)]))
    }

    @Test("no epoch settles for longer than 15 seconds")
    func settlesBriefly() {
        var watch = Watch()
        for age in [14, 15, 16] as [Int64] {
            watch.look([
                IncrementTests.stratum(
                    age: age, stable: IncrementTests.counts(Int(age) * 50),
                    canary: IncrementTests.counts(Int(age) * 50), timeLimit: .unlimited)
            ])
        }
        #expect(
            watch.judge.judge == IncrementTests.judge([IncrementTests.increment(50, 0, 50, 0)]))
    }

    @Test("an increment waits until ten units of the canary are expected, or the stage ends")
    func waits() {
        var watch = Watch(StageTerms(name: "tiny", share: 0.1))
        func look(_ age: Int64, _ stable: Int, _ canary: Int) {
            watch.look([
                IncrementTests.stratum(
                    age: age, stable: IncrementTests.counts(stable),
                    canary: IncrementTests.counts(canary, errors: 1), share: 0.1)
            ])
        }
        look(10, 1_000, 100)
        look(11, 1_040, 104)
        look(12, 1_080, 109)
        #expect(watch.judge.judge == Judge.ofPlan, "89 requests at a tenth are not ten")
        look(13, 1_090, 110)
        let first = IncrementTests.increment(90, 0, 10, 0)
        #expect(watch.judge.judge == IncrementTests.judge([first]))
        look(14, 1_100, 112)
        #expect(watch.judge.judge == IncrementTests.judge([first]))
        // The next stage closes what is open.
        let sample = EvidenceSample(
            stable: "v1", canary: "v2",
            strata: [
                IncrementTests.stratum(
                    age: 15, stable: IncrementTests.counts(1_110),
                    canary: IncrementTests.counts(114, errors: 1), share: 0.1)
            ])
        _ = watch.judge.enter(
            StageTerms(name: "next", share: 0.1), sample,
            now: Instant(nanoseconds: 115_000_000_000))
        let last = IncrementTests.increment(20, 0, 4, 0)
        #expect(watch.judge.judge == IncrementTests.judge([first, last]))
        #expect(watch.judge.totals == StageTotals(), "the counts of a stage are its own")
    }

    @Test("strata come in the order of process, route and epoch, however the sample has them")
    func order() {
        let names = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
        func strata(_ age: Int64, _ errors: Int) -> [EvidenceSample.Stratum] {
            names.enumerated().map { i, name in
                IncrementTests.stratum(
                    name.1, age: age, stable: IncrementTests.counts(Int(age) * 100 * (i + 1)),
                    canary: IncrementTests.counts(
                        Int(age) * 100, errors: errors * (i + 1)), process: name.0)
            }
        }
        var watch = Watch(), shuffled = Watch()
        var random = PRNG(seed: 4)
        for age in 10...14 as ClosedRange<Int64> {
            watch.look(strata(age, Int(age)))
            shuffled.look(strata(age, Int(age)).shuffled(using: &random))
        }
        var expected = Judge.ofPlan
        for _ in 11...14 {
            for i in 1...4 { expected.add(IncrementTests.increment(100 * i, 0, 100, i)) }
        }
        #expect(watch.judge.judge == expected)
        #expect(shuffled.judge == watch.judge)
    }

    @Test("a process that began anew is counted from zero, and what it had is not guessed")
    func restart() {
        func look(_ watch: inout Watch, _ age: Int64, _ count: Int, startedAt: Int64 = 7) {
            watch.look([
                IncrementTests.stratum(
                    age: age, stable: IncrementTests.counts(count),
                    canary: IncrementTests.counts(count, errors: 2), startedAt: startedAt)
            ])
        }
        let first = IncrementTests.increment(100, 0, 100, 0)
        var watch = Watch()
        look(&watch, 10, 1_000)
        look(&watch, 11, 1_100)
        var back = watch, other = watch, young = watch
        let second = IncrementTests.increment(40, 0, 40, 2)
        look(&back, 20, 40)
        #expect(back.judge.judge == IncrementTests.judge([first]), "an increment takes a second")
        look(&back, 21, 40)
        #expect(back.judge.judge == IncrementTests.judge([first, second]))
        // A process that has counted more by now than the one before is known by its start.
        look(&other, 20, 2_000, startedAt: 9)
        look(&other, 21, 2_000, startedAt: 9)
        let all = IncrementTests.increment(2_000, 0, 2_000, 2)
        #expect(other.judge.judge == IncrementTests.judge([first, all]))
        // A young one settles first.
        look(&young, 1, 40, startedAt: 9)
        look(&young, 5, 200, startedAt: 9)
        look(&young, 6, 240, startedAt: 9)
        #expect(
            young.judge.judge
                == IncrementTests.judge([first, IncrementTests.increment(40, 0, 40, 0)]))
    }

    @Test("an epoch that is over ends with what was seen of it in time")
    func epochEnds() {
        var watch = Watch()
        func old(_ age: Int64, _ count: Int, _ errors: Int) -> EvidenceSample.Stratum {
            IncrementTests.stratum(
                age: age, stable: IncrementTests.counts(count),
                canary: IncrementTests.counts(count, errors: errors))
        }
        watch.look([old(10, 1_000, 0)])
        watch.look([old(11, 1_100, 1)])
        watch.look([old(12, 1_105, 1)])
        // Only what is slow still ends in the old epoch: that is left out.
        let new = IncrementTests.stratum(
            epoch: 2, age: 1, stable: IncrementTests.counts(60), canary: IncrementTests.counts(60))
        watch.look([old(13, 1_150, 40), new])
        var expected = Judge.ofPlan
        expected.add(IncrementTests.increment(100, 0, 100, 1))
        expected.add(IncrementTests.increment(5, 0, 5, 0))
        expected.beginEpoch()
        #expect(watch.judge.judge == expected)
    }

    @Test("while a stage warms up, times are left out and errors are not")
    func warmup() {
        var watch = Watch(StageTerms(name: "cold", share: 0.5, warmup: .seconds(3)))
        for (age, count) in [(10, 1_000), (11, 1_100), (12, 1_200), (13, 1_300), (14, 1_400)] {
            watch.look([
                IncrementTests.stratum(
                    age: Int64(age), stable: IncrementTests.counts(count),
                    canary: IncrementTests.counts(count, errors: count / 100))
            ])
        }
        let cold = IncrementTests.increment(100, 0, 100, 1, hasTimes: false)
        let warm = IncrementTests.increment(100, 0, 100, 1)
        #expect(watch.judge.judge == IncrementTests.judge([cold, cold, warm, warm]))
    }
}
