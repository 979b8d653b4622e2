import Glibc

/// Bounds of one rate that hold at all times at once (Jeffreys' beta-binomial mixture): the chance
/// that the rate is ever outside of them is at most α, however often one looks.
public struct ConfidenceSequence: Sendable, Equatable {
    /// 0 ≤ `lower` ≤ events / units ≤ `upper` ≤ 1.
    public let lower: Double
    public let upper: Double

    /// - Parameters:
    ///   - events: units that had the event, 0...units.
    ///   - units: all units; without any the bounds are 0 and 1.
    ///   - alpha: the chance of being wrong, above 0 and below 1.
    public init(events: Int, units: Int, alpha: Double) {
        guard units > 0 else {
            lower = 0
            upper = 1
            return
        }
        let test = Test(events: Double(events), units: Double(units), alpha: alpha)
        let rate = Double(events) / Double(units)
        let nothing = 1e-12
        lower =
            events == 0 || !test.excludes(nothing)
            ? 0 : test.edge(between: nothing, and: rate, excludesUpper: false)
        upper =
            events == units || !test.excludes(1 - nothing)
            ? 1 : test.edge(between: rate, and: 1 - nothing, excludesUpper: true)
    }

    /// Whether what was seen speaks against a rate.
    package struct Test {
        var events: Double
        var units: Double
        var mixture: Double
        var limit: Double

        /// - Parameters: as of a sequence; both counts may be expected ones, which are not whole.
        package init(events: Double, units: Double, alpha: Double) {
            self.events = events
            self.units = units
            mixture =
                lgamma(events + 0.5).0 + lgamma(units - events + 0.5).0 - lgamma(units + 1).0
                - 2 * lgamma(0.5).0
            limit = log(1 / alpha)
        }

        /// - Parameter rate: above 0 and below 1.
        package func excludes(_ rate: Double) -> Bool {
            let hits = events > 0 ? events * log(rate) : 0
            let misses = units > events ? (units - events) * log1p(-rate) : 0
            return mixture - hits - misses >= limit
        }

        /// Where a rate begins to be excluded, by halving.
        package func edge(
            between low: Double, and high: Double, excludesUpper: Bool, halvings: Int = 60
        ) -> Double {
            var low = low, high = high
            for _ in 0..<halvings {
                let middle = (low + high) / 2
                if excludes(middle) == excludesUpper { high = middle } else { low = middle }
            }
            return (low + high) / 2
        }
    }
}
