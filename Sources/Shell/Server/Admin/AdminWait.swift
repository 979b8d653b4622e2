import Base

/// The state of a connection of the admin or the metrics endpoint: whom it waits for, and how long.
///
///     head ──whole──▶ answer ──made──▶ reader ──taken──▶ nextRequest ──first byte──▶ head
///
/// Each wait for the peer has a deadline (reliability.md §6); what the process itself does has its
/// own limits elsewhere.
package enum AdminWait: Equatable, Sendable {
    /// For the rest of a request, the first one's first byte included. Absolute: bytes that trickle
    /// in make it no longer.
    case head(since: Instant)
    /// For another request on a connection that has had an answer.
    case nextRequest(since: Instant)
    /// For the process, which makes the answer.
    case answer
    /// For the client to take its answer. `progress`: when bytes last went; `taken`: how many have.
    case reader(began: Instant, progress: Instant, taken: Int)

    package static let headLimit = Duration.seconds(10)
    /// Longer than the minute between two scrapes that monitoring has by default.
    package static let idleLimit = Duration.seconds(120)
    /// The longest that a client may take nothing of its answer.
    package static let stallLimit = Duration.seconds(30)
    /// Bytes a second, on average, that a client must take of its answer once `stallLimit` is over.
    package static let paceMin = 1_024
    /// A reader that has paused for so long makes room for a new client where nobody is idle.
    package static let pauseLimit = Duration.seconds(1)

    /// When the connection is given up; `.never` while it waits for the process.
    package var deadline: Instant {
        switch self {
        case .head(let since): return since + AdminWait.headLimit
        case .nextRequest(let since): return since + AdminWait.idleLimit
        case .answer: return .never
        case .reader(let began, let progress, let taken):
            let paced = began + AdminWait.stallLimit + .seconds(Int64(taken / AdminWait.paceMin))
            return min(progress + AdminWait.stallLimit, paced)
        }
    }

    /// Bytes of the answer went to the client.
    package mutating func took(_ count: Int, now: Instant) {
        guard case .reader(let began, _, let taken) = self else { return }
        self = .reader(began: began, progress: now, taken: taken + count)
    }

    /// How well the connection makes room for a new client where all places are taken; `nil`: not
    /// at all. The lowest goes first: the one that has been idle for longest, and behind all that
    /// are idle the reader that has paused for longest.
    package func room(now: Instant) -> Room? {
        switch self {
        case .head(let since), .nextRequest(let since): return Room(isBusy: false, since: since)
        case .answer: return nil
        case .reader(_, let progress, _):
            guard progress + AdminWait.pauseLimit <= now else { return nil }
            return Room(isBusy: true, since: progress)
        }
    }

    package struct Room: Comparable, Sendable {
        var isBusy: Bool
        var since: Instant

        package static func < (a: Room, b: Room) -> Bool {
            a.isBusy == b.isBusy ? a.since < b.since : b.isBusy
        }
    }
}
