import Base
import Configuration
import Evidence
import Proxy
import Telemetry

/// The things that all workers of a simulated process share: the clock and chance, the network and its
/// origins, and what workers share in production.
final class Nature {
    var now = Instant(nanoseconds: 1_000_000_000)
    let seed: UInt64
    var random: PRNG
    var faults = World.Faults()
    var origins: [Address: SimulatedOrigin] = [:]
    let metrics = MetricRegistry()
    let registry: SharedRegistry
    private(set) var snapshot: SharedBox<Snapshot>
    /// The document as the file has it, the overlay over it, and what came of the two.
    private(set) var file: Document
    private(set) var overlay = Overlay()
    private(set) var sources: [OverlayMerge.Source] = []
    /// In the order of their numbers. They hold this, and whoever made them holds them.
    private var members: [Member] = []
    var workers: [World] { members.map(\.world) }
    /// All workers are in a turn.
    private var isInTurn = false
    private var agenda = Agenda()
    private var scheduled = 0
    /// Stops a world that never comes to rest.
    var stepsMax = 3_000_000

    init(seed: UInt64, yaml: String, origins: [SimulatedOrigin]) {
        self.seed = seed
        random = PRNG(seed: seed)
        registry = SharedRegistry(metrics: metrics, seed: seed)
        file = Nature.document(yaml)
        for listener in file.listeners { _ = metrics.listener(listener.name) }
        snapshot = SnapshotCompiler.compile(
            file, .init(generation: 1, hash: "0"), registry: registry)
        for origin in origins { self.origins[origin.address] = origin }
    }

    deinit { snapshot.release() }

    private struct Member { unowned let world: World }

    func add(_ worker: World) { members.append(Member(world: worker)) }

    private static func document(_ yaml: String) -> Document {
        let reading = ConfigurationReading(Array(yaml.utf8))
        guard let document = reading.document else {
            fatalError("a valid configuration: \(reading.errors)")
        }
        return document
    }

    /// Compiles another configuration, for workers to adopt.
    func compile(yaml: String, generation: UInt64) {
        file = Nature.document(yaml)
        compile(generation: generation)
    }

    private func compile(generation: UInt64) {
        let merge = OverlayMerge(file, under: overlay)
        for (service, _, _) in merge.dropped { overlay.services[service] = nil }
        sources = merge.sources
        let next = SnapshotCompiler.compile(
            merge.document,
            .init(generation: generation, hash: "\(generation)", now: now), registry: registry)
        snapshot.release()
        snapshot = next
    }

    /// Puts weights over those of the first service of the file, as the control loop does; `nil`:
    /// the file's again.
    /// - Returns: `false` where they would raise a version that is out, and nothing changes.
    func setWeights(_ shares: [Overlay.Share]?, generation: UInt64) -> Bool {
        var next = overlay
        next.services[file.services[0].name] = shares.map {
            Overlay.Entry(shares: $0, fingerprint: file.fingerprint(ofService: 0))
        }
        let before = snapshot.value.document, merge = OverlayMerge(file, under: next)
        let out = registry.latchReports().filter(\.isTripped).map(\.version)
        let gaining = WeightChange(from: before, to: merge.document, service: 0).gaining
        guard !gaining.contains(where: { out.contains(before.services[0].versions[$0].name) })
        else { return false }
        overlay = next
        compile(generation: generation)
        return true
    }

    /// All workers use the newest snapshot.
    func settleTrips() { _ = registry.settleTrips(snapshot.value.document) }

    /// The evidence of each split of the snapshot in force.
    func holdEvidence() -> [HeldEvidence] {
        (0..<snapshot.value.splits.count).compactMap {
            snapshot.value.splits[$0].evidence.map(HeldEvidence.init)
        }
    }

    /// The snapshot in force, with a reference for whoever takes it.
    func retainedSnapshot() -> SharedBox<Snapshot> {
        snapshot.retain()
        return snapshot
    }

    var wall: WallTime { WallTime(microseconds: Int64(now.nanoseconds / 1_000)) }

    // MARK: Time

    func schedule(at time: Instant, _ step: @escaping () -> Void) {
        scheduled += 1
        agenda.insert(at: time, order: scheduled, step)
    }

    func latency() -> Duration {
        Duration(nanoseconds: Int64(random.below(UInt64(faults.latencyMax.nanoseconds) + 1)))
    }

    func run(until limit: Duration?) {
        let end = now + (limit ?? .seconds(1_000_000))
        var steps = 0
        while steps < stepsMax {
            steps += 1
            let next = workers.reduce(agenda.nextAt) { min($0, $1.nextTurn) }
            if next.isNever || next > end {
                if limit != nil { now = end }
                return
            }
            // A worker may be busy for a while; what happens meanwhile is for one turn.
            let busy = Int64(random.below(UInt64(faults.turnMax.nanoseconds) + 1))
            now = min(end, max(now, next + .nanoseconds(busy)))
            turn {
                // What these steps bring about at once is for the next turn.
                var due: [() -> Void] = []
                while agenda.nextAt <= now, let step = agenda.takeNext() { due.append(step) }
                for step in due { step() }
            }
        }
        fatalError("seed \(seed): the world does not come to rest")
    }

    /// Does something in a turn of all workers, in the order that `Driver` states for each. Of
    /// several workers any may be the first to come to the end of its turn.
    func turn(_ events: () -> Void) {
        if isInTurn { return events() }
        isInTurn = true
        for worker in workers { worker.beginTurn() }
        events()
        var order = workers
        while !order.isEmpty {
            let i = order.count == 1 ? 0 : Int(random.below(UInt64(order.count)))
            order.remove(at: i).finishTurn()
        }
        isInTurn = false
    }
}

/// The evidence of one split in one epoch, held by a test over the end of the epoch.
public final class HeldEvidence {
    private let box: SharedBox<EpochEvidence>

    init(_ box: SharedBox<EpochEvidence>) {
        box.retain()
        self.box = box
    }

    deinit { box.release() }

    public var route: String { box.value.subject.route }
    public var epoch: UInt64 { box.value.epoch }
    /// The versions' weights, divided by what they have in common.
    public var weights: [Int] { box.value.subject.weights }
    /// Requests that have ended, of all versions.
    public var requests: Int { box.value.requests }
    public func counts(version: Int) -> VersionEvidence { box.value.counts(version: version) }
}

/// A process of several workers, each with a data plane of its own, and the mail between them.
public final class SimulatedProcess {
    public let workers: [World]
    private let nature: Nature

    public init(seed: UInt64, yaml: String, origins: [SimulatedOrigin], workerCount: Int) {
        let first = World(seed: seed, yaml: yaml, origins: origins)
        nature = first.nature
        workers = [first] + (1..<workerCount).map { World(first.nature, worker: $0) }
    }

    /// A client connects: any worker takes it from the kernel's queue, and the one with the fewest
    /// connections gets it, by mail if that is another (`WorkerLoop.acceptOne`).
    ///
    /// - Parameter begin: starts the client, in the world of its worker.
    public func accept(_ begin: @escaping (World) -> Void) {
        nature.turn {
            let taker = Int(nature.random.below(UInt64(workers.count)))
            var target = taker
            for i in workers.indices where workers[i].load < workers[target].load { target = i }
            if target == taker {
                begin(workers[taker])
            } else {
                workers[target].mailbox.append(.connection(begin))
            }
        }
    }

    public func run(until limit: Duration? = nil) { nature.run(until: limit) }

    /// Puts weights over those of the file's first service, or takes them away, unless that would
    /// raise a version that is out.
    public func setWeights(_ shares: [Overlay.Share]?, generation: UInt64) -> Bool {
        guard nature.setWeights(shares, generation: generation) else { return false }
        nature.turn {}
        nature.settleTrips()
        return true
    }

    /// The weights in force of the first service, where they come from, and the entry over them.
    public var weights: [Int] { workers[0].weights }
    public var source: OverlayMerge.Source { workers[0].source }
    public var entry: Overlay.Entry? { workers[0].entry }
    /// The fingerprint of the first service as the file has it.
    public var fingerprint: String { workers[0].fingerprint }

    /// The evidence of the epoch in force of each split, to be looked at when the process keeps it
    /// no more.
    public func holdEvidence() -> [HeldEvidence] { nature.holdEvidence() }

    /// The control thread's mail to all.
    public func drain() {
        nature.turn { for worker in workers { worker.mailbox.append(.drain) } }
    }

    /// Puts another configuration in force, which each worker sees when its next turn begins.
    public func reload(yaml: String, generation: UInt64) {
        nature.compile(yaml: yaml, generation: generation)
        nature.turn {}
        nature.settleTrips()
    }
}
