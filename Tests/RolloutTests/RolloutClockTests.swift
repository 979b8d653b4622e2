import Base

import Rollout
import Testing

@Suite("Clocks, disks and restarts of a rollout")
struct RolloutClockTests {
    static var gate: RolloutPlan {
        var plan = Plans.plain
        plan.stages[0].approval = RolloutPlan.Approval()
        plan.stages[0].approval?.timeout = .seconds(7_200)
        plan.maxDuration = .seconds(86_400)
        return plan
    }

    static func awaiting() -> RolloutWorld {
        var world = RolloutWorld(gate)
        world.pass(60)
        world.look(.healthy)
        return world
    }

    private static func approvalLeft(_ world: RolloutWorld) -> Duration? {
        world.machine.status.deadlines.first { $0.kind == .approval }?.left
    }

    @Test("a wall clock that is set back gives no time, and one that jumps at most an hour")
    func jumps() {
        var world = RolloutClockTests.awaiting()
        world.send(.time(monotonic: .seconds(1), wall: .seconds(-100_000)))
        #expect(RolloutClockTests.approvalLeft(world) == .seconds(7_200))
        world.send(.time(monotonic: .seconds(1), wall: .seconds(1_000_000)))
        #expect(RolloutClockTests.approvalLeft(world) == .seconds(3_600))
        #expect(world.phase == .awaiting)
    }

    @Test("after a restart an expired deadline waits for another minute, and acts then")
    func grace() throws {
        var world = RolloutClockTests.awaiting()
        world.pass(3_600)
        world.pass(3_400)
        try world.restart(away: .seconds(86_400))
        #expect(world.phase == .awaiting)
        #expect(RolloutClockTests.approvalLeft(world) == .seconds(60))
        world.pass(59)
        #expect(world.phase == .awaiting)
        world.pass(1)
        #expect(world.phase == .held)
    }

    @Test("maxDuration takes a rollout back, even one that waits for a person")
    func maxDuration() {
        var world = RolloutClockTests.awaiting()
        world.say(.pause)
        for _ in 0..<24 { world.pass(3_600) }
        #expect(world.phase == .rolledBack)
        #expect(world.machine.state.reason?.code == .maxDuration)
    }

    @Test("while the journal is not written nobody goes forward, and going back does not wait")
    func disk() {
        var world = RolloutWorld(Plans.plain)
        world.disk = .bad
        world.pass(60)
        world.look(.healthy)
        #expect(world.phase == .applying && world.share == 100)
        #expect(world.machine.notWritten == "no space left")
        #expect(world.machine.status.waitsFor.first == "the journal: no space left")
        var back = world
        back.look(.regression)
        #expect(back.phase == .rolledBack && back.share == 0, "in memory first")
        #expect(!back.machine.isWritten)
        let refusal = RolloutMachine.mayStart(
            Plans.plain, canaryRevision: "2.0", after: back.machine, isRetry: false)
        #expect(refusal?.contains("not in the journal yet: no space left") == true)
        back.disk = .good
        back.pass(5)
        #expect(back.machine.isWritten && back.machine.notWritten == nil)
        world.disk = .good
        world.pass(5)
        #expect(world.share == 5_000 && world.phase == .watching)
        #expect(world.logs.contains { $0.contains("the journal is written again") })
    }

    @Test("who gives a command while the journal cannot be written is answered at once")
    func answered() {
        var world = RolloutWorld(Plans.plain)
        world.disk = .bad
        world.say(.pause)
        #expect(world.phase == .paused && !world.machine.isWritten)
        #expect(world.answers.count == 1, "by the write that failed")
        world.say(.resume)
        #expect(world.answers.count == 2, "without another try of the disk")
        world.disk = .never
        world.pass(5)
        world.say(.pause)
        #expect(world.answers.count == 3, "nor waits anybody for a try that is under way")
        var slow = RolloutWorld(Plans.plain)
        slow.disk = .never
        slow.say(.pause)
        #expect(slow.answers.isEmpty, "a disk that has not failed yet is waited for")
        slow.send(.notWritten("no space left"))
        #expect(slow.answers.count == 1)
    }

    @Test("many records that find no disk become one snapshot, which reads back")
    func collapse() throws {
        var world = RolloutWorld(Plans.plain)
        world.disk = .bad
        for _ in 0..<40 {
            world.say(.pause)
            world.say(.resume)
            world.pass(5)
        }
        #expect(world.machine.unwritten.count < 40)
        world.disk = .good
        world.pass(5)
        #expect(world.machine.isWritten && world.differences == 0)
        let reading = try world.reading()
        #expect(reading.fold.sequence == world.machine.sequence)
        #expect(reading.fold.state?.phase == world.phase)
    }

    @Test("weights that are refused are asked for again, and a step forward is held after a while")
    func refused() {
        var world = RolloutWorld(Plans.plain)
        world.weights = .bad
        world.pass(60)
        world.look(.healthy)
        #expect(world.machine.notApplied == "the overlay cannot be written")
        let count = world.orders.count
        world.pass(5)
        #expect(world.orders.count == count + 1)
        var good = world
        good.weights = .good
        good.pass(5)
        #expect(good.share == 5_000 && good.machine.notApplied == nil)
        world.pass(600)
        #expect(world.phase == .held && world.machine.state.reason?.code == .weights)
    }

    @Test("a rollback that only the overlay knows of is one, and a lost overlay pauses")
    func overlays() throws {
        var world = RolloutWorld(Plans.plain)
        world.pass(60)
        world.look(.healthy)
        let id = world.machine.state.run.id
        func restarted(_ overlay: FoundOverlay?) throws -> RolloutWorld {
            var other = world
            other.machine = try #require(RolloutMachine(world.reading().fold))
            other.send(.restarted(wall: .seconds(5), overlay: overlay))
            return other
        }
        func overlay(_ epoch: Int, _ share: Int) -> FoundOverlay {
            FoundOverlay(rollout: id, epoch: epoch, share: share)
        }
        #expect(try restarted(overlay(world.epoch, 5_000)).phase == .watching)
        #expect(try restarted(overlay(world.epoch + 1, 0)).phase == .rolledBack)
        #expect(try restarted(nil).machine.state.reason?.code == .overlayLost)
        #expect(try restarted(overlay(1, 100)).phase == .paused)
        let byHand = FoundOverlay(rollout: nil, epoch: 9, share: 5_000)
        #expect(try restarted(byHand).phase == .paused)
        let tripped = FoundOverlay(rollout: id, epoch: world.epoch, share: 0, isTripped: true)
        #expect(try restarted(tripped).phase == .rolledBack)
    }

    @Test("a call to a hook in front of a stage has a number that no notice has, each time another")
    func asked() {
        var plan = Plans.plain
        var before = RolloutPlan.Hook(call: .command(["check.sh"]))
        before.before = "half"
        plan.hooks = [before] + Plans.whole.hooks.suffix(1)
        var world = RolloutWorld(plan)
        world.hooks = .askAgain("later")
        world.pass(60)
        world.look(.healthy)
        world.pass(60)
        #expect(world.asked.count >= 2)
        let numbers = world.notices.map(\.number) + world.asked
        #expect(Set(numbers).count == numbers.count, "\(numbers)")
    }

    @Test("notices are numbered, and those that were not delivered come again after a restart")
    func notices() throws {
        var world = RolloutWorld(Plans.whole)
        let events: [RolloutPlan.Hook.Event] = [.started, .stage]
        #expect(world.notices.map(\.event) == events && world.notices.map(\.number) == [1, 2])
        #expect(world.machine.status.undelivered == 0)
        var plan = Plans.plain
        plan.hooks = Plans.whole.hooks
        let (machine, _) = RolloutMachine.start(RolloutWorld.run(plan), after: 0, now: world.now)
        var other = machine
        #expect(other.status.undelivered == 1)
        let again =
            other.handle(.restarted(wall: .zero, overlay: nil), now: world.now)
            + other.handle(.written(sequence: other.sequence), now: world.now)
            + other.handle(.written(sequence: other.sequence), now: world.now)
        let numbers = again.compactMap { effect in
            if case .notify(let notice) = effect { notice.number } else { nil }
        }
        #expect(numbers.contains(1))
        world.send(.notified(number: 1))
        #expect(world.machine.status.undelivered == 0)
    }

    @Test("a journal of anything never crashes the reader, though checksum and chain be right")
    func hostile() throws {
        var world = RolloutWorld(Plans.whole)
        world.pass(600)
        world.pass(60)
        world.look(.healthy)
        world.say(.pause)
        let lines = String(decoding: world.journal, as: UTF8.self).split(separator: "\n")
        let numbers = [
            "-1", "9223372036854775807", "-9223372036854775808", "4503599627370496", "1e300",
            "null",
            "\"nan\"", "[]", "{}", "true", "\"\"",
        ]
        var read = 0
        for seed in 1...600 as ClosedRange<UInt64> {
            var random = PRNG(seed: seed)
            var bytes: [UInt8] = [], hash = JournalCodec.origin
            let victim = Int(random.below(UInt64(lines.count)))
            for (index, line) in lines.enumerated() {
                // Everything in front of the chain, with one number replaced.
                var head = String(
                    line[..<(try #require(line.range(of: ",\"previous\""))).lowerBound])
                if index == victim {
                    let places = head.indices.filter {
                        head[$0].isNumber && !head[head.index(before: $0)].isNumber
                    }
                    let place = places[Int(random.below(UInt64(places.count)))]
                    let end = head[place...].firstIndex { !$0.isNumber } ?? head.endIndex
                    let new = numbers[Int(random.below(UInt64(numbers.count)))]
                    head.replaceSubrange(place..<end, with: new)
                }
                let digits = hash.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
                var text = Array("\(head),\"previous\":\"\(digits)\"".utf8)
                let crc = String(CRC32C.checksum(text), radix: 16)
                let zeros = String(repeating: "0", count: 8 - crc.count)
                text += Array(",\"crc\":\"\(zeros)\(crc)\"}".utf8)
                hash = RolloutWorld.digest(text)
                bytes += text + [0x0a]
            }
            guard let reading = try? JournalCodec.read(bytes, RolloutWorld.digest),
                var machine = RolloutMachine(reading.fold)
            else { continue }
            read += 1
            // Whatever was believed can be gone on with.
            let overlay = FoundOverlay(rollout: "reviews-1", epoch: .max, share: .min)
            _ = machine.handle(.restarted(wall: .unlimited, overlay: overlay), now: world.now)
            _ = machine.handle(.time(monotonic: .unlimited, wall: .unlimited), now: world.now)
            _ = machine.handle(.endpoints(canary: .max, stable: .min), now: world.now)
            _ = machine.handle(.command(.resume, by: "ben"), now: world.now)
            _ = machine.handle(.tripped("x"), now: world.now)
            _ = (machine.status, machine.nextDeadline)
        }
        #expect(read > 40, "\(read)")
        for seed in 1...300 as ClosedRange<UInt64> {
            var random = PRNG(seed: seed)
            var bytes = world.journal
            for _ in 0..<4 {
                bytes[Int(random.below(UInt64(bytes.count)))] = UInt8(random.below(256))
            }
            _ = try? JournalCodec.read(bytes, RolloutWorld.digest)
        }
    }
}
