import Admin
import Telemetry
import Testing

/// The metrics page: parts of it, its compression, and its agreement with the catalogue.
@Suite struct MetricsQueryTests {
    static func answer(
        _ process: StillProcess, query: String = "", accept: String = "", coding: String = ""
    ) -> AdminResponse? {
        AdminTests.page(
            AdminTests.answer(
                "GET", "/metrics", process, query: query,
                fields: [("host", "a"), ("accept", accept), ("accept-encoding", coding)],
                isAdmin: false))
    }

    static func families(_ page: AdminResponse?) -> [String] {
        (page?.body ?? "").split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }
            .map { String($0.split(separator: " ")[2]) }
    }

    @Test("a use gives its families alone, several give theirs, and no other word is taken")
    func uses() throws {
        let process = try StillProcess()
        let all = MetricsQueryTests.families(MetricsQueryTests.answer(process))
        var parts: [String] = []
        for use in MetricCatalog.Use.allCases {
            let page = MetricsQueryTests.answer(process, query: "use=\(use.rawValue)")
            #expect(page?.status == 200)
            parts += MetricsQueryTests.families(page)
        }
        #expect(parts == all && Set(all).count == all.count && all.count > 80)
        let two = MetricsQueryTests.answer(process, query: "use=istio,rollouts")
        #expect(MetricsQueryTests.families(two).contains("istio_requests_total"))
        #expect(!MetricsQueryTests.families(two).contains("sluice_requests_total"))
        for bad in ["use=", "use=all", "use=istio,nothing", "name=istio", "use"] {
            let page = MetricsQueryTests.answer(process, query: bad)
            #expect(page?.status == 400 && page?.body.contains("use=NAME") == true, "\(bad)")
        }
    }

    @Test("families of a page are those of the catalogue, with its type, help and labels")
    func catalogue() throws {
        let process = try StillProcess()
        let page = try #require(MetricsQueryTests.answer(process))
        let known = Dictionary(uniqueKeysWithValues: MetricCatalog.all.map { ($0.name, $0) })
        let former = ["sluice_downstream_connections_total", "sluice_tunnels_total"]
        var family: MetricCatalog.Family?
        var samples = 0
        for line in page.body.split(separator: "\n") {
            if line.hasPrefix("# TYPE ") {
                let words = line.split(separator: " ")
                family = known[String(words[2])]
                if former.contains(String(words[2])) { continue }
                #expect(family?.kind.rawValue == String(words[3]), "\(line)")
            } else if line.hasPrefix("# HELP ") {
                guard let family else { continue }
                #expect(line == "# HELP \(family.name) \(family.help)")
            } else {
                guard let family else { continue }
                let labels = line.matches(of: /[{,]([a-z_]+)="/).map { String($0.1) }
                #expect(Set(labels).subtracting(["le"]).isSubset(of: family.labels), "\(line)")
                samples += 1
            }
        }
        #expect(samples > 150)
        // What the process has not: certificates, rollouts, the family of applications.
        let shown = Set(MetricsQueryTests.families(page))
        let missing = MetricCatalog.all.map(\.name).filter { !shown.contains($0) }
        #expect(
            missing.allSatisfy {
                $0.hasPrefix("sluice_rollout_") || $0.hasPrefix("sluice_tls_certificate")
                    || $0 == "http_request_duration_seconds"
            }, "\(missing)")
    }

    @Test("a page is compressed for those who take gzip, and says what it depends on")
    func compression() throws {
        let process = try StillProcess()
        let plain = try #require(MetricsQueryTests.answer(process))
        #expect(plain.contentEncoding == nil && plain.vary == "accept, accept-encoding")
        for coding in ["gzip", "br, GZIP;q=0.5", "*", "deflate, gzip;q=1.0, *;q=0.5"] {
            let page = try #require(MetricsQueryTests.answer(process, coding: coding))
            #expect(page.contentEncoding == "gzip", "\(coding)")
            #expect(page.content.bytes.starts(with: [0x1f, 0x8b]))
            #expect(page.content.bytes.count * 4 < plain.content.bytes.count)
            #expect(page.contentType == plain.contentType)
        }
        for coding in ["", "identity", "gzip;q=0", "gzip;q=0, *", "br", "identity, gzip;q=0.5"] {
            let page = MetricsQueryTests.answer(process, coding: coding)
            #expect(page?.contentEncoding == nil, "\(coding)")
        }
    }
}
