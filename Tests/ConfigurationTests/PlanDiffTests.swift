import Configuration
import Testing

/// Changes of plans, as `sluice diff` tells them.
@Suite struct PlanDiffTests {
    static func difference(_ old: String, _ new: String) throws -> ConfigurationDiff {
        try #require(
            ConfigurationDiff(
                from: RolloutReadingTests.read(old), to: RolloutReadingTests.read(new)))
    }

    /// (the plan's keys before, after, the fields that differ)
    static let edits: [(String, String, [String])] = [
        ("", "guard: off", ["rollouts.plans.s.guard"]), ("", "guard: true", []),
        ("", "keepStable: 60m", []), ("", "keepStable: 2h", ["rollouts.plans.s.keepStable"]),
        ("", "name: s", []), ("judge: { minTime: 60s }", "", []),
        (
            "judge: { tolerate: { ratio: 1.2 } }", "judge: { tolerate: { ratio: 1.20 } }", []
        ),
        (
            "stages: [{ weight: 5% }, { weight: 100% }]",
            "stages: [{ weight: 5% }, { weight: 50% }, { weight: 100% }]",
            ["rollouts.plans.s.stages.2"]
        ),
        (
            "metrics: [{ name: a, command: [a, b, c] }]",
            "metrics: [{ name: a, command: [a, c, b] }]",
            ["rollouts.plans.s.metrics.a.command"]
        ),
        (
            "stages: [{ weight: 100%, window: \"09:00-10:00\" }]",
            "stages: [{ weight: 100%, window: [\"09:00-10:00\"] }]", []
        ),
    ]

    @Test(
        "plans are compared by what they mean; the arguments of a command have an order",
        arguments: edits)
    func compared(_ old: String, _ new: String, _ fields: [String]) throws {
        func plan(_ keys: String) -> String { "{ service: s, canary: v2, \(keys) }" }
        let difference = try PlanDiffTests.difference(plan(old), plan(new))
        #expect(difference.changes.map(\.place) == fields)
        let isSaid = difference.effects.contains(
            "a rollout of the plan s that is under way follows the plan that it began with")
        #expect(isSaid == !fields.isEmpty)
    }

    @Test("plans are known by their names, and by their services' where they have none")
    func named() throws {
        let one = "{ service: s, canary: v2 }", two = "{ name: b, service: s, canary: v3 }"
        let added = try PlanDiffTests.difference(one, "\(two)\n    - \(one)")
        #expect(added.changes.map(\.place) == ["rollouts.plans.b"])
        #expect(added.changes.map(\.kind) == [.added])
    }
}
