import Base
import Rollout
import Testing

@Suite("The plan of a rollout")
struct RolloutPlanTests {
    @Test("a plan that says nothing has a guard, a budget of one in a hundred, and starts by hand")
    func defaults() {
        let plan = RolloutPlan(name: "shop", service: "shop", canary: "v2", stages: [])
        #expect(plan.guardRatio == 10)
        #expect(plan.judge.falseRollbacks == 0.01)
        #expect(plan.start == .manual)
        #expect(plan.absolute.isEmpty)
    }
}
