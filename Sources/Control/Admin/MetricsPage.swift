import Base
import Configuration
import Explain
import HTTPSemantics
import Telemetry
import Upstream

/// The metrics page, or the part of it that somebody asks for.
public struct MetricsQuery: Hashable, Sendable {
    public var format: PrometheusText.Format
    /// The families that are wanted, by their readers.
    public var uses: Set<MetricCatalog.Use>
    /// The page is to be compressed (RFC 1952).
    public var isCompressed: Bool

    public init(
        format: PrometheusText.Format,
        uses: Set<MetricCatalog.Use> = Set(MetricCatalog.Use.allCases), isCompressed: Bool = false
    ) {
        self.format = format
        self.uses = uses
        self.isCompressed = isCompressed
    }

    /// Understands a request; `nil` where its query says something else than `use=NAME,NAME`.
    init?(_ request: AdminRequest) {
        self.init(
            format: PrometheusText.format(accept: request.list("accept")),
            isCompressed: Preferences(request.list("accept-encoding")).takesCoding("gzip"))
        if request.query.isEmpty { return }
        let parts = request.query.split(separator: "=", maxSplits: 1)
        guard parts.count == 2, parts[0] == "use" else { return nil }
        let names = ExplainQuery.decoded(String(parts[1])).split(separator: ",")
        let uses = names.compactMap { MetricCatalog.Use(rawValue: String($0)) }
        guard !uses.isEmpty, uses.count == names.count else { return nil }
        self.uses = Set(uses)
    }

    static let advice =
        "use /metrics, or /metrics?use=NAME,NAME with names of "
        + MetricCatalog.Use.allCases.map(\.rawValue).joined(separator: ", ")
}

/// Writes metrics pages: the workers' shards, then what the process and its configuration say, use
/// by use.
enum MetricsPage {
    static func text(_ process: some ProcessView, _ query: MetricsQuery) -> ByteBuffer {
        // Slots stay what they are until their counters have been read.
        process.metrics.reading { write(process, query) }
    }

    private static func write(_ process: some ProcessView, _ query: MetricsQuery) -> ByteBuffer {
        var page = PrometheusText(format: query.format)
        let requests = RequestMetricsPage(
            registry: process.metrics, shards: process.workers.map(\.shard),
            linesLost: process.logLinesLost,
            hiding: process.hiddenSeries())
        let document = process.snapshot.value.document
        let ground = RequestMetricsPage.Ground(
            expected: query.uses.contains(.requests) ? expected(document) : [],
            refusedCause: { process.refusedCause($0) })
        for use in MetricCatalog.Use.allCases where query.uses.contains(use) {
            requests.write(use, to: &page, ground)
            switch use {
            case .requests: break
            case .istio:
                guard let settings = document.metricsIstio else { continue }
                IstioMetricsPage(
                    requests, process.identity, settings, named: named(document),
                    version: process.version
                ).write(to: &page)
            case .http: if document.metricsHTTP { requests.writeHTTP(to: &page) }
            case .upstream:
                clusters(process.snapshot, process.now, &page)
                names(process, &page)
            case .clients:
                clients(process, &page)
                certificates(process, &page)
            case .rollouts:
                splits(document, &page)
                weights(process, &page)
                guards(process, &page)
                rollouts(process, &page)
            case .process:
                configuration(process, &page)
                self.process(process, &page)
            }
        }
        page.finish()
        return page.take()
    }

    /// Every version of the configuration in force.
    private static func named(_ document: Document) -> Set<MetricRegistry.RowLabels> {
        Set(
            document.services.flatMap { service in
                service.versions.map {
                    .init(route: "", service: service.name, version: $0.name)
                }
            })
    }

    /// Series that exist at zero: each listener with each route and version it can reach.
    private static func expected(_ document: Document) -> [RequestMetricsPage.Expected] {
        var list: [RequestMetricsPage.Expected] = []
        func add(_ route: String, _ service: Document.Service, _ version: Int, _ assign: Assign) {
            for listener in document.listeners {
                list.append(
                    .init(
                        listener: listener.name,
                        labels: .init(
                            route: route, service: service.name,
                            version: service.versions[version].name), assign: assign))
            }
        }
        func addAll(_ route: String, _ service: Document.Service, _ weights: [Int]) {
            for (version, weight) in weights.enumerated() where weight > 0 {
                add(route, service, version, .weighted)
                if service.sticky != nil { add(route, service, version, .sticky) }
            }
        }
        for route in document.routes {
            guard case .forward(let index, let version, let split) = route.action else { continue }
            let service = document.services[index]
            if let version {
                add(route.name, service, version, .header)
            } else {
                addAll(route.name, service, split ?? service.versions.map(\.weight))
            }
        }
        for service in document.services where !service.hosts.isEmpty {
            addAll(
                SnapshotCompiler.implicitName(service.name), service,
                service.versions.map(\.weight))
        }
        return list
    }

    /// The weights in force, as shares; routes that name their version outright have none.
    private static func splits(_ document: Document, _ page: inout PrometheusText) {
        page.family(MetricCatalog.weight)
        func add(_ route: String, _ service: Document.Service, _ weights: [Int]) {
            let sum = weights.reduce(0, +)
            for (version, weight) in zip(service.versions, weights) {
                page.sample(
                    [("route", route), ("service", service.name), ("version", version.name)],
                    number: sum > 0 ? Double(weight) / Double(sum) : 0)
            }
        }
        for route in document.routes {
            guard case .forward(let index, nil, let split) = route.action else { continue }
            let service = document.services[index]
            add(route.name, service, split ?? service.versions.map(\.weight))
        }
        for service in document.services where !service.hosts.isEmpty {
            add(
                SnapshotCompiler.implicitName(service.name), service,
                service.versions.map(\.weight))
        }
    }

    private static func configuration(_ process: some ProcessView, _ page: inout PrometheusText) {
        page.family(MetricCatalog.reloads)
        page.sample([("result", "accepted")], process.reloads.accepted)
        page.sample([("result", "rejected")], process.reloads.rejected)
        page.family(MetricCatalog.generation)
        page.sample([], process.workers.map(\.generation).min() ?? 0)
        page.family(MetricCatalog.configuration)
        page.sample([("hash", process.hash)], 1)
        page.family(MetricCatalog.reloadSucceeded)
        page.sample([], process.reloads.lastRejection.isEmpty ? 1 : 0)
        page.family(MetricCatalog.acceptedAt)
        page.sample([], microseconds: UInt64(process.reloads.lastAcceptedAt.microseconds))
        page.family(MetricCatalog.ready)
        page.sample([], process.notReadyReason == nil ? 1 : 0)
        page.family(MetricCatalog.draining)
        page.sample([], process.isDraining ? 1 : 0)
        page.family(MetricCatalog.build)
        page.sample([("version", process.version)], 1)
    }

    /// Weights that are not the file's; nothing where the configuration has no `rollouts:`.
    private static func weights(_ process: some ProcessView, _ page: inout PrometheusText) {
        let state = process.weights
        guard state.overlayPath != nil else { return }
        page.family(MetricCatalog.overlayBelieved)
        page.sample([], state.problem == nil ? 1 : 0)
        page.family(MetricCatalog.overlayWritten)
        page.sample([], state.unwritten == nil ? 1 : 0)
        let services = zip(process.snapshot.value.document.services, state.sources)
        page.family(MetricCatalog.weightsOverlaid)
        for (service, source) in services {
            page.sample([("service", service.name)], source.entry == nil ? 0 : 1)
        }
        page.family(MetricCatalog.weightsDrift)
        for (service, source) in services {
            var isDrift = false
            if case .drift = source { isDrift = true }
            page.sample([("service", service.name)], isDrift ? 1 : 0)
        }
    }

    /// The acts of the guard, for services that have one; and evidence that came too late.
    private static func guards(_ process: some ProcessView, _ page: inout PrometheusText) {
        let guarded = Set(
            process.snapshot.value.document.services.filter { $0.guardRatio != nil }.map(\.name))
        let latches = process.latches().filter { guarded.contains($0.service) }
        page.family(MetricCatalog.guardTripped)
        for latch in latches {
            page.sample(
                [("service", latch.service), ("version", latch.version)], latch.isTripped ? 1 : 0)
        }
        page.family(MetricCatalog.guardTrips)
        for latch in latches {
            page.sample(
                [("service", latch.service), ("version", latch.version)], UInt64(latch.tripCount))
        }
        page.family(MetricCatalog.evidenceLost)
        for split in process.lostEvidence() {
            page.sample([("route", split.route)], UInt64(split.lost))
        }
    }

    /// When certificates end; a file that is named twice has a sample for each place.
    private static func certificates(_ process: some ProcessView, _ page: inout PrometheusText) {
        if process.certificates.isEmpty { return }
        page.family(MetricCatalog.certificateExpiry)
        var seen: Set<String> = []
        for expiry in process.certificates {
            let labels = [
                ("listener", expiry.listener), ("service", expiry.service),
                ("use", expiry.use), ("file", expiry.file),
            ]
            guard seen.insert("\(labels)").inserted else { continue }
            page.sample(labels, UInt64(max(0, expiry.notAfter)))
        }
    }

    /// Each version, with its labels; then the pools that copies have to themselves.
    private static func rows(
        _ snapshot: SharedBox<Snapshot>
    ) -> [([(String, String)], SharedBox<Cluster>)] {
        var rows: [([(String, String)], SharedBox<Cluster>)] = []
        for (i, service) in snapshot.value.document.services.enumerated() {
            let plan = snapshot.value.services[i]
            for (v, version) in service.versions.enumerated() {
                rows.append(
                    (
                        [("service", service.name), ("version", version.name)],
                        snapshot.value.versions[plan.versions.start + v].cluster
                    ))
            }
        }
        let versionCount = rows.count
        var seen: Set<Int> = []
        for i in 0..<snapshot.value.mirrors.count {
            let mirror = snapshot.value.mirrors[i]
            guard seen.insert(mirror.cluster.value.id).inserted, mirror.version < versionCount
            else { continue }
            rows.append((rows[mirror.version].0 + [("pool", "mirror")], mirror.cluster))
        }
        return rows
    }

    private static func clusters(
        _ snapshot: SharedBox<Snapshot>, _ now: Instant, _ page: inout PrometheusText
    ) {
        let rows = rows(snapshot)
        page.family(MetricCatalog.poolConnections)
        for row in rows {
            page.sample(row.0, UInt64(max(0, row.1.value.state.value.connectionCount)))
        }
        page.family(MetricCatalog.poolRequests)
        for row in rows { page.sample(row.0, UInt64(max(0, row.1.value.state.value.requestCount))) }
        page.family(MetricCatalog.poolPending)
        for row in rows { page.sample(row.0, UInt64(max(0, row.1.value.state.value.pendingCount))) }
        page.family(MetricCatalog.poolRetries)
        for row in rows { page.sample(row.0, UInt64(max(0, row.1.value.state.value.retryCount))) }
        page.family(MetricCatalog.retryBudget)
        for row in rows {
            guard let budget = row.1.value.retryBudget else { continue }
            page.sample(row.0, UInt64(row.1.value.state.value.retriesLeft(budget, now: now)))
        }
        limits(rows, &page)
        page.family(MetricCatalog.endpoints)
        for row in rows { page.sample(row.0, UInt64(row.1.value.endpoints.count)) }
        page.family(MetricCatalog.endpointAvailable)
        for row in rows {
            for i in 0..<row.1.value.endpoints.count {
                let endpoint = row.1.value.endpoints[i]
                page.sample(
                    row.0 + [("endpoint", UnixPaths.text(endpoint.address))],
                    EndpointText.isIn(endpoint.state.value.view(now: now)) ? 1 : 0)
            }
        }
        endpoints(rows, now, &page)
    }

    /// Why endpoints are out, a sample for each reason that there may be.
    private static func endpoints(
        _ rows: [([(String, String)], SharedBox<Cluster>)], _ now: Instant,
        _ page: inout PrometheusText
    ) {
        page.family(MetricCatalog.endpointCondition)
        let reasons: [(EndpointCondition, String)] = [
            (.refused, "refused"), (.unhealthy, "unhealthy"), (.ejected, "ejected"),
            (.warming, "warming"),
        ]
        for row in rows {
            for i in 0..<row.1.value.endpoints.count {
                let endpoint = row.1.value.endpoints[i]
                let condition = endpoint.state.value.view(now: now).condition
                for (bit, name) in reasons {
                    page.sample(
                        row.0 + [
                            ("endpoint", UnixPaths.text(endpoint.address)), ("reason", name),
                        ], condition.contains(bit) ? 1 : 0)
                }
            }
        }
    }

    /// The limits beside the levels; those without limit have no sample.
    private static func limits(
        _ rows: [([(String, String)], SharedBox<Cluster>)], _ page: inout PrometheusText
    ) {
        page.family(MetricCatalog.poolLimit)
        for row in rows {
            let limits = row.1.value.limits
            let all = [
                ("connections", limits.connectionsMax), ("pending", limits.pendingRequestsMax),
                ("requests", limits.requestsMax), ("retries", limits.retriesMax),
            ]
            for (name, max) in all where max != .max {
                page.sample(row.0 + [("limit", name)], UInt64(max))
            }
        }
    }

    private static func names(_ process: some ProcessView, _ page: inout PrometheusText) {
        func family(_ family: MetricCatalog.Family, _ value: (NameView) -> UInt64) {
            page.family(family)
            for name in process.names {
                page.sample([("name", "\(name.name):\(name.port)")], value(name))
            }
        }
        family(MetricCatalog.lookups) { $0.attempts }
        family(MetricCatalog.lookupFailures) { $0.failures }
        family(MetricCatalog.resolved) { $0.failure.isEmpty ? 1 : 0 }
    }

    private static func clients(_ process: some ProcessView, _ page: inout PrometheusText) {
        page.family(MetricCatalog.connectionsLimit)
        page.sample([], UInt64(process.limits.connections))
        page.family(MetricCatalog.workerConnections)
        for worker in process.workers {
            page.sample([("worker", "\(worker.index)")], UInt64(max(0, worker.connections)))
        }
    }

    private static func process(_ process: some ProcessView, _ page: inout PrometheusText) {
        let figures = process.figures()
        page.family(MetricCatalog.cpu)
        page.sample([], microseconds: figures.cpuMicroseconds)
        page.family(MetricCatalog.residentMemory)
        page.sample([], figures.residentBytes)
        page.family(MetricCatalog.virtualMemory)
        page.sample([], figures.virtualBytes)
        page.family(MetricCatalog.openDescriptors)
        page.sample([], UInt64(figures.openDescriptors))
        page.family(MetricCatalog.descriptorsMax)
        page.sample([], UInt64(figures.descriptorsMax))
        page.family(MetricCatalog.threads)
        page.sample([], UInt64(figures.threads))
        page.family(MetricCatalog.startTime)
        page.sample([], microseconds: UInt64(process.startedAt.microseconds))
        page.family(MetricCatalog.bufferBytes)
        page.sample([], UInt64(max(0, BufferMemory.bytes)))
        page.family(MetricCatalog.bufferLimit)
        page.sample([], UInt64(process.limits.bufferBytes))
    }
}
