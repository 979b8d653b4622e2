import Base
import Evidence
import JSON
import Rollout
import Testing

@Suite("The judge's state on paper") struct JudgeCodecTests {
    static func paper(_ judge: StageJudge) throws -> StageJudge {
        try JudgeCodec.state(JudgeCodec.text(judge))
    }

    static func busy(_ seconds: Int) -> SyntheticStage {
        var absolute = RolloutPlan.AbsoluteLimits()
        absolute.p99 = .seconds(1)
        var stage = VerdictTests.stage(
            share: 0.3, stable: .init(errors: 0.01, hangs: 0.01),
            canary: .init(errors: 0.02, hiddenErrors: 0.01), absolute: absolute)
        _ = stage.run(seconds, until: [])
        return stage
    }

    @Test("the state comes back to the bit, at any moment", arguments: [0, 1, 2, 15, 70])
    func roundTrip(seconds: Int) throws {
        let stage = JudgeCodecTests.busy(seconds)
        #expect(try JudgeCodecTests.paper(stage.judge) == stage.judge)
    }

    @Test("a judge that goes on from paper after each look ends as one that was never stopped")
    func goesOn() throws {
        var stage = JudgeCodecTests.busy(0), other = stage
        for _ in 0..<60 {
            let verdict = stage.step()
            #expect(verdict == other.step())
            other.judge = try JudgeCodecTests.paper(other.judge)
            #expect(other.judge == stage.judge)
        }
        #expect(stage.judge.totals.canary.units > 1_000)
    }

    @Test("sets of places come back, sparse and full")
    func places() throws {
        var random = PRNG(seed: 3)
        for count in [0, 1, 500, 60_000] {
            var failed = PlaceSet(), seen = PlaceSet()
            for _ in 0..<count {
                let place = Int(random.below(UInt64(SessionPlaces.count)))
                seen.insert(place)
                if random.below(4) == 0 { failed.insert(place) }
            }
            let half = SessionPlaces.count / 2
            func sample(_ seen: PlaceSet, _ failed: PlaceSet) -> EvidenceSample {
                EvidenceSample(
                    stable: "v1", canary: "v2", strata: [],
                    sessions: EvidenceSample.Sessions(
                        epoch: 1, age: .seconds(20), timeLimit: .zero, seen: seen,
                        failed: failed, stablePlaces: half..<SessionPlaces.count,
                        canaryPlaces: 0..<half))
            }
            var judge = StageJudge()
            _ = judge.enter(StageTerms(name: "half", share: 0.5), nil, now: .init(nanoseconds: 0))
            for second in 1...3 as ClosedRange<UInt64> {
                let isFirst = second == 1
                _ = judge.look(
                    isFirst ? sample(.init(), .init()) : sample(seen, failed),
                    .init(
                        now: Instant(nanoseconds: second * 1_000_000_000),
                        elapsed: .seconds(Int64(second))))
            }
            #expect(count < 10 || judge.failedPlaces == failed)
            #expect(try JudgeCodecTests.paper(judge) == judge)
        }
    }

    @Test("text that no judge wrote is an error, and never a crash")
    func hostile() throws {
        let text = Array(JudgeCodec.encode(JudgeCodecTests.busy(20).judge).line().utf8)
        var random = PRNG(seed: 5), refused = 0
        for _ in 0..<200 {
            var broken = text
            for _ in 0...random.below(3) {
                let at = Int(random.below(UInt64(broken.count)))
                switch random.below(4) {
                case 0: broken[at] = UInt8(truncatingIfNeeded: random.next())
                case 1: broken.remove(at: at)
                case 2: broken.insert(UInt8(ascii: "9"), at: at)
                default: broken[at] = UInt8(ascii: "-")
                }
            }
            guard let node = try? JSONReader.read(broken),
                var judge = try? JudgeCodec.decode(node)
            else {
                refused += 1
                continue
            }
            // What was taken is a state: a look at it does no harm.
            var service = SyntheticService(seed: 1, share: 0.3, requestsPerSecond: 20)
            _ = service.step()
            _ = judge.look(
                service.step(), .init(now: service.now, elapsed: .seconds(100)))
        }
        #expect(refused > 60)
    }

    @Test("members that are missing, of another kind or out of range are named")
    func messages() throws {
        func message(_ text: String) -> String {
            do {
                _ = try JudgeCodec.decode(JSONReader.read(Array(text.utf8)))
                return "taken"
            } catch { return "\(error)" }
        }
        #expect(message("{}") == "1:1: version is missing")
        #expect(message("[]") == "1:1: version is missing")
        #expect(
            message("{\"version\":2}")
                == "1:1: the judge was written by another version of Sluice")
        let line = JudgeCodec.encode(StageJudge()).line()
        func changed(_ from: String, _ to: String) -> String {
            var bytes = line
            guard let range = bytes.firstRange(of: from) else { return "not there: \(from)" }
            bytes.replaceSubrange(range, with: to)
            return message(bytes)
        }
        #expect(
            changed("\"clock\":0", "\"clock\":-1").hasSuffix("a time is a number of nanoseconds"))
        #expect(changed("\"waiting\":\"0", "\"waiting\":\"7").hasSuffix("no mixture has"))
        #expect(
            changed("\"tolerance\":[\"3f", "\"tolerance\":[\"bf")
                .hasSuffix("tolerances are numbers, and not negative"))
        #expect(changed("\"failed\":\"\"", "\"failed\":\"0:0\"").hasSuffix("places that are none"))
        #expect(
            changed("\"canaryUnits\":\"0", "\"canaryUnits\":\"g")
                .hasSuffix("sixteen hexadecimal digits are wanted"))
    }
}
