import Base
import Evidence
import Judge
import Rollout
import Testing

/// Rollouts that have misled judges, on counts that are drawn second by second.
@Suite("Cases that mislead judges") struct CaseTests {
    typealias Version = SyntheticService.Version

    /// Runs one stage with many seeds.
    ///
    /// - Returns: the canary's requests at each rollback, sorted.
    static func rollbacks(
        _ seeds: Range<UInt64>, share: Double, requestsPerSecond: Int, seconds: Int,
        stable: Version, canary: Version, timeLimit: Duration = .seconds(1),
        warmup: Duration = .zero
    ) -> [Int] {
        var found: [Int] = []
        for seed in seeds {
            var service = SyntheticService(
                seed: seed, share: share, requestsPerSecond: requestsPerSecond, stable: stable,
                canary: canary)
            service.timeLimit = timeLimit
            var stage = SyntheticStage(service, warmup: warmup, minTime: .seconds(100_000))
            if stage.run(seconds, until: [.regression]).kind == .regression {
                found.append(stage.judge.totals.canary.units)
            }
        }
        return found.sorted()
    }

    static func errors(_ rate: Double) -> Version { Version(errors: rate, hasTimes: false) }

    @Test("1 to 5 % errors: found in 19 of 20 rollouts, half of them within 400 requests")
    func onePercent() {
        let found = CaseTests.rollbacks(
            0..<40, share: 0.05, requestsPerSecond: 400, seconds: 120,
            stable: CaseTests.errors(0.01), canary: CaseTests.errors(0.05))
        #expect(found.count >= 38)
        #expect(found[found.count / 2] <= 400, "\(found)")
    }

    @Test("0.1 to 1 % errors: found in 19 of 20 rollouts, half of them within 1,000 requests")
    func tenthOfAPercent() {
        let found = CaseTests.rollbacks(
            0..<20, share: 0.05, requestsPerSecond: 400, seconds: 200,
            stable: CaseTests.errors(0.001), canary: CaseTests.errors(0.01))
        #expect(found.count >= 19)
        #expect(found[found.count / 2] <= 1_000, "\(found)")
    }

    @Test("a fifth slower: found in 19 of 20 rollouts, half of them within 600 requests")
    func slower() {
        let found = CaseTests.rollbacks(
            0..<20, share: 0.25, requestsPerSecond: 200, seconds: 60,
            stable: Version(errors: 0.001), canary: Version(errors: 0.001, slowness: 1.2))
        #expect(found.count >= 19)
        #expect(found[found.count / 2] <= 600, "\(found)")
    }

    @Test("0.01 to 0.1 % errors are found, though both are rare")
    func rare() {
        let found = CaseTests.rollbacks(
            0..<4, share: 0.25, requestsPerSecond: 4_000, seconds: 30,
            stable: CaseTests.errors(0.0001), canary: CaseTests.errors(0.001))
        #expect(found.count == 4, "\(found)")
    }

    @Test("an equal version is kept, at any share")
    func equal() {
        for (share, rate) in [(0.01, 0.01), (0.05, 0.05), (0.5, 0.002)] {
            let found = CaseTests.rollbacks(
                100..<103, share: share, requestsPerSecond: 200, seconds: 100,
                stable: CaseTests.errors(rate), canary: CaseTests.errors(rate))
            #expect(found.isEmpty)
        }
    }

    @Test("a hotfix is kept, though its predecessor's fast errors are gone")
    func hotfix() {
        let found = CaseTests.rollbacks(
            0..<10, share: 0.05, requestsPerSecond: 200, seconds: 80,
            stable: Version(errors: 0.1, errorSeconds: 0.001), canary: Version())
        #expect(found.isEmpty)
    }

    @Test("a canary that fails fast where the old version times out is kept, for it has settled")
    func failsFast() {
        func found(_ timeLimit: Duration) -> [Int] {
            CaseTests.rollbacks(
                0..<8, share: 0.25, requestsPerSecond: 200, seconds: 60,
                stable: Version(errors: 0.1, errorSeconds: 10, hasTimes: false),
                canary: Version(errors: 0.1, errorSeconds: 0.001, hasTimes: false),
                timeLimit: timeLimit)
        }
        #expect(found(.seconds(11)).isEmpty)
        #expect(found(.zero).count >= 4, "without the time to settle it goes back")
    }

    @Test("a common outage at a share of 50 %, after a quiet stage at 5 %, takes nobody back")
    func outage() {
        for seed in 0..<6 as Range<UInt64> {
            let quiet = CaseTests.errors(0.002)
            var stage = SyntheticStage(
                SyntheticService(
                    seed: seed, share: 0.05, requestsPerSecond: 300, stable: quiet, canary: quiet))
            _ = stage.run(60, until: [])
            stage.service.beginEpoch(share: 0.5)
            _ = stage.judge.enter(
                StageTerms(name: "half", share: 0.5), stage.service.sample,
                now: stage.service.now)
            stage.seconds = 0
            var kinds: Set<Verdict.Kind> = []
            for second in 0..<120 {
                let rate = (40..<70).contains(second) ? 0.4 : 0.002
                stage.service.stable.errors = rate
                stage.service.canary.errors = rate
                kinds.insert(stage.step().kind)
            }
            #expect(kinds.contains(.commonCause))
            #expect(!kinds.contains(.regression))
        }
    }

    @Test("a version that is 9 % slower, with as many errors, is tolerated")
    func slightlySlower() {
        let found = CaseTests.rollbacks(
            0..<6, share: 0.25, requestsPerSecond: 200, seconds: 40,
            stable: Version(errors: 0.001), canary: Version(errors: 0.001, slowness: 1.09))
        #expect(found.isEmpty, "\(found)")
    }

    @Test("half a millisecond may be half as much again, and not twenty times as much")
    func fastAnswers() {
        for (slowness, isFound) in [(1.5, false), (20, true)] {
            let found = CaseTests.rollbacks(
                0..<4, share: 0.25, requestsPerSecond: 200, seconds: 60,
                stable: Version(seconds: 0.000_5),
                canary: Version(slowness: slowness, seconds: 0.000_5))
            #expect(found.isEmpty != isFound, "\(slowness): \(found)")
        }
    }

    @Test("a cold first minute is no regression where the stage has a warmup, and else is one")
    func cold() {
        func run(_ warmup: Duration) -> Verdict.Kind {
            var stage = SyntheticStage(
                SyntheticService(
                    seed: 3, share: 0.25, requestsPerSecond: 200, stable: Version(),
                    canary: Version(slowness: 2)), warmup: warmup, minTime: .seconds(100_000))
            let first = stage.run(60, until: [.regression])
            if first.kind == .regression { return .regression }
            stage.service.canary.slowness = 1
            return stage.run(40, until: [.regression]).kind
        }
        #expect(run(.seconds(61)) == .watching)
        #expect(run(.zero) == .regression)
    }

    @Test("hangs of 2 % until the client leaves are found, though nobody answers them")
    func hangs() {
        let found = CaseTests.rollbacks(
            0..<5, share: 0.05, requestsPerSecond: 400, seconds: 150,
            stable: Version(errors: 0.001), canary: Version(errors: 0.001, hangs: 0.02),
            timeLimit: .seconds(4))
        #expect(found.count == 5, "\(found)")
    }

    @Test("a tail of 0.5 % at five seconds is found, which no median shows")
    func tail() {
        let found = CaseTests.rollbacks(
            0..<2, share: 0.05, requestsPerSecond: 600, seconds: 200, stable: Version(),
            canary: Version(tail: 0.005), timeLimit: .seconds(6))
        #expect(found.count == 2, "\(found)")
    }

    @Test("errors that only first attempts have are found behind the retries that hide them")
    func hidden() {
        let found = CaseTests.rollbacks(
            0..<5, share: 0.05, requestsPerSecond: 400, seconds: 120,
            stable: Version(hiddenErrors: 0.01, hasTimes: false),
            canary: Version(hiddenErrors: 0.06, hasTimes: false))
        #expect(found.count == 5, "\(found)")
    }

    @Test("a version that turns bad after 50,000 healthy requests is found")
    func late() {
        let healthy = CaseTests.errors(0.01)
        var stage = SyntheticStage(
            SyntheticService(
                seed: 9, share: 0.25, requestsPerSecond: 4_000, stable: healthy, canary: healthy),
            minTime: .seconds(100_000))
        #expect(stage.run(52, until: [.regression]).kind == .watching)
        let before = stage.judge.totals.canary.units
        #expect(before >= 50_000)
        stage.service.requestsPerSecond = 400
        stage.service.canary = CaseTests.errors(0.05)
        #expect(stage.run(60, until: [.regression]).kind == .regression)
        #expect(stage.judge.totals.canary.units - before <= 2_000)
    }

    @Test("a regression on one of two routes is found, and the other does not hide it")
    func oneRoute() {
        var sound = SyntheticService(
            seed: 5, share: 0.1, requestsPerSecond: 300, stable: CaseTests.errors(0.01),
            canary: CaseTests.errors(0.01))
        var broken = SyntheticService(
            seed: 6, share: 0.1, requestsPerSecond: 100, stable: CaseTests.errors(0.01),
            canary: CaseTests.errors(0.2))
        broken.route = "cart"
        var judge = StageJudge(), kind = Verdict.Kind.watching
        _ = judge.enter(StageTerms(name: "ten", share: 0.1), nil, now: sound.now)
        for second in 1...60 as ClosedRange<Int64> where kind != .regression {
            var sample = sound.step()
            sample.strata += broken.step().strata
            kind =
                judge.look(
                    sample, StageJudge.Look(now: sound.now, elapsed: .seconds(second))
                ).kind
        }
        #expect(kind == .regression)
    }
}
