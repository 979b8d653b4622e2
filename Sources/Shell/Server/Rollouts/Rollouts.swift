import Admin
import Base
import Configuration
import Evidence
import Files
import JSON
import Platform
import Rollout
import Upstream

/// The rollouts of the process's plans: tells their machines what happens, and performs what they
/// want. Nothing here waits: weights go through the overlay, records through the writing thread,
/// and both answer by letters.
extension ControlLoop {
    // MARK: Plans

    /// Plans of the file in force get their drivers; behind a start and a reload. Drivers of plans
    /// that are gone stay while their rollout is under way.
    func settleRollouts() {
        let plans = file.document.rollouts?.plans ?? []
        for plan in plans where rollouts[plan.name] == nil {
            let driver = RolloutDriver(plan.name)
            rollouts[plan.name] = driver
            openJournal(driver)
        }
        // A rollout that runs goes on, also where its plan has left the file.
        let running = overlays.overlay.services.values.compactMap(\.rollout).filter(\.isRunning)
        for rollout in running where rollouts[rollout.name] == nil {
            let driver = RolloutDriver(rollout.name)
            rollouts[rollout.name] = driver
            openJournal(driver)
        }
        for (name, driver) in rollouts where !plans.contains(where: { $0.name == name }) {
            if driver.isActive || running.contains(where: { $0.name == name }) { continue }
            if case .opening = driver.journal { continue }
            rollouts[name] = nil
        }
        for driver in rollouts.values where driver.isActive {
            tellPlanEdit(driver)
            lookAtFile(driver)
        }
        for driver in rollouts.values { startByRevision(driver) }
    }

    /// Goes on with the last rollout of a journal.
    func resume(_ driver: RolloutDriver, _ fold: JournalFold) {
        guard let machine = RolloutMachine(fold) else { return }
        driver.machine = machine
        for line in machine.state.lines { driver.note(line.text, at: line.time) }
        guard driver.isActive else { return }
        if let judge = RolloutDriver.judge(from: machine.state) { driver.judge = judge }
        let entry = overlays.overlay.services[machine.state.run.plan.service]
        // The section that the weights were made over: the file may have changed meanwhile.
        let isOwn = entry?.rollout?.name == driver.name && entry?.rollout?.isRunning == true
        driver.fingerprint =
            (isOwn ? entry?.fingerprint : fingerprint(of: machine.state.run.plan.service)) ?? ""
        // The counters of a process that has just begun are at zero.
        driver.matchedStage = machine.state.stage
        let wall = SystemClock.wall()
        driver.toldAt = SystemClock.now()
        driver.toldWall = wall
        let since = Duration.microseconds(
            max(0, wall.microseconds - fold.time.microseconds))
        tell(driver, .restarted(wall: since, overlay: entry.map { found($0, machine.state.run) }))
        lookAtFile(driver)
        agenda.set(.lookAtRollouts, noLaterThan: SystemClock.now())
    }

    private func found(_ entry: Overlay.Entry, _ run: RolloutRun) -> FoundOverlay {
        let sum = entry.shares.reduce(0) { $0 + $1.weight }
        let share = entry.shares.first { $0.version == run.plan.canary }?.weight ?? 0
        return FoundOverlay(
            rollout: entry.rollout?.name == run.plan.name ? run.id : nil,
            epoch: entry.rollout?.epoch ?? 0,
            share: sum > 0 ? share * 10_000 / sum : 0)
    }

    func serviceIndex(_ name: String) -> Int? {
        file.own.services.firstIndex { $0.name == name }
    }

    func fingerprint(of service: String) -> String? {
        serviceIndex(service).map { file.own.fingerprint(ofService: $0) }
    }

    // MARK: Telling

    /// Tells a rollout what happened, and does what it wants.
    func tell(_ driver: RolloutDriver, _ event: RolloutEvent, ask: UInt64 = 0) {
        guard driver.machine != nil else { return }
        let wall = SystemClock.wall()
        let effects = driver.machine?.handle(event, now: wall, ask: ask) ?? []
        if let machine = driver.machine { driver.sequence = machine.sequence }
        perform(effects, driver, wall)
    }

    func perform(_ effects: [RolloutEffect], _ driver: RolloutDriver, _ wall: WallTime) {
        for effect in effects { perform(effect, driver, wall) }
    }

    private func perform(_ effect: RolloutEffect, _ driver: RolloutDriver, _ wall: WallTime) {
        switch effect {
        case .write(let records, let goesBack): write(records, goesBack: goesBack, driver)
        case .setWeights(let order): setWeights(order, driver)
        case .beginStage(let stage, _, _): beginStage(stage, driver)
        case .askWhen(let stage): answerWhen(stage, driver)
        case .askWindow(let stage): answerWindow(stage, driver)
        case .callHook(let stage, let hook, let number): callHook(stage, hook, number, driver)
        case .notify(let notice): deliver(notice, driver)
        case .synthetic(let isOn): setSynthetic(isOn, driver)
        case .log(let text):
            log.info(text)
            driver.note(text, at: wall)
        case .answer(let ask, let text):
            // Going back waits for no disk, and whoever asked for it is told when a crash would not
            // undo it any more.
            driver.answers.append((ask, nil, text))
            giveAnswersThatCan(driver)
        case .refuse(let ask, let text): answer(ask, .error(409, text))
        case .ended: break
        }
    }

    /// Answers where the journal has everything, or has said that it takes nothing.
    func giveAnswersThatCan(_ driver: RolloutDriver) {
        if driver.machine?.isWritten ?? true {
            giveAnswers(driver)
        } else if let why = driver.machine?.notWritten {
            giveAnswers(driver, unwritten: why)
        }
    }

    /// Answers those whose commands are done.
    ///
    /// - Parameter unwritten: why the journal does not have it; `nil` when the journal has.
    private func giveAnswers(_ driver: RolloutDriver, unwritten: String? = nil) {
        let answers = driver.answers
        driver.answers = []
        for (ask, started, text) in answers {
            let note =
                unwritten.map {
                    "; not in the journal yet, so that a restart would not know it: \($0)"
                } ?? ""
            var members: [(String, JSONText)] = [
                ("result", .string(started == nil ? "done" : "started"))
            ]
            if let started { members.append(("id", .string(started))) }
            members.append(("text", .string(text + note)))
            answer(ask, .json(.object(members)))
        }
    }

    // MARK: The journal

    private func write(_ records: [JournalRecord], goesBack: Bool, _ driver: RolloutDriver) {
        guard let file = driver.file, let last = records.last?.sequence else {
            let why = "the journal is not open"
            tell(driver, .notWritten(why))
            return giveAnswers(driver, unwritten: why)
        }
        let (name, inbox) = (driver.name, inbox)
        writing.put {
            let failure = file.append(records, goesBack: goesBack)
            inbox.put(.journalWritten(plan: name, sequence: last, failure: failure))
        }
    }

    func journalWritten(_ name: String, _ sequence: Int, _ failure: String?) {
        guard let driver = rollouts[name] else { return }
        if let failure {
            tell(driver, .notWritten(failure))
            giveAnswers(driver, unwritten: failure)
            refuseSuccessor(driver, failure)
            // Tried again by the clock, which does not run for a rollout that has ended.
            if driver.isTicking {
                agenda.set(.lookAtRollouts, noLaterThan: SystemClock.now() + .seconds(1))
            }
        } else {
            tell(driver, .written(sequence: sequence))
            if driver.machine?.isWritten ?? true { giveAnswers(driver) }
            startSuccessor(driver)
            startByRevision(driver)
        }
    }

    // MARK: Weights

    private func setWeights(_ order: WeightsOrder, _ driver: RolloutDriver) {
        guard let state = driver.machine?.state else { return }
        let run = state.run
        if run.isDryRun {
            return tell(driver, .confirmed(epoch: order.epoch, timeToConclude: nil))
        }
        beginMatched(driver)
        guard let index = serviceIndex(run.plan.service) else {
            return tell(
                driver, .refused(epoch: order.epoch, text: "the file has no service any more"))
        }
        // As in force: another rollout may have moved the shares and the stable version, and the
        // file not have followed yet.
        let isLast = order.movesStable || state.phase.goesBack && order.share == 0
        let entry = RolloutWeights.entry(
            order, run, file.document.services[index], isRunning: !isLast,
            fingerprint: file.own.fingerprint(ofService: index))
        rolloutTickets += 1
        let ticket = ControlLoop.rolloutTicketsFirst + rolloutTickets
        rolloutOrders[ticket] = (driver.name, order.epoch)
        let change = OverlayChange(service: run.plan.service, entry: entry)
        var next = overlays.overlay
        next.apply(change)
        let merge = OverlayMerge(file.own, under: next)
        let step = WeightChange(from: file.document, to: merge.document, service: index)
        let request = Overlays.Request(
            [change], ask: ask(run.plan.service, step, .init(), ticket: ticket))
        let now = SystemClock.now()
        perform(
            order.goesBack
                ? overlays.goBack(request, now: now) : overlays.goForward(request, now: now))
    }

    /// The weights of a stage are about to come into force: requests that its rules take from here
    /// on are the stage's. Its beginning is told later, when the journal has it.
    private func beginMatched(_ driver: RolloutDriver) {
        guard let state = driver.machine?.state, driver.matchedStage != state.stage else { return }
        driver.matchedStage = state.stage
        driver.matchedBefore = sample(state.run)?.matched ?? VersionEvidence()
        driver.matched = nil
    }

    /// The weights of an order are in force in every worker, or were not taken.
    /// - Returns: whether the ticket was an order's.
    func settleOrder(_ ticket: UInt64, refused why: String?) -> Bool {
        guard let (name, epoch) = rolloutOrders.removeValue(forKey: ticket) else { return false }
        guard let driver = rollouts[name] else { return true }
        if let why {
            tell(driver, .refused(epoch: epoch, text: why))
        } else {
            tell(
                driver,
                .confirmed(epoch: epoch, timeToConclude: timeToConclude(driver)))
        }
        agenda.set(.lookAtRollouts, noLaterThan: SystemClock.now())
        return true
    }

    private func timeToConclude(_ driver: RolloutDriver) -> Duration? {
        guard let state = driver.machine?.state else { return nil }
        let terms = StageTerms(state.run.plan, stage: state.stage)
        return driver.judge.forecast(terms, sample(state.run)).timeToConclude
    }

    // MARK: The judge

    private func beginStage(_ stage: Int, _ driver: RolloutDriver) {
        guard let state = driver.machine?.state else { return }
        var terms = StageTerms(state.run.plan, stage: stage)
        terms.maxTime = state.maxTime
        driver.isJudged = false
        beginMetrics(stage, driver)
        _ = driver.judge.enter(terms, sample(state.run), now: SystemClock.now())
        agenda.set(.lookAtRollouts, noLaterThan: SystemClock.now() + .seconds(1))
    }

    /// The evidence of now about a rollout's two versions; `nil` where no split has both.
    private func sample(_ run: RolloutRun) -> EvidenceSample? {
        sample(run.plan.service, run.plan.canary, run.plan.routes)
    }

    /// The evidence of now about a version and its service's stable one.
    func sample(_ service: String, _ canary: String, _ routes: [String]) -> EvidenceSample? {
        let limits = timeLimits(service)
        var question = EvidenceQuestion(
            service: service, canary: canary, startedAt: startedAt.microseconds,
            timeLimit: { limits[$0] ?? .seconds(15) })
        question.routes = routes
        return registry.evidenceSample(question, now: SystemClock.now())
    }

    /// The longest that a request may take, by the names of the routes that lead to a service.
    private func timeLimits(_ service: String) -> [String: Duration] {
        let snapshot = basis.snapshot
        var limits: [String: Duration] = [:]
        for i in 0..<snapshot.value.routes.count {
            let plan = snapshot.value.routes[i]
            guard plan.kind == .forward, plan.service >= 0,
                snapshot.value.document.services[plan.service].name == service
            else { continue }
            let name = ASCII.string(snapshot.value.store.bytes(plan.name))
            limits[name] = min(plan.request, plan.firstByte)
        }
        return limits
    }

    /// One look at every rollout; once a second while one is under way.
    func lookAtRollouts(_ now: Instant) {
        var next = Instant.never
        for driver in rollouts.values {
            guard driver.isTicking else { continue }
            if case .standby = driver.journal {
                next = now + .seconds(1)
                openJournal(driver)
                continue
            }
            startByRevision(driver)
            let wall = SystemClock.wall()
            tell(driver, driver.passed(now, wall))
            if driver.isActive { look(driver, now) }
            startSuccessor(driver)
            giveUpSuccessor(driver, now: now)
            runErrands(driver, now)
            if driver.isTicking { next = now + .seconds(1) }
        }
        if !next.isNever { agenda.set(.lookAtRollouts, noLaterThan: next) }
    }

    private func look(_ driver: RolloutDriver, _ now: Instant) {
        guard let state = driver.machine?.state else { return }
        tellEndpoints(driver, state.run)
        guard var sample = sample(state.run) else { return }
        driver.hasSessions = sample.sessions != nil
        if let probe = driver.synthetic {
            sample.strata.append(
                probe.stratum(now: now, startedAt: startedAt.microseconds))
        }
        sample.matched = driver.matched(sample.matched, hasRules: state.hasRules)
        var look = StageJudge.Look(now: now, elapsed: state.stageTime)
        look.obstacle = metricObstacle(driver)
        let verdict = driver.judge.look(sample, look)
        driver.isJudged = true
        driver.verdictCounts[verdict.kind, default: 0] += 1
        let (wall, judge) = (SystemClock.wall(), driver.judge)
        let effects = driver.machine?.look(verdict, now: wall) { JudgeCodec.text(judge) } ?? []
        if let machine = driver.machine { driver.sequence = machine.sequence }
        perform(effects, driver, wall)
    }

    func tellEndpoints(_ driver: RolloutDriver, _ run: RolloutRun) {
        let counts = (
            canary: endpointCount(run.plan.service, run.plan.canary),
            stable: endpointCount(run.plan.service, run.stable)
        )
        if let told = driver.endpoints, told == counts { return }
        driver.endpoints = counts
        tell(driver, .endpoints(canary: counts.canary, stable: counts.stable))
    }

    /// Endpoints of a version that are in the rotation now.
    func endpointCount(_ service: String, _ version: String) -> Int {
        let snapshot = basis.snapshot
        let document = snapshot.value.document
        guard let s = document.services.firstIndex(where: { $0.name == service }),
            let v = document.services[s].versions.firstIndex(where: { $0.name == version })
        else { return 0 }
        let cluster = snapshot.value.versions[snapshot.value.services[s].versions.start + v].cluster
        let now = SystemClock.now()
        return (0..<cluster.value.endpoints.count).count { cluster.value.isIn($0, now: now) }
    }

    // MARK: The guard and the file

    /// The guard took a version out.
    func tellTrip(_ service: String, _ version: String, _ text: String) {
        for driver in rollouts.values where driver.isActive {
            guard let run = driver.machine?.state.run, run.plan.service == service,
                run.plan.canary == version
            else { continue }
            driver.judge.drop()
            tellEndpoints(driver, run)
            tell(driver, .tripped(text))
        }
    }

    /// Weights of a service were set by hand, or the file's were taken.
    func tellWeightsByHand(_ service: String, by: String) {
        for driver in rollouts.values where driver.isActive {
            guard driver.machine?.state.run.plan.service == service else { continue }
            tell(driver, .weightsByHand(by: by))
        }
    }

    /// The rollout of a service that is under way.
    func activeRollout(of service: String) -> RolloutDriver? {
        rollouts.values.first { $0.isActive && $0.machine?.state.run.plan.service == service }
    }

    /// Looks what a file in force means for a rollout under way.
    private func lookAtFile(_ driver: RolloutDriver) {
        guard let run = driver.machine?.state.run else { return }
        guard let index = serviceIndex(run.plan.service),
            let canary = file.own.services[index].versions.first(where: {
                $0.name == run.plan.canary
            })
        else { return tell(driver, .canaryRemoved) }
        if let revision = canary.revision, revision != run.canaryRevision {
            tell(driver, .canaryRevision(revision))
        }
        if let stable = file.own.services[index].versions.first(where: { $0.name == run.stable }),
            let revision = stable.revision, revision != run.stableRevision
        {
            tell(driver, .stableRevision(revision))
        }
        let fingerprint = file.own.fingerprint(ofService: index)
        guard fingerprint != driver.fingerprint else {
            if driver.machine?.state.drift != nil { tell(driver, .driftEnded) }
            return
        }
        tell(
            driver,
            .drift(
                "the section in \(file.path) has other versions, weights or stable than at the "
                    + "start; sluice rollout abort \(driver.name) ends the rollout"))
    }
}
