import Base
import Server
import Testing

/// Any order of events, drawn at random: what must hold in all of them.
@Suite struct ReloadOrderTests {
    typealias Machine = ReloadMachine<Int, Int>

    /// Everything around the machine: a reader, a compiler, workers, and askers.
    struct House {
        var machine = Machine()
        var now = ReloadMachineTests.start
        var random: PRNG
        /// The ticket of the last ask when the reading that is under way began.
        var readsSince: UInt64?
        var compiles = false
        var asked: UInt64 = 0
        var answered: Set<UInt64> = []
        /// Candidates are named by the last ask that came before their file was read.
        var open: Set<Int> = []

        mutating func perform(_ effects: [Machine.Effect]) {
            for effect in effects {
                switch effect {
                case .read:
                    #expect(readsSince == nil, "one reading at a time")
                    readsSince = asked
                case .compile:
                    #expect(!compiles, "one compilation at a time")
                    compiles = true
                case .prepare(let candidate):
                    if random.below(4) == 0 {
                        perform(machine.unprepared(.init(text: "in use"), now: now))
                        open.remove(candidate)
                    } else {
                        perform(machine.prepared(candidate, now: now))
                    }
                case .discard(let candidate):
                    let held = open.remove(candidate)
                    #expect(held != nil, "what is discarded was open")
                case .finish(let candidate, let asks):
                    let held = open.remove(candidate)
                    #expect(held != nil, "what is finished was open")
                    for ask in asks { answer(ask, readAfter: UInt64(candidate)) }
                case .refuse(let asks, _): for ask in asks { answer(ask, readAfter: .max) }
                case .finishRenewal(let asks): for ask in asks { answer(ask, readAfter: .max) }
                case .watchNames, .publish, .changeListeners, .warnOfSlowCompilation: break
                }
            }
        }

        mutating func answer(_ ask: Machine.Ask, readAfter last: UInt64) {
            guard let ticket = ask.ticket else { return }
            #expect(ticket <= last, "the file was read after the ask")
            #expect(answered.insert(ticket).inserted, "an ask is answered once")
        }

        mutating func ask() {
            asked += 1
            // Whoever asks in the moment when a reading begins is part of it.
            let begun = readsSince
            perform(machine.ask(.init(cause: "admin", ticket: asked), now: now))
            if begun == nil, readsSince != nil { readsSince = asked }
        }

        /// The reading that is under way returns.
        mutating func returnReading() {
            guard let since = readsSince else { return }
            readsSince = nil
            if random.below(3) == 0 {
                perform(machine.reject(.init(text: "bad"), now: now))
            } else {
                open.insert(Int(since))
                perform(machine.accept(Int(since), now: now))
            }
        }

        mutating func step(drains: Bool) {
            switch random.below(drains ? 13 : 12) {
            case 0, 1: ask()
            case 2: if readsSince != nil { machine.fileRead(now: now) }
            case 3, 4: returnReading()
            case 5: perform(machine.namesTried(now: now))
            case 6: perform(machine.addressesChanged(now: now))
            case 7:
                guard compiles else { break }
                compiles = false
                perform(machine.compiled(0, now: now))
            case 8: perform(machine.confirmed(now: now))
            case 9: perform(machine.listenersReleased(now: now))
            case 11:
                asked += 1
                perform(
                    machine.weightsChanged(.init(cause: "weights", ticket: asked), now: now))
            case 10:
                now = now + .milliseconds(Int64(random.below(20_000)))
                if machine.nextDeadline <= now { perform(machine.timePassed(now: now)) }
            default: perform(machine.beginDrain(now: now))
            }
        }
    }

    @Test("in any order each ask is answered once, by a file read after it, and nothing stays open")
    func anyOrder() {
        for seed in 1...2_000 as ClosedRange<UInt64> {
            var house = House(random: PRNG(seed: seed))
            for _ in 0..<60 { house.step(drains: seed.isMultiple(of: 5)) }
            // Everything that is under way comes to its end.
            for _ in 0..<20 {
                house.returnReading()
                if house.compiles {
                    house.compiles = false
                    house.perform(house.machine.compiled(0, now: house.now))
                }
                house.now = house.now + .seconds(301)
                house.perform(house.machine.timePassed(now: house.now))
            }
            #expect(house.answered.count == Int(house.asked), "seed \(seed)")
            #expect(house.open.isEmpty, "seed \(seed)")
            #expect(house.machine.nextDeadline == .never, "seed \(seed)")
        }
    }
}
