import Base
import Configuration
import Errands
import Files
import Platform
import Rollout

/// The purpose of an errand that is under way.
enum RolloutErrand {
    /// A message to a hook; the number is the notice's.
    case notice(plan: String, hook: Int)
    /// A hook in front of a stage.
    case gate(plan: String, id: String, stage: Int, hook: Int)
    /// A metric's number of one version, for one stage of a rollout.
    case metric(plan: String, StageMetrics.Place, StageMetrics.Question)
    /// A request of Sluice's own; `run` is the probe's number.
    case synthetic(plan: String, id: String, run: Int, SyntheticProbe.Ask)
}

/// Everything that rollouts ask and tell the world outside: metrics, hooks, commands. The errands
/// are performed by a thread of their own; their reports come as letters.
extension ControlLoop {
    // MARK: Errands

    private func send(_ call: OutgoingCall, for purpose: RolloutErrand) {
        if errands == nil {
            var settings = Errands.Options()
            settings.programs = options.programs
            settings.admin = file.document.admin
            let inbox = inbox
            do throws(SystemError) {
                errands = try Errands(settings) { inbox.put(.errandDone($0)) }
            } catch {
                log.error("errands of rollouts cannot begin", [("error", error.message)])
            }
        }
        rolloutTickets += 1
        let ticket = rolloutTickets
        errandsUnderWay[ticket] = purpose
        guard let errands else {
            let failure = CallFailure(.busy, "\(call.party) was not asked: no descriptor is free")
            return errandDone(ticket, .failed(failure))
        }
        errands.perform(call, ticket: ticket)
    }

    /// An errand has ended; one that nobody knows changes nothing.
    func errandDone(_ ticket: UInt64, _ outcome: CallOutcome, took: Duration = .zero) {
        switch errandsUnderWay.removeValue(forKey: ticket) {
        case nil: return
        case .notice(let plan, let hook):
            guard let driver = rollouts[plan] else { return }
            noticeDone(outcome, hook, driver)
        case .gate(let plan, let id, let stage, let hook):
            guard let driver = rollouts[plan], driver.machine?.state.run.id == id else { return }
            tell(driver, .hook(stage: stage, hook: hook, result: result(outcome)))
        case .metric(let plan, let place, let question):
            guard let driver = rollouts[plan] else { return }
            metricDone(outcome, question, place, driver)
        case .synthetic(let plan, let id, let run, let ask):
            guard let driver = rollouts[plan], driver.machine?.state.run.id == id,
                driver.synthetic?.number == run
            else { return }
            syntheticDone(outcome, took, ask, driver)
        }
    }

    private func values(_ run: RolloutRun, stage: Int) -> CallValues {
        var values = CallValues()
        // A value that cannot stand in a call is left out, and a call that wants it says so.
        for (name, value) in RolloutValues(run, stage: stage).all { try? values.set(name, value) }
        return values
    }

    private func settings(_ access: RolloutPlan.Access) -> CallSettings {
        func place(_ name: String?) -> String? {
            name.map { ConfigurationFile.resolve($0, beside: file.path) }
        }
        var settings = CallSettings()
        settings.headersFile = place(access.headersFile)
        if let tls = access.tls {
            settings.serverName = tls.sni
            settings.verifies = tls.verifies
            settings.authorityFile = place(tls.ca)
            settings.certificateFile = place(tls.certificate)
            settings.keyFile = place(tls.key)
        }
        return settings
    }

    // MARK: Hooks

    private func calls(_ hook: RolloutPlan.Hook) -> HookCalls {
        var placed = hook
        if case .webhook(let url, let secret?, let format) = hook.call {
            placed.call = .webhook(
                url: url, secretFile: ConfigurationFile.resolve(secret, beside: file.path),
                format: format)
        }
        return HookCalls(placed, settings: settings(hook.access))
    }

    private func message(
        _ event: RolloutPlan.Hook.Event, number: Int, _ text: String, _ time: WallTime,
        _ driver: RolloutDriver
    ) -> HookMessage? {
        guard let machine = driver.machine else { return nil }
        let status = machine.status
        var message = HookMessage(
            rollout: status.id, sequence: number, event: event, time: time)
        message.service = status.run.plan.service
        message.canary = status.run.plan.canary
        message.stable = status.run.stable
        message.revision = status.run.canaryRevision ?? ""
        message.state = status.phase.words
        message.stage = status.stages[status.stage].name
        message.weight = status.shareConfirmed
        message.text = text
        message.labels = status.run.plan.labels
        if let verdict = status.verdict {
            message.numbers = [
                .init(name: "logEvidence", value: verdict.logEvidence),
                .init(name: "logLimit", value: verdict.logLimit),
            ]
        }
        return message
    }

    /// Calls a hook that stands before a stage.
    func callHook(_ stage: Int, _ hook: Int, _ number: Int, _ driver: RolloutDriver) {
        guard let run = driver.machine?.state.run,
            let message = message(
                .stage, number: number, "stage \(run.plan.stages[stage].name) is to be entered",
                SystemClock.wall(), driver)
        else { return }
        do throws(CallProblem) {
            let call = try calls(run.plan.hooks[hook]).call(message, values(run, stage: stage))
            send(call, for: .gate(plan: driver.name, id: run.id, stage: stage, hook: hook))
        } catch {
            tell(driver, .hook(stage: stage, hook: hook, result: .failed(error.message)))
        }
    }

    private func result(_ outcome: CallOutcome) -> RolloutHookResult {
        switch HookCalls.word(outcome) {
        case .passes: return .passed
        case .askAgain(let text): return .askAgain(text)
        case .fails(let text): return .failed(text)
        }
    }

    /// Has a hook told of something; messages of one hook go one behind the other.
    func deliver(_ notice: RolloutNotice, _ driver: RolloutDriver) {
        guard
            let message = message(
                notice.event, number: notice.number, notice.text, notice.time, driver)
        else { return }
        let now = SystemClock.now()
        var queue = driver.queues[notice.hook] ?? HookQueue(now: now)
        if let lost = queue.add(message) {
            log.warning(
                "a hook is behind, and its oldest message is dropped",
                [("plan", driver.name), ("event", lost.event.rawValue)])
            driver.queues[notice.hook] = queue
            tell(driver, .notified(number: lost.sequence))
        }
        driver.queues[notice.hook] = queue
        sendNotices(driver, now)
    }

    private func sendNotices(_ driver: RolloutDriver, _ now: Instant) {
        guard let run = driver.machine?.state.run, let stage = driver.machine?.state.stage else {
            return
        }
        for (hook, queue) in driver.queues where run.plan.hooks.indices.contains(hook) {
            guard case .send(let message) = queue.next(now: now) else { continue }
            driver.queues[hook]?.began()
            do throws(CallProblem) {
                let call = try calls(run.plan.hooks[hook]).call(message, values(run, stage: stage))
                send(call, for: .notice(plan: driver.name, hook: hook))
            } catch {
                noticeDone(.failed(CallFailure(.cancelled, error.message)), hook, driver)
            }
        }
    }

    private func noticeDone(_ outcome: CallOutcome, _ hook: Int, _ driver: RolloutDriver) {
        let now = SystemClock.now()
        switch driver.queues[hook]?.end(outcome, now: now, random: &driver.random) {
        case nil: return
        case .delivered(let number): tell(driver, .notified(number: number))
        case .again(_, let pause, let reason):
            log.warning(
                "a hook of a rollout was not told; it is tried again",
                [("plan", driver.name), ("in", Units.text(pause)), ("why", reason)])
            agenda.set(.lookAtRollouts, noLaterThan: now + pause)
        case .givenUp(let number, let reason):
            log.error(
                "a hook of a rollout was not told, and its message is dropped",
                [("plan", driver.name), ("why", reason)])
            tell(driver, .notified(number: number))
        }
        sendNotices(driver, now)
    }

    // MARK: Metrics

    /// The metrics of a stage begin.
    func beginMetrics(_ stage: Int, _ driver: RolloutDriver) {
        guard let run = driver.machine?.state.run else { return }
        driver.metrics.enter(
            .init(rollout: run.id, stage: stage), run.plan, now: SystemClock.now())
    }

    /// Asks the metrics whose time has come, and sends what hooks are owed.
    func runErrands(_ driver: RolloutDriver, _ now: Instant) {
        sendNotices(driver, now)
        guard let state = driver.machine?.state, state.phase == .watching else { return }
        let place = state.metricPlace
        for question in driver.metrics.questions(at: place, now: now) {
            let metric = driver.metrics.machines[question.metric].metric
            do throws(CallProblem) {
                let call = try calls(metric).call(
                    for: question.version, values(state.run, stage: state.stage),
                    limit: metric.timeout)
                send(call, for: .metric(plan: driver.name, place, question))
            } catch {
                metricDone(
                    .failed(CallFailure(.cancelled, error.message)), question, place, driver)
            }
        }
    }

    private func calls(_ metric: RolloutPlan.Metric) -> MetricCalls {
        MetricCalls(metric, settings: settings(metric.access))
    }

    /// Takes an answer for the stage that asked; for another it changes nothing.
    private func metricDone(
        _ outcome: CallOutcome, _ question: StageMetrics.Question, _ place: StageMetrics.Place,
        _ driver: RolloutDriver
    ) {
        guard let state = driver.machine?.state, state.metricPlace == place,
            driver.metrics.isAt(place),
            driver.metrics.machines.indices.contains(question.metric)
        else { return }
        let metric = driver.metrics.machines[question.metric].metric
        let reading = calls(metric).reading(outcome, values(state.run, stage: state.stage))
        let failure = driver.metrics.take(
            reading, for: question, at: place, now: SystemClock.now())
        if let failure { tell(driver, .metricFailed(name: metric.name, text: failure)) }
    }

    /// The metric that a step forward waits for, in words.
    func metricObstacle(_ driver: RolloutDriver) -> String? {
        guard let state = driver.machine?.state else { return nil }
        return driver.metrics.obstacle(at: state.metricPlace)
    }
}

extension RolloutState {
    /// The stage of now, as its metrics name it.
    var metricPlace: StageMetrics.Place { .init(rollout: run.id, stage: stage) }
}
