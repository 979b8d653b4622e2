import Base
import Judge
import Rollout
import Testing

@Suite("Words of verdicts") struct VerdictWordsTests {
    typealias Version = SyntheticService.Version

    private func reasons(
        _ stage: SyntheticStage, _ seconds: Int, _ kinds: [Verdict.Kind] = [.watching, .regression]
    ) -> [String] {
        var stage = stage
        var reasons: [String] = []
        for _ in 0..<seconds {
            let verdict = stage.step()
            if kinds.contains(verdict.kind) { reasons.append(verdict.reason) }
            if verdict.kind == .regression { break }
        }
        return reasons
    }

    @Test("until counting begins the words say when, and why it does not yet")
    func settling() {
        var stage = VerdictTests.stage()
        stage.service.timeLimit = .seconds(60)
        for _ in 0..<5 { _ = stage.step() }
        let reason = stage.step().reason
        #expect(reason.contains("counting begins in 9 s"), "\(reason)")
        #expect(reason.contains("in force for 15 s"), "\(reason)")
        for _ in 0..<10 { _ = stage.step() }
        #expect(!stage.step().reason.contains("counting begins"))
    }

    @Test("a rate that is named is that of now: half a minute after traffic stopped there is none")
    func decay() {
        var stage = VerdictTests.stage(share: 0.01, requestsPerSecond: 100)
        _ = stage.run(60, until: [])
        #expect(stage.step().reason.contains("requests a second on v2"))
        stage.service.requestsPerSecond = 0
        let verdict = stage.run(35, until: [])
        #expect(verdict.reason.contains("no requests on v2"), "\(verdict.reason)")
    }

    @Test("differences that are named are those of the counts beside them")
    func counts() throws {
        for seed in UInt64(1)...4 {
            let found = reasons(
                VerdictTests.stage(
                    seed: seed, share: 0.25, stable: Version(errors: 0.01),
                    canary: Version(errors: 0.06)), 300)
            let last = try #require(found.last)
            #expect(last.contains("errors ") && last.contains(" against "), "\(last)")
            // The estimate of another span names its span, and stands beside no counts.
            for clause in last.split(separator: ";") where clause.contains(" against ") {
                #expect(!clause.contains("points more"), "\(last)")
            }
        }
    }

    @Test("every reason names what is worse, of times too")
    func causes() {
        for seed in UInt64(1)...6 {
            let stage = VerdictTests.stage(
                seed: seed, share: 0.25, requestsPerSecond: 100,
                canary: Version(errors: 0.002, slowness: 1.4))
            for reason in reasons(stage, 200) {
                #expect(!reason.contains("v1: ;"), "\(reason)")
            }
        }
    }

    @Test("late answers are named with the time past which they are late")
    func late() throws {
        let stage = VerdictTests.stage(
            share: 0.25, requestsPerSecond: 400, canary: Version(tail: 0.05))
        let last = try #require(reasons(stage, 300).last)
        #expect(last.contains("requests answered later than "), "\(last)")
        #expect(last.contains(" or never"), "\(last)")
    }
}
