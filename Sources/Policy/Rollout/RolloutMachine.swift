import Base

/// A rollout under way: a pure value that is told what happened, and says what to do.
///
/// ```swift
/// for effect in machine.handle(event, now: wallClock) { perform(effect) }
/// ```
///
/// The state is a fold of events. An event that changes the state becomes a record of the journal,
/// and the deeds that follow from it are given once that record is on the disk. Deeds by which
/// users go back do not wait: they are given at once, and the record follows. Time is an event too;
/// what has passed without consequences goes into the next record.
///
/// All deeds of an event are performed before the next event is given. A driver sends `time` when
/// `nextDeadline` is due, and at least once a minute; after a restart the machine is made of the
/// `JournalFold`, and told `restarted`.
public struct RolloutMachine: Sendable, Equatable {
    public private(set) var state: RolloutState
    /// The number of the last record.
    public private(set) var sequence: Int

    /// Time since the last record.
    private var monotonic = Duration.zero
    private var wall = Duration.zero
    /// The judge's last word, be it worth a record or not.
    private var latest: Verdict?
    private var journal = RolloutWriter()
    /// Until the judge's state is worth a record by itself.
    private var checkpointLeft = Duration.zero
    /// Until the window is asked for again.
    private var pollLeft = RolloutMachine.pollPause
    /// Until a refused order is given again, and why it was refused.
    private var orderLeft: Duration?
    private var orderProblem: String?

    /// A record whose number is a multiple of this has a snapshot behind it, whichever rollout it
    /// is of: a journal of many short rollouts is renewed too.
    static let snapshotEvery = 256
    /// Time without a record, while something will be due.
    static let beatEvery = Duration.seconds(300)
    static let pollPause = Duration.seconds(10)
    /// Until a hook that asked for it is called again.
    static let hookPause = Duration.seconds(30)
    /// Until a refused order is given again.
    static let orderPause = Duration.seconds(5)
    /// The most of a jump of the wall clock that is believed.
    static let jumpMax = Duration.seconds(3_600)

    private init(_ state: RolloutState, sequence: Int) {
        self.state = state
        self.sequence = sequence
        latest = state.verdict
    }

    // MARK: Beginning

    /// Begins a rollout.
    ///
    /// - Parameters:
    ///   - run: checked by `mayStart` and by the plan's own checks.
    ///   - sequence: the number of the journal's last record; 0 without any.
    /// - Returns: the machine and its first deeds.
    public static func start(
        _ run: RolloutRun, after sequence: Int, now: WallTime
    ) -> (machine: RolloutMachine, effects: [RolloutEffect]) {
        precondition(run.isSound, "the plan of a rollout has stages and sound numbers")
        let turn = RolloutTurn.begin(run, now: now)
        var machine = RolloutMachine(turn.state, sequence: sequence)
        let record = machine.next(.begin(run), now)
        let effects = machine.journal.add([record], turn.effects, turn.state)
        return (machine, effects)
    }

    /// Goes on with the last rollout of a journal. Tell it `restarted` first of all.
    /// - Returns: `nil` when the journal tells of none.
    public init?(_ fold: JournalFold) {
        guard let state = fold.state else { return nil }
        self.init(state, sequence: fold.sequence)
    }

    /// Whether a rollout may start where the journal tells of others.
    ///
    /// - Parameters:
    ///   - last: the machine of the plan's last rollout.
    ///   - isRetry: the person said `retry`.
    /// - Returns: why not, and what to do.
    public static func mayStart(
        _ plan: RolloutPlan, canaryRevision: String?, after last: RolloutMachine?, isRetry: Bool
    ) -> String? {
        guard let last else {
            return isRetry
                ? "\(plan.name) was never rolled back; `sluice rollout start \(plan.name)` begins "
                    + "the first rollout" : nil
        }
        let state = last.state
        guard state.phase.hasEnded else {
            if isRetry { return state.retryRefusal }
            return "\(state.run.id) is \(state.phase.words): one rollout runs at a time; abort it, "
                + "or say `sluice rollout start \(plan.name) --supersede`"
        }
        guard last.isWritten else {
            return "the end of \(state.run.id) is not in the journal yet"
                + (last.notWritten.map { ": \($0)" } ?? "") + "; start again when it is"
        }
        let isSame =
            canaryRevision == state.run.canaryRevision
            && plan.canary == state.run.plan.canary
        // A dry run has shown nobody anything.
        let wentBack = state.phase == .rolledBack && !state.run.isDryRun
        if isRetry, state.phase == .succeeded, !state.run.isDryRun,
            plan.canary == state.run.plan.canary
        {
            return "retry begins a rolled-back revision again, and \(state.run.id) succeeded: "
                + state.nextStep
        }
        if isRetry, !(wentBack && isSame) {
            return "retry begins a rolled-back revision again, and \(state.run.id) "
                + (wentBack ? "was of another revision" : "is \(state.phase.words)")
                + "; say `sluice rollout start \(plan.name)`"
        }
        if wentBack, isSame, canaryRevision != nil, !isRetry {
            return "revision \(canaryRevision ?? "") of \(plan.canary) was rolled back "
                + "(\(state.reason?.text ?? "")); if it shall be tried again as it is, say "
                + "`sluice rollout retry \(plan.name)`"
        }
        return nil
    }

    // MARK: Events

    /// Takes an event.
    ///
    /// - Parameters:
    ///   - now: for records and lines; no deadline depends on it.
    ///   - ask: comes back with the answer to a command.
    public mutating func handle(
        _ event: RolloutEvent, now: WallTime, ask: UInt64 = 0
    ) -> [RolloutEffect] {
        switch event {
        case .written(let sequence): return journal.written(sequence, state)
        case .notWritten(let text):
            let effects = journal.notWritten(text, state, now)
            if let last = journal.lastSequence, last < sequence {
                // One snapshot, of now, is in the place of many records.
                sequence = last
                monotonic = .zero
                wall = .zero
            }
            return effects
        case .refused(let epoch, let text): return refused(epoch, text)
        case .time(let monotonic, let wall): return elapse(monotonic, wall, now)
        default: return take(event, now, ask)
        }
    }

    /// Takes a look of the judge, whose state is written down only where the look is worth a
    /// record: that of a sticky service has many kilobytes.
    ///
    /// - Parameter judge: the judge's whole state behind the look, as text.
    public mutating func look(
        _ verdict: Verdict, now: WallTime, judge: () -> String
    ) -> [RolloutEffect] {
        var turn = RolloutTurn(state, now: now, ask: 0)
        let unwritten = RolloutEvent.look(verdict, judge: state.judge)
        turn.apply(unwritten)
        let isDue = checkpointLeft == .zero && journal.isWritten
        guard !state.phase.hasEnded, isDue || isWorthARecord(unwritten, turn.state) else {
            return take(unwritten, now, 0)
        }
        return take(.look(verdict, judge: judge()), now, 0)
    }

    private mutating func take(
        _ event: RolloutEvent, _ now: WallTime, _ ask: UInt64
    ) -> [RolloutEffect] {
        var turn = RolloutTurn(state, now: now, ask: ask)
        turn.apply(event)
        if case .look(let verdict, _) = event { latest = verdict }
        guard isWorthARecord(event, turn.state) else {
            state.canaryReady = turn.state.canaryReady
            state.stableReady = turn.state.stableReady
            return turn.effects
        }
        let facts = JournalFacts(
            monotonic: monotonic, wall: wall, canary: turn.state.canaryReady,
            stable: turn.state.stableReady)
        if turn.state.order != state.order || turn.state.phase != state.phase {
            orderLeft = nil
            orderProblem = nil
            pollLeft = RolloutMachine.pollPause
        }
        state = turn.state
        monotonic = .zero
        wall = .zero
        // At most a kilobyte a second on average, and a record every ten seconds at most.
        checkpointLeft = .seconds(max(10, Int64(state.judge.utf8.count) / 1_024))
        var records = [next(.event(event, facts), now)]
        if sequence.isMultiple(of: RolloutMachine.snapshotEvery) {
            records.append(next(.snapshot(state, replaces: false), now))
        }
        return journal.add(records, turn.effects, state)
    }

    private mutating func next(_ body: JournalRecord.Body, _ now: WallTime) -> JournalRecord {
        sequence += 1
        return JournalRecord(sequence: sequence, time: now, body: body)
    }

    /// Whether an event changed more than what rides along with the next record.
    private func isWorthARecord(_ event: RolloutEvent, _ new: RolloutState) -> Bool {
        var same = new
        same.canaryReady = state.canaryReady
        same.stableReady = state.stableReady
        // Time that nothing follows from is written down now and then, so that a restart does not
        // lose hours of it.
        if case .time = event, wall >= RolloutMachine.beatEvery, !state.deadlines.isEmpty {
            return true
        }
        guard case .look(let verdict, let judge) = event else { return same != state }
        same.verdict = state.verdict
        same.judge = state.judge
        return same != state || verdict.kind != state.verdict?.kind
            || judge != state.judge && checkpointLeft == .zero && journal.isWritten
    }

    /// An order was not taken: it is given again after a while.
    private mutating func refused(_ epoch: Int, _ text: String) -> [RolloutEffect] {
        guard let order = state.order, order.epoch == epoch, state.confirmed.epoch != epoch,
            !state.phase.hasEnded
        else { return [] }
        orderLeft = RolloutMachine.orderPause
        guard orderProblem != text else { return [] }
        orderProblem = RolloutTurn.short(text, bytesMax: 1_000)
        let share = RolloutText.percent(order.share)
        return [
            .log(
                "rollout \(state.run.id): \(share) for \(state.plan.canary) are not in force: "
                    + "\(text); tried again every 5 s")
        ]
    }

    // MARK: Time

    /// A span of the wall clock, as far as it is believed.
    static func believed(_ wall: Duration) -> Duration { max(.zero, min(wall, jumpMax)) }

    private mutating func elapse(
        _ monotonic: Duration, _ wall: Duration, _ now: WallTime
    ) -> [RolloutEffect] {
        let passed = max(.zero, monotonic), believed = RolloutMachine.believed(wall)
        state.elapse(monotonic: passed, wall: believed)
        self.monotonic = self.monotonic + passed
        self.wall = self.wall + believed
        checkpointLeft = checkpointLeft.left(after: passed)
        var effects = take(.time(monotonic: passed, wall: believed), now, 0)
        effects += journal.elapse(passed, state)
        orderLeft = orderLeft?.left(after: passed)
        if orderLeft == .zero, let order = state.order {
            orderLeft = nil
            if order.epoch != state.confirmed.epoch { effects.append(.setWeights(order)) }
        }
        if isPolling {
            pollLeft = pollLeft.left(after: passed)
            if pollLeft == .zero {
                pollLeft = RolloutMachine.pollPause
                effects.append(.askWindow(stage: state.stage))
            }
        }
        return effects
    }

    private var isPolling: Bool { state.phase == .entering && !state.current.windows.isEmpty }

    /// How long nothing is due; `nil`: nothing ever is.
    public var nextDeadline: Duration? {
        var lefts = state.deadlines.map(\.left)
        if let left = orderLeft { lefts.append(left) }
        if let left = journal.retryLeft { lefts.append(left) }
        if let left = state.phase == .entering ? state.entry.hookLeft : nil { lefts.append(left) }
        if isPolling { lefts.append(pollLeft) }
        return lefts.min()
    }

    // MARK: Looking in

    /// Why the newest records are not on the disk; `nil` when they are, or soon will be.
    public var notWritten: String? { journal.problem }
    /// Why the weights that are wanted are not in force.
    public var notApplied: String? { orderProblem }
    /// The judge's last word.
    public var verdict: Verdict? { latest }
    /// Whether the last weights that were asked for came into force.
    public var isApplied: Bool { state.order.map { $0.epoch == state.confirmed.epoch } ?? true }
    /// Whether every record so far is on the disk.
    public var isWritten: Bool { journal.isWritten }
    /// The records that are not known to be on the disk, for tests.
    package var unwritten: [JournalRecord] { journal.unwritten }
}

extension RolloutTurn {
    /// The first turn of a rollout.
    static func begin(_ run: RolloutRun, now: WallTime) -> RolloutTurn {
        var turn = RolloutTurn(RolloutState(run), now: now, ask: 0)
        let revision = run.canaryRevision.map { ", revision \($0)" } ?? ""
        let text =
            "started by \(run.startedBy): \(run.plan.canary)\(revision) of \(run.plan.service)"
            + (run.isDryRun ? "; a dry run, which changes no weight" : "")
        turn.tell(text)
        turn.notify(.started, text)
        turn.enter(from: 0, "\(run.plan.stages.count) stages")
        return turn
    }
}
