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
        tell(driver, .command(command, by: by), ask: ticket)
        agenda.set(.lookAtRollouts, noLaterThan: SystemClock.now())
        return nil
    }

    // MARK: Starting

    /// Everything that stands against a start, at once, each with advice on what to do.
    private func obstacles(
        _ plan: RolloutPlan, _ service: Document.Service, isDryRun: Bool
    ) -> [String] {
        var found: [String] = []
        let stable = service.versions[service.stable].name
        if plan.canary == stable {
            found.append(
                "\(plan.canary) is the stable version of \(plan.service) already; name another "
                    + "version in canary:, or make the old one stable: again")
        }
        let canaryCount = endpointCount(plan.service, plan.canary)
        if canaryCount < plan.minEndpoints {
            found.append(
                "\(plan.canary) has \(canaryCount) endpoints in rotation and \(plan.minEndpoints) "
                    + "are wanted (minEndpoints); give it endpoints, or wait until they are healthy"
            )
        }
        if endpointCount(plan.service, stable) == 0 {
            found.append("\(stable), which would take everybody back, has no endpoint in rotation")
        }
        if file.overlayFile == nil {
            found.append(
                "there is no place for the journal; write rollouts: { directory: /var/lib/sluice } "
                    + "into \(file.path), and reload")
        }
        if let other = activeRollout(of: plan.service), other.name != plan.name {
            found.append(
                "the rollout of plan \(other.name) changes the weights of \(plan.service) now; one "
                    + "at a time: sluice rollout abort \(other.name), or wait for its end")
        }
        return found
    }

    private func start(
        _ plan: RolloutPlan, _ request: RolloutRequest, _ driver: RolloutDriver, by: String,
        ticket: UInt64
    ) -> AdminResponse? {
        guard let index = file.own.services.firstIndex(where: { $0.name == plan.service }) else {
            return .error(409, "the file in force has no service \"\(plan.service)\"")
        }
        if case .closed(let problem) = driver.journal {
            return .error(
                409, "the journal of \(plan.name) cannot be written: \(problem)")
        }
        // As in force: an earlier rollout may have moved the stable version, and the file not have
        // followed yet.
        let service = file.document.services[index]
        let stable = service.versions[service.stable]
        let canary = service.versions.first { $0.name == plan.canary }
        let revision = request.revision ?? canary?.revision
        if driver.isActive, request.supersedes {
            driver.waiting.append((request, ticket))
            tell(driver, .command(.supersede, by: by))
            return nil
        }
        if let why = RolloutMachine.mayStart(
            plan, canaryRevision: revision, after: driver.machine,
            isRetry: request.verb == .retry)
        {
            return .error(409, why)
        }
        let against = obstacles(plan, service, isDryRun: request.isDryRun)
        if !against.isEmpty { return .error(409, against.joined(separator: "; ")) }
        var run = RolloutRun(
            number: driver.runCount + 1, plan: plan, stable: stable.name, startedBy: by,
            startedAt: SystemClock.wall(), share: share(of: plan, service),
            canaryEndpoints: endpointCount(plan.service, plan.canary),
            stableEndpoints: endpointCount(plan.service, stable.name))
        run.canaryRevision = revision
        run.stableRevision = stable.revision
        run.settings = request.values
        run.isDryRun = request.isDryRun
        if request.verb == .retry { run.retries = (driver.machine?.state.run.retries ?? 0) + 1 }
        begin(run, driver, fingerprint: file.own.fingerprint(ofService: index))
        return .json(
            .object([
                ("result", .string("started")), ("id", .string(run.id)),
                (
                    "text",
                    .string(
                        "sluice rollout status \(plan.name) --watch shows it, sluice rollout abort "
                            + "\(plan.name) takes it back")
                ),
            ]))
    }

    /// The canary's share of its own and the stable version's requests in force, in hundredths of a
    /// percent.
    private func share(of plan: RolloutPlan, _ service: Document.Service) -> Int {
        let inForce =
            file.document.services.first { $0.name == service.name }?.versions ?? service.versions
        let sum = inForce.reduce(0) { $0 + $1.weight }
        let canary = inForce.first { $0.name == plan.canary }?.weight ?? 0
        return sum > 0 ? canary * 10_000 / sum : 0
    }

    private func begin(_ run: RolloutRun, _ driver: RolloutDriver, fingerprint: String) {
        // A new rollout is a person's decision that the version gets its share again.
        _ = resetGuard(service: run.plan.service)
        let wall = SystemClock.wall()
        driver.toldAt = SystemClock.now()
        driver.toldWall = wall
        driver.runCount = run.number
        driver.fingerprint = fingerprint
        driver.endpoints = nil
        driver.judge = StageJudge(run.plan.judge)
        driver.matchedStage = nil
        let (machine, effects) = RolloutMachine.start(run, after: driver.sequence, now: wall)
        driver.machine = machine
        driver.sequence = machine.sequence
        perform(effects, driver, wall)
        agenda.set(.lookAtRollouts, noLaterThan: SystemClock.now())
    }
}
