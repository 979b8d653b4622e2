import Base

/// The words of people. A command that is not done changes nothing, and is answered with a sentence
/// that says why, and what to do.
extension RolloutTurn {
    mutating func apply(_ command: RolloutCommand, by: String) {
        if state.phase.hasEnded {
            refuse("\(state.run.id) has ended (\(state.phase.words)); \(state.nextStep)")
            return
        }
        switch command {
        case .approve(let id, let stage): approve(id, stage, by)
        case .pause: pause(by)
        case .resume: resume(by)
        case .abort(let force): abort(force, by)
        case .look: look(by)
        case .skip(let stage): skip(stage, by)
        case .finish(let force): finish(force, by)
        case .retry:
            refuse(state.retryRefusal)
        case .supersede:
            if state.phase.goesBack {
                refuse("\(state.run.id) goes back already; start again when it has ended")
                return
            }
            rollBack(.newRevision, "\(by) started another release", by: by, to: .superseded)
            answer("\(state.run.id) gives way: \(backText)")
        }
    }

    private mutating func refuse(_ text: String) { give(.refuse(ask: ask, text)) }
    private mutating func answer(_ text: String) { give(.answer(ask: ask, text)) }

    // MARK: Going on

    private mutating func approve(_ id: String, _ stage: String, _ by: String) {
        guard id == state.run.id, stage == state.current.name else {
            refuse(
                "the approval is for stage \(stage) of \(id), and now it is stage "
                    + "\(state.current.name) of \(state.run.id): look at "
                    + "`sluice rollout status \(plan.name)` and approve that")
            return
        }
        guard state.phase == .awaiting || state.phase == .held else {
            refuse(notAsked())
            return
        }
        if let text = mayNotApprove(by) {
            refuse(text)
            return
        }
        if state.phase == .held, state.reason?.code == .endpoints, state.canaryReady == 0 {
            refuse(
                "\(plan.canary) has no endpoint in rotation, so that its users would get errors; "
                    + "start one, it then goes on with `sluice rollout look \(plan.name)`")
            return
        }
        let spite = state.phase == .held ? state.reason?.text ?? "" : ""
        state.approvals.append(
            .init(
                stage: stage, by: RolloutTurn.short(by, bytesMax: 200), time: now,
                inSpiteOf: spite))
        if state.approvals.count > RolloutState.noticesMax { state.approvals.removeFirst() }
        answer("approved: stage \(stage) of \(id)")
        let why = "\(by) approved stage \(stage)" + (spite.isEmpty ? "" : " in spite of: \(spite)")
        goOn(why)
    }

    private mutating func goOn(_ why: String) {
        let code = state.reason?.code
        guard state.isAtEntry else {
            enter(from: state.stage + 1, why)
            return
        }
        // An approval that was asked for, or came too late, or in spite of worse evidence.
        if state.phase == .awaiting || code == .approval { state.entry.isApproved = true }
        if state.phase == .held, let code { state.entry.waived.append(code) }
        enterAgain(why)
    }

    private func mayNotApprove(_ by: String) -> String? {
        guard let approval = state.current.approval else { return nil }
        if !approval.by.isEmpty, !approval.by.contains(by) {
            let list = approval.by.joined(separator: ", ")
            return "stage \(state.current.name) is approved by \(list), and you are \(by)"
        }
        if approval.notStarter, by == state.run.startedBy {
            return "stage \(state.current.name) is approved by somebody else than \(by), who "
                + "started the rollout"
        }
        return nil
    }

    private func notAsked() -> String {
        let id = state.run.id
        switch state.phase {
        case .paused:
            return "\(id) is paused (\(state.reason?.text ?? "")): `sluice rollout resume "
                + "\(plan.name)` comes before an approval"
        case .rollingBack, .blocked: return "\(id) goes back, which nobody can approve away"
        default:
            return "\(id) is \(state.phase.words) and no approval is asked for yet; "
                + "`sluice rollout wait \(plan.name)` returns when it is"
        }
    }

    private mutating func look(_ by: String) {
        guard state.phase == .held else {
            refuse(
                "\(state.run.id) is \(state.phase.words); look is for a rollout that is held, and "
                    + "watches its stage once more")
            return
        }
        let isLate = state.reason?.code == .approval
        answer("\(state.run.id) looks at stage \(state.current.name) again")
        if state.isAtEntry {
            enterAgain("\(by) asked to try the entry of stage \(state.current.name) again")
            return
        }
        state.reason = nil
        if isLate {
            askApproval("\(by) asked to wait for an approval again")
            return
        }
        state.stageTime = .zero
        state.asksFor = nil
        go(.watching, "\(by) asked to watch stage \(state.current.name) again")
        give(.beginStage(stage: state.stage, epoch: state.confirmed.epoch, isResumed: false))
    }

    private mutating func skip(_ name: String, _ by: String) {
        guard let index = plan.stages.firstIndex(where: { $0.name == name }) else {
            let names = plan.stages.map(\.name).joined(separator: ", ")
            refuse("there is no stage \(name); the stages are \(names)")
            return
        }
        switch state.phase {
        case .entering, .applying, .watching, .held: break
        case .awaiting where index != state.stage: break
        case .awaiting:
            refuse("stage \(name) waits for an approval, which nobody skips: approve it, or abort")
            return
        default:
            refuse("\(state.run.id) is \(state.phase.words), where no stage can be passed over")
            return
        }
        guard index >= state.stage, !state.skipped.contains(index) else {
            refuse("stage \(name) is over; the stage of now is \(state.current.name)")
            return
        }
        guard plan.stages.indices.last(where: { !state.skipped.contains($0) }) != index else {
            refuse(
                "stage \(name) is the last one: without it \(plan.canary) has all users unseen; if "
                    + "that is meant, say `sluice rollout finish \(plan.name) --force`")
            return
        }
        if plan.stages[index].approval != nil, !(index == state.stage && state.entry.isApproved) {
            refuse("stage \(name) has an approval, which nobody skips: approve it when it is asked")
            return
        }
        answer("stage \(name) of \(state.run.id) is passed over")
        state.skipped.append(index)
        guard index == state.stage else {
            tell("\(by) takes stage \(name) out of the way")
            return
        }
        recall()
        enter(from: index + 1, "\(by) passed over stage \(name)")
    }

    private mutating func finish(_ force: Bool, _ by: String) {
        guard force else {
            refuse(
                "finish gives \(plan.canary) all users without further stages, approvals and "
                    + "looks; if that is meant, say `sluice rollout finish \(plan.name) --force`")
            return
        }
        switch state.phase {
        case .entering, .applying, .watching, .awaiting, .held: break
        case .paused:
            refuse(
                "\(state.run.id) is paused (\(state.reason?.text ?? "")): resume it first")
            return
        default:
            refuse("\(state.run.id) is \(state.phase.words) already")
            return
        }
        guard state.canaryReady >= max(1, plan.minEndpoints) else {
            refuse(
                "\(plan.canary) has \(state.canaryReady) endpoints in rotation and cannot take all "
                    + "users; start more of them first")
            return
        }
        answer("\(plan.canary) becomes the stable version of \(plan.service)")
        state.reason = nil
        finish("\(by) finished the rollout by force, from stage \(state.current.name)")
    }

    // MARK: Stopping

    private mutating func pause(_ by: String) {
        if state.phase == .paused {
            refuse("\(state.run.id) is paused already: \(state.reason?.text ?? "")")
            return
        }
        if state.phase.goesBack {
            refuse("\(state.run.id) goes back, which is never paused")
            return
        }
        answer("\(state.run.id) is paused; weights stay as they are")
        pause(.person, "\(by) asked for it", by: by)
    }

    private mutating func resume(_ by: String) {
        guard state.phase == .paused else {
            let more =
                state.phase == .held
                ? "; a held rollout goes on with approve or look" : ""
            refuse("\(state.run.id) is not paused, it is \(state.phase.words)" + more)
            return
        }
        if let drift = state.drift {
            refuse(
                "the file's own weights of \(plan.service) changed: \(drift). Take them with "
                    + "`sluice weights follow \(plan.service)`, or undo the change in the file; "
                    + "then resume")
            return
        }
        answer("\(state.run.id) goes on with stage \(state.current.name)")
        enterAgain("\(by) resumed; entering stage \(state.current.name) again")
    }

    private mutating func abort(_ force: Bool, _ by: String) {
        if state.phase.goesBack {
            guard force, state.phase == .blocked else {
                refuse(
                    state.phase == .blocked
                        ? "the rollback waits for endpoints of \(state.run.stable); "
                            + "`sluice rollout abort \(plan.name) --force` does it now"
                        : "\(state.run.id) goes back already")
                return
            }
            answer("going back, although \(state.run.stable) has too few endpoints")
            state.isForced = true
            go(.rollingBack, "\(by) takes it back by force")
            sendBack()
            return
        }
        state.isForced = force
        rollBack(.person, "\(by) aborted it", by: by, to: .aborted)
        answer("\(state.run.id): \(backText)")
    }

    /// The state of a rollback that has just begun.
    private var backText: String {
        if state.run.isDryRun { return "the dry run ends, and no weight has changed by it" }
        return state.phase == .blocked ? blockedText : "\(plan.canary) goes back to weight 0"
    }
}

extension RolloutState {
    /// Why a rollout that has not ended is not begun again, and what to do.
    var retryRefusal: String {
        "\(run.id) is \(phase.words): retry begins a rolled-back revision again, so it has to end "
            + "first; of a held rollout `look` watches the same stage once more"
    }
}
