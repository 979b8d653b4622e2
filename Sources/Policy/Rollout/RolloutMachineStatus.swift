import Base

/// A rollout as a person sees it: for the status page, the command line and metrics.
public struct RolloutStatus: Sendable, Equatable {
    public struct Stage: Sendable, Equatable {
        public enum Place: String, Sendable, CaseIterable { case done, passedOver, now, ahead }

        public var name: String
        /// The canary's share in hundredths of a percent.
        public var share: Int
        public var place: Place
        public var wantsApproval: Bool
    }

    /// Something that happens by itself when its time is over.
    public struct Deadline: Sendable, Equatable {
        public enum Kind: String, Sendable, CaseIterable {
            case minTime, maxTime, approval, maxDuration, readyWithin, keepStable
        }

        public var kind: Kind
        public var left: Duration
    }

    public var id: String
    public var run: RolloutRun
    public var phase: RolloutPhase
    public var stages: [Stage]
    /// Index of the stage of now.
    public var stage: Int
    /// The weights of the stage of now came into force.
    public var isEntered: Bool
    /// The canary's share that was asked for last, and the one that is in force, in hundredths of
    /// a percent.
    public var shareWanted: Int
    public var shareConfirmed: Int
    public var epoch: Int
    /// Why it is held, paused, going back or ended.
    public var reason: RolloutReason?
    /// The conditions that it waits for, in words; empty where it waits for none.
    public var waitsFor: [String]
    public var verdict: Verdict?
    /// How long the stage has been in force, without pauses.
    public var stageTime: Duration
    public var deadlines: [Deadline]
    /// The commands that are not refused now.
    public var commands: [String]
    public var approvals: [RolloutState.Approval]
    public var drift: String?
    /// Why the state is not on the disk.
    public var notWritten: String?
    /// Why the weights that are wanted are not in force.
    public var notApplied: String?
    public var isSynthetic: Bool
    /// Notices that were not delivered yet.
    public var undelivered: Int
    /// A stage without a control group: both versions cannot be compared.
    public var hasControl: Bool
    /// The last lines of the story, the newest last.
    public var lines: [RolloutState.Line]
}

extension RolloutMachine {
    public var status: RolloutStatus {
        RolloutStatus(
            id: state.run.id, run: state.run, phase: state.phase, stages: state.stageList,
            stage: state.stage, isEntered: !state.isAtEntry,
            shareWanted: state.order?.share ?? state.confirmed.share,
            shareConfirmed: state.confirmed.share, epoch: state.epoch, reason: state.reason,
            waitsFor: waits, verdict: verdict, stageTime: state.stageTime,
            deadlines: state.deadlines, commands: state.commands, approvals: state.approvals,
            drift: state.drift, notWritten: notWritten, notApplied: notApplied,
            isSynthetic: state.isSynthetic, undelivered: state.notices.count,
            hasControl: state.isJudged(state.stage), lines: state.lines)
    }

    private var waits: [String] {
        var waits: [String] = []
        if let problem = notWritten { waits.append("the journal: \(problem)") }
        if let problem = notApplied { waits.append("the weights: \(problem)") }
        switch state.phase {
        case .entering: if let wait = state.entryWait { waits.append(wait) }
        case .awaiting:
            let by = state.current.approval?.by ?? []
            let who = by.isEmpty ? "" : " by " + by.joined(separator: ", ")
            waits.append("an approval of stage \(state.current.name)" + who)
        case .watching:
            switch verdict?.kind {
            case .noData, .commonCause, .external, .watching: waits.append(verdict?.reason ?? "")
            default: break
            }
        case .blocked:
            waits.append(
                "endpoints of \(state.run.stable): \(state.stableReady) in rotation, "
                    + "\(state.stableNeeded) needed")
        default: break
        }
        return waits
    }
}

extension RolloutState {
    var stageList: [RolloutStatus.Stage] {
        plan.stages.indices.map { index in
            let place: RolloutStatus.Stage.Place =
                skipped.contains(index)
                ? .passedOver
                : index < stage || phase == .succeeded ? .done : index == stage ? .now : .ahead
            return RolloutStatus.Stage(
                name: plan.stages[index].name, share: share(of: index), place: place,
                wantsApproval: plan.stages[index].approval != nil)
        }
    }

    var entryWait: String? {
        switch entry.waitsFor {
        case .when: "`when` of stage \(current.name)"
        case .window:
            "the window of stage \(current.name)"
                + (entry.windowText.isEmpty ? "" : ": \(entry.windowText)")
        case .hook: "the hook in front of stage \(current.name)"
        case .endpoints:
            "endpoints of \(plan.canary): \(canaryReady) in rotation, \(plan.minEndpoints) wanted"
        case .commonCause: "both versions to be well again"
        case nil: nil
        }
    }

    /// Everything that is due by itself, and in how much time.
    var deadlines: [RolloutStatus.Deadline] {
        var deadlines: [RolloutStatus.Deadline] = []
        func add(_ kind: RolloutStatus.Deadline.Kind, _ left: Duration?) {
            if let left { deadlines.append(.init(kind: kind, left: left)) }
        }
        switch phase {
        case .entering: if entry.waitsFor == .endpoints { add(.readyWithin, entry.readyLeft) }
        case .applying: add(.readyWithin, entry.readyLeft)
        case .watching:
            let least = minTime(of: stage).left(after: stageTime)
            if least > .zero { add(.minTime, least) }
            // Over, and something stands against it: nothing is due.
            let most = maxTime?.left(after: stageTime) ?? .zero
            if isJudged(stage), most > .zero { add(.maxTime, most) }
        case .awaiting: add(.approval, approvalLeft)
        case .succeeded: add(.keepStable, keepStableLeft)
        default: break
        }
        if !phase.hasEnded, !phase.goesBack, phase != .finishing { add(.maxDuration, durationLeft) }
        return deadlines
    }

    /// The shares by which everybody is with the stable version of before again.
    public var sharesBack: String {
        run.sharesBack ?? "\(run.stable)=100% \(plan.canary)=0%"
    }

    /// The way on for a person when the rollout has ended.
    var nextStep: String {
        let start = "`sluice rollout start \(plan.name)` begins a new one"
        if run.isDryRun { return start }
        switch phase {
        case .succeeded:
            return "\(plan.canary) is the stable version of \(plan.service), the way back is "
                + "`sluice weights set \(plan.service) \(sharesBack)`, and a new rollout needs "
                + "another version in canary: of the plan"
        case .rolledBack:
            return "`sluice rollout retry \(plan.name)` tries the same revision again, and "
                + "`sluice rollout start \(plan.name)` begins with another one"
        default: return start
        }
    }

    /// The commands that are not refused in this phase.
    var commands: [String] {
        switch phase {
        case .entering, .applying, .watching: ["pause", "abort", "skip", "finish"]
        case .awaiting: ["approve", "pause", "abort", "finish"]
        case .held: ["approve", "look", "pause", "abort", "skip", "finish"]
        case .paused: drift == nil ? ["resume", "abort"] : ["abort"]
        case .finishing: ["pause", "abort"]
        case .rollingBack: []
        case .blocked: ["abort"]
        case .succeeded: run.isDryRun ? ["start"] : []
        case .superseded, .aborted: ["start"]
        case .rolledBack: ["retry", "start"]
        }
    }
}
