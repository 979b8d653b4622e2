import Base

/// Records on their way to the disk, and the deeds that wait for them.
///
/// One write is under way at a time. A write that failed is tried again; meanwhile nobody goes
/// forward, everybody may go back, and people are answered at once.
struct RolloutWriter: Sendable, Equatable {
    private struct Waiting: Sendable, Equatable {
        var sequence: Int
        var effect: RolloutEffect
    }

    /// Records that are not known to be on the disk.
    private(set) var unwritten: [JournalRecord] = []
    private var waiting: [Waiting] = []
    private var isWriting = false
    private(set) var problem: String?
    private(set) var retryLeft: Duration?

    /// Until a write that failed is tried again.
    static let retryPause = Duration.seconds(5)
    /// Records that wait for a disk that takes nothing; more of them become one snapshot.
    static let unwrittenMax = 32

    var isWritten: Bool { unwritten.isEmpty }
    /// The number of the last record that waits.
    var lastSequence: Int? { unwritten.last?.sequence }

    /// Takes records and the deeds that follow from them.
    /// - Returns: what is to be done at once.
    mutating func add(
        _ records: [JournalRecord], _ effects: [RolloutEffect], _ state: RolloutState
    ) -> [RolloutEffect] {
        unwritten += records
        var now: [RolloutEffect] = []
        for effect in effects {
            if isFree(effect, state.phase) {
                now.append(effect)
            } else {
                waiting.append(.init(sequence: unwritten.last?.sequence ?? 0, effect: effect))
            }
        }
        waiting.removeAll { RolloutWriter.isStale($0.effect, state) }
        // The weights come first where users go back, the disk where they go forward.
        return now + write(state)
    }

    /// Whether a deed needs no record: nobody goes forward by it.
    private func isFree(_ effect: RolloutEffect, _ phase: RolloutPhase) -> Bool {
        switch effect {
        // Whoever asks a rollout whose disk fails hears so, and does not wait for the disk.
        case .answer where problem != nil: true
        case .write, .log, .refuse, .askWhen, .askWindow: true
        case .setWeights(let order): order.goesBack
        case .beginStage, .callHook, .notify, .synthetic, .answer, .ended: phase.goesBack
        }
    }

    /// Whether a deed was overtaken while it waited.
    private static func isStale(_ effect: RolloutEffect, _ state: RolloutState) -> Bool {
        switch effect {
        case .setWeights(let order):
            order != state.order || order.epoch == state.confirmed.epoch
        case .beginStage: state.phase != .watching
        case .callHook(let stage, let hook, _):
            state.phase != .entering || state.stage != stage || state.entry.calls != hook
        case .synthetic(let isOn): isOn != state.isSynthetic
        case .write, .askWhen, .askWindow, .notify, .log, .answer, .refuse, .ended: false
        }
    }

    private mutating func write(_ state: RolloutState) -> [RolloutEffect] {
        guard !isWriting, retryLeft == nil, !unwritten.isEmpty else { return [] }
        isWriting = true
        let isBack = state.phase.goesBack || state.phase == .paused
        return [.write(unwritten, goesBack: isBack)]
    }

    mutating func written(_ sequence: Int, _ state: RolloutState) -> [RolloutEffect] {
        guard isWriting else { return [] }
        isWriting = false
        unwritten.removeAll { $0.sequence <= sequence }
        var effects: [RolloutEffect] = []
        if problem != nil {
            problem = nil
            effects.append(.log("rollout \(state.run.id): the journal is written again"))
        }
        effects += waiting.filter { $0.sequence <= sequence }.map(\.effect)
            .filter { !RolloutWriter.isStale($0, state) }
        waiting.removeAll { $0.sequence <= sequence }
        return effects + write(state)
    }

    mutating func notWritten(
        _ text: String, _ state: RolloutState, _ now: WallTime
    ) -> [RolloutEffect] {
        guard isWriting else { return [] }
        isWriting = false
        retryLeft = RolloutWriter.retryPause
        collapse(state, now)
        let answers = waiting.map(\.effect).filter(RolloutWriter.isAnswer)
        waiting.removeAll { RolloutWriter.isAnswer($0.effect) }
        let isNew = problem != text
        problem = RolloutTurn.short(text, bytesMax: 1_000)
        guard isNew else { return answers }
        return answers + [
            .log(
                "rollout \(state.run.id): state not written: \(text); no step forward until it is, "
                    + "tried again every 5 s")
        ]
    }

    private static func isAnswer(_ effect: RolloutEffect) -> Bool {
        if case .answer = effect { true } else { false }
    }

    /// Many records that found no disk become one snapshot.
    private mutating func collapse(_ state: RolloutState, _ now: WallTime) {
        guard unwritten.count > RolloutWriter.unwrittenMax, let first = unwritten.first else {
            return
        }
        unwritten = [
            JournalRecord(
                sequence: first.sequence, time: now, body: .snapshot(state, replaces: true))
        ]
        for i in waiting.indices { waiting[i].sequence = first.sequence }
    }

    mutating func elapse(_ passed: Duration, _ state: RolloutState) -> [RolloutEffect] {
        retryLeft = retryLeft?.left(after: passed)
        guard retryLeft == .zero else { return [] }
        retryLeft = nil
        return write(state)
    }
}
