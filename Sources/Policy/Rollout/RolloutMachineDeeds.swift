import Base

/// Evidence, time, the outside world, and restarts: everything but people.
extension RolloutTurn {
    mutating func apply(_ event: RolloutEvent) {
        switch event {
        case .command(let command, let by): apply(command, by: by)
        case .look(let verdict, let judge): look(verdict, judge)
        case .metricFailed(let name, let text): metricFailed(name, text)
        case .tripped(let text): rollBack(.tripped, text)
        case .confirmed(let epoch, let time): confirmed(epoch, timeToConclude: time)
        case .when(let stage, let holds, let text): when(stage, holds, text)
        case .window(let stage, let isOpen, let text): window(stage, isOpen, text)
        case .hook(let stage, let index, let result): hook(stage, index, result)
        case .notified(let number): state.notices.removeAll { $0.number == number }
        case .endpoints(let canary, let stable): endpoints(canary: canary, stable: stable)
        case .drift(let text): drift(text)
        case .driftEnded:
            if state.drift != nil, !state.phase.hasEnded {
                state.drift = nil
                driftIsSettled()
            }
        case .weightsByHand(let by):
            pause(.weightsByHand, "\(by) set weights of \(plan.service) by hand", by: by)
        case .canaryRevision(let revision): canaryRevision(revision)
        case .stableRevision(let revision):
            guard revision != state.run.stableRevision else { return }
            pause(
                .drift,
                "the revision of \(state.run.stable) changed to \(revision) in the middle of the "
                    + "rollout: what the canary is compared with is another version now")
        case .canaryRemoved:
            rollBack(.canaryRemoved, "\(plan.canary) is no longer in the file")
        case .quorumLost(let text): pause(.quorum, text)
        case .restarted(let wall, let overlay): restarted(wall, overlay)
        case .time: checkDeadlines()
        // The disk and refused orders are the machine's own affair.
        case .written, .notWritten, .refused: break
        }
    }

    private mutating func drift(_ text: String) {
        guard !state.phase.hasEnded, !state.phase.goesBack, state.drift != text else { return }
        state.drift = RolloutTurn.short(text, bytesMax: 1_000)
        pause(
            .drift,
            RolloutTurn.driftWords + "\(plan.service) changed: \(text); take them with "
                + "`sluice weights follow \(plan.service)`, or undo the change; then "
                + "`sluice rollout resume \(plan.name)`")
    }

    private mutating func driftIsSettled() {
        tell("the file's own weights stand against nothing any more")
        guard state.phase == .paused, state.reason?.code == .drift,
            state.reason?.text.hasPrefix(RolloutTurn.driftWords) == true
        else { return }
        let text =
            "the file's own weights of \(plan.service) had changed, and stand against nothing any "
            + "more: `sluice rollout resume \(plan.name)` goes on with stage \(state.current.name)"
        state.reason?.text = text
    }

    private static let driftWords = "the file's own weights of "

    private mutating func canaryRevision(_ revision: String) {
        guard revision != state.run.canaryRevision else { return }
        rollBack(
            .newRevision, "the revision of \(plan.canary) changed to \(revision)", to: .superseded)
    }

    // MARK: Evidence

    private mutating func look(_ verdict: Verdict, _ judge: String) {
        guard !state.phase.hasEnded else { return }
        state.verdict = verdict
        state.judge = judge
        guard !state.phase.goesBack else { return }
        switch verdict.kind {
        case .tripped: rollBack(.tripped, verdict.reason)
        case .limit: rollBack(.limit, verdict.reason)
        case .regression: regression(verdict)
        case .healthy:
            guard state.isJudged(state.stage) else { break }
            if state.stageTime >= state.minTime(of: state.stage) { leave(verdict.reason) }
        case .inconclusive: if state.isJudged(state.stage) { inconclusive(verdict.reason) }
        case .commonCause, .external, .noData, .watching: break
        }
        // Entries wait while both versions are ill.
        if state.entry.waitsFor == .commonCause { advance() }
    }

    private mutating func regression(_ verdict: Verdict) {
        switch state.judge(of: state.stage).onRegression {
        case .rollback: rollBack(.regression, verdict.reason)
        case .hold: hold(.regression, verdict.reason)
        }
    }

    private mutating func inconclusive(_ why: String) {
        guard state.phase == .watching else { return }
        switch state.judge(of: state.stage).onInconclusive {
        case .hold: hold(.inconclusive, why)
        case .advance: leave("\(why); the plan goes on all the same")
        case .rollback: rollBack(.inconclusive, why)
        case .ask:
            state.asksFor = RolloutTurn.short(why, bytesMax: 1_000)
            askApproval("\(why); a person is asked whether to go on")
        case .synthetic:
            guard plan.synthetic != nil, !state.isSynthetic else {
                hold(.inconclusive, why)
                return
            }
            state.isSynthetic = true
            state.stageTime = .zero
            tell("\(why); requests of Sluice's own are sent to both versions from now on")
            give(.synthetic(true))
        }
    }

    private mutating func metricFailed(_ name: String, _ text: String) {
        guard !state.phase.hasEnded else { return }
        let metrics = state.current.metrics ?? plan.metrics
        let why = "metric \(name) failed: \(text)"
        // A metric that the stage does not know is nobody's order to go back.
        let deed = metrics.first { $0.name == name }?.onFailure ?? .hold
        if deed == .rollback { rollBack(.metric, why) } else { hold(.metric, why) }
    }

    // MARK: Time

    /// Does what is due.
    private mutating func checkDeadlines() {
        if state.durationLeft == .zero, !state.phase.hasEnded, !state.phase.goesBack,
            state.phase != .finishing
        {
            let span = RolloutText.span(plan.maxDuration ?? .zero)
            rollBack(.maxDuration, "the rollout has taken longer than its maxDuration of \(span)")
            return
        }
        switch state.phase {
        case .entering: entryIsDue()
        case .applying:
            if state.entry.readyLeft == .zero {
                hold(.weights, "the weights of stage \(state.current.name) are not in force yet")
            }
        case .watching: stageIsDue()
        case .awaiting: if state.approvalLeft == .zero { nobodyApproved() }
        case .succeeded:
            if state.keepStableLeft == .zero {
                state.keepStableLeft = nil
                tell("\(state.run.stable) may be scaled down now")
            }
        default: break
        }
    }

    private mutating func entryIsDue() {
        if state.entry.hookLeft == .zero {
            state.entry.hookLeft = nil
            advance()
        } else if state.entry.waitsFor == .endpoints, state.entry.readyLeft == .zero {
            hold(
                .endpoints,
                "\(plan.canary) has \(state.canaryReady) endpoints in rotation, stage "
                    + "\(state.current.name) wants \(plan.minEndpoints)")
        }
    }

    private mutating func stageIsDue() {
        let kind = state.verdict?.kind
        if !state.isJudged(state.stage) {
            guard state.stageTime >= state.minTime(of: state.stage), kind != .commonCause,
                kind != .external
            else { return }
            leave("stage \(state.current.name) has had its time, and nothing stands against it")
        } else if let maxTime = state.maxTime, state.stageTime >= maxTime, kind != .commonCause,
            kind != .healthy
        {
            let span = RolloutText.span(maxTime)
            inconclusive("inconclusive: the stage's time of \(span) is over")
        }
    }

    private mutating func nobodyApproved() {
        state.approvalLeft = nil
        let text = "nobody approved stage \(state.current.name) in time"
        switch state.current.approval?.onTimeout ?? .hold {
        case .hold: hold(.approval, text)
        case .rollback: rollBack(.approval, text)
        }
    }

    // MARK: A new process

    private mutating func restarted(_ wall: Duration, _ overlay: FoundOverlay?) {
        state.elapse(monotonic: .zero, wall: RolloutMachine.believed(wall))
        guard !state.phase.hasEnded else {
            redo()
            return
        }
        // Whoever was away gets a minute to see what is due.
        let grace = Duration.seconds(60)
        state.approvalLeft = state.approvalLeft.map { max($0, grace) }
        state.durationLeft = state.durationLeft.map { max($0, grace) }
        tell("a process follows the rollout again, \(state.phase.words)")
        compare(overlay)
        redo()
    }

    /// Compares the weights of the overlay with those that the journal says.
    private mutating func compare(_ found: FoundOverlay?) {
        guard !state.run.isDryRun else { return }
        guard let found, found.rollout == state.run.id else {
            // Before the first weights there is nothing to be found.
            guard state.confirmed.epoch > 0 else { return }
            pause(
                .overlayLost,
                found == nil
                    ? "the overlay with the rollout's weights is gone, the file's weights hold"
                    : "the overlay has weights that somebody else set")
            return
        }
        if found.isTripped {
            rollBack(.tripped, "the guard had taken \(plan.canary) out before the restart")
        }
        if found.epoch > state.epoch {
            // Going back does not wait for the journal, so that it may know less than the overlay.
            state.epoch = min(found.epoch, RolloutState.numberMax - 1)
            if found.share != state.confirmed.share || state.phase == .finishing {
                rollBack(
                    .restart,
                    "the weights had gone back before the restart, and why was not written")
            }
        } else if found.epoch < state.confirmed.epoch {
            pause(.overlayLost, "the overlay is older than the rollout's last weights")
        }
    }

    /// Asks again for everything that may have been under way.
    private mutating func redo() {
        for notice in state.notices { give(.notify(notice)) }
        if state.isSynthetic { give(.synthetic(true)) }
        let isOrdered = effects.contains {
            if case .setWeights = $0 { true } else { false }
        }
        let isUnderWay = state.order.map { $0.epoch != state.confirmed.epoch } ?? false
        if let order = state.order, !isOrdered, isUnderWay || state.phase.goesBack,
            !state.phase.hasEnded
        {
            give(.setWeights(order))
        }
        switch state.phase {
        case .entering:
            state.entry.calls = nil
            state.entry.when = nil
            state.entry.isWindowOpen = nil
            advance()
        case .watching:
            give(.beginStage(stage: state.stage, epoch: state.epoch, isResumed: true))
        default: break
        }
    }
}

extension RolloutState {
    /// Lets time pass, without doing what is due. Two spans have the effect of their sum, so that
    /// the journal need not have each.
    mutating func elapse(monotonic: Duration, wall: Duration) {
        switch phase {
        case .entering:
            entry.hookLeft = entry.hookLeft?.left(after: monotonic)
            if entry.waitsFor == .endpoints {
                entry.readyLeft = entry.readyLeft.left(after: monotonic)
            }
        case .applying: entry.readyLeft = entry.readyLeft.left(after: monotonic)
        case .watching: stageTime = stageTime + Duration(nanoseconds: max(0, monotonic.nanoseconds))
        case .awaiting: approvalLeft = approvalLeft?.left(after: wall)
        case .succeeded: keepStableLeft = keepStableLeft?.left(after: wall)
        default: break
        }
        if !phase.hasEnded { durationLeft = durationLeft?.left(after: wall) }
    }
}
