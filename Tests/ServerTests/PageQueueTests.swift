import Server
import Testing

@Suite struct PageQueueTests {
    private typealias Queue = PageQueue<String, Int>

    @Test("one page is made at a time, the others in the order in which they were asked for")
    func order() {
        var queue = Queue()
        let ask = { (queue: inout Queue, page: String, ticket: Int) in
            queue.ask(page, ticket) { _ in true }
        }
        #expect(ask(&queue, "a", 1) == "a")
        #expect(ask(&queue, "b", 2) == nil && ask(&queue, "c", 3) == nil)
        let first = queue.made { _ in true }
        #expect(first.tickets == [1] && first.next == "b")
        let second = queue.made { _ in true }
        #expect(second.tickets == [2] && second.next == "c")
        let third = queue.made { _ in true }
        #expect(third.tickets == [3] && third.next == nil)
        #expect(ask(&queue, "a", 4) == "a")
    }

    @Test("who asks for a page that waits shares it; one that is being made is too old")
    func sharing() {
        var queue = Queue()
        for ticket in 1...10 { _ = queue.ask("a", ticket) { _ in true } }
        let first = queue.made { _ in true }
        #expect(first.tickets == [1] && first.next == "a")
        #expect(queue.ask("a", 11) { _ in true } == nil)
        let second = queue.made { _ in true }
        #expect(second.tickets == Array(2...10) && second.next == "a")
        #expect(queue.made { _ in true }.tickets == [11])
        #expect(queue.ticketCount == 0)
    }

    @Test("a page that nobody waits for any more is not made, and nobody is remembered for ever")
    func leaving() {
        var queue = Queue()
        _ = queue.ask("a", 0) { _ in true }
        for ticket in 1...1_000 {
            _ = queue.ask("p\(ticket)", ticket) { $0 == 0 || $0 > ticket - 2 }
            #expect(queue.ticketCount <= 3)
        }
        _ = queue.ask("b", 2_000) { $0 == 0 || $0 == 2_000 }
        let made = queue.made { $0 == 2_000 }
        #expect(made.next == "b")
    }
}
