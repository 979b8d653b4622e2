import Base
import Evidence
import Glibc
import Judge

/// The order in which a look is judged, and the words for it.
extension StageJudge {
    /// Evidence of one component that keeps a stage from being healthy: E above 10.
    static var logSuspicion: Double { log(10) }

    func verdict(_ terms: StageTerms, _ sample: EvidenceSample, _ look: Look) -> Verdict {
        let words = VerdictWords(self, terms, sample, look)
        let worse = judge.certainlyWorse
        let isRegression = !worse.isEmpty && logEvidence >= judge.logLimit
        let isSlowButSound = isRegression && holdsForTimesAlone(worse)
        if isRegression, !isSlowButSound {
            return Verdict(.regression, words.regression(worse))
        }
        let excesses = self.excesses(terms, sample)
        if let excess = excesses.first(where: { !$0.isStableOver }) {
            return Verdict(.limit, words.limit(excess))
        }
        if let excess = excesses.first { return Verdict(.commonCause, words.common(excess)) }
        if let jump = recent.jump {
            return Verdict(
                .commonCause, words.jump(stable: jump.stable, canary: jump.canary))
        }
        if let external = look.external { return Verdict(.external, external) }
        return terms.isJudged
            ? compared(terms, words, look, isSlowButSound) : unjudged(terms, words, look)
    }

    /// A stage with one version alone, at a share of 0 or of 1, goes by its time.
    private func unjudged(
        _ terms: StageTerms, _ words: VerdictWords, _ look: Look
    ) -> Verdict {
        // The machine leaves such a stage by its clock, unless something from outside holds it.
        if let obstacle = look.obstacle { return Verdict(.external, obstacle) }
        if look.elapsed < terms.minTime { return Verdict(.watching, words.unjudged()) }
        return Verdict(.healthy, words.unjudged())
    }

    private func compared(
        _ terms: StageTerms, _ words: VerdictWords, _ look: Look, _ isSlowButSound: Bool
    ) -> Verdict {
        let isOver = look.elapsed >= maxTime
        let outlook = words.outlook
        func verdict(_ kind: Verdict.Kind, _ reason: String) -> Verdict {
            var verdict = Verdict(kind, reason)
            verdict.timeToConclude = outlook.time
            return verdict
        }
        if totals.canary.units < terms.policy.minRequests {
            return isOver
                ? verdict(.inconclusive, words.inconclusive(words.noData(), outlook))
                : verdict(.noData, words.noData() + words.further(outlook))
        }
        let suspects = isSlowButSound ? judge.certainlyWorse : self.suspects
        let isConclusive = totals.worstIncrease <= totals.maxIncrease(terms.policy)
        if isConclusive, suspects.isEmpty {
            if look.elapsed >= terms.minTime {
                if let obstacle = look.obstacle {
                    return Verdict(.watching, words.healthy() + "; " + obstacle)
                }
                var healthy = Verdict(.healthy, words.healthy())
                healthy.timeToConclude = .zero
                return healthy
            }
            var early = Verdict(.watching, words.early())
            early.timeToConclude = .zero
            return early
        }
        let state =
            suspects.isEmpty
            ? words.open() : words.suspicion(suspects, isSlowButSound: isSlowButSound)
        return isOver
            ? verdict(.inconclusive, words.inconclusive(state, outlook))
            : verdict(.watching, state + words.further(outlook))
    }

    /// Components above their own tolerance whose evidence is too strong for a step forward.
    private var suspects: [Judge.Component] {
        judge.certainlyWorse.filter { judge.logEvidence($0) > StageJudge.logSuspicion }
    }

    /// Nothing but times is worse, and errors are certainly fewer: no reason to go back to them.
    private func holdsForTimesAlone(_ worse: [Judge.Component]) -> Bool {
        worse.allSatisfy { $0 == .forward || $0 == .reverse || $0 == .late }
            && totals.hasFewerErrors
    }

    // MARK: Limits

    /// A limit that the canary is certainly above.
    struct Excess {
        /// The words for what is limited: "errors", "p99".
        var name: String
        var limit: String
        /// Words for the counts of the canary, and of the stable version.
        var canary: String
        var stable: String
        /// The stable version is certainly above the limit as well.
        var isStableOver: Bool
    }

    private func excesses(_ terms: StageTerms, _ sample: EvidenceSample) -> [Excess] {
        var found: [Excess] = []
        if let limit = terms.absolute.errorRate { found += errorExcess(limit, sample) }
        let limits: [(String, Double, Duration?)] = [
            ("p50", 0.5, terms.absolute.p50), ("p95", 0.95, terms.absolute.p95),
            ("p99", 0.99, terms.absolute.p99),
        ]
        for (name, share, limit) in limits {
            guard let limit else { continue }
            found += timeExcess(name, share, limit, sample)
        }
        return found
    }

    private func errorExcess(_ limit: Double, _ sample: EvidenceSample) -> [Excess] {
        func bounds(_ errors: Int, _ units: Int) -> ConfidenceSequence {
            ConfidenceSequence(
                events: min(errors, units), units: units, alpha: StageTotals.level / 2)
        }
        func seen(_ errors: Int, _ units: Int) -> String {
            VerdictWords.part(errors, units, VerdictWords.units(sample))
        }
        // One user with a broken session would count a hundred times: sessions go by the stage.
        let hasSessions = sample.sessions != nil && !sample.isSynthetic
        let window = recent.window
        let stable =
            hasSessions
            ? (totals.stable.errors, totals.stable.units)
            : (window.stable.errors, window.stable.requests)
        let canary =
            hasSessions
            ? (totals.canary.errors, totals.canary.units)
            : (window.canary.errors, window.canary.requests)
        let isStableOver = bounds(stable.0, stable.1).lower > limit
        var found: [Excess] = []
        if bounds(canary.0, canary.1).lower > limit {
            found.append(
                Excess(
                    name: "errors", limit: NumberWords.percent(limit),
                    canary: seen(canary.0, canary.1), stable: seen(stable.0, stable.1),
                    isStableOver: isStableOver))
        }
        if let matched = sample.matched, bounds(matched.errors, matched.requests).lower > limit {
            found.append(
                Excess(
                    name: "errors by the stage's rule", limit: NumberWords.percent(limit),
                    canary: VerdictWords.part(matched.errors, matched.requests, "requests"),
                    stable: seen(stable.0, stable.1), isStableOver: isStableOver))
        }
        return found
    }

    private func timeExcess(
        _ name: String, _ share: Double, _ limit: Duration, _ sample: EvidenceSample
    ) -> [Excess] {
        let stable = times.slow(\.stable, limit: limit)
        let allowed = 1 - share
        func excess(_ name: String, _ canary: Double) -> Excess {
            Excess(
                name: name, limit: NumberWords.latency(Double(limit.nanoseconds) / 1e9),
                canary: NumberWords.percent(canary) + " slower",
                stable: NumberWords.percent(stable.part) + " slower",
                isStableOver: stable.bounds.lower > allowed)
        }
        var found: [Excess] = []
        let canary = times.slow(\.canary, limit: limit)
        if canary.bounds.lower > allowed { found.append(excess(name, canary.part)) }
        if let matched = sample.matched {
            var alone = RecentTimes()
            alone.add(EvidencePair(canary: matched), clock: .zero)
            let slow = alone.slow(\.canary, limit: limit)
            if slow.bounds.lower > allowed {
                found.append(excess(name + " by the stage's rule", slow.part))
            }
        }
        return found
    }
}
