import Base
import Evidence
import Rollout
import Routing
import Telemetry
import Upstream

/// State that outlives snapshots, by name: draws, the shared state of clusters and endpoints,
/// evidence and the guard's, metric rows.
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
        var epochs = EpochBook()
        var evidence: EvidenceBook
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
    /// - Parameter workers: how many worker threads count evidence; their numbers are below it.
    public init(metrics: MetricRegistry, seed: UInt64, workers: Int = 2) {
        self.metrics = metrics
        state = Lock(
            State(evidence: EvidenceBook(workers: workers), random: PRNG(seed: seed)))
    }

    deinit {
        state.withLock { state in
            for box in state.draws.values { box.release() }
            for box in state.clusters.values { box.release() }
            for box in state.endpoints.values { box.release() }
            for box in state.rateLimits.values { box.release() }
            state.evidence.close()
        }
    }

    /// Draws that are nobody's split, such as a fault's or a mirror's; kept as a split's are.
    func draws(route: String, weights: SplitWeights) -> SharedBox<Draws> {
        state.withLock { SharedRegistry.draws(route: route, weights: weights, &$0) }
    }

    /// The draws of a service's split, with a reference for the caller: the same counter and seed
    /// as before while the weights stay, a new block when they change.
    func draws(
        split route: String, of service: String, weights: SplitWeights
    ) -> SharedBox<Draws> {
        state.withLock { state in
            state.epochs.note(split: route, of: service, weights)
            return SharedRegistry.draws(route: route, weights: weights, &state)
        }
    }

    private static func draws(
        route: String, weights: SplitWeights, _ state: inout State
    ) -> SharedBox<Draws> {
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

    // MARK: Epochs

    /// A service of the snapshot under way, before its splits.
    func noteEpoch(of service: Document.Service) {
        let ground = EpochBook.Ground(service)
        state.withLock { $0.epochs.note(service: service.name, ground) }
    }

    /// The snapshot's splits are all known: services that place requests or sessions differently
    /// begin an epoch.
    ///
    /// - Parameter isWhole: whether every service and split was named, and not only splits whose
    ///   weights differ.
    /// - Returns: the epoch of each service.
    func epochs(of services: [Document.Service], isWhole: Bool) -> [UInt64] {
        state.withLock { state in
            state.epochs.end(isWhole: isWhole)
            return services.map { state.epochs.number(of: $0.name) }
        }
    }

    // MARK: Evidence

    /// A snapshot is compiled from here on, at this time.
    func note(now: Instant) { state.withLock { $0.now = now } }

    /// Gives a split the evidence of its epoch and the guard's sums, each with a reference for the
    /// caller. A service of one version has nothing to compare, and gets neither.
    func attach(
        _ split: inout Snapshot.SplitPlan, route: String, _ service: Document.Service,
        epoch: UInt64
    ) {
        split.epoch = epoch
        guard service.versions.count > 1 else { return }
        let subject = EpochEvidence.Subject(
            route: route, service: service.name, versions: service.versions.map(\.name),
            weights: split.draws.value.weights.weights, stable: service.stable,
            isSticky: service.sticky != nil)
        let ratio = service.guardRatio.map { Double($0) }
        (split.evidence, split.errors) = state.withLock { state in
            (
                state.evidence.evidence(subject, epoch: epoch, now: state.now),
                state.evidence.guardian(subject, epoch: epoch, ratio: ratio)
            )
        }
    }

    /// Where requests are counted that a service's stage rules take, with a reference for the
    /// caller.
    func matched(_ service: Document.Service) -> SharedBox<EpochEvidence> {
        state.withLock { $0.evidence.matched(service, now: $0.now) }
    }

    /// The latch of a version, with a reference for the caller.
    func latch(service: String, version: String) -> SharedBox<VersionLatch> {
        state.withLock { $0.evidence.latch(service: service, version: version) }
    }

    /// The evidence of all splits, and the guard's sums, as they are now.
    public func evidenceReports() -> [SplitReport] { state.withLock { $0.evidence.reports() } }

    /// The sessions of sticky services, as sets of places, sorted by service and epoch: those that
    /// `evidenceSample` shows the judge, and copied behind the lock as there.
    public func sessionsReports() -> [SessionsReport] {
        state.withLock { $0.evidence.pendingSessions() }.map { $0.finished() }
    }

    /// One look at two versions of a service for the judge of its rollout; `nil` where no split has
    /// both. Everybody else waits only while counters are read; the places of sessions are copied
    /// behind the lock.
    public func evidenceSample(_ question: EvidenceQuestion, now: Instant) -> EvidenceSample? {
        let found = state.withLock { state in
            let found = state.evidence.sample(question, now: now)
            found?.places?.retain()
            return found
        }
        guard var found else { return nil }
        if let places = found.places {
            found.addSessions(places.value.sets())
            places.release()
        }
        return found.sample
    }

    /// Requests that ended after the two epochs that evidence is kept of, by route.
    public func lostEvidence() -> [(route: String, lost: Int)] {
        state.withLock { $0.evidence.losses() }
    }

    /// The latches of all versions that there were since the start.
    public func latchReports() -> [LatchReport] { state.withLock { $0.evidence.latchReports() } }

    /// Lets versions of a service in again that the guard has taken out, and begins their sums
    /// anew.
    /// - Returns: the names of those that were out.
    public func resetGuard(service: String) -> [String] {
        state.withLock { $0.evidence.reset(service: service) { _, _ in true } }
    }

    /// Lets versions of a service in again whose trip count is still the one that the decision to
    /// do so knew of.
    /// - Returns: the names of those that were out.
    public func resetGuard(service: String, ifTripCounts counts: [String: Int]) -> [String] {
        state.withLock { $0.evidence.reset(service: service) { counts[$0] == $1 } }
    }

    /// A configuration is in force in all workers: trips end whose work it does, because it gives
    /// the version no weight, or because the service has no guard any more; and those of a version
    /// that is the stable one now, which the guard does not look at.
    ///
    /// - Parameter only: the service to look at; `nil`: all.
    /// - Returns: services and versions whose trip has ended.
    public func settleTrips(
        _ document: Document, only: String? = nil
    ) -> [(service: String, version: String)] {
        var settled: [(service: String, version: String)] = []
        for (i, service) in document.services.enumerated()
        where only == nil || only == service.name {
            let weighted = document.weightedVersions(ofService: i)
            let versions = state.withLock { state in
                state.evidence.reset(service: service.name) { version, _ in
                    service.guardRatio == nil || !weighted.contains(version)
                        || service.versions[service.stable].name == version
                }
            }
            settled += versions.map { (service.name, $0) }
        }
        return settled
    }

    /// Takes versions out that were out in the process before. To be called behind the compilation
    /// of the first snapshot, and before any worker begins.
    ///
    /// A trip whose version is gone, has no weight any more or no guard, or is the stable one now,
    /// has ended meanwhile.
    /// - Returns: the trips that hold on.
    public func restoreTrips(_ trips: [Overlay.Trip], _ document: Document) -> [Overlay.Trip] {
        trips.filter { trip in
            guard let i = document.services.firstIndex(where: { $0.name == trip.service }),
                document.services[i].guardRatio != nil,
                document.services[i].versions[document.services[i].stable].name != trip.version,
                document.weightedVersions(ofService: i).contains(trip.version)
            else { return false }
            state.withLock { $0.evidence.restore(trip) }
            return true
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
            state.epochs.begin()
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
            state.evidence.keep(only: state.used)
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
