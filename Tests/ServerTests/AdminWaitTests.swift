import Base
import Server
import Testing

@Suite struct AdminWaitTests {
    let start = Instant(nanoseconds: 1_000_000_000)

    @Test("each wait for a client of the admin or metrics endpoint has a deadline")
    func deadlines() {
        #expect(AdminWait.head(since: start).deadline == start + .seconds(10))
        #expect(AdminWait.nextRequest(since: start).deadline == start + .seconds(120))
        #expect(AdminWait.answer.deadline == .never)
        let reader = AdminWait.reader(began: start, progress: start, taken: 0)
        #expect(reader.deadline == start + .seconds(30))
    }

    @Test("a reader that goes on is waited for, one that trickles is not")
    func readers() {
        for (bytesASecond, isGivenUp) in [(4_096, false), (10, true)] {
            var wait = AdminWait.reader(began: start, progress: start, taken: 0)
            var given: Instant?
            for second in Int64(1)...600 where given == nil {
                let now = start + .seconds(second)
                if wait.deadline <= now { given = now }
                wait.took(bytesASecond, now: now)
            }
            #expect((given != nil) == isGivenUp, "\(bytesASecond)")
            if let given { #expect(given < start + .seconds(40)) }
        }
    }

    @Test("bytes that are taken change the deadline of no other wait")
    func onlyReaders() {
        for wait in [AdminWait.head(since: start), .nextRequest(since: start), .answer] {
            var other = wait
            other.took(100, now: start + .seconds(5))
            #expect(other == wait)
        }
    }

    @Test("the one that has been idle for longest makes room, then a reader that pauses")
    func room() throws {
        let now = start + .seconds(60)
        let old = AdminWait.nextRequest(since: start)
        let young = AdminWait.head(since: start + .seconds(50))
        let paused = AdminWait.reader(began: start, progress: start, taken: 5)
        let reading = AdminWait.reader(began: start, progress: now, taken: 5)
        let rooms = try [paused, young, old].map { try #require($0.room(now: now)) }
        #expect(rooms.min() == old.room(now: now))
        #expect(rooms.max() == paused.room(now: now))
        #expect(reading.room(now: now) == nil)
        #expect(AdminWait.answer.room(now: now) == nil)
    }
}
