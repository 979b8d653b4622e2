import Base

/// Whether a log can be written, and how much of it was lost while it could not. A pure machine:
/// each change is told once, however many lines are lost in between.
///
///     written ──a write fails: told─────────────────────────▶ failing
///     failing ──written, a second later: told, with a count──▶ written
package struct LogLosses {
    /// Something to tell the operator.
    package enum Report: Equatable, Sendable {
        case failing(why: String)
        case writtenAgain(lost: Int)
        /// The log ends while it cannot be written.
        case ended(lost: Int)
    }

    /// A file that takes some lines and refuses others is told of once in this time at most.
    package static let quiet = Duration.seconds(1)

    private var lost = 0
    /// When the last line was lost; `nil` while lines are written.
    private var lostAt: Instant?

    package init() {}

    package mutating func lose(_ lines: Int, why: String, now: Instant) -> Report? {
        let isNews = lostAt == nil
        lost += lines
        lostAt = now
        return isNews ? .failing(why: why) : nil
    }

    package mutating func wrote(now: Instant) -> Report? {
        guard let lostAt, now >= lostAt + LogLosses.quiet else { return nil }
        defer { self = LogLosses() }
        return .writtenAgain(lost: lost)
    }

    package func end() -> Report? { lostAt == nil ? nil : .ended(lost: lost) }
}
