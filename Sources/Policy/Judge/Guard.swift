import Glibc

/// The guard's rule: a sum over the errors of two versions that grows while the errors fall on the
/// canary more often than its share of the requests explains, and a limit that the sum must reach.
/// The sum is a CUSUM of log-likelihood ratios (Page 1954).
///
///                            error of the canary: + ln( r / (1 + w (r - 1)) )
///     sum, never below 0  <
///                            error of the stable version: - ln( 1 + w (r - 1) )
///
/// w is the canary's share, 0...1, and r the ratio that is looked for: the canary's rate of errors
/// is r times the stable version's. A good answer is no event, and if both versions fail alike the
/// sum does not grow, whatever their rate is.
public enum Guard {
    /// The sum of a healthy canary reaches ln 100,000 once in some 100,000 errors.
    public static let firstLimit = 11.512_925_464_970_229  // ln 100,000

    /// The canary's share up to which the errors of the stable version tell enough.
    public static let shareMax = 0.9

    /// The ratio of error rates that is looked for when nobody says.
    public static let ratio = 10.0

    /// The step up that an error of the canary makes.
    public static func rise(share: Double, ratio: Double) -> Double {
        log(ratio / (1 + share * (ratio - 1)))
    }

    /// The step down that an error of the stable version makes.
    public static func fall(share: Double, ratio: Double) -> Double {
        log(1 + share * (ratio - 1))
    }

    /// The limit after so many errors of both versions. The limit grows, so that the chance that a
    /// healthy canary is ever tripped stays about 1 %; a fixed one trips about once a day at ten
    /// errors a second.
    public static func limit(errors: Int) -> Double {
        firstLimit + 2 * log1p(Double(errors) / 1_000)
    }
}

/// The steps of a `GuardSum`, in its fixed point: plain numbers, made when weights change.
public struct GuardSteps: BitwiseCopyable, Sendable, Equatable {
    /// Fractional bits of sums, steps and limits.
    public static let fractionBits = 24

    public let rise: UInt32
    public let fall: UInt32

    /// - Parameters:
    ///   - share: the canary's part of the requests of the two versions, 0...`Guard.shareMax`.
    ///   - ratio: above 1.
    public init(share: Double, ratio: Double) {
        let scale = Double(1 << GuardSteps.fractionBits)
        // Rounded against a trip, so that the real sum is never overstated.
        rise = UInt32(max(0, (Guard.rise(share: share, ratio: ratio) * scale).rounded(.down)))
        fall = UInt32((Guard.fall(share: share, ratio: ratio) * scale).rounded(.up))
    }

    /// Both steps in one word, for an atomic.
    public var word: UInt64 { UInt64(rise) << 32 | UInt64(fall) }

    public init(word: UInt64) {
        rise = UInt32(truncatingIfNeeded: word >> 32)
        fall = UInt32(truncatingIfNeeded: word)
    }
}

/// The guard's sum and the number of errors that it has seen, in one word, so that one atomic holds
/// both and workers can share it by compare and exchange.
public struct GuardSum: BitwiseCopyable, Sendable, Equatable {
    /// The sum in the upper half, in the fixed point of `GuardSteps`; errors in the lower.
    public private(set) var word: UInt64

    public init(word: UInt64 = 0) { self.word = word }

    private init(fixed: UInt32, errors: UInt32) { word = UInt64(fixed) << 32 | UInt64(errors) }

    private var fixed: UInt32 { UInt32(truncatingIfNeeded: word >> 32) }

    /// Errors of both versions so far; stays at 2^32 - 1.
    public var errors: Int { Int(UInt32(truncatingIfNeeded: word)) }

    public var value: Double { Double(fixed) / Double(1 << GuardSteps.fractionBits) }

    /// The limit that the sum is compared with.
    public var limit: Double { Guard.limit(errors: errors) }

    /// The sum after an error of the canary.
    public func afterCanary(_ steps: GuardSteps) -> GuardSum {
        let (sum, overflow) = fixed.addingReportingOverflow(steps.rise)
        return GuardSum(fixed: overflow ? .max : sum, errors: counted(1))
    }

    /// The sum after errors of the stable version, one by default.
    public func afterStable(_ steps: GuardSteps, errors: Int = 1) -> GuardSum {
        let (loss, overflow) = UInt64(steps.fall).multipliedReportingOverflow(by: UInt64(errors))
        let left = overflow || loss >= UInt64(fixed) ? 0 : UInt64(fixed) - loss
        return GuardSum(fixed: UInt32(left), errors: counted(errors))
    }

    private func counted(_ more: Int) -> UInt32 {
        UInt32(clamping: errors + min(more, Int(UInt32.max)))
    }

    /// Whether the sum has reached its limit.
    public var isReached: Bool { value >= Guard.firstLimit && value >= limit }
}
