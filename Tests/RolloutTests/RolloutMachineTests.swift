import Base
import Rollout
import Testing

@Suite("The machine of a rollout")
struct RolloutMachineTests {
    @Test("a good version goes through rule, gate, window, hook and hold-back and becomes stable")
    func good() throws {
        var world = RolloutWorld(Plans.whole)
        #expect(world.phase == .watching && world.stage == "testers" && world.share == 0)
        #expect(world.rules == ["{ headers: { x-user-group: beta } }"])
        world.look(.noData)
        world.pass(599)
        #expect(world.stage == "testers")
        world.pass(1)
        #expect(world.stage == "small" && world.share == 100 && world.phase == .watching)
        #expect(world.rules.count == 1, "the rule stays")
        world.look(.healthy)
        #expect(world.stage == "small", "not before minTime")
        world.pass(60)
        world.look(.healthy)
        #expect(world.stage == "gate" && world.share == 100, "it has the weight before it")
        world.pass(60)
        world.look(.healthy)
        #expect(world.phase == .awaiting)
        world.approve()
        #expect(world.stage == "half" && world.share == 5_000 && world.phase == .watching)
        world.pass(60)
        world.look(.healthy)
        #expect(world.stage == "all" && world.share == 9_800)
        world.pass(1_799)
        world.look(.healthy)
        #expect(world.phase == .watching)
        world.pass(1)
        world.look(.healthy)
        #expect(world.phase == .succeeded && world.share == 10_000 && world.stable == "v2")
        #expect(world.rules.isEmpty, "the rule is gone at the end")
        #expect(world.ends == [.succeeded])
        #expect(try world.reading().fold.state == world.machine.state)
    }

    @Test("a version that is worse goes back at once from every state, and stays there")
    func bad() throws {
        var world = RolloutWorld(Plans.whole)
        world.pass(600)
        world.look(.regression)
        #expect(world.phase == .rolledBack && world.share == 0 && world.stable == "v1")
        #expect(world.machine.state.reason?.text == "because of regression")
        world.say(.resume)
        #expect(world.refusals.last?.contains("sluice rollout start reviews") == true)
        world.look(.healthy)
        world.send(.tripped("again"))
        #expect(world.phase == .rolledBack && world.ends == [.rolledBack])
        #expect(try world.reading().fold.state == world.machine.state)
    }
}
