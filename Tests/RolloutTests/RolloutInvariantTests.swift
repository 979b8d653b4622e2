import Base
import Rollout
import Testing

@Suite("What holds in every rollout")
struct RolloutInvariantTests {
    /// A world in which deeds fail, hang and come late, step by step at random.
    struct Chaos {
        var world: RolloutWorld
        var random: PRNG
        var story: [String] = []
        /// Orders that were given and not answered.
        var unanswered: [WeightsOrder] = []
        var fold = JournalFold()

        init(seed: UInt64, keepsJournal: Bool = false) {
            random = PRNG(seed: seed)
            world = RolloutWorld(RolloutModelTests.plan(&random))
            world.keepsJournal = keepsJournal
        }

        mutating func step() {
            let before = world.machine
            switch random.below(30) {
            case 0: world.disk = [.good, .good, .bad, .never][Int(random.below(4))]
            case 1: world.weights = [.good, .good, .bad, .never][Int(random.below(4))]
            case 2:
                world.hooks =
                    [.passed, .askAgain("later"), .failed("no"), nil][
                        Int(random.below(4))]
            case 3: late()
            case 4:
                if random.below(8) == 0 { world.send(.tripped("6 errors in a row")) }
            case 5: world.send(.metricFailed(name: "conversion", text: "0.01"))
            case 6: if random.below(8) == 0 { world.send(.canaryRevision("1.4.3")) }
            case 7: world.send(.quorumLost("2 of 10 report"))
            case 8 where random.below(8) == 0:
                world.say(.finish(force: true))
                story.append("finish")
            default:
                var model = RolloutModel(world.machine.state.plan)
                story.append(RolloutModelTests.step(&world, &model, &random))
            }
            check(before)
        }

        /// A write or an order that hung is answered.
        private mutating func late() {
            let machine = world.machine
            if world.disk != .good { world.disk = .good }
            world.send(.notWritten("it took too long"))
            if let order = machine.state.order, random.below(2) == 0 {
                world.epoch = max(world.epoch, order.epoch)
                world.share = order.share
                world.send(.confirmed(epoch: order.epoch, timeToConclude: nil))
            }
        }

        private func check(_ before: RolloutMachine) {
            let old = before.state, new = world.machine.state
            if old.phase.hasEnded { #expect(new.phase == old.phase) }
            if old.phase.goesBack { #expect(new.phase.goesBack, "\(old.phase) to \(new.phase)") }
            // Deadlines that are over have been met: no driver spins.
            if let left = world.machine.nextDeadline { #expect(left > .zero, "\(new.phase)") }
        }
    }

    @Test("no order raises the canary's share while paused, held, going back or awaiting approval")
    func noRise() {
        for seed in 1...120 as ClosedRange<UInt64> {
            var chaos = Chaos(seed: seed)
            for _ in 0..<100 { chaos.step() }
            var asked = 0
            for (order, phase) in chaos.world.orders {
                #expect(order.epoch >= asked, "seed \(seed): orders come in turn")
                asked = order.epoch
                let mayRise =
                    phase == .applying || phase == .finishing || phase == .watching
                    || phase == .succeeded || phase == .entering
                #expect(order.goesBack || mayRise, "seed \(seed): \(phase)")
                if phase.goesBack { #expect(order.goesBack) }
            }
        }
    }

    @Test("no share beyond a gate is asked for before somebody who may has approved it")
    func gates() {
        for seed in 1...120 as ClosedRange<UInt64> {
            var chaos = Chaos(seed: seed)
            var isForced = false
            for _ in 0..<100 {
                chaos.step()
                if chaos.story.last == "finish" { isForced = true }
                let state = chaos.world.machine.state
                guard !isForced, let order = state.order, !order.goesBack else { continue }
                let approved = Set(state.approvals.map(\.stage))
                for (index, stage) in state.plan.stages.enumerated() {
                    guard let approval = stage.approval, !chaos.isPassedOver(index),
                        index < state.stage
                            || index == state.stage && approval.isBefore
                                && [.applying, .watching].contains(state.phase)
                    else { continue }
                    #expect(approved.contains(stage.name), "seed \(seed), stage \(stage.name)")
                }
                for given in state.approvals {
                    let approval = state.plan.stages.first { $0.name == given.stage }?.approval
                    if let by = approval?.by, !by.isEmpty { #expect(by.contains(given.by)) }
                    if approval?.notStarter == true { #expect(given.by != "anna") }
                }
            }
        }
    }

    @Test("from every state a trip sends users back at once, whatever the disk does")
    func trips() {
        var phases: Set<RolloutPhase> = []
        for seed in 1...200 as ClosedRange<UInt64> {
            var chaos = Chaos(seed: seed)
            for _ in 0..<60 {
                chaos.step()
                guard !chaos.world.machine.state.phase.goesBack, !chaos.world.phase.hasEnded else {
                    continue
                }
                phases.insert(chaos.world.phase)
                // A copy is tripped: the rollout itself goes on.
                var machine = chaos.world.machine
                let effects = machine.handle(.tripped("6 errors"), now: chaos.world.now)
                // One that takes everything back may be under way already.
                let order =
                    effects.compactMap {
                        if case .setWeights(let order) = $0 { order } else { nil }
                    }.last ?? machine.state.order
                let isAble = machine.status.phase == .rollingBack
                #expect(order?.goesBack == true && order?.rules.isEmpty == true, "seed \(seed)")
                if isAble { #expect(order?.share == 0) }
                #expect(machine.state.phase.goesBack && machine.state.reason?.code == .tripped)
                if let order, let index = effects.firstIndex(of: .setWeights(order)) {
                    let write = effects.firstIndex {
                        if case .write = $0 { true } else { false }
                    }
                    if let write { #expect(index < write, "the weights do not wait for the disk") }
                }
            }
        }
        let standing: Set<RolloutPhase> = [
            .entering, .applying, .watching, .awaiting, .held, .paused, .finishing,
        ]
        #expect(phases == standing)
    }

    @Test("the records lead to the machine's own state, to the bit, after every event")
    func folds() throws {
        for seed in 1...40 as ClosedRange<UInt64> {
            var chaos = Chaos(seed: seed, keepsJournal: true)
            for _ in 0..<100 { chaos.step() }
            #expect(chaos.world.differences == 0, "seed \(seed)")
            chaos.world.disk = .good
            chaos.world.send(.notWritten("it took too long"))
            chaos.world.pass(5)
            let reading = try chaos.world.reading()
            #expect(chaos.world.machine.isWritten && reading.torn == 0, "seed \(seed)")
            #expect(reading.fold.sequence == chaos.world.machine.sequence, "seed \(seed)")
        }
    }

    @Test(
        "a killed process is followed by one that goes on where it was, and no weight rises by it")
    func killed() throws {
        var phases: Set<RolloutPhase> = []
        for seed in 1...40 as ClosedRange<UInt64> {
            var chaos = Chaos(seed: seed, keepsJournal: true)
            for _ in 0..<20 {
                for _ in 0..<5 { chaos.step() }
                guard !chaos.world.journal.isEmpty else { continue }
                let share = chaos.world.share, old = chaos.world.machine
                // What was in the air is answered by nobody.
                chaos.world.disk = .good
                chaos.world.weights = .never
                let count = chaos.world.orders.count
                try chaos.world.restart()
                let new = chaos.world.machine
                phases.insert(new.state.phase)
                for (order, phase) in chaos.world.orders[count...] where order.share > share {
                    #expect(phase == .applying || phase == .finishing, "seed \(seed): \(phase)")
                }
                if old.isWritten, old.state.phase.goesBack { #expect(new.state.phase.goesBack) }
                if old.state.phase.hasEnded, old.isWritten {
                    #expect(new.state.phase == old.state.phase)
                }
                chaos.world.weights = .good
                chaos.world.send(.endpoints(canary: 4, stable: 4))
                chaos.world.pass(5)
            }
        }
        #expect(phases.count >= 9, "\(phases)")
    }
}

extension RolloutInvariantTests.Chaos {
    func isPassedOver(_ index: Int) -> Bool {
        world.machine.status.stages[index].place == .passedOver
    }
}
