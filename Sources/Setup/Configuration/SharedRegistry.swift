import Base
import Routing
import Telemetry
import Upstream

/// State that outlives snapshots, by name: draws, the shared state of clusters and endpoints,
/// metric rows.
///
/// Confined to the thread that compiles snapshots; what it hands out is shared by reference count.
public final class SharedRegistry {
    public let metrics: MetricRegistry
    private var draws: [String: SharedBox<Draws>] = [:]
    private var clusters: [Int: SharedBox<ClusterState>] = [:]
    private struct EndpointKey: Hashable {
        var cluster: Int
        var address: Address
    }
    private var endpoints: [EndpointKey: SharedBox<EndpointState>] = [:]
    private var rateLimits: [String: SharedBox<RateLimit>] = [:]
    private var random: PRNG
    private var used: Set<String> = []
    /// Numbers of the endpoints that the snapshot under way names.
    private var named: Set<Int> = []
    /// Numbers that nobody knows any more.
    private var freeNumbers: [Int] = []
    private var nextNumber = 0
    private var now = Instant(nanoseconds: 0)
    private var isFirst = true

    /// - Parameter seed: of all draws, places of new sessions and keys of rate limits; random for a
    ///   process, fixed for tests and replays.
    public init(metrics: MetricRegistry, seed: UInt64) {
        self.metrics = metrics
        random = PRNG(seed: seed)
    }

    deinit {
        for box in draws.values { box.release() }
        for box in clusters.values { box.release() }
        for box in endpoints.values { box.release() }
        for box in rateLimits.values { box.release() }
    }

    /// The draws of a route's split, with a reference for the caller: the same counter and seed as
    /// before while the weights stay, a new block when they change.
    func draws(route: String, weights: SplitWeights) -> SharedBox<Draws> {
        used.insert(route)
        if let held = draws[route] {
            if held.value.weights == weights {
                held.retain()
                return held
            }
            held.release()
        }
        let box = SharedBox(Draws(weights: weights, seed: random.next()))
        draws[route] = box
        box.retain()
        return box
    }

    /// The buckets of a route, with a reference for the caller; kept while the policy stays.
    func rateLimit(route: String, _ policy: RateLimitPolicy) -> SharedBox<RateLimit> {
        used.insert(route)
        if let held = rateLimits[route] {
            if held.value.policy == policy {
                held.retain()
                return held
            }
            held.release()
        }
        let box = SharedBox(RateLimit(policy, seed: random.next()))
        rateLimits[route] = box
        box.retain()
        return box
    }

    /// Forgets draws and buckets of routes that the last snapshots did not name.
    func beginSnapshot(now: Instant, isFirst: Bool) {
        self.now = now
        self.isFirst = isFirst
        used = []
        named = []
    }

    func endSnapshot() {
        for (route, box) in draws where !used.contains(route) {
            box.release()
            draws[route] = nil
        }
        for (route, box) in rateLimits where !used.contains(route) {
            box.release()
            rateLimits[route] = nil
        }
        forgetEndpoints()
    }

    func cluster(_ spec: ClusterSpec) -> Cluster {
        let id = metrics.cluster(
            service: spec.service, version: spec.version, isMirror: spec.isMirror)
        let state: SharedBox<ClusterState>
        if let held = clusters[id] {
            state = held
        } else {
            state = SharedBox(ClusterState(id: id))
            clusters[id] = state
        }
        let boxes = spec.endpoints.map { endpoint($0, of: state, spec) }
        return Cluster(spec, state: state, endpoints: boxes)
    }

    private func endpoint(
        _ address: Address, of cluster: SharedBox<ClusterState>, _ spec: ClusterSpec
    ) -> SharedBox<EndpointState> {
        let key = EndpointKey(cluster: cluster.value.id, address: address)
        let box: SharedBox<EndpointState>
        if let held = endpoints[key] {
            box = held
            // What no longer looks at it holds nothing against it.
            if spec.outlier == nil { box.value.pardon(cluster: cluster.value) }
            if spec.healthCheck == nil { box.value.forgetChecks() }
        } else {
            box = SharedBox(EndpointState(id: takeNumber(), address: address))
            endpoints[key] = box
            // Those that the process begins with are as warm as any.
            if spec.warmup != nil, !isFirst { box.value.warm(now) }
        }
        named.insert(box.value.id)
        return box
    }

    private func takeNumber() -> Int {
        if let number = freeNumbers.popLast() { return number }
        nextNumber += 1
        return nextNumber - 1
    }

    /// Forgets endpoints that no snapshot, exchange or probe knows any more; their numbers go to
    /// the next that come, so that the workers' tables do not grow with every pod there ever was.
    private func forgetEndpoints() {
        let others = endpoints.filter { !named.contains($0.value.value.id) }
        for (key, box) in others.sorted(by: { $0.value.value.id < $1.value.value.id }) {
            if let cluster = clusters[key.cluster] { box.value.pardon(cluster: cluster.value) }
            guard box.isUnique else { continue }
            freeNumbers.append(box.value.id)
            endpoints[key] = nil
            box.release()
        }
    }

    /// Places taken of all clusters' limits, by name of the limit.
    public var held: [String: Int] {
        var sums = ["connections": 0, "requests": 0, "pending": 0, "retries": 0]
        for state in clusters.values {
            sums["connections", default: 0] += state.value.connectionCount
            sums["requests", default: 0] += state.value.requestCount
            sums["pending", default: 0] += state.value.pendingCount
            sums["retries", default: 0] += state.value.retryCount
        }
        return sums
    }

    /// Places taken of one cluster's limits, over all workers.
    public func level(ofCluster id: Int) -> ClusterLevel? {
        guard let state = clusters[id] else { return nil }
        return ClusterLevel(
            connections: state.value.connectionCount, requests: state.value.requestCount,
            pending: state.value.pendingCount, retries: state.value.retryCount)
    }

    /// Lays out pages of all draws that are in use, ahead of need.
    public func layOutAhead() {
        for box in draws.values { box.value.layOutAhead() }
    }
}

/// Places taken of a cluster's limits.
public struct ClusterLevel: Sendable, Equatable {
    public var connections: Int
    public var requests: Int
    public var pending: Int
    public var retries: Int
}
