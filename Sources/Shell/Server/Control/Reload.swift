import Base
import Configuration
import Files
import Platform
import Resolver
import Synchronization
import Telemetry

/// The outcome of reloads, for the metrics and the admin endpoint.
struct ReloadStatus {
    var accepted: UInt64 = 0
    var rejected: UInt64 = 0
    /// The last rejection's text; empty when the last reload was accepted.
    var lastRejection = ""
    var lastAcceptedAt = SystemClock.wall()
}

extension ControlLoop {
    enum ReloadOutcome {
        case accepted(generation: UInt64)
        case rejected(String)
    }

    /// Reads the file again. Accepted: new requests see it. Rejected: everything goes on as before.
    @discardableResult
    func reload(cause: String) -> ReloadOutcome {
        switch ConfigurationFile.load(options.configPath, tickets: tickets) {
        case .failure(let rejection): return reject(rejection.text, cause, rejection.files)
        case .success(let next):
            let accessLog: LogWriter.Prepared
            do throws(SystemError) {
                accessLog = try logWriter.prepare(next.accessLogPath)
            } catch {
                return reject(next.accessLogFailure(error), cause, next.files)
            }
            let change: Listeners.Change
            do throws(Listeners.Failure) {
                change = try listeners.prepare(next.document) { registry.metrics.listener($0) }
            } catch {
                LogWriter.discard(accessLog)
                return reject(error.text, cause, next.files)
            }
            warnAboutFixedSettings(next.document, change)
            file = next
            watchFiles()
            log.configure(level: next.document.logLevel, isJSON: next.document.logsJSON)
            watchNames()
            group.admission.apply(next.document.limits)
            publish(listeners.numbers(after: change))
            apply(change)
            noteSnapshot()
            logWriter.use(accessLog)
            status.accepted += 1
            status.lastRejection = ""
            status.lastAcceptedAt = SystemClock.wall()
            if !next.warnings.isEmpty { log.warning(next.warnings) }
            log.info(
                "configuration reloaded",
                [("cause", cause), ("hash", next.hash), ("generation", "\(generation)")])
            return .accepted(generation: generation)
        }
    }

    private func reject(_ text: String, _ cause: String, _ files: [String]) -> ReloadOutcome {
        // Links on the way to them may lead elsewhere now, and will be mended there.
        watchFiles(and: files)
        status.rejected += 1
        status.lastRejection = text
        log.error(
            "configuration rejected, the old one stays in force", [("cause", cause), ("why", text)])
        return .rejected(text)
    }

    /// How long a reload waits for the first answers of new names. Admin and probes wait with it.
    private static let namesWait = Duration.seconds(1)

    private func watchNames() {
        do throws(SystemError) {
            try resolver.watch(Names.wanted(file.document))
        } catch {
            log.error("names cannot be resolved", [("error", error.message)])
        }
        resolver.waitForFirstAnswers(limit: ControlLoop.namesWait)
        Names.report(resolver.takeChanges(), file.document, resolver.answers, log)
    }

    private func warnAboutFixedSettings(_ next: Document, _ change: Listeners.Change) {
        for listener in change.fixed {
            log.warning(
                "a listener on [::] takes, or leaves, IPv4 from the next start on",
                [("listener", listener.name), ("address", Listeners.text(listener))])
        }
        var fixed: [String] = []
        if next.workers != started.workers { fixed.append("workers") }
        if next.admin != started.admin { fixed.append("admin") }
        if next.metrics != started.metrics { fixed.append("metrics") }
        if next.limits.connections != started.limits.connections {
            fixed.append("limits.connections")
        }
        if !fixed.isEmpty {
            log.warning(
                "some settings take effect at the next start",
                [("settings", fixed.joined(separator: " "))])
        }
    }

    /// A name has new addresses: the same document, compiled with them.
    func republish() {
        publish(listeners.numbers(after: Listeners.Change()))
        log.info("names resolved anew", [("generation", "\(generation)")])
    }

    /// Compiles the document in force and waits, with a bound, until every worker uses it.
    /// - Parameter numbers: of the listeners, by their sockets.
    private func publish(_ numbers: [Int32: Int]) {
        generation += 1
        let snapshot = SnapshotCompiler.compile(
            file.document,
            Startup.inputs(file, generation: generation, answers: resolver.answers),
            registry: registry)
        group.directory = TLSDirectory(
            file.document, file.tls, registry, listeners: numbers, previous: group.directory)
        group.cell.publish(snapshot)
        for worker in group.workers { worker.mailbox.wake() }
        let deadline = SystemClock.now() + .seconds(1)
        while SystemClock.now() < deadline {
            let done = group.workers.allSatisfy {
                $0.generation.load(ordering: .acquiring) >= generation
            }
            if done { return }
            SystemClock.pause(.milliseconds(1))
        }
    }

    private func apply(_ change: Listeners.Change) {
        for added in change.added {
            group.tellAll(.addListener(descriptor: added.descriptor, listener: added.id))
        }
        for removed in change.removed {
            group.tellAll(.removeListener(descriptor: removed.descriptor))
        }
        if !change.removed.isEmpty {
            waitForListenersRemoved(count: change.removed.count)
            for removed in change.removed { removed.close() }
        }
        listeners.commit(change)
    }
}
