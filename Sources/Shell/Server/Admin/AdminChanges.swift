import Admin
import Base
import Configuration
import Files
import JSON
import Platform

// Requests to the admin endpoint that the process itself has to do with, and their answers.

extension ControlLoop {
    typealias Pages = PageQueue<AdminPage, UInt64>

    /// - Returns: the answer; `nil` when the answer comes later, by the ticket.
    func answer(_ request: AdminRequest, ticket: UInt64) -> AdminResponse? {
        switch AdminRouter.answer(to: request, ControlView(self)) {
        case .page(let page): return page
        case .work(.configuration): return describeConfiguration(ticket: ticket)
        case .work(let page): return make(page, ticket: ticket)
        case .change(.reload):
            askForReload(cause: "admin", ticket: ticket)
            return nil
        case .change(.drain):
            beginDrain(cause: "admin")
            return AdminRouter.drainPage(ControlView(self))
        case .change(.setWeights(let service, let words, let options)):
            return setWeights(
                service, words.map { ($0.version, $0.weight) }, options, ticket: ticket)
        case .change(.followFile(let service, let options)):
            return followFile(service, options, ticket: ticket)
        case .change(.rollout(let request)): return command(request, ticket: ticket)
        case .change(.logLevel(let level)):
            log.level = level
            return AdminRouter.logPage(level)
        case .change(.resetGuard(let service)):
            return AdminRouter.guardPage(
                service: service, versions: resetGuard(service: service))
        }
    }

    // MARK: Pages

    /// Has a page made by the thread that is there for it.
    /// - Returns: a refusal, where too many are under way; `nil`: the page comes later.
    func make(_ page: AdminPage, ticket: UInt64) -> AdminResponse? {
        guard admin.takePage(ticket) else {
            var refusal = AdminResponse.error(
                503, "too many pages are being made or read at this time; ask again soon")
            refusal.retryAfter = 5
            return refusal
        }
        if let next = pages.ask(page, ticket, isThere: admin.isWaiting) { begin(next) }
        return nil
    }

    private func begin(_ page: AdminPage) {
        let rollouts: [RolloutView] =
            switch page {
            case .rollouts: rolloutViews(withForecast: true)
            case .metrics: rolloutViews(withForecast: false)
            default: []
            }
        let (view, inbox) = (ControlView(self, rollouts: rollouts), inbox)
        making.put { inbox.put(.pageMade(AdminRouter.make(page, view))) }
    }

    func pageMade(_ response: AdminResponse) {
        let (tickets, next) = pages.made(isThere: admin.isWaiting)
        if let next { begin(next) }
        for ticket in tickets { answer(ticket, response) }
        lookAtClients(SystemClock.now())
    }

    /// Gives up clients of the admin and metrics endpoints whose time is over.
    func lookAtClients(_ now: Instant) {
        let next = admin.giveUpLate(now: now)
        if !next.isNever { agenda.set(.lookAtClients, noLaterThan: next) }
    }

    /// Answers with the configuration in force, and whether the file is another by now. Looking at
    /// the file may take for ever, and so is done by the thread that reads, for one at a time;
    /// meanwhile nothing is known of the file to the others.
    private func describeConfiguration(ticket: UInt64) -> AdminResponse? {
        guard !hashes, case .idle = reloads.reader else {
            return make(.configuration(onDisk: nil), ticket: ticket)
        }
        hashes = true
        let (path, inbox) = (file.path, inbox)
        reading.put {
            let bytes = (try? Files.read(path, bytesMax: ConfigurationFile.bytesMax)) ?? []
            inbox.put(.hashed(ticket: ticket, ConfigurationReading.hash(bytes)))
        }
        return nil
    }

    /// The file was looked at for a page of the configuration.
    func hashed(_ hash: String, ticket: UInt64) {
        hashes = false
        guard admin.isWaiting(ticket) else { return }
        if let refusal = make(.configuration(onDisk: hash), ticket: ticket) {
            answer(ticket, refusal)
        }
    }
}

extension ReloadOutcome {
    /// The answer to those who asked for a reload.
    var page: AdminResponse {
        switch self {
        case .accepted(let generation, let hash):
            return .json(
                .object([
                    ("result", .string("accepted")), ("generation", .integer(Int(generation))),
                    ("hash", .string(hash)),
                ]))
        case .rejected(let text):
            return .json(
                .object([("result", .string("rejected")), ("error", .string(text))]), status: 409)
        }
    }
}
