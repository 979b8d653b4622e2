import Base
import Telemetry
import Testing

/// The families in Istio's words, and what becomes of their sums when rows go.
@Suite struct IstioPageTests {
    static let process: ProcessIdentity = {
        var settings = ProcessIdentity.Settings()
        settings.workload = "frontend"
        settings.namespace = "shop"
        settings.app = "frontend"
        settings.version = "v3"
        return ProcessIdentity(settings, .init())
    }()

    /// A process with one worker.
    final class World {
        let registry = MetricRegistry()
        let shard = CounterShard()
        var named: Set<MetricRegistry.RowLabels> = []
        var settings = IstioMetricsPage.Settings()

        func version(_ service: String, _ version: String, _ identity: VersionIdentity = .init()) {
            let id = registry.hold(service: service, version: version, isMirror: false).id
            registry.describe(cluster: id, identity)
            named.insert(.init(route: "", service: service, version: version))
        }

        func count(
            _ route: String, _ service: String, _ version: String, status: UInt16 = 200,
            flags: ResponseFlags = [], call: Int8? = nil, listener: String = "http",
            milliseconds: Int64 = 3, sent: UInt64 = 0, times: Int = 1
        ) {
            let row = registry.row(.init(route: route, service: service, version: version))
            registry.release(rows: [row.id], clusters: [])
            var counters = WorkerCounters(registry: registry, shard: shard)
            var summary = ExchangeSummary()
            summary.listener = registry.listener(listener)
            summary.row = row.id
            summary.status = status
            summary.flags = flags
            summary.isGRPC = call != nil
            summary.grpcStatus = call ?? -1
            summary.duration = .milliseconds(milliseconds)
            summary.bytesSent = sent
            for _ in 0..<times {
                counters.started(rowSlot: row.slot)
                counters.finished(summary, rowSlot: row.slot)
                if settings.hasSizes { counters.sizes(summary) }
            }
        }

        func forget(route: String, _ service: String, _ version: String) {
            var gone = MetricRegistry.Selection()
            gone.rows = [
                registry.row(.init(route: route, service: service, version: version)).id
            ]
            registry.release(rows: Array(gone.rows), clusters: [])
            #expect(registry.forget(gone, [shard]).rows == gone.rows)
        }

        func lines(hiding hidden: MetricRegistry.Selection = .init()) -> [Substring] {
            var page = PrometheusText(format: .prometheus)
            let requests = RequestMetricsPage(
                registry: registry, shards: [shard], hiding: hidden)
            IstioMetricsPage(
                requests, IstioPageTests.process, settings, named: named, version: "0.2"
            ).write(to: &page)
            requests.writeHTTP(to: &page)
            return ASCII.string(page.buffer.readable).split(separator: "\n")
        }

        /// The sum of lines that have all of some texts.
        func value(_ texts: String..., hiding hidden: MetricRegistry.Selection = .init()) -> Double?
        {
            let found = lines(hiding: hidden).filter { line in
                !line.hasPrefix("#") && texts.allSatisfy { line.contains($0) }
            }
            return found.isEmpty
                ? nil
                : found.reduce(0) { $0 + (Double($1.split(separator: " ").last ?? "") ?? .nan) }
        }
    }

    @Test("a request is one series for each reporter, with all of Istio's labels")
    func requests() {
        let world = World()
        world.version("reviews", "v2", .init(workload: "reviews"))
        world.count(
            "all", "reviews", "v2", status: 503, flags: [.upstreamConnectFailure, .retryLimit])
        let labels =
            "source_workload=\"frontend\",source_canonical_service=\"frontend\","
            + "source_canonical_revision=\"v3\",source_workload_namespace=\"shop\","
            + "source_principal=\"unknown\",source_app=\"frontend\",source_version=\"v3\","
            + "source_cluster=\"Kubernetes\",destination_workload=\"reviews\","
            + "destination_workload_namespace=\"shop\",destination_principal=\"unknown\","
            + "destination_app=\"reviews\",destination_version=\"v2\","
            + "destination_service=\"reviews.shop.svc.cluster.local\","
            + "destination_canonical_service=\"reviews\",destination_canonical_revision=\"v2\","
            + "destination_service_name=\"reviews\",destination_service_namespace=\"shop\","
            + "destination_cluster=\"Kubernetes\",request_protocol=\"http\","
            + "response_code=\"503\",grpc_response_status=\"\",response_flags=\"URX,UF\""
        for (reporter, policy) in [("source", "unknown"), ("destination", "none")] {
            #expect(
                world.lines().contains {
                    $0 == "istio_requests_total{reporter=\"\(reporter)\",\(labels),"
                        + "connection_security_policy=\"\(policy)\"} 1"
                })
        }
        #expect(
            world.lines().contains { $0 == "istio_build{component=\"proxy\",tag=\"sluice-0.2\"} 1" }
        )
    }

    @Test("versions that are named are at zero, for the codes that judges ask for")
    func zeros() {
        let world = World()
        world.version("s", "v1")
        for code in ["200", "500", "503"] {
            #expect(world.value("istio_requests_total{", "response_code=\"\(code)\"") == 0)
        }
        #expect(world.value("istio_request_duration_milliseconds_count", "\"5xx\"") == 0)
        #expect(world.value("istio_response_bytes_sum") == 0)
        #expect(world.value("http_request_duration_seconds_count{status=\"5xx\"}") == 0)
        #expect(world.value("destination_workload=\"unknown\"") == nil, "nothing was answered so")
        world.count("all", "s", "v1")
        #expect(world.value("istio_requests_total{", "\"source\"", "code=\"200\"") == 1)
        #expect(world.lines().count == Set(world.lines()).count)
    }

    @Test("buckets are Istio's in milliseconds, by class, and agree with count and sum")
    func durations() {
        let world = World()
        world.settings.reporters = [.source]
        world.version("s", "v1")
        world.count("all", "s", "v1", milliseconds: 2, times: 3)
        world.count("all", "s", "v1", milliseconds: 200, times: 2)
        world.count("all", "s", "v1", milliseconds: 400_000)
        func bucket(_ bound: String) -> Double? {
            world.value("milliseconds_bucket", "response_code=\"2xx\"", "le=\"\(bound)\"")
        }
        #expect(bucket("0.5") == 0 && bucket("1") == 0 && bucket("5") == 3)
        #expect(bucket("100") == 3 && bucket("250") == 5 && bucket("300000") == 5)
        #expect(bucket("600000") == 6 && bucket("3600000") == 6 && bucket("+Inf") == 6)
        #expect(bucket("2.5") == nil)
        #expect(world.value("milliseconds_sum", "\"2xx\"") == 400_406)
        #expect(world.value("milliseconds_count", "\"2xx\"") == 6)
        #expect(
            world.value("http_request_duration_seconds_bucket{status=\"2xx\",le=\"0.25\"}") == 5)
        let bounds = world.lines().filter {
            $0.contains("milliseconds_bucket") && $0.contains("\"5xx\"")
        }
        #expect(bounds.count == 20)
    }

    @Test("calls are told apart by their status, and their durations by the class of HTTP")
    func calls() {
        let world = World()
        world.settings.reporters = [.destination]
        world.version("cart", "v1")
        world.count("all", "cart", "v1", call: 0, times: 4)
        world.count("all", "cart", "v1", call: 14)
        world.count("all", "cart", "v1", call: -1)
        #expect(world.value("istio_requests_total", "\"grpc\"", "grpc_response_status=\"0\"") == 4)
        #expect(world.value("istio_requests_total", "\"grpc\"", "grpc_response_status=\"14\"") == 1)
        #expect(world.value("istio_requests_total", "\"grpc\"", "grpc_response_status=\"\"") == 1)
        #expect(world.value("milliseconds_count", "\"grpc\"", "\"2xx\"") == 6)
        #expect(
            world.lines().filter { $0.contains("_count") && $0.contains("\"grpc\"") }.count == 1)
    }

    @Test("the policy is the listener's, for the side of the destination")
    func policies() {
        let world = World()
        world.version("s", "v1")
        world.registry.describe(listener: world.registry.listener("http"), isMutual: false)
        world.registry.describe(listener: world.registry.listener("mtls"), isMutual: true)
        world.count("all", "s", "v1", times: 2)
        world.count("all", "s", "v1", listener: "mtls", sent: 10, times: 3)
        #expect(world.value("istio_requests_total", "\"mutual_tls\"", "\"200\"") == 3)
        #expect(world.value("istio_requests_total", "\"none\"", "\"200\"") == 2)
        #expect(world.value("istio_requests_total", "\"source\"", "\"200\"") == 5)
        #expect(world.value("istio_response_bytes_sum", "\"mutual_tls\"") == 30)
        #expect(world.value("istio_response_bytes_sum", "\"source\"") == 30)
        #expect(world.value("milliseconds_count", "\"mutual_tls\"", "\"2xx\"") == 3)
    }

    @Test("what no version has answered has an unknown destination, and copies are not in it")
    func nobody() {
        let world = World()
        world.settings.reporters = [.source]
        world.count("", "", "", status: 404, flags: .noRoute)
        world.count("all", "s", "", status: 429, flags: .rateLimited)
        let row = world.registry.row(
            .init(route: "all", service: "s", version: "v", isMirror: true))
        var counters = WorkerCounters(registry: world.registry, shard: world.shard)
        var summary = ExchangeSummary()
        summary.row = row.id
        summary.status = 200
        summary.assign = .mirror
        counters.mirrored(summary)
        #expect(world.value("istio_requests_total", "destination_service=\"unknown\"") == 2)
        #expect(
            world.value("istio_requests_total", "destination_canonical_revision=\"latest\"") == 2)
        #expect(world.value("istio_requests_total") == 2)
        #expect(world.value("http_request_duration_seconds_count") == 2)
    }

    @Test("histograms of sizes come with the setting, and agree with count and sum")
    func sizes() {
        let world = World()
        world.settings.reporters = [.source]
        world.version("s", "v1")
        world.count("all", "s", "v1", sent: 700)
        let plain = world.lines().filter { $0.hasPrefix("istio_response_bytes_bucket") }
        #expect(plain.count == 1 && plain[0].contains("le=\"+Inf\"} 1"))
        world.settings.hasSizes = true
        world.count("all", "s", "v1", sent: 0)
        world.count("all", "s", "v1", sent: 300)
        func bucket(_ bound: String) -> Double? {
            world.value("istio_response_bytes_bucket", "le=\"\(bound)\"")
        }
        #expect(bucket("0.5") == 1 && bucket("250") == 1 && bucket("500") == 2)
        #expect(bucket("3600000") == 2 && bucket("+Inf") == 3)
        #expect(world.value("istio_response_bytes_sum") == 1_000)
        #expect(world.value("istio_request_bytes_bucket", "le=\"0.5\"") == 2)
    }

    @Test("no sum falls when a route goes, is hidden, and is forgotten")
    func estates() {
        let world = World()
        world.settings.hasSizes = true
        world.version("s", "v1")
        world.count("a", "s", "v1", milliseconds: 40, sent: 10, times: 5)
        world.count("b", "s", "v1", status: 503, flags: .upstreamTermination, times: 2)
        world.count("c", "s", "", status: 429, times: 4)
        let before = world.lines()
        var hidden = MetricRegistry.Selection()
        hidden.rows = Set(world.registry.contents().rows.map(\.id))
        hidden.listeners = [world.registry.listener("http")]
        #expect(world.lines(hiding: hidden) == before)
        world.forget(route: "a", "s", "v1")
        world.forget(route: "c", "s", "")
        #expect(world.lines() == before)
        world.forget(route: "b", "s", "v1")
        #expect(world.lines() == before)
        world.count("d", "s", "v1")
        #expect(world.value("istio_requests_total", "\"source\"", "code=\"200\"") == 6)
    }

    @Test("a version that is gone takes its sums along, but for those that are nobody's")
    func goneVersions() {
        let world = World()
        world.version("s", "v1")
        world.count("a", "s", "v1", times: 5)
        world.count("b", "s", "v1", status: 500, times: 2)
        world.forget(route: "a", "s", "v1")
        let cluster = world.registry.cluster(service: "s", version: "v1")
        world.registry.release(rows: [], clusters: [cluster])
        var gone = MetricRegistry.Selection()
        gone.clusters = [cluster]
        #expect(world.registry.forget(gone, [world.shard]).clusters == [cluster])
        world.forget(route: "b", "s", "v1")
        world.named = []
        #expect(world.value("istio_requests_total") == nil)
        #expect(world.value("http_request_duration_seconds_count{status=\"2xx\"}") == 5)
        #expect(world.value("http_request_duration_seconds_count{status=\"5xx\"}") == 2)
        world.version("s", "v1")
        #expect(world.value("istio_requests_total", "code=\"200\"") == 0)
    }
}
