import Admin
import Base
import Configuration
import Telemetry
import Testing

/// A process that stands still.
final class StillProcess: ProcessView {
    var rolloutViews: [RolloutView] = []
    func rollouts() -> [RolloutView] { rolloutViews }
    var history = RolloutHistory()
    func history(of plan: String) -> RolloutHistory { history }
    let snapshot: SharedBox<Snapshot>
    let metrics = MetricRegistry()
    var logLinesLost: UInt64 { 0 }
    private let registry: SharedRegistry
    var reason: String?
    var token: String?
    var tokens: [AdminKey] { token.map { [AdminKey(name: nil, token: $0, rights: [.all])] } ?? [] }

    /// - Parameter more: further keys of the configuration, in YAML; the service has a version v2
    ///   then.
    init(_ more: String = "") throws {
        let hasCanary = !more.isEmpty
        let (stable, weight) = hasCanary ? ("stable: v1, ", "weight: 100%, ") : ("", "")
        let canary = hasCanary ? #", v2: { weight: 0%, endpoints: ["127.0.0.1:9001"] }"# : ""
        let text = """
            listeners: [{ name: http, address: "127.0.0.1:8080" }]
            services: { s: { \(stable)versions: { v1: { \(weight)endpoints: ["127.0.0.1:9000"] }\(canary) } } }
            routes:
              - name: r
                to: s
                headers:
                  request:
                    set: { authorization: "Bearer S3CRET", cookie: "a=S3CRET", x-plain: plain-value }
                    add: { x-api-key: S3CRET, Proxy-Authorization: S3CRET }
                  response: { set: { set-cookie: "a=S3CRET" } }
            \(more)
            """
        let document = try #require(ConfigurationReading(Array(text.utf8)).document)
        registry = SharedRegistry(metrics: metrics, seed: 1)
        snapshot = SnapshotCompiler.compile(
            document, .init(generation: 7, hash: "abc"), registry: registry)
    }

    deinit { snapshot.release() }

    var now: Instant { Instant(nanoseconds: 1) }
    var wall: WallTime { WallTime(microseconds: 1) }
    var version: String { "1" }
    var identity = ProcessIdentity(.init(), .init(hostName: "frontend"))
    var startedAt: WallTime { wall }
    var path: String { "sluice.yaml" }
    var hash: String { "abc" }
    var generation: UInt64 { 7 }
    var reloads: ReloadCounts {
        ReloadCounts(accepted: 2, rejected: 1, lastRejection: "bad", lastAcceptedAt: wall)
    }
    var reloadStep: String?
    var certificates: [CertificateView] { [] }
    var sources: [OverlayMerge.Source] = [.file]
    let zones = PlanZones()
    var weights: WeightsState {
        WeightsState(
            overlayPath: "/state/overlay.json", problem: nil, unwritten: nil, sources: sources,
            file: snapshot.value.document)
    }
    var notReadyReason: String? { reason }
    var isDraining: Bool { false }
    var logLevel: Document.LogLevel { .info }
    let workers = [WorkerView(index: 0, connections: 3, generation: 7, shard: CounterShard())]
    var listeners: [ListenerView] { [ListenerView(name: "http", address: "127.0.0.1:8080")] }
    var names: [NameView] { [] }
    var limits: ProcessLimits { ProcessLimits(connections: 100, bufferBytes: 1_000) }
    func figures() -> ProcessFigures {
        ProcessFigures(
            residentBytes: 1, virtualBytes: 2, openDescriptors: 3, descriptorsMax: 4,
            cpuMicroseconds: 5, threads: 6)
    }
    func evidence() -> [SplitReport] { registry.evidenceReports() }
    func sessions() -> [SessionsReport] { registry.sessionsReports() }
    func lostEvidence() -> [(route: String, lost: Int)] { registry.lostEvidence() }
    func latches() -> [LatchReport] { registry.latchReports() }
    func wallTime(of instant: Instant) -> WallTime { wall }
    func hiddenSeries() -> MetricRegistry.Selection { MetricRegistry.Selection() }
    func refusedCause(_ number: UInt8) -> String { "cause" }
}

@Suite struct AdminTests {
    static let paths = [
        "/", "/config", "/clusters", "/connections", "/explain", "/metrics", "/ready", "/live",
        "/reload", "/drain", "/log", "/weights", "/weights/follow", "/weights/export", "/evidence",
        "/guard/reset", "/nothing",
    ]

    static func answer(
        _ method: String, _ path: String, _ process: StillProcess, query: String = "",
        fields: [(name: String, value: String)] = [("host", "localhost")], isAdmin: Bool = true
    ) -> AdminAnswer {
        let answer = AdminRouter.answer(
            to: AdminRequest(
                method: method, path: path, query: query, fields: fields, body: [],
                isAdmin: isAdmin, isLoopback: true), process)
        guard case .work(let page) = answer else { return answer }
        return .page(AdminRouter.make(page, process))
    }

    static func page(_ answer: AdminAnswer) -> AdminResponse? {
        if case .page(let page) = answer { return page }
        return nil
    }

    static func change(_ answer: AdminAnswer) -> AdminChange? {
        if case .change(let change) = answer { return change }
        return nil
    }

    @Test("no GET and no HEAD comes to a change", arguments: paths)
    func reading(path: String) throws {
        let process = try StillProcess()
        for method in ["GET", "HEAD"] {
            for query in ["", "level=debug", "method=GET&url=/"] {
                let answer = AdminTests.answer(method, path, process, query: query)
                #expect(AdminTests.page(answer) != nil, "\(method) \(path)?\(query)")
            }
        }
    }

    @Test("the evidence is JSON with a tag, by which a client knows that it has it")
    func evidence() throws {
        let process = try StillProcess()
        let page = try #require(AdminTests.page(AdminTests.answer("GET", "/evidence", process)))
        let tag = try #require(page.entityTag)
        #expect(
            page.status == 200
                && page.body.hasSuffix("\"splits\":[],\"sessions\":[],\"trips\":[]}\n"))
        for known in [tag, "*", "\"a\", \(tag)", "\"a\",\(tag) , \"b\"", "W/\(tag)"] {
            #expect(page.isKnown(by: known), "\(known)")
        }
        for other in [nil, "", "\"a\"", "\(tag)x"] {
            #expect(!page.isKnown(by: other))
        }
        let again = AdminTests.page(
            AdminTests.answer("GET", "/evidence", process, isAdmin: false))
        #expect(again?.entityTag == tag, "the same on the metrics address")
        let text = AdminTests.page(
            AdminTests.answer("GET", "/evidence", process, query: "format=text"))
        #expect(text?.body.contains("nothing to compare") == true)
        let bad = AdminTests.page(
            AdminTests.answer("GET", "/evidence", process, query: "format=xml"))
        #expect(bad?.status == 400)
    }

    @Test("a reset of the guard names a service that is in force")
    func resets() throws {
        let process = try StillProcess()
        let change = AdminTests.change(
            AdminTests.answer("POST", "/guard/reset", process, query: "service=s"))
        #expect(change == .resetGuard(service: "s"))
        let others: [(String, UInt16)] = [("service=t", 404), ("", 400), ("name=s", 400)]
        for (query, status) in others {
            let page = AdminTests.page(
                AdminTests.answer("POST", "/guard/reset", process, query: query))
            #expect(page?.status == status, "\(query)")
        }
    }

    @Test("a POST comes to the change that it names, on the admin address alone")
    func changes() throws {
        let process = try StillProcess()
        let rows: [(String, String, AdminChange?)] = [
            ("/reload", "", .reload), ("/drain", "", .drain),
            ("/log", "level=debug", .logLevel(.debug)), ("/log", "level=loud", nil),
            ("/guard/reset", "service=s", .resetGuard(service: "s")), ("/evidence", "", nil),
            ("/config", "", nil), ("/metrics", "", nil),
            (
                "/weights", "service=s&weight=v1%3d80%25&weight=v2=20%25&force=1",
                .setWeights(
                    service: "s",
                    [
                        .init(version: "v1", weight: "80%"), .init(version: "v2", weight: "20%"),
                    ], .init(isForced: true))
            ), ("/weights", "service=s&weight=v1", nil), ("/weights", "weight=v1=1", nil),
            ("/weights", "service=s&other=1", nil), ("/weights/export", "service=s", nil),
            ("/weights/follow", "service=s", .followFile(service: "s", .init())),
            (
                "/weights/follow", "service=s&resetGuard=1",
                .followFile(service: "s", .init(resetsGuard: true))
            ),
            ("/weights/follow", "service=s&weight=v1=1", nil), ("/weights/follow", "", nil),
        ]
        for (path, query, change) in rows {
            let answer = AdminTests.answer("POST", path, process, query: query)
            #expect(AdminTests.change(answer) == change, "\(path)?\(query)")
            let other = AdminTests.answer("POST", path, process, query: query, isAdmin: false)
            #expect(AdminTests.change(other) == nil, "\(path) on the metrics address")
        }
    }

    @Test("weights of a service with rollouts want a token over TCP, as a rollout's commands do")
    func rolloutsOverTCP() throws {
        func status(_ process: StillProcess, _ path: String, isUnix: Bool = false) -> UInt16? {
            let service = path.hasPrefix("/rollouts") ? "name=s" : "service=s"
            let weight = path == "/weights" ? "&weight=v1=1" : ""
            var request = AdminRequest(
                method: "POST", path: path, query: service + weight,
                fields: [("host", "localhost"), ("authorization", "Bearer secret")], body: [],
                isAdmin: true, isLoopback: !isUnix)
            request.isUnix = isUnix
            return AdminTests.page(AdminRouter.answer(to: request, process))?.status
        }
        let plan = "rollouts: { directory: state, plans: [{ service: s, canary: v2 }] }"
        let process = try StillProcess(plan), plain = try StillProcess()
        let changes = ["/weights", "/weights/follow", "/guard/reset"]
        for path in changes + ["/rollouts/start"] {
            #expect(status(process, path) == 403, "\(path)")
            #expect(status(process, path, isUnix: true) == nil, "\(path) on a socket")
        }
        for path in changes { #expect(status(plain, path) == nil, "\(path) without a plan") }
        // A rollout that runs though its plan has left the file.
        let fingerprint = plain.snapshot.value.document.fingerprint(ofService: 0)
        plain.sources = [
            .overlay(
                .init(
                    shares: [.init("v1", 1)],
                    rollout: .init(name: "s", epoch: 1, isRunning: true),
                    fingerprint: fingerprint))
        ]
        for path in changes { #expect(status(plain, path) == 403, "\(path)") }
        process.token = "secret"
        for path in changes { #expect(status(process, path) == nil, "\(path) with the token") }
    }

    @Test("everything but the probes' pages needs the token, and no page may ask for one")
    func guards() throws {
        let process = try StillProcess()
        process.token = "secret"
        let rows: [([(name: String, value: String)], UInt16?)] = [
            ([("host", "localhost"), ("authorization", "Bearer secret")], nil),
            ([("host", "localhost"), ("authorization", "bearer secret")], nil),
            ([("host", "localhost"), ("authorization", "Bearer secreT")], 401),
            ([("host", "localhost"), ("authorization", "Basic secret")], 401),
            ([("host", "localhost"), ("authorization", "Bearer")], 401),
            ([("host", "localhost")], 401),
            ([("host", "evil.test"), ("authorization", "Bearer secret")], 403),
            (
                [
                    ("host", "localhost"), ("authorization", "Bearer secret"),
                    ("origin", "http://evil.test"),
                ], 403
            ),
        ]
        for (fields, status) in rows {
            let answer = AdminTests.answer("POST", "/reload", process, fields: fields)
            #expect(AdminTests.page(answer)?.status == status, "\(fields)")
        }
    }

    @Test("a token is asked for by each page but those for probes", arguments: paths)
    func pages(path: String) throws {
        let process = try StillProcess()
        process.token = "secret"
        let isOpen = path == "/ready" || path == "/live"
        for method in ["GET", "HEAD", "PUT"] {
            let page = AdminTests.page(AdminTests.answer(method, path, process))
            #expect((page?.status == 401) == !isOpen, "\(method) \(path)")
            let shown = AdminTests.answer(
                method, path, process,
                fields: [("host", "localhost"), ("authorization", "Bearer secret")])
            #expect(AdminTests.page(shown)?.status != 401)
            let metrics = AdminTests.answer(method, path, process, isAdmin: false)
            #expect(AdminTests.page(metrics)?.status != 401, "the metrics address asks nobody")
        }
    }

    @Test("values of edits that may be secret are shown by /config and /explain to nobody")
    func secrets() throws {
        let process = try StillProcess()
        for (path, query) in [("/config", ""), ("/explain", "method=GET&url=/")] {
            let page = try #require(
                AdminTests.page(AdminTests.answer("GET", path, process, query: query)))
            #expect(page.status == 200)
            #expect(!page.body.contains("S3CRET"), "\(path)")
            #expect(page.body.contains("plain-value"), "\(path)")
            #expect(page.body.contains("(not shown)"), "\(path)")
        }
    }

    @Test("weights are shown with where they come from, on every page that has them")
    func weights() throws {
        let process = try StillProcess()
        func body(_ path: String, _ query: String = "") throws -> String {
            try #require(AdminTests.page(AdminTests.answer("GET", path, process, query: query)))
                .body
        }
        let plain = try body("/weights", "format=text")
        #expect(
            plain == "SERVICE  VERSION      WEIGHT  FROM\ns        v1 (stable)  100%    file\n")
        #expect(try body("/metrics").contains("sluice_weights_overlaid{service=\"s\"} 0\n"))
        let entry = Overlay.Entry(
            shares: [.init("v1", 1)], rollout: .init(name: "r", epoch: 4),
            fingerprint: "0123456789abcdef")
        process.sources = [.drift(entry, file: [.init("v1", 2)], .moves(0.125))]
        let table = try body("/weights", "format=text")
        #expect(table.contains("v1 (stable)  100%    rollout r, file: 100%\n"))
        #expect(
            table.contains(
                "s: the file has changed to v1 100 %, which is not applied: they would move "
                    + "12.50 % of the users; sluice weights follow s takes it\n"))
        for path in ["/weights", "/config"] {
            let text = try body(path)
            #expect(text.contains("\"from\": \"rollout r\""), "\(path)")
            #expect(text.contains("\"why\": \"they would move 12.50 % of the users\""), "\(path)")
        }
        #expect(try body("/clusters").contains("\"weightsFrom\": \"rollout r\""))
        #expect(try body("/explain", "url=/").contains("\"weightsFrom\": \"rollout r: v1 100 %; "))
        let metrics = try body("/metrics")
        #expect(metrics.contains("sluice_weights_overlaid{service=\"s\"} 1\n"))
        #expect(metrics.contains("sluice_weights_drift{service=\"s\"} 1\n"))
        #expect(metrics.contains("sluice_overlay_believed 1\n"))
        #expect(
            try body("/weights/export", "service=s")
                == "services:\n  s:\n    stable: v1\n    versions:\n      v1: { weight: 100% }\n")
    }

    @Test("/ready says why not, and asking changes nothing")
    func ready() throws {
        let process = try StillProcess()
        process.reason = "not ready: draining"
        for _ in 0..<3 {
            let page = AdminTests.page(AdminTests.answer("GET", "/ready", process, isAdmin: false))
            #expect(page?.status == 503 && page?.body == "not ready: draining\n")
        }
        process.reason = nil
        let page = AdminTests.page(AdminTests.answer("GET", "/ready", process, isAdmin: false))
        #expect(page?.status == 200)
    }

    @Test("/reload says how far a reload is, and how the last one ended")
    func reloads() throws {
        let process = try StillProcess()
        func body() -> String {
            AdminTests.page(AdminTests.answer("GET", "/reload", process))?.body ?? ""
        }
        for line in ["\"underWay\": null", "\"rejected\": 1", "\"lastRejection\": \"bad\""] {
            #expect(body().contains(line), "\(line)")
        }
        process.reloadStep = "checking the file"
        #expect(body().contains("\"underWay\": \"checking the file\""))
    }

    @Test("/connections counts what is under way, by worker")
    func connections() throws {
        let process = try StillProcess()
        let shard = process.workers[0].shard
        shard.add(5, to: WorkerMetric.requestsStarted.rawValue)
        shard.add(3, to: WorkerMetric.requestsFinished.rawValue)
        shard.add(4, to: WorkerMetric.upstreamConnections.rawValue)
        shard.add(9, to: WorkerMetric.tunnelsClosed.rawValue)
        let body = AdminTests.page(AdminTests.answer("GET", "/connections", process))?.body ?? ""
        for line in [
            "\"downstream\": 3", "\"upstream\": 4", "\"exchanges\": 2", "\"tunnels\": 0",
            "\"address\": \"127.0.0.1:8080\"",
        ] {
            #expect(body.contains(line), "\(line)")
        }
    }
}
