import Base

/// Where a drain stands: a small machine over time.
///
///     serving ──begin──▶ announced ──delay──▶ leaving ──sockets let go, or 1 s──▶ closing
///     closing ──nobody left, or grace──▶ stopping ──workers have stopped, or 2 s──▶ over
package struct DrainState {
    private enum Phase {
        case serving
        case announced(until: Instant, grace: Duration)
        /// The workers let go of the listening sockets; clients are served until `end`.
        case leaving(until: Instant, end: Instant)
        case closing(until: Instant)
        case stopping(until: Instant)
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
        case exit
    }

    /// The workers' state, as they tell it.
    package struct Workers {
        /// Client connections that they have.
        package var openCount: Int
        package var haveLetGo: Bool
        package var haveStopped: Bool

        package init(openCount: Int, haveLetGo: Bool, haveStopped: Bool) {
            self.openCount = openCount
            self.haveLetGo = haveLetGo
            self.haveStopped = haveStopped
        }
    }

    package static let leaveLimit = Duration.seconds(1)
    package static let stopLimit = Duration.seconds(2)

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
        case .leaving, .closing, .stopping, .over: true
        }
    }

    package mutating func begin(now: Instant, delay: Duration, grace: Duration) {
        guard case .serving = phase else { return }
        phase = .announced(until: now + delay, grace: grace)
    }

    /// Ends the waiting: whatever is still there is cut.
    package mutating func end(now: Instant) {
        switch phase {
        case .serving, .stopping, .over: break
        case .announced: phase = .announced(until: now, grace: .zero)
        case .leaving(let until, _): phase = .leaving(until: until, end: now)
        case .closing: phase = .closing(until: now)
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
            phase = .stopping(until: now + DrainState.stopLimit)
            return .stopWorkers
        case .stopping(let until):
            guard workers.haveStopped || now >= until else { return .wait }
            phase = .over
            return .exit
        }
    }
}
