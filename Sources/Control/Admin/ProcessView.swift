import Base
import Configuration
import Telemetry

/// The process as the admin pages may know it: looks, and no way to change anything. Whoever runs
/// the process makes a view for one page; all properties but the counters and the state of
/// endpoints describe one moment. One thread at a time uses a view, and it need not be the one that
/// made it.
public protocol ProcessView {
    var now: Instant { get }
    var wall: WallTime { get }
    /// The program's version.
    var version: String { get }
    /// Who the process is to monitoring.
    var identity: ProcessIdentity { get }
    var startedAt: WallTime { get }

    // MARK: Configuration

    /// The snapshot in force; held for as long as this view is.
    var snapshot: SharedBox<Snapshot> { get }
    /// The configuration file's path and its hash, as it was taken.
    var path: String { get }
    var hash: String { get }
    /// The generation of the snapshot that was published last.
    var generation: UInt64 { get }
    var reloads: ReloadCounts { get }
    /// The step that a reload is at, in words; `nil` when none is under way.
    var reloadStep: String? { get }
    var certificates: [CertificateView] { get }
    /// Where the services' weights come from.
    var weights: WeightsState { get }
    /// The time zones of the plans' windows.
    var zones: PlanZones { get }

    // MARK: State

    /// Why load balancers should not send clients here; `nil` when they should.
    var notReadyReason: String? { get }
    var isDraining: Bool { get }
    /// The least severe messages that the process log keeps.
    var logLevel: Document.LogLevel { get }
    /// The bearer tokens of which one must come with each request; empty when none is asked for.
    var tokens: [AdminKey] { get }
    var workers: [WorkerView] { get }
    var listeners: [ListenerView] { get }
    /// Names that are looked up, sorted.
    var names: [NameView] { get }
    var limits: ProcessLimits { get }
    /// Asks the kernel about the process.
    func figures() -> ProcessFigures

    // MARK: Evidence

    /// The deeds of the versions of each split, and the guard's sums.
    func evidence() -> [SplitReport]
    /// The sessions of sticky services, as sets of places.
    func sessions() -> [SessionsReport]
    /// Requests of each route that ended after the epochs that evidence is kept of.
    func lostEvidence() -> [(route: String, lost: Int)]
    /// Versions that the guard may have taken out.
    func latches() -> [LatchReport]
    /// Each plan of a rollout, in the order of the file, and how far its rollout is.
    func rollouts() -> [RolloutView]
    /// The journal of a plan, which is read for this; blocks as long as the disk does.
    func history(of plan: String) -> RolloutHistory
    /// The time of day at a point of the monotonic clock; the same for the same point.
    func wallTime(of instant: Instant) -> WallTime

    // MARK: Counters

    var metrics: MetricRegistry { get }
    /// Lines of the access log that its file did not take.
    var logLinesLost: UInt64 { get }
    /// Series that have left the metrics page.
    func hiddenSeries() -> MetricRegistry.Selection
    /// The text of a refusal's cause by its number.
    func refusedCause(_ number: UInt8) -> String
}

extension ProcessView {
    /// Client connections, of all workers.
    var openConnections: Int { workers.reduce(0) { $0 + $1.connections } }
}

/// A bearer token of the admin endpoint, and what its holder may do.
public struct AdminKey: Sendable {
    /// `nil`: the one of `admin.token`, which may do everything.
    public var name: String?
    public var token: String
    public var rights: [Document.AdminRight]

    public init(name: String?, token: String, rights: [Document.AdminRight]) {
        self.name = name
        self.token = token
        self.rights = rights
    }

    func may(_ right: Document.AdminRight) -> Bool {
        rights.contains(.all) || rights.contains(right)
    }
}

/// One worker thread.
public struct WorkerView: Sendable {
    public var index: Int
    /// Client connections.
    public var connections: Int
    /// The generation of the snapshot that the worker uses.
    public var generation: UInt64
    public var shard: CounterShard

    public init(index: Int, connections: Int, generation: UInt64, shard: CounterShard) {
        self.index = index
        self.connections = connections
        self.generation = generation
        self.shard = shard
    }

    /// How much has begun and not ended, by a counter of each. The two are read while they move, so
    /// that more may have ended than had begun.
    func open(_ begun: WorkerMetric, _ ended: WorkerMetric) -> Int {
        let ended = shard.value(ended.rawValue), begun = shard.value(begun.rawValue)
        return begun > ended ? Int(clamping: begun - ended) : 0
    }
}

/// An open listening socket.
public struct ListenerView: Sendable {
    public var name: String
    /// With the port that port 0 became.
    public var address: String

    public init(name: String, address: String) {
        self.name = name
        self.address = address
    }
}

/// A name that is looked up, with the last answer.
public struct NameView: Sendable {
    public var name: String
    public var port: UInt16
    /// Why the last lookup failed; empty when it did not.
    public var failure: String
    public var attempts: UInt64
    public var failures: UInt64

    public init(
        name: String, port: UInt16, failure: String, attempts: UInt64, failures: UInt64
    ) {
        self.name = name
        self.port = port
        self.failure = failure
        self.attempts = attempts
        self.failures = failures
    }
}

/// A file of certificates that is in force.
public struct CertificateView: Sendable {
    /// One of listener and service is empty.
    public var listener: String
    public var service: String
    public var file: String
    /// `certificate`, `clientCA` or `ca`.
    public var use: String
    /// Seconds since 1970.
    public var notAfter: Int64

    public init(listener: String, service: String, file: String, use: String, notAfter: Int64) {
        self.listener = listener
        self.service = service
        self.file = file
        self.use = use
        self.notAfter = notAfter
    }
}

/// The outcome of reloads.
public struct ReloadCounts: Sendable {
    public var accepted: UInt64
    public var rejected: UInt64
    /// The last rejection's text; empty when the last reload was accepted.
    public var lastRejection: String
    public var lastAcceptedAt: WallTime

    public init(
        accepted: UInt64, rejected: UInt64, lastRejection: String, lastAcceptedAt: WallTime
    ) {
        self.accepted = accepted
        self.rejected = rejected
        self.lastRejection = lastRejection
        self.lastAcceptedAt = lastAcceptedAt
    }
}

/// Bounds of the whole process.
public struct ProcessLimits: Sendable {
    /// Client connections that may be open.
    public var connections: Int
    /// Memory in buffers above which new requests are refused.
    public var bufferBytes: Int

    public init(connections: Int, bufferBytes: Int) {
        self.connections = connections
        self.bufferBytes = bufferBytes
    }
}

/// Figures of the process that the kernel keeps.
public struct ProcessFigures: Sendable {
    public var residentBytes: UInt64
    public var virtualBytes: UInt64
    public var openDescriptors: Int
    public var descriptorsMax: Int
    public var cpuMicroseconds: UInt64
    public var threads: Int

    public init(
        residentBytes: UInt64, virtualBytes: UInt64, openDescriptors: Int, descriptorsMax: Int,
        cpuMicroseconds: UInt64, threads: Int
    ) {
        self.residentBytes = residentBytes
        self.virtualBytes = virtualBytes
        self.openDescriptors = openDescriptors
        self.descriptorsMax = descriptorsMax
        self.cpuMicroseconds = cpuMicroseconds
        self.threads = threads
    }
}
