import Base

/// One line of a rollout's journal, as a value. Records are numbered without gaps; the state of a
/// rollout is the fold of its records (`JournalFold`).
public struct JournalRecord: Sendable, Equatable, Codable {
    public enum Body: Sendable, Equatable, Codable {
        /// A rollout begins. The one before it in the journal has ended.
        case begin(RolloutRun)
        /// The rollout was told something that changed its state.
        case event(RolloutEvent, JournalFacts)
        /// The whole state. `replaces`: records that came before it were never written.
        case snapshot(RolloutState, replaces: Bool)
    }

    public var sequence: Int
    public var time: WallTime
    public var body: Body
}

/// The world that an event met: values that change all the time and are worth no record of
/// their own.
public struct JournalFacts: Sendable, Equatable, Codable {
    /// Time that passed since the record before, on both clocks.
    public var monotonic: Duration
    public var wall: Duration
    /// Endpoints in rotation.
    public var canary: Int
    public var stable: Int
}

/// Folds the records of a journal, in their order.
public struct JournalFold: Sendable, Equatable {
    /// The last rollout that the records tell of.
    public private(set) var state: RolloutState?
    /// The number of the last record.
    public private(set) var sequence = 0
    /// The wall time of the last record.
    public private(set) var time = WallTime(microseconds: 0)
    /// The rollouts that have ended, the newest last; at most `endsMax`.
    public private(set) var ends: [RolloutEnd] = []

    /// Numbers of the snapshots that are not what the records before them lead to: by a Sluice of
    /// other rules or words, or by a fault. The snapshot holds then.
    public private(set) var differences: [Int] = []

    public static let endsMax = 100

    public init() {}

    /// Why a record cannot be the next one.
    public struct Failure: Error, Equatable, Sendable { public var text: String }

    public mutating func apply(_ record: JournalRecord) throws(Failure) {
        guard sequence == 0 || record.sequence == sequence + 1,
            (1..<RolloutState.numberMax).contains(record.sequence)
        else {
            throw Failure(text: "record \(record.sequence) follows record \(sequence)")
        }
        switch record.body {
        case .begin(let run): try begin(run, record.time)
        case .event(let event, let facts): try apply(event, facts, record.time)
        case .snapshot(let snapshot, let replaces):
            try take(snapshot, replaces, record.sequence)
        }
        sequence = record.sequence
        time = record.time
        note()
    }

    private mutating func begin(_ run: RolloutRun, _ time: WallTime) throws(Failure) {
        guard run.isSound else { throw Failure(text: "the plan is none that Sluice would start") }
        if let state, !state.phase.hasEnded {
            throw Failure(text: "\(run.id) begins, and \(state.run.id) has not ended")
        }
        state = RolloutTurn.begin(run, now: time).state
    }

    private mutating func apply(
        _ event: RolloutEvent, _ facts: JournalFacts, _ time: WallTime
    ) throws(Failure) {
        guard var state else { throw Failure(text: "an event in front of every rollout") }
        state.elapse(monotonic: facts.monotonic, wall: facts.wall)
        state.canaryReady = min(max(0, facts.canary), RolloutState.endpointsMax)
        state.stableReady = min(max(0, facts.stable), RolloutState.endpointsMax)
        var turn = RolloutTurn(state, now: time, ask: 0)
        turn.apply(event)
        self.state = turn.state
    }

    private mutating func take(
        _ snapshot: RolloutState, _ replaces: Bool, _ sequence: Int
    ) throws(Failure) {
        guard snapshot.isSound else { throw Failure(text: "the snapshot leads out of its plan") }
        if let state, !replaces, state != snapshot, differences.count < JournalFold.endsMax {
            differences.append(sequence)
        }
        state = snapshot
    }

    /// Takes note of a rollout that has ended.
    private mutating func note() {
        guard let state, state.phase.hasEnded, ends.last?.number != state.run.number else { return }
        ends.append(
            RolloutEnd(
                number: state.run.number, phase: state.phase, canary: state.plan.canary,
                canaryRevision: state.run.canaryRevision, startedAt: state.run.startedAt,
                endedAt: time, retries: state.run.retries, reason: state.reason?.text ?? ""))
        if ends.count > JournalFold.endsMax { ends.removeFirst() }
    }
}

/// A rollout that has ended, for the history, and for the question whether another may start.
public struct RolloutEnd: Sendable, Equatable, Codable {
    public var number: Int
    public var phase: RolloutPhase
    public var canary: String
    public var canaryRevision: String?
    public var startedAt: WallTime
    public var endedAt: WallTime
    public var retries: Int
    public var reason: String
}
