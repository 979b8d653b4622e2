import Base
import Rollout
import Testing

@Suite("Metrics of a stage") struct StageMetricsTests {
    private static func at(_ seconds: Int) -> Instant {
        Instant(nanoseconds: UInt64(seconds) * 1_000_000_000)
    }

    private static func place(_ rollout: String, _ stage: Int) -> StageMetrics.Place {
        .init(rollout: rollout, stage: stage)
    }

    private static func plan(
        _ change: (inout RolloutPlan.Metric) -> Void = { _ in }
    ) -> RolloutPlan {
        var lag = RolloutPlan.Metric(name: "lag", source: .web(url: "http://a/", pointer: "/lag"))
        lag.max = 100
        lag.failures = 2
        lag.interval = .seconds(10)
        change(&lag)
        var plan = RolloutPlan(
            name: "shop", service: "shop", canary: "v2",
            stages: [.init(name: "one"), .init(name: "two")])
        plan.metrics = [lag]
        return plan
    }

    /// Asks and answers once.
    private func read(
        _ metrics: inout StageMetrics, _ value: Double, at place: StageMetrics.Place, _ second: Int
    ) throws -> String? {
        let question = try #require(metrics.questions(at: place, now: Self.at(second)).first)
        return metrics.take(.value(value), for: question, at: place, now: Self.at(second))
    }

    /// Metrics of a rollout that went back because the lag was too high twice.
    private func failed() throws -> StageMetrics {
        var metrics = StageMetrics()
        let place = Self.place("shop-2", 0)
        metrics.enter(place, Self.plan(), now: Self.at(100))
        #expect(try read(&metrics, 500, at: place, 100) == nil)
        #expect(
            try read(&metrics, 500, at: place, 110)
                == "lag is 500, at most 100 is wanted, 2 times in a row")
        return metrics
    }

    @Test("metrics of the rollout before are not asked and say nothing, until the stage is entered")
    func before() throws {
        var metrics = try failed()
        // The weights of the next rollout's stage are in force, and the journal does not have it yet.
        let next = Self.place("shop-3", 0)
        #expect(metrics.questions(at: next, now: Self.at(200)).isEmpty)
        #expect(metrics.obstacle(at: next) == "the stage has just been entered")
        metrics.enter(next, Self.plan(), now: Self.at(200))
        #expect(
            metrics.machines[0].facts
                == {
                    var facts = MetricMachine.Facts()
                    facts.word = .waits("lag was not asked yet")
                    return facts
                }())
        #expect(try read(&metrics, 500, at: next, 200) == nil, "1 of 2 in a row")
        #expect(try read(&metrics, 5, at: next, 210) == nil)
        #expect(metrics.obstacle(at: next) == nil)
    }

    @Test("an answer to a question of another rollout, stage or entry is dropped")
    func late() throws {
        var metrics = StageMetrics()
        let first = Self.place("shop-2", 0)
        metrics.enter(first, Self.plan { $0.failures = 1 }, now: Self.at(100))
        let question = try #require(metrics.questions(at: first, now: Self.at(100)).first)
        for place in [Self.place("shop-3", 0), Self.place("shop-2", 1), first] {
            var later = metrics
            later.enter(place, Self.plan { $0.failures = 1 }, now: Self.at(101))
            let newer = try #require(later.questions(at: place, now: Self.at(101)).first)
            let told = later.take(.value(500), for: question, at: place, now: Self.at(102))
            #expect(told == nil && later.machines[0].facts.valueCount == 0)
            #expect(later.take(.value(500), for: newer, at: place, now: Self.at(103)) != nil)
        }
        #expect(metrics.take(.value(500), for: question, at: first, now: Self.at(101)) != nil)
        #expect(metrics.take(.value(500), for: question, at: first, now: Self.at(101)) == nil)
    }

    @Test("a metric that has failed is not asked again, and fails once")
    func once() throws {
        var metrics = try failed()
        let place = Self.place("shop-2", 0)
        #expect(metrics.questions(at: place, now: Self.at(9_999)).isEmpty)
        #expect(metrics.obstacle(at: place)?.hasPrefix("metric lag is 500") == true)
    }

    @Test("failures altogether go on in the next stage of a rollout, and not in the next rollout")
    func total() throws {
        var metrics = try failed()
        metrics.enter(Self.place("shop-2", 1), Self.plan(), now: Self.at(200))
        #expect(metrics.machines[0].facts.failureCount == 2)
        metrics.enter(Self.place("shop-3", 0), Self.plan(), now: Self.at(300))
        #expect(metrics.machines[0].facts.failureCount == 0)
    }

    @Test("a metric that compares takes its word when both versions have answered")
    func compares() throws {
        var metrics = StageMetrics()
        let place = Self.place("shop-1", 0)
        let plan = Self.plan {
            $0.comparesStable = true
            $0.max = 2
        }
        metrics.enter(place, plan, now: Self.at(100))
        let questions = metrics.questions(at: place, now: Self.at(100))
        #expect(questions.map(\.version) == [.canary, .stable])
        _ = metrics.take(.value(3), for: questions[0], at: place, now: Self.at(101))
        #expect(metrics.machines[0].facts.valueCount == 0)
        _ = metrics.take(.value(2), for: questions[1], at: place, now: Self.at(102))
        #expect(
            metrics.machines[0].line == "lag is 1.5 times the stable version's, at most 2 is wanted"
        )
    }

    @Test("the line of a metric has its last value, or why there is none")
    func lines() throws {
        func line(
            _ reading: MetricReading?, _ change: (inout RolloutPlan.Metric) -> Void = { _ in }
        ) throws -> String {
            var metrics = StageMetrics()
            let place = Self.place("shop-1", 0)
            metrics.enter(place, Self.plan(change), now: Self.at(100))
            if let reading {
                let question = try #require(metrics.questions(at: place, now: Self.at(100)).first)
                _ = metrics.take(reading, for: question, at: place, now: Self.at(100))
            }
            return metrics.machines[0].line
        }
        #expect(try line(nil) == "lag was not asked yet")
        #expect(try line(.value(7)) == "lag is 7, at most 100 is wanted")
        #expect(try line(.value(500)) == "lag is 500, at most 100 is wanted (1 of 2 in a row)")
        let none = MetricReading.noValue("the answer is no JSON")
        #expect(try line(none) == "lag has no value: the answer is no JSON")
        #expect(
            try line(none) { $0.noValue = .pass }
                == "lag has no value: the answer is no JSON; noValue: pass lets the stage be left")
        #expect(try line(nil) { $0.stages = ["two"] } == "lag is not asked in this stage")
    }
}
