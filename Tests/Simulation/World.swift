import Base
import Configuration
import HTTP1
import Proxy
import Rollout
import Telemetry

/// A worker of a simulated process: the production data plane under a virtual clock, a network that
/// cuts and delays, scripted origins and clients, all in one thread. Everything follows from the
/// seed. A process of one worker is the whole world.
public final class World {
    /// Faults that the network may make; drawn from the seed for swarms, or set for a named
    /// scenario.
    public struct Faults {
        /// Largest piece that one read brings; 1 is the cruellest.
        public var readBytesMax = 65_536
        /// Largest piece that one write takes.
        public var writeBytesMax = 65_536
        public var latencyMax = Duration.milliseconds(5)
        /// Chances per connection to an origin, in percent.
        public var refusePercent: UInt64 = 0
        public var resetPercent: UInt64 = 0
        /// Bytes after which a connection to an origin breaks, instead of by chance.
        public var resetAfter: ((Address) -> Int?)?
        /// Addresses that answer no connect, neither yes nor no.
        public var isBlackHole: (Address) -> Bool = { _ in false }
        /// Bytes that a client takes a second, in steps of a second; `nil`: as they come.
        public var takesPerSecond: Int?
        /// Bytes after which a client takes nothing for a while, once.
        public var pausesAfter = Int.max
        public var pause = Duration.zero
        /// Chance per connection that nothing passes for a while, once.
        public var clogPercent: UInt64 = 0
        public var clogMax = Duration.seconds(5)
        /// Chance per connection that after some bytes nothing passes any more, and nobody is told.
        public var silencePercent: UInt64 = 0
        /// Chance per client that it takes little or nothing of what it is sent.
        public var slowReaderPercent: UInt64 = 0
        /// How long a worker may be busy before it looks at what has happened: turns have several
        /// events then.
        public var turnMax = Duration.zero
        public init() {}
    }

    /// Letters that a worker gets from others, and from the control thread.
    enum Mail {
        /// A client's connection, which begins what it has to say.
        case connection((World) -> Void)
        case connectionWanted(cluster: Int)
        case connectionFreed(cluster: Int)
        case drain
    }

    let nature: Nature
    public var now: Instant { nature.now }
    public var seed: UInt64 { nature.seed }
    public var random: PRNG {
        get { nature.random }
        set { nature.random = newValue }
    }
    public var faults: Faults {
        get { nature.faults }
        set { nature.faults = newValue }
    }
    public var origins: [Address: SimulatedOrigin] { nature.origins }
    public var metrics: MetricRegistry { nature.metrics }
    public let shard = CounterShard()
    let plane: PlaneBox
    private let worker: Int
    var mailbox: [Mail] = []
    var links: [ConnectionID: Link] = [:]
    var ready: [ConnectionID] = []
    var lent = ByteBuffer()
    /// The number of the listener whose clients come.
    var listener = 0
    /// Letters of each kind that came from other workers.
    public private(set) var mailCount = (connections: 0, wanted: 0, freed: 0)
    /// Lines of the access log, where the configuration has one.
    public internal(set) var logLines: [String] = []
    /// The most bytes that have waited for one client's socket.
    public private(set) var unsentBytesMax = 0
    /// Looks at the world whenever the data plane has had its say.
    public var afterTurn: () -> Void = {}
    /// Whether the tables are looked through after each turn; that takes most of the time of a
    /// debug build's world.
    package var checksTables = true
    private var turnCount = 0
    /// Faults of the tables, as they were found after each turn.
    public private(set) var tableFaults: [String] = []

    /// - Parameter yaml: a configuration file's text; it must be valid.
    public convenience init(seed: UInt64, yaml: String, origins: [SimulatedOrigin]) {
        self.init(Nature(seed: seed, yaml: yaml, origins: origins), worker: 0)
    }

    init(_ nature: Nature, worker: Int) {
        self.nature = nature
        self.worker = worker
        let setup = DataPlane.Setup(
            worker: worker, snapshot: nature.retainedSnapshot(), metrics: nature.metrics,
            seed: nature.seed &+ UInt64(worker), connectionsMax: 1_000)
        plane = PlaneBox(
            DataPlane(
                setup, shard: shard, now: nature.now, wall: WallTime(microseconds: 1_000_000)))
        nature.add(self)
    }

    /// Puts another configuration in force, as a reload does.
    public func reload(yaml: String, generation: UInt64) {
        nature.compile(yaml: yaml, generation: generation)
        publish()
    }

    /// The newest snapshot comes into force at once.
    func publish() {
        nature.turn {
            adoptNewest()
            act { _ in }
        }
        nature.settleTrips()
    }

    /// The process is told to end.
    public func drain() { act { $0.drain() } }

    /// Closes everything, because the time to drain is over.
    public func closeAll() { act { $0.closeAll() } }

    /// A listener is gone.
    public func leaveListener() { act { [listener] in $0.leave(listener: listener) } }

    /// The listener's socket has another name now.
    public func renameListener(to name: String) {
        let next = metrics.listener(name)
        act { [listener] in $0.rename(listeners: [listener: next]) }
        listener = next
    }

    /// States what is short, as the workers' loop does.
    public func setPressure(isCrowded: Bool = false, isFull: Bool = false) {
        plane.value.setPressure(isCrowded: isCrowded, isFull: isFull)
    }

    /// Closes idle connections to make room.
    public func evictIdle() { act { $0.evictIdle() } }

    /// Takes the news of endpoints since the last call.
    public func takeNews() -> [EndpointNews] { plane.value.takeNews() }

    // MARK: Time

    public func after(_ delay: Duration, _ step: @escaping () -> Void) {
        nature.schedule(at: now + delay, step)
    }

    func latency() -> Duration { nature.latency() }

    /// Runs until nothing is left to happen (a reader of a byte a second takes days), or for a
    /// time.
    public func run(until limit: Duration? = nil) { nature.run(until: limit) }

    // MARK: Turns

    /// When the worker has something to do that nobody has to wake it for.
    var nextTurn: Instant {
        ready.isEmpty && mailbox.isEmpty ? plane.value.nextDeadline : now
    }

    /// Clients that it has, or that are on their way to it.
    var load: Int { plane.value.socketCount + mailbox.count }

    func beginTurn() {
        var means = Means(world: self)
        means.beginTurn(now: now, wall: nature.wall)
        adoptNewest()
    }

    private func adoptNewest() {
        guard nature.snapshot.value.generation != plane.value.generation else { return }
        plane.value.adopt(nature.retainedSnapshot())
    }

    func finishTurn() {
        var means = Means(world: self)
        means.finishTurn()
    }

    /// Hands over an event; the turn is the one under way, or one for this event alone.
    func drive(_ event: Event) {
        nature.turn {
            var means = Means(world: self)
            means.drive(event)
        }
    }

    /// Calls the data plane for what is no event, and performs what follows.
    func act(_ body: (inout DataPlane) -> Void) {
        nature.turn {
            body(&plane.value)
            var means = Means(world: self)
            means.perform()
        }
    }

    /// The driver, which a class cannot be itself. Its means are the world's.
    private struct Means: Driver {
        unowned let world: World
        var plane: DataPlane {
            _read { yield world.plane.value }
            nonmutating _modify { yield &world.plane.value }
        }
        func perform(_ effect: Effect) { world.perform(effect) }
        func settle() -> Bool {
            world.checkTables()
            world.afterTurn()
            return false
        }
        func serveReady() { world.serveReady() }
        func takeMail() { world.takeMail() }
    }

    func noteUnsent(_ id: ConnectionID) {
        guard id.side == .downstream else { return }
        unsentBytesMax = max(unsentBytesMax, plane.value.outboundCount(id))
    }

    private func checkTables() {
        guard checksTables, tableFaults.count < 20 else { return }
        #if DEBUG
        // Where a look takes as long as the rest of fifty turns, one of sixteen has to do.
        turnCount += 1
        guard turnCount % 16 == 0 else { return }
        #endif
        tableFaults += plane.value.check().map { "at \(now.nanoseconds / 1_000) us: \($0)" }
    }

    private func serveReady() {
        let again = ready
        ready = []
        for id in again {
            links[id]?.showKept = true
            read(id)
        }
    }

    private func takeMail() {
        let letters = mailbox
        mailbox = []
        for letter in letters {
            switch letter {
            case .connection(let begin):
                mailCount.connections += 1
                begin(self)
            case .connectionWanted(let cluster):
                mailCount.wanted += 1
                drive(.connectionWanted(cluster: cluster))
            case .connectionFreed(let cluster):
                mailCount.freed += 1
                drive(.connectionFreed(cluster: cluster))
            case .drain: act { $0.drain() }
            }
        }
    }

    /// Writes to other workers.
    func mail(_ letter: Mail, to isRecipient: (Int) -> Bool = { _ in true }) {
        for other in nature.workers where other.worker != worker && isRecipient(other.worker) {
            other.mailbox.append(letter)
        }
    }

    // MARK: At quiet

    /// Slots, permits and timers that are still held when nothing is left to happen; all zero in a
    /// sound world.
    public var leftovers: [String: Int] {
        [
            "downstream": plane.value.downstreamCount, "exchanges": plane.value.exchangeCount,
            "attempts": plane.value.attemptCount, "links": plane.value.linkCount,
            "upstream": plane.value.upstreamCount, "faults of the tables": tableFaults.count,
        ].filter { $0.value != 0 }
    }

    /// Clients' connections, and endpoints'.
    public var clientCount: Int { plane.value.socketCount }
    public var upstreamCount: Int { plane.value.upstreamCount }

    /// Each of them in words.
    public var inventory: String {
        (tableFaults + plane.value.inventory).joined(separator: "\n")
    }

    /// The steps that machines may take, and those that they have taken (`MachineSteps`).
    package var steps: MachineSteps {
        MachineSteps(plane.value.machines)
    }

    /// Places still taken of the limits that clusters share; nothing in a sound world.
    public var held: [String: Int] { nature.registry.held.filter { $0.value != 0 } }

    /// How much of its limits a cluster uses.
    public func level(service: String, version: String) -> ClusterLevel? {
        nature.registry.level(
            ofCluster: metrics.cluster(service: service, version: version, isMirror: false))
    }

    /// The deeds of the versions of each split, and the guard's sums.
    public var evidence: [SplitReport] { nature.registry.evidenceReports() }

    /// One look at a service's evidence for the judge of a rollout; `nil` without both versions.
    public func evidenceSample(_ question: EvidenceQuestion) -> EvidenceSample? {
        nature.registry.evidenceSample(question, now: now)
    }

    /// The latch of a version.
    public func latch(service: String, version: String) -> LatchReport? {
        nature.registry.latchReports().first { $0.service == service && $0.version == version }
    }

    /// Lets the versions of a service in again.
    public func resetGuard(service: String) -> [String] {
        nature.registry.resetGuard(service: service)
    }

    /// The sum, over all workers, of a metric family's samples whose labels contain a text.
    /// Lets go of the series of all that is gone, as if their time on the page were over.
    /// - Returns: how many rows and clusters nobody uses any more.
    @discardableResult public func forgetGone() -> Int {
        let contents = metrics.contents()
        var gone = MetricRegistry.Selection()
        gone.rows = Set(contents.rows.map(\.id))
        gone.clusters = Set(contents.clusters.map(\.id))
        // What the snapshot in force names is held by it.
        let forgotten = nature.registry.forget(gone, nature.workers.map(\.shard))
        return forgotten.rows.count + forgotten.clusters.count
    }

    public func metric(_ family: String, _ label: String = "") -> UInt64 {
        var page = PrometheusText(format: .prometheus)
        let requests = RequestMetricsPage(registry: metrics, shards: nature.workers.map(\.shard))
        for use in MetricCatalog.Use.allCases {
            requests.write(use, to: &page, .init(refusedCause: RefusalCause.label))
        }
        var sum: UInt64 = 0
        for line in ASCII.string(page.buffer.readable).split(separator: "\n")
        where line.hasPrefix(family) && !line.hasPrefix("#")
            && (label.isEmpty || line.contains(label))
        {
            sum += line.split(separator: " ").last.flatMap { UInt64($0) } ?? 0
        }
        return sum
    }
}

/// Holds the data plane, which cannot be copied into closures.
final class PlaneBox {
    var value: DataPlane
    init(_ value: consuming DataPlane) { self.value = value }
}
