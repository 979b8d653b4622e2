import Base
import HTTPSemantics
import JSON
import Routing
import Telemetry
import Upstream

// Services and versions as they were understood.

extension DocumentJSON {
    static func service(_ service: Document.Service) -> JSONText {
        let ratio: JSONText? = service.guardRatio.map { .object([("ratio", .integer($0))]) }
        let own: [(String, JSONText)] = [
            ("errors", strings(versionErrors(service.errors))), ("guard", ratio ?? .string("off")),
            ("namespace", text(service.namespace)), ("app", text(service.app)),
            ("host", text(service.host)),
        ]
        let pairs: [(String, JSONText)] = [
            ("name", .string(service.name)), ("hosts", strings(service.hosts)),
            ("protocol", .string("\(service.protocol)")),
            ("tls", service.tls.map(upstreamTLS) ?? .string("off")),
            ("stable", .string(service.versions[service.stable].name)),
            ("versions", .array(service.versions.map(version))),
            ("sticky", service.sticky.map(sticky) ?? .null),
            ("whenUnavailable", .string(service.fallsBack ? "fallback" : "fail")),
            ("loadBalancer", loadBalancer(service)), ("dnsRefresh", time(service.dnsRefresh)),
            ("connectTimeout", time(service.connectTimeout)),
            ("connectionPool", pool(service.limits)),
            ("healthCheck", service.healthCheck.map(healthCheck) ?? .string("off")),
            (
                "outlierDetection",
                service.outlier.map { outlier($0, minHealthPercent: service.healthyPercentMin) }
                    ?? .string("off")
            ),
            ("warmup", service.warmup.map(warmup) ?? .string("off")),
        ]
        return .object(pairs + own)
    }

    private static func versionErrors(_ errors: VersionErrors) -> [String] {
        var words: [String] = []
        if errors.takesServerErrors { words.append("5xx") }
        if errors.takesNoAnswer { words.append("no-answer") }
        let statuses = ObjectSchema.callStatuses.indices.filter {
            errors.takes(call: Int8($0 + 1))
        }
        if statuses.map({ UInt8($0 + 1) }) == VersionErrors.serverCalls { return words + ["grpc"] }
        return words + statuses.map { ObjectSchema.callStatuses[$0] }
    }

    private static func upstreamTLS(_ tls: Document.UpstreamTLS) -> JSONText {
        .object(
            [
                ("ca", .string(tls.ca ?? "the system's")), ("sni", text(tls.sni)),
                ("verify", onOff(tls.verifies)),
            ] + pair(tls.certificate))
    }

    private static func version(_ version: Document.Version) -> JSONText {
        .object([
            ("name", .string(version.name)), ("weight", .integer(version.weight)),
            ("endpoints", addresses(version.endpoints)),
            ("dns", text(version.dns.map { "\($0.name):\($0.port)" })),
            ("headers", edits(version.edits)), ("fault", version.fault.map(fault) ?? .null),
            ("revision", text(version.revision)), ("workload", text(version.workload)),
            ("host", text(version.host)),
        ])
    }

    private static func sticky(_ sticky: Document.Sticky) -> JSONText {
        var pairs: [(String, JSONText)] = []
        if !sticky.name.isEmpty {
            pairs.append((sticky.source == .cookie ? "cookie" : "header", .string(sticky.name)))
        }
        return .object(
            pairs + [
                ("issue", .string(sticky.issue ?? "off")), ("ttl", time(sticky.ttl)),
                ("salt", .string(sticky.salt)), ("keys", text(sticky.keysPath)),
            ])
    }

    private static func loadBalancer(_ service: Document.Service) -> JSONText {
        let policy = "\(service.policy)"
        guard service.policy.isHashed else { return .string(policy) }
        guard let key = service.hashKey else { return .object([(policy, .object([]))]) }
        return .object([
            (
                policy,
                .object([(key.source == .cookie ? "cookie" : "header", .string(key.name))])
            )
        ])
    }

    private static func warmup(_ warmup: Warmup) -> JSONText {
        .object([
            ("duration", time(warmup.duration)),
            ("minimumPercent", .integer(warmup.shareMin / 100)),
        ])
    }

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
            ("idleTimeout", time(limits.idleTimeout)),
            ("maxConnectionDuration", time(limits.connectionAgeMax)),
            ("pingInterval", limits.pingsAtWill ? time(limits.pingInterval) : .string("auto")),
        ])
    }

    private static func healthCheck(_ check: Document.HealthCheck) -> JSONText {
        var pairs: [(String, JSONText)] = []
        switch check.policy.kind {
        case .http:
            pairs.append(("path", .string(check.path)))
            pairs.append(
                ("statuses", .string("\(check.policy.statusMin)-\(check.policy.statusMax)")))
        case .tcp: pairs.append(("tcp", .bool(true)))
        case .grpc: pairs.append(("grpc", .string(check.grpcService)))
        }
        return .object(
            pairs + [
                ("host", text(check.host)), ("interval", time(check.policy.interval)),
                ("timeout", time(check.policy.timeout)),
                ("healthyThreshold", .integer(check.policy.healthyThreshold)),
                ("unhealthyThreshold", .integer(check.policy.unhealthyThreshold)),
            ])
    }

    private static func outlier(_ policy: OutlierPolicy, minHealthPercent: Int) -> JSONText {
        func run(_ max: Int) -> JSONText { number(max, otherwise: "off") }
        return .object([
            ("consecutive5xx", run(policy.errorsInARowMax)),
            ("consecutiveGatewayErrors", run(policy.gatewayErrorsInARowMax)),
            ("consecutiveLocalOriginFailures", run(policy.localFailuresInARowMax)),
            (
                "successRate",
                policy.successRate.map {
                    .object([
                        ("minEndpoints", .integer($0.endpointsMin)),
                        ("minRequests", .integer($0.requestsMin)),
                        ("stdevFactor", .integer($0.deviations)),
                    ])
                } ?? .null
            ),
            ("interval", time(policy.interval)),
            ("baseEjectionTime", time(policy.baseEjectionTime)),
            ("maxEjectionTime", time(policy.maxEjectionTime)),
            ("maxEjectionPercent", .integer(policy.maxEjectionPercent)),
            ("minHealthPercent", .integer(minHealthPercent)),
        ])
    }

    static func fault(_ fault: Document.Fault) -> JSONText {
        .object([
            (
                "delay",
                fault.delay.map { .object([("time", time($0.time)), ("share", share($0.share))]) }
                    ?? .null
            ),
            (
                "abort",
                fault.abort.map {
                    .object([
                        ("status", .integer(Int($0.status))),
                        ("grpcStatus", $0.grpcStatus.map { .integer(Int($0)) } ?? .null),
                        ("share", share($0.share)),
                    ])
                } ?? .null
            ),
            ("byHeader", .string(fault.isByHeader ? "allow" : "ignore")),
        ])
    }

    // MARK: Edits

    static func edits(_ edits: Document.HeaderEdits) -> JSONText {
        .object([("request", direction(edits.request)), ("response", direction(edits.response))])
    }

    private static func direction(_ edits: Document.HeaderEdits.Direction) -> JSONText {
        func lines(_ list: [(name: String, value: String)]) -> JSONText {
            .object(list.map { ($0.name, .string(SecretFields.shown($0.value, of: $0.name))) })
        }
        return .object([
            ("set", lines(edits.set)), ("add", lines(edits.add)), ("remove", strings(edits.remove)),
        ])
    }
}
