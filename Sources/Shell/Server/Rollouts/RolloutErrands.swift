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
    /// A metric's number of one version.
    case metric(plan: String, id: String, metric: Int, MetricCalls.Version)
    /// A request of Sluice's own; `run` is the probe's number.
    case synthetic(plan: String, id: String, run: Int, SyntheticProbe.Ask)
}

/// A metric of a rollout in its stage, and the readings of the question that is under way.
struct RolloutMetric {
    var machine: MetricMachine
    var calls: MetricCalls
    var canary: MetricReading?
    var stable: MetricReading?
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
        case .metric(let plan, let id, let metric, let version):
            guard let driver = rollouts[plan], driver.machine?.state.run.id == id else { return }
            metricDone(outcome, metric, version, driver)
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
    func callHook(_ stage: Int, _ hook: Int, _ driver: RolloutDriver) {
        guard let run = driver.machine?.state.run,
            let message = message(
                .stage, number: stage + 1, "stage \(run.plan.stages[stage].name) is to be entered",
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
        guard let plan = driver.machine?.state.run.plan else { return }
        let wanted = plan.stages[stage].metrics ?? plan.metrics
        let now = SystemClock.now()
        var next: [RolloutMetric] = []
        for metric in wanted {
            // What the same metric has seen in the stages before goes on.
            var machine =
                driver.metrics.first { $0.machine.metric == metric }?.machine
                ?? MetricMachine(metric)
            machine.enter(plan.stages[stage].name, now: now)
            next.append(
                RolloutMetric(
                    machine: machine,
                    calls: MetricCalls(metric, settings: settings(metric.access))))
        }
        driver.metrics = next
    }

    /// Asks the metrics whose time has come, and sends what hooks are owed.
    func runErrands(_ driver: RolloutDriver, _ now: Instant) {
        sendNotices(driver, now)
        guard let state = driver.machine?.state, state.phase == .watching else { return }
        for i in driver.metrics.indices {
            guard case .ask = driver.metrics[i].machine.next(now: now) else { continue }
            driver.metrics[i].machine.asked(now: now)
            driver.metrics[i].canary = nil
            driver.metrics[i].stable = nil
            let metric = driver.metrics[i]
            for version in metric.calls.versions {
                let purpose = RolloutErrand.metric(
                    plan: driver.name, id: state.run.id, metric: i, version)
                do throws(CallProblem) {
                    let call = try metric.calls.call(
                        for: version, values(state.run, stage: state.stage),
                        limit: metric.machine.metric.timeout)
                    send(call, for: purpose)
                } catch {
                    metricDone(
                        .failed(CallFailure(.cancelled, error.message)), i, version, driver)
                }
            }
        }
    }

    private func metricDone(
        _ outcome: CallOutcome, _ index: Int, _ version: MetricCalls.Version,
        _ driver: RolloutDriver
    ) {
        guard let state = driver.machine?.state, driver.metrics.indices.contains(index) else {
            return
        }
        let calls = driver.metrics[index].calls
        let reading = calls.reading(outcome, values(state.run, stage: state.stage))
        switch version {
        case .canary: driver.metrics[index].canary = reading
        case .stable: driver.metrics[index].stable = reading
        }
        let both = driver.metrics[index]
        guard let canary = both.canary, calls.versions.count == 1 || both.stable != nil else {
            return
        }
        driver.metrics[index].machine.take(canary, stable: both.stable, now: SystemClock.now())
        if case .fails(let text) = driver.metrics[index].machine.word {
            tell(driver, .metricFailed(name: both.machine.metric.name, text: text))
        }
    }

    /// The metric that a step forward waits for, in words.
    func metricObstacle(_ driver: RolloutDriver) -> String? {
        for metric in driver.metrics {
            switch metric.machine.word {
            case .passes: continue
            case .waits(let why): return "metric " + why
            case .fails(let why): return "metric " + why
            }
        }
        return nil
    }
}
