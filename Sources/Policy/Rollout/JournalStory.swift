import Base

/// The history of a plan's rollouts, told line by line from the records of a journal.
///
/// Each record is folded again; whatever it has changed becomes lines: what the rollout said, the
/// weights that it asked for, and those that came into force.
public struct JournalStory: Sendable {
    public struct Line: Sendable, Equatable {
        /// The number of the record.
        public var sequence: Int
        public var time: WallTime
        public var text: String
    }

    /// The newest last; at most `linesMax`.
    public private(set) var lines: [Line] = []
    /// Records that were told.
    public private(set) var recordCount = 0
    /// The number of the first record; 0 without any.
    public private(set) var firstSequence = 0
    private var fold = JournalFold()

    static let linesMax = 10_000

    public init() {}

    /// The rollouts that have ended, the newest last.
    public var ends: [RolloutEnd] { fold.ends }
    /// The number of the last record; 0 without any.
    public var sequence: Int { fold.sequence }
    /// The wall time of the last record.
    public var time: WallTime { fold.time }

    /// Takes the next record. One that was told already is left out, because a file that goes on
    /// with another begins with the last record of that one.
    ///
    /// - Throws: where the record cannot be the next one.
    public mutating func add(_ record: JournalRecord) throws(JournalFold.Failure) {
        guard recordCount == 0 || record.sequence > fold.sequence else { return }
        let before = fold.state
        try fold.apply(record)
        if recordCount == 0 { firstSequence = record.sequence }
        recordCount += 1
        guard let after = fold.state else { return }
        let isSame = before?.run.id == after.run.id
        let old = isSame ? before : nil
        for line in JournalStory.news(after.lines, behind: old?.lines ?? []) {
            add(record, "\(after.run.id): \(line.text)", line.time)
        }
        weights(record, after, old)
    }

    private mutating func weights(
        _ record: JournalRecord, _ after: RolloutState, _ before: RolloutState?
    ) {
        let canary = after.plan.canary
        if let order = after.order, order != before?.order {
            let share = RolloutText.percent(order.share)
            add(
                record,
                "\(after.run.id): asks for \(share) for \(canary) (epoch \(order.epoch)"
                    + (order.movesStable ? ", \(canary) becomes the stable version)" : ")"))
        }
        if after.confirmed.epoch > 0, after.confirmed != before?.confirmed {
            let share = RolloutText.percent(after.confirmed.share)
            add(
                record,
                "\(after.run.id): \(share) for \(canary) "
                    + (after.run.isDryRun ? "would be " : "") + "in force (epoch "
                    + "\(after.confirmed.epoch))")
        }
    }

    private mutating func add(_ record: JournalRecord, _ text: String, _ time: WallTime? = nil) {
        lines.append(Line(sequence: record.sequence, time: time ?? record.time, text: text))
        if lines.count > JournalStory.linesMax { lines.removeFirst(JournalStory.linesMax / 10) }
    }

    /// The lines that were added; the oldest may have left the list meanwhile.
    private static func news(
        _ lines: [RolloutState.Line], behind old: [RolloutState.Line]
    ) -> ArraySlice<RolloutState.Line> {
        for count in 0..<lines.count {
            let kept = lines.dropLast(count)
            if kept.count <= old.count, Array(kept) == Array(old.suffix(kept.count)) {
                return lines.suffix(count)
            }
        }
        return lines[...]
    }
}
