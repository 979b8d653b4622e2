import Base

/// How many retries a version may have: a share of its requests and some a second besides, as a
/// token bucket that all workers draw from.
///
/// Any span of time has at most `perRequest` × its requests + `perSecond` × (its seconds + 10)
/// retries, so that a version whose every answer is an error gets hardly more load than its clients
/// give it.
public struct RetryBudget: Sendable, BitwiseCopyable, Equatable {
    /// Tokens that a request earns, in hundredths of a percent of one: 2,000 is a fifth.
    public var perRequest = 2_000
    /// The number of tokens that a second earns.
    public var perSecond = 10

    public init() {}
    public init(perRequest: Int, perSecond: Int) {
        self.perRequest = perRequest
        self.perSecond = perSecond
    }

    /// The size of one token on the budget's scale.
    static let token: Int64 = 10_000
    /// Seconds of `perSecond` that an unused bucket holds.
    static let reserveSeconds: Int64 = 10

    /// Everything that was ever earned; grows with requests and time.
    func earned(requests: UInt64, now: Instant) -> Int64 {
        RetryBudget.product(now.nanoseconds / 100_000, perSecond)
            + RetryBudget.product(requests, perRequest)
    }

    /// The product, at most half of what the type holds, so that two may be added.
    private static func product(_ a: UInt64, _ b: Int) -> Int64 {
        let (product, overflow) = a.multipliedReportingOverflow(by: UInt64(max(0, b)))
        let limit = UInt64(Int64.max / 2)
        return Int64(overflow ? limit : min(product, limit))
    }

    /// The most that a bucket holds.
    var capacity: Int64 {
        max(Int64(perSecond) * RetryBudget.reserveSeconds, 1) * RetryBudget.token
    }

    /// Where a bucket stands after one more retry, or `nil` when it is empty.
    /// - Parameter spent: where it stood, on the scale of `earned`.
    func spend(_ spent: Int64, earned: Int64) -> Int64? {
        if perRequest == 0, perSecond == 0 { return nil }
        let from = max(spent, earned - capacity)
        return earned - from >= RetryBudget.token ? from + RetryBudget.token : nil
    }

    /// Whether a bucket stands so far ahead of everything earned that another budget was in force
    /// when it came there: no debt of this one's.
    func isForeign(_ spent: Int64, earned: Int64) -> Bool { spent - capacity > earned }

    /// Tokens that are left, rounded down.
    func left(_ spent: Int64, earned: Int64) -> Int {
        let from = max(min(spent, earned), earned - capacity)
        return Int((earned - from) / RetryBudget.token)
    }
}
