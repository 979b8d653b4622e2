import Base
import Configuration
import JSON
import Routing
import Upstream

// What keeps trouble small, as it was understood.

extension DocumentJSON {
    static func pool(_ limits: PoolLimits) -> JSONText {
        func number(_ value: Int) -> JSONText {
            value == .max ? .string("unlimited") : .integer(value)
        }
        return .object([
            ("maxConnections", number(limits.connectionsMax)),
            ("maxPendingRequests", number(limits.pendingRequestsMax)),
            ("maxRequests", number(limits.requestsMax)), ("maxRetries", number(limits.retriesMax)),
            ("maxRequestsPerConnection", number(limits.requestsPerConnectionMax)),
            ("maxConcurrentStreams", number(limits.streamsPerConnectionMax)),
            ("idleTimeout", .string(Units.text(limits.idleTimeout))),
            ("maxConnectionDuration", .string(Units.text(limits.connectionAgeMax))),
            (
                "pingInterval",
                .string(limits.pingsAtWill ? Units.text(limits.pingInterval) : "auto")
            ),
        ])
    }

    static func healthCheck(_ check: Document.HealthCheck) -> JSONText {
        var pairs: [(String, JSONText)] = []
        switch check.policy.kind {
        case .http:
            pairs.append(("path", .string(check.path)))
            pairs.append(
                ("statuses", .string("\(check.policy.statusMin)-\(check.policy.statusMax)")))
        case .tcp: pairs.append(("tcp", .bool(true)))
        case .grpc: pairs.append(("grpc", .string(check.grpcService)))
        }
        pairs += [
            ("interval", .string(Units.text(check.policy.interval))),
            ("timeout", .string(Units.text(check.policy.timeout))),
            ("healthyThreshold", .integer(check.policy.healthyThreshold)),
            ("unhealthyThreshold", .integer(check.policy.unhealthyThreshold)),
        ]
        return .object(pairs)
    }

    static func outlier(_ policy: OutlierPolicy) -> JSONText {
        func run(_ max: Int) -> JSONText { max == 0 ? .string("off") : .integer(max) }
        var pairs: [(String, JSONText)] = [
            ("consecutive5xx", run(policy.errorsInARowMax)),
            ("consecutiveGatewayErrors", run(policy.gatewayErrorsInARowMax)),
            ("consecutiveLocalOriginFailures", run(policy.localFailuresInARowMax)),
            ("interval", .string(Units.text(policy.interval))),
            ("baseEjectionTime", .string(Units.text(policy.baseEjectionTime))),
            ("maxEjectionTime", .string(Units.text(policy.maxEjectionTime))),
            ("maxEjectionPercent", .integer(policy.maxEjectionPercent)),
        ]
        if let rate = policy.successRate {
            pairs.append(
                (
                    "successRate",
                    .object([
                        ("minEndpoints", .integer(rate.endpointsMin)),
                        ("minRequests", .integer(rate.requestsMin)),
                        ("stdevFactor", .integer(rate.deviations)),
                    ])
                ))
        }
        return .object(pairs)
    }

    static func fault(_ fault: Document.Fault) -> JSONText {
        var pairs: [(String, JSONText)] = []
        if let delay = fault.delay {
            pairs.append(
                (
                    "delay",
                    .object([
                        ("time", .string(Units.text(delay.time))),
                        ("share", .string(Units.percent(delay.share))),
                    ])
                ))
        }
        if let abort = fault.abort {
            pairs.append(
                (
                    "abort",
                    .object([
                        ("status", .integer(Int(abort.status))),
                        ("grpcStatus", abort.grpcStatus.map { .integer(Int($0)) } ?? .null),
                        ("share", .string(Units.percent(abort.share))),
                    ])
                ))
        }
        pairs.append(("byHeader", .bool(fault.isByHeader)))
        return .object(pairs)
    }

    static func resilience(
        _ route: Document.Route, _ document: Document
    ) -> [(String, JSONText)] {
        var pairs: [(String, JSONText)] = []
        if let retries = route.retries { pairs.append(("retries", .string(retries.text))) }
        if let fault = route.fault { pairs.append(("fault", self.fault(fault))) }
        if let mirror = route.mirror {
            let service = document.services[mirror.service]
            pairs.append(
                (
                    "mirror",
                    .object([
                        (
                            "to",
                            .string(service.name + "/" + service.versions[mirror.version].name)
                        ),
                        ("share", .string(Units.percent(mirror.share))),
                        ("bodyBytes", .integer(mirror.bodyBytesMax)),
                        ("connectionPool", pool(mirror.limits)),
                    ])
                ))
        }
        if let limit = route.rateLimit {
            let key: String
            switch limit.key {
            case .none: key = "route"
            case .address: key = "address"
            case .header(let name): key = "header \(name)"
            case .cookie(let name): key = "cookie \(name)"
            }
            pairs.append(
                (
                    "rateLimit",
                    .object([
                        ("requests", .integer(limit.policy.requests)),
                        ("per", .string(Units.text(limit.policy.per))),
                        ("burst", .integer(limit.policy.burst)), ("by", .string(key)),
                    ])
                ))
        }
        return pairs
    }
}
