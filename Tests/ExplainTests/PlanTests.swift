import Base
import Configuration
import Explain
import JSON
import Routing
import Telemetry
import Testing

/// `explain` tells the plans of the service that a request goes to.
@Suite struct PlanTests {
    static let file = """
        listeners:
          - { name: http, address: "127.0.0.1:8080" }
        services:
          s:
            stable: v1
            versions:
              v1: { weight: 1, endpoints: ["127.0.0.1:1"] }
              v2: { weight: 0, endpoints: ["127.0.0.1:2"], revision: 1.4.2 }
          t: { versions: { v1: { endpoints: ["127.0.0.1:1"] } } }
        routes:
          - { name: t, match: { path: { prefix: /t } }, to: t }
          - { name: rest, to: s }
        rollouts:
          directory: /a
          plans:
            - service: s
              canary: v2
              stages: [{ weight: 5%, when: 'branch == "main"' }, { name: all, weight: 100% }]
        """

    static func explain(_ path: String) throws -> Explanation {
        let document = try #require(ConfigurationReading(Array(file.utf8)).document)
        let metrics = MetricRegistry()
        let registry = SharedRegistry(metrics: metrics, seed: 1)
        let snapshot = SnapshotCompiler.compile(
            document, .init(generation: 1, hash: ""), registry: registry)
        defer { snapshot.release() }
        let ground = ExplainGround(
            snapshot: snapshot, file: "file", listenerNumber: { metrics.listener($0) },
            now: Instant(nanoseconds: 1), wall: WallTime(microseconds: 0))
        return try Explainer.explain(ExplainQuery(method: "GET", url: path), ground).get()
    }

    @Test("the plan of a request's service is told, with the conditions of its stages")
    func told() throws {
        let explanation = try PlanTests.explain("/x")
        #expect(
            explanation.text.contains(
                "plan      s: v2 (revision 1.4.2) by 5 %, 100 %; starts by hand\n"
                    + "plan        stage 5: entered only when branch == \"main\", skipped when "
                    + "not\n"))
        guard case .object(let pairs) = explanation.json,
            case .array(let lines)? = pairs.first(where: { $0.0 == "plans" })?.1
        else {
            Issue.record("there are no plans in the JSON")
            return
        }
        #expect(lines.count == 2)
    }

    @Test("of a service without a plan nothing is told")
    func untold() throws {
        #expect(!(try PlanTests.explain("/t").text.contains("plan ")))
    }
}
