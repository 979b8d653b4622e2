import Base
import Configuration
import Evidence
import Explain
import JSON
import Synchronization
import Telemetry
import Upstream

/// The admin pages' contents, made from a view of the process. They contain no secrets.
enum AdminViews {
    /// - Parameter onDisk: the hash of the file as it is now; `nil` when nobody knows.
    static func configuration(_ process: some ProcessView, onDisk: String?) -> JSONText {
        .object([
            ("file", .string(process.path)), ("hash", .string(process.hash)),
            ("generation", .integer(Int(process.generation))),
            ("fileHasChanged", onDisk.map { .bool($0 != process.hash) } ?? .null),
            ("lastRejection", .string(process.reloads.lastRejection)),
            ("workers", .array(process.workers.map { .integer(Int($0.generation)) })),
            ("weights", .array(WeightsPage.services(process))),
            ("configuration", DocumentJSON.document(process.snapshot.value.document)),
        ])
    }

    /// How far a reload is, and how the last one ended.
    static func reload(_ process: some ProcessView) -> JSONText {
        .object([
            ("underWay", process.reloadStep.map { .string($0) } ?? .null),
            ("generation", .integer(Int(process.generation))), ("hash", .string(process.hash)),
            ("accepted", .integer(Int(clamping: process.reloads.accepted))),
            ("rejected", .integer(Int(clamping: process.reloads.rejected))),
            ("lastRejection", .string(process.reloads.lastRejection)),
        ])
    }

    static func clusters(_ process: some ProcessView) -> JSONText {
        let snapshot = process.snapshot
        let document = snapshot.value.document
        let failures = Dictionary(
            process.names.map { ("\($0.name):\($0.port)", $0.failure) }, uniquingKeysWith: { $1 })
        var mirrors: [Int: SharedBox<Cluster>] = [:]
        for i in 0..<snapshot.value.mirrors.count {
            let mirror = snapshot.value.mirrors[i]
            if mirrors[mirror.version] == nil { mirrors[mirror.version] = mirror.cluster }
        }
        let latches = process.latches()
        var services: [JSONText] = []
        for (i, service) in document.services.enumerated() {
            let plan = snapshot.value.services[i]
            var versions: [JSONText] = []
            for (v, version) in service.versions.enumerated() {
                let cluster = snapshot.value.versions[plan.versions.start + v].cluster
                let mirror = mirrors[plan.versions.start + v]
                let guarding = guarding(service, version.name, latches)
                versions.append(
                    self.version(
                        version, cluster, mirror: mirror, guarding, failures, now: process.now))
            }
            services.append(
                .object(
                    [("service", .string(service.name)), ("versions", .array(versions))]
                        + weights(i, process)))
        }
        return .object([("services", .array(services))])
    }

    /// Where a service's weights come from, beside its versions.
    private static func weights(
        _ index: Int, _ process: some ProcessView
    ) -> [(String, JSONText)] {
        let source = WeightsPage.source(index, process)
        return [
            ("weightsFrom", .string(source.author)),
            ("epoch", .integer(Int(clamping: process.snapshot.value.epochs[index]))),
        ]
    }

    /// The acts of the guard on a version; `nil` where the service has none.
    private static func guarding(
        _ service: Document.Service, _ version: String, _ latches: [LatchReport]
    ) -> JSONText? {
        guard service.guardRatio != nil else { return nil }
        let latch = latches.first { $0.service == service.name && $0.version == version }
        return .object([
            ("tripped", .bool(latch?.isTripped ?? false)),
            ("trips", .integer(latch?.tripCount ?? 0)),
            ("cause", latch?.lastTrip.map { .string("\($0.cause.label)") } ?? .null),
        ])
    }

    private static func version(
        _ version: Document.Version, _ cluster: SharedBox<Cluster>, mirror: SharedBox<Cluster>?,
        _ guarding: JSONText?, _ failures: [String: String], now: Instant
    ) -> JSONText {
        let endpoints = (0..<cluster.value.endpoints.count).map {
            endpoint(cluster.value.endpoints[$0].state, now)
        }
        var pairs: [(String, JSONText)] = [
            ("version", .string(version.name)), ("endpoints", .array(endpoints)),
        ]
        pairs += levels(cluster, now)
        if let guarding { pairs.append(("guard", guarding)) }
        if let mirror { pairs.append(("mirror", .object(levels(mirror, now)))) }
        if let dns = version.dns {
            let name = "\(dns.name):\(dns.port)"
            pairs.append(("dns", .string(name)))
            pairs.append(("dnsFailure", .string(failures[name] ?? "not tried yet")))
        }
        return .object(pairs)
    }

    /// How much of a version's limits is taken.
    private static func levels(
        _ cluster: SharedBox<Cluster>, _ now: Instant
    ) -> [(String, JSONText)] {
        let state = cluster.value.state
        let limits = cluster.value.limits
        func level(_ count: Int, _ max: Int) -> JSONText {
            .object([
                ("now", .integer(count)),
                ("max", max == .max ? .string("unlimited") : .integer(max)),
            ])
        }
        return [
            ("connections", level(state.value.connectionCount, limits.connectionsMax)),
            ("requests", level(state.value.requestCount, limits.requestsMax)),
            ("pending", level(state.value.pendingCount, limits.pendingRequestsMax)),
            ("retries", level(state.value.retryCount, limits.retriesMax)),
            (
                "retryBudgetLeft",
                cluster.value.retryBudget.map {
                    .integer(state.value.retriesLeft($0, now: now))
                } ?? .string("unlimited")
            ),
            (
                "ejected",
                cluster.value.detectsOutliers
                    ? level(
                        state.value.ejectedCount,
                        cluster.value.outlier.ejectedMax(of: cluster.value.endpoints.count))
                    : .string("off")
            ),
            ("panic", .bool(cluster.value.isPanicking(now: now))),
        ]
    }

    private static func endpoint(_ state: SharedBox<EndpointState>, _ now: Instant) -> JSONText {
        let view = state.value.view(now: now)
        return .object([
            ("address", .string(UnixPaths.text(state.value.address))),
            ("state", .string(EndpointText.isIn(view) ? "in" : "out")),
            (
                "why",
                .string(
                    EndpointText.why(view, now, check: Failure(packed: view.checkFailure).text()))
            ),
            ("failuresInARow", .integer(view.failuresInARow)),
            ("ejections", .integer(Int(state.value.ejections.load(ordering: .relaxed)))),
            ("checksPassed", .integer(Int(clamping: view.checksPassed))),
            ("checksFailed", .integer(Int(clamping: view.checksFailed))),
            (
                "failedConnects",
                .integer(Int(state.value.failedConnects.load(ordering: .relaxed)))
            ),
        ])
    }

    static func connections(_ process: some ProcessView) -> JSONText {
        let workers = process.workers.map { worker -> JSONText in
            .object([
                ("worker", .integer(worker.index)),
                ("downstream", .integer(worker.connections)),
                (
                    "upstream",
                    .integer(worker.open(.upstreamConnections, .upstreamConnectionsClosed))
                ),
                ("exchanges", .integer(worker.open(.requestsStarted, .requestsFinished))),
                ("tunnels", .integer(worker.open(.tunnelsOpened, .tunnelsClosed))),
            ])
        }
        let listeners = process.listeners.map { listener -> JSONText in
            .object([("name", .string(listener.name)), ("address", .string(listener.address))])
        }
        return .object([("workers", .array(workers)), ("listeners", .array(listeners))])
    }
}
