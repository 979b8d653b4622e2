import Base
import Routing
import Telemetry
import Upstream

/// State that outlives snapshots, by name: draws, the shared state of clusters and endpoints,
/// metric rows.
///
/// One thread at a time compiles snapshots with it; any thread may ask for levels and lay out pages
/// meanwhile. Each call takes a lock for as long as it looks a name up: none is held while a
/// snapshot is compiled or a page laid out. What is handed out is shared by reference count.
public final class SharedRegistry: Sendable {
    public let metrics: MetricRegistry
    private let state: Lock<State>

    private struct EndpointKey: Hashable {
        var cluster: Int
        var address: Address
    }

    private struct State {
        var draws: [String: SharedBox<Draws>] = [:]
        var clusters: [Int: SharedBox<ClusterState>] = [:]
        var endpoints: [EndpointKey: SharedBox<EndpointState>] = [:]
        var rateLimits: [String: SharedBox<RateLimit>] = [:]
        var random: PRNG
        /// Routes that the snapshot under way names.
        var used: Set<String> = []
        /// Numbers of endpoints that the snapshot under way names.
        var named: Set<Int> = []
        /// Numbers of endpoints that nobody knows any more.
        var freeNumbers: [Int] = []
        var nextNumber = 0
        var now = Instant(nanoseconds: 0)
        var isFirst = true
    }

    /// - Parameter seed: of all draws, places of new sessions and keys of rate limits; random for a
    ///   process, fixed for tests and replays.
    public init(metrics: MetricRegistry, seed: UInt64) {
        self.metrics = metrics
        state = Lock(State(random: PRNG(seed: seed)))
    }

    deinit {
        state.withLock { state in
            for box in state.draws.values { box.release() }
            for box in state.clusters.values { box.release() }
            for box in state.endpoints.values { box.release() }
            for box in state.rateLimits.values { box.release() }
        }
    }

    /// The draws of a route's split, with a reference for the caller: the same counter and seed as
    /// before while the weights stay, a new block when they change.
    func draws(route: String, weights: SplitWeights) -> SharedBox<Draws> {
        state.withLock { state in
            state.used.insert(route)
            if let held = state.draws[route] {
                if held.value.weights == weights {
                    held.retain()
                    return held
                }
                held.release()
            }
            let box = SharedBox(Draws(weights: weights, seed: state.random.next()))
            state.draws[route] = box
            box.retain()
            return box
        }
    }

    /// The buckets of a route, with a reference for the caller; kept while the policy stays.
    func rateLimit(route: String, _ policy: RateLimitPolicy) -> SharedBox<RateLimit> {
        state.withLock { state in
            state.used.insert(route)
            if let held = state.rateLimits[route] {
                if held.value.policy == policy {
                    held.retain()
                    return held
                }
                held.release()
            }
            let box = SharedBox(RateLimit(policy, seed: state.random.next()))
            state.rateLimits[route] = box
            box.retain()
            return box
        }
    }

    /// Begins to note what the next snapshot names.
    func beginSnapshot(now: Instant, isFirst: Bool) {
        state.withLock { state in
            state.now = now
            state.isFirst = isFirst
            state.used = []
            state.named = []
        }
    }

    /// Forgets draws and buckets of routes that the snapshot does not name, and endpoints that
    /// nobody names any more.
    func endSnapshot() {
        state.withLock { state in
            for (route, box) in state.draws where !state.used.contains(route) {
                box.release()
                state.draws[route] = nil
            }
            for (route, box) in state.rateLimits where !state.used.contains(route) {
                box.release()
                state.rateLimits[route] = nil
            }
            SharedRegistry.forgetEndpoints(&state)
        }
    }

    func cluster(_ spec: ClusterSpec) -> Cluster {
        let (id, isNew) = metrics.hold(
            service: spec.service, version: spec.version, isMirror: spec.isMirror)
        return state.withLock { state in
            let held: SharedBox<ClusterState>
            if let known = state.clusters[id] {
                held = known
                if isNew { held.value.beginAnew() }
            } else {
                held = SharedBox(ClusterState(id: id))
                state.clusters[id] = held
            }
            let boxes = spec.endpoints.map {
                SharedRegistry.endpoint($0, of: held, spec, &state)
            }
            return Cluster(spec, state: held, endpoints: boxes)
        }
    }

    private static func endpoint(
        _ address: Address, of cluster: SharedBox<ClusterState>, _ spec: ClusterSpec,
        _ state: inout State
    ) -> SharedBox<EndpointState> {
        let key = EndpointKey(cluster: cluster.value.id, address: address)
        let box: SharedBox<EndpointState>
        if let held = state.endpoints[key] {
            box = held
            // What no longer looks at it holds nothing against it.
            if spec.outlier == nil { box.value.pardon(cluster: cluster.value) }
            if spec.healthCheck == nil { box.value.forgetChecks() }
        } else {
            box = SharedBox(EndpointState(id: takeNumber(&state), address: address))
            state.endpoints[key] = box
            // Those that the process begins with are as warm as any.
            if spec.warmup != nil, !state.isFirst { box.value.warm(state.now) }
        }
        state.named.insert(box.value.id)
        return box
    }

    private static func takeNumber(_ state: inout State) -> Int {
        if let number = state.freeNumbers.popLast() { return number }
        state.nextNumber += 1
        return state.nextNumber - 1
    }

    /// Forgets endpoints that no snapshot, exchange or probe knows any more; their numbers go to
    /// the next that come, so that the workers' tables do not grow with every pod there ever was.
    private static func forgetEndpoints(_ state: inout State) {
        let others = state.endpoints.filter { !state.named.contains($0.value.value.id) }
        for (key, box) in others.sorted(by: { $0.value.value.id < $1.value.value.id }) {
            if let cluster = state.clusters[key.cluster] {
                box.value.pardon(cluster: cluster.value)
            }
            guard box.isUnique else { continue }
            state.freeNumbers.append(box.value.id)
            state.endpoints[key] = nil
            box.release()
        }
    }

    /// Lets go of series that have left the page, as far as nobody uses their rows and clusters. On
    /// the thread that compiles.
    ///
    /// The shared state of a cluster stays in its place, for the next that gets the number.
    ///
    /// - Parameter shards: of all workers.
    /// - Returns: what was forgotten.
    public func forget(
        _ hidden: MetricRegistry.Selection, _ shards: [CounterShard]
    ) -> MetricRegistry.Selection {
        var selection = hidden
        selection.clusters = state.withLock { state in
            let known = Set(state.endpoints.keys.map(\.cluster))
            return hidden.clusters.filter { id in
                guard let box = state.clusters[id] else { return true }
                return box.isUnique && box.value.isIdle && !known.contains(id)
            }
        }
        return metrics.forget(selection, shards)
    }

    /// Places taken of all clusters' limits, by name of the limit.
    public var held: [String: Int] {
        var sums = ["connections": 0, "requests": 0, "pending": 0, "retries": 0]
        for cluster in state.withLock({ Array($0.clusters.values) }) {
            sums["connections", default: 0] += cluster.value.connectionCount
            sums["requests", default: 0] += cluster.value.requestCount
            sums["pending", default: 0] += cluster.value.pendingCount
            sums["retries", default: 0] += cluster.value.retryCount
        }
        return sums
    }

    /// Places taken of one cluster's limits, over all workers.
    public func level(ofCluster id: Int) -> ClusterLevel? {
        guard let cluster = state.withLock({ $0.clusters[id] }) else { return nil }
        return ClusterLevel(
            connections: cluster.value.connectionCount, requests: cluster.value.requestCount,
            pending: cluster.value.pendingCount, retries: cluster.value.retryCount)
    }

    /// Lays out the next pages of one split that is in use and lacks them, ahead of need. A page
    /// takes about a millisecond, so that whoever has other work does one split at a time.
    /// - Returns: whether another split waits.
    @discardableResult public func layOutAhead() -> Bool {
        let due = state.withLock { state in
            var due: [SharedBox<Draws>] = []
            for box in state.draws.values where box.value.lacksPages {
                box.retain()
                due.append(box)
                if due.count == 2 { break }
            }
            return due
        }
        due.first?.value.layOutAhead()
        for box in due { box.release() }
        return due.count == 2
    }
}

/// Places taken of a cluster's limits.
public struct ClusterLevel: Sendable, Equatable {
    public var connections: Int
    public var requests: Int
    public var pending: Int
    public var retries: Int
}
