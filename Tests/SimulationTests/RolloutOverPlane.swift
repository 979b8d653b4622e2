import Base
import Configuration
import Foundation
import Rollout
import Simulation

/// A rollout by the machine, the judge and the data plane that ship, under the virtual clock. The
/// driver is the test's: what a disk, a hook or a person would say is said at once.
final class RolloutOverPlane {
    let service: JudgedService
    private(set) var machine: RolloutMachine
    private var judge: StageJudge
    private var generation: UInt64 = 1
    private var tripsTold = 0
    private var events: [RolloutEvent] = []
    /// When the canary had no share any more: by the guard's latch, or by weights in force.
    private(set) var offAt: Instant?

    /// Every route's own limit, by default: the time to the first byte.
    static let limit = Duration.seconds(15)

    /// Begins a rollout of one stage that ends only by the judge, the guard or a person.
    ///
    /// - Parameter share: of the canary, in percent.
    init(_ service: JudgedService, share: Int) {
        self.service = service
        var stage = RolloutPlan.Stage(name: "stage", weight: share * 100)
        stage.minTime = .seconds(86_400)
        stage.maxTime = .seconds(86_400)
        let plan = RolloutPlan(name: "s", service: "s", canary: "v2", stages: [stage])
        let run = RolloutRun(
            number: 1, plan: plan, stable: "v1", startedBy: "anna",
            startedAt: WallTime(microseconds: 0), share: 0, canaryEndpoints: 1,
            stableEndpoints: 1)
        judge = StageJudge(plan.judge)
        let started = RolloutMachine.start(run, after: 0, now: WallTime(microseconds: 0))
        machine = started.machine
        perform(started.effects)
    }

    var phase: RolloutPhase { machine.state.phase }
    var reason: String { machine.state.reason?.text ?? "" }

    private var wall: WallTime {
        WallTime(microseconds: Int64(service.world.now.nanoseconds / 1_000))
    }

    private func perform(_ effects: [RolloutEffect]) {
        for effect in effects { perform(effect) }
        while !events.isEmpty {
            let event = events.removeFirst()
            for effect in machine.handle(event, now: wall) { perform(effect) }
        }
    }

    private func perform(_ effect: RolloutEffect) {
        switch effect {
        case .write(let records, _):
            events.append(.written(sequence: records.last?.sequence ?? 0))
        case .setWeights(let order): set(order)
        case .beginStage(let stage, _, _):
            let terms = StageTerms(machine.state.plan, stage: stage)
            _ = judge.enter(
                terms, service.sample(limit: RolloutOverPlane.limit), now: service.world.now)
        case .notify(let notice): events.append(.notified(number: notice.number))
        default: break
        }
    }

    private func set(_ order: WeightsOrder) {
        generation += 1
        let shares: [Overlay.Share] = [.init("v1", 10_000 - order.share), .init("v2", order.share)]
        guard service.world.setWeights(shares, generation: generation) else {
            return events.append(.refused(epoch: order.epoch, text: "the guard has it out"))
        }
        if order.goesBack, order.share == 0, offAt == nil { offAt = service.world.now }
        events.append(.confirmed(epoch: order.epoch, timeToConclude: nil))
    }

    /// A second of traffic, and the look behind it.
    func pass(requests: Int) {
        service.pass(requests: requests)
        tellTrip()
        guard !phase.hasEnded, let sample = service.sample(limit: RolloutOverPlane.limit) else {
            return
        }
        perform(
            machine.handle(
                .time(monotonic: .seconds(1), wall: .seconds(1)), now: wall))
        let verdict = judge.look(
            sample, .init(now: service.world.now, elapsed: machine.state.stageTime))
        perform(machine.look(verdict, now: wall) { "" })
    }

    /// The latch acts at once; the control thread hears of it a little later.
    private func tellTrip() {
        guard let latch = service.world.latch(service: "s", version: "v2"),
            latch.tripCount > tripsTold, let trip = latch.lastTrip
        else { return }
        tripsTold = latch.tripCount
        offAt = trip.at
        judge.drop()
        perform(machine.handle(.tripped(trip.words(of: "v2")), now: wall))
    }
}
