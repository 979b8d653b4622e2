import Base
import Judge

/// The expected course of one stage at today's traffic, if the canary is like the stable version:
/// a row of `sluice rollout plan`.
public struct StageForecast: Sendable, Equatable {
    /// The traffic of a service, of both versions together.
    public struct Traffic: Sendable, Equatable {
        /// Requests a second; for a sticky service new sessions a second.
        public var unitsPerSecond: Double
        /// Errors of a unit of the stable version, 0...1.
        public var errorRate: Double
        /// Whether units are sessions.
        public var hasSessions: Bool
        /// How many sessions there are; `nil`: not known.
        public var sessions: Int?

        public init(
            unitsPerSecond: Double, errorRate: Double, hasSessions: Bool = false,
            sessions: Int? = nil
        ) {
            self.unitsPerSecond = max(0, unitsPerSecond)
            self.errorRate = min(1, max(0, errorRate))
            self.hasSessions = hasSessions
            self.sessions = sessions
        }
    }

    public var stage: String
    /// The canary's share, 0...1.
    public var share: Double
    /// The canary's units a second.
    public var unitsPerSecond: Double
    /// Units of the canary until the stage is conclusive; `nil`: it is not judged, or never is.
    public var unitsToConclude: Int?
    public var timeToConclude: Duration?
    /// The stage's least and longest time; without one of the plan, by the traffic.
    public var minTime: Duration
    public var maxTime: Duration
    /// The least error rate of the canary that would be found within the longest time.
    public var detectableRate: Double?
    /// The least one that would be found until a healthy canary leaves the stage; `nil`: none.
    public var detectableUntilLeft: Double?
    /// When a healthy canary leaves the stage.
    public var timeUntilLeft: Duration
    /// Units of the canary until the stage is left, or its time is over.
    public var exposed: Int
    /// Errors that they would have with the stable version too.
    public var errorsExpected: Double
    /// Errors until a canary of twice the stable version's errors (at least 1 % more) is taken
    /// back; `nil` where it would not be found within the stage.
    public var errorsUntilBack: Double?
    /// Words for a fault of the stage at today's traffic, and for a way out; `nil`: none.
    public var advice: String?

    /// The rows of a plan, stage by stage.
    ///
    /// - Parameter others: the share of versions that are neither canary nor stable, 0..<1.
    public static func rows(
        _ plan: RolloutPlan, _ traffic: Traffic, others: Double = 0
    ) -> [StageForecast] {
        plan.stages.indices.map {
            StageForecast(
                StageTerms(plan, stage: $0, others: others), traffic,
                budget: plan.judge.falseRollbacks)
        }
    }

    /// - Parameter budget: the chance of a false rollback over the whole rollout.
    public init(_ terms: StageTerms, _ traffic: Traffic, budget: Double = 0.01) {
        stage = terms.name
        share = terms.share
        unitsPerSecond = traffic.unitsPerSecond * terms.share
        minTime = terms.minTime
        let maxIncrease =
            terms.policy.maxIncrease ?? StageTotals.maxIncrease(stableRate: traffic.errorRate)
        let units = Prospect.unitsToConclude(
            .init(), share: terms.share, errorRate: traffic.errorRate, maxIncrease: maxIncrease)
        unitsToConclude = units.map { Int($0) }
        timeToConclude = units.flatMap {
            Prospect.time(
                units: $0, unitsPerSecond: traffic.unitsPerSecond, share: terms.share)
        }
        maxTime =
            terms.isJudged
            ? terms.maxTime
                ?? max(
                    Prospect.maxTime(timeToConclude: timeToConclude), terms.minTime + terms.minTime)
            : terms.maxTime ?? terms.minTime
        let left = terms.isJudged ? min(maxTime, max(minTime, timeToConclude ?? maxTime)) : minTime
        timeUntilLeft = left
        exposed = Int(min(1e15, (Double(left.nanoseconds) / 1e9 * unitsPerSecond).rounded()))
        errorsExpected = Double(exposed) * traffic.errorRate
        let most = Double(maxTime.nanoseconds) / 1e9 * unitsPerSecond
        detectableRate = Prospect.detectableRate(
            canaryUnits: most, share: terms.share, stableRate: traffic.errorRate, budget: budget)
        detectableUntilLeft = Prospect.detectableRate(
            canaryUnits: Double(left.nanoseconds) / 1e9 * unitsPerSecond, share: terms.share,
            stableRate: traffic.errorRate, budget: budget)
        errorsUntilBack = nil
        let worse = min(1, max(2 * traffic.errorRate, traffic.errorRate + 0.01))
        if terms.isJudged, let found = detectableRate, found <= worse {
            errorsUntilBack =
                StageForecast.unitsUntilBack(
                    worse, terms.share, traffic.errorRate, budget, most) * worse
        }
        advice = nil
        advice = self.advise(terms, traffic, maxIncrease)
    }

    /// Units of the canary until a rate is expected to be found, by halving.
    private static func unitsUntilBack(
        _ rate: Double, _ share: Double, _ stableRate: Double, _ budget: Double, _ most: Double
    ) -> Double {
        var low = 0.0, high = most
        for _ in 0..<40 {
            let middle = (low + high) / 2
            let found = Prospect.detectableRate(
                canaryUnits: middle, share: share, stableRate: stableRate, budget: budget)
            if let found, found <= rate { high = middle } else { low = middle }
        }
        return high
    }

    private func advise(
        _ terms: StageTerms, _ traffic: Traffic, _ maxIncrease: Double
    ) -> String? {
        guard terms.isJudged else { return nil }
        let unit = traffic.hasSessions ? "new sessions" : "requests"
        guard traffic.unitsPerSecond > 0 else {
            return "there are no \(unit): the stage cannot conclude; synthetic requests could"
        }
        guard let units = unitsToConclude else {
            return "maxIncrease of \(NumberWords.percent(maxIncrease)) can never be shown"
        }
        if traffic.hasSessions {
            let places = Double(1 << 20)
            let users = terms.share * min(places, Double(traffic.sessions ?? 1 << 20))
            if users < Double(units) {
                return "a conclusion needs \(units) sessions, and the share has about "
                    + "\(Int(users)): let it go by minTime and an approval"
            }
        }
        guard timeToConclude ?? .unlimited > maxTime else { return nil }
        let time = timeToConclude.map { "about " + NumberWords.time($0) } ?? "more than ten years"
        let offer = StageForecast.fittingShare(
            traffic.unitsPerSecond, above: terms.share, within: maxTime,
            errorRate: traffic.errorRate, maxIncrease: maxIncrease)
        let other = offer.map {
            "; at \(NumberWords.percent($0.share)) in \(NumberWords.time($0.time))"
        }
        return "conclusive in \(time), and maxTime is \(NumberWords.time(maxTime))"
            + (other ?? "")
    }

    /// The least share above the present one at which a stage would be conclusive within a time;
    /// where none is, the greatest that is proposed.
    static func fittingShare(
        _ unitsPerSecond: Double, above share: Double, within limit: Duration, errorRate: Double,
        maxIncrease: Double
    ) -> (share: Double, time: Duration)? {
        var last: (share: Double, time: Duration)?
        for candidate in Prospect.shares where candidate > share * 1.001 {
            guard
                let units = Prospect.unitsToConclude(
                    .init(), share: candidate, errorRate: errorRate, maxIncrease: maxIncrease),
                let time = Prospect.time(
                    units: units, unitsPerSecond: unitsPerSecond, share: candidate)
            else { continue }
            last = (candidate, time)
            if time <= limit { break }
        }
        return last
    }
}
