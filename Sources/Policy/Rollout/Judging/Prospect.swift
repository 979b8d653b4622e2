import Base
import Glibc
import Judge

/// The arithmetic of what evidence will be able to say, and when: rates in, times out.
public enum Prospect {
    /// Shares that are proposed.
    static let shares = [0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5]
    /// More units than any stage will see.
    private static let unitsMax = 1e12

    /// Units and errors of both versions, known or expected.
    struct Standing {
        var stableUnits = 0.0
        var stableErrors = 0.0
        var canaryUnits = 0.0
        var canaryErrors = 0.0

        init() {}

        init(_ totals: StageTotals) {
            stableUnits = Double(totals.stable.units)
            stableErrors = Double(totals.stable.errors)
            canaryUnits = Double(totals.canary.units)
            canaryErrors = Double(totals.canary.errors)
        }

        /// The standing after more units of the canary, and of the stable version by the share, if
        /// both have errors at one rate.
        func after(_ canary: Double, share: Double, errorRate: Double) -> Standing {
            var later = self
            let stable = canary * (1 - share) / share
            later.canaryUnits += canary
            later.canaryErrors += canary * errorRate
            later.stableUnits += stable
            later.stableErrors += stable * errorRate
            return later
        }

        /// Whether the canary's rate is at most so much above the stable version's for certain.
        func isConclusive(_ maxIncrease: Double) -> Bool {
            guard canaryUnits > 0, stableUnits > 0 else { return false }
            let alpha = StageTotals.level / 2, nothing = 1e-12
            let stable = ConfidenceSequence.Test(
                events: min(stableErrors, stableUnits), units: stableUnits, alpha: alpha)
            let lower =
                stableErrors <= 0 || !stable.excludes(nothing)
                ? 0
                : stable.edge(
                    between: nothing, and: stableErrors / stableUnits, excludesUpper: false,
                    halvings: 30)
            let allowed = lower + maxIncrease
            if allowed >= 1 { return true }
            // The upper end lies below a rate exactly where that rate is excluded.
            guard canaryErrors / canaryUnits < allowed else { return false }
            return ConfidenceSequence.Test(
                events: canaryErrors, units: canaryUnits, alpha: alpha
            ).excludes(allowed)
        }
    }

    /// Units that the canary still has to have until a stage is conclusive, if it is like the
    /// stable version from now on; `nil`: never.
    ///
    /// - Parameters:
    ///   - share: the canary's, above 0 and below 1.
    ///   - errorRate: of both versions from now on, 0...1.
    static func unitsToConclude(
        _ standing: Standing, share: Double, errorRate: Double, maxIncrease: Double
    ) -> Double? {
        guard share > 0, share < 1, maxIncrease > 0, errorRate < 1 else { return nil }
        func isEnough(_ units: Double) -> Bool {
            standing.after(units, share: share, errorRate: errorRate).isConclusive(maxIncrease)
        }
        if isEnough(0) { return 0 }
        var low = 0.0, high = max(16, standing.canaryUnits / 4)
        while !isEnough(high) {
            low = high
            high *= 1.6
            if high > unitsMax { return nil }
        }
        for _ in 0..<10 {
            let middle = (low + high) / 2
            if isEnough(middle) { high = middle } else { low = middle }
        }
        return high.rounded(.up)
    }

    /// The time in which a canary at a share has so many units; `nil` without traffic, or where it
    /// takes longer than ten years.
    static func time(units: Double, unitsPerSecond: Double, share: Double) -> Duration? {
        guard unitsPerSecond > 0, share > 0 else { return nil }
        let seconds = units / (unitsPerSecond * share)
        guard seconds < 3.2e8 else { return nil }
        return Duration(nanoseconds: Int64(seconds * 1e9))
    }

    /// The longest time of a stage for which the plan gives none: three times the time to a
    /// conclusion, at least half an hour, at most a day.
    ///
    /// - Parameter timeToConclude: `nil`: not known, or never.
    public static func maxTime(timeToConclude: Duration?) -> Duration {
        guard let timeToConclude else { return .seconds(86_400) }
        let seconds = timeToConclude.nanoseconds / 1_000_000_000
        return .seconds(min(86_400, max(1_800, min(seconds, 86_400) * 3)))
    }

    /// The least error rate of a canary that is expected to be found within so many of its units,
    /// beside a stable version of a rate; `nil` where not even a canary that fails always is.
    ///
    /// Per unit of the canary the evidence of a ratio r grows by p ln r - x ln(1 + w(r - 1)), where
    /// x is the number of errors that both versions have meanwhile. It must pay for the budget, for
    /// the choice among ratios and components, and for the first restart.
    static func detectableRate(
        canaryUnits: Double, share: Double, stableRate: Double, budget: Double
    ) -> Double? {
        guard canaryUnits > 0, share > 0, share < 1 else { return nil }
        let needed = log(1 / budget) + log(Double(Judge.odds.count) / 0.4) - log(0.15)
        func isFound(_ rate: Double) -> Bool {
            let events = rate + stableRate * (1 - share) / share
            return Judge.odds.contains { ratio in
                canaryUnits * (rate * log(ratio) - events * log1p(share * (ratio - 1))) >= needed
            }
        }
        guard isFound(1) else { return nil }
        var low = stableRate, high = 1.0
        for _ in 0..<40 {
            let middle = (low + high) / 2
            if isFound(middle) { high = middle } else { low = middle }
        }
        return high
    }
}
