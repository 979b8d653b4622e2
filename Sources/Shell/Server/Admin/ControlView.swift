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
/// Made on the control thread for one request, and not kept behind it.
final class ControlView: ProcessView {
    private let control: ControlLoop
    let now = SystemClock.now()
    let wall = SystemClock.wall()
    let snapshot: SharedBox<Snapshot>

    init(_ control: ControlLoop) {
        self.control = control
        snapshot = control.group.cell.retained()
    }

    deinit { snapshot.release() }

    var version: String { SluiceVersion.text }
    var startedAt: WallTime { control.startedAt }

    // MARK: Configuration

    var path: String { control.file.path }
    var hash: String { control.file.hash }
    var generation: UInt64 { control.generation }

    var reloads: ReloadCounts {
        ReloadCounts(
            accepted: control.status.accepted, rejected: control.status.rejected,
            lastRejection: control.status.lastRejection,
            lastAcceptedAt: control.status.lastAcceptedAt)
    }

    var weights: WeightsState {
        WeightsState(
            overlayPath: control.file.overlayFile?.path, problem: control.overlayProblem,
            unwritten: control.overlays.unwritten, sources: control.file.sources,
            file: control.file.own)
    }

    var certificates: [CertificateView] {
        control.file.tls.expiries.map {
            CertificateView(
                listener: $0.listener, service: $0.service, file: $0.file, use: $0.use,
                notAfter: $0.notAfter)
        }
    }

    // MARK: State

    var notReadyReason: String? { control.readiness.reason(control) }
    var isDraining: Bool { control.drain.isUnderWay }
    var logLevel: Document.LogLevel { control.log.level }
    var token: String? { control.admin.token }

    var workers: [WorkerView] {
        control.group.workers.map {
            WorkerView(
                index: $0.index, connections: control.group.loads[$0.index],
                generation: $0.generation.load(ordering: .acquiring), shard: $0.shard)
        }
    }

    var listeners: [ListenerView] {
        control.listeners.open.map { ListenerView(name: $0.name, address: Listeners.text($0)) }
    }

    var names: [NameView] {
        control.resolver.answers.sorted { $0.key.text < $1.key.text }.map { name, answer in
            NameView(
                name: name.host, port: name.port, failure: answer.failure,
                attempts: answer.attempts, failures: answer.failures)
        }
    }

    var limits: ProcessLimits {
        ProcessLimits(
            connections: control.group.admission.connectionsMax,
            bufferBytes: control.group.admission.bufferLimit)
    }

    func figures() -> ProcessFigures {
        let figures = Machine.processFigures()
        return ProcessFigures(
            residentBytes: figures.residentBytes, virtualBytes: figures.virtualBytes,
            openDescriptors: figures.openDescriptors,
            descriptorsMax: Machine.raiseDescriptorLimit(),
            cpuMicroseconds: figures.cpuMicroseconds, threads: figures.threads)
    }

    // MARK: Counters

    var metrics: MetricRegistry { control.registry.metrics }

    func hiddenSeries() -> MetricRegistry.Selection {
        control.retention.hidden(
            retention: control.file.document.metricsRetention, now: now,
            isBusy: { control.group.isBusy(row: $0, metrics) },
            hasCounted: { control.group.hasCounted(row: $0, metrics) })
    }

    func refusedCause(_ number: UInt8) -> String { RefusalCause.label(number) }
}
