/// The pages that are asked for and not made yet, one of which is being made.
///
///     asked ──none is being made──▶ being made ──made──▶ answered
///       └──another is──▶ waiting ──that one is made──▶ being made
///
/// Whoever asks for a page that waits already shares it: its making begins after both asked, so
/// that it is as fresh as either wants. A page that is being made is older than a later ask, which
/// waits for one of its own.
package struct PageQueue<Page: Hashable, Ticket: Hashable> {
    private struct Job {
        var page: Page
        var tickets: [Ticket]
    }

    private var underWay: Job?
    private var waiting: [Job] = []

    package init() {}

    /// How many wait for an answer.
    package var ticketCount: Int {
        waiting.reduce(underWay?.tickets.count ?? 0) { $0 + $1.tickets.count }
    }

    /// Somebody asks for a page.
    /// - Parameter isThere: whether somebody who asked earlier is still there to be answered.
    /// - Returns: the page to begin with now, if one is.
    package mutating func ask(
        _ page: Page, _ ticket: Ticket, isThere: (Ticket) -> Bool
    ) -> Page? {
        forgetGone(isThere)
        if underWay == nil {
            underWay = Job(page: page, tickets: [ticket])
            return page
        }
        if let i = waiting.firstIndex(where: { $0.page == page }) {
            waiting[i].tickets.append(ticket)
        } else {
            waiting.append(Job(page: page, tickets: [ticket]))
        }
        return nil
    }

    /// The page that was under way is made.
    /// - Returns: who is to be answered with it, and the page to begin with next, if one is.
    package mutating func made(isThere: (Ticket) -> Bool) -> (tickets: [Ticket], next: Page?) {
        forgetGone(isThere)
        let tickets = underWay?.tickets ?? []
        underWay = waiting.isEmpty ? nil : waiting.removeFirst()
        return (tickets, underWay?.page)
    }

    /// Pages that nobody waits for any more are not made.
    private mutating func forgetGone(_ isThere: (Ticket) -> Bool) {
        for i in waiting.indices { waiting[i].tickets.removeAll { !isThere($0) } }
        waiting.removeAll { $0.tickets.isEmpty }
    }
}
