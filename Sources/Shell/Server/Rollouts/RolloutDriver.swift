import Admin
import Base
import Configuration
import Evidence
import Files
import JSON
import Platform
import Rollout

/// One plan and its rollout in this process: what the machine and the judge are told, and what is
/// under way for them. Lives on the control thread; `Rollouts` performs what the machine wants.
final class RolloutDriver {
    /// How far the journal is.
    enum Journal {
        /// The writing thread opens it.
        case opening
        case open(RolloutJournal)
        /// Another process follows the rollouts, as the text says; tried again each second.
        case standby(String)
        /// Nobody can read or write it, for this reason; tried again when a person starts a
        /// rollout.
        case closed(String)
    }

    let name: String
    var journal = Journal.opening
    /// The writing thread opens the journal.
    var isOpening = false
    /// The rollout of now, or the last one; `nil` before the first.
    var machine: RolloutMachine?
    var judge = StageJudge()
    /// The number of the journal's last record.
    var sequence = 0
    /// How many rollouts the plan had.
    var runCount = 0
    /// The clocks when time was told last.
    var toldAt: Instant
    var toldWall: WallTime
    /// Endpoints that the machine was told of last.
    var endpoints: (canary: Int, stable: Int)?
    /// Newest last; of all rollouts of the plan since the process began.
    var events: [RolloutView.Event] = []
    /// The fingerprint of the service's section over which the rollout runs.
    var fingerprint = ""
    /// Trips of the canary that were there when the rollout began, or were told.
    var tripsTold = 0
    /// Answers that wait until the journal has what they say; of a start with the rollout's id.
    var answers: [(ask: UInt64, started: String?, text: String)] = []
    /// Commands that wait for the journal to be opened.
    var waiting: [(request: RolloutRequest, ticket: UInt64)] = []
    /// Whether the judge has looked since the stage was entered.
    var isJudged = false
    /// Whether the service is sticky, so that sessions are judged.
    var hasSessions = false
    /// Requests that rules of stages had taken before the present stage began; counters begin with
    /// the process.
    var matchedBefore = VersionEvidence()
    /// The stage whose beginning that is.
    var matchedStage: Int?
    /// Requests that rules of stages took since the present stage began; `nil` without rules.
    var matched: VersionEvidence?
    /// Requests of Sluice's own, while they are sent.
    var synthetic: SyntheticProbe?
    var syntheticCount = 0
    /// Requests that each version had of these, for the turns of its endpoints.
    var syntheticTurns = (stable: 0, canary: 0)
    /// Why synthetic requests cannot be sent, as the log was told.
    var syntheticProblem: String?
    /// A start that waits for the end of the rollout that runs, with the person's ticket.
    var successor: (request: RolloutRequest, ticket: UInt64)?
    /// When a start is answered that waits for the last moments of a rollout that ends; `nil`: the
    /// start has ended that rollout itself, and waits as long as that takes.
    var successorUntil: Instant?
    /// Why a rollout that begins by the canary's revision has not begun yet; told once.
    var revisionObstacle: String?
    var obstacleTold: String?
    /// A journal that could not be used was opened anew for the command that waits.
    var hasTriedAgain = false
    /// Verdicts of the judge since the process began.
    var verdictCounts: [Verdict.Kind: UInt64] = [:]
    /// The edited plan of the file that the log was told of, during a rollout.
    var editTold: RolloutPlan?
    /// The metrics of the stage that was entered last.
    var metrics = StageMetrics()
    /// Messages that hooks were not told yet, by the hook's place in the plan.
    var queues: [Int: HookQueue] = [:]
    /// For the pauses between attempts.
    var random = PRNG(seed: Files.randomSeed())

    static let eventsMax = 1_000

    init(_ name: String) {
        self.name = name
        toldAt = SystemClock.now()
        toldWall = SystemClock.wall()
    }

    /// Whether a rollout is under way.
    var isActive: Bool { machine.map { !$0.state.phase.hasEnded } ?? false }

    /// Whether the driver has something to do by the clock.
    var isTicking: Bool {
        switch journal {
        case .standby: true
        case .open:
            isActive || machine?.nextDeadline != nil || revisionObstacle != nil
                || successor != nil
        case .opening, .closed: isActive
        }
    }

    /// Whether the rollout is in its last moments: only workers and the disk have still to do what
    /// they have been told, and neither has said that it cannot.
    var isEnding: Bool {
        guard let machine, machine.notWritten == nil, machine.notApplied == nil else {
            return false
        }
        let phase = machine.state.phase
        return phase == .rollingBack || phase == .finishing
            || phase.hasEnded && !machine.isWritten
    }

    var file: RolloutJournal? {
        if case .open(let file) = journal { return file }
        return nil
    }

    /// Notes the requests that rules of stages took.
    ///
    /// - Parameter counted: since counting began in this process.
    /// - Returns: those of the present stage.
    func matched(_ counted: VersionEvidence?, hasRules: Bool) -> VersionEvidence? {
        guard hasRules else {
            matched = nil
            return nil
        }
        let now = counted ?? VersionEvidence()
        // Another list of versions counts anew.
        if now.wentBack(from: matchedBefore) { matchedBefore = VersionEvidence() }
        matched = now.since(matchedBefore)
        return matched
    }

    func note(_ text: String, at wall: WallTime) {
        events.append(.init(at: wall, text: text))
        if events.count > RolloutDriver.eventsMax { events.removeFirst() }
    }

    /// The time since the machine was told last.
    func passed(_ now: Instant, _ wall: WallTime) -> RolloutEvent {
        let span = now - toldAt
        let wallSpan = Duration.microseconds(wall.microseconds - toldWall.microseconds)
        toldAt = now
        toldWall = wall
        return .time(monotonic: span, wall: wallSpan)
    }
}

extension RolloutDriver {
    /// The driver as the admin pages see it.
    ///
    /// - Parameters:
    ///   - plan: as the file in force has it; `nil` when it is gone from there.
    ///   - stable: the service's stable version in force.
    func view(_ plan: RolloutPlan?, stable: String) -> RolloutView {
        let shown = isActive ? machine?.state.run.plan ?? plan : plan ?? machine?.state.run.plan
        var view = RolloutView(
            name: name, service: shown?.service ?? "", canary: shown?.canary ?? "",
            stable: stable)
        view.events = events
        view.labels = shown?.labels ?? []
        view.verdictCounts = verdictCounts
        switch journal {
        case .closed(let problem):
            view.unwritten = problem
            view.state = RolloutView.unread
        case .standby(let holder):
            view.state = "standby"
            view.reason = holder
        case .opening, .open: break
        }
        guard let machine else {
            view.stages = (plan?.stages ?? []).map {
                .init(
                    name: $0.name, weight: $0.weight ?? 0, needsApproval: $0.approval != nil,
                    progress: .next)
            }
            if view.reason.isEmpty {
                view.reason =
                    revisionObstacle.map { "begins by itself: \($0)" }
                    ?? "sluice rollout start \(name) begins it"
            }
            return view
        }
        let status = machine.status
        view.stable = status.run.stable
        view.id = status.id
        view.revision = status.run.canaryRevision
        view.labels = status.run.plan.labels
        view.state = status.phase.words
        let isWatching = status.phase == .watching
        view.reason =
            ([status.reason?.text]
            + status.waitsFor.map { isWatching ? $0 : "waits for \($0)" })
            .compactMap { $0 }.joined(separator: "; ")
        view.stages = status.stages.map {
            let progress: RolloutView.Stage.Progress =
                switch $0.place {
                case .done: .done
                case .passedOver: .passedOver
                case .now: .now
                case .ahead: .next
                }
            return .init(
                name: $0.name, weight: $0.share, needsApproval: $0.wantsApproval,
                progress: progress)
        }
        show(status, machine.state.metricPlace, &view)
        if isActive, let plan, plan != status.run.plan {
            view.notes.append(RolloutWords.planEdited)
        }
        view.isDryRun = status.run.isDryRun
        view.verdict = isJudged || !isWatching ? status.verdict : nil
        if isWatching, !isJudged { view.reason = "the stage has just been entered" }
        view.unwritten = status.notWritten ?? view.unwritten
        view.versions = versions(status.run)
        view.hasSessions = hasSessions
        view.matched = matchedVersion(status)
        return view
    }

    /// The stage of now, and its metrics.
    private func show(
        _ status: RolloutStatus, _ place: StageMetrics.Place, _ view: inout RolloutView
    ) {
        if !status.phase.hasEnded {
            view.stageIndex = status.stage
            view.isStageEntered = status.isEntered
        }
        if metrics.isAt(place) { view.metrics = metrics.machines }
        for deadline in status.deadlines where deadline.kind == .keepStable {
            view.notes.append(
                "leave \(status.run.stable) running for another "
                    + "\(RolloutWords.span(deadline.left)), so that there is a way back")
        }
    }

    /// The canary's deeds at requests that rules of stages gave it.
    private func matchedVersion(_ status: RolloutStatus) -> RolloutView.Version? {
        guard let matched, !status.phase.hasEnded else { return nil }
        var totals = StageTotals.Version()
        totals.units = matched.requests
        totals.errors = matched.errors
        totals.latency = matched.latency
        return RolloutDriver.version(status.run.plan.canary, totals)
    }

    private static func version(
        _ name: String, _ side: StageTotals.Version
    ) -> RolloutView.Version {
        var version = RolloutView.Version(name)
        version.units = side.units
        version.errors = side.errors
        let bounds = side.bounds
        version.low = bounds.lowerBound
        version.high = bounds.upperBound
        version.latency = side.latency
        return version
    }

    /// Both versions' deeds since the stage was entered.
    private func versions(_ run: RolloutRun) -> [RolloutView.Version] {
        let totals = judge.totals
        return [
            RolloutDriver.version(run.stable, totals.stable),
            RolloutDriver.version(run.plan.canary, totals.canary),
        ]
    }
}

extension RolloutDriver {
    /// The judge as the journal has it; `nil`: the journal has none that can be read, and the judge
    /// begins anew.
    static func judge(from state: RolloutState) -> StageJudge? {
        var limits = JSONReader.Limits()
        limits.bytesMax = 8 << 20
        limits.nodesMax = 1_000_000
        guard !state.judge.isEmpty else { return nil }
        guard let node = try? JSONReader.read(Array(state.judge.utf8), limits: limits) else {
            return nil
        }
        return try? JudgeCodec.decode(node)
    }
}
