import Base
import Evidence
import Judge
import Rollout
import Testing

/// Requests of Sluice's own: how they are sent and counted, and how a stage goes by them.
@Suite("Synthetic requests") struct SyntheticProbeTests {
    static let start = Instant(nanoseconds: 1_000_000_000_000)

    static func end(isError: Bool = false, milliseconds: Int64 = 20) -> RequestOutcome {
        var end = RequestOutcome()
        end.end = isError ? .failure : .answer
        end.isFirstError = isError
        end.time = .milliseconds(milliseconds)
        return end
    }

    @Test("requests go out in pairs, at the rate that the plan says, and never in a burst")
    func pairs() {
        var probe = SyntheticProbe(
            number: 1, rate: 20, now: SyntheticProbeTests.start, seed: 1)
        var asks = 0, firsts = 0
        for tick in 0..<1_000 {
            let due = probe.due(now: SyntheticProbeTests.start + .milliseconds(Int64(tick) * 10))
            asks += due.count
            #expect(due.isEmpty || due.count == 2 && due[0].pair == due[1].pair)
            #expect(Set(due.map { $0.side == .canary }).count == min(2, due.count))
            if due.first?.side == .canary { firsts += 1 }
            for ask in due { probe.end(ask, SyntheticProbeTests.end()) }
        }
        #expect(asks == 200)
        #expect((30...70).contains(firsts), "the order of a pair is drawn")
        #expect(probe.canary.requests == 100 && probe.stable.requests == 100)
        // The clock jumps: no burst makes up for it.
        let late = probe.due(now: SyntheticProbeTests.start + .seconds(3_600))
        #expect(late.count == 2)
    }

    @Test("a pair counts when both have ended, and not at all when one told nothing")
    func whole() {
        var probe = SyntheticProbe(
            number: 1, rate: 2, now: SyntheticProbeTests.start, seed: 1)
        let first = probe.due(now: SyntheticProbeTests.start)
        probe.end(first[0], SyntheticProbeTests.end(isError: true))
        #expect(probe.canary.requests + probe.stable.requests == 0)
        // Twice the same end is one.
        probe.end(first[0], SyntheticProbeTests.end())
        #expect(probe.canary.requests + probe.stable.requests == 0)
        probe.end(first[1], SyntheticProbeTests.end())
        #expect(probe.canary.requests == 1 && probe.stable.requests == 1)
        #expect(probe.canary.errors + probe.stable.errors == 1)
        let second = probe.due(now: SyntheticProbeTests.start + .seconds(1))
        probe.end(second[0], nil)
        probe.end(second[1], SyntheticProbeTests.end())
        #expect(probe.canary.requests == 1 && probe.stable.requests == 1)
        #expect(probe.droppedCount == 1)
        // What ends once more, after its pair was counted, changes nothing.
        probe.end(first[0], SyntheticProbeTests.end())
        #expect(probe.canary.requests == 1 && probe.stable.requests == 1)
    }

    @Test("requests that nobody answers are not piled up")
    func piled() {
        var probe = SyntheticProbe(
            number: 1, rate: 1_000, now: SyntheticProbeTests.start, seed: 1)
        var asks = 0
        for tick in 0..<500 {
            asks +=
                probe.due(
                    now: SyntheticProbeTests.start + .milliseconds(Int64(tick) * 10)
                ).count
        }
        #expect(asks == 200)
    }

    /// A stage with a trickle of users, and with requests of Sluice's own.
    struct Stage {
        var users: SyntheticService
        var probe: SyntheticProbe
        var judge = StageJudge()
        var elapsed = Duration.zero
        var random = PRNG(seed: 5)
        var hasUsers: Bool

        init(users errors: (stable: Double, canary: Double)?) {
            users = SyntheticService(
                seed: 3, share: 0.1, requestsPerSecond: 5,
                stable: .init(errors: errors?.stable ?? 0),
                canary: .init(errors: errors?.canary ?? 0))
            hasUsers = errors != nil
            probe = SyntheticProbe(
                number: 1, rate: 20, now: users.now, seed: 1)
            var policy = RolloutPlan.JudgePolicy()
            policy.onInconclusive = .synthetic
            let terms = StageTerms(name: "small", share: 0.1, policy: policy)
            _ = judge.enter(terms, nil, now: users.now)
        }

        mutating func step(errors: (stable: Double, canary: Double)?) -> Verdict {
            var sample = users.step()
            if !hasUsers {
                sample.strata[0].stable = VersionEvidence()
                sample.strata[0].canary = VersionEvidence()
            }
            elapsed = elapsed + .seconds(1)
            if let errors {
                for ask in probe.due(now: users.now) {
                    let rate = ask.side == .canary ? errors.canary : errors.stable
                    let isError = Double(random.below(10_000)) < rate * 10_000
                    probe.end(ask, SyntheticProbeTests.end(isError: isError))
                }
                sample.strata.append(probe.stratum(now: users.now, startedAt: 0))
            }
            return judge.look(sample, .init(now: users.now, elapsed: elapsed))
        }

        mutating func run(
            _ seconds: Int, errors: (stable: Double, canary: Double)?,
            until kinds: Set<Verdict.Kind>
        ) -> Verdict {
            var verdict = Verdict(.watching, "")
            for _ in 0..<seconds {
                verdict = step(errors: errors)
                if kinds.contains(verdict.kind) { break }
            }
            return verdict
        }
    }

    @Test("without users a stage concludes on synthetic requests, and its words say so")
    func alone() {
        var stage = Stage(users: nil)
        let before = stage.run(60, errors: nil, until: [])
        #expect(before.kind == .noData)
        let verdict = stage.run(1_200, errors: (0, 0), until: [.healthy, .regression])
        #expect(verdict.kind == .healthy)
        #expect(verdict.reason.contains("synthetic requests"))
        #expect(stage.judge.totals.canary.units > 100)
    }

    @Test("a canary that fails at synthetic requests is a regression")
    func bad() {
        var stage = Stage(users: nil)
        let verdict = stage.run(600, errors: (0.01, 0.2), until: [.healthy, .regression])
        #expect(verdict.kind == .regression)
        #expect(verdict.reason.contains("synthetic requests"))
    }

    @Test("users are never added to synthetic requests: the stage goes by these alone")
    func apart() {
        // The paths that are probed never fail; one in ten users has an error, of either version.
        var stage = Stage(users: (0.1, 0.1))
        _ = stage.run(120, errors: nil, until: [])
        #expect(stage.judge.totals.stable.errors > 0)
        let verdict = stage.run(1_200, errors: (0, 0), until: [.healthy, .regression])
        #expect(verdict.kind == .healthy)
        #expect(stage.judge.totals.stable.errors == 0 && stage.judge.totals.canary.errors == 0)
        let sent = stage.probe.stable.requests + stage.probe.canary.requests
        #expect(stage.judge.totals.stable.units + stage.judge.totals.canary.units <= sent)
        // The state survives the journal to the bit, and the stage stays one of synthetic requests.
        let text = JudgeCodec.text(stage.judge)
        #expect(try! JudgeCodec.state(text) == stage.judge)
    }

    @Test("errors of users take a canary back while its synthetic requests are fine")
    func users() {
        var stage = Stage(users: (0.01, 0.9))
        let verdict = stage.run(1_200, errors: (0.01, 0.01), until: [.regression])
        #expect(verdict.kind == .regression)
    }
}
