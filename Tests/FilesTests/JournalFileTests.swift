import Base
import Files
import Foundation
import Platform
import Rollout
import Support
import Testing

/// The journal's file: what was confirmed stays, whatever happens, and nothing else is believed.
@Suite struct JournalFileTests {
    typealias Journal = JournalFile<SimulatedDisk>

    /// SHA-256 is a target above; any hash makes a chain.
    @Sendable static func digest(_ bytes: [UInt8]) -> [UInt8] {
        (0..<4).flatMap { seed in
            let word = XXH64.hash(bytes, seed: UInt64(seed))
            return (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) }
        }
    }

    static func open(_ disk: SimulatedDisk) throws(JournalProblem) -> Journal.Found {
        try Journal.open(in: disk, path: "/var/lib/sluice/shop/journal", digest: digest)
    }

    static let now = WallTime(microseconds: 1_800_000_000_000_000)

    static var plan: RolloutPlan {
        var gate = RolloutPlan.Stage(name: "gate", weight: 500)
        gate.approval = RolloutPlan.Approval()
        var all = RolloutPlan.Stage(name: "all", weight: 10_000)
        all.holdBack = 200
        return RolloutPlan(
            name: "shop", service: "shop", canary: "v2",
            stages: [
                RolloutPlan.Stage(name: "small", weight: 100), gate,
                RolloutPlan.Stage(name: "half", weight: 5_000), all,
            ])
    }

    static func run(_ plan: RolloutPlan = plan) -> RolloutRun {
        RolloutRun(
            number: 1, plan: plan, stable: "v1", startedBy: "anna", startedAt: now, share: 0,
            canaryEndpoints: 2, stableEndpoints: 2)
    }

    /// Records of a rollout that goes back and forth.
    static let records = records(turns: 12)

    static func records(turns: Int) -> [JournalRecord] {
        var (machine, effects) = RolloutMachine.start(run(), after: 0, now: now)
        var records: [JournalRecord] = []
        func take(_ effects: [RolloutEffect]) {
            for case .write(let news, _) in effects { records += news }
        }
        take(effects)
        for i in 0..<turns {
            take(machine.handle(.written(sequence: machine.sequence), now: now))
            let command: RolloutCommand = i % 2 == 0 ? .pause : .resume
            take(machine.handle(.command(command, by: "ben"), now: now))
        }
        return records
    }

    @Test("what was written is read back, and the chain goes on")
    func goesOn() throws {
        let disk = SimulatedDisk()
        for record in JournalFileTests.records {
            var found = try JournalFileTests.open(disk)
            #expect(found.fold.sequence == record.sequence - 1 && found.note == nil)
            #expect(found.file.append([record], goesBack: false) == nil)
        }
        var seen: [JournalRecord] = []
        let found = try Journal.open(
            in: disk, path: "journal", digest: JournalFileTests.digest, visit: { seen.append($0) })
        #expect(seen == JournalFileTests.records)
        var last = JournalFileTests.records[0]
        last.sequence = JournalFileTests.records.count + 2
        var file = found.file
        #expect(file.append([last], goesBack: false)?.contains("does not follow record") == true)
        var fold = JournalFold()
        for record in JournalFileTests.records { try fold.apply(record) }
        #expect(found.fold == fold && fold.state?.lines.isEmpty == false)
    }

    @Test(
        "kill -9 between any two steps loses nothing that was confirmed, and the rest can be written"
    )
    func killed() throws {
        let records = JournalFileTests.records
        var step = 0
        while true {
            let disk = SimulatedDisk()
            disk.writeMax = 300
            var confirmed = 0
            do {
                disk.killedBefore = step
                var file = try JournalFileTests.open(disk).file
                for record in records.prefix(4) {
                    guard file.append([record], goesBack: false) == nil else { break }
                    confirmed = record.sequence
                }
            } catch {}
            let isDone = confirmed == 4
            disk.restartProcess()
            var found = try JournalFileTests.open(disk)
            let last = found.fold.sequence
            #expect(last == confirmed || last == confirmed + 1, "step \(step)")
            #expect(found.file.append(records, goesBack: false) == nil)
            #expect(try JournalFileTests.open(disk).fold.sequence == records.count)
            if isDone { break }
            step += 1
        }
        #expect(step > 20)
    }

    @Test("a power cut at any step loses nothing that was confirmed, torn ends are left out")
    func powerCut() throws {
        let records = JournalFileTests.records
        var torn = 0
        for seed in 1...200 as ClosedRange<UInt64> {
            var random = PRNG(seed: seed)
            let disk = SimulatedDisk()
            disk.writeMax = 300
            var confirmed = 0
            // Twice, so that what is cut off is under a power cut too.
            for _ in 0..<2 {
                disk.killedBefore = Int(random.below(40))
                do {
                    var found = try JournalFileTests.open(disk)
                    #expect(found.fold.sequence >= confirmed, "seed \(seed)")
                    // Whatever was read after a cut is on the disk.
                    confirmed = found.fold.sequence
                    for record in records.dropFirst(found.fold.sequence).prefix(4) {
                        guard found.file.append([record], goesBack: false) == nil else { break }
                        confirmed = record.sequence
                    }
                } catch {
                    #expect(error.text.contains("killed"), "seed \(seed): \(error.text)")
                }
                disk.crash(&random)
            }
            var found = try JournalFileTests.open(disk)
            if found.note != nil { torn += 1 }
            let last = found.fold.sequence
            #expect(last == confirmed || last == confirmed + 1, "seed \(seed)")
            #expect(found.file.append(records, goesBack: false) == nil)
            #expect(try JournalFileTests.open(disk).fold.sequence == records.count)
        }
        #expect(torn > 5, "the draws reach torn lines: \(torn)")
    }

    @Test("a disk that fails at any step says so, and the same records can be written later")
    func failing() throws {
        let records = Array(JournalFileTests.records.prefix(6))
        for code in [5, 28, 30] as [Int32] {
            for step in 0..<16 {
                let disk = SimulatedDisk()
                disk.writeMax = 300
                var file = try JournalFileTests.open(disk).file
                #expect(file.append(Array(records.prefix(2)), goesBack: false) == nil)
                let failed = disk.steps.count + step
                disk.failures = [failed: code]
                let problem = file.append(records, goesBack: false)
                if let problem {
                    #expect(problem.contains("/var/lib/sluice/shop/journal"))
                    #expect(file.append(records, goesBack: false) == nil, "step \(step)")
                }
                disk.restartProcess()
                let found = try JournalFileTests.open(disk)
                #expect(found.fold.sequence == 6 && found.note == nil, "step \(step)")
            }
        }
    }

    @Test("on a full disk nobody goes forward, and a rollback finds the room that was kept")
    func full() throws {
        let disk = SimulatedDisk()
        let records = JournalFileTests.records
        var file = try JournalFileTests.open(disk).file
        #expect(file.append(Array(records.prefix(2)), goesBack: false) == nil)
        disk.room = 0
        let problem = file.append(Array(records.prefix(3)), goesBack: false)
        #expect(problem?.contains("make room on that disk") == true)
        #expect(file.append(Array(records.prefix(3)), goesBack: true) == nil)
        #expect(file.append(Array(records.prefix(5)), goesBack: true) == nil)
        #expect(try JournalFileTests.open(disk).fold.sequence == 5)
    }

    @Test("a journal that has grown begins anew with a snapshot, wherever the power is cut")
    func renewed() throws {
        // Enough events for snapshots.
        var (machine, effects) = RolloutMachine.start(
            JournalFileTests.run(), after: 0, now: JournalFileTests.now)
        var batches: [[JournalRecord]] = []
        func take(_ effects: [RolloutEffect]) {
            for case .write(let news, _) in effects { batches.append(news) }
        }
        take(effects)
        for i in 0..<300 {
            take(machine.handle(.written(sequence: machine.sequence), now: JournalFileTests.now))
            let command: RolloutCommand = i % 2 == 0 ? .pause : .resume
            take(machine.handle(.command(command, by: "ben"), now: JournalFileTests.now))
        }
        let index = try #require(batches.firstIndex { $0.count == 2 })
        let whole = SimulatedDisk()
        var first = try JournalFileTests.open(whole).file
        #expect(first.append(Array(batches[..<index].joined()), goesBack: false) == nil)
        let before = try #require(whole.contents.first).bytes
        var renewals = 0
        for seed in 1...40 as ClosedRange<UInt64> {
            var random = PRNG(seed: seed)
            let disk = SimulatedDisk()
            try disk.put("journal", before)
            var file = try JournalFileTests.open(disk).file
            file.renewBytes = 1_000
            disk.killedBefore = disk.steps.count + Int(random.below(24))
            let isWritten = file.append(batches[index], goesBack: false) == nil
            if random.below(2) == 0 { disk.crash(&random) } else { disk.restartProcess() }
            var found = try JournalFileTests.open(disk)
            let last = batches[index].last?.sequence ?? 0
            if isWritten { #expect(found.fold.sequence == last, "seed \(seed)") }
            #expect(found.fold.sequence >= last - 2 && found.fold.differences.isEmpty)
            if disk.contents.contains(where: { $0.name == "journal.1" }) { renewals += 1 }
            let rest = Array(batches[index...].joined())
            #expect(found.file.append(rest, goesBack: false) == nil, "seed \(seed)")
            let end = try JournalFileTests.open(disk)
            #expect(end.fold.state == machine.state, "seed \(seed)")
        }
        #expect(renewals > 3)
    }

    @Test("a line that was changed, lost or put in is named, with what to do")
    func changed() throws {
        let disk = SimulatedDisk()
        var file = try JournalFileTests.open(disk).file
        #expect(file.append(JournalFileTests.records, goesBack: false) == nil)
        let bytes = try #require(disk.contents.first).bytes
        let lines = bytes.split(separator: 0x0a).map { Array($0) + [0x0a] }
        func reading(_ lines: [[UInt8]]) -> JournalCodec.Problem? {
            do throws(JournalCodec.Problem) {
                _ = try JournalCodec.read(Array(lines.joined()), JournalFileTests.digest)
                return nil
            } catch {
                return error
            }
        }
        #expect(reading(lines) == nil)
        for line in 0..<(lines.count - 1) {
            var other = lines
            other[line][other[line].count / 2] ^= 1
            #expect(reading(other)?.line == line + 1)
            var fewer = lines
            fewer.remove(at: line)
            #expect(reading(fewer)?.line == line + 1)
            var twice = lines
            twice.insert(lines[line], at: line)
            #expect(reading(twice)?.line == line + 2)
        }
    }

    @Test("a rollout ends alike wherever the machine loses its power, good version or bad")
    func sameEnd() throws {
        for isGood in [true, false] {
            for seed in 1...40 as ClosedRange<UInt64> {
                var driver = JournalDriver(seed: seed, isGood: isGood)
                let phase = try driver.follow()
                #expect(phase == (isGood ? .succeeded : .rolledBack), "seed \(seed)")
                #expect(driver.share == (isGood ? 10_000 : 0), "seed \(seed)")
                #expect(driver.risenByCrash == 0, "seed \(seed)")
                let found = try JournalFileTests.open(driver.disk)
                #expect(found.fold.state?.phase == phase, "seed \(seed)")
            }
        }
    }
}

/// A driver on a simulated disk, whose power is cut now and then.
struct JournalDriver {
    let disk = SimulatedDisk()
    var random: PRNG
    let isGood: Bool
    var file: JournalFileTests.Journal?
    var machine: RolloutMachine?
    /// The overlay, which is written by itself.
    var share = 0
    var epoch = 0
    var risenByCrash = 0
    private var isKilled = false

    init(seed: UInt64, isGood: Bool) {
        random = PRNG(seed: seed)
        self.isGood = isGood
    }

    mutating func follow() throws -> RolloutPhase {
        for _ in 0..<400 {
            isKilled = false
            // Later cuts are rarer, so that the rollout comes to its end.
            disk.killedBefore = Int(random.below(60))
            if random.below(6) == 0 { disk.room = 0 }
            try begin()
            for _ in 0..<40 where !isKilled { tick() }
            if let machine, machine.state.phase.hasEnded, machine.isWritten, !isKilled { break }
            disk.crash(&random)
        }
        disk.restartProcess()
        return machine?.state.phase ?? .entering
    }

    private mutating func begin() throws {
        do throws(JournalProblem) {
            let found = try JournalFileTests.open(disk)
            file = found.file
            if var machine = RolloutMachine(found.fold) {
                let overlay =
                    epoch == 0
                    ? nil : FoundOverlay(rollout: "shop-1", epoch: epoch, share: share)
                let event = RolloutEvent.restarted(wall: .seconds(10), overlay: overlay)
                let old = share
                let effects = machine.handle(event, now: JournalFileTests.now)
                for case .setWeights(let order) in effects where order.share > old {
                    if machine.state.phase != .applying, machine.state.phase != .finishing {
                        risenByCrash += 1
                    }
                }
                self.machine = machine
                perform(effects)
            } else {
                let (machine, effects) = RolloutMachine.start(
                    JournalFileTests.run(), after: 0, now: JournalFileTests.now)
                self.machine = machine
                perform(effects)
            }
        } catch {
            isKilled = true
            if !error.text.contains("killed") { throw error }
        }
    }

    private mutating func tick() {
        guard let state = machine?.state, !state.phase.hasEnded else {
            send(.time(monotonic: .seconds(5), wall: .seconds(5)))
            return
        }
        send(.time(monotonic: .seconds(30), wall: .seconds(30)))
        let kind: Verdict.Kind = !isGood && share >= 5_000 ? .regression : .healthy
        send(.look(Verdict(kind, "numbers"), judge: "{}"))
        if machine?.state.phase == .awaiting, let state = machine?.state {
            let stage = state.plan.stages[state.stage].name
            send(.command(.approve(id: "shop-1", stage: stage), by: "ben"))
        }
    }

    private mutating func send(_ event: RolloutEvent) {
        guard !isKilled, let effects = machine?.handle(event, now: JournalFileTests.now) else {
            return
        }
        perform(effects)
    }

    private mutating func perform(_ effects: [RolloutEffect]) {
        for effect in effects where !isKilled {
            switch effect {
            case .write(let records, let goesBack):
                let problem = file?.append(records, goesBack: goesBack)
                if let problem, problem.contains("killed") {
                    isKilled = true
                } else if let problem {
                    send(.notWritten(problem))
                } else {
                    send(.written(sequence: records.last?.sequence ?? 0))
                }
            case .setWeights(let order):
                share = order.share
                epoch = order.epoch
                // A process may end right behind a deed.
                if random.below(20) == 0 {
                    isKilled = true
                    return
                }
                send(.confirmed(epoch: order.epoch, timeToConclude: nil))
            default: break
            }
        }
    }
}
