import Foundation
import Telemetry
import Testing

/// The catalogue of all families, and the reference that is made of it.
@Suite struct MetricReferenceTests {
    private static let head = "## Every family\n"

    /// The section of docs/metrics.md that lists every family.
    static func section() -> String {
        var out = head
        out += """

            This section is made from the catalogue in the code, of which the pages are written: `SLUICE_WRITE=1 swift test --filter MetricReferenceTests` writes it anew.
            `/metrics?use=requests,istio` gives the families of some uses alone. In OpenMetrics a counter's family has its name without `_total`, and a unit.
            Where a label does not apply, it is left out; `label_*` are the labels of a rollout's plan.

            """
        for use in MetricCatalog.Use.allCases {
            let families = MetricCatalog.all.filter { $0.use == use }
            out += "\n### \(use.title)\n`use=\(use.rawValue)`\n\n"
            out += "| family | type | unit | labels | meaning |\n|---|---|---|---|---|\n"
            for family in families {
                let labels = family.labels.map { "`\($0)`" }.joined(separator: " ")
                out += "| `\(family.name)` | \(family.kind.rawValue) | \(family.unit ?? "") "
                out += "| \(labels) | \(family.help) |\n"
            }
            let queries = families.compactMap(\.query)
            if queries.isEmpty { continue }
            out += "\n```\n" + queries.joined(separator: "\n") + "\n```\n"
        }
        return out
    }

    @Test("docs/metrics.md lists the families of the catalogue")
    func document() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let file = root.appendingPathComponent("docs/metrics.md")
        let text = try String(contentsOf: file, encoding: .utf8)
        let own = text.components(separatedBy: MetricReferenceTests.head)[0]
        let page = own + MetricReferenceTests.section()
        if ProcessInfo.processInfo.environment["SLUICE_WRITE"] != nil {
            try page.write(to: file, atomically: true, encoding: .utf8)
        }
        let found = try String(contentsOf: file, encoding: .utf8)
        #expect(found == page, "SLUICE_WRITE=1 swift test --filter MetricReferenceTests")
    }

    @Test("names keep the rules of both formats: one for each family, units at the end")
    func names() {
        let families = MetricCatalog.all
        #expect(families.count > 90)
        #expect(Set(families.map(\.openMetricsName)).count == families.count)
        for family in families {
            let name = family.name
            #expect(name.wholeMatch(of: /[a-z][a-z0-9_]*/) != nil, "\(name)")
            #expect(name.hasSuffix("_total") == (family.kind == .counter), "\(name)")
            #expect(family.help.hasSuffix(".") && !family.help.contains("\n"), "\(name)")
            #expect(!family.help.contains("\\"), "\(name)")
            #expect(Set(family.labels).count == family.labels.count, "\(name)")
            #expect(!family.labels.contains("le"), "\(name)")
            if let unit = family.unit { #expect(family.openMetricsName.hasSuffix("_\(unit)")) }
            // The names that a histogram's samples have are nobody else's.
            if family.kind == .histogram {
                for suffix in ["_bucket", "_sum", "_count"] {
                    #expect(!families.contains { $0.name == name + suffix })
                }
            }
            let own = ["sluice_", "istio_", "process_", "http_request_duration_seconds"]
            #expect(own.contains { name.hasPrefix($0) }, "\(name)")
        }
    }
}
