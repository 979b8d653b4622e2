import Base
import Routing
import Telemetry
import Upstream

/// What outlives snapshots, by name: draws, the shared state of clusters and endpoints, metric
/// rows.
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
    private var random: PRNG
    private var used: Set<String> = []

    /// - Parameter seed: of all draws; random for a process, fixed for tests and replays.
    public init(metrics: MetricRegistry, seed: UInt64) {
        self.metrics = metrics
        random = PRNG(seed: seed)
    }

    deinit {
        for box in draws.values { box.release() }
        for box in clusters.values { box.release() }
        for box in endpoints.values { box.release() }
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

    /// Forgets draws of routes that the last snapshots did not name.
    func beginSnapshot() { used = [] }
    func endSnapshot() {
        for (route, box) in draws where !used.contains(route) {
            box.release()
            draws[route] = nil
        }
    }

    func cluster(_ spec: ClusterSpec) -> Cluster {
        let id = metrics.cluster(service: spec.service, version: spec.version)
        let state: SharedBox<ClusterState>
        if let held = clusters[id] {
            state = held
        } else {
            state = SharedBox(ClusterState(id: id))
            clusters[id] = state
        }
        let boxes = spec.endpoints.map { address in
            let key = EndpointKey(cluster: id, address: address)
            if let held = endpoints[key] { return held }
            let box = SharedBox(EndpointState(id: endpoints.count, address: address))
            endpoints[key] = box
            return box
        }
        return Cluster(spec, state: state, endpoints: boxes)
    }

    /// Lays out pages of all draws that are in use, ahead of need.
    public func layOutAhead() {
        for box in draws.values { box.value.layOutAhead() }
    }
}
