import Base

/// One event on its way through the state: the state as it becomes, and the deeds.
struct RolloutTurn {
    var state: RolloutState
    let now: WallTime
    /// The number of the command's asker.
    let ask: UInt64
    private(set) var effects: [RolloutEffect] = []

    init(_ state: RolloutState, now: WallTime, ask: UInt64) {
        self.state = state
        self.now = now
        self.ask = ask
    }

    var plan: RolloutPlan { state.run.plan }

    mutating func give(_ effect: RolloutEffect) { effects.append(effect) }

    // MARK: Steps

    /// Takes a step of the diagram, with a line that says why.
    mutating func go(_ next: RolloutPhase, _ text: String) {
        assert(
            RolloutPhase.allows(state.phase, next),
            "a rollout goes from \(state.phase) to \(next), which its table lacks")
        state.phase = next
        tell(text)
    }

    /// A line of the story, for the process log, the status and the journal.
    mutating func tell(_ text: String) {
        let line = RolloutTurn.short(text, bytesMax: 1_000)
        state.lines.append(.init(time: now, text: line))
        if state.lines.count > RolloutState.linesMax { state.lines.removeFirst() }
        give(.log("rollout \(state.run.id): \(line)"))
    }

    /// The beginning of a text of somebody else, as whole characters.
    static func short(_ text: String, bytesMax: Int) -> String {
        guard text.utf8.count > bytesMax else { return text }
        var bytes = 0
        let kept = text.unicodeScalars.prefix { scalar in
            bytes += UTF8.width(scalar)
            return bytes <= bytesMax - 3
        }
        return String(kept) + "…"
    }

    /// Calls every hook that is told of an event.
    mutating func notify(_ event: RolloutPlan.Hook.Event, _ text: String) {
        for (index, hook) in plan.hooks.enumerated() where hook.events.contains(event) {
            state.noticeCount += 1
            let notice = RolloutNotice(
                number: state.noticeCount, hook: index, event: event, stage: state.current.name,
                phase: state.phase, text: RolloutTurn.short(text, bytesMax: 1_000), time: now)
            state.notices.append(notice)
            let waiting = state.notices.indices.filter { state.notices[$0].hook == index }
            if waiting.count > RolloutState.noticesMax { state.notices.remove(at: waiting[0]) }
            give(.notify(notice))
        }
    }

    private func reason(
        _ code: RolloutReason.Code, _ text: String, by: String? = nil
    ) -> RolloutReason {
        RolloutReason(code: code, text: RolloutTurn.short(text, bytesMax: 1_000), by: by)
    }

    // MARK: Weights

    mutating func order(
        share: Int, rules: [String], movesStable: Bool = false, goesBack: Bool = false
    ) {
        state.epoch += 1
        let order = WeightsOrder(
            epoch: state.epoch, share: share, rules: rules, movesStable: movesStable,
            goesBack: goesBack)
        state.order = order
        give(.setWeights(order))
    }

    /// Takes back an order that may still be under way: nobody goes forward from here on.
    mutating func recall() {
        guard let order = state.order, order.epoch != state.confirmed.epoch, !order.goesBack else {
            return
        }
        self.order(share: state.confirmed.share, rules: state.confirmed.rules, goesBack: true)
    }

    // MARK: Standing still

    /// Stops until a person resumes. Nothing happens where it has ended or goes back.
    mutating func pause(_ code: RolloutReason.Code, _ text: String, by: String? = nil) {
        guard !state.phase.hasEnded, !state.phase.goesBack else { return }
        // The first reason stays: whoever resumes has to see to both.
        guard state.phase != .paused else { return }
        recall()
        state.reason = reason(code, text, by: by)
        go(.paused, "paused: \(text)")
        notify(.paused, text)
    }

    /// Stops until a person decides.
    mutating func hold(_ code: RolloutReason.Code, _ text: String) {
        switch state.phase {
        case .entering, .applying, .watching, .awaiting:
            recall()
            state.reason = reason(code, text)
            go(.held, "held: \(text)")
            notify(.held, text)
        case .held, .paused, .finishing, .rollingBack, .blocked, .succeeded, .rolledBack,
            .superseded, .aborted:
            break
        }
    }

    /// Asks for a person's approval.
    mutating func askApproval(_ text: String) {
        state.approvalLeft = state.current.approval?.timeout
        go(.awaiting, text)
        notify(.approval, text)
    }

    // MARK: Going back

    /// Begins to take everything back. Nothing keeps it from that, and what is under way already
    /// keeps its reason.
    mutating func rollBack(
        _ code: RolloutReason.Code, _ text: String, by: String? = nil,
        to outcome: RolloutPhase = .rolledBack
    ) {
        guard !state.phase.hasEnded, !state.phase.goesBack else { return }
        state.reason = reason(code, text, by: by)
        state.outcome = outcome
        if state.isSynthetic {
            state.isSynthetic = false
            give(.synthetic(false))
        }
        go(.rollingBack, "rolling back: \(text)")
        sendBack()
    }

    /// Asks for weight 0, or, while the stable version has too few endpoints, for as little as its
    /// endpoints allow.
    mutating func sendBack() {
        if state.isForced || state.reason?.code == .canaryRemoved
            || state.stableReady >= state.stableNeeded
        {
            guard let last = state.order, last.goesBack, last.share == 0, last.rules.isEmpty
            else {
                order(share: 0, rules: [], goesBack: true)
                return
            }
            // While the rollback was blocked there was nobody to be taken back.
            if state.confirmed.epoch == last.epoch { end() }
            return
        }
        go(.blocked, blockedText)
        notify(.rollbackBlocked, blockedText)
        sendPartBack()
    }

    /// Why a rollback is blocked, and the way out.
    var blockedText: String {
        "rollback blocked: \(state.run.stable) has \(state.stableReady) of the "
            + "\(state.stableNeeded) endpoints in rotation that it needs to take all users; it "
            + "goes on by itself when they come, `sluice rollout abort \(plan.name) --force` does "
            + "it now"
    }

    /// Lowers the canary's share as far as the stable version's endpoints allow.
    mutating func sendPartBack() {
        let missing = max(0, state.stableNeeded - state.stableReady)
        let needed = (missing * 10_000 + state.stableNeeded - 1) / state.stableNeeded
        let share = min(state.order.map { $0.goesBack ? $0.share : .max } ?? .max, needed)
        let wanted = min(state.confirmed.share, share)
        if let order = state.order, order.goesBack, order.share == wanted, order.rules.isEmpty {
            return
        }
        order(share: wanted, rules: [], goesBack: true)
    }

    // MARK: The end

    /// Behind the last stage: the canary becomes the stable version.
    mutating func finish(_ text: String) {
        go(.finishing, text)
        order(share: 10_000, rules: [], movesStable: true)
    }

    mutating func end() {
        switch state.phase {
        case .finishing:
            state.keepStableLeft = plan.keepStable
            let keep = RolloutText.span(plan.keepStable)
            let text =
                state.run.isDryRun
                ? "succeeded: \(plan.canary) would be the stable version of \(plan.service) now"
                : "succeeded: \(plan.canary) is the stable version of \(plan.service); leave "
                    + "\(state.run.stable) running for \(keep), so that there is a way back"
            go(.succeeded, text)
            notify(.succeeded, text)
        case .rollingBack:
            let why = state.reason?.text ?? ""
            let what =
                state.run.isDryRun ? "no weight has changed" : "\(plan.canary) has weight 0"
            let text = "\(state.outcome.words): \(what); \(why)"
            go(state.outcome, text)
            notify(.rolledBack, text)
        default:
            return
        }
        if state.isSynthetic {
            state.isSynthetic = false
            give(.synthetic(false))
        }
        give(.ended(state.phase))
    }
}

/// Words for spans and shares.
enum RolloutText {
    /// `45 s`, `12 min`, `2 h 40 min`, `3 d`.
    static func span(_ span: Duration) -> String {
        let seconds = max(0, span.nanoseconds) / 1_000_000_000
        if seconds < 120 { return "\(seconds) s" }
        let minutes = seconds / 60
        if minutes < 120 { return "\(minutes) min" }
        if minutes < 48 * 60 {
            return minutes % 60 == 0 ? "\(minutes / 60) h" : "\(minutes / 60) h \(minutes % 60) min"
        }
        return "\(minutes / (24 * 60)) d"
    }

    /// `5 %`, `0.25 %`, of hundredths of a percent.
    static func percent(_ share: Int) -> String {
        let whole = share / 100, part = share % 100
        if part == 0 { return "\(whole) %" }
        let digits = part % 10 == 0 ? "\(part / 10)" : (part < 10 ? "0\(part)" : "\(part)")
        return "\(whole).\(digits) %"
    }
}
