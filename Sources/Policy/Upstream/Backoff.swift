import Base

/// Waiting times of the probes that bring a refused endpoint back: 100 ms, doubling to 2 s.
public struct ProbeBackoff: BitwiseCopyable, Sendable {
    public static let first = Duration.milliseconds(100)
    public static let last = Duration.seconds(2)

    private var next = ProbeBackoff.first

    public init() {}

    /// Returns the time until the next probe, and makes the one after longer.
    public mutating func advance() -> Duration {
        defer { next = min(.nanoseconds(next.nanoseconds * 2), ProbeBackoff.last) }
        return next
    }
}

/// Waiting times in front of retries: anything up to `base`, then up to twice that, and so on to
/// `longest`, drawn evenly so that requests that failed together do not come back together.
public struct RetryBackoff: BitwiseCopyable, Sendable, Equatable {
    public var base = Duration.milliseconds(25)
    public var longest = Duration.milliseconds(250)

    public init() {}

    /// The wait in front of a retry, the first of them 1.
    public func wait(before retry: Int, random: inout PRNG) -> Duration {
        guard base > .zero else { return .zero }
        let doublings = Int64(1) << Int64(min(max(0, retry - 1), 30))
        let (product, overflow) = base.nanoseconds.multipliedReportingOverflow(by: doublings)
        let most = overflow ? longest : min(max(base, longest), .nanoseconds(product))
        return .nanoseconds(Int64(random.below(UInt64(most.nanoseconds) + 1)))
    }
}
