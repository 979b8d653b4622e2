import Base
import Configuration
import Errands
import Files
import Platform
import Proxy
import Resolver
import Synchronization
import TLS
import Telemetry
import Upstream

/// The main thread: signals, the configuration file, names, the admin and metrics endpoints, drain.
///
/// Workers never wait for it, and it waits for nobody: what takes long is done on threads of its
/// own (`reading`, `compiling`, `making`), and what others must do first is a state with a deadline
/// (`ReloadMachine`, `DrainState`), so that `/live` is answered whatever is under way.
final class ControlLoop {
    let options: ServerOptions
    let log: ProcessLog
    let registry: SharedRegistry
    let group: WorkerGroup
    let logWriter: LogWriter
    let resolver: Resolver
    let resolverWakeup: Wakeup
    private let signals: Signals
    private var poller: Poller
    /// Watches the configuration's files; `nil` where nobody asked for that.
    let watch: FileWatch?
    let inbox: ControlInbox
    /// Reads and checks files; a file system may keep it for ever.
    let reading: JobThread
    /// Writes the overlay; a disk may keep it for ever.
    let writing: JobThread
    /// Compiles snapshots, and takes them apart.
    let compiling: JobThread
    /// Makes admin pages that take long.
    let making: JobThread
    var pages = Pages()
    var reloads = Reloads()
    var overlays: Overlays
    /// Why the overlay's file was not believed when it was read last.
    var overlayProblem: String?
    /// The drivers of the plans, by their names.
    var rollouts: [String: RolloutDriver] = [:]
    /// Orders of rollouts that are on their way into force, by their tickets.
    var rolloutOrders: [UInt64: (plan: String, epoch: Int)] = [:]
    /// Asks and tells the world outside for rollouts; made with the first errand.
    var errands: Errands?
    /// Performs synthetic requests, which must not wait for hooks, nor hooks for them.
    var syntheticErrands: Errands?
    var errandsUnderWay: [UInt64: RolloutErrand] = [:]
    /// Orders and errands of rollouts so far.
    var rolloutTickets: UInt64 = 0
    /// Tickets of orders begin here; those of the admin endpoint's clients lie below.
    static let rolloutTicketsFirst: UInt64 = 1 << 63
    /// Services whose weights somebody has changed who waits for an answer, by the ticket.
    var waitingForWeights: [UInt64: WeightsAsk] = [:]
    /// The snapshot in force, with a reference of this loop's own.
    var basis: SnapshotCompiler.Basis
    /// Snapshots that were in force and may be in use still.
    var retired: [SharedBox<Snapshot>] = []
    var agenda = Agenda()
    private(set) var admin: AdminServer
    var listeners = Listeners()
    private(set) var readiness: Readiness
    var retention = SeriesRetention()
    /// Series are being forgotten by the compiling thread.
    var isForgetting = false

    var file: ConfigurationFile
    /// The document that the process began with: what only a start changes is as it says.
    let started: Document
    let tickets: TLSTickets?
    var generation: UInt64 = 1
    var status = ReloadStatus()
    let startedAt: WallTime
    /// `startedAt` on the monotonic clock.
    let startedAtInstant: Instant
    /// Trips that were logged, by service and version.
    var tripsTold: [String: Int] = [:]
    private var hasSplitsToLayOut = false
    /// The file is being looked at for an admin page.
    var hashes = false
    /// Connections that a drain's end found open.
    private var cutCount = 0
    private(set) var drain = DrainState()
    /// Sockets that workers were told to let go of, and that are to be closed then.
    private var leaving: [Leaver: [Listeners.Open]] = [:]
    /// How many sockets the workers were told to let go of, since the start.
    private var leftCount = 0

    /// How long a key seals new session tickets; it opens them as long again.
    static let ticketLife = Duration.seconds(7_200)

    private enum Token {
        static let signals: UInt64 = 2
        static let resolver: UInt64 = 4
        static let inbox: UInt64 = 6
        static let workers: UInt64 = 8
    }

    init(_ parts: consuming Startup.Parts) throws(SystemError) {
        options = parts.options
        log = parts.log
        registry = parts.registry
        group = parts.group
        logWriter = parts.logWriter
        resolver = parts.resolver
        resolverWakeup = parts.resolverWakeup
        signals = parts.signals
        file = parts.file
        started = parts.file.document
        tickets = parts.tickets
        listeners = parts.listeners
        admin = parts.admin
        basis = parts.basis
        let inbox = try ControlInbox()
        self.inbox = inbox
        reading = try JobThread(name: "reading")
        compiling = try JobThread(name: "compiling")
        writing = try JobThread(name: "writing")
        overlays = Overlays(file.overlayRead, isOnDisk: file.overlayProblem == nil)
        overlayProblem = file.overlayProblem
        making = try JobThread(name: "pages")
        watch =
            options.watches
            ? try FileWatch([options.configPath] + file.files, log: log) {
                inbox.put(.filesChanged)
            } : nil
        startedAt = SystemClock.wall()
        startedAtInstant = SystemClock.now()
        readiness = Readiness(startedAt: startedAtInstant)
        poller = try Poller()
        try poller.addInput(signals.descriptor, token: Token.signals)
        try poller.addInput(resolverWakeup.descriptor, token: Token.resolver)
        try poller.addInput(group.controlWanted.descriptor, token: Token.workers)
        try poller.addInput(inbox.descriptor, token: Token.inbox)
        try admin.register(with: poller)
        try watch?.start()
        agenda.set(.rotateTickets, at: SystemClock.now() + ControlLoop.ticketLife)
        let census = ControlLoop.census(
            basis.snapshot, listeners: Set(listeners.open.map(\.id)), registry.metrics)
        noteSeries(census)
        settleOverlay()
        settleRollouts()
    }

    deinit {
        basis.snapshot.release()
        for snapshot in retired { snapshot.release() }
    }

    /// Runs until the process is to end.
    /// - Returns: the exit code.
    func run() -> Int32 {
        while true {
            if advanceReadiness() { log.info("ready") }
            let count: Int
            do throws(SystemError) {
                count = try poller.wait(milliseconds: timeout())
            } catch {
                log.error("the control loop cannot wait", [("error", error.message)])
                return 1
            }
            for i in 0..<count { handle(poller.ready(i)) }
            // One split a turn: a page takes a millisecond, and probes wait with it.
            if hasSplitsToLayOut { hasSplitsToLayOut = registry.layOutAhead() }
            admin.sendOn { self.answer($0, ticket: $1) }
            let now = SystemClock.now()
            if reloads.nextDeadline <= now { perform(reloads.timePassed(now: now)) }
            if overlays.nextDeadline <= now { perform(overlays.timePassed(now: now)) }
            for item in agenda.takeDue(now: now) { perform(item) }
            if let code = advanceDrain(now) { return code }
        }
    }

    private func perform(_ item: Agenda.Item) {
        switch item {
        case .rotateTickets:
            tickets?.rotate()
            agenda.set(.rotateTickets, at: SystemClock.now() + ControlLoop.ticketLife)
        case .releaseSnapshots: releaseSnapshots()
        case .lookAtSeries:
            lookAtSeries(SystemClock.now())
            forgetSeries()
        case .lookAtClients: lookAtClients(SystemClock.now())
        case .lookAtRollouts: lookAtRollouts(SystemClock.now())
        case .sendSynthetic: sendSynthetic(SystemClock.now())
        case .look: break
        }
    }

    private func timeout() -> Int32 {
        if hasSplitsToLayOut || admin.hasUnfinished { return 0 }
        // What the start waits for ends soon, and has no event; nor have connections that close.
        if drain.isUnderWay || !readiness.hasBegun {
            agenda.set(.look, noLaterThan: SystemClock.now() + .milliseconds(20))
        }
        let next = min(agenda.next, reloads.nextDeadline, overlays.nextDeadline)
        if next.isNever { return -1 }
        return Int32(clamping: (next - SystemClock.now()).millisecondsUp)
    }

    private func handle(_ event: Poller.Ready) {
        switch event.token {
        case Token.signals: takeSignals()
        case Token.resolver:
            resolverWakeup.clear()
            if takeAddresses() { perform(reloads.addressesChanged(now: SystemClock.now())) }
            advanceReload()
        case Token.inbox: for letter in inbox.takeAll() { take(letter) }
        case Token.workers:
            group.controlWanted.clear()
            hasSplitsToLayOut = true
            logNews()
            logTrips()
            keepTrips()
            advanceReload()
        default:
            admin.handle(event, poller: poller) { self.answer($0, ticket: $1) }
            lookAtClients(SystemClock.now())
        }
    }

    private func logNews() {
        for item in group.takeNews() {
            let labels = registry.metrics.clusterLabels(item.cluster)
            let fields = [
                ("service", labels.service), ("version", labels.version),
                ("endpoint", UnixPaths.text(item.endpoint)),
            ]
            switch item.kind {
            case .ejected(let cause):
                log.warning("endpoint ejected", fields + [("cause", "\(cause.label)")])
            case .becameUnhealthy(let failure):
                log.warning("endpoint unhealthy", fields + [("cause", failure.text())])
            case .lacksWebSockets:
                log.warning(
                    "WebSocket refused: the endpoint does not offer them over HTTP/2 (RFC 8441); "
                        + "set protocol: auto or http1 for the service", fields)
            case .speaksHTTP1:
                log.warning(
                    "endpoint answers with HTTP/1.1 to HTTP/2; set protocol: http1 or auto for the "
                        + "service, or have the endpoint speak HTTP/2 without an upgrade (h2c)",
                    fields)
            case .speaksHTTP2:
                log.warning(
                    "endpoint answers with HTTP/2 to HTTP/1.1; set protocol: http2 for the service",
                    fields)
            case .becameHealthy: log.info("endpoint healthy", fields)
            case .toldTooManyPings:
                log.warning(
                    "endpoint ended a connection with too_many_pings; it is asked less often from "
                        + "now on; remove connectionPool.pingInterval of the service, or raise it "
                        + "to what the endpoint allows (gRPC servers: 5m)", fields)
            }
        }
    }

    private func takeSignals() {
        while let signal = signals.next() {
            switch signal {
            case .hangup: askForReload(cause: "SIGHUP")
            case .user1:
                logWriter.reopen()
                log.info("access log reopened")
            case .terminate: beginDrain(cause: "SIGTERM")
            case .interrupt:
                // A second Ctrl-C means it.
                if drain.isUnderWay { drain.end(now: SystemClock.now()) }
                beginDrain(cause: "SIGINT")
            }
        }
    }

    /// - Returns: whether the process became ready just now.
    func advanceReadiness() -> Bool { readiness.advance(self) }

    // MARK: Drain

    /// Not ready from now on; accepting for the delay, then finishing what is under way.
    func beginDrain(cause: String) {
        guard !drain.isUnderWay else { return }
        let now = SystemClock.now()
        drain.begin(now: now, delay: file.document.drainDelay, grace: file.document.drainGrace)
        log.info(
            "draining",
            [
                ("cause", cause), ("delay", Units.text(file.document.drainDelay)),
                ("grace", Units.text(file.document.drainGrace)),
            ])
        leaveRollouts()
        perform(reloads.beginDrain(now: now))
    }

    private func advanceDrain(_ now: Instant) -> Int32? {
        while true {
            switch drain.step(now: now, workers) {
            case .wait: return nil
            case .stopAccepting:
                letGo(listeners.open, for: .drain)
            case .closeListeners:
                close(.drain)
                group.tellAll(.drain)
            case .stopWorkers:
                cutCount = openConnections
                group.tellAll(.stop)
            case .stopLog: logWriter.stop()
            case .exit:
                if !logWriter.hasEnded {
                    log.error(
                        "the access log was given up with lines that are not written: nobody "
                            + "reads it, or its disk does not answer",
                        [("path", file.accessLogPath ?? "")])
                }
                resolver.stop()
                log.info("stopped", [("connectionsCut", "\(cutCount)")])
                return 0
            }
        }
    }

    private var workers: DrainState.Workers {
        DrainState.Workers(
            openCount: openConnections, haveLetGo: haveLetGo,
            haveStopped: group.workers.allSatisfy { $0.hasStopped.load(ordering: .acquiring) },
            isLogWritten: logWriter.hasEnded)
    }

    var openConnections: Int {
        (0..<group.workers.count).reduce(0) { $0 + group.loads[$1] }
    }

    // MARK: Sockets that leave

    enum Leaver { case reload, drain }

    /// Tells the workers to let go of listening sockets; `close` when they have.
    func letGo(_ listeners: [Listeners.Open], for leaver: Leaver) {
        for listener in listeners {
            group.tellAll(.removeListener(descriptor: listener.descriptor))
        }
        leaving[leaver, default: []] += listeners
        leftCount += listeners.count
    }

    /// Whether every worker has let go of all the sockets that it was told of.
    var haveLetGo: Bool {
        group.workers.allSatisfy { $0.listenersRemoved.load(ordering: .acquiring) >= leftCount }
    }

    func close(_ leaver: Leaver) {
        for listener in leaving.removeValue(forKey: leaver) ?? [] { listener.close() }
    }
}
