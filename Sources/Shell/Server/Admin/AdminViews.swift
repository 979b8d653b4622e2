import Base
import Configuration
import Platform
import Resolver
import Synchronization
import Upstream

/// What the admin pages show, made from read-only looks at shared state. No secrets.
enum AdminViews {
    static func configuration(_ control: ControlLoop, onDisk: String?) -> JSONText {
        .object([
            ("file", .string(control.file.path)), ("hash", .string(control.file.hash)),
            ("generation", .integer(Int(control.generation))),
            ("fileHasChanged", onDisk.map { .bool($0 != control.file.hash) } ?? .null),
            ("lastRejection", .string(control.status.lastRejection)),
            (
                "workers",
                .array(
                    control.group.workers.map {
                        .integer(Int($0.generation.load(ordering: .acquiring)))
                    })
            ),
            ("configuration", DocumentJSON.document(control.file.document)),
        ])
    }

    static func clusters(_ control: ControlLoop) -> JSONText {
        let snapshot = control.group.cell.retained()
        defer { snapshot.release() }
        let document = snapshot.value.document
        var services: [JSONText] = []
        for (i, service) in document.services.enumerated() {
            let plan = snapshot.value.services[i]
            var versions: [JSONText] = []
            for (v, version) in service.versions.enumerated() {
                let cluster = snapshot.value.versions[plan.versions.start + v].cluster
                let mirror = mirror(to: plan.versions.start + v, snapshot)
                versions.append(self.version(version, cluster, mirror: mirror, control))
            }
            services.append(
                .object([("service", .string(service.name)), ("versions", .array(versions))]))
        }
        return .object([("services", .array(services))])
    }

    /// The pool of copies that go to a version, if any do.
    private static func mirror(
        to version: Int, _ snapshot: SharedBox<Snapshot>
    ) -> SharedBox<Cluster>? {
        for i in 0..<snapshot.value.mirrors.count
        where snapshot.value.mirrors[i].version == version {
            return snapshot.value.mirrors[i].cluster
        }
        return nil
    }

    private static func version(
        _ version: Document.Version, _ cluster: SharedBox<Cluster>, mirror: SharedBox<Cluster>?,
        _ control: ControlLoop
    ) -> JSONText {
        let now = SystemClock.now()
        let endpoints = (0..<cluster.value.endpoints.count).map {
            endpoint(cluster.value.endpoints[$0].state, now)
        }
        var pairs: [(String, JSONText)] = [
            ("version", .string(version.name)), ("endpoints", .array(endpoints)),
        ]
        pairs += levels(cluster, now)
        if let mirror { pairs.append(("mirror", .object(levels(mirror, now)))) }
        if let dns = version.dns {
            let answer = control.resolver.answers[Resolver.Name(host: dns.name, port: dns.port)]
            pairs.append(("dns", .string("\(dns.name):\(dns.port)")))
            pairs.append(("dnsFailure", .string(answer?.failure ?? "not tried yet")))
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
            ("why", .string(EndpointText.why(view, now))),
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

    static func connections(_ control: ControlLoop) -> JSONText {
        .object([
            (
                "workers",
                .array(
                    control.group.workers.map { worker in
                        .object([
                            ("worker", .integer(worker.index)),
                            ("downstream", .integer(control.group.loads[worker.index])),
                        ])
                    })
            ),
            (
                "listeners",
                .array(
                    control.listeners.open.map { listener in
                        .object([
                            ("name", .string(listener.name)),
                            ("address", .string(Listeners.text(listener))),
                        ])
                    })
            ),
        ])
    }
}

/// How an endpoint stands, in words.
enum EndpointText {
    static func isIn(_ view: EndpointState.View) -> Bool {
        view.condition.isDisjoint(with: [.refused, .ejected, .unhealthy])
    }

    /// Every reason why it is out, or not quite in; empty without one.
    static func why(_ view: EndpointState.View, _ now: Instant) -> String {
        var reasons: [String] = []
        if view.condition.contains(.refused) { reasons.append("refused its last connect") }
        if view.condition.contains(.unhealthy) { reasons.append("its health checks fail") }
        if let until = view.ejectedUntil, let cause = view.ejectionCause {
            let seconds = (until - now).millisecondsUp / 1_000 + 1
            reasons.append("ejected for \(cause.label), for another \(seconds)s")
        }
        if view.condition.contains(.warming) { reasons.append("warming up") }
        return reasons.joined(separator: "; ")
    }
}
