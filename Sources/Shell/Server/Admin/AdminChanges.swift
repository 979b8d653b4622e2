import Admin
import Files
import JSON

// Changes that somebody asks for on the admin endpoint, and what is answered to them.

extension ControlLoop {
    func answer(_ request: AdminRequest) -> AdminResponse {
        switch AdminRouter.answer(to: request, ControlView(self)) {
        case .page(let page): return page
        case .change(.reload): return reloadForAdmin()
        case .change(.drain):
            beginDrain(cause: "admin")
            return AdminRouter.drainPage(ControlView(self))
        case .change(.logLevel(let level)):
            log.level = level
            return AdminRouter.logPage(level)
        }
    }

    private func reloadForAdmin() -> AdminResponse {
        switch reload(cause: "admin") {
        case .accepted(let generation):
            return .json(
                .object([
                    ("result", .string("accepted")), ("generation", .integer(Int(generation))),
                    ("hash", .string(file.hash)),
                ]))
        case .rejected(let text):
            return .json(
                .object([("result", .string("rejected")), ("error", .string(text))]), status: 409)
        }
    }
}
