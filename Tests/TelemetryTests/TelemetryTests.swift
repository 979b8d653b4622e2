import Base
import HTTPSemantics
import Telemetry
import Testing

@Suite struct TelemetryTests {
    @Test("counters of a row and of its series add up over workers, and survive being asked again")
    func counters() {
        let registry = MetricRegistry()
        let row = registry.row(.init(route: "r", service: "s", version: "v1"))
        #expect(registry.row(.init(route: "r", service: "s", version: "v1")).slot == row.slot)
        let listener = registry.listener("http")
        let shards = [CounterShard(), CounterShard()]
        for shard in shards {
            var counters = WorkerCounters(registry: registry, shard: shard)
            for code in [UInt16(200), 200, 503] {
                var summary = ExchangeSummary()
                summary.listener = listener
                summary.row = row.id
                summary.status = code
                summary.assign = .weighted
                summary.cause = code == 503 ? .connect : .none
                summary.duration = .milliseconds(3)
                counters.started(rowSlot: row.slot)
                counters.finished(summary, rowSlot: row.slot)
            }
        }
        var page = PrometheusText(format: .prometheus)
        RequestMetricsPage(registry: registry, shards: shards).write(.requests, to: &page)
        let text = ASCII.string(page.buffer.readable)
        let labels =
            "listener=\"http\",route=\"r\",service=\"s\",version=\"v1\",assign=\"weighted\""
        #expect(text.contains("sluice_requests_total{\(labels),code=\"200\"} 4\n"))
        #expect(text.contains("sluice_requests_total{\(labels),code=\"503\"} 2\n"))
        #expect(text.contains("sluice_errors_total{\(labels),cause=\"connect\"} 2\n"))
        #expect(text.contains("le=\"0.005\"} 6\n"))
        #expect(text.contains("le=\"0.0025\"} 0\n"))
    }

    @Test("series that are expected exist at zero until they are seen")
    func zeros() {
        let registry = MetricRegistry()
        var page = PrometheusText(format: .openMetrics)
        RequestMetricsPage(registry: registry, shards: []).write(
            .requests, to: &page,
            .init(expected: [
                .init(
                    listener: "l", labels: .init(route: "r", service: "s", version: "v"),
                    assign: .sticky)
            ]))
        page.finish()
        let text = ASCII.string(page.buffer.readable)
        #expect(text.contains("assign=\"sticky\",code=\"503\"} 0\n"))
        #expect(text.contains("# TYPE sluice_requests counter\n"))
        #expect(text.hasSuffix("# EOF\n"))
    }

    @Test("errors and durations of what is expected exist at zero, unless there are thousands")
    func zerosOfErrorsAndDurations() {
        let registry = MetricRegistry()
        func page(_ versions: [String]) -> String {
            let rows = versions.map {
                MetricRegistry.RowLabels(route: "r", service: "s", version: $0)
            }
            for row in rows { _ = registry.row(row) }
            var page = PrometheusText(format: .prometheus)
            RequestMetricsPage(registry: registry, shards: [CounterShard()]).write(
                .requests, to: &page,
                .init(expected: rows.map { .init(listener: "l", labels: $0, assign: .weighted) }))
            return ASCII.string(page.buffer.readable)
        }
        let row = "route=\"r\",service=\"s\",version=\"v\""
        let few = page(["v"])
        for cause in ["response", "connect", "reset", "timeout", "invalid", "local"] {
            #expect(
                few.contains(
                    "sluice_errors_total{listener=\"l\",\(row),assign=\"weighted\",cause=\"\(cause)\"} 0\n"
                ))
        }
        #expect(few.contains("sluice_request_duration_seconds_bucket{\(row),le=\"+Inf\"} 0\n"))
        #expect(few.contains("sluice_request_duration_seconds_count{\(row)} 0\n"))
        let many = page((0...RequestMetricsPage.zeroRowsMax).map { "v\($0)" })
        #expect(!many.contains("sluice_errors_total{"))
        #expect(!many.contains("sluice_request_duration_seconds_count{"))
        #expect(many.contains("version=\"v7\",assign=\"weighted\",code=\"503\"} 0\n"))
    }

    @Test("an Accept field chooses the format by its qualities, and 0 is no")
    func accept() {
        let prometheus3 =
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            + "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,"
            + "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        for accept in [
            prometheus3, "application/openmetrics-text", "application/openmetrics-text,text/plain",
            "text/plain;q=0.5, Application/OpenMetrics-Text; version=\"1.0.0\" ;q=0.5",
            "application/openmetrics-text;q=0.001", "application/*;q=0.3,*/*;q=0.1",
            "application/openmetrics-text;version=2.0.0,application/openmetrics-text;version=0.0.1",
        ] {
            #expect(PrometheusText.format(accept: accept) == .openMetrics, "\(accept)")
        }
        for accept in [
            "", "*/*", "text/plain", "application/json", "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.0,*/*", "text/html;q=1,nonsense;;;,=,",
            "application/openmetrics-text;q=0.2,text/plain;q=0.3",
            "application/openmetrics-text;version=2.0.0", "application/openmetrics-text;q=2",
            "application/openmetrics-text;q=0.5,text/*", "text/plain;version=0.0.4,*/*;q=0.5",
        ] {
            #expect(PrometheusText.format(accept: accept) == .prometheus, "\(accept)")
        }
    }

    @Test("in OpenMetrics no two families have one name, and former names are in text alone")
    func familyNames() {
        for (format, hasFormer) in [
            (PrometheusText.Format.openMetrics, false), (.prometheus, true),
        ] {
            var page = PrometheusText(format: format)
            for use in MetricCatalog.Use.allCases {
                RequestMetricsPage(registry: MetricRegistry(), shards: []).write(use, to: &page)
            }
            let lines = ASCII.string(page.buffer.readable).split(separator: "\n")
            let names = lines.filter { $0.hasPrefix("# TYPE ") }.map { $0.split(separator: " ")[2] }
            #expect(names.count > 50 && Set(names).count == names.count)
            for former in ["sluice_downstream_connections_total 0", "sluice_tunnels_total 0"] {
                #expect(lines.contains { $0 == former } == hasFormer)
            }
            #expect(lines.contains("sluice_downstream_connections_accepted_total 0"))
            #expect(lines.contains("sluice_tunnels_opened_total 0"))
        }
    }

    /// A page of the versions of one service, of which one is named.
    struct Releases {
        let registry = MetricRegistry()
        var retention = SeriesRetention()
        var now = Instant(nanoseconds: 1)

        mutating func release(_ version: String, of service: String = "s") {
            now = now + .seconds(1)
            var named = MetricRegistry.Selection()
            named.rows = [registry.row(.init(route: "r", service: service, version: version)).id]
            named.clusters = [registry.cluster(service: service, version: version)]
            named.listeners = [registry.listener("http")]
            retention.apply(.init(named, registry), now: now)
        }

        func page(
            retention seconds: Int64 = 3_600, busy: String? = nil, idleFromTheStart: [String] = []
        ) -> [String] {
            let hidden = retention.hidden(
                retention: .seconds(seconds), now: now, isBusy: { $0 == row(busy) },
                hasCounted: { id in !idleFromTheStart.contains { row($0) == id } })
            let contents = registry.contents(hiding: hidden)
            #expect(contents.rows.map(\.labels.version) == contents.clusters.map(\.labels.version))
            return contents.rows.map(\.labels.version)
        }

        mutating func look(busy: String) {
            let busy = row(busy)
            retention.look(now: now) { $0 == busy }
        }

        private func row(_ version: String?) -> Int? {
            version.map { registry.row(.init(route: "r", service: "s", version: $0)).id }
        }
    }

    @Test("of the versions that are gone the last stays for the retention, others for minutes")
    func retention() {
        var world = Releases()
        world.release("a")
        world.release("b")
        world.release("c")
        #expect(world.page() == ["a", "b", "c"])
        world.now = world.now + .seconds(299)
        #expect(world.page() == ["b", "c"])
        for i in 0..<100 {
            world.now = world.now + .seconds(300)
            world.release("v\(i)")
            #expect(world.page().count <= 3)
        }
        world.now = world.now + .seconds(300)
        #expect(world.page() == ["v98", "v99"])
        world.now = world.now + .seconds(3_600)
        #expect(world.page() == ["v99"])
        world.release("a")
        #expect(world.page() == ["a", "v99"])
    }

    @Test("reading a page changes nothing, and a retention below minutes holds for all")
    func reading() {
        var world = Releases()
        for version in ["a", "b", "c"] { world.release(version) }
        for _ in 0..<10 { #expect(world.page() == ["a", "b", "c"]) }
        #expect(world.page(retention: 0) == ["c"])
        #expect(world.page(retention: 0, busy: "a") == ["a", "c"])
        #expect(world.page(retention: 1) == ["b", "c"])
        #expect(world.page() == ["a", "b", "c"])
    }

    @Test("a version that has counted nothing leaves at once")
    func nothingToRead() {
        var world = Releases()
        for version in ["a", "b", "c", "d"] { world.release(version) }
        #expect(world.page(idleFromTheStart: ["a", "b"]) == ["c", "d"])
        #expect(world.page(idleFromTheStart: ["b", "c"]) == ["a", "d"])
    }

    @Test("what is in flight stays on the page, and for minutes behind its end")
    func busy() {
        var world = Releases()
        for version in ["a", "b", "c"] { world.release(version) }
        world.now = world.now + .seconds(600)
        #expect(world.page() == ["b", "c"])
        #expect(world.page(busy: "a") == ["a", "b", "c"])
        world.look(busy: "a")
        world.now = world.now + .seconds(299)
        #expect(world.page() == ["a", "b", "c"])
        world.now = world.now + .seconds(1)
        #expect(world.page() == ["b", "c"])
    }

    @Test("a version that comes back goes on counting where it was")
    func back() {
        var world = Releases()
        world.release("a")
        let shard = CounterShard()
        let row = world.registry.row(.init(route: "r", service: "s", version: "a"))
        var counters = WorkerCounters(registry: world.registry, shard: shard)
        var summary = ExchangeSummary()
        summary.row = row.id
        summary.status = 200
        summary.bytesSent = 5
        counters.finished(summary, rowSlot: row.slot)
        world.release("b")
        world.release("c")
        #expect(!world.page(retention: 0).contains("a"))
        world.release("a")
        let hidden = world.retention.hidden(retention: .zero, now: world.now) { _ in false }
        var page = PrometheusText(format: .prometheus)
        RequestMetricsPage(registry: world.registry, shards: [shard], hiding: hidden).write(
            .requests, to: &page)
        let labels = "route=\"r\",service=\"s\",version=\"a\""
        #expect(
            ASCII.string(page.buffer.readable).contains(
                "sluice_response_body_bytes_total{\(labels)} 5\n"))
    }

    @Test("whatever is counted has a family, a name of its own and a place on the page")
    func catalogue() {
        // Parts of other figures: gauges and totals are made of them.
        let parts: Set<WorkerMetric> = [
            .downstreamConnectionsClosed, .upstreamConnectionsClosed, .requestsFinished,
            .tunnelsClosed, .requestsHTTP10, .requestsHTTP11, .requestsHTTP2,
        ]
        var names: Set<String> = []
        func check(_ entry: MetricCatalog.Entry?, _ metric: Any) {
            guard let entry else {
                Issue.record("\(metric) has no entry")
                return
            }
            #expect(entry.family.name.hasPrefix("sluice_"))
            #expect(entry.family.name.hasSuffix("_total") == (entry.family.kind == .counter))
            #expect(entry.family.help.hasSuffix("."))
            let name = "\(entry.family.name) \(entry.label.map { "\($0.name)=\($0.value)" } ?? "")"
            #expect(names.insert(name).inserted, "\(name) twice")
        }
        for metric in WorkerMetric.allCases where !parts.contains(metric) {
            check(MetricCatalog.worker(metric), metric)
        }
        for metric in parts { #expect(MetricCatalog.worker(metric) == nil, "\(metric)") }
        for metric in ClusterMetric.allCases { check(MetricCatalog.cluster(metric), metric) }
        for metric in RouteMetric.allCases { check(MetricCatalog.route(metric), metric) }
    }

    @Test("buckets are where their bounds say")
    func buckets() {
        for (i, bound) in MetricCatalog.durationBounds.enumerated() {
            #expect(MetricCatalog.durationBucket(microseconds: bound) == i)
            #expect(MetricCatalog.durationBucket(microseconds: bound + 1) == i + 1)
        }
    }
}
