import Base
import Rollout

/// A rollout as a person would explain it, in a world in which everything that is asked for is
/// answered at once: slow, obvious, and written without a look at the machine.
struct RolloutModel {
    let plan: RolloutPlan
    var phase = RolloutPhase.entering
    var stage = 0
    /// Held, or waiting for an approval, in front of the stage's weights.
    var isAtEntry = true
    var why = RolloutReason.Code.person
    var time = 0
    var isApproved = false
    var hasPassedHook = false
    /// `when` was true once: its names do not change.
    var isWhenTrue = false
    var without: Set<RolloutReason.Code> = []
    var skipped: Set<Int> = []
    var approvalLeft: Int?
    var durationLeft: Int?
    var readyLeft = 600
    var verdict: Verdict.Kind?
    var drift = false
    var end = RolloutPhase.rolledBack

    // The world.
    var when: Bool? = true
    var isWindowOpen = true
    var hookPasses = true
    var canary = 4
    var stable = 4

    init(_ plan: RolloutPlan) {
        self.plan = plan
        durationLeft = plan.maxDuration.map { Int($0.nanoseconds / 1_000_000_000) }
        enter(0)
    }

    var now: RolloutPlan.Stage { plan.stages[stage] }
    var share: Int {
        let weights = plan.stages[...stage].compactMap(\.weight)
        return min(weights.last ?? 0, 10_000 - now.holdBack)
    }
    /// Rules of stages before stay.
    var usesCanary: Bool {
        share > 0
            || plan.stages[...stage].indices.contains {
                plan.stages[$0].match != nil && !skipped.contains($0)
            }
    }
    var isCompared: Bool { share > 0 && share < 10_000 }
    var minTime: Int {
        Int((now.watch ?? now.minTime ?? plan.judge.minTime).nanoseconds / 1_000_000_000)
    }
    var maxTime: Int {
        now.maxTime.map { Int($0.nanoseconds / 1_000_000_000) } ?? max(1_800, 2 * minTime)
    }
    var isOver: Bool { phase.hasEnded }
    var isBack: Bool { phase == .blocked || isOver }

    mutating func enter(_ from: Int) {
        guard let next = plan.stages.indices.first(where: { $0 >= from && !skipped.contains($0) })
        else {
            phase = .succeeded
            return
        }
        stage = next
        time = 0
        isApproved = false
        hasPassedHook = false
        without = []
        tryToEnter()
    }

    mutating func tryToEnter() {
        isAtEntry = true
        isWhenTrue = false
        readyLeft = 600
        goThrough()
    }

    /// The conditions of the entry, in their order.
    mutating func goThrough() {
        phase = .entering
        if now.when != nil, !isWhenTrue, !without.contains(.when) {
            guard let when else { return hold(.when) }
            if !when {
                let isGate = now.approval != nil || !now.windows.isEmpty
                if !isGate || now.onFalse == .skip {
                    skipped.insert(stage)
                    return enter(stage + 1)
                }
                return now.onFalse == .hold ? hold(.when) : back(.rolledBack)
            }
        }
        isWhenTrue = true
        if now.approval?.isBefore == true, !isApproved { return ask() }
        if !now.windows.isEmpty, !isWindowOpen { return }
        if plan.hooks.contains(where: { $0.before == now.name }), !hasPassedHook,
            !without.contains(.hook)
        {
            guard hookPasses else { return hold(.hook) }
            hasPassedHook = true
        }
        if usesCanary,
            canary < (without.contains(.endpoints) ? 1 : plan.minEndpoints)
        {
            return
        }
        if verdict == .commonCause { return }
        phase = .watching
        isAtEntry = false
    }

    mutating func ask() {
        phase = .awaiting
        approvalLeft = now.approval?.timeout.map { Int($0.nanoseconds / 1_000_000_000) }
    }

    mutating func hold(_ code: RolloutReason.Code) {
        guard [.entering, .watching, .awaiting].contains(phase) else { return }
        phase = .held
        why = code
    }

    mutating func pause() { if !isBack, phase != .paused { phase = .paused } }

    mutating func back(_ end: RolloutPhase, byForce: Bool = false) {
        if isBack { return }
        self.end = end
        phase = stable >= 2 || byForce ? end : .blocked
    }

    mutating func leave() {
        if let approval = now.approval, !approval.isBefore, !isApproved { return ask() }
        enter(stage + 1)
    }

    // MARK: What happens

    mutating func look(_ kind: Verdict.Kind) {
        if isOver { return }
        verdict = kind
        switch kind {
        case .tripped, .limit: back(.rolledBack)
        case .regression:
            if plan.judge.onRegression == .rollback { back(.rolledBack) } else { hold(.regression) }
        case .healthy: if phase == .watching, isCompared, time >= minTime { leave() }
        case .inconclusive: if isCompared { inconclusive() }
        default: break
        }
        if phase == .entering { goThrough() }
    }

    mutating func inconclusive() {
        guard phase == .watching else { return }
        switch plan.judge.onInconclusive {
        case .hold, .synthetic: hold(.inconclusive)
        case .ask: ask()
        case .advance: leave()
        case .rollback: back(.rolledBack)
        }
    }

    mutating func pass(_ seconds: Int) {
        if isOver { return }
        durationLeft = durationLeft.map { max(0, $0 - seconds) }
        switch phase {
        case .watching: time += seconds
        case .awaiting: approvalLeft = approvalLeft.map { max(0, $0 - seconds) }
        case .entering: if isShortOfEndpoints { readyLeft = max(0, readyLeft - seconds) }
        default: break
        }
        if durationLeft == 0, !isBack { return back(.rolledBack) }
        if phase == .awaiting, approvalLeft == 0 {
            approvalLeft = nil
            if now.approval?.onTimeout == .rollback { back(.rolledBack) } else { hold(.approval) }
        } else if phase == .entering {
            if isShortOfEndpoints, readyLeft == 0 { hold(.endpoints) }
        } else if phase == .watching, verdict != .commonCause {
            if !isCompared {
                if time >= minTime, verdict != .external { leave() }
            } else if time >= maxTime, verdict != .healthy {
                inconclusive()
            }
        }
        if phase == .entering { goThrough() }
    }

    private var isShortOfEndpoints: Bool {
        if !now.windows.isEmpty, !isWindowOpen { return false }
        return usesCanary
            && canary < (without.contains(.endpoints) ? 1 : plan.minEndpoints)
    }

    // MARK: People

    mutating func approve(_ by: String) {
        guard phase == .awaiting || phase == .held else { return }
        if let approval = now.approval {
            if !approval.by.isEmpty, !approval.by.contains(by) { return }
            if approval.notStarter, by == "anna" { return }
        }
        if phase == .held, why == .endpoints, canary == 0 { return }
        guard isAtEntry else { return enter(stage + 1) }
        if phase == .awaiting || why == .approval { isApproved = true }
        if phase == .held { without.insert(why) }
        tryToEnter()
    }

    mutating func resume() { if phase == .paused, !drift { tryToEnter() } }

    mutating func lookAgain() {
        guard phase == .held else { return }
        if isAtEntry { return tryToEnter() }
        if why == .approval { return ask() }
        time = 0
        phase = .watching
    }

    mutating func skip(_ index: Int) {
        guard [.entering, .watching, .held, .awaiting].contains(phase), index >= stage,
            !skipped.contains(index), !(phase == .awaiting && index == stage)
        else { return }
        if plan.stages[index].approval != nil, !(index == stage && isApproved) { return }
        if plan.stages.indices.filter({ !skipped.contains($0) }).last == index { return }
        skipped.insert(index)
        if index == stage { enter(stage + 1) }
    }

    mutating func finish() {
        guard [.entering, .watching, .held, .awaiting].contains(phase),
            canary >= max(1, plan.minEndpoints)
        else { return }
        phase = .succeeded
    }

    mutating func abort(byForce: Bool) {
        if phase == .blocked, byForce {
            phase = end
        } else {
            back(.aborted, byForce: byForce)
        }
    }

    mutating func endpoints(_ canary: Int, _ stable: Int) {
        self.canary = canary
        self.stable = stable
        if phase == .entering { goThrough() }
        if phase == .blocked, stable >= 2 { phase = end }
    }
}
