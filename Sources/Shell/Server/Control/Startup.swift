import Base
import Configuration
import Files
import Platform
import Proxy
import Resolver
import Synchronization
import TLS
import Telemetry

/// Brings the process up, in the order in which things depend on each other, and runs it.
///
/// The start is straight-line code and not `ReloadMachine` with a driver that blocks: nothing is
/// served yet that could wait, and whatever fails ends the process in place of being refused.
public enum Startup {
    struct Parts: ~Copyable {
        let options: ServerOptions
        let log: ProcessLog
        let registry: SharedRegistry
        let group: WorkerGroup
        let logWriter: LogWriter
        let resolver: Resolver
        let resolverWakeup: Wakeup
        let signals: Signals
        let file: ConfigurationFile
        let tickets: TLSTickets?
        var listeners: Listeners
        let admin: AdminServer
        /// Owns a reference to the first snapshot.
        let basis: SnapshotCompiler.Basis
    }

    struct Failure: Error {
        let text: String
        let code: Int32
    }

    /// Runs the proxy until it is told to stop.
    /// - Returns: the exit code: 0 after a drain, 1 when the process could not start or go on, 2
    /// when
    ///   the configuration is bad.
    public static func run(_ options: ServerOptions) -> Int32 {
        let log: ProcessLog
        do throws(SystemError) {
            log = try ProcessLog()
        } catch {
            Files.write(2, all: "sluice: \(error.message)\n")
            return 1
        }
        defer { log.flush(limit: ProcessLog.flushLimit) }
        do throws(Failure) {
            let control = try start(options, log)
            return control.run()
        } catch {
            log.plain("sluice: " + error.text + "\n")
            return error.code
        }
    }

    private static func start(
        _ options: ServerOptions, _ log: ProcessLog
    ) throws(Failure) -> ControlLoop {
        // Kept over reloads, so that clients can take up their sessions.
        let tickets: TLSTickets
        do throws(TLSFailure) {
            tickets = try TLSTickets()
        } catch {
            throw Failure(text: error.reason, code: 1)
        }
        let file: ConfigurationFile
        switch ConfigurationFile.load(options.configPath, tickets: tickets) {
        case .success(let loaded): file = loaded
        case .failure(let rejection):
            throw Failure(text: "the configuration is not valid\n" + rejection.text, code: 2)
        }
        log.configure(level: file.document.logLevel, isJSON: file.document.logsJSON)
        if !file.warnings.isEmpty { log.warning(file.warnings) }
        do {
            return try assemble(options, log, file, tickets)
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(text: (error as? SystemError)?.message ?? "\(error)", code: 1)
        }
    }

    private static func assemble(
        _ options: ServerOptions, _ log: ProcessLog, _ file: ConfigurationFile,
        _ tickets: TLSTickets
    ) throws -> ControlLoop {
        let signals = try Signals()
        // Behind the signals, whose mask its thread inherits.
        try log.start()
        let descriptors = Machine.raiseDescriptorLimit()
        let metrics = MetricRegistry()
        let seed = options.seed ?? Files.randomSeed()
        let count = workerCount(options, file.document)
        let registry = SharedRegistry(metrics: metrics, seed: seed, workers: count)
        let resolverWakeup = try Wakeup()
        let resolver = Resolver(seed: seed) { resolverWakeup.wake() }
        try watch(file.document, resolver, log)
        var listeners = Listeners()
        let change: Listeners.Change
        do throws(Listeners.Failure) {
            change = try listeners.prepare(file.document) { metrics.listener($0) }
        } catch {
            throw Failure(text: error.text, code: 1)
        }
        listeners.commit(change)
        let inputs = inputs(file, generation: 1, answers: resolver.answers)
        let snapshot = SnapshotCompiler.compile(file.document, inputs, registry: registry)
        // Before any worker begins: what was out when the process before ended takes no request.
        _ = registry.restoreTrips(file.overlayRead.trips, file.document)
        snapshot.retain()
        let logWriter = try LogWriter(log: log)
        try logWriter.start()
        do throws(SystemError) {
            logWriter.use(try logWriter.prepare(file.accessLogPath))
        } catch {
            throw Failure(text: file.accessLogFailure(error), code: 1)
        }
        let connections = connectionsMax(file.document, descriptors: descriptors)
        let memory = Machine.memory()
        let admission = Admission(
            file.document.limits, connectionsMax: connections, memoryBytes: memory.bytes,
            isContainer: memory.isContainer)
        let group = try WorkerGroup(
            cell: SnapshotCell(snapshot), count: count, logWriter: logWriter, admission: admission,
            log: log)
        group.directory = TLSDirectory(
            file.document, file.tls, registry, listeners: listeners.numbers(after: .init()))
        let admin: AdminServer
        do throws(Listeners.Failure) {
            admin = try AdminServer(file.document)
        } catch {
            throw Failure(text: error.text, code: 1)
        }
        // Before the first client is accepted: clients may use up all descriptors.
        let control = try ControlLoop(
            Parts(
                options: options, log: log, registry: registry, group: group,
                logWriter: logWriter, resolver: resolver, resolverWakeup: resolverWakeup,
                signals: signals, file: file, tickets: tickets, listeners: listeners, admin: admin,
                basis: .init(snapshot: snapshot, inputs: inputs)))
        try startWorkers(
            count, group, metrics, seed: seed, connectionsMax: connections, control.listeners)
        _ = control.advanceReadiness()
        logStart(control, workers: count)
        return control
    }

    private static func watch(
        _ document: Document, _ resolver: Resolver, _ log: ProcessLog
    ) throws(SystemError) {
        try resolver.watch(Names.wanted(document))
        resolver.waitForFirstAnswers(limit: .seconds(2))
        // What changes from here on is told to the control loop.
        Names.report(resolver.takeChanges(), [document], resolver.answers, log)
    }

    private static func workerCount(_ options: ServerOptions, _ document: Document) -> Int {
        if options.workers > 0 { return min(64, options.workers) }
        return document.workers > 0 ? document.workers : min(64, Machine.workerCount())
    }

    /// Each client connection may need one to an endpoint; some descriptors are for the rest.
    private static func connectionsMax(_ document: Document, descriptors: Int) -> Int {
        let all =
            document.limits.connections > 0
            ? document.limits.connections : max(16, (descriptors - 64) / 2)
        return max(1, min(all, 1 << 24))
    }

    private static func startWorkers(
        _ count: Int, _ group: WorkerGroup, _ metrics: MetricRegistry, seed: UInt64,
        connectionsMax: Int, _ listeners: Listeners
    ) throws(SystemError) {
        var random = PRNG(seed: seed ^ 0x5bd1_e995)
        for index in 0..<count {
            let snapshot = group.cell.retained()
            let setup = DataPlane.Setup(
                worker: index, snapshot: snapshot, metrics: metrics, seed: random.next(),
                connectionsMax: connectionsMax)
            try WorkerThread.start(index: index, group: group, setup: setup) { worker in
                group.add(worker)
                group.logWriter.add(worker.logRing)
            }
        }
        // Only now: whoever accepts may give the connection to any of them.
        for listener in listeners.open {
            group.tellAll(.addListener(descriptor: listener.descriptor, listener: listener.id))
        }
    }

    private static func logStart(_ control: ControlLoop, workers: Int) {
        let addresses = control.listeners.open.map { "\($0.name)=\(Listeners.text($0))" }
        Machine.releaseCode()
        control.log.info(
            "sluice started",
            [
                ("version", SluiceVersion.text), ("config", control.file.path),
                ("hash", control.file.hash), ("workers", "\(workers)"),
                ("listeners", addresses.joined(separator: ",")),
                ("admin", control.admin.text(isAdmin: true)),
                ("metrics", control.admin.text(isAdmin: false)),
                ("ready", control.readiness.reason(control) ?? "yes"),
            ])
    }

    /// The inputs that the compiler needs beside the document.
    static func inputs(
        _ file: ConfigurationFile, generation: UInt64, answers: [Resolver.Name: Resolver.Answer]
    ) -> SnapshotCompiler.Inputs {
        var addresses: [Document.NameAndPort: [Address]] = [:]
        for (name, answer) in answers {
            addresses[Document.NameAndPort(name: name.host, port: name.port)] = answer.addresses
        }
        var inputs = SnapshotCompiler.Inputs(
            generation: generation, hash: file.hash, addresses: addresses,
            stickyKeys: file.stickyKeys, transports: file.tls.transports, now: SystemClock.now())
        if case .template(let template, _)? = file.document.accessLog?.format {
            inputs.hostName = Machine.hostName()
            inputs.environment = Machine.variables(template.environment)
        }
        return inputs
    }
}
