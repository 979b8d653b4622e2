import Admin
import Base
import Configuration
import Files
import Platform
import Proxy
import Resolver
import Synchronization
import Telemetry

/// The process at one moment, as the admin pages see it.
///
/// Made on the control thread for one page, and read there or by the thread that makes pages: what
/// it holds is its own, or may be asked by any thread. Making one takes microseconds; what takes
/// longer, such as sorting, is done when it is asked for.
final class ControlView: ProcessView, Sendable {
    let now = SystemClock.now()
    let wall = SystemClock.wall()
    let snapshot: SharedBox<Snapshot>
    let startedAt: WallTime
    let path: String
    let hash: String
    let generation: UInt64
    let reloads: ReloadCounts
    let reloadStep: String?
    let notReadyReason: String?
    let isDraining: Bool
    let logLevel: Document.LogLevel
    let tokens: [AdminKey]
    let workers: [WorkerView]
    let limits: ProcessLimits
    let metrics: MetricRegistry
    let logLinesLost: UInt64
    let identity: ProcessIdentity
    let weights: WeightsState
    private let rolloutViews: [RolloutView]
    /// The directory of the journals; `nil` where the file names none.
    private let journals: String?
    let zones: PlanZones
    private let expiries: [TLSFiles.Expiry]
    private let open: [Listeners.Open]
    private let answers: [Resolver.Name: Resolver.Answer]
    private let group: WorkerGroup
    private let retention: SeriesRetention
    private let retentionTime: Duration
    private let registry: SharedRegistry
    private let startedAtInstant: Instant

    /// - Parameter rollouts: for pages that show them; they take longer to look at.
    init(_ control: ControlLoop, rollouts: [RolloutView] = []) {
        group = control.group
        snapshot = group.cell.retained()
        startedAt = control.startedAt
        path = control.file.path
        hash = control.file.hash
        generation = control.generation
        reloads = ReloadCounts(
            accepted: control.status.accepted, rejected: control.status.rejected,
            lastRejection: control.status.lastRejection,
            lastAcceptedAt: control.status.lastAcceptedAt)
        reloadStep = control.reloads.step?.text
        notReadyReason = control.readiness.reason(control)
        isDraining = control.drain.isUnderWay
        logLevel = control.log.level
        tokens = control.file.adminTokens.map {
            AdminKey(name: $0.name, token: $0.token, rights: $0.rights)
        }
        zones = control.file.zones
        let loads = group.loads
        workers = group.workers.map {
            WorkerView(
                index: $0.index, connections: loads[$0.index],
                generation: $0.generation.load(ordering: .acquiring), shard: $0.shard)
        }
        limits = ProcessLimits(
            connections: group.admission.connectionsMax, bufferBytes: group.admission.bufferLimit)
        metrics = control.registry.metrics
        logLinesLost = control.logWriter.linesLost
        identity = control.file.identity
        weights = WeightsState(
            overlayPath: control.file.overlayFile?.path, problem: control.overlayProblem,
            unwritten: control.overlays.unwritten, sources: control.file.sources,
            file: control.file.own)
        rolloutViews = rollouts
        journals = control.file.overlayFile?.directory
        expiries = control.file.tls.expiries
        open = control.listeners.open
        answers = control.resolver.answers
        registry = control.registry
        startedAtInstant = control.startedAtInstant
        retention = control.retention
        retentionTime = control.file.document.metricsRetention
    }

    deinit { snapshot.release() }

    var version: String { SluiceVersion.text }

    var certificates: [CertificateView] {
        expiries.map {
            CertificateView(
                listener: $0.listener, service: $0.service, file: $0.file, use: $0.use,
                notAfter: $0.notAfter)
        }
    }

    var listeners: [ListenerView] {
        open.map { ListenerView(name: $0.name, address: Listeners.text($0)) }
    }

    var names: [NameView] {
        answers.sorted { $0.key.text < $1.key.text }.map { name, answer in
            NameView(
                name: name.host, port: name.port, failure: answer.failure,
                attempts: answer.attempts, failures: answer.failures)
        }
    }

    func figures() -> ProcessFigures {
        let figures = Machine.processFigures()
        return ProcessFigures(
            residentBytes: figures.residentBytes, virtualBytes: figures.virtualBytes,
            openDescriptors: figures.openDescriptors,
            descriptorsMax: Machine.raiseDescriptorLimit(),
            cpuMicroseconds: figures.cpuMicroseconds, threads: figures.threads)
    }

    func evidence() -> [SplitReport] { registry.evidenceReports() }
    func sessions() -> [SessionsReport] { registry.sessionsReports() }
    func rollouts() -> [RolloutView] { rolloutViews }

    func history(of plan: String) -> RolloutHistory {
        var history = RolloutHistory()
        guard let journals else {
            history.problem = "the file in force has no rollouts: directory, and so no journal"
            return history
        }
        let archive = JournalArchive.read(directory: journals, plan: plan)
        history.story = archive.story
        history.path = archive.path
        history.problem = archive.problem
        history.torn = archive.torn
        history.hash = archive.hashText
        return history
    }

    func lostEvidence() -> [(route: String, lost: Int)] { registry.lostEvidence() }
    func latches() -> [LatchReport] { registry.latchReports() }

    func wallTime(of instant: Instant) -> WallTime {
        let since = instant - startedAtInstant
        return WallTime(microseconds: startedAt.microseconds + since.microseconds)
    }

    func hiddenSeries() -> MetricRegistry.Selection {
        let activity = RowActivity(metrics: metrics, shards: workers.map(\.shard))
        return retention.hidden(
            retention: retentionTime, now: now, isBusy: activity.isBusy,
            hasCounted: activity.hasCounted)
    }

    func refusedCause(_ number: UInt8) -> String { RefusalCause.label(number) }
}
