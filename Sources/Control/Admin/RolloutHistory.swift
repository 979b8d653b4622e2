import Base
import JSON
import Rollout

/// The journal of a plan, as it was read for a page.
public struct RolloutHistory: Sendable {
    public var story = JournalStory()
    /// The path of the journal's file; empty where the configuration names no directory.
    public var path = ""
    /// Why the rest of the journal is not believed, and what to do; `nil`: all of it is.
    public var problem: String?
    /// Bytes of a last line that is not whole.
    public var torn = 0
    /// SHA-256 of the last record, in hexadecimal digits.
    public var hash = ""

    public init() {}
}

/// The pages `history` and `verify` of a plan's rollouts.
enum RolloutHistoryPage {
    static func answer(
        _ view: RolloutView, _ history: RolloutHistory, asText: Bool
    ) -> AdminResponse {
        if asText { return .text(text(view, history)) }
        let lines = history.story.lines.map { line -> JSONText in
            .object([
                ("sequence", .integer(line.sequence)),
                ("atMicros", .integer(Int(line.time.microseconds))), ("text", .string(line.text)),
            ])
        }
        return .json(
            .object([
                ("name", .string(view.name)), ("journal", .string(history.path)),
                ("records", .integer(history.story.recordCount)),
                ("problem", history.problem.map { .string($0) } ?? .null),
                ("rollouts", .array(history.story.ends.map(json))), ("events", .array(lines)),
            ]))
    }

    private static func json(_ end: RolloutEnd) -> JSONText {
        .object([
            ("number", .integer(end.number)), ("end", .string(end.phase.words)),
            ("canary", .string(end.canary)),
            ("revision", end.canaryRevision.map { .string($0) } ?? .null),
            ("startedAtMicros", .integer(Int(end.startedAt.microseconds))),
            ("endedAtMicros", .integer(Int(end.endedAt.microseconds))),
            ("retries", .integer(end.retries)), ("reason", .string(end.reason)),
        ])
    }

    private static func text(_ view: RolloutView, _ history: RolloutHistory) -> String {
        var out = "\(view.name)\n"
        for end in history.story.ends {
            out += "  \(view.name)-\(end.number)  \(end.phase.words)  \(end.canary)"
            out += end.canaryRevision.map { ", revision \($0)" } ?? ""
            out += "  \(RolloutPage.time(end.startedAt)) to \(RolloutPage.time(end.endedAt))"
            out += (end.reason.isEmpty ? "" : "  \(end.reason)") + "\n"
        }
        if !history.story.ends.isEmpty { out += "\n" }
        if history.story.firstSequence > 1 {
            out += "  records before \(history.story.firstSequence) are no longer kept\n"
        }
        for line in history.story.lines {
            out += "  #\(line.sequence)  \(RolloutPage.time(line.time))  \(line.text)\n"
        }
        if let problem = history.problem {
            out += "  THE JOURNAL IS NOT BELIEVED FROM HERE ON: \(problem)\n"
            out += "  since this process began:\n"
            for event in view.events { out += "  \(RolloutPage.time(event.at))  \(event.text)\n" }
        } else if history.story.recordCount == 0 {
            out += "  no rollout of this plan has begun yet\n"
        }
        return out
    }

    // MARK: Verifying

    /// Whether every record follows from the one before, by checksum, number and SHA-256.
    static func verify(
        _ view: RolloutView, _ history: RolloutHistory, asText: Bool
    ) -> AdminResponse {
        if let problem = history.problem {
            return .error(
                409,
                "\(problem); \(history.story.recordCount) records in front of it are whole. Put "
                    + "back the file as Sluice wrote it, from a backup; while a rollout runs, "
                    + "sluice rollout abort \(view.name) --discard-journal ends the rollout and "
                    + "keeps the file aside")
        }
        let story = history.story
        guard asText else {
            return .json(
                .object([
                    ("result", .string("ok")), ("records", .integer(story.recordCount)),
                    ("first", .integer(story.firstSequence)), ("last", .integer(story.sequence)),
                    ("hash", .string(history.hash)), ("tornBytes", .integer(history.torn)),
                ]))
        }
        guard story.recordCount > 0 else {
            return .text("ok: the journal of \(view.name) has no records yet\n")
        }
        var out = "ok: \(story.recordCount) records, \(story.firstSequence) to "
        out += "\(story.sequence), the last of \(RolloutPage.time(story.time)); each follows "
        out += "from the one before by SHA-256\n  \(history.path)\n  last hash \(history.hash)\n"
        if history.torn > 0 {
            out += "  \(history.torn) bytes behind it are no whole record: being written now, or "
            out += "torn by a crash and left out\n"
        }
        return .text(out)
    }
}
