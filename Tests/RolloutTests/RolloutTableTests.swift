import Base
import Foundation
import Rollout
import Testing

@Suite("Every state and every event of a rollout")
struct RolloutTableTests {
    /// The stage `small` has 1 %, `gate` is left only with an approval.
    static var plan: RolloutPlan {
        var plan = Plans.plan([
            Plans.stage("small", 100),
            Plans.stage("gate", 500) { $0.approval = RolloutPlan.Approval() },
            Plans.stage("half", 5_000) { $0.windows = ["Mon-Fri 09:00-16:00"] },
            Plans.stage("all", 10_000) { $0.holdBack = 200 },
        ])
        var metric = RolloutPlan.Metric(name: "conversion", source: .command(["check.sh"]))
        metric.onFailure = .rollback
        plan.metrics = [metric]
        plan.judge.onInconclusive = .hold
        return plan
    }

    /// A rollout in each phase.
    static func world(in phase: RolloutPhase) -> RolloutWorld {
        var world = RolloutWorld(plan)
        func next(_ world: inout RolloutWorld) {
            world.pass(60)
            world.look(.healthy)
        }
        switch phase {
        case .entering, .applying:
            if phase == .entering { world.isWindowOpen = false }
            next(&world)
            next(&world)
            if phase == .applying { world.weights = .never }
            world.approve()
        case .watching: world.pass(60)
        case .awaiting:
            next(&world)
            next(&world)
        case .held: world.look(.inconclusive)
        case .paused: world.say(.pause)
        case .finishing, .succeeded:
            if phase == .finishing { world.weights = .never }
            world.say(.finish(force: true))
        case .rollingBack:
            world.weights = .never
            world.say(.abort(force: false))
        case .blocked:
            world.send(.endpoints(canary: 4, stable: 0))
            world.say(.abort(force: false))
        case .rolledBack: world.send(.tripped("6 errors"))
        case .superseded: world.send(.canaryRevision("1.5.0"))
        case .aborted: world.say(.abort(force: false))
        }
        return world
    }

    /// Every event, by the words that the table has for it.
    static func events(
        _ state: RolloutState
    ) -> [(group: String, name: String, event: RolloutEvent)] {
        let stage = state.plan.stages[state.stage].name
        func say(_ command: RolloutCommand) -> RolloutEvent { .command(command, by: "ben") }
        let people: [(String, RolloutCommand)] = [
            ("approve", .approve(id: state.run.id, stage: stage)),
            ("approve, of another stage", .approve(id: state.run.id, stage: "other")),
            ("look", .look), ("pause", .pause), ("resume", .resume),
            ("skip, the stage of now", .skip(stage: stage)),
            ("finish", .finish(force: false)), ("finish --force", .finish(force: true)),
            ("abort", .abort(force: false)), ("abort --force", .abort(force: true)),
            ("retry", .retry), ("start --supersede", .supersede),
        ]
        let looks = Verdict.Kind.allCases.map { kind in
            ("the judge's look", "\(kind)", RolloutEvent.look(Verdict(kind, "why"), judge: "{}"))
        }
        let epoch = state.order?.epoch ?? 0
        let world: [(String, RolloutEvent)] = [
            ("trip of the guard", .tripped("6 errors")),
            ("metric failed, `onFailure: rollback`", .metricFailed(name: "conversion", text: "0")),
            ("metric failed, unknown", .metricFailed(name: "other", text: "0")),
            ("weights in force", .confirmed(epoch: epoch, timeToConclude: nil)),
            ("weights refused", .refused(epoch: epoch, text: "no disk")),
            ("window open", .window(stage: state.stage, isOpen: true, text: "")),
            ("`when` false", .when(stage: state.stage, holds: false, text: "")),
            ("hook failed", .hook(stage: state.stage, hook: 0, result: .failed("no"))),
            ("endpoints there", .endpoints(canary: 4, stable: 4)),
            ("endpoints gone", .endpoints(canary: 0, stable: 0)),
            ("the file's weights changed", .drift("v1 50 %")),
            ("the file agrees again", .driftEnded),
            ("weights set by hand", .weightsByHand(by: "ben")),
            ("another revision of the canary", .canaryRevision("2.0.0")),
            ("another revision of the stable version", .stableRevision("2.0.0")),
            ("canary removed from the file", .canaryRemoved),
            ("too few processes report", .quorumLost("2 of 10")),
            ("an hour passes", .time(monotonic: .seconds(3_600), wall: .seconds(3_600))),
            ("journal not written", .notWritten("no space left")),
        ]
        return people.map { ("a person's command", $0.0, say($0.1)) } + looks
            + world.map { ("the world", $0.0, $0.1) }
    }

    /// The next state after an event, or a refusal.
    static func outcome(_ world: RolloutWorld, _ event: RolloutEvent) -> (String, String?) {
        var machine = world.machine
        let effects = machine.handle(event, now: world.now, ask: 1)
        for effect in effects {
            if case .refuse(_, let text) = effect { return ("refused", text) }
        }
        let next = machine.state.phase
        if next != world.phase { return ("**\(next.words)**", nil) }
        if machine.state.stage != world.machine.state.stage { return ("next stage", nil) }
        return ("·", nil)
    }

    static func page() -> String {
        let phases = RolloutPhase.allCases
        let worlds = phases.map { world(in: $0) }
        var out = """
            # States of a rollout

            <!-- Written by the test RolloutTableTests: SLUICE_WRITE=1 swift test --filter RolloutTableTests -->

            Each cell says in which state a rollout is right after an event, before anything that it then asks for has been answered: a bold word is
            another state, · the same one. The rollout of this page has the stages small (1 %), gate (5 %, left only with an approval), half (50 %, in a window)
            and all (100 %, `holdBack: 2%`); it is in the stage that shows most of each state.

            ## Steps

            | from | to |
            |---|---|

            """
        for phase in phases {
            let next = RolloutPhase.table.filter { $0.hasPrefix("\(phase) -> ") }
                .compactMap { step in
                    RolloutPhase.allCases.first { step == "\(phase) -> \($0)" }?.words
                }
            out +=
                "| \(phase.words) | \(next.isEmpty ? "never left" : next.joined(separator: ", ")) |\n"
        }
        var refusals: [String] = []
        let all = worlds.map { events($0.machine.state) }
        for group in ["a person's command", "the judge's look", "the world"] {
            out +=
                "\n## After \(group)\n\n| event | \(phases.map(\.words).joined(separator: " | ")) |\n"
            out += "|---|" + String(repeating: "---|", count: phases.count) + "\n"
            for index in all[0].indices where all[0][index].group == group {
                let cells = worlds.indices.map { outcome(worlds[$0], all[$0][index].event) }
                out += "| \(all[0][index].name) | \(cells.map(\.0).joined(separator: " | ")) |\n"
                for (phase, cell) in zip(phases, cells) {
                    guard let text = cell.1 else { continue }
                    refusals.append("| \(all[0][index].name) | \(phase.words) | \(text) |")
                }
            }
        }
        out +=
            "\n## Answers to commands that are refused\n\n| command | state | answer |\n|---|---|---|\n"
        return out + refusals.joined(separator: "\n") + "\n"
    }

    @Test("the rollout of each column is in the state of the column")
    func columns() {
        for phase in RolloutPhase.allCases {
            #expect(RolloutTableTests.world(in: phase).phase == phase)
        }
    }

    @Test("docs/rollouts-states.md says what the machine does")
    func document() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let file = root.appendingPathComponent("docs/rollouts-states.md")
        let page = RolloutTableTests.page()
        if ProcessInfo.processInfo.environment["SLUICE_WRITE"] != nil {
            try page.write(to: file, atomically: true, encoding: .utf8)
        }
        let found = try String(contentsOf: file, encoding: .utf8)
        #expect(found == page, "SLUICE_WRITE=1 swift test --filter RolloutTableTests")
    }

    @Test("every refused command says what to do, and changes nothing")
    func refusals() {
        for phase in RolloutPhase.allCases {
            let world = RolloutTableTests.world(in: phase)
            for (_, name, event) in RolloutTableTests.events(world.machine.state) {
                guard let text = RolloutTableTests.outcome(world, event).1 else { continue }
                #expect(text.count > 20, "\(name) in \(phase)")
                var machine = world.machine
                _ = machine.handle(event, now: world.now)
                #expect(machine == world.machine, "\(name) in \(phase)")
            }
        }
    }

    @Test("each step that the diagram has is in the table, and no others")
    func diagram() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let file = root.appendingPathComponent("Sources/Policy/Rollout/RolloutPhase.swift")
        let lines = try String(contentsOf: file, encoding: .utf8).components(separatedBy: "\n")
        let drawn = lines.compactMap { line -> String? in
            guard line.hasPrefix("///     "), let arrow = line.range(of: "──▶ ") else { return nil }
            return "\(line.dropFirst(8).prefix { $0.isLetter }) -> \(line[arrow.upperBound...])"
        }
        #expect(drawn.sorted() == RolloutPhase.table.sorted())
    }
}
