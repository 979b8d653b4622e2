import Admin
import Base
import Configuration
import Files
import JSON
import Platform
import Rollout

/// The beginnings of rollouts: by a person, behind another rollout, or by a revision.
extension ControlLoop {
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
                    + "version in canary:" + wayBack(plan))
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

    /// How the users of a version that a rollout has made the stable one come back.
    private func wayBack(_ plan: RolloutPlan) -> String {
        guard let state = rollouts[plan.name]?.machine?.state, state.phase == .succeeded,
            !state.run.isDryRun, state.run.plan.canary == plan.canary
        else { return ", or make the old one stable: again" }
        return "; the way back is sluice weights set \(plan.service) \(state.sharesBack)"
    }

    func start(
        _ plan: RolloutPlan, _ request: RolloutRequest, _ driver: RolloutDriver, by: String,
        ticket: UInt64
    ) -> AdminResponse? {
        guard let index = file.own.services.firstIndex(where: { $0.name == plan.service }) else {
            return .error(409, "the file in force has no service \"\(plan.service)\"")
        }
        if let why = unknownValue(plan, request) { return .error(409, why) }
        // As in force: an earlier rollout may have moved the stable version, and the file not have
        // followed yet.
        let service = file.document.services[index]
        let stable = service.versions[service.stable]
        let canary = service.versions.first { $0.name == plan.canary }
        var (revision, values) = (request.revision ?? canary?.revision, request.values)
        if request.verb == .retry, let last = driver.machine?.state.run {
            // Everything is as it was, but for what is said anew.
            revision = revision ?? last.canaryRevision
            let isNew = { (name: String) in request.values.contains { $0.name == name } }
            values += last.settings.filter { !isNew($0.name) }
        }
        if driver.isActive, request.supersedes {
            return supersede(request, driver, by: by, ticket: ticket)
        }
        if driver.isEnding { return startBehind(request, driver, ticket: ticket) }
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
        run.settings = values
        run.isDryRun = request.isDryRun
        run.sharesBack = RolloutWeights.sharesBack(run, service)
        if request.verb == .retry { run.retries = (driver.machine?.state.run.retries ?? 0) + 1 }
        begin(run, driver, fingerprint: file.own.fingerprint(ofService: index))
        guard ticket != 0 else { return nil }
        // A restart right behind the answer knows the rollout.
        driver.answers.append(
            (
                ticket, run.id,
                "sluice rollout status \(plan.name) --watch shows it, sluice rollout abort "
                    + "\(plan.name) takes it back"
            ))
        giveAnswersThatCan(driver)
        return nil
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

    /// A value of `--set` that the plan has no use for, or that cannot stand in a call.
    private func unknownValue(_ plan: RolloutPlan, _ request: RolloutRequest) -> String? {
        let names = plan.settableNames
        for value in request.values {
            guard names.contains(value.name) else {
                let meant =
                    value.name.utf8.count <= 63
                    ? DidYouMean.closest(to: value.name, among: names) : nil
                return "the plan \(plan.name) knows no value \"\(value.name)\"; "
                    + (meant.map { "did you mean \"\($0)\"? " } ?? "")
                    + "--set takes: \(names.joined(separator: ", ")); inputs: of the plan adds "
                    + "names"
            }
            guard CallValues.isValue(value.value) else {
                return "the value of \(value.name) cannot stand in a rollout: it is 1 to "
                    + "\(CallValues.bytesMax) letters, digits and ._:/@+-"
            }
        }
        return nil
    }

    /// Tells of a plan that was edited while its rollout runs.
    func tellPlanEdit(_ driver: RolloutDriver) {
        guard driver.isActive, let run = driver.machine?.state.run,
            let plan = file.document.rollouts?.plans.first(where: { $0.name == driver.name })
        else { return }
        if plan != run.plan, plan != driver.editTold {
            log.info(RolloutWords.planEdited, [("plan", plan.name), ("rollout", run.id)])
        }
        driver.editTold = plan
    }

    // MARK: Behind another one

    /// Ends the rollout that runs, and keeps the request until it has ended.
    private func supersede(
        _ request: RolloutRequest, _ driver: RolloutDriver, by: String, ticket: UInt64
    ) -> AdminResponse? {
        guard driver.successor == nil else {
            return .error(409, "somebody else begins the next rollout of \(driver.name) already")
        }
        if let state = driver.machine?.state, !state.phase.goesBack {
            tellEndpoints(driver, state.run)
            tell(driver, .command(.supersede, by: by))
        }
        if driver.machine?.state.phase == .blocked {
            return .error(
                409,
                "the rollout of \(driver.name) goes back and waits for endpoints of the stable "
                    + "version; sluice rollout abort \(driver.name) --force ends it now")
        }
        driver.successor = (request, ticket)
        driver.successorUntil = nil
        // The journal may have said already that it takes nothing.
        if let why = driver.machine?.notWritten { refuseSuccessor(driver, why) }
        startSuccessor(driver)
        return nil
    }

    /// The longest that a start waits for the last moments of the rollout before.
    private static let endingMax = Duration.seconds(5)

    /// Keeps a start until the rollout before has ended and its end is in the journal, which takes
    /// milliseconds behind an abort or a rollback.
    private func startBehind(
        _ request: RolloutRequest, _ driver: RolloutDriver, ticket: UInt64
    ) -> AdminResponse? {
        guard driver.successor == nil else {
            return .error(409, "somebody else begins the next rollout of \(driver.name) already")
        }
        driver.successor = (request, ticket)
        let until = SystemClock.now() + ControlLoop.endingMax
        driver.successorUntil = until
        agenda.set(.lookAtRollouts, noLaterThan: until)
        return nil
    }

    /// Answers a start that has waited too long for the end of the rollout before.
    func giveUpSuccessor(_ driver: RolloutDriver, now: Instant) {
        guard let until = driver.successorUntil, let (_, ticket) = driver.successor,
            now >= until, let state = driver.machine?.state
        else { return }
        driver.successor = nil
        driver.successorUntil = nil
        let what =
            state.phase.hasEnded
            ? "has ended, and its end is not in the journal yet" : "is still \(state.phase.words)"
        answer(
            ticket,
            .error(
                409,
                "\(state.run.id) \(what) after \(Units.text(ControlLoop.endingMax)): "
                    + "sluice rollout status \(driver.name) says what it waits for, and then "
                    + "sluice rollout start \(driver.name) begins"))
    }

    /// Nobody begins behind a rollout whose end is not in the journal.
    func refuseSuccessor(_ driver: RolloutDriver, _ why: String) {
        guard let (_, ticket) = driver.successor, !driver.isActive else { return }
        driver.successor = nil
        answer(
            ticket,
            .error(
                409,
                "the rollout before has ended, and its end is not in the journal yet: \(why); say "
                    + "sluice rollout start \(driver.name) when it is"))
    }

    /// Begins the rollout that waits for the end of another, once that is in the journal.
    func startSuccessor(_ driver: RolloutDriver) {
        guard let (request, ticket) = driver.successor, !driver.isActive,
            driver.machine?.isWritten ?? true
        else { return }
        driver.successor = nil
        // Nobody waits for the answer any more, and might have decided otherwise meanwhile.
        guard admin.isWaiting(ticket) else {
            return log.warning(
                "a start behind another rollout is dropped: whoever asked for it has gone",
                [("plan", driver.name)])
        }
        if let answer = command(request, ticket: ticket) { self.answer(ticket, answer) }
    }

    // MARK: By a revision

    /// Begins the rollout of a plan with `start: onRevision` whose canary has another revision than
    /// the last rollout had.
    func startByRevision(_ driver: RolloutDriver) {
        driver.revisionObstacle = nil
        guard case .open = driver.journal, !driver.isActive, driver.successor == nil,
            driver.machine?.isWritten ?? true, !drain.isUnderWay, lostRollout(driver) == nil,
            let plan = file.document.rollouts?.plans.first(where: { $0.name == driver.name }),
            plan.start == .onRevision,
            let service = file.document.services.first(where: { $0.name == plan.service }),
            let revision = service.versions.first(where: { $0.name == plan.canary })?.revision,
            revision != driver.machine?.state.run.canaryRevision
        else { return }
        var request = RolloutRequest(.start, name: plan.name)
        request.revision = revision
        let against = obstacles(plan, service, isDryRun: false).joined(separator: "; ")
        guard against.isEmpty else {
            // Endpoints may be on their way: asked again each second.
            driver.revisionObstacle = against
            agenda.set(.lookAtRollouts, noLaterThan: SystemClock.now() + .seconds(1))
            if driver.obstacleTold != against {
                log.warning(
                    "a rollout by revision waits",
                    [("plan", plan.name), ("revision", revision), ("why", against)])
            }
            driver.obstacleTold = against
            return
        }
        driver.obstacleTold = nil
        let answer = start(plan, request, driver, by: "revision \(revision)", ticket: 0)
        if let answer, answer.status != 200 {
            log.error(
                "a rollout by revision does not begin",
                [("plan", plan.name), ("revision", revision), ("why", answer.body)])
        }
    }
}
