import Base
import Evidence
import Judge
import Rollout
import Testing

@Suite("Verdicts") struct VerdictTests {
    typealias Version = SyntheticService.Version

    static func stage(
        seed: UInt64 = 1, share: Double = 0.05, requestsPerSecond: Int = 100,
        stable: Version = Version(errors: 0.002), canary: Version = Version(errors: 0.002),
        maxTime: Duration? = nil, absolute: RolloutPlan.AbsoluteLimits = .init(),
        minTime: Duration? = nil
    ) -> SyntheticStage {
        SyntheticStage(
            SyntheticService(
                seed: seed, share: share, requestsPerSecond: requestsPerSecond, stable: stable,
                canary: canary), maxTime: maxTime, absolute: absolute, minTime: minTime)
    }

    @Test("a canary that is like the stable version is healthy once its errors are bounded")
    func healthy() {
        var stage = VerdictTests.stage(share: 0.25, requestsPerSecond: 400)
        let verdict = stage.run(300, until: [.healthy, .regression, .inconclusive])
        #expect(verdict.kind == .healthy)
        #expect(stage.seconds >= 60, "the least time of a stage is a minute")
        #expect(stage.judge.totals.worstIncrease <= 0.005)
        #expect(verdict.reason.contains("v2 is no worse than v1"))
        #expect(verdict.timeToConclude == .zero)
    }

    @Test("a stage that is conclusive early waits for its least time, and says how long")
    func early() {
        var stage = VerdictTests.stage(
            share: 0.5, requestsPerSecond: 400, minTime: .seconds(120))
        _ = stage.run(60, until: [])
        let verdict = stage.step()
        #expect(verdict.kind == .watching)
        #expect(verdict.reason.contains("least time is over in 59 s"), "\(verdict.reason)")
    }

    @Test("below the requests that a verdict wants there is none, and the words say when")
    func noData() {
        var stage = VerdictTests.stage(share: 0.01, requestsPerSecond: 100)
        let verdict = stage.run(60, until: [.healthy])
        #expect(verdict.kind == .noData)
        #expect(verdict.reason.contains("of the 100 requests that a verdict wants"))
        #expect(verdict.reason.contains("conclusive in about"))
        #expect(verdict.timeToConclude != nil)
    }

    @Test("before anything is settled the words do not say that there is no traffic")
    func first() {
        var stage = VerdictTests.stage()
        #expect(stage.step().reason.hasSuffix("counting has just begun"))
    }

    @Test("without traffic the stage ends inconclusive, and says that no evidence comes")
    func silence() {
        var stage = VerdictTests.stage(requestsPerSecond: 0, maxTime: .seconds(100))
        #expect(stage.run(99, until: []).kind == .noData)
        let verdict = stage.step()
        #expect(verdict.kind == .inconclusive)
        #expect(verdict.reason.contains("no requests on v2"), "\(verdict.reason)")
        #expect(verdict.timeToConclude == nil)
        #expect(stage.judge.logEvidence == 0, "no traffic is no evidence")
    }

    @Test("at 0.3 requests a second the words name the time, and a share that would do")
    func proposal() {
        var stage = VerdictTests.stage(
            share: 0.01, requestsPerSecond: 30, stable: Version(), canary: Version())
        let verdict = stage.run(700, until: [.healthy, .inconclusive])
        #expect(verdict.kind == .watching, "\(verdict.reason)")
        #expect(verdict.reason.contains("0.3 requests a second on v2: conclusive in about 1 h"))
        #expect(verdict.reason.contains("; at 10 % in 9 min"), "\(verdict.reason)")
    }

    @Test("errors that rise from 1 to 5 % are a regression, with both rates in its words")
    func regression() {
        var stage = VerdictTests.stage(
            requestsPerSecond: 400, stable: Version(errors: 0.01),
            canary: Version(errors: 0.05))
        let verdict = stage.run(120, until: [.regression, .healthy])
        #expect(verdict.kind == .regression)
        #expect(verdict.logEvidence >= verdict.logLimit)
        #expect(verdict.reason.contains("v2 is worse than v1: errors"))
        #expect(stage.judge.totals.canary.units < 1_000)
    }

    @Test("before a regression is certain the words say that it looks so")
    func suspicion() {
        var stage = VerdictTests.stage(
            requestsPerSecond: 400, stable: Version(errors: 0.01),
            canary: Version(errors: 0.03))
        var reasons: [String] = []
        for _ in 0..<300 {
            let verdict = stage.step()
            if verdict.kind == .regression { break }
            reasons.append(verdict.reason)
        }
        #expect(reasons.contains { $0.contains("v2 looks worse than v1") })
        #expect(reasons.contains { $0.contains("at this rate in about") })
    }

    @Test("a canary alone above its limit goes back, where there is nothing to compare with")
    func limit() {
        var absolute = RolloutPlan.AbsoluteLimits()
        absolute.errorRate = 0.05
        var stage = VerdictTests.stage(share: 1, canary: Version(errors: 0.1), absolute: absolute)
        let verdict = stage.run(120, until: [.limit, .healthy])
        #expect(verdict.kind == .limit)
        #expect(verdict.reason.contains("certainly above the limit of 5 %"), "\(verdict.reason)")
    }

    @Test("a limit of times counts what is certainly slower")
    func slowLimit() {
        var absolute = RolloutPlan.AbsoluteLimits()
        absolute.p99 = .milliseconds(800)
        var stage = VerdictTests.stage(share: 1, canary: Version(tail: 0.05), absolute: absolute)
        let verdict = stage.run(120, until: [.limit, .healthy])
        #expect(verdict.kind == .limit)
        #expect(verdict.reason.contains("p99 of v2 are certainly above the limit of 800 ms"))
        var sound = VerdictTests.stage(share: 1, canary: Version(), absolute: absolute)
        #expect(sound.run(120, until: [.limit]).kind == .healthy)
    }

    @Test("both versions above a limit have a common cause: nothing goes back")
    func commonCause() {
        var absolute = RolloutPlan.AbsoluteLimits()
        absolute.errorRate = 0.05
        let bad = Version(errors: 0.12)
        var stage = VerdictTests.stage(
            share: 0.5, stable: bad, canary: bad, absolute: absolute)
        let verdict = stage.run(120, until: [.limit, .regression, .commonCause])
        // Whichever version is certain first: the stable one at this share is so as often.
        #expect(verdict.kind == .commonCause || verdict.kind == .limit)
        #expect(stage.run(30, until: []).kind == .commonCause)
    }

    @Test("errors of both that jump together are a common cause while it lasts")
    func jump() {
        var stage = VerdictTests.stage(
            share: 0.5, requestsPerSecond: 200, minTime: .seconds(600))
        #expect(stage.run(120, until: []).kind == .watching)
        stage.service.stable.errors = 0.2
        stage.service.canary.errors = 0.2
        let verdict = stage.run(30, until: [.commonCause, .regression])
        #expect(verdict.kind == .commonCause)
        #expect(verdict.reason.contains("jumped in the last 30 s"))
        stage.service.stable.errors = 0.002
        stage.service.canary.errors = 0.002
        let later = stage.run(120, until: [.regression])
        #expect(later.kind != .commonCause && later.kind != .regression)
    }

    @Test("a trip and a metric from elsewhere have their say, in this order")
    func handedIn() {
        var stage = VerdictTests.stage()
        stage.external = "conversion is 0.01, at least 0.02 is wanted"
        #expect(
            stage.step()
                == {
                    var verdict = Verdict(.external, "conversion is 0.01, at least 0.02 is wanted")
                    verdict.logEvidence = stage.judge.logEvidence
                    verdict.logLimit = stage.judge.judge.logLimit
                    return verdict
                }())
        stage.tripped = "the guard took v2 out: sum 11.6 of 11.6"
        #expect(stage.step().kind == .tripped)
    }

    @Test("what a trip cut short is dropped, and counting begins anew behind it")
    func dropped() {
        var stage = VerdictTests.stage(share: 0.5, canary: Version(errors: 1))
        _ = stage.run(2, until: [])
        let before = stage.judge.judge
        stage.tripped = "tripped"
        for _ in 0..<5 { _ = stage.step() }
        stage.tripped = nil
        _ = stage.step()
        #expect(stage.judge.judge == before)
        _ = stage.run(2, until: [])
        #expect(stage.judge.judge != before)
    }

    @Test("a stage of no share is not judged: its time is over, or a limit of its rule")
    func unjudged() {
        var absolute = RolloutPlan.AbsoluteLimits()
        absolute.errorRate = 0.05
        var stage = VerdictTests.stage(share: 0, absolute: absolute, minTime: .seconds(30))
        #expect(stage.run(29, until: [.healthy]).kind == .watching)
        stage.obstacle = "metric lag has no value yet"
        let held = stage.run(9, until: [.healthy])
        #expect(held.kind == .external && held.reason == "metric lag has no value yet")
        stage.obstacle = nil
        #expect(stage.step().kind == .healthy)
        #expect(stage.judge.judge == Judge.ofPlan)
        var sample = stage.service.sample
        var matched = VersionEvidence()
        matched.requests = 200
        matched.errors = 60
        sample.matched = matched
        let verdict = stage.judge.look(
            sample, StageJudge.Look(now: stage.service.now, elapsed: .seconds(31)))
        #expect(verdict.kind == .limit)
        #expect(verdict.reason.contains("by the stage's rule"))
    }

    @Test("a step forward waits for what it is told to wait for")
    func obstacle() {
        var stage = VerdictTests.stage(share: 0.25, requestsPerSecond: 400)
        stage.obstacle = "waiting for endpoints: v2 has none in rotation"
        let verdict = stage.run(200, until: [.healthy])
        #expect(verdict.kind == .watching)
        #expect(verdict.reason.hasSuffix("v2 has none in rotation"))
        stage.obstacle = nil
        #expect(stage.step().kind == .healthy)
    }

    @Test("a slower canary with certainly fewer errors goes neither back nor forward")
    func slowButSound() {
        var stage = VerdictTests.stage(
            share: 0.25, requestsPerSecond: 400, stable: Version(errors: 0.1),
            canary: Version(errors: 0, slowness: 1.3), maxTime: .seconds(200))
        // Until the errors are certainly fewer, times alone may speak: the first looks are skipped.
        let verdict = stage.run(199, until: [.regression])
        #expect(verdict.kind == .watching, "\(verdict.reason)")
        #expect(verdict.reason.contains("its errors are certainly fewer"))
        #expect(stage.run(2, until: [.inconclusive]).kind == .inconclusive)
    }
}
