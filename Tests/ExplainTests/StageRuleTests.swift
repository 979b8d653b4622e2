import Base
import Configuration
import Explain
import JSON
import Routing
import Testing

/// Rules of stages in force: who goes to the canary by them, and who does not.
@Suite struct StageRuleTests {
    static func entry(_ rules: [String]) -> Overlay.Entry {
        Overlay.Entry(
            shares: [.init("v1", 1), .init("v2", 0)], stable: "v1",
            rollout: .init(name: "beta", epoch: 1),
            rules: rules.isEmpty ? nil : .init(version: "v2", matches: rules), fingerprint: "")
    }

    /// A file whose only route is the rule, with the listeners and settings of another.
    static func alone(_ rules: [String], _ text: String) -> String {
        let head = text.split(separator: "services:\n")[0]
        let defaults = text.split(separator: "defaults:\n")[1]
        return head + "services: { a: { versions: { v1: { endpoints: [\"127.0.0.1:1\"] } } } }\n"
            + "routes:\n"
            + rules.map { "  - { name: rule\($0.count), match: \($0), connect: allow, to: a }\n" }
            .enumerated().map { $1.replacing("rule", with: "rule\($0)-") }.joined()
            + "defaults:\n" + defaults
    }

    @Test(
        "a rule takes exactly the requests that match and would have been split by the service",
        arguments: 0..<4)
    func model(part: Int) throws {
        var taken = 0, matching = 0, others = 0
        for i in 0..<24 {
            let seed = UInt64(part * 1_000 + i + 77)
            var random = RandomRouting(seed: seed)
            let text = random.configuration()
            // Every fourth rule takes whatever the service has.
            let rules = i % 4 == 0 ? ["{}"] : (0...i % 2).map { _ in random.rule() }
            var base = try AgreementTests.World(text, under: StageRuleTests.entry([]))
            var ruled = try AgreementTests.World(text, under: StageRuleTests.entry(rules))
            let alone = try AgreementTests.World(StageRuleTests.alone(rules, text))
            let problems = ruled.document.services[0].stageRules?.problems
            #expect(problems == [], "seed \(seed)")
            for _ in 0..<30 {
                let request = random.request()
                guard case .success(let plain) = base.explain(request),
                    case .success(let found) = alone.explain(request)
                else { continue }
                let before = base.run(request), now = ruled.run(request)
                let isMatch = AgreementTests.text("route", found.json) != nil
                let words = "seed \(seed), rules \(rules): \(request)\n\(text)"
                // Endpoints of the service "a" have the ports 9000 and 9001.
                let reaches = before.endpoint.map { $0.port < 9_010 } ?? false
                let isSplit = AgreementTests.has("split", plain.json)
                #expect(
                    PlaneAnswer.field("x-route", now.head)
                        == PlaneAnswer.field("x-route", before.head), "\(words)")
                if isMatch { matching += 1 }
                if isMatch, reaches, isSplit {
                    taken += 1
                    #expect(now.endpoint?.port == 9_001, "\(words)")
                    let said = try ruled.explain(request).get()
                    #expect(AgreementTests.text("assign", said.json) == "header", "\(words)")
                    #expect(
                        AgreementTests.text("rule", said.json) == "rollout beta", "\(words)")
                } else {
                    others += 1
                    // The canary has no share: nobody comes to it by a draw. Elsewhere one does.
                    let places = [now, before].map { answer in
                        answer.endpoint.map { $0.port < 9_010 ? $0.port : $0.port / 10 }
                    }
                    #expect(places[0] == places[1], "\(words)")
                    #expect(now.status == before.status, "\(words)")
                }
                let difference = ruled.difference(request)
                #expect(difference == nil, "\(words)")
            }
        }
        #expect(taken > 0 && matching > taken && others > 50)
    }

    @Test("requests of a rule keep the name of their route, and are counted apart")
    func counted() throws {
        let text = """
            listeners: [{ name: plain, address: "127.0.0.1:8080" }]
            services:
              a:
                stable: v1
                versions:
                  v1: { weight: 100%, endpoints: ["127.0.0.1:9000"] }
                  v2: { weight: 0%, endpoints: ["127.0.0.1:9001"] }
            routes: [{ name: r, to: a }]
            """
        var world = try AgreementTests.World(
            text, under: StageRuleTests.entry(["{ headers: { x-beta: yes } }"]))
        var request = RandomRouting.Request(
            method: "GET", url: "http://a.test/", target: "/", host: "a.test", isSecure: false)
        request.headers = ["x-beta: yes"]
        #expect(world.run(request).endpoint?.port == 9_001)
        let series = world.metrics.contents().series.filter { $0.kind == .requests }
        #expect(series.map { "\($0.assign.label)" } == ["header"])
        let sample = world.registry.evidenceSample(
            EvidenceQuestion(
                service: "a", canary: "v2", startedAt: 0, timeLimit: { _ in .seconds(1) }),
            now: PlaneWorld.now)
        #expect(sample?.matched?.requests == 1)
        #expect(sample?.strata.map(\.canary.requests) == [0])
        let said = try world.explain(request).get().text
        #expect(said.contains("r and the rule of rollout beta (file:8): matches"))
        #expect(said.contains("named by the rule of rollout beta, before any share"))
    }

    @Test("a rule that a file cannot read any more sends nobody, and says why")
    func problem() throws {
        let text = """
            listeners: [{ name: plain, address: "127.0.0.1:8080" }]
            services: { a: { versions: { v1: { weight: 1 }, v2: { weight: 0 } } } }
            routes: [{ name: r, to: a }]
            """
        let reading = ConfigurationReading(Array(text.utf8))
        var file = try #require(reading.document)
        var entry = StageRuleTests.entry(["{ listeners: [gone] }", "{ scheme: https }"])
        entry.fingerprint = file.fingerprint(ofService: 0)
        let merge = OverlayMerge(file, under: Overlay(services: ["a": entry]))
        let rules = try #require(merge.document.services[0].stageRules)
        #expect(rules.rules.map(\.scheme) == [.https])
        #expect(rules.problems.count == 1)
        #expect(rules.problems.first?.contains("gone") == true)
        // A rule that is new gives its version something, although no share rises.
        let step = WeightChange(from: file, to: merge.document, service: 0)
        #expect(step.gaining == [1] && !step.goesBack)
        let back = WeightChange(from: merge.document, to: file, service: 0)
        #expect(back.goesBack)
        // The canary of a rule cannot be missed.
        file.services[0].versions.removeLast()
        let gone = OverlayMerge(file, under: Overlay(services: ["a": entry]))
        #expect(gone.dropped.map(\.why) == [.versionIsGone("v2")])
    }
}
