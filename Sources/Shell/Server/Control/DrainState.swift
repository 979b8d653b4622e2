import Base

/// Where a drain stands: a small machine over time.
///
///     serving ──begin──▶ announced ──delay──▶ leaving ──sockets let go, or 1 s──▶ closing
///     closing ──nobody left, or grace──▶ stopping ──workers have stopped, or 2 s──▶ logging
///     logging ──access log written, or grace, at least 2 s──▶ over
package struct DrainState {
    private enum Phase {
        case serving
        case announced(until: Instant, grace: Duration)
        /// The workers let go of the listening sockets; clients are served until `end`.
        case leaving(until: Instant, end: Instant)
        case closing(until: Instant)
        case stopping(until: Instant, end: Instant)
        /// The access log's last lines are written.
        case logging(until: Instant)
        case over
    }

    /// Says what is to be done now.
    package enum Step: Equatable, Sendable {
        case wait
        /// Tell the workers to let go of the listening sockets.
        case stopAccepting
        /// Close the sockets, and tell the workers to let connections end.
        case closeListeners
        case stopWorkers
        /// Tell the log writer to end: nobody writes lines any more.
        case stopLog
        case exit
    }

    /// The workers' state, as they tell it.
    package struct Workers {
        /// Client connections that they have.
        package var openCount: Int
        package var haveLetGo: Bool
        package var haveStopped: Bool
        /// The log writer has written their lines and ended.
        package var isLogWritten: Bool

        package init(openCount: Int, haveLetGo: Bool, haveStopped: Bool, isLogWritten: Bool) {
            self.openCount = openCount
            self.haveLetGo = haveLetGo
            self.haveStopped = haveStopped
            self.isLogWritten = isLogWritten
        }
    }

    package static let leaveLimit = Duration.seconds(1)
    package static let stopLimit = Duration.seconds(2)
    /// The time that the access log's last lines have at least, when the grace is over.
    package static let logLimit = Duration.seconds(2)

    private var phase = Phase.serving

    package init() {}

    package var isUnderWay: Bool {
        if case .serving = phase { return false }
        return true
    }

    /// Whether no client is accepted any more, so that no socket may be opened.
    package var hasStoppedAccepting: Bool {
        switch phase {
        case .serving, .announced: false
        case .leaving, .closing, .stopping, .logging, .over: true
        }
    }

    package mutating func begin(now: Instant, delay: Duration, grace: Duration) {
        guard case .serving = phase else { return }
        phase = .announced(until: now + delay, grace: grace)
    }

    /// Ends the waiting: whatever is still there is cut.
    package mutating func end(now: Instant) {
        switch phase {
        case .serving, .over: break
        case .announced: phase = .announced(until: now, grace: .zero)
        case .leaving(let until, _): phase = .leaving(until: until, end: now)
        case .closing: phase = .closing(until: now)
        case .stopping(let until, _): phase = .stopping(until: until, end: now)
        case .logging: phase = .logging(until: now)
        }
    }

    /// To be called again until the step is `.wait`.
    package mutating func step(now: Instant, _ workers: Workers) -> Step {
        switch phase {
        case .serving, .over: return .wait
        case .announced(let until, let grace):
            guard now >= until else { return .wait }
            phase = .leaving(until: now + DrainState.leaveLimit, end: now + grace)
            return .stopAccepting
        case .leaving(let until, let end):
            guard workers.haveLetGo || now >= until else { return .wait }
            phase = .closing(until: end)
            return .closeListeners
        case .closing(let until):
            guard workers.openCount == 0 || now >= until else { return .wait }
            phase = .stopping(until: now + DrainState.stopLimit, end: until)
            return .stopWorkers
        case .stopping(let until, let end):
            guard workers.haveStopped || now >= until else { return .wait }
            phase = .logging(until: max(end, now + DrainState.logLimit))
            return .stopLog
        case .logging(let until):
            // A pipe that nobody reads takes no line, whatever time there is.
            guard workers.isLogWritten || now >= until else { return .wait }
            phase = .over
            return .exit
        }
    }
}
