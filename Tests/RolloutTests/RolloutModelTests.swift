import Base
import Rollout
import Testing

@Suite("Rollouts at random")
struct RolloutModelTests {
    /// A plan of everything that a draw says.
    static func plan(_ random: inout PRNG) -> RolloutPlan {
        func isDrawn(_ random: inout PRNG, _ oneIn: UInt64) -> Bool { random.below(oneIn) == 0 }
        var stages: [RolloutPlan.Stage] = []
        let weights: [Int?] = [0, 100, 500, nil, 5_000, 10_000]
        for (index, weight) in weights.enumerated() where !isDrawn(&random, 4) {
            var stage = RolloutPlan.Stage(name: "s\(index)", weight: weight)
            if weight == 0 { stage.match = "{ path: /beta }" }
            if isDrawn(&random, 3) {
                var approval = RolloutPlan.Approval()
                approval.isBefore = isDrawn(&random, 2)
                approval.notStarter = isDrawn(&random, 2)
                if isDrawn(&random, 2) { approval.by = ["ben"] }
                if isDrawn(&random, 2) { approval.timeout = .seconds(3_600) }
                if isDrawn(&random, 2) { approval.onTimeout = .rollback }
                stage.approval = approval
            }
            if isDrawn(&random, 3) {
                stage.when = "branch == \"main\""
                stage.onFalse = RolloutPlan.OnFalse.allCases[Int(random.below(3))]
            }
            if isDrawn(&random, 3) { stage.windows = ["Mon-Fri 09:00-16:00"] }
            if weight == 10_000, isDrawn(&random, 2) { stage.holdBack = 200 }
            if isDrawn(&random, 2) { stage.minTime = .seconds(120) }
            if isDrawn(&random, 2) { stage.maxTime = .seconds(3_600) }
            stages.append(stage)
        }
        if stages.isEmpty { stages = [RolloutPlan.Stage(name: "s5", weight: 10_000)] }
        var plan = Plans.plan(stages)
        plan.minEndpoints = 1 + Int(random.below(2))
        if isDrawn(&random, 2) { plan.maxDuration = .seconds(20_000) }
        if isDrawn(&random, 3) { plan.judge.onRegression = .hold }
        plan.judge.onInconclusive = [.hold, .ask, .advance, .rollback][Int(random.below(4))]
        var hook = RolloutPlan.Hook(call: .command(["check.sh"]))
        hook.before = "s4"
        var told = RolloutPlan.Hook(
            call: .webhook(url: "https://hooks.example/", secretFile: nil, format: .sluice))
        told.events = RolloutPlan.Hook.Event.allCases
        plan.hooks = [hook, told]
        return plan
    }

    /// Does one thing to both, and says what.
    static func step(
        _ world: inout RolloutWorld, _ model: inout RolloutModel, _ random: inout PRNG
    ) -> String {
        let people = ["anna", "ben", "cleo"]
        let by = people[Int(random.below(3))]
        switch random.below(34) {
        case 0...7:
            let seconds = [1, 30, 60, 120, 900, 3_600][Int(random.below(6))]
            model.pass(seconds)
            world.pass(Int64(seconds))
            return "pass \(seconds)"
        case 8...15:
            let kinds: [Verdict.Kind] = [
                .healthy, .healthy, .healthy, .watching, .noData, .commonCause, .external,
                .inconclusive,
            ]
            let kind = kinds[Int(random.below(8))]
            model.look(kind)
            world.look(kind)
            return "look \(kind)"
        case 16:
            let kind = Verdict.Kind.allCases[Int(random.below(9))]
            model.look(kind)
            world.look(kind)
            return "look \(kind)"
        case 17...20:
            model.approve(by)
            world.approve(by: by)
            return "approve by \(by)"
        case 21:
            model.pause()
            world.say(.pause)
            return "pause"
        case 22...23:
            model.resume()
            world.say(.resume)
            return "resume"
        case 24:
            if random.below(6) > 0 { return "nothing" }
            let force = random.below(2) == 0
            model.abort(byForce: force)
            world.say(.abort(force: force))
            return "abort \(force)"
        case 25...26:
            model.lookAgain()
            world.say(.look)
            return "look again"
        case 27:
            let index = Int(random.below(UInt64(model.plan.stages.count)))
            model.skip(index)
            world.say(.skip(stage: model.plan.stages[index].name))
            return "skip \(index)"
        default: return rare(&world, &model, &random)
        }
    }

    /// Changes of the world.
    private static func rare(
        _ world: inout RolloutWorld, _ model: inout RolloutModel, _ random: inout PRNG
    ) -> String {
        switch random.below(12) {
        case 0:
            if random.below(10) > 0 { return "nothing" }
            model.finish()
            world.say(.finish(force: true))
            return "finish"
        case 1...2:
            let isOpen = random.below(2) == 0
            model.isWindowOpen = isOpen
            world.isWindowOpen = isOpen
            if model.phase == .entering { model.goThrough() }
            world.send(.window(stage: world.machine.state.stage, isOpen: isOpen, text: "told"))
            return "window \(isOpen)"
        case 3:
            let when: Bool? = [true, false, nil][Int(random.below(3))]
            model.when = when
            world.whens = when
            return "when \(String(describing: when))"
        case 4:
            let passes = random.below(2) == 0
            model.hookPasses = passes
            world.hooks = passes ? .passed : .failed("no")
            return "hook \(passes)"
        case 5...7:
            let canary = Int(random.below(4)), stable = Int(random.below(5))
            model.endpoints(canary, stable)
            world.send(.endpoints(canary: canary, stable: stable))
            return "endpoints \(canary) \(stable)"
        case 8:
            if !model.isBack {
                model.drift = true
                model.pause()
            }
            world.send(.drift("v1 50 %"))
            return "drift"
        case 9...10:
            model.drift = false
            world.send(.driftEnded)
            return "drift ended"
        default:
            model.pause()
            world.send(.weightsByHand(by: "cleo"))
            return "weights by hand"
        }
    }

    @Test("a thousand rollouts at random go as a slow and obvious model says, step by step")
    func model() {
        var reached: [RolloutPhase: Int] = [:]
        for seed in 1...1_000 as ClosedRange<UInt64> {
            var random = PRNG(seed: seed)
            let plan = RolloutModelTests.plan(&random)
            var model = RolloutModel(plan), world = RolloutWorld(plan)
            var story: [String] = []
            world.keepsJournal = false
            for _ in 0..<80 {
                let stage = world.machine.state.stage
                guard model.phase == world.phase, model.isOver || model.stage == stage else {
                    Issue.record(
                        """
                        seed \(seed): model \(model.phase) \(model.stage), machine \(world.phase) \
                        \(stage) after \(story.suffix(12)), \(world.logs.suffix(4))
                        """)
                    return
                }
                let state = world.machine.state
                #expect(world.machine.state.phase != .watching || world.share == model.share)
                story.append(RolloutModelTests.step(&world, &model, &random))
                if state.phase.hasEnded { #expect(world.phase == state.phase) }
                reached[world.phase, default: 0] += 1
            }
            #expect(world.differences == 0, "seed \(seed)")
        }
        let missing = RolloutPhase.allCases.filter { reached[$0] == nil }
        #expect(missing == [.applying, .finishing, .rollingBack, .superseded], "\(missing)")
    }
}
