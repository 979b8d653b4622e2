import Base
import Rollout
import Testing

@Suite("Rules of a rollout")
struct RolloutRuleTests {
    // MARK: Entering

    @Test("a stage waits for its window and goes back from there all the same")
    func window() {
        var plan = Plans.plain
        plan.stages[0].windows = ["Mon-Fri 09:00-16:00"]
        var closed = RolloutWorld(plan)
        #expect(closed.phase == .watching, "an open window lets it in")
        closed.say(.pause)
        closed.isWindowOpen = false
        closed.say(.resume)
        #expect(closed.phase == .entering, "the window is asked for again after a pause")
        #expect(closed.machine.status.waitsFor == ["the window of stage small: opens Mon 09:00"])
        #expect(closed.machine.nextDeadline == .seconds(10))
        var tripped = closed
        tripped.send(.tripped("6 errors"))
        #expect(tripped.phase == .rolledBack && tripped.share == 0)
        closed.isWindowOpen = true
        closed.pass(10)
        #expect(closed.phase == .watching, "asked for every ten seconds")
    }

    @Test("`when` that cannot be told holds; false passes a stage over, but no gate")
    func when() {
        var plan = Plans.plain
        plan.stages[1].when = "branch == \"main\""
        func reach(_ plan: RolloutPlan, _ holds: Bool?) -> RolloutWorld {
            var world = RolloutWorld(plan)
            world.whens = holds
            world.pass(60)
            world.look(.healthy)
            return world
        }
        #expect(reach(plan, true).stage == "half")
        #expect(reach(plan, false).stage == "all")
        #expect(reach(plan, false).machine.status.stages[1].place == .passedOver)
        var unknown = reach(plan, nil)
        #expect(unknown.phase == .held && unknown.machine.state.reason?.code == .when)
        unknown.whens = true
        unknown.say(.look)
        #expect(unknown.phase == .watching && unknown.stage == "half")
        plan.stages[1].approval = RolloutPlan.Approval()
        #expect(reach(plan, false).phase == .held)
        plan.stages[1].onFalse = .rollback
        #expect(reach(plan, false).phase == .rolledBack)
        plan.stages[1].onFalse = .skip
        #expect(reach(plan, false).stage == "all")
    }

    @Test("a step forward waits for the canary's endpoints, and is held after readyWithin")
    func ready() {
        var plan = Plans.plain
        plan.minEndpoints = 3
        var world = RolloutWorld(plan)
        world.send(.endpoints(canary: 2, stable: 4))
        world.pass(60)
        world.look(.healthy)
        #expect(world.phase == .entering && world.share == 100)
        world.pass(599)
        #expect(world.phase == .entering)
        var late = world
        world.send(.endpoints(canary: 3, stable: 4))
        #expect(world.phase == .watching && world.share == 5_000)
        late.pass(1)
        #expect(late.phase == .held && late.machine.state.reason?.code == .endpoints)
        late.send(.endpoints(canary: 0, stable: 4))
        late.approve()
        #expect(late.refusals.last?.contains("no endpoint in rotation") == true)
        late.send(.endpoints(canary: 1, stable: 4))
        late.approve()
        #expect(late.phase == .watching, "a person may go with fewer")
    }

    @Test("a hook in front of a stage may ask to wait, fail and hold, roll back, or be ignored")
    func hooks() {
        func reach(
            _ onFailure: RolloutPlan.Hook.OnFailure, _ result: RolloutHookResult
        ) -> RolloutWorld {
            var plan = Plans.plain
            var hook = RolloutPlan.Hook(call: .command(["check.sh"]))
            hook.before = "half"
            hook.onFailure = onFailure
            plan.hooks = [hook]
            var world = RolloutWorld(plan)
            world.hooks = result
            world.pass(60)
            world.look(.healthy)
            return world
        }
        #expect(reach(.hold, .failed("exit 1")).phase == .held)
        #expect(reach(.rollback, .failed("exit 1")).phase == .rolledBack)
        #expect(reach(.ignore, .failed("exit 1")).stage == "half")
        var world = reach(.hold, .askAgain("not yet"))
        #expect(world.phase == .entering && world.machine.nextDeadline == .seconds(30))
        world.hooks = .passed
        world.pass(29)
        #expect(world.phase == .entering)
        world.pass(1)
        #expect(world.stage == "half" && world.phase == .watching)
    }

    // MARK: Approvals

    @Test("an approval is for one rollout and stage, by those who may, and counts once")
    func approvals() {
        var world = RolloutWorld(Plans.whole)
        world.pass(600)
        world.pass(60)
        world.look(.healthy)
        world.approve()
        #expect(world.refusals.last?.contains("no approval is asked for yet") == true)
        world.pass(60)
        world.look(.healthy)
        #expect(world.phase == .awaiting)
        let id = world.machine.state.run.id
        world.say(.approve(id: id, stage: "half"))
        #expect(world.refusals.last?.contains("now it is stage gate of reviews-1") == true)
        world.say(.approve(id: "reviews-0", stage: "gate"))
        #expect(
            world.refusals.last?.contains("the approval is for stage gate of reviews-0") == true)
        world.approve(by: "dan")
        #expect(world.refusals.last?.contains("approved by ben, cleo, and you are dan") == true)
        #expect(world.share == 100)
        world.approve(by: "ben")
        #expect(world.share == 5_000 && world.machine.state.approvals.map(\.by) == ["ben"])
        world.say(.approve(id: id, stage: "gate"))
        #expect(world.refusals.last?.contains("now it is stage half") == true)
        #expect(world.machine.state.approvals.count == 1)
    }

    @Test("whoever started may not approve where the plan says so, and nobody skips an approval")
    func starter() {
        var plan = Plans.plain
        plan.stages[0].approval = RolloutPlan.Approval()
        plan.stages[0].approval?.notStarter = true
        var world = RolloutWorld(plan)
        world.pass(60)
        world.look(.healthy)
        world.approve(by: "anna")
        #expect(world.refusals.last?.contains("somebody else than anna") == true)
        world.say(.skip(stage: "small"))
        #expect(world.refusals.last?.contains("nobody skips") == true)
        for stage in plan.stages.dropFirst().dropLast() { world.say(.skip(stage: stage.name)) }
        world.say(.skip(stage: plan.stages[plan.stages.count - 1].name))
        #expect(world.refusals.last?.contains("is the last one") == true)
        #expect(world.refusals.last?.contains("sluice rollout finish reviews --force") == true)
        world.say(.finish(force: false))
        #expect(world.refusals.last?.contains("--force") == true)
        #expect(world.phase == .awaiting)
        world.say(.finish(force: true), by: "cleo")
        #expect(world.phase == .succeeded && world.stable == "v2")
    }

    @Test("an approval before a stage is asked for before its weights, and its timeout acts")
    func before() {
        var plan = Plans.plain
        plan.stages[1].approval = RolloutPlan.Approval()
        plan.stages[1].approval?.isBefore = true
        plan.stages[1].approval?.timeout = .seconds(3_600)
        var world = RolloutWorld(plan)
        world.pass(60)
        world.look(.healthy)
        #expect(world.phase == .awaiting && world.share == 100 && world.stage == "half")
        var late = world
        world.approve()
        #expect(world.phase == .watching && world.share == 5_000)
        world.pass(60)
        world.look(.healthy)
        #expect(world.stage == "all", "one approval is enough")
        late.pass(3_600)
        #expect(late.phase == .held)
        late.say(.look)
        #expect(late.phase == .awaiting)
        late.pass(3_600)
        late.approve()
        #expect(late.phase == .watching && late.share == 5_000)
    }

    // MARK: Standing still

    @Test("a pause in the middle of a step forward gives the weights in force once more")
    func recall() {
        var world = RolloutWorld(Plans.plain)
        world.weights = .never
        world.pass(60)
        world.look(.healthy)
        #expect(world.phase == .applying && world.orders.last?.order.share == 5_000)
        world.say(.pause)
        let order = world.orders.last?.order
        #expect(order?.goesBack == true && order?.share == 100 && world.phase == .paused)
        // The late confirmation of the overtaken order changes nothing.
        world.send(.confirmed(epoch: (order?.epoch ?? 0) - 1, timeToConclude: nil))
        #expect(world.machine.status.shareConfirmed == 100)
    }

    @Test("drift pauses, and resume is refused with what to do until file and rollout agree")
    func drift() {
        var world = RolloutWorld(Plans.plain)
        world.send(.drift("v1 50 %, v2 50 %"))
        #expect(world.phase == .paused && world.machine.state.reason?.code == .drift)
        world.say(.resume)
        #expect(world.refusals.last?.contains("sluice weights follow reviews") == true)
        world.send(.driftEnded)
        #expect(world.machine.state.reason?.text.contains("sluice rollout resume reviews") == true)
        world.say(.resume)
        #expect(world.phase == .watching)
        world.send(.stableRevision("1.4.9"))
        #expect(world.phase == .paused, "the stable version is another one")
    }

    @Test("a stage goes on counting its time after a pause, and not during one")
    func pausedTime() {
        var world = RolloutWorld(Plans.plain)
        world.pass(40)
        world.say(.pause)
        world.pass(1_000)
        world.say(.resume)
        world.pass(19)
        world.look(.healthy)
        #expect(world.stage == "small")
        world.pass(1)
        world.look(.healthy)
        #expect(world.stage == "half")
    }

    @Test("a held rollout goes on by approve in spite of the reason, which is recorded")
    func inSpite() {
        var plan = Plans.plain
        plan.judge.onRegression = .hold
        var world = RolloutWorld(plan)
        world.look(.regression)
        #expect(world.phase == .held && world.share == 100)
        var again = world
        world.approve()
        #expect(world.stage == "half")
        #expect(world.machine.state.approvals.first?.inSpiteOf == "because of regression")
        again.say(.look)
        #expect(again.phase == .watching && again.machine.status.stageTime == .zero)
        again.send(.tripped("6 errors"))
        #expect(again.phase == .rolledBack, "a trip goes back whatever a regression does")
    }

    // MARK: Going back

    @Test(
        "too few endpoints of the stable version block a rollback, which goes as far as they allow")
    func blocked() {
        var world = RolloutWorld(Plans.plain)
        world.pass(60)
        world.look(.healthy)
        world.send(.endpoints(canary: 4, stable: 1))
        world.look(.regression)
        #expect(world.phase == .blocked && world.share == 5_000, "half of what it needs is there")
        world.send(.endpoints(canary: 4, stable: 0))
        #expect(world.share == 5_000)
        world.say(.abort(force: false))
        #expect(world.refusals.last?.contains("--force` does it now") == true)
        var forced = world
        forced.say(.abort(force: true))
        #expect(forced.phase == .rolledBack && forced.share == 0)
        world.send(.endpoints(canary: 4, stable: 2))
        #expect(world.phase == .rolledBack && world.share == 0)
    }

    @Test("a stage with a long least time is not over before the judge can call it healthy")
    func longLeastTime() {
        var world = RolloutWorld(
            Plans.plan([
                Plans.stage("small", 100) { $0.minTime = .seconds(3_600) },
                Plans.stage("all", 10_000) {
                    $0.holdBack = 200
                    $0.watch = .seconds(1_800)
                },
            ]))
        world.look(.watching)
        world.pass(3_600)
        #expect(world.phase == .watching, "half an hour would have been over")
        world.look(.healthy)
        #expect(world.stage == "all")
        world.look(.watching)
        world.pass(1_800)
        #expect(world.phase == .watching)
        world.look(.healthy)
        #expect(world.phase == .succeeded)
    }

    @Test(
        "a hook is told once that a rollback is blocked, with why and the way out, and of its end")
    func blockedNotice() {
        var plan = Plans.plain
        var hook = RolloutPlan.Hook(
            call: .webhook(url: "https://hooks.example/x", secretFile: nil, format: .sluice))
        hook.events = [.rollbackBlocked, .rolledBack]
        plan.hooks = [hook]
        var world = RolloutWorld(plan)
        world.send(.endpoints(canary: 4, stable: 0))
        #expect(world.notices.isEmpty, "nothing goes back yet")
        world.send(.tripped("6 errors"))
        #expect(world.phase == .blocked)
        #expect(world.notices.map(\.event) == [.rollbackBlocked])
        #expect(world.notices.first?.phase == .blocked)
        let text = world.notices.first?.text ?? ""
        #expect(text.contains("v1 has 0 of the 2 endpoints in rotation"))
        #expect(text.contains("`sluice rollout abort reviews --force` does it now"))
        world.send(.endpoints(canary: 4, stable: 1))
        world.look(.regression)
        world.pass(60)
        #expect(world.phase == .blocked && world.notices.count == 1, "told once")
        world.send(.endpoints(canary: 4, stable: 4))
        #expect(world.phase == .rolledBack)
        #expect(world.notices.map(\.event) == [.rollbackBlocked, .rolledBack])
        // Whoever did not ask for this event is not told.
        plan.hooks[0].events = [.rolledBack]
        var quiet = RolloutWorld(plan)
        quiet.send(.endpoints(canary: 4, stable: 0))
        quiet.say(.abort(force: false))
        #expect(quiet.phase == .blocked && quiet.notices.isEmpty)
    }

    @Test("the way back behind a success names every version that has a share")
    func wayBackOfThree() {
        var world = RolloutWorld(Plans.plain) { $0.sharesBack = "v1=90% v2=0% v3=10%" }
        world.say(.finish(force: true))
        world.say(.abort(force: false))
        #expect(
            world.refusals.last?.contains("sluice weights set reviews v1=90% v2=0% v3=10%") == true)
    }

    @Test("an abort that is blocked says so, why, and how it is done by force")
    func blockedAbort() {
        var world = RolloutWorld(Plans.plain)
        world.send(.endpoints(canary: 4, stable: 0))
        world.say(.abort(force: false))
        #expect(world.phase == .blocked)
        let answer = world.answers.last ?? ""
        #expect(answer.contains("rollback blocked: v1 has 0 of the 2 endpoints"))
        #expect(answer.contains("`sluice rollout abort reviews --force` does it now"))
        #expect(!answer.contains("weight 0"))
        var well = RolloutWorld(Plans.plain)
        well.say(.abort(force: false))
        #expect(well.answers.last == "reviews-1: v2 goes back to weight 0")
        var dry = RolloutWorld(Plans.plain) { $0.isDryRun = true }
        dry.say(.abort(force: false))
        #expect(dry.answers.last?.contains("no weight has changed") == true)
        #expect(
            dry.logs.allSatisfy { !$0.contains("are in force") && !$0.contains("has weight 0") })
    }

    @Test("whatever has ended says the way on that is not refused")
    func wayOn() {
        var world = RolloutWorld(Plans.plain)
        world.say(.finish(force: true))
        #expect(world.phase == .succeeded)
        let back = "sluice weights set reviews v1=100% v2=0%"
        func retry() -> String? {
            RolloutMachine.mayStart(
                Plans.plain, canaryRevision: "1.4.2", after: world.machine, isRetry: true)
        }
        for command in [RolloutCommand.abort(force: false), .pause, .resume, .look, .retry] {
            world.say(command)
            #expect(world.refusals.last?.contains(back) == true)
            #expect(world.refusals.last?.contains("rollout start") == false)
        }
        #expect(retry()?.contains(back) == true && retry()?.contains("start") == false)
        world = RolloutWorld(Plans.plain)
        world.send(.tripped("6 errors"))
        world.say(.abort(force: false))
        #expect(world.refusals.last?.contains("sluice rollout retry reviews") == true)
        #expect(retry() == nil)
        world = RolloutWorld(Plans.plain)
        world.say(.abort(force: false))
        world.say(.pause)
        #expect(world.refusals.last?.contains("sluice rollout start reviews") == true)
    }

    @Test("a newer revision of the canary supersedes, and one that is removed is rolled back")
    func revisions() {
        var world = RolloutWorld(Plans.plain)
        world.send(.canaryRevision("1.4.2"))
        #expect(world.phase == .watching, "the same revision is no news")
        world.send(.canaryRevision("1.5.0"))
        #expect(world.phase == .superseded && world.share == 0)
        var removed = RolloutWorld(Plans.plain)
        removed.send(.endpoints(canary: 0, stable: 0))
        removed.send(.canaryRemoved)
        #expect(removed.phase == .rolledBack, "nothing is left that could be waited for")
    }

    @Test("the same revision starts again only with retry, and one rollout runs at a time")
    func mayStart() {
        var world = RolloutWorld(Plans.plain)
        func may(_ revision: String, _ isRetry: Bool) -> String? {
            RolloutMachine.mayStart(
                Plans.plain, canaryRevision: revision, after: world.machine, isRetry: isRetry)
        }
        #expect(may("1.4.3", false)?.contains("--supersede") == true)
        world.send(.tripped("6 errors"))
        #expect(may("1.4.2", false)?.contains("sluice rollout retry reviews") == true)
        #expect(may("1.4.2", true) == nil && may("1.4.3", false) == nil)
        #expect(may("1.4.3", true)?.contains("sluice rollout start reviews") == true)
        world = RolloutWorld(Plans.plain) { $0.isDryRun = true }
        world.send(.tripped("6 errors"))
        #expect(may("1.4.2", false) == nil, "a dry run has gone back with nobody")
    }

    // MARK: Policies

    @Test("a stage of weight 0 % is not judged, and ends by its time")
    func unjudged() {
        var world = RolloutWorld(Plans.whole)
        for kind in [Verdict.Kind.inconclusive, .noData, .healthy] {
            world.look(kind)
            #expect(world.phase == .watching && world.stage == "testers")
        }
        world.look(.commonCause)
        world.pass(700)
        #expect(world.stage == "testers", "something stands against it")
        world.look(.watching)
        world.pass(1)
        #expect(world.stage == "small")
    }

    @Test("maxTime is three times the time to a conclusion, half an hour at least, a day at most")
    func maxTimes() {
        for (estimate, wanted) in [(60, 1_800), (3_600, 10_800), (40_000, 86_400)]
            as [(Int64, Int64)]
        {
            var world = RolloutWorld(Plans.plain)
            world.timeToConclude = .seconds(estimate)
            world.pass(60)
            world.look(.healthy)
            #expect(world.machine.state.maxTime == .seconds(wanted))
        }
    }

    @Test("an inconclusive stage does what the plan says")
    func inconclusive() {
        func end(_ policy: RolloutPlan.OnInconclusive, synthetic: Bool = false) -> RolloutWorld {
            var plan = Plans.plain
            plan.judge.onInconclusive = policy
            if synthetic { plan.synthetic = RolloutPlan.Synthetic(path: "/healthz") }
            var world = RolloutWorld(plan)
            world.look(.noData)
            world.pass(1_800)
            return world
        }
        #expect(end(.hold).phase == .held)
        #expect(end(.ask).phase == .awaiting)
        #expect(end(.advance).stage == "half")
        #expect(end(.rollback).phase == .rolledBack)
        #expect(end(.synthetic).phase == .held, "the plan has no such requests")
        var world = end(.synthetic, synthetic: true)
        #expect(world.phase == .watching && world.machine.status.isSynthetic)
        world.pass(1_800)
        #expect(world.phase == .held, "once")
    }

    @Test("a metric goes back or holds as the plan says")
    func metrics() {
        var plan = Plans.plain
        var metric = RolloutPlan.Metric(name: "queue", source: .command(["lag.sh"]))
        metric.onFailure = .hold
        plan.metrics = [metric, RolloutPlan.Metric(name: "smoke", source: .command(["s.sh"]))]
        var world = RolloutWorld(plan)
        world.send(.metricFailed(name: "queue", text: "1,200 > 1,000"))
        #expect(world.phase == .held && world.machine.state.reason?.code == .metric)
        world.send(.metricFailed(name: "smoke", text: "exit 1"))
        #expect(world.phase == .rolledBack)
    }
}
