import Admin
import Base
import Configuration
import Errands
import Files
import Platform
import Resolver
import Synchronization
import TLS
import Telemetry
import Upstream

/// The outcome of reloads, for the metrics and the admin endpoint.
struct ReloadStatus {
    var accepted: UInt64 = 0
    var rejected: UInt64 = 0
    /// The last rejection's text; empty when the last reload was accepted.
    var lastRejection = ""
    var lastAcceptedAt = SystemClock.wall()
}

/// A file that was read and is good, with what was opened for it.
struct ReloadCandidate: Sendable {
    var file: ConfigurationFile
    var accessLog: LogWriter.Prepared
    /// The overlay's serial number when the reading began.
    var overlaySerial: UInt64
    /// Sockets that come and go, once they are open.
    var change = Listeners.Change()
}

/// A snapshot that was compiled, with what goes into force beside it.
struct CompiledSnapshot: Sendable {
    /// Owns a reference to the snapshot.
    var basis: SnapshotCompiler.Basis
    var directory: TLSDirectory
    /// The census of its series; `nil` where the snapshot names those of the one before.
    var census: SeriesRetention.Census?
    /// Users whom it moves although no weight asks for that.
    var moves: [SessionMove]
}

enum ReloadOutcome {
    case accepted(generation: UInt64, hash: String)
    case rejected(String)
}

/// Does what `ReloadMachine` says. Reading and compiling are done on threads of their own, which
/// tell by letters; nothing here waits.
extension ControlLoop {
    typealias Reloads = ReloadMachine<ReloadCandidate, CompiledSnapshot>

    /// Wants the file to be read again. Accepted: new requests see it. Rejected: everything goes on
    /// as before.
    /// - Parameter ticket: of the admin request that waits for the outcome.
    func askForReload(cause: String, ticket: UInt64? = nil) {
        perform(reloads.ask(.init(cause: cause, ticket: ticket), now: SystemClock.now()))
    }

    func take(_ letter: ControlLetter) {
        let now = SystemClock.now()
        switch letter {
        case .fileRead: reloads.fileRead(now: now)
        case .accepted(let candidate): perform(reloads.accept(candidate, now: now))
        case .rejected(let rejection): perform(reloads.reject(rejection, now: now))
        case .compiled(let product): perform(reloads.compiled(product, now: now))
        case .filesChanged: askForReload(cause: "watch")
        case .overlayWritten(let failure): takeWritten(failure: failure)
        case .journalOpened(let plan, let outcome): journalOpened(plan, outcome)
        case .journalDiscarded(let plan, let ticket, let outcome):
            journalDiscarded(plan, outcome, ticket: ticket)
        case .journalWritten(let plan, let sequence, let failure):
            journalWritten(plan, sequence, failure)
        case .errandDone(let report): errandDone(report.ticket, report.outcome, took: report.took)
        case .hashed(let ticket, let hash): hashed(hash, ticket: ticket)
        case .forgotten(let selection): forgotten(selection)
        case .pageMade(let page): pageMade(page)
        }
    }

    /// Names were looked up, or workers have taken something over.
    func advanceReload() {
        let now = SystemClock.now()
        if resolver.hasTriedAll { perform(reloads.namesTried(now: now)) }
        if haveAllConfirmed { perform(reloads.confirmed(now: now)) }
        if haveLetGo { perform(reloads.listenersReleased(now: now)) }
    }

    /// Performs effects in their order, and behind them those that they lead to.
    func perform(_ effects: [Reloads.Effect]) {
        var queue = effects
        var done = 0
        while done < queue.count {
            queue += perform(queue[done])
            done += 1
        }
    }

    private func perform(_ effect: Reloads.Effect) -> [Reloads.Effect] {
        switch effect {
        case .read: startReading()
        case .prepare(let candidate): return prepare(candidate)
        case .watchNames(let candidate): return watchNames(candidate)
        case .compile(let candidate): startCompiling(candidate)
        case .publish(let product, let candidate): return publish(product, candidate)
        case .changeListeners(let candidate): return changeListeners(candidate)
        case .finish(let candidate, let asks): finish(candidate, asks)
        case .finishRenewal(let asks): finishRenewal(asks)
        case .refuse(let asks, let refusal): refuse(asks, refusal)
        case .discard(let candidate):
            LogWriter.discard(candidate.accessLog)
            Listeners.discard(candidate.change)
            watchNames(of: [file.document])
        case .warnOfSlowCompilation:
            log.warning("compiling the configuration takes long; the old one stays in force")
        }
        return []
    }

    // MARK: Reading

    private func startReading() {
        let (path, tickets) = (options.configPath, tickets)
        let (inbox, watch, logWriter, serial) = (inbox, watch, logWriter, overlays.serial)
        reading.put {
            watch?.willRead()
            let outcome = ControlLoop.read(path, tickets, logWriter, serial) {
                inbox.put(.fileRead)
            }
            switch outcome {
            case .accepted(let candidate): watch?.noteRead(candidate.file.files)
            case .rejected(let rejection): watch?.noteRead(rejection.files)
            case .fileRead, .compiled, .filesChanged, .hashed, .overlayWritten, .journalOpened,
                .journalDiscarded, .journalWritten, .errandDone:
                break
            case .forgotten, .pageMade: break
            }
            inbox.put(outcome)
        }
    }

    /// Reads and checks the file, and opens its access log. On the reading thread: a file system
    /// that hangs, and a file that is large, stop nobody.
    private static func read(
        _ path: String, _ tickets: TLSTickets?, _ logWriter: LogWriter, _ overlaySerial: UInt64,
        whenRead: () -> Void
    ) -> ControlLetter {
        switch ConfigurationFile.load(path, tickets: tickets, whenRead: whenRead) {
        case .failure(let rejection):
            return .rejected(ReloadRejection(text: rejection.text, files: rejection.files))
        case .success(let next):
            do throws(SystemError) {
                return .accepted(
                    ReloadCandidate(
                        file: next, accessLog: try logWriter.prepare(next.accessLogPath),
                        overlaySerial: overlaySerial))
            } catch {
                return .rejected(
                    ReloadRejection(text: next.accessLogFailure(error), files: next.files))
            }
        }
    }

    // MARK: Before the compilation

    private func prepare(_ candidate: ReloadCandidate) -> [Reloads.Effect] {
        var candidate = candidate
        let now = SystemClock.now()
        do throws(Listeners.Failure) {
            candidate.change = try listeners.prepare(candidate.file.document) {
                registry.metrics.listener($0)
            }
        } catch {
            LogWriter.discard(candidate.accessLog)
            return reloads.unprepared(
                ReloadRejection(text: error.text, files: candidate.file.files), now: now)
        }
        warnAboutFixedSettings(candidate.file.document, candidate.change)
        return reloads.prepared(candidate, now: now)
    }

    /// Looks up the names of the candidate; those in force stay, until it is in force itself.
    private func watchNames(_ candidate: ReloadCandidate) -> [Reloads.Effect] {
        watchNames(of: [file.document, candidate.file.document])
        return resolver.hasTriedAll ? reloads.namesTried(now: SystemClock.now()) : []
    }

    private func watchNames(of documents: [Document]) {
        var names: [Resolver.Name: Duration] = [:]
        for document in documents { names.merge(Names.wanted(document), uniquingKeysWith: min) }
        do throws(SystemError) {
            try resolver.watch(names)
        } catch {
            log.error("names cannot be resolved", [("error", error.message)])
        }
    }

    /// Says what has become of names.
    /// - Returns: whether some name has other addresses since the last call.
    func takeAddresses() -> Bool {
        let changes = resolver.takeChanges()
        let next = reloads.underWay.map { [$0.file.document] } ?? []
        Names.report(changes, next + [file.document], resolver.answers, log)
        return changes.hasNewAddresses
    }

    // MARK: Compiling

    private func startCompiling(_ candidate: ReloadCandidate?) {
        // What the answers have from here on is part of the compilation.
        _ = takeAddresses()
        let next = candidate.map { $0.file.overlaid(by: overlay(for: $0)) } ?? file
        let change = candidate?.change ?? Listeners.Change()
        let inputs = Startup.inputs(next, generation: generation + 1, answers: resolver.answers)
        let numbers = listeners.numbers(after: change)
        var open = listeners
        open.commit(change)
        let ids = Set(open.open.map(\.id))
        let (basis, registry, inbox, previous) = (basis, registry, inbox, group.directory)
        let before = candidate.map { _ in file.document }
        let isSameListeners = candidate == nil || change.isEmpty
        compiling.put {
            let (snapshot, isReweighted) = SnapshotCompiler.compile(
                next.document, inputs, registry: registry, after: basis)
            let directory = TLSDirectory(
                next.document, next.tls, registry, listeners: numbers, previous: previous)
            let census =
                isReweighted && isSameListeners
                ? nil : ControlLoop.census(snapshot, listeners: ids, registry.metrics)
            inbox.put(
                .compiled(
                    CompiledSnapshot(
                        basis: .init(snapshot: snapshot, inputs: inputs), directory: directory,
                        census: census,
                        moves: before.map { SessionMove.all(from: $0, to: next.document) } ?? [])))
        }
    }

    /// The series that a snapshot names, and those that are gone.
    static func census(
        _ snapshot: SharedBox<Snapshot>, listeners: Set<Int>, _ metrics: MetricRegistry
    ) -> SeriesRetention.Census {
        var named = MetricRegistry.Selection()
        named.listeners = listeners
        for i in 0..<snapshot.value.rows.count { named.rows.insert(snapshot.value.rows[i].id) }
        for i in 0..<snapshot.value.versions.count {
            named.clusters.insert(snapshot.value.versions[i].cluster.value.id)
        }
        for i in 0..<snapshot.value.mirrors.count {
            let mirror = snapshot.value.mirrors[i]
            named.rows.insert(mirror.row.id)
            named.clusters.insert(mirror.cluster.value.id)
        }
        return SeriesRetention.Census(named, metrics)
    }

    // MARK: Into force

    /// Moves of users that one reload's warnings tell of.
    private static let movesToldMax = 8

    private func publish(
        _ product: CompiledSnapshot, _ candidate: ReloadCandidate?
    ) -> [Reloads.Effect] {
        generation = product.basis.inputs.generation
        for move in product.moves.prefix(ControlLoop.movesToldMax) {
            log.warning(
                "users move to another version, which the weights do not ask for",
                [("route", move.route), ("users", move.share), ("cause", move.cause)])
        }
        if let candidate {
            adopt(candidate)
            log.configure(level: file.document.logLevel, isJSON: file.document.logsJSON)
            group.admission.apply(file.document.limits)
            watchNames(of: [file.document])
        }
        group.directory = product.directory
        product.basis.snapshot.retain()
        retire(basis.snapshot)
        basis = product.basis
        if let census = product.census { noteSeries(census) }
        group.cell.publish(basis.snapshot)
        for worker in group.workers { worker.mailbox.wake() }
        return haveAllConfirmed ? reloads.confirmed(now: SystemClock.now()) : []
    }

    private var haveAllConfirmed: Bool {
        group.workers.allSatisfy { $0.generation.load(ordering: .acquiring) >= generation }
    }

    /// Whoever is last to let go of a snapshot takes it apart, which takes long where it is large:
    /// that is the compiling thread, once nobody else holds it.
    private func retire(_ snapshot: SharedBox<Snapshot>) {
        retired.append(snapshot)
        agenda.set(.releaseSnapshots, noLaterThan: SystemClock.now() + .seconds(1))
    }

    func releaseSnapshots() {
        let free = retired.filter { $0.isUnique }
        retired.removeAll { $0.isUnique }
        if !free.isEmpty {
            compiling.put { for snapshot in free { snapshot.release() } }
            // What they alone have named is nobody's behind that.
            forgetSeries()
        }
        if !retired.isEmpty {
            agenda.set(.releaseSnapshots, at: SystemClock.now() + .seconds(1))
        }
    }

    private func changeListeners(_ candidate: ReloadCandidate) -> [Reloads.Effect] {
        settleTrips()
        let change = candidate.change
        if drain.hasStoppedAccepting {
            // All that were open go with the drain.
            Listeners.discard(change)
        } else {
            for added in change.added {
                group.tellAll(.addListener(descriptor: added.descriptor, listener: added.id))
            }
            letGo(change.removed, for: .reload)
            listeners.commit(change)
        }
        return haveLetGo ? reloads.listenersReleased(now: SystemClock.now()) : []
    }

    private func finish(_ candidate: ReloadCandidate, _ asks: [Reloads.Ask]) {
        close(.reload)
        watch?.follow([options.configPath] + file.files)
        logWriter.use(candidate.accessLog)
        status.accepted += 1
        status.lastRejection = ""
        status.lastAcceptedAt = SystemClock.wall()
        if !file.warnings.isEmpty { log.warning(file.warnings) }
        log.info(
            "configuration reloaded",
            [("cause", causes(asks)), ("hash", file.hash), ("generation", "\(generation)")])
        settleOverlay()
        settleRollouts()
        answer(asks, .accepted(generation: generation, hash: file.hash))
    }

    // MARK: Answers

    private func causes(_ asks: [Reloads.Ask]) -> String {
        var causes: [String] = []
        for ask in asks where !causes.contains(ask.cause) { causes.append(ask.cause) }
        return causes.joined(separator: ",")
    }

    private func refuse(_ asks: [Reloads.Ask], _ refusal: Reloads.Refusal) {
        let rejection: ReloadRejection
        switch refusal {
        case .rejected(let reason): rejection = reason
        case .readingTooLong:
            rejection = ReloadRejection(
                text: "\(options.configPath) was not read within "
                    + "\(Units.text(Reloads.readLimit)): its file system does not answer; ask "
                    + "again when it does")
        case .checkingTooLong:
            rejection = ReloadRejection(
                text: "\(options.configPath) was not checked within "
                    + "\(Units.text(Reloads.checkLimit)): a file that it names is on a file system "
                    + "that does not answer, or the process has too little of a processor")
        case .draining:
            let text = "the process is draining: it ends with the configuration in force"
            log.warning("reload refused", [("cause", causes(asks)), ("why", text)])
            return answer(asks, .rejected(text))
        }
        // Links on the way to its files may lead elsewhere now, and will be mended there.
        watch?.follow([options.configPath] + file.files + rejection.files)
        status.rejected += 1
        status.lastRejection = rejection.text
        log.error(
            "configuration rejected, the old one stays in force",
            [("cause", causes(asks)), ("why", rejection.text)])
        answer(asks, .rejected(rejection.text))
    }

    private func answer(_ asks: [Reloads.Ask], _ outcome: ReloadOutcome) {
        for ask in asks {
            if let ticket = ask.ticket { answer(ticket, outcome.page) }
        }
    }

    func answer(_ ticket: UInt64, _ response: AdminResponse) {
        admin.answer(ticket, response) { self.answer($0, ticket: $1) }
        lookAtClients(SystemClock.now())
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
}
