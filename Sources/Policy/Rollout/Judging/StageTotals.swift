import Judge

/// The counts of both versions since a stage was entered, of closed increments alone: shown, and
/// the ground on which a stage is left. Weights are the same over a stage, so strata may be summed.
public struct StageTotals: Sendable, Equatable {
    /// The chance that an interval of a stage is ever wrong, of both versions together; apart from
    /// the budget of false rollbacks.
    public static let level = 0.05

    /// The counts of one version.
    public struct Version: Sendable, Equatable {
        /// Requests, or places of sessions.
        public var units = 0
        public var errors = 0
        public var firstErrors = 0
        /// Answers that are not errors, by `LatencyBuckets`.
        public var latency = [Int](repeating: 0, count: LatencyBuckets.count)
        /// Errors, timeouts and clients that left, by the bucket that they had reached.
        public var censored = [Int](repeating: 0, count: LatencyBuckets.count)

        public init() {}

        /// Errors of a unit; 0 without units.
        public var errorRate: Double { units > 0 ? Double(errors) / Double(units) : 0 }

        /// Bounds of the error rate that hold at all looks of the stage.
        public var bounds: ClosedRange<Double> {
            let sequence = ConfidenceSequence(
                events: min(errors, units), units: units, alpha: StageTotals.level / 2)
            return sequence.lower...max(sequence.lower, sequence.upper)
        }

        /// A quantile of the times to the first byte, in seconds; 0 without answers.
        public func quantile(_ share: Double) -> Double {
            LatencyBuckets.quantile(latency, share)
        }

        mutating func add(_ counts: VersionCounts) {
            units += counts.newUnits ?? counts.units
            errors += counts.errors
            firstErrors += counts.firstErrors
            for k in counts.latency.indices where k < latency.count {
                latency[k] += counts.latency[k]
            }
            for k in counts.censored.indices where k < censored.count {
                censored[k] += counts.censored[k]
            }
        }
    }

    public var stable = Version()
    public var canary = Version()

    public init() {}

    mutating func add(_ increment: Increment) {
        stable.add(increment.stable)
        canary.add(increment.canary)
    }

    /// The greatest increase of the error rate that counts as healthy: as the plan says, or half a
    /// percent, or half the stable version's rate up to two percent, where that is more.
    public func maxIncrease(_ policy: RolloutPlan.JudgePolicy) -> Double {
        policy.maxIncrease ?? StageTotals.maxIncrease(stableRate: stable.errorRate)
    }

    static func maxIncrease(stableRate: Double) -> Double {
        max(0.005, min(0.02, 0.5 * stableRate))
    }

    /// By how much the canary's error rate may be above the stable version's at worst: the upper
    /// end of the one minus the lower end of the other, -1...1.
    public var worstIncrease: Double { canary.bounds.upperBound - stable.bounds.lowerBound }

    /// Whether the canary certainly has fewer errors.
    var hasFewerErrors: Bool { canary.bounds.upperBound < stable.bounds.lowerBound }
}
