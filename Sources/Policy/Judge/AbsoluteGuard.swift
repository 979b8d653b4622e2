import Glibc

/// The guard's other rule, for a canary that has nearly all requests, where the stable version has
/// too few errors to compare with: a CUSUM over requests that asks whether a version fails as no
/// version should. 5 % of errors are fine, 50 % are bad.
///
/// The sum and the number of good answers that it has taken are one word, so that one atomic holds
/// both. Good answers cost nothing: at each error those since the last one are taken at once.
public struct AbsoluteSum: BitwiseCopyable, Sendable, Equatable {
    /// The sum in the upper half, in the fixed point of `GuardSteps`; good answers in the lower, of
    /// which only differences count.
    public private(set) var word: UInt64

    public init(word: UInt64 = 0) { self.word = word }

    /// The sum that is a trip: ln 1,000,000.
    public static let limit = 13.815_510_557_964_274
    /// The sum of the stable version above which both may have one cause.
    public static let commonLimit = limit / 2

    /// Whether the stable version is well while the canary fails, so that the canary is the cause:
    /// at the canary's rate it would have had 20 errors, and it had at most a quarter. With fewer
    /// requests an outage of both looks like the canary's, and nothing can be told.
    ///
    /// - Parameters:
    ///   - canary: requests and errors since the canary's sum left 0.
    ///   - stable: the stable version's since then.
    public static func isStableWell(
        canary: (requests: Int, errors: Int), stable: (requests: Int, errors: Int)
    ) -> Bool {
        guard canary.requests > 0 else { return false }
        let rate = Double(canary.errors) / Double(canary.requests)
        let expected = Double(stable.requests) * rate
        return expected >= 20 && Double(stable.errors) * 4 <= expected
    }

    private static let scale = Double(1 << GuardSteps.fractionBits)
    // ln(0.5 / 0.05), and -ln(0.5 / 0.95); rounded against a trip.
    private static let rise = UInt32(2.302_585_092_994_046 * scale)
    private static let fall = UInt32(0.641_853_886_172_395 * scale) + 1

    private var fixed: UInt32 { UInt32(truncatingIfNeeded: word >> 32) }

    public var value: Double { Double(fixed) / AbsoluteSum.scale }
    public var isReached: Bool { value >= AbsoluteSum.limit }

    /// The sum as it is behind the good answers so far.
    ///
    /// - Parameter goods: good answers since the counting began, of which the lower 32 bits count.
    public func now(goods: Int) -> AbsoluteSum {
        let goods = UInt32(truncatingIfNeeded: goods)
        let new = goods &- UInt32(truncatingIfNeeded: word)
        // Another worker was ahead with what it saw: nothing is new.
        guard new <= UInt32.max / 2 else { return self }
        let loss = UInt64(new) * UInt64(AbsoluteSum.fall)
        let left = loss >= UInt64(fixed) ? 0 : UInt64(fixed) - loss
        return AbsoluteSum(word: left << 32 | UInt64(goods))
    }

    /// The sum after one error more.
    public func afterError(goods: Int) -> AbsoluteSum {
        let sum = now(goods: goods)
        let (next, overflow) = sum.fixed.addingReportingOverflow(AbsoluteSum.rise)
        return AbsoluteSum(word: UInt64(overflow ? .max : next) << 32 | sum.word & 0xffff_ffff)
    }
}
