import Base

/// Lists what the control loop does at times of its own, without an event that asks for it.
/// Whatever is to beat regularly gets a case of `Item`, and a line in `ControlLoop.perform`.
package struct Agenda {
    package enum Item: CaseIterable, Sendable {
        /// Seal new session tickets with another key.
        case rotateTickets
        /// Let go of snapshots that nobody uses any more.
        case releaseSnapshots
        /// Look which of the versions that are gone still have requests in flight, and forget
        /// those that have left the page.
        case lookAtSeries
        /// Give up clients of the admin endpoint that take nothing of their answers.
        case lookAtClients
        /// Tell the rollouts the time, and let their judges look.
        case lookAtRollouts
        /// Send requests of Sluice's own to the versions of rollouts.
        case sendSynthetic
        /// Look at what has no event: how far the start or the drain is.
        case look
    }

    private var times: [Item: Instant] = [:]

    package init() {}

    /// Does the item once, at that time; `.never` takes it back.
    package mutating func set(_ item: Item, at time: Instant) {
        times[item] = time.isNever ? nil : time
    }

    /// Does the item at that time, unless it is due earlier already.
    package mutating func set(_ item: Item, noLaterThan time: Instant) {
        set(item, at: min(times[item] ?? .never, time))
    }

    /// When the next item is due; `.never` when none is.
    package var next: Instant { times.values.min() ?? .never }

    /// The items that are due, in the order of their cases; each is due once.
    package mutating func takeDue(now: Instant) -> [Item] {
        let due = Item.allCases.filter { (times[$0] ?? .never) <= now }
        for item in due { times[item] = nil }
        return due
    }
}
