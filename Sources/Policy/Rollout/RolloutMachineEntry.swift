import Base

/// The way into a stage, through it, and out of it.
extension RolloutTurn {
    // MARK: Into a stage

    /// Enters the first stage from here on that is not passed over; behind the last one the canary
    /// becomes the stable version.
    mutating func enter(from stage: Int, _ why: String) {
        guard let next = state.next(from: stage) else {
            finish("\(why); that was the last stage")
            return
        }
        state.stage = next
        state.stageTime = .zero
        state.maxTime = nil
        state.asksFor = nil
        state.reason = nil
        state.entry = .init(readyLeft: plan.readyWithin)
        goToEntry("\(why); entering stage \(state.current.name)")
    }

    /// Enters the same stage again: everything that may have changed is asked once more; hooks and
    /// approvals that were given stay given.
    mutating func enterAgain(_ why: String) {
        var entry = RolloutState.Entry(readyLeft: plan.readyWithin)
        entry.isApproved = state.entry.isApproved
        entry.hooks = state.entry.hooks
        entry.waived = state.entry.waived
        state.entry = entry
        state.reason = nil
        goToEntry(why)
    }

    private mutating func goToEntry(_ text: String) {
        state.isAtEntry = true
        // A stage that `when` passes over leads from entry to entry.
        if state.phase == .entering { tell(text) } else { go(.entering, text) }
        advance()
    }

    /// Looks how far the entry has come, and asks for what is missing.
    mutating func advance() {
        guard state.phase == .entering else { return }
        state.entry.waitsFor = nil
        guard let wait = missing() else {
            apply()
            return
        }
        // An approval is a state of its own.
        if state.phase == .entering { state.entry.waitsFor = wait }
    }

    /// The first condition that is not met; asks for it.
    private mutating func missing() -> RolloutState.Entry.Wait? {
        let stage = state.current, index = state.stage
        if stage.when != nil, state.entry.when != true, !state.entry.waived.contains(.when) {
            if state.entry.when == nil { give(.askWhen(stage: index)) }
            return .when
        }
        if stage.approval?.isBefore == true, !state.entry.isApproved {
            askApproval("stage \(stage.name) is entered only with an approval")
            return .when
        }
        if !stage.windows.isEmpty, state.entry.isWindowOpen != true {
            if state.entry.isWindowOpen == nil { give(.askWindow(stage: index)) }
            return .window
        }
        let hook = plan.hooks.indices.first {
            plan.hooks[$0].before == stage.name && !state.entry.hooks.contains($0)
        }
        if let hook, !state.entry.waived.contains(.hook) {
            if state.entry.hookLeft == nil, state.entry.calls != hook {
                state.entry.calls = hook
                // Each asking is a message of its own, and its receiver may look for repeats.
                state.noticeCount += 1
                give(.callHook(stage: index, hook: hook, number: state.noticeCount))
            }
            return .hook
        }
        let usesCanary = state.share(of: index) > 0 || !state.rules(of: index).isEmpty
        let wanted = state.entry.waived.contains(.endpoints) ? 1 : plan.minEndpoints
        if usesCanary, state.canaryReady < wanted { return .endpoints }
        return state.verdict?.kind == .commonCause ? .commonCause : nil
    }

    private mutating func apply() {
        let share = state.share(of: state.stage)
        state.entry.readyLeft = plan.readyWithin
        go(
            .applying,
            "stage \(state.current.name): \(plan.canary) "
                + (state.run.isDryRun ? "would get " : "gets ") + RolloutText.percent(share))
        order(share: share, rules: state.rules(of: state.stage))
    }

    /// The answer to `askWhen`.
    mutating func when(_ stage: Int, _ holds: Bool?, _ text: String) {
        guard state.phase == .entering, stage == state.stage, state.entry.waitsFor == .when else {
            return
        }
        guard let holds else {
            hold(.when, "`when` of stage \(state.current.name) cannot be told: \(text)")
            return
        }
        state.entry.when = holds
        if holds {
            advance()
            return
        }
        let stage = state.current
        let why = "`when` of stage \(stage.name) is false: \(text)"
        let isGate = stage.approval != nil || !stage.windows.isEmpty
        switch isGate ? stage.onFalse : .skip {
        case .skip:
            state.skipped.append(state.stage)
            enter(from: state.stage + 1, why + "; the stage is passed over")
        case .hold: hold(.when, why)
        case .rollback: rollBack(.when, why)
        }
    }

    mutating func window(_ stage: Int, _ isOpen: Bool, _ text: String) {
        guard state.phase == .entering, stage == state.stage else { return }
        if state.entry.isWindowOpen != isOpen, !isOpen {
            tell("stage \(state.current.name) waits for its window: \(text)")
        }
        state.entry.isWindowOpen = isOpen
        state.entry.windowText = RolloutTurn.short(text, bytesMax: 200)
        advance()
    }

    mutating func hook(_ stage: Int, _ hook: Int, _ result: RolloutHookResult) {
        guard state.phase == .entering, stage == state.stage, state.entry.calls == hook else {
            return
        }
        state.entry.calls = nil
        switch result {
        case .passed:
            state.entry.hooks.append(hook)
            advance()
        case .askAgain(let text):
            state.entry.hookLeft = RolloutMachine.hookPause
            tell("the hook in front of stage \(state.current.name) asks to wait: \(text)")
        case .failed(let text):
            let why = "the hook in front of stage \(state.current.name) failed: \(text)"
            switch plan.hooks[hook].onFailure {
            case .hold: hold(.hook, why)
            case .rollback: rollBack(.hook, why)
            case .ignore:
                tell(why + "; it is ignored, as the plan says")
                state.entry.hooks.append(hook)
                advance()
            }
        }
    }

    mutating func endpoints(canary: Int, stable: Int) {
        let limits = 0...RolloutState.endpointsMax
        state.canaryReady = min(max(canary, limits.lowerBound), limits.upperBound)
        state.stableReady = min(max(stable, limits.lowerBound), limits.upperBound)
        switch state.phase {
        case .entering: if state.entry.waitsFor == .endpoints { advance() }
        case .blocked:
            if state.stableReady >= state.stableNeeded {
                go(.rollingBack, "\(state.run.stable) has its endpoints again, and users go back")
                sendBack()
            } else {
                sendPartBack()
            }
        default: break
        }
    }

    // MARK: In force

    mutating func confirmed(_ epoch: Int, timeToConclude: Duration?) {
        guard let order = state.order, order.epoch == epoch, state.confirmed.epoch != epoch else {
            return
        }
        state.confirmed = .init(epoch: epoch, share: order.share, rules: order.rules)
        switch state.phase {
        case .applying: begin(timeToConclude)
        case .finishing: if order.movesStable { end() }
        case .rollingBack: if order.share == 0 { end() }
        default: break
        }
    }

    private mutating func begin(_ timeToConclude: Duration?) {
        let isResumed = state.maxTime != nil
        if !isResumed {
            // The judge speaks at minTime first: a clock that ends the stage there would hold
            // every stage of half an hour.
            let minTime = state.minTime(of: state.stage)
            state.maxTime =
                state.current.maxTime
                ?? max(RolloutTurn.maxTime(timeToConclude), minTime + minTime)
        }
        state.isAtEntry = false
        let share = RolloutText.percent(state.confirmed.share)
        let isInForce = state.run.isDryRun ? "would be in force (dry run)" : "are in force"
        go(.watching, "stage \(state.current.name): \(share) for \(plan.canary) \(isInForce)")
        give(.beginStage(stage: state.stage, epoch: state.epoch, isResumed: isResumed))
        if !isResumed { notify(.stage, "stage \(state.current.name) is in force, \(share)") }
    }

    /// Three times the time to a conclusion, at least half an hour, at most a day.
    static func maxTime(_ timeToConclude: Duration?) -> Duration {
        let day = Duration.seconds(86_400)
        guard let time = timeToConclude, time < day else { return day }
        return max(.seconds(1_800), min(day, time + time + time))
    }

    // MARK: Out of a stage

    /// The stage may be left: with an approval if the plan wants one.
    mutating func leave(_ why: String) {
        guard state.phase == .watching else { return }
        if let approval = state.current.approval, !approval.isBefore, !state.entry.isApproved {
            askApproval("\(why); stage \(state.current.name) is left only with an approval")
            return
        }
        enter(from: state.stage + 1, why)
    }
}
