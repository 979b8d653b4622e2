import Admin
import JSON

// Requests to the admin endpoint that the process itself has to do with, and their answers.

extension ControlLoop {
    /// - Returns: the answer; `nil` when the answer comes later, by the ticket.
    func answer(_ request: AdminRequest, ticket: UInt64) -> AdminResponse? {
        switch AdminRouter.answer(to: request, ControlView(self)) {
        case .page(let page): return page
        case .configuration: return describeConfiguration(ticket: ticket)
        case .change(.reload):
            askForReload(cause: "admin", ticket: ticket)
            return nil
        case .change(.drain):
            beginDrain(cause: "admin")
            return AdminRouter.drainPage(ControlView(self))
        case .change(.setWeights(let service, let words, let isForced)):
            return setWeights(
                service, words.map { ($0.version, $0.weight) }, isForced: isForced, ticket: ticket)
        case .change(.followFile(let service, let isForced)):
            return followFile(service, isForced: isForced, ticket: ticket)
        case .change(.logLevel(let level)):
            log.level = level
            return AdminRouter.logPage(level)
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
