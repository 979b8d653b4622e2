import Base
import Synchronization

/// What the workers share about one endpoint: whether it answers. Lives by (cluster, address),
/// longer than the snapshots that name it.
public struct EndpointState: ~Copyable, Sendable {
    /// Stable number of the endpoint in this process; pools are reached by it.
    public let id: Int
    public let address: Address
    private let out: Atomic<Bool>
    /// Requests and failures since start, for the admin page; relaxed.
    public let failedConnects: Atomic<UInt64>

    public init(id: Int, address: Address) {
        self.id = id
        self.address = address
        out = Atomic(false)
        failedConnects = Atomic(0)
    }

    /// Refused its last connect, and has not been seen back since.
    @inlinable public var isOut: Bool { outNow() }

    @usableFromInline func outNow() -> Bool { out.load(ordering: .relaxed) }

    /// Takes the endpoint out of the rotation. `true` for the caller that did; it owes the probes
    /// that bring it back.
    public func takeOut() -> Bool {
        failedConnects.add(1, ordering: .relaxed)
        return out.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged
    }

    public func bringBack() { out.store(false, ordering: .relaxed) }
}

/// What the workers share about one cluster: how much of its limits is taken, and who waits.
public struct ClusterState: ~Copyable, Sendable {
    public let id: Int
    private let connections: Atomic<Int>
    private let requests: Atomic<Int>
    private let pending: Atomic<Int>
    /// Bit n: worker n has requests waiting for a connection.
    private let waiting: Atomic<UInt64>

    public init(id: Int) {
        self.id = id
        connections = Atomic(0)
        requests = Atomic(0)
        pending = Atomic(0)
        waiting = Atomic(0)
    }

    private func take(_ counter: borrowing Atomic<Int>, max: Int) -> Bool {
        if counter.wrappingAdd(1, ordering: .relaxed).oldValue < max { return true }
        counter.wrappingSubtract(1, ordering: .relaxed)
        return false
    }

    /// Takes a place among the cluster's connections, or `false` at the limit.
    public func takeConnection(max: Int) -> Bool { take(connections, max: max) }
    public func freeConnection() { connections.wrappingSubtract(1, ordering: .relaxed) }

    public func takeRequest(max: Int) -> Bool { take(requests, max: max) }
    public func freeRequest() { requests.wrappingSubtract(1, ordering: .relaxed) }

    public func takePending(max: Int) -> Bool { take(pending, max: max) }
    public func freePending() { pending.wrappingSubtract(1, ordering: .relaxed) }

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
    public var requestCount: Int { requests.load(ordering: .relaxed) }
    public var pendingCount: Int { pending.load(ordering: .relaxed) }
}
