import Base
import Configuration
import Server
import Testing

/// Changes of the overlay on their way to the disk, in random histories against what must hold.
@Suite struct OverlayMachineTests {
    typealias Machine = OverlayMachine<Int>

    static func entry(_ weight: Int) -> Overlay.Entry {
        Overlay.Entry(
            shares: [.init("v1", 100 - weight), .init("v2", weight)],
            fingerprint: "0123456789abcdef")
    }

    static func request(_ service: Int, _ weight: Int?, _ ask: Int?) -> Machine.Request {
        .init([.init(service: "s\(service)", entry: weight.map(entry))], ask: ask)
    }

    /// A disk and the people who wait, around a machine.
    struct House {
        var machine = Machine(Overlay(), isOnDisk: true)
        var now = Instant(nanoseconds: 1)
        /// As it is after a crash.
        var disk = Overlay()
        var pending: Overlay?
        var published: [Overlay] = []
        var done: Set<Int> = [], refused: Set<Int> = []

        mutating func perform(_ effects: [Machine.Effect]) {
            for effect in effects {
                switch effect {
                case .write(let overlay, let goesBack):
                    #expect(pending == nil, "one write at a time")
                    #expect(!goesBack || overlay == machine.overlay)
                    pending = overlay
                case .publish(let asks):
                    published.append(machine.overlay)
                    for ask in asks { answer(ask, isDone: true) }
                case .refuse(let asks, let why):
                    #expect(!why.isEmpty)
                    for ask in asks { answer(ask, isDone: false) }
                case .warn(let why): #expect(machine.unwritten == why)
                case .recovered: #expect(machine.unwritten == nil && disk == machine.overlay)
                }
            }
        }

        mutating func answer(_ ask: Int, isDone: Bool) {
            #expect(!done.contains(ask) && !refused.contains(ask), "answered once")
            if isDone { done.insert(ask) } else { refused.insert(ask) }
        }

        /// Changes of services that the guard forbids meanwhile.
        var forbidden: Set<String> = []

        mutating func settle(fails: Bool, halfWay: Bool) {
            guard let overlay = pending else { return }
            pending = nil
            if !fails || halfWay { disk = overlay }
            perform(
                fails
                    ? machine.failed("no room", isOldKept: !halfWay, now: now)
                    : machine.written(now: now) { [forbidden] request in
                        request.changes.contains { forbidden.contains($0.service) }
                            ? "it tripped" : nil
                    })
        }
    }

    @Test("every ask is answered once, going back is in force at once, and the disk follows")
    func histories() {
        for seed in 1...300 as ClosedRange<UInt64> {
            var random = PRNG(seed: seed)
            var house = House()
            var asked = 0
            for _ in 0..<60 {
                let service = Int(random.below(3)), weight = Int(random.below(50))
                switch random.below(7) {
                case 0, 1:
                    asked += 1
                    let before = house.machine.overlay
                    house.perform(
                        house.machine.goForward(
                            OverlayMachineTests.request(service, weight, asked), now: house.now))
                    #expect(house.machine.overlay == before, "forward waits for the disk")
                case 2:
                    asked += 1
                    let ask = asked
                    house.perform(
                        house.machine.goBack(
                            OverlayMachineTests.request(service, nil, ask), now: house.now))
                    #expect(house.done.contains(ask))
                    #expect(house.machine.overlay.services["s\(service)"] == nil)
                    #expect(house.published.last == house.machine.overlay)
                case 3:
                    house.settle(fails: random.below(2) == 0, halfWay: random.below(2) == 0)
                case 4: house.settle(fails: false, halfWay: false)
                case 5:
                    let trips = OverlayMachineTests.trips(Int(random.below(3)))
                    let published = house.published.count
                    house.perform(house.machine.keep(trips, now: house.now))
                    #expect(house.machine.overlay.trips == trips)
                    #expect(house.published.count == published, "no weights change by that")
                default:
                    house.now = house.now + .seconds(Int64(random.below(4)))
                    if house.machine.nextDeadline <= house.now {
                        house.perform(house.machine.timePassed(now: house.now))
                    }
                }
            }
            // The disk is well again: in the end it has what is in force, and nobody waits.
            for _ in 0..<10 {
                house.settle(fails: false, halfWay: false)
                house.now = house.now + .seconds(10)
                house.perform(house.machine.timePassed(now: house.now))
            }
            #expect(house.disk == house.machine.overlay, "seed \(seed)")
            #expect(house.machine.asks.isEmpty)
            #expect(house.done.union(house.refused).count == asked)
            #expect(house.machine.unwritten == nil)
        }
    }

    @Test("a change that was refused is not on the disk in the end, though its write got half way")
    func refusedIsUndone() {
        var house = House()
        house.perform(
            house.machine.goForward(OverlayMachineTests.request(1, 20, 1), now: house.now))
        house.settle(fails: true, halfWay: true)
        #expect(house.refused == [1])
        #expect(house.disk.services["s1"] != nil)
        #expect(house.machine.unwritten == "no room")
        house.now = house.machine.nextDeadline
        house.perform(house.machine.timePassed(now: house.now))
        house.settle(fails: false, halfWay: false)
        #expect(house.disk == Overlay())
        #expect(house.machine.unwritten == nil)
    }

    @Test("a change that is refused before the old overlay was touched owes the disk nothing")
    func refusedAtOnce() {
        var house = House()
        house.perform(
            house.machine.goForward(OverlayMachineTests.request(1, 20, 1), now: house.now))
        house.settle(fails: true, halfWay: false)
        #expect(house.refused == [1])
        #expect(house.machine.nextDeadline.isNever && house.machine.unwritten == nil)
    }

    @Test("going back overtakes a forward change of the same service that is being written")
    func overtaken() {
        var house = House()
        house.perform(
            house.machine.goForward(OverlayMachineTests.request(1, 20, 1), now: house.now))
        house.perform(
            house.machine.goForward(OverlayMachineTests.request(2, 30, 2), now: house.now))
        house.perform(
            house.machine.goBack(OverlayMachineTests.request(1, nil, 3), now: house.now))
        #expect(house.refused == [1] && house.done == [3])
        for _ in 0..<3 { house.settle(fails: false, halfWay: false) }
        #expect(house.done == [2, 3])
        #expect(house.disk.services.keys.sorted() == ["s2"])
        #expect(house.machine.overlay == house.disk)
    }

    static func trips(_ count: Int) -> [Overlay.Trip] {
        (0..<count).map {
            Overlay.Trip(service: "s\($0)", version: "v2", number: 1, .init(), atMicros: 7)
        }
    }

    @Test("a trip is written at once, once, and behind a write that is under way")
    func trips() {
        var house = House()
        house.perform(house.machine.keep(OverlayMachineTests.trips(1), now: house.now))
        #expect(house.pending?.trips.count == 1)
        house.settle(fails: false, halfWay: false)
        house.perform(house.machine.keep(OverlayMachineTests.trips(1), now: house.now))
        #expect(house.pending == nil, "the disk has it")
        house.perform(
            house.machine.goForward(OverlayMachineTests.request(1, 20, 1), now: house.now))
        house.perform(house.machine.keep([], now: house.now))
        house.settle(fails: false, halfWay: false)
        #expect(house.done == [1] && house.disk.trips.count == 1)
        house.settle(fails: false, halfWay: false)
        #expect(house.disk == house.machine.overlay && house.disk.trips.isEmpty)
    }

    @Test("a disk that refuses a trip is asked again until it takes it")
    func tripsOwed() {
        var house = House()
        house.perform(house.machine.keep(OverlayMachineTests.trips(2), now: house.now))
        house.settle(fails: true, halfWay: false)
        #expect(house.machine.unwritten == "no room")
        for _ in 0..<3 {
            house.now = house.machine.nextDeadline
            house.perform(house.machine.timePassed(now: house.now))
            house.settle(fails: true, halfWay: true)
        }
        house.now = house.machine.nextDeadline
        house.perform(house.machine.timePassed(now: house.now))
        house.settle(fails: false, halfWay: false)
        #expect(house.disk.trips == OverlayMachineTests.trips(2))
        #expect(house.machine.unwritten == nil)
    }

    @Test("a trip that came while a raise was being written refuses it, and the disk forgets it")
    func tripWhileWriting() {
        var house = House()
        for service in [1, 2] {
            house.perform(
                house.machine.goForward(
                    OverlayMachineTests.request(service, 20, service), now: house.now))
        }
        house.forbidden = ["s1"]
        for _ in 0..<3 { house.settle(fails: false, halfWay: false) }
        #expect(house.refused == [1] && house.done == [2])
        #expect(house.disk.services.keys.sorted() == ["s2"])
        #expect(house.disk == house.machine.overlay)
    }

    @Test("an overlay that was read brings weights and no trips: who is out, the process knows")
    func readTrips() {
        var house = House()
        house.perform(house.machine.keep(OverlayMachineTests.trips(1), now: house.now))
        house.settle(fails: false, halfWay: false)
        let read = Overlay(
            services: ["s1": OverlayMachineTests.entry(20)], trips: OverlayMachineTests.trips(2))
        house.machine.take(read)
        #expect(house.machine.overlay.services == read.services)
        #expect(house.machine.overlay.trips == OverlayMachineTests.trips(1))
        house.disk = read
        house.perform(house.machine.keep(OverlayMachineTests.trips(1), now: house.now))
        house.settle(fails: false, halfWay: false)
        #expect(house.disk == house.machine.overlay, "the disk is set right")
    }

    @Test("an overlay that was read is older than a change that came meanwhile")
    func readings() {
        var house = House()
        let serial = house.machine.serial
        #expect(!house.machine.isNewer(than: serial))
        house.perform(
            house.machine.goForward(OverlayMachineTests.request(1, 20, 1), now: house.now))
        #expect(house.machine.isNewer(than: house.machine.serial), "a write is under way")
        house.settle(fails: false, halfWay: false)
        #expect(house.machine.isNewer(than: serial))
        #expect(!house.machine.isNewer(than: house.machine.serial))
        house.machine.take(Overlay())
        #expect(house.machine.overlay == Overlay())
        house.perform(
            house.machine.goBack(OverlayMachineTests.request(1, nil, 2), now: house.now))
        #expect(house.pending == nil, "the disk has it already")
    }
}
