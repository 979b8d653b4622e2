import Base
import Server
import Testing

/// Every event in every state, under a clock that the tests move.
@Suite struct ReloadMachineTests {
    /// A candidate and a product are known by their names.
    typealias Machine = ReloadMachine<String, String>
    typealias Ask = Machine.Ask

    static let start = Instant(nanoseconds: 1_000_000_000)

    /// A machine, the time, and what it has said so far.
    struct Run {
        var machine = Machine()
        var now = ReloadMachineTests.start
        var said: [String] = []

        mutating func take(_ effects: [Machine.Effect]) { said += effects.map(Run.text) }

        /// The effects since the last call.
        mutating func news() -> [String] {
            defer { said = [] }
            return said
        }

        static func text(_ asks: [Ask]) -> String {
            asks.map { $0.ticket.map { "\($0)" } ?? $0.cause }.joined(separator: "+")
        }

        static func text(_ effect: Machine.Effect) -> String {
            switch effect {
            case .read: "read"
            case .prepare(let candidate): "prepare \(candidate)"
            case .watchNames(let candidate): "names \(candidate)"
            case .compile(let candidate): "compile \(candidate ?? "anew")"
            case .publish(let product, let candidate): "publish \(product) of \(candidate ?? "-")"
            case .changeListeners(let candidate): "listeners \(candidate)"
            case .finish(let candidate, let asks): "finish \(candidate) for \(text(asks))"
            case .finishRenewal(let asks):
                asks.isEmpty ? "renewed" : "renewed for \(text(asks))"
            case .refuse(let asks, .rejected(let why)): "refuse \(text(asks)): \(why.text)"
            case .refuse(let asks, let why): "refuse \(text(asks)): \(why)"
            case .discard(let candidate): "discard \(candidate)"
            case .warnOfSlowCompilation: "slow"
            }
        }

        mutating func ask(_ ticket: UInt64) {
            take(machine.ask(Ask(cause: "admin", ticket: ticket), now: now))
        }
        mutating func accept(_ name: String) { take(machine.accept(name, now: now)) }
        mutating func reject() { take(machine.reject(.init(text: "bad"), now: now)) }
        mutating func prepared(_ name: String) { take(machine.prepared(name, now: now)) }
        mutating func namesTried() { take(machine.namesTried(now: now)) }
        mutating func weights(_ ticket: UInt64?) {
            let ask = ticket.map { Ask(cause: "weights", ticket: $0) }
            take(machine.weightsChanged(ask, now: now))
        }
        mutating func addresses() { take(machine.addressesChanged(now: now)) }
        mutating func compiled(_ name: String) { take(machine.compiled(name, now: now)) }
        mutating func confirmed() { take(machine.confirmed(now: now)) }
        mutating func released() { take(machine.listenersReleased(now: now)) }
        mutating func drain() { take(machine.beginDrain(now: now)) }
        mutating func pass(_ time: Duration) {
            now = now + time
            take(machine.timePassed(now: now))
        }
        /// From a candidate that is read to one that is in force.
        mutating func carry(_ name: String) {
            prepared(name)
            namesTried()
            compiled("P" + name)
            confirmed()
            released()
        }
    }

    /// States of the publisher, each with a candidate A that ticket 1 asked for, or a renewal.
    static let publishers = [
        "idle", "names", "compiling", "confirming", "leaving", "renewing", "renewed",
    ]

    static func publisher(_ state: String) -> Run {
        var run = Run()
        if state == "idle" { return run }
        if state == "renewing" || state == "renewed" {
            run.addresses()
            if state == "renewed" { run.compiled("P") }
            _ = run.news()
            return run
        }
        run.ask(1)
        run.machine.fileRead(now: run.now)
        run.accept("A")
        run.prepared("A")
        if state != "names" { run.namesTried() }
        if state == "confirming" || state == "leaving" { run.compiled("PA") }
        if state == "leaving" { run.confirmed() }
        _ = run.news()
        return run
    }

    @Test("a reload goes from the file to the workers, and is answered when all is in force")
    func whole() {
        var run = Run()
        run.ask(1)
        run.machine.fileRead(now: run.now)
        run.accept("A")
        run.prepared("A")
        #expect(run.news() == ["read", "prepare A", "names A"])
        run.namesTried()
        run.compiled("P")
        #expect(run.news() == ["compile A", "publish P of A"])
        run.confirmed()
        #expect(run.news() == ["listeners A"])
        run.released()
        #expect(run.news() == ["finish A for 1"])
        #expect(run.machine.nextDeadline == .never)
        #expect(run.machine.waiting.isEmpty)
    }

    @Test("a rejected file, and one whose sockets do not open, change nothing and are answered")
    func rejections() {
        var run = Run()
        run.ask(1)
        run.reject()
        #expect(run.news() == ["read", "refuse 1: bad"])
        run.ask(2)
        run.accept("A")
        run.take(run.machine.unprepared(.init(text: "in use"), now: run.now))
        #expect(run.news() == ["read", "prepare A", "refuse 2: in use"])
        #expect(run.machine.nextDeadline == .never)
    }

    @Test("asks during a reading are answered by one further reading, whatever became of the first")
    func coalescing() {
        for isGood in [true, false] {
            var run = Run()
            run.ask(1)
            for ticket in [2, 3] as [UInt64] { run.ask(ticket) }
            run.machine.fileRead(now: run.now)
            run.ask(4)
            #expect(run.news() == ["read"])
            if isGood {
                run.accept("A")
                #expect(run.news() == ["prepare A", "read"])
                run.carry("A")
                #expect(run.news().last == "finish A for 1")
            } else {
                run.reject()
                #expect(run.news() == ["refuse 1: bad", "read"])
            }
            run.accept("B")
            run.carry("B")
            #expect(run.news().last == "finish B for 2+3+4")
        }
    }

    @Test("signals and changes that nobody waits for are kept once")
    func signals() {
        var run = Run()
        run.ask(1)
        for _ in 0..<1_000 {
            run.take(run.machine.ask(Ask(cause: "SIGHUP"), now: run.now))
            run.take(run.machine.ask(Ask(cause: "watch"), now: run.now))
        }
        #expect(run.machine.waiting.map(\.cause) == ["admin", "SIGHUP", "watch"])
    }

    @Test("a file is read while another is on its way, and waits for it", arguments: publishers)
    func reading(state: String) {
        var run = ReloadMachineTests.publisher(state)
        run.ask(2)
        run.machine.fileRead(now: run.now)
        #expect(run.news() == ["read"])
        run.accept("B")
        if state == "idle" { return #expect(run.news() == ["prepare B"]) }
        #expect(run.news() == [])
        // Asking again makes the newer file the one that counts, for both.
        run.ask(3)
        #expect(run.news() == ["discard B", "read"])
        run.accept("C")
        #expect(run.news() == [])
        finish(&run, state)
        #expect(run.news().last == "prepare C")
        run.carry("C")
        #expect(run.news().last == "finish C for 2+3")
    }

    @Test("a candidate that comes back while another is on its way yields to asks that came since")
    func overtaken() {
        var run = ReloadMachineTests.publisher("compiling")
        run.ask(2)
        run.ask(3)
        run.accept("B")
        #expect(run.news() == ["read", "discard B", "read"])
        run.accept("C")
        finish(&run, "compiling")
        #expect(run.news().last == "prepare C")
        run.carry("C")
        #expect(run.news().last == "finish C for 2+3")
    }

    /// Brings what is under way into force.
    func finish(_ run: inout Run, _ state: String) {
        if state == "names" { run.namesTried() }
        if ["names", "compiling", "renewing"].contains(state) { run.compiled("P") }
        if state != "leaving" { run.confirmed() }
        if !state.hasPrefix("renew") { run.released() }
    }

    @Test("new addresses make one renewal, unless the compilation is still to come")
    func addresses() {
        let expected: [String: [String]] = [
            "idle": ["compile anew"], "names": ["finish A for 1"],
            "compiling": ["finish A for 1", "compile anew"],
            "confirming": ["finish A for 1", "compile anew"],
            "leaving": ["finish A for 1", "compile anew"],
            "renewing": ["renewed", "compile anew"], "renewed": ["renewed", "compile anew"],
        ]
        for (state, last) in expected {
            var run = ReloadMachineTests.publisher(state)
            for _ in 0..<3 { run.addresses() }
            if state != "idle" {
                #expect(run.news() == [], "\(state)")
                finish(&run, state)
            }
            #expect(run.news().suffix(last.count) == last[...], "\(state)")
        }
    }

    @Test("whoever asked for weights is answered by one renewal behind what is under way")
    func weights() {
        for state in ReloadMachineTests.publishers {
            var run = ReloadMachineTests.publisher(state)
            run.weights(7)
            if state == "idle" {
                #expect(run.news() == ["compile anew"])
            } else {
                run.addresses()
                run.weights(8)
                #expect(run.news() == [], "\(state)")
                #expect(run.machine.waiting.suffix(2).map(\.ticket) == [7, 8], "\(state)")
                finish(&run, state)
                #expect(run.news().last == "compile anew", "\(state)")
            }
            run.compiled("W")
            run.confirmed()
            let asks = state == "idle" ? "7" : "7+8"
            #expect(run.news() == ["publish W of -", "renewed for \(asks)"], "\(state)")
            #expect(run.machine.waiting.isEmpty)
        }
    }

    @Test("weights that somebody waits for go in front of a candidate that may yet be refused")
    func weightsBeforeCandidate() {
        var run = ReloadMachineTests.publisher("compiling")
        run.ask(2)
        run.accept("B")
        run.weights(7)
        _ = run.news()
        finish(&run, "compiling")
        #expect(run.news().suffix(2) == ["finish A for 1", "compile anew"])
        run.compiled("W")
        run.confirmed()
        #expect(run.news() == ["publish W of -", "renewed for 7", "prepare B"])
    }

    @Test("a drain answers those who wait for weights by publishing them")
    func weightsInDrain() {
        var run = ReloadMachineTests.publisher("names")
        run.weights(7)
        run.drain()
        #expect(run.news() == ["discard A", "refuse 1: draining", "compile anew"])
        run.compiled("W")
        run.confirmed()
        #expect(run.news().last == "renewed for 7")
    }

    @Test("a candidate that waits takes the place of a renewal that is owed")
    func renewalByCandidate() {
        var run = ReloadMachineTests.publisher("compiling")
        run.ask(2)
        run.accept("B")
        run.addresses()
        _ = run.news()
        finish(&run, "compiling")
        #expect(run.news().suffix(2) == ["finish A for 1", "prepare B"])
    }

    @Test("a wait that is too long ends: names, workers and sockets are not waited for for ever")
    func deadlines() {
        var run = ReloadMachineTests.publisher("names")
        run.pass(.milliseconds(999))
        #expect(run.news() == [])
        run.pass(.milliseconds(1))
        #expect(run.news() == ["compile A"])
        run.compiled("P")
        run.pass(.seconds(1))
        run.pass(.seconds(1))
        #expect(run.news() == ["publish P of A", "listeners A", "finish A for 1"])
        // What comes after its wait has ended changes nothing.
        run.confirmed()
        run.released()
        run.namesTried()
        #expect(run.news() == [])
    }

    @Test("a compilation that is slow is said once and never given up")
    func slowCompilation() {
        var run = ReloadMachineTests.publisher("compiling")
        run.pass(.seconds(30))
        run.pass(.seconds(1_000))
        #expect(run.news() == ["slow"])
        finish(&run, "compiling")
        #expect(run.news().last == "finish A for 1")
    }

    @Test("a file system that hangs costs the askers ten seconds each, and one job")
    func hanging() {
        var run = Run()
        run.ask(1)
        run.ask(2)
        run.pass(.seconds(10))
        #expect(run.news() == ["read", "refuse 1+2: readingTooLong"])
        #expect(run.machine.nextDeadline == .never)
        // No second job: the first still hangs.
        run.ask(3)
        run.pass(.seconds(5))
        run.ask(4)
        run.pass(.seconds(5))
        #expect(run.news() == ["refuse 3+4: readingTooLong"])
        run.ask(5)
        // The job returns at last, with a file that is older than the ask.
        run.machine.fileRead(now: run.now)
        run.accept("old")
        #expect(run.news() == ["discard old", "read"])
        run.accept("new")
        run.carry("new")
        #expect(run.news().last == "finish new for 5")
    }

    @Test("a job that was given up and returns when nobody asks leaves nothing behind")
    func lateReturn() {
        for isGood in [true, false] {
            var run = Run()
            run.ask(1)
            run.pass(.seconds(10))
            _ = run.news()
            if isGood { run.accept("old") } else { run.reject() }
            #expect(run.news() == (isGood ? ["discard old"] : []))
            run.ask(2)
            #expect(run.news() == ["read"])
        }
    }

    @Test("a large file may be checked for longer than it may be read, but not for ever")
    func slowChecks() {
        var run = Run()
        run.ask(1)
        run.machine.fileRead(now: run.now)
        run.pass(.seconds(299))
        #expect(run.news() == ["read"])
        run.pass(.seconds(1))
        #expect(run.news() == ["refuse 1: checkingTooLong"])
    }

    @Test("names get new addresses while a file hangs")
    func renewalBesideHang() {
        var run = Run()
        run.ask(1)
        run.addresses()
        run.compiled("P")
        run.confirmed()
        #expect(run.news() == ["read", "compile anew", "publish P of -", "renewed"])
        #expect(run.machine.waiting == [Ask(cause: "admin", ticket: 1)])
    }

    @Test("a drain refuses what is not compiled yet, and finishes what is", arguments: publishers)
    func drain(state: String) {
        var run = ReloadMachineTests.publisher(state)
        run.ask(2)
        _ = run.news()
        run.drain()
        let dropped = state == "names" ? ["discard A", "refuse 1: draining"] : []
        #expect(run.news() == ["refuse 2: draining"] + dropped)
        run.ask(3)
        #expect(run.news() == ["refuse 3: draining"])
        // The job that was under way returns.
        run.accept("B")
        #expect(run.news() == ["discard B"])
        if state != "idle", state != "names" {
            finish(&run, state)
            #expect(run.news().last == (state.hasPrefix("renew") ? "renewed" : "finish A for 1"))
        }
        #expect(run.machine.waiting.isEmpty)
        run.addresses()
        #expect(run.news() == ["compile anew"])
    }

    @Test("a drain drops a candidate that waits, and keeps the addresses that came meanwhile")
    func drainHolding() {
        var run = ReloadMachineTests.publisher("compiling")
        run.ask(2)
        run.accept("B")
        _ = run.news()
        run.drain()
        #expect(run.news() == ["discard B", "refuse 2: draining"])
        var other = ReloadMachineTests.publisher("names")
        other.addresses()
        other.drain()
        #expect(other.news() == ["discard A", "refuse 1: draining", "compile anew"])
    }

    @Test("a drain between a candidate and its sockets closes them")
    func drainPreparing() {
        var run = Run()
        run.ask(1)
        run.accept("A")
        run.drain()
        run.prepared("A")
        #expect(run.news() == ["read", "prepare A", "discard A", "refuse 1: draining"])
    }
}
