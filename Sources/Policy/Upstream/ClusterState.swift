import Base
import Synchronization

/// State of one cluster that all workers share: how much of its limits is taken, and who waits.
public struct ClusterState: ~Copyable, Sendable {
    public let id: Int
    private let connections: Atomic<Int>
    /// Requests in flight in the lower 20 bits, all that ever began above them.
    private let requests: Atomic<UInt64>
    private let pending: Atomic<Int>
    private let retries: Atomic<Int>
    /// The part of the retry budget that is spent, on the budget's scale.
    private let spent: Atomic<Int64>
    private let ejected: Atomic<Int>
    /// Bit n: worker n has requests waiting for a connection.
    private let waiting: Atomic<UInt64>
    /// Requests in a row for which no endpoint could be reached.
    private let unreached = Atomic<Int>(0)

    public init(id: Int) {
        self.id = id
        connections = Atomic(0)
        requests = Atomic(0)
        pending = Atomic(0)
        retries = Atomic(0)
        spent = Atomic(.min)
        ejected = Atomic(0)
        waiting = Atomic(0)
    }

    /// Nothing is under way, waits or is held against an endpoint.
    public var isIdle: Bool {
        connectionCount == 0 && requestCount == 0 && pendingCount == 0 && retryCount == 0
            && ejectedCount == 0 && waiters == 0
    }

    /// The number is another cluster's from now on; nothing is under way.
    public func beginAnew() {
        requests.store(0, ordering: .relaxed)
        spent.store(.min, ordering: .relaxed)
    }

    private func take(_ counter: borrowing Atomic<Int>, max: Int) -> Bool {
        if counter.wrappingAdd(1, ordering: .relaxed).oldValue < max { return true }
        counter.wrappingSubtract(1, ordering: .relaxed)
        return false
    }

    /// Takes a place among the cluster's connections, or `false` at the limit.
    public func takeConnection(max: Int) -> Bool { take(connections, max: max) }
    public func freeConnection() { connections.wrappingSubtract(1, ordering: .relaxed) }

    // MARK: Requests

    private static let inFlightBits: UInt64 = 20
    private static let inFlightMask: UInt64 = 1 << inFlightBits - 1
    /// Requests in flight that can be counted; "unlimited" ends here.
    public static let requestsMax = Int(inFlightMask) - 1_024

    public func takeRequest(max: Int) -> Bool {
        let one: UInt64 = 1 << ClusterState.inFlightBits | 1
        let before = requests.wrappingAdd(one, ordering: .relaxed).oldValue
        if Int(before & ClusterState.inFlightMask) < min(max, ClusterState.requestsMax) {
            return true
        }
        requests.wrappingSubtract(one, ordering: .relaxed)
        return false
    }

    public func freeRequest() { requests.wrappingSubtract(1, ordering: .relaxed) }

    public func takePending(max: Int) -> Bool { take(pending, max: max) }
    public func freePending() { pending.wrappingSubtract(1, ordering: .relaxed) }

    // MARK: Retries

    public enum RetryRefusal: Sendable { case limit, budget }

    /// Takes a place among the cluster's retries and a token of its budget.
    /// - Returns: what there was too little of; `nil` when the retry may go.
    public func takeRetry(max: Int, budget: RetryBudget?, now: Instant) -> RetryRefusal? {
        guard take(retries, max: max) else { return .limit }
        guard let budget else { return nil }
        let earned = budget.earned(requests: requestTotal, now: now)
        var held = spent.load(ordering: .relaxed)
        if held > 0, budget.isForeign(held, earned: earned) {
            _ = spent.compareExchange(expected: held, desired: earned, ordering: .relaxed)
            held = spent.load(ordering: .relaxed)
        }
        while let next = budget.spend(held, earned: earned) {
            let result = spent.compareExchange(expected: held, desired: next, ordering: .relaxed)
            if result.exchanged { return nil }
            held = result.original
        }
        retries.wrappingSubtract(1, ordering: .relaxed)
        return .budget
    }

    public func freeRetry() { retries.wrappingSubtract(1, ordering: .relaxed) }

    /// Retries that the budget would allow now.
    public func retriesLeft(_ budget: RetryBudget, now: Instant) -> Int {
        budget.left(
            spent.load(ordering: .relaxed),
            earned: budget.earned(requests: requestTotal, now: now))
    }

    // MARK: Ejections

    /// Takes a place among the ejections. Nobody ever sees more of them than allowed, as somebody
    /// would where a place is counted first and given back.
    func takeEjection(max: Int) -> Bool {
        var seen = ejectedCount
        while seen < max {
            let exchange = ejected.weakCompareExchange(
                expected: seen, desired: seen + 1, ordering: .relaxed)
            if exchange.exchanged { return true }
            seen = exchange.original
        }
        return false
    }

    func freeEjection() { ejected.wrappingSubtract(1, ordering: .relaxed) }

    // MARK: Reaching

    /// Counts a request for which no endpoint could be reached.
    /// - Returns: how many there were in a row, without a connect between that succeeded.
    public func noteUnreached() -> Int {
        unreached.wrappingAdd(1, ordering: .relaxed).newValue
    }

    /// A connect to an endpoint has succeeded. Writes only where that is news.
    public func noteReached() {
        if unreached.load(ordering: .relaxed) != 0 { unreached.store(0, ordering: .relaxed) }
    }

    // MARK: Waiting

    /// The order matters: a worker says that it waits before it looks for a free place once more,
    /// and one that frees a place looks for waiters afterwards.
    public func wait(worker: Int) {
        waiting.bitwiseOr(1 << UInt64(worker), ordering: .sequentiallyConsistent)
    }
    public func stopWaiting(worker: Int) {
        waiting.bitwiseAnd(~(1 << UInt64(worker)), ordering: .sequentiallyConsistent)
    }
    /// Workers that wait, a bit each.
    public var waiters: UInt64 { waiting.load(ordering: .sequentiallyConsistent) }

    public var connectionCount: Int { connections.load(ordering: .relaxed) }
    public var requestCount: Int {
        Int(requests.load(ordering: .relaxed) & ClusterState.inFlightMask)
    }
    /// Requests that ever began.
    public var requestTotal: UInt64 {
        requests.load(ordering: .relaxed) >> ClusterState.inFlightBits
    }
    public var pendingCount: Int { pending.load(ordering: .relaxed) }
    public var retryCount: Int { retries.load(ordering: .relaxed) }
    public var ejectedCount: Int { ejected.load(ordering: .relaxed) }
}
