import Base
import Configuration
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
/// Workers never wait for it; it may wait for them, with a bound.
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
    /// The configuration's files.
    private let watch = FileWatch()
    private(set) var admin: AdminServer
    var listeners = Listeners()
    private(set) var readiness: Readiness
    var retention = SeriesRetention()

    var file: ConfigurationFile
    /// The document that the process began with: what only a start changes is as it says.
    let started: Document
    let tickets: TLSTickets?
    private var rotatesAt: Instant
    var generation: UInt64 = 1
    var status = ReloadStatus()
    let startedAt: WallTime
    private(set) var drain = DrainState()
    private var reloadAt = Instant.never
    /// When to look whether versions that are gone are busy.
    private var looksAt = Instant.never

    /// How long after the last change of the file it is read: editors write in several steps.
    static let watchDebounce = Duration.milliseconds(50)

    /// How long a key seals new session tickets; it opens them as long again.
    static let ticketLife = Duration.seconds(7_200)

    private enum Token {
        static let signals: UInt64 = 2
        static let resolver: UInt64 = 4
        static let watch: UInt64 = 6
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
        rotatesAt = SystemClock.now() + ControlLoop.ticketLife
        listeners = parts.listeners
        admin = parts.admin
        startedAt = SystemClock.wall()
        readiness = Readiness(startedAt: SystemClock.now())
        poller = try Poller()
        try poller.addInput(signals.descriptor, token: Token.signals)
        try poller.addInput(resolverWakeup.descriptor, token: Token.resolver)
        try poller.addInput(group.controlWanted.descriptor, token: Token.workers)
        try admin.register(with: poller)
        noteSnapshot()
        watchFiles()
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
            let now = SystemClock.now()
            if reloadAt <= now {
                reloadAt = .never
                renewWatches()
                if watch.hasChanged { reload(cause: "watch") }
            }
            if rotatesAt <= now {
                rotatesAt = now + ControlLoop.ticketLife
                tickets?.rotate()
            }
            if looksAt <= now { lookAtSeries(now) }
            if let code = drainStep(now) { return code }
        }
    }

    private func timeout() -> Int32 {
        var next = min(reloadAt, rotatesAt, looksAt)
        // What the start waits for ends soon, and has no event.
        if drain.isUnderWay || !readiness.hasBegun {
            next = min(next, SystemClock.now() + .milliseconds(20))
        }
        if next.isNever { return -1 }
        return Int32(clamping: (next - SystemClock.now()).millisecondsUp)
    }

    private func handle(_ event: Poller.Ready) {
        switch event.token {
        case Token.signals: takeSignals()
        case Token.resolver:
            resolverWakeup.clear()
            let changes = resolver.takeChanges()
            Names.report(changes, file.document, resolver.answers, log)
            if changes.hasNewAddresses { republish() }
        case Token.watch:
            if watch.drain() { reloadAt = SystemClock.now() + ControlLoop.watchDebounce }
        case Token.workers:
            group.controlWanted.clear()
            registry.layOutAhead()
            logNews()
        default: admin.handle(event, poller: poller) { self.answer($0) }
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
            case .becameUnhealthy: log.warning("endpoint unhealthy", fields)
            case .lacksWebSockets:
                log.warning(
                    "WebSocket refused: the endpoint does not offer them over HTTP/2 (RFC 8441); "
                        + "set protocol: auto or http1 for the service", fields)
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
            case .hangup: reload(cause: "SIGHUP")
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

    /// Watches all files that the configuration in force is made of.
    ///
    /// - Parameter others: files that a rejected configuration names: one of them may be what is
    ///   mended next.
    func watchFiles(and others: [String] = []) {
        guard options.watches else { return }
        report(
            watch.follow([options.configPath] + file.files + others) {
                (descriptor) throws(SystemError) in
                try poller.addInput(descriptor, token: Token.watch)
            })
    }

    /// A directory told something: it may have been replaced by another.
    private func renewWatches() {
        report(
            watch.renew { (descriptor) throws(SystemError) in
                try poller.addInput(descriptor, token: Token.watch)
            })
    }

    private func report(_ failed: [(directory: String, why: String)]) {
        for (directory, why) in failed {
            log.error(
                "files cannot be watched; send SIGHUP instead",
                [("directory", directory), ("error", why)])
        }
    }

    /// - Returns: whether the process became ready just now.
    func advanceReadiness() -> Bool { readiness.advance(self) }

    /// Tells the metrics page what the snapshot in force still names.
    func noteSnapshot() {
        let snapshot = group.cell.retained()
        defer { snapshot.release() }
        var named = MetricRegistry.Selection()
        for i in 0..<snapshot.value.rows.count { named.rows.insert(snapshot.value.rows[i].id) }
        for i in 0..<snapshot.value.versions.count {
            named.clusters.insert(snapshot.value.versions[i].cluster.value.id)
        }
        for i in 0..<snapshot.value.mirrors.count {
            let mirror = snapshot.value.mirrors[i]
            named.rows.insert(mirror.row.id)
            named.clusters.insert(mirror.cluster.value.id)
        }
        for listener in listeners.open { named.listeners.insert(listener.id) }
        let now = SystemClock.now()
        retention.apply(named, registry.metrics, now: now)
        lookAtSeries(now)
    }

    /// Notes which of the versions that are gone still have requests in flight.
    private func lookAtSeries(_ now: Instant) {
        retention.look(now: now) { group.isBusy(row: $0, registry.metrics) }
        looksAt = retention.isWaiting(now: now) ? now + SeriesRetention.interval : .never
    }

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
    }

    private func drainStep(_ now: Instant) -> Int32? {
        switch drain.step(now: now, open: openConnections) {
        case .wait: return nil
        case .stopAccepting:
            for listener in listeners.open {
                group.tellAll(.removeListener(descriptor: listener.descriptor))
            }
            waitForListenersRemoved(count: listeners.open.count)
            for listener in listeners.open { listener.close() }
            group.tellAll(.drain)
            return nil
        case .finish:
            let left = openConnections
            group.tellAll(.stop)
            let deadline = now + .seconds(2)
            while !group.workers.allSatisfy({ $0.hasStopped.load(ordering: .acquiring) }),
                SystemClock.now() < deadline
            {
                SystemClock.pause(.milliseconds(1))
            }
            logWriter.stop()
            resolver.stop()
            log.info("stopped", [("connectionsCut", "\(left)")])
            return 0
        }
    }

    var openConnections: Int {
        (0..<group.workers.count).reduce(0) { $0 + group.loads[$1] }
    }

    private var removedBefore = 0

    /// Waits until every worker has let go of so many more listening sockets.
    func waitForListenersRemoved(count: Int) {
        removedBefore += count
        let deadline = SystemClock.now() + .seconds(1)
        while SystemClock.now() < deadline {
            let done = group.workers.allSatisfy {
                $0.listenersRemoved.load(ordering: .acquiring) >= removedBefore
            }
            if done { return }
            SystemClock.pause(.milliseconds(1))
        }
    }
}

/// Where a drain stands: a small machine over time.
///
///     serving ──begin──▶ announced ──delay──▶ closing ──nobody left, or grace──▶ over
struct DrainState {
    private enum Phase {
        case serving
        case announced(until: Instant, grace: Duration)
        case closing(until: Instant)
        case over
    }

    enum Step: Equatable { case wait, stopAccepting, finish }

    private var phase = Phase.serving

    var isUnderWay: Bool {
        if case .serving = phase { return false }
        return true
    }

    mutating func begin(now: Instant, delay: Duration, grace: Duration) {
        guard case .serving = phase else { return }
        phase = .announced(until: now + delay, grace: grace)
    }

    /// Ends the waiting: whatever is still there is cut.
    mutating func end(now: Instant) {
        if case .announced(_, _) = phase { phase = .announced(until: now, grace: .zero) }
        if case .closing = phase { phase = .closing(until: now) }
    }

    /// - Parameter open: client connections there are.
    mutating func step(now: Instant, open: Int) -> Step {
        switch phase {
        case .serving, .over: return .wait
        case .announced(let until, let grace):
            guard now >= until else { return .wait }
            phase = .closing(until: now + grace)
            return .stopAccepting
        case .closing(let until):
            guard open == 0 || now >= until else { return .wait }
            phase = .over
            return .finish
        }
    }
}
