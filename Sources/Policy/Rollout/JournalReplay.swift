import Base
import Evidence
import Judge

/// Computes the verdicts of a journal anew, and says where they differ.
///
/// A record of a look has the judge's whole state behind that look: mixtures, windows, counts of
/// the stage, of the last minutes, and the times. From these follow the evidence, its limit and the
/// verdict, which are compared with those that were written down. What a journal does not have is
/// left out, and counted: looks without consequences are no records, trips of the guard and metrics
/// from elsewhere are facts of their own, and counts of a stage's rule are not kept.
public struct JournalReplay: Sendable {
    /// A verdict that is not what its own counters lead to.
    public struct Difference: Sendable, Equatable {
        /// The number of the record.
        public var sequence: Int
        /// Both verdicts with their numbers.
        public var text: String
    }

    /// Looks of the judge in the journal.
    public private(set) var lookCount = 0
    /// Looks whose verdict was computed anew.
    public private(set) var computedCount = 0
    /// At most `differencesMax`; `differenceCount` counts them all.
    public private(set) var differences: [Difference] = []
    public private(set) var differenceCount = 0
    private var fold = JournalFold()

    static let differencesMax = 1_000

    public init() {}

    /// Snapshots that are not what the records before them lead to.
    public var snapshotDifferences: [Int] { fold.differences }

    /// Takes the next record.
    ///
    /// - Throws: where the record cannot be the next one.
    public mutating func add(_ record: JournalRecord) throws(JournalFold.Failure) {
        let before = fold.state
        try fold.apply(record)
        guard case .event(.look(let verdict, let judge), let facts) = record.body,
            var state = before
        else { return }
        lookCount += 1
        state.elapse(monotonic: facts.monotonic, wall: facts.wall)
        compare(verdict, judge, elapsed: state.stageTime, record.sequence)
    }

    private mutating func compare(
        _ verdict: Verdict, _ judge: String, elapsed: Duration, _ sequence: Int
    ) {
        guard verdict.kind != .tripped, !judge.isEmpty else { return }
        guard let state = try? JudgeCodec.state(judge) else {
            return note(sequence, "the judge's state of this record is none that a judge wrote")
        }
        guard state.terms != nil else { return }
        computedCount += 1
        if state.logEvidence.bitPattern != verdict.logEvidence.bitPattern {
            note(
                sequence,
                "log E is \(state.logEvidence) by the counters, and \(verdict.logEvidence) in the "
                    + "record")
        }
        if state.judge.logLimit.bitPattern != verdict.logLimit.bitPattern {
            note(
                sequence,
                "the limit of log E is \(state.judge.logLimit) by the budget, and "
                    + "\(verdict.logLimit) in the record")
        }
        let kind = state.verdictKind(as: verdict, elapsed: elapsed)
        if kind != verdict.kind {
            note(
                sequence,
                "the verdict is \(kind.rawValue) by the counters, and \(verdict.kind.rawValue) in "
                    + "the record: \(verdict.reason)")
        }
    }

    private mutating func note(_ sequence: Int, _ text: String) {
        differenceCount += 1
        guard differences.count < JournalReplay.differencesMax else { return }
        differences.append(
            Difference(sequence: sequence, text: RolloutTurn.short(text, bytesMax: 1_000)))
    }
}

extension StageJudge {
    /// The verdict that follows from this state, where the world beside it was as a recorded
    /// verdict says.
    func verdictKind(as recorded: Verdict, elapsed: Duration) -> Verdict.Kind {
        guard let terms else { return recorded.kind }
        var look = Look(now: Instant(nanoseconds: 0), elapsed: elapsed)
        if recorded.kind == .external { look.external = recorded.reason }
        // Of the evidence itself a verdict asks no more than whether it goes by sessions.
        var sample = EvidenceSample(stable: "", canary: "", strata: [])
        if let epoch = differ.sessions.epoch {
            sample.sessions = .init(
                epoch: epoch, age: .zero, timeLimit: .zero, seen: PlaceSet(), failed: PlaceSet(),
                stablePlaces: 0..<0, canaryPlaces: 0..<0)
        }
        let kind = verdict(terms, sample, look).kind
        // The stage's rule has counts of its own, which no state keeps.
        if recorded.kind == .limit || recorded.kind == .commonCause,
            recorded.reason.contains("by the stage's rule")
        {
            return recorded.kind
        }
        // A step forward may have waited for something else than evidence.
        return kind == .healthy && recorded.kind == .watching ? .watching : kind
    }
}
