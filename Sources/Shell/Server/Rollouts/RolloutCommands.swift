import Admin
import Base
import Configuration
import Files
import JSON
import Platform
import Rollout

/// Commands of people to rollouts.
extension ControlLoop {
    /// Does what somebody asks of a rollout.
    /// - Returns: the answer; `nil` when the answer comes later, by the ticket.
    func command(_ request: RolloutRequest, ticket: UInt64) -> AdminResponse? {
        let plans = file.document.rollouts?.plans ?? []
        guard let driver = rollouts[request.name] else {
            return .error(404, RolloutPage.unknown(request.name, among: plans.map(\.name)))
        }
        if case .opening = driver.journal {
            driver.waiting.append((request, ticket))
            return nil
        }
        if let lost = lostRollout(driver) {
            guard request.verb == .abort else { return .error(409, lost.text) }
            return takeBack(lost, driver, request)
        }
        if request.discardsJournal, request.verb == .abort {
            return discardJournal(driver, ticket: ticket)
        }
        switch driver.journal {
        case .opening, .open: break
        case .standby(let holder):
            return .error(409, "\(holder); say it to that process, by its admin address")
        case .closed(let problem):
            guard request.verb == .start || request.verb == .retry, !driver.isActive,
                !drain.isUnderWay, !driver.hasTriedAgain
            else {
                driver.hasTriedAgain = false
                return .error(409, "the journal of \(driver.name) cannot be used: \(problem)")
            }
            driver.hasTriedAgain = true
            driver.waiting.append((request, ticket))
            openJournal(driver)
            return nil
        }
        driver.hasTriedAgain = false
        let by = request.by ?? "a person"
        switch request.verb {
        case .start, .retry:
            guard let plan = plans.first(where: { $0.name == request.name }) else {
                return .error(409, "the plan \"\(request.name)\" is not in the file any more")
            }
            return start(plan, request, driver, by: by, ticket: ticket)
        default: break
        }
        guard let machine = driver.machine else {
            return .error(
                409,
                "no rollout of \(request.name) has begun; sluice rollout start \(request.name) "
                    + "begins one")
        }
        let command: RolloutCommand
        switch request.verb {
        case .approve:
            command = .approve(
                id: request.id ?? machine.state.run.id, stage: request.stage ?? "")
        case .pause: command = .pause
        case .resume: command = .resume
        case .abort: command = .abort(force: request.isForced)
        case .skip:
            command = .skip(stage: request.stage ?? "")
        case .finish: command = .finish(force: request.isForced)
        case .look: command = .look
        case .start, .retry: return nil
        }
        // A rollback looks at the endpoints of now, and not at those of the last second.
        if driver.isActive { tellEndpoints(driver, machine.state.run) }
        tell(driver, .command(command, by: by), ask: ticket)
        agenda.set(.lookAtRollouts, noLaterThan: SystemClock.now())
        return nil
    }
}
