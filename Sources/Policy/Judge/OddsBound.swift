import Glibc

/// The one primitive that all evidence is made of (docs/judge.md, "One primitive").
///
/// Of n units of an increment, x had an event. Where the canary is no worse than the stable
/// version, the labels "canary" and "stable" are as good as drawn at random among the n units, and
/// the number X of the canary's events is hypergeometric. For a ratio r the variable
/// r^X / E[r^X] then has mean 1, whatever the rate of events is. The closed form below is never
/// less than log E[r^X], so that a factor made with it has mean at most 1.
package enum OddsBound {
    /// An upper bound of log E[r^X].
    ///
    /// - Parameters:
    ///   - units: all units of the increment, n ≥ 0.
    ///   - events: units that had the event, 0...n.
    ///   - canaryUnits: units of the canary, 0...n.
    ///   - ratio: r > 0; above 1 where the canary is thought to have more events, below 1 where
    ///     fewer.
    package static func logMean(
        units: Double, events: Double, canaryUnits: Double, ratio: Double
    ) -> Double {
        guard units > 0 else { return 0 }
        let share = canaryUnits / units
        let rate = events / units
        return min(
            events * log1p(share * (ratio - 1)), canaryUnits * log1p(rate * (ratio - 1)))
    }

    /// The logarithm of one increment's factor for a ratio.
    ///
    /// - Parameter canaryEvents: events of the canary, 0...min(events, canaryUnits).
    static func logFactor(
        units: Double, events: Double, canaryUnits: Double, canaryEvents: Double, ratio: Double
    ) -> Double {
        canaryEvents * log(ratio)
            - logMean(units: units, events: events, canaryUnits: canaryUnits, ratio: ratio)
    }
}
