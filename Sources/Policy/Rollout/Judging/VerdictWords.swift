import Base
import Evidence
import Judge

/// Verdicts in words and numbers: why, what would change them, and about when.
struct VerdictWords {
    /// When a stage will be conclusive, and at which share it would be sooner.
    struct Outlook {
        /// The canary's units a second.
        var unitsPerSecond: Double
        /// `nil`: not known, or never.
        var time: Duration?
        var offer: (share: Double, time: Duration)?
    }

    private let state: StageJudge
    private let terms: StageTerms
    private let look: StageJudge.Look
    private let stable: String
    private let canary: String
    private let hasSessions: Bool
    private let isSynthetic: Bool
    /// Until counting begins, and the age of the weights at which it does; `nil`: it has begun.
    private let settling: (left: Duration, age: Duration)?
    /// The units of the present stage's evidence, in words.
    private let units: String

    init(
        _ state: StageJudge, _ terms: StageTerms, _ sample: EvidenceSample,
        _ look: StageJudge.Look
    ) {
        self.state = state
        self.terms = terms
        self.look = look
        stable = sample.stable
        canary = sample.canary
        isSynthetic = sample.isSynthetic
        hasSessions = sample.sessions != nil && !isSynthetic
        units = VerdictWords.units(sample)
        settling = VerdictWords.settling(sample)
    }

    private static func settling(_ sample: EvidenceSample) -> (left: Duration, age: Duration)? {
        var spans: [(age: Duration, limit: Duration)] = []
        if let sessions = sample.sessions, !sample.isSynthetic {
            spans = [(sessions.age, sessions.timeLimit)]
        } else {
            for (key, stratum) in EvidenceDiffer.present(sample)
            where key.isSynthetic == sample.isSynthetic {
                spans.append((stratum.age, stratum.timeLimit))
            }
        }
        let lefts = spans.map { span in
            let age = EvidenceSample.settleTime(span.limit)
            return (left: Duration(nanoseconds: age.nanoseconds - span.age.nanoseconds), age: age)
        }
        guard let first = lefts.min(by: { $0.left < $1.left }), first.left > .zero else {
            return nil
        }
        return first
    }

    static func units(_ sample: EvidenceSample) -> String {
        if sample.isSynthetic { return "synthetic requests" }
        return sample.sessions != nil ? "sessions" : "requests"
    }

    private var unit: String { hasSessions ? "new sessions" : units }

    /// The canary's share of the units that count.
    private var share: Double { isSynthetic ? 0.5 : terms.share }

    /// "21 of 410 requests (5.12 %)".
    static func part(_ errors: Int, _ count: Int, _ units: String) -> String {
        let rate = count > 0 ? Double(errors) / Double(count) : 0
        return "\(errors) of \(count) \(units) (\(NumberWords.percent(rate)))"
    }

    private func part(_ version: StageTotals.Version) -> String {
        VerdictWords.part(version.errors, version.units, units)
    }

    /// "log E 4.9 of 4.61".
    private var evidence: String {
        "log E \(NumberWords.decimals(state.logEvidence, 1)) of "
            + NumberWords.decimals(state.judge.logLimit, 2)
    }

    // MARK: Going back

    func regression(_ worse: [Judge.Component]) -> String {
        "\(canary) is worse than \(stable): \(causes(worse)); \(evidence), "
            + "so the evidence has used up the budget of "
            + NumberWords.percent(state.judge.budget) + " for false rollbacks"
    }

    /// The increases of components; counts and their differences are of the present stage, an
    /// estimate of another span of the rollout says of which.
    private func causes(_ worse: [Judge.Component]) -> String {
        var causes: [String] = []
        if worse.contains(.errors) { causes.append(errors("errors", \.errors, \.errors)) }
        if worse.contains(.first) {
            causes.append(errors("failed first attempts", \.firstErrors, \.first))
        }
        if worse.contains(.late) {
            let edge = state.judge.lateEdge ?? LatencyBuckets.count
            let time = NumberWords.latency(LatencyBuckets.end(edge - 1))
            causes.append("\(units) answered later than \(time) or never" + estimate(\.late))
        }
        let isSlow = worse.contains(.forward) || worse.contains(.reverse)
        if isSlow, !worse.contains(.late) || isSlower { causes.append("times " + times) }
        return causes.joined(separator: "; ")
    }

    /// "errors 13 of 449 sessions (2.9 %) against 4 of 445 sessions (0.9 %), 3.2 times as many".
    private func errors(
        _ name: String, _ count: KeyPath<StageTotals.Version, Int>,
        _ rate: KeyPath<EffectWindow, RateEffect>
    ) -> String {
        let canary = state.totals.canary, stable = state.totals.stable
        func part(_ version: StageTotals.Version) -> String {
            VerdictWords.part(version[keyPath: count], version.units, units)
        }
        let words = "\(name) \(part(canary)) against \(part(stable))"
        guard canary.units > 0, stable.units > 0 else { return words + estimate(rate) }
        let ours = Double(canary[keyPath: count]) / Double(canary.units)
        let theirs = Double(stable[keyPath: count]) / Double(stable.units)
        // A stage whose own counts do not show it is judged by what was before.
        guard ours > theirs else { return words + estimate(rate) }
        guard theirs > 0 else { return words }
        return words + ", \(NumberWords.decimals(ours / theirs, 1)) times as many"
    }

    /// The spans over which the judge estimates increases, in words.
    private var windows: [(window: EffectWindow, span: String)] {
        let judge = state.judge
        return [
            (judge.epoch, "since the weights changed"), (judge.rollout, "over the whole rollout"),
        ] + judge.recent.map { ($0, "in the newest part of the rollout") }
    }

    /// "; 2.4 points more over the whole rollout": the largest increase, and its span.
    private func estimate(_ rate: KeyPath<EffectWindow, RateEffect>) -> String {
        var most: (rate: RateEffect, span: String)?
        for (window, span) in windows
        where window[keyPath: rate].difference > most?.rate.difference ?? 0 {
            most = (window[keyPath: rate], span)
        }
        guard let most else { return "" }
        let points = NumberWords.decimals(most.rate.difference * 100, 2)
        let ratio =
            most.rate.ratio.isFinite
            ? "\(NumberWords.decimals(most.rate.ratio, 1)) times as many, " : ""
        return ": \(ratio)\(points) points more, \(most.span)"
    }

    private var isSlower: Bool {
        [0.5, 0.95].contains {
            state.totals.canary.quantile($0)
                >= state.judge.tolerance.limit(state.totals.stable.quantile($0))
        }
    }

    /// "p50 62 ms against 51 ms, p95 140 ms against 120 ms"; of an earlier span where the present
    /// stage does not show what was found.
    private var times: String {
        let stage = state.totals
        if isSlower { return times(stable: stage.stable.latency, canary: stage.canary.latency) }
        let tolerance = state.judge.tolerance
        let other = windows.first { window, _ in
            !window.stableTimes.isEmpty
                && [0.5, 0.95].contains {
                    LatencyBuckets.quantile(window.canaryTimes, $0)
                        >= tolerance.limit(LatencyBuckets.quantile(window.stableTimes, $0))
                }
        }
        guard let (window, span) = other else {
            return times(stable: stage.stable.latency, canary: stage.canary.latency)
        }
        return times(stable: window.stableTimes, canary: window.canaryTimes) + ", \(span)"
    }

    private func times(stable: [Int], canary: [Int]) -> String {
        [("p50", 0.5), ("p95", 0.95)].map { name, share in
            "\(name) \(NumberWords.latency(LatencyBuckets.quantile(canary, share))) against "
                + NumberWords.latency(LatencyBuckets.quantile(stable, share))
        }.joined(separator: ", ")
    }

    func limit(_ excess: StageJudge.Excess) -> String {
        "\(excess.name) of \(canary) are certainly above the limit of \(excess.limit): "
            + "\(excess.canary); \(stable) has \(excess.stable)"
    }

    // MARK: Common causes

    func common(_ excess: StageJudge.Excess) -> String {
        "\(excess.name) of both versions are certainly above the limit of \(excess.limit): "
            + "\(canary) \(excess.canary), \(stable) \(excess.stable); the cause is probably "
            + "elsewhere, so nothing goes forward or back until one of them is below it"
    }

    func jump(stable: (before: Double, now: Double), canary: (before: Double, now: Double))
        -> String
    {
        func rise(_ name: String, _ rates: (before: Double, now: Double)) -> String {
            "\(name) from \(NumberWords.percent(rates.before)) to \(NumberWords.percent(rates.now))"
        }
        return "errors of both versions jumped in the last 30 s: \(rise(self.canary, canary)), "
            + "\(rise(self.stable, stable)); the cause is probably elsewhere, so nothing goes "
            + "forward until it is over"
    }

    // MARK: Without a comparison

    func unjudged() -> String {
        let left = max(
            .zero,
            Duration(
                nanoseconds: terms.minTime.nanoseconds
                    - look.elapsed.nanoseconds))
        let why =
            terms.share == 0
            ? "the stage gives \(canary) no share, so there is nothing to compare"
            : "no control group: \(stable) has no share to compare with"
        return why
            + (left > .zero
                ? "; the stage's time is over in \(NumberWords.time(left))"
                : "; the stage's time of \(NumberWords.time(terms.minTime)) is over")
    }

    // MARK: Going forward

    func healthy() -> String {
        let worst = max(0, state.totals.worstIncrease)
        return "\(canary) is no worse than \(stable): errors " + part(state.totals.canary)
            + " against " + part(state.totals.stable) + ", at most "
            + "\(NumberWords.decimals(worst * 100, 2)) points more for certain, and "
            + "\(NumberWords.decimals(state.totals.maxIncrease(terms.policy) * 100, 2)) "
            + "are allowed"
    }

    func early() -> String {
        let left = terms.minTime.nanoseconds - look.elapsed.nanoseconds
        return healthy() + "; the stage's least time is over in "
            + NumberWords.time(Duration(nanoseconds: left))
    }

    func noData() -> String {
        let has = state.totals.canary.units
        return "\(canary) has had \(has) of the \(terms.policy.minRequests) \(units) that a "
            + "verdict wants"
    }

    func open() -> String {
        let worst = state.totals.worstIncrease * 100
        let allowed = state.totals.maxIncrease(terms.policy) * 100
        return "\(canary) may still be \(NumberWords.decimals(worst, 2)) points worse than "
            + "\(stable), and \(NumberWords.decimals(allowed, 2)) are allowed"
    }

    func suspicion(_ suspects: [Judge.Component], isSlowButSound: Bool) -> String {
        if isSlowButSound {
            return "\(canary) is slower than \(stable) (\(times)), but its errors are certainly "
                + "fewer (" + part(state.totals.canary) + " against " + part(state.totals.stable)
                + "): nothing goes forward or back by times alone"
        }
        return "\(canary) looks worse than \(stable): \(causes(suspects)); \(evidence), at which "
            + "it is taken back" + (timeUntilBack.map { ": at this rate in about \($0)" } ?? "")
    }

    private var timeUntilBack: String? {
        let now = state.logEvidence
        guard let growth = state.recent.growth(clock: state.clock, logEvidence: now),
            growth > 1e-6
        else { return nil }
        let seconds = (state.judge.logLimit - now) / growth
        guard seconds > 0, seconds < 1e6 else { return nil }
        return NumberWords.time(Duration(nanoseconds: Int64(seconds * 1e9)))
    }

    func inconclusive(_ state: String, _ outlook: Outlook) -> String {
        "after \(NumberWords.time(look.elapsed)) the stage's time is over: " + state
            + further(outlook)
    }

    /// "; 0.3 requests a second on v2: conclusive in about 2 h 40 min; at 20 % in 11 min".
    func further(_ outlook: Outlook) -> String {
        if let settling {
            let age = NumberWords.time(settling.age)
            let left = NumberWords.time(max(settling.left, .seconds(1)))
            return "; counting begins in \(left), when these weights have been in force for "
                + "\(age), so that slow answers count for both (the longest time limit of its "
                + "routes, at most 15 s)"
        }
        if outlook.unitsPerSecond <= 0 {
            if state.unitsPerSecond == nil { return "; counting has just begun" }
            return "; no \(unit) on \(canary): no evidence comes, and there is no time to name"
        }
        var text = "; \(NumberWords.rate(outlook.unitsPerSecond, unit)) on \(canary): "
        text +=
            outlook.time.map { "conclusive in about \(NumberWords.time($0))" }
            ?? "not conclusive at this rate"
        if let offer = outlook.offer, offer.time < outlook.time ?? .unlimited {
            text += "; at \(NumberWords.percent(offer.share)) in \(NumberWords.time(offer.time))"
        }
        return text
    }

    /// The prospect at the present rate, if the canary is like the stable version from now on.
    var outlook: Outlook {
        let elapsed = Double(look.elapsed.nanoseconds) / 1e9
        let counted = Double(state.totals.canary.units + state.totals.stable.units)
        let rate = state.recent.presentUnitsPerSecond ?? (elapsed > 0 ? counted / elapsed : 0)
        var outlook = Outlook(unitsPerSecond: rate * share)
        guard rate > 0 else { return outlook }
        let errorRate = state.totals.stable.errorRate
        let maxIncrease = state.totals.maxIncrease(terms.policy)
        outlook.time = Prospect.unitsToConclude(
            .init(state.totals), share: share, errorRate: errorRate, maxIncrease: maxIncrease
        ).flatMap { Prospect.time(units: $0, unitsPerSecond: rate, share: share) }
        let goal = terms.maxTime ?? .seconds(900)
        if outlook.time ?? .unlimited > goal, !isSynthetic {
            outlook.offer = StageForecast.fittingShare(
                rate, above: terms.share, within: goal, errorRate: errorRate,
                maxIncrease: maxIncrease)
        }
        return outlook
    }
}
