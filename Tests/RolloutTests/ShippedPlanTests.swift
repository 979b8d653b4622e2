import Base
import Configuration
import Foundation
import Rollout
import Testing

/// A rollout from its start to its end by the machine and the judge that ship, on counts that are
/// drawn second by second: hours pass in a moment.
struct RolloutCourse {
    var world: RolloutWorld
    var service: SyntheticService
    var judge: StageJudge
    private(set) var seconds = 0
    /// The second in which each stage was entered.
    private(set) var entered: [(stage: String, second: Int)] = []
    private(set) var verdicts: Set<Verdict.Kind> = []
    private var begun = 0
    /// Seconds between two looks of the judge: one, as in the process; a debug build's tests take
    /// fewer looks, which the judge's promises allow.
    private let lookEvery: Int

    init(_ plan: RolloutPlan, _ service: SyntheticService, lookEvery: Int = 10) {
        self.lookEvery = lookEvery
        // The process knows its traffic before a rollout begins.
        var service = service
        for _ in 0..<60 { _ = service.step() }
        let judge = StageJudge(plan.judge), sample = service.sample
        let times = plan.stages.indices.map {
            judge.forecast(StageTerms(plan, stage: $0), sample).timeToConclude
        }
        world = RolloutWorld(plan, timesToConclude: times)
        world.keepsJournal = false
        self.service = service
        self.judge = judge
        settle()
    }

    /// A second of traffic, the look behind it, and a person who approves whatever is asked.
    mutating func step() {
        let sample = service.step()
        seconds += 1
        world.pass(1)
        settle()
        guard !world.phase.hasEnded, seconds % lookEvery == 0 else { return }
        let verdict = judge.look(
            sample, .init(now: service.now, elapsed: world.machine.state.stageTime))
        verdicts.insert(verdict.kind)
        if verdict.kind == .healthy || world.phase == .awaiting { forecast(sample) }
        world.send(.look(verdict, judge: "{}"))
        if world.phase == .awaiting { world.approve(by: "cleo") }
        settle()
    }

    /// The weights in force are the traffic's, and the judge is in the machine's stage.
    private mutating func settle() {
        let share = Double(world.share) / 10_000
        if share != service.share { service.beginEpoch(share: share) }
        while begun < world.stagesBegun.count {
            let stage = world.stagesBegun[begun]
            var terms = StageTerms(world.machine.state.plan, stage: stage)
            terms.maxTime = world.machine.state.maxTime
            _ = judge.enter(terms, service.sample, now: service.now)
            entered.append((terms.name, seconds))
            begun += 1
        }
    }

    private mutating func forecast(_ sample: EvidenceSample) {
        let plan = world.machine.state.plan
        world.timesToConclude = plan.stages.indices.map {
            judge.forecast(StageTerms(plan, stage: $0), sample).timeToConclude
        }
    }
}

@Suite("The plans that ship") struct ShippedPlanTests {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    static func plan(_ name: String) throws -> RolloutPlan {
        let file = root.appendingPathComponent("config/examples/\(name)")
        let reading = ConfigurationReading(Array(try Data(contentsOf: file)))
        return try #require(reading.document?.rollouts?.plans.first)
    }

    static let isLong = ProcessInfo.processInfo.environment["SLUICE_LONG"] != nil

    /// The canary is as the stable version: one in a thousand requests fails. Times are spread around
    /// 50 ms in the long form, and are 50 ms in the short one, for drawing takes most of its time.
    static func course(_ plan: RolloutPlan, seed: UInt64, lookEvery: Int = 10) -> RolloutCourse {
        let version = SyntheticService.Version(errors: 0.001, hasTimes: isLong)
        var service = SyntheticService(
            seed: seed, share: 0, requestsPerSecond: 100, stable: version, canary: version)
        // The default of a route: the time to the first byte.
        service.timeLimit = .seconds(15)
        var course = RolloutCourse(plan, service, lookEvery: lookEvery)
        while !course.world.phase.hasEnded, course.seconds < 86_400 { course.step() }
        return course
    }

    @Test(
        "each ends well at 100 requests a second, where the version is healthy",
        arguments: ["rollout.yaml", "rollout-gate.yaml", "rollout-metrics.yaml"])
    func examples(name: String) throws {
        let isLong = ShippedPlanTests.isLong
        let plan = try ShippedPlanTests.plan(name)
        for seed in 0..<(isLong ? 20 : 1) as Range<UInt64> {
            let course = ShippedPlanTests.course(plan, seed: seed, lookEvery: isLong ? 1 : 10)
            let world = course.world
            #expect(
                world.phase == .succeeded, "seed \(seed): \(world.machine.state.reason?.text ?? "")"
            )
            #expect(world.share == 10_000 && world.stable == "v2")
            #expect(world.machine.state.plan == plan)
            #expect(Set(course.entered.map(\.stage)) == Set(plan.stages.map(\.name)))
            #expect(!course.verdicts.contains(.regression))
            if isLong {
                print("\(name), seed \(seed): \(course.entered), ended in \(course.seconds) s")
            }
        }
    }

    @Test("the shortest plan ends well within two hours, and each stage is as long as its forecast")
    func shortest() throws {
        let plan = try ShippedPlanTests.plan("rollout.yaml")
        #expect(plan.stages.map(\.weight) == [100, 500, 2_500, 5_000, 10_000])
        let course = ShippedPlanTests.course(plan, seed: 5)
        #expect(course.world.phase == .succeeded, "\(course.entered)")
        try #require(course.entered.count == 5)
        #expect(course.seconds <= 7_200, "\(course.entered)")
        // At 1 % of 100 requests a second docs/judge.md says 26 minutes without errors, and three
        // hours with 1 %; errors that the stable version alone happens to have make it shorter.
        let first = course.entered[1].second - course.entered[0].second
        #expect((1_200...3_600).contains(first), "\(first)")
        #expect(course.seconds - course.entered[4].second >= 600, "the last stage is watched")
    }

    @Test("the shortest plan goes back where the version has 1 % of errors for the old one's 0.1 %")
    func worse() throws {
        let stable = SyntheticService.Version(errors: 0.001, hasTimes: false)
        let service = SyntheticService(
            seed: 3, share: 0, requestsPerSecond: 100, stable: stable,
            canary: SyntheticService.Version(errors: 0.01, hasTimes: false))
        var course = RolloutCourse(try ShippedPlanTests.plan("rollout.yaml"), service)
        while !course.world.phase.hasEnded, course.seconds < 20_000 { course.step() }
        #expect(course.world.phase == .rolledBack && course.world.share == 0)
        #expect(course.world.machine.state.reason?.text.contains("errors") == true)
    }
}
