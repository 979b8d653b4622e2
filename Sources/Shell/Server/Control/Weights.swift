import Admin
import Base
import Configuration
import Files
import JSON
import Platform
import Routing
import Upstream

/// Who waits for a change of weights, and of which service.
struct WeightsAsk: Sendable {
    var ticket: UInt64
    var service: String
    /// The service's entry of before, for a change that a trip takes back.
    var previous: Overlay.Entry?
    /// Versions whose weight it raises, and those among them that it lets in again.
    var raised: [String] = []
    var lettingIn: [String] = []
    /// Trip counts of the service's versions when it was asked for.
    var tripCounts: [String: Int] = [:]
}

/// Does what `OverlayMachine` says. The disk is written on a thread of its own, which tells by
/// letters; nothing here waits.
extension ControlLoop {
    typealias Overlays = OverlayMachine<WeightsAsk>

    // MARK: Asks

    /// Gives a service the weights that somebody asked for.
    /// - Returns: the answer; `nil` when the answer comes later, by the ticket.
    func setWeights(
        _ service: String, _ words: [(version: String, weight: String)],
        _ options: AdminChange.WeightsOptions, ticket: UInt64
    ) -> AdminResponse? {
        guard let index = file.own.services.firstIndex(where: { $0.name == service }) else {
            return unknown(service)
        }
        let shares: [Overlay.Share]
        switch WeightWords.shares(words, of: file.own.services[index]) {
        case .success(let read): shares = read
        case .failure(let problem): return .error(400, problem.text)
        }
        let entry = Overlay.Entry(
            shares: shares, stable: overlays.overlay.services[service]?.stable,
            fingerprint: file.own.fingerprint(ofService: index))
        return change(service, index, to: entry, options, ticket: ticket)
    }

    /// Gives a service the weights of the file.
    /// - Returns: as `setWeights` does.
    func followFile(
        _ service: String, _ options: AdminChange.WeightsOptions, ticket: UInt64
    ) -> AdminResponse? {
        guard let index = file.own.services.firstIndex(where: { $0.name == service }) else {
            return unknown(service)
        }
        guard overlays.overlay.services[service] != nil else {
            guard activeRollout(of: service)?.isDrifting == true else {
                return .error(409, "the weights of \"\(service)\" are the file's already")
            }
            settleDrift(service)
            return WeightsPage.changed(service, ControlView(self))
        }
        return change(service, index, to: nil, options, ticket: ticket)
    }

    private func unknown(_ service: String) -> AdminResponse {
        let names = file.own.services.map(\.name)
        // A name that is longer than names may be is no slip of one.
        let closest =
            service.utf8.count <= 63 ? DidYouMean.closest(to: service, among: names) : nil
        return .error(
            404,
            "there is no service \"\(service)\" in force; "
                + (closest.map { "did you mean \"\($0)\"?" }
                    ?? "there are: \(names.joined(separator: ", "))"))
    }

    private func change(
        _ service: String, _ index: Int, to entry: Overlay.Entry?,
        _ options: AdminChange.WeightsOptions, ticket: UInt64
    ) -> AdminResponse? {
        guard file.overlayFile != nil else {
            return .error(
                409,
                "there is no place for weights that are not the file's; write rollouts: "
                    + "{ directory: /var/lib/sluice } into \(file.path), and reload")
        }
        var next = overlays.overlay
        next.apply(OverlayChange(service: service, entry: entry))
        let merge = OverlayMerge(file.own, under: next)
        if !options.isForced, let empty = emptyVersion(index, in: merge.document) {
            return .error(
                409,
                "\(service)/\(empty) has no endpoint, and its share would be answered with 503; "
                    + "give it endpoints, or say --force")
        }
        // A rollout that stands still because the file has changed waits for this very word.
        if let driver = activeRollout(of: service), entry != nil || !driver.isDrifting {
            guard options.isForced else {
                return .error(
                    409,
                    "the rollout of plan \(driver.name) changes the weights of \(service) now; "
                        + "sluice rollout abort \(driver.name) ends it, and --force pauses it")
            }
            tellWeightsByHand(service, by: "a person")
        }
        // Weights that are the file's need no overlay.
        let isFile =
            merge.document.fingerprint(ofService: index)
            == file.own.fingerprint(ofService: index)
        let change = OverlayChange(service: service, entry: isFile ? nil : entry)
        let step = WeightChange(from: file.document, to: merge.document, service: index)
        let ask = ask(service, step, options, ticket: ticket)
        if !options.resetsGuard, let version = ask.raised.first(where: ask.lettingIn.contains) {
            return .error(
                409,
                "the guard has taken \(service)/\(version) out, and these weights would raise it; "
                    + "look at sluice evidence, then say --reset-guard to let it in again with "
                    + "them, or give it no more than it has")
        }
        let request = Overlays.Request([change], ask: ask)
        let now = SystemClock.now()
        perform(
            step.goesBack
                ? overlays.goBack(request, now: now) : overlays.goForward(request, now: now))
        return nil
    }

    /// Whoever waits for a change of weights, with all that a trip meanwhile is told by.
    func ask(
        _ service: String, _ step: WeightChange, _ options: AdminChange.WeightsOptions,
        ticket: UInt64
    ) -> WeightsAsk {
        let names =
            file.document.services.first { $0.name == service }?.versions.map(\.name) ?? []
        var ask = WeightsAsk(ticket: ticket, service: service)
        ask.previous = overlays.overlay.services[service]
        ask.raised = step.gaining.map { names[$0] }
        // Without the wish, they are the versions that stand in the way.
        let out = versionsOut(of: service)
        ask.lettingIn = options.resetsGuard ? out : out.filter(ask.raised.contains)
        ask.tripCounts = tripCounts(of: service)
        return ask
    }

    /// A version without endpoints that would get more than it has.
    private func emptyVersion(_ index: Int, in next: Document) -> String? {
        let snapshot = group.cell.retained()
        defer { snapshot.release() }
        let change = WeightChange(from: file.document, to: next, service: index)
        let plan = snapshot.value.services[index].versions
        for v in change.gaining where plan.start + v < plan.end {
            let cluster = snapshot.value.versions[plan.start + v].cluster
            if cluster.value.endpoints.count == 0 { return next.services[index].versions[v].name }
        }
        return nil
    }

    // MARK: Effects

    func perform(_ effects: [Overlays.Effect]) {
        for effect in effects {
            switch effect {
            case .write(let overlay, let goesBack): startWriting(overlay, goesBack: goesBack)
            case .publish(let asks): publishWeights(asks)
            case .refuse(let asks, let why):
                for ask in asks where !settleOrder(ask.ticket, refused: why) {
                    log.error(
                        "weights are not taken", [("service", ask.service), ("why", why)])
                    answer(ask.ticket, .error(obstacle(ask) == nil ? 503 : 409, why))
                }
            case .warn(let why):
                log.error(
                    "weights, or versions that are out, are not written; a restart would not know "
                        + "them",
                    [("why", why), ("nextTry", Units.text(Overlays.retryAfter))])
            case .recovered: log.info("the overlay in force is written")
            }
        }
    }

    private func startWriting(_ overlay: Overlay, goesBack: Bool) {
        guard let place = file.overlayFile else {
            return perform(
                overlays.failed(
                    "the file has no rollouts: any more", isOldKept: true, now: SystemClock.now()))
        }
        let (inbox, watch) = (inbox, watch)
        watch?.willWrite(place.path)
        writing.put {
            let failure = place.write(overlay, usesReserve: goesBack)
            // Our own writing is no news.
            watch?.noteWritten(place.path)
            inbox.put(.overlayWritten(failure: failure))
        }
    }

    /// A write has ended.
    func takeWritten(failure: OverlayFile.WriteFailure?) {
        let now = SystemClock.now()
        if let failure {
            perform(overlays.failed(failure.text, isOldKept: failure.isOldKept, now: now))
        } else {
            overlayProblem = nil
            perform(overlays.written(now: now) { $0.ask.flatMap(obstacle) })
        }
    }

    /// The overlay in force is another. Compiling and publishing go the way of new addresses.
    private func publishWeights(_ asks: [WeightsAsk]) {
        file = file.overlaid(by: overlays.overlay)
        let now = SystemClock.now()
        if asks.isEmpty { perform(reloads.weightsChanged(nil, now: now)) }
        for ask in asks {
            waitingForWeights[ask.ticket] = ask
            perform(
                reloads.weightsChanged(.init(cause: "weights", ticket: ask.ticket), now: now))
        }
    }

    /// New weights, or addresses, are in force in every worker.
    func finishRenewal(_ asks: [Reloads.Ask]) {
        if asks.isEmpty {
            return log.info("names resolved anew", [("generation", "\(generation)")])
        }
        for ask in asks {
            guard let ticket = ask.ticket, let change = waitingForWeights[ticket] else { continue }
            waitingForWeights[ticket] = nil
            let service = change.service
            if let why = settleTrips(behind: change) {
                // Going back needs no disk, and whoever asked has no need to wait for it.
                takeBack(change)
                log.error("weights are not taken", [("service", service), ("why", why)])
                if settleOrder(ticket, refused: why) { continue }
                answer(ticket, .error(409, why))
                continue
            }
            if settleOrder(ticket, refused: nil) { continue }
            let view = ControlView(self)
            if let state = WeightsPage.line(of: service, view) {
                log.info(
                    "weights changed",
                    [("service", service), ("weights", state), ("generation", "\(generation)")])
            }
            settleDrift(service)
            answer(ticket, WeightsPage.changed(service, view))
        }
    }

    /// Puts the weights of before in force again, unless somebody else has changed them since.
    private func takeBack(_ change: WeightsAsk) {
        guard !waitingForWeights.values.contains(where: { $0.service == change.service }) else {
            return
        }
        perform(
            overlays.goBack(
                .init([OverlayChange(service: change.service, entry: change.previous)], ask: nil),
                now: SystemClock.now()))
    }

    // MARK: What was read

    /// The overlay to compile a candidate with: as it was read beside its file, unless memory is
    /// newer or the file of the overlay is not believed.
    func overlay(for candidate: ReloadCandidate) -> Overlay {
        candidate.file.overlayFile == nil
            || candidate.file.overlayProblem == nil
                && !overlays.isNewer(than: candidate.overlaySerial)
            ? candidate.file.overlayRead : overlays.overlay
    }

    /// A candidate comes into force with its overlay.
    func adopt(_ candidate: ReloadCandidate) {
        let next = overlay(for: candidate)
        overlayProblem = candidate.file.overlayProblem
        if overlayProblem != nil {
            overlays.distrustDisk()
        } else if !overlays.isNewer(than: candidate.overlaySerial) {
            overlays.take(next)
        }
        file = candidate.file.overlaid(by: next)
    }

    /// Says what became of the overlay, and forgets entries that have no force any more; behind a
    /// start and a reload.
    func settleOverlay() {
        if let place = file.overlayFile { writing.put { place.reserve() } }
        remindOfTrips()
        keepTrips()
        if let overlayProblem {
            log.error(
                "the overlay is not believed, "
                    + (overlays.overlay.services.isEmpty
                        ? "the file's own weights hold" : "the last good one holds"),
                [("why", overlayProblem)])
        }
        for (i, source) in file.sources.enumerated() {
            guard case .drift(let entry, let shares, let obstacle) = source else { continue }
            let service = file.own.services[i].name
            log.warning(
                "the file's weights of a service are not applied: \(obstacle.text); sluice weights "
                    + "follow \(service) takes them",
                [
                    ("service", service), ("inForce", entry.text), ("from", entry.author),
                    ("file", Overlay.text(shares)),
                ])
        }
        for service in file.document.services {
            for problem in service.stageRules?.problems ?? [] {
                log.warning(
                    "the rule of a rollout's stage has no force over this file, and nobody goes to "
                        + "the canary by it",
                    [("service", service.name), ("why", problem)])
            }
        }
        guard !file.dropped.isEmpty else { return }
        for (service, entry, why) in file.dropped {
            log.warning(
                "the overlay of a service has ended: \(why.text)",
                [("service", service), ("overlay", entry.text), ("from", entry.author)])
        }
        perform(overlays.drop(file.dropped.map(\.service), now: SystemClock.now()))
        file = file.overlaid(by: overlays.overlay)
    }
}
