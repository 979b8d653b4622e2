import Base
import Evidence
import Judge

/// The judge of a rollout, stage by stage: looks at the evidence go in, verdicts come out.
///
///     enter(stage) ──▶ look, look, look … ──▶ a verdict each ──▶ enter(next stage)
///
/// Pure: time is an argument. Evidence goes on over all stages, because the budget of false
/// rollbacks is one for the whole rollout; what is shown, and what a stage is left on, begins anew
/// with each stage. The whole is a value that `JudgeCodec` writes down and reads back to the bit.
public struct StageJudge: Sendable, Equatable {
    /// Whatever a look needs besides the evidence.
    public struct Look: Sendable {
        /// The monotonic clock.
        public var now: Instant
        /// How long the stage has been applied, without pauses and restarts.
        public var elapsed: Duration
        /// Why the guard took the canary out; `nil`: it did not. Nothing is judged at such a look.
        public var tripped: String?
        /// Which metric from elsewhere failed, and how; `nil`: none did.
        public var external: String?
        /// Something else that a step forward waits for, such as endpoints; `nil`: nothing.
        public var obstacle: String?

        public init(now: Instant, elapsed: Duration) {
            self.now = now
            self.elapsed = elapsed
        }
    }

    public internal(set) var judge: Judge
    /// The stage that is judged; `nil` before the first is entered.
    public internal(set) var terms: StageTerms?
    /// The longest time of the stage.
    public internal(set) var maxTime = Duration.zero
    /// Counts since the stage was entered.
    public internal(set) var totals = StageTotals()
    var differ = EvidenceDiffer()
    var recent = RecentCounts()
    var times = RecentTimes()
    /// The time that the judge has looked on, over the whole rollout.
    var clock = Duration.zero
    var lastLook: Instant?

    /// - Parameter policy: of the plan; its budget holds for the whole rollout.
    public init(_ policy: RolloutPlan.JudgePolicy = .init()) {
        judge = Judge(budget: policy.falseRollbacks, tolerance: policy.tolerance)
    }

    /// Units of evidence a second that both versions have together, over the last minutes:
    /// requests, or new sessions; `nil` before enough is known.
    public var unitsPerSecond: Double? { recent.unitsPerSecond }

    /// Places of sessions that have failed in this rollout.
    public var failedPlaces: PlaceSet { differ.sessions.failed }

    // MARK: Stages

    /// Enters a stage, the present one anew too. To be called when its weights are in force.
    ///
    /// - Parameter sample: the evidence of now; what the stage before has counted until now is
    ///   judged. `nil` where there is none.
    /// - Returns: the longest time of the stage, which belongs into the journal.
    public mutating func enter(
        _ terms: StageTerms, _ sample: EvidenceSample?, now: Instant
    ) -> Duration {
        _ = advance(now)
        if let sample, self.terms != nil {
            let looked = differ.look(
                sample, .init(clock: clock, leavesTimesOut: false, closesAll: true))
            take(looked)
        }
        let traffic = traffic(sample)
        if self.terms?.share != terms.share { judge.beginEpoch() }
        self.terms = terms
        judge.tolerance = terms.policy.tolerance
        totals = StageTotals()
        recent.beginSpan()
        times.clear()
        let forecast = StageForecast(terms, traffic, budget: judge.budget)
        maxTime = terms.isJudged ? forecast.maxTime : terms.maxTime ?? .unlimited
        return maxTime
    }

    /// The expected course of a stage at the traffic of now.
    public func forecast(_ terms: StageTerms, _ sample: EvidenceSample?) -> StageForecast {
        StageForecast(terms, traffic(sample), budget: judge.budget)
    }

    /// The traffic of the last minutes; without looks that of the epoch in the sample.
    private func traffic(_ sample: EvidenceSample?) -> StageForecast.Traffic {
        let known = sample?.average
        return StageForecast.Traffic(
            unitsPerSecond: recent.unitsPerSecond ?? known?.unitsPerSecond ?? 0,
            errorRate: totals.stable.units > 0
                ? totals.stable.errorRate : known?.errorRate ?? 0,
            hasSessions: sample?.sessions != nil)
    }

    /// Drops the increments that are open, because a trip or a person has cut them short.
    public mutating func drop() { differ.drop() }

    // MARK: Looks

    /// Judges one look. To be called about once a second, in every state that has not ended.
    public mutating func look(_ sample: EvidenceSample, _ look: Look) -> Verdict {
        let step = advance(look.now)
        guard let terms else {
            return numbered(Verdict(.watching, "the first stage is about to begin"))
        }
        if let reason = look.tripped {
            drop()
            return numbered(Verdict(.tripped, reason))
        }
        if sample.isSynthetic, !differ.isSynthetic {
            // Requests of Sluice's own are another kind of traffic: from here on the stage goes by
            // them alone. The evidence for a rollback goes on over both, stratum by stratum.
            totals = StageTotals()
            recent.beginSpan()
            times.clear()
        }
        let before = logEvidence
        let looked = differ.look(
            sample,
            .init(
                clock: clock, leavesTimesOut: look.elapsed < terms.warmup,
                closesAll: look.elapsed >= maxTime))
        if looked.hasNewEpoch {
            recent.beginSpan()
            times.clear()
        }
        recent.add(looked, clock: clock, step: step, logEvidence: before)
        if terms.absolute.hasTimes { times.add(looked.recent, clock: clock) }
        take(looked)
        return numbered(verdict(terms, sample, look))
    }

    /// Moves the judge's clock on.
    ///
    /// - Returns: the step; none at the first look, and none where the clock went back, as after a
    ///   restart of the machine.
    private mutating func advance(_ now: Instant) -> Duration {
        let passed = lastLook.map { now - $0 } ?? .zero
        let step = max(.zero, min(passed, .seconds(60)))
        lastLook = now
        clock = clock + step
        return step
    }

    private mutating func take(_ looked: EvidenceDiffer.Yield) {
        for (increment, isPresent) in looked.increments {
            if terms?.isJudged ?? false { judge.add(increment) }
            if isPresent { totals.add(increment) }
        }
        if looked.hasNewEpoch { judge.beginEpoch() }
    }

    private func numbered(_ verdict: Verdict) -> Verdict {
        var verdict = verdict
        verdict.logEvidence = logEvidence
        verdict.logLimit = judge.logLimit
        return verdict
    }

    /// The logarithm of the evidence that counts towards a rollback: of those components that are
    /// above their own tolerance for certain; at most 0 while there are none.
    public var logEvidence: Double {
        let worse = judge.certainlyWorse
        return worse.isEmpty ? min(0, judge.logEvidence) : judge.logEvidence(of: worse)
    }
}

extension RolloutPlan.AbsoluteLimits {
    var hasTimes: Bool { p50 != nil || p95 != nil || p99 != nil }
}

extension EvidenceSample {
    /// Units of evidence a second and errors of a unit, over the epochs in force.
    var average: (unitsPerSecond: Double, errorRate: Double)? {
        if let sessions {
            guard sessions.age > .zero else { return nil }
            let seen = sessions.seen.union(sessions.failed)
            let places = [sessions.stablePlaces, sessions.canaryPlaces]
            let units = places.reduce(0) { $0 + seen.count(in: $1) }
            let failed = sessions.failed.count(in: sessions.stablePlaces)
            let stable = seen.count(in: sessions.stablePlaces)
            return (
                Double(units) / (Double(sessions.age.nanoseconds) / 1e9),
                stable > 0 ? Double(failed) / Double(stable) : 0
            )
        }
        var rate = 0.0, errors = 0, requests = 0
        for stratum in strata where stratum.age > .zero {
            let isOld = strata.contains {
                $0.process == stratum.process && $0.route == stratum.route
                    && $0.epoch > stratum.epoch
            }
            if isOld { continue }
            rate +=
                Double(stratum.stable.requests + stratum.canary.requests)
                / (Double(stratum.age.nanoseconds) / 1e9)
            errors += stratum.stable.errors
            requests += stratum.stable.requests
        }
        return (rate, requests > 0 ? Double(errors) / Double(requests) : 0)
    }
}
