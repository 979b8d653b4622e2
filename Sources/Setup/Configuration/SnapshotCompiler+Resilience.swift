import Base
import HTTPSemantics
import Routing
import Telemetry
import Upstream

// Plans of what keeps trouble small: retries, faults, mirrors, rate limits, health checks.

extension SnapshotCompiler {
    /// The place of a route's retry policy; the first is the default one.
    mutating func retry(_ policy: RetryPolicy?) -> Int {
        guard let policy else { return 0 }
        if let held = retries.firstIndex(of: policy) { return held }
        retries.append(policy)
        return retries.count - 1
    }

    mutating func filter(_ route: Document.Route) -> Int {
        guard route.fault != nil || route.mirror != nil || route.rateLimit != nil else {
            return -1
        }
        var plan = Snapshot.FilterPlan()
        plan.fault = fault(route.fault, of: route.name)
        if let mirror = route.mirror { plan.mirror = self.mirror(mirror, of: route) }
        if let limit = route.rateLimit {
            plan.rateLimit = registry.rateLimit(route: route.name, limit.policy)
            switch limit.key {
            case .none: break
            case .address: plan.rateKey = .address
            case .header(let name):
                plan.rateKey = .header
                plan.rateName = store.intern(name)
                plan.rateKnown = KnownField.intern(Array(name.utf8).span)
            case .cookie(let name):
                plan.rateKey = .cookie
                plan.rateName = store.intern(name)
                plan.rateKnown = .cookie
            }
        }
        filters.append(plan)
        return filters.count - 1
    }

    /// Draws whose version 0 has a share, kept by a name that no route has.
    private func draws(_ share: Int, _ name: String) -> SharedBox<Draws>? {
        guard let weights = SplitWeights([share, 10_000 - share]) else { return nil }
        return registry.draws(route: name, weights: weights)
    }

    mutating func fault(_ fault: Document.Fault?, of name: String) -> Int {
        guard let fault else { return -1 }
        var plan = Snapshot.FaultPlan()
        if let delay = fault.delay {
            plan.delay = delay.time
            plan.delayDraws = draws(delay.share, "\(name) delay")
        }
        if let abort = fault.abort {
            plan.abortStatus = abort.status
            plan.abortGRPC = abort.grpcStatus.map { Int16($0) } ?? -1
            plan.abortDraws = draws(abort.share, "\(name) abort")
        }
        plan.isByHeader = fault.isByHeader
        faults.append(plan)
        return faults.count - 1
    }

    private mutating func mirror(_ mirror: Document.Mirror, of route: Document.Route) -> Int {
        let name = route.name
        guard let draws = draws(mirror.share, "\(name) mirror") else { return -1 }
        let service = document.services[mirror.service]
        let version = service.versions[mirror.version]
        var spec = spec(service, version)
        spec.limits = mirror.limits
        // Copies are nobody's requests: what becomes of them ejects nothing and is never repeated.
        spec.outlier = nil
        spec.healthCheck = nil
        spec.isMirror = true
        let row = registry.metrics.row(
            .init(route: name, service: service.name, version: version.name, isMirror: true))
        mirrors.append(
            Snapshot.MirrorPlan(
                service: mirror.service, version: versionIndex(mirror.service, mirror.version),
                cluster: SharedBox(registry.cluster(spec)), draws: draws,
                bodyBytesMax: mirror.bodyBytesMax,
                row: Snapshot.RowPlan(
                    id: row.id, slot: row.slot, edits: edits(route.edits, version.edits))))
        return mirrors.count - 1
    }

    // MARK: Health checks

    mutating func addCheck(ofService index: Int) {
        let service = document.services[index]
        guard let check = service.healthCheck else { return }
        var route = Snapshot.RoutePlan()
        route.name = store.intern("health-check")
        route.service = index
        route.firstByte = check.policy.timeout
        route.request = check.policy.timeout
        route.idle = check.policy.timeout
        route.retry = retry(.off)
        route.rows = row(route: "", service: "", version: "")
        routes.append(route)
        let host = check.host ?? service.name
        var plan = Snapshot.CheckPlan(policy: check.policy, route: routes.count - 1)
        switch check.policy.kind {
        case .tcp: break
        case .http:
            plan.message = store.intern(
                "GET \(check.path) HTTP/1.1\r\nhost: \(host)\r\nuser-agent: sluice-health-check\r\n"
                    + "accept: */*\r\n\r\n")
        case .grpc: plan.message = store.intern(SnapshotCompiler.grpcCheck(check, host))
        }
        checks.append(plan)
        setCheck(checks.count - 1, ofService: index)
    }

    /// `grpc.health.v1.Health/Check` with a `HealthCheckRequest { string service = 1; }` (gRPC's
    /// health checking protocol; the message behind its five bytes of framing).
    private static func grpcCheck(_ check: Document.HealthCheck, _ host: String) -> [UInt8] {
        var message: [UInt8] = []
        let name = Array(check.grpcService.utf8)
        if !name.isEmpty {
            message.append(0x0a)
            // A length below 128 is one byte, as a varint, below 16,384 two.
            if name.count < 128 {
                message.append(UInt8(name.count))
            } else {
                message += [UInt8(name.count & 0x7f) | 0x80, UInt8(name.count >> 7)]
            }
            message += name
        }
        let head =
            "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nhost: \(host)\r\n"
            + "content-type: application/grpc\r\nte: trailers\r\n"
            + "user-agent: sluice-health-check\r\ncontent-length: \(message.count + 5)\r\n\r\n"
        return Array(head.utf8) + [0, 0, 0, UInt8(message.count >> 8), UInt8(message.count & 0xff)]
            + message
    }
}
