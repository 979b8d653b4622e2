import Base
import Server
import Testing

@Suite struct AgendaTests {
    let start = Instant(nanoseconds: 1_000_000_000)

    @Test("an item is due once, at its time, and not before")
    func once() {
        var agenda = Agenda()
        #expect(agenda.next == .never)
        agenda.set(.rotateTickets, at: start + .seconds(2))
        agenda.set(.look, at: start + .seconds(1))
        #expect(agenda.next == start + .seconds(1))
        #expect(agenda.takeDue(now: start) == [])
        #expect(agenda.takeDue(now: start + .seconds(2)) == [.rotateTickets, .look])
        #expect(agenda.takeDue(now: start + .seconds(9)) == [])
        #expect(agenda.next == .never)
    }

    @Test("an item that is asked for again keeps the earlier time where that is wanted")
    func earlier() {
        var agenda = Agenda()
        agenda.set(.look, noLaterThan: start + .seconds(1))
        agenda.set(.look, noLaterThan: start + .seconds(2))
        #expect(agenda.next == start + .seconds(1))
        agenda.set(.look, at: start + .seconds(2))
        #expect(agenda.next == start + .seconds(2))
        agenda.set(.look, at: .never)
        #expect(agenda.next == .never)
    }
}

@Suite struct DrainStateTests {
    let start = Instant(nanoseconds: 1_000_000_000)
    let busy = DrainState.Workers(
        openCount: 3, haveLetGo: false, haveStopped: false, isLogWritten: false)

    @Test("a drain announces itself, lets go of its sockets, serves what is open, and ends")
    func whole() {
        var drain = DrainState(), workers = busy
        #expect(drain.step(now: start, workers) == .wait)
        drain.begin(now: start, delay: .seconds(5), grace: .seconds(30))
        #expect(drain.isUnderWay)
        #expect(!drain.hasStoppedAccepting)
        #expect(drain.step(now: start + .seconds(4), workers) == .wait)
        #expect(drain.step(now: start + .seconds(5), workers) == .stopAccepting)
        #expect(drain.hasStoppedAccepting)
        #expect(drain.step(now: start + .seconds(5), workers) == .wait)
        workers.haveLetGo = true
        #expect(drain.step(now: start + .seconds(5), workers) == .closeListeners)
        #expect(drain.step(now: start + .seconds(6), workers) == .wait)
        workers.openCount = 0
        #expect(drain.step(now: start + .seconds(6), workers) == .stopWorkers)
        #expect(drain.step(now: start + .seconds(6), workers) == .wait)
        workers.haveStopped = true
        #expect(drain.step(now: start + .seconds(6), workers) == .stopLog)
        #expect(drain.step(now: start + .seconds(6), workers) == .wait)
        workers.isLogWritten = true
        #expect(drain.step(now: start + .seconds(6), workers) == .exit)
        #expect(drain.step(now: start + .seconds(6), workers) == .wait)
    }

    @Test("each wait of a drain ends by itself")
    func limits() {
        var drain = DrainState()
        drain.begin(now: start, delay: .zero, grace: .seconds(30))
        #expect(drain.step(now: start, busy) == .stopAccepting)
        #expect(drain.step(now: start + .seconds(1), busy) == .closeListeners)
        #expect(drain.step(now: start + .milliseconds(29_999), busy) == .wait)
        #expect(drain.step(now: start + .seconds(30), busy) == .stopWorkers)
        #expect(drain.step(now: start + .seconds(32), busy) == .stopLog)
        #expect(drain.step(now: start + .milliseconds(33_999), busy) == .wait)
        #expect(drain.step(now: start + .seconds(34), busy) == .exit)
    }

    @Test("a log that nobody reads is given up when the grace is over, or is cut short")
    func log() {
        var workers = busy
        (workers.openCount, workers.haveLetGo, workers.haveStopped) = (0, true, true)
        for isCut in [false, true] {
            var drain = DrainState()
            drain.begin(now: start, delay: .zero, grace: .seconds(30))
            for step in [DrainState.Step.stopAccepting, .closeListeners, .stopWorkers, .stopLog] {
                #expect(drain.step(now: start, workers) == step)
            }
            #expect(drain.step(now: start + .milliseconds(29_999), workers) == .wait)
            if isCut { drain.end(now: start) }
            let end = isCut ? start + .milliseconds(29_999) : start + .seconds(30)
            #expect(drain.step(now: end, workers) == .exit)
        }
    }

    @Test("a second signal ends the waiting, wherever the drain is")
    func impatience() {
        var announced = DrainState()
        announced.begin(now: start, delay: .seconds(5), grace: .seconds(30))
        announced.end(now: start)
        #expect(announced.step(now: start, busy) == .stopAccepting)
        announced.end(now: start)
        #expect(announced.step(now: start + .seconds(1), busy) == .closeListeners)
        #expect(announced.step(now: start + .seconds(1), busy) == .stopWorkers)
        var closing = DrainState()
        closing.begin(now: start, delay: .zero, grace: .seconds(30))
        #expect(closing.step(now: start, busy) == .stopAccepting)
        #expect(closing.step(now: start + .seconds(1), busy) == .closeListeners)
        closing.end(now: start + .seconds(1))
        #expect(closing.step(now: start + .seconds(1), busy) == .stopWorkers)
    }
}
