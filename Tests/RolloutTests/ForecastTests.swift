import Base
import Judge
import Rollout
import Testing

@Suite("What a plan says before it starts") struct ForecastTests {
    static func row(
        _ share: Double, _ unitsPerSecond: Double, errorRate: Double = 0, maxTime: Duration? = nil
    ) -> StageForecast {
        StageForecast(
            StageTerms(name: "stage", share: share, maxTime: maxTime),
            .init(unitsPerSecond: unitsPerSecond, errorRate: errorRate))
    }

    static func minutes(_ span: Duration?) -> Double {
        Double(span?.nanoseconds ?? -1) / 60e9
    }

    @Test("at 1 % of 100 requests a second a healthy canary is conclusive in half an hour to one")
    func onePercent() {
        for rate in [0.0, 0.0005, 0.001] {
            let row = ForecastTests.row(0.01, 100, errorRate: rate)
            let minutes = ForecastTests.minutes(row.timeToConclude)
            #expect((26...62).contains(minutes), "\(rate): \(minutes)")
        }
        // With more errors the half percent that is allowed is harder to show.
        let failing = ForecastTests.row(0.01, 100, errorRate: 0.01)
        #expect((160...190).contains(ForecastTests.minutes(failing.timeToConclude)))
    }

    @Test("the table of docs/judge.md is what the arithmetic says")
    func table() {
        let rows: [(errors: Double, units: [Int])] = [
            (0, [1_600, 1_600, 1_600, 1_600]), (0.001, [2_600, 2_800, 3_100, 3_300]),
            (0.01, [10_500, 12_700, 19_400, 28_800]), (0.05, [2_800, 3_400, 5_300, 8_000]),
        ]
        for row in rows {
            for (share, units) in zip([0.01, 0.05, 0.25, 0.5], row.units) {
                let found = ForecastTests.row(share, 100, errorRate: row.errors).unitsToConclude
                #expect(abs(Double(found ?? 0) / Double(units) - 1) < 0.025, "\(found ?? 0)")
            }
        }
    }

    @Test("units until conclusive are the fewest at which the bounds are close enough")
    func exact() {
        for (share, rate) in [(0.05, 0.0), (0.25, 0.01), (0.5, 0.1)] {
            let row = ForecastTests.row(share, 1_000, errorRate: rate)
            let units = Double(row.unitsToConclude ?? 0)
            func worst(_ units: Double) -> Double {
                let stable = units * (1 - share) / share
                let upper = ConfidenceSequence(
                    events: Int((units * rate).rounded()), units: Int(units), alpha: 0.025
                ).upper
                return upper
                    - ConfidenceSequence(
                        events: Int((stable * rate).rounded()), units: Int(stable), alpha: 0.025
                    ).lower
            }
            let allowed = max(0.005, min(0.02, rate / 2))
            #expect(worst(units * 1.05) <= allowed)
            #expect(worst(units * 0.9) > allowed)
        }
    }

    @Test("the longest time is three times the time to a conclusion, half an hour to a day")
    func maxTime() {
        #expect(Prospect.maxTime(timeToConclude: .seconds(10)) == .seconds(1_800))
        #expect(Prospect.maxTime(timeToConclude: .seconds(1_000)) == .seconds(3_000))
        #expect(Prospect.maxTime(timeToConclude: .seconds(40_000)) == .seconds(86_400))
        #expect(Prospect.maxTime(timeToConclude: .unlimited) == .seconds(86_400))
        #expect(Prospect.maxTime(timeToConclude: nil) == .seconds(86_400))
        let row = ForecastTests.row(0.01, 100)
        #expect(
            abs(ForecastTests.minutes(row.maxTime) - 3 * ForecastTests.minutes(row.timeToConclude))
                < 0.1)
    }

    @Test("a stage enters with the traffic of the epoch before, and keeps its longest time")
    func entry() {
        var service = SyntheticService(
            seed: 1, share: 0.01, requestsPerSecond: 100, stable: .init(hasTimes: false),
            canary: .init(hasTimes: false))
        for _ in 0..<30 { _ = service.step() }
        var judge = StageJudge()
        let time = judge.enter(
            StageTerms(name: "small", share: 0.01), service.sample, now: service.now)
        let row = ForecastTests.row(0.01, 100)
        #expect(time == row.maxTime && judge.maxTime == time)
        let fixed = judge.enter(
            StageTerms(name: "small", share: 0.01, maxTime: .seconds(7_200)), service.sample,
            now: service.now)
        #expect(fixed == .seconds(7_200))
    }

    @Test("a longest time below the estimate is a warning with the share and time that would do")
    func advice() {
        let row = ForecastTests.row(0.01, 30, maxTime: .seconds(900))
        #expect(
            row.advice?.hasPrefix("conclusive in about 1 h 2") == true
                && row.advice?.contains("and maxTime is 15 min; at 10 % in 9 min") == true,
            "\(row.advice ?? "none")")
        #expect(ForecastTests.row(0.25, 400).advice == nil)
        #expect(
            ForecastTests.row(0.25, 0).advice
                == "there are no requests: the stage cannot conclude; synthetic requests could")
    }

    @Test("of a sticky service the plan says where a share has fewer sessions than are needed")
    func sessions() {
        let terms = StageTerms(name: "small", share: 0.01)
        let few = StageForecast(
            terms,
            .init(unitsPerSecond: 5, errorRate: 0.001, hasSessions: true, sessions: 20_000))
        #expect(few.advice?.contains("the share has about 200: let it go by minTime") == true)
        let many = StageForecast(
            terms, .init(unitsPerSecond: 5, errorRate: 0.001, hasSessions: true))
        #expect(many.advice == nil, "\(many.advice ?? "")")
    }

    @Test("rows follow the stages: what is not judged has its time, the rest who is exposed")
    func rows() {
        var stages = [
            RolloutPlan.Stage(name: "testers", weight: 0),
            RolloutPlan.Stage(name: "small", weight: 500),
            RolloutPlan.Stage(name: "gate"),
            RolloutPlan.Stage(name: "all", weight: 10_000),
        ]
        stages[0].minTime = .seconds(600)
        stages[3].holdBack = 200
        stages[3].watch = .seconds(1_800)
        let plan = RolloutPlan(name: "shop", service: "shop", canary: "v2", stages: stages)
        let rows = StageForecast.rows(plan, .init(unitsPerSecond: 100, errorRate: 0.01))
        #expect(rows.map(\.share) == [0, 0.05, 0.05, 0.98])
        #expect(rows[0].exposed == 0 && rows[0].unitsToConclude == nil && rows[0].advice == nil)
        #expect(rows[0].maxTime == .seconds(600))
        #expect(rows[1].exposed == rows[1].unitsToConclude, "left when it is conclusive")
        #expect(abs(rows[1].errorsExpected - Double(rows[1].exposed) * 0.01) < 1e-9)
        let found = rows[1].detectableRate ?? 0
        #expect(found > 0.01 && found < 0.03, "\(found)")
        // Fewer requests until a healthy canary leaves the stage than until its longest time.
        let early = rows[1].detectableUntilLeft ?? 0
        #expect(early > found && rows[1].timeUntilLeft < rows[1].maxTime, "\(early)")
        // A canary with 2 % errors has some dozens before it goes back, as the simulations show.
        #expect((5...60).contains(rows[1].errorsUntilBack ?? 0))
        #expect(rows[3].minTime == .seconds(1_800))
        #expect(rows[3].exposed >= 98 * 1_800)
    }

    @Test("more traffic detects less, and no traffic nothing")
    func detectable() {
        var last = 1.0
        for rate in [1.0, 10, 100, 1_000] {
            let row = ForecastTests.row(0.05, rate, errorRate: 0.001, maxTime: .seconds(3_600))
            let found = row.detectableRate ?? 1
            #expect(found < last && found > 0.001)
            last = found
        }
        #expect(ForecastTests.row(0.05, 0).detectableRate == nil)
    }

    @Test("other versions keep their share: the canary's is of its own and the stable one's")
    func others() {
        let plan = RolloutPlan(
            name: "shop", service: "shop", canary: "v2",
            stages: [RolloutPlan.Stage(name: "half", weight: 4_000)])
        #expect(abs(StageTerms(plan, stage: 0, others: 0.2).share - 0.5) < 1e-12)
    }
}
