import Base
import Configuration
import JSON
import Routing
import Upstream

/// The configuration in force as JSON: what was understood, defaults included. Names of key files
/// are shown, keys never.
enum DocumentJSON {
    static func document(_ document: Document) -> JSONText {
        .object([
            (
                "listeners",
                .array(
                    document.listeners.map {
                        .object([
                            ("name", .string($0.name)),
                            ("address", .string(UnixPaths.text($0.address))),
                            ("protocol", .string($0.protocol.rawValue)),
                            ("tls", $0.tls.map(listenerTLS) ?? .string("off")),
                            (
                                "clientHalfClose",
                                .string($0.allowsHalfClose ? "allow" : "abort")
                            ),
                        ])
                    })
            ),
            ("admin", .array(document.admin.map { .string(UnixPaths.text($0)) })),
            (
                "metrics",
                .object([
                    ("address", .array(document.metrics.map { .string(UnixPaths.text($0)) })),
                    ("retention", .string(Units.text(document.metricsRetention))),
                ])
            ),
            (
                "accessLog",
                document.accessLog.map {
                    .object([
                        ("path", .string($0.path)), ("format", .string("\($0.format)")),
                        ("sample", .string(Units.percent($0.sample))),
                    ])
                } ?? .string("off")
            ),
            ("services", .array(document.services.map(service))),
            ("routes", .array(document.routes.map { route($0, document) })),
            ("timeouts", timeouts(document.timeouts)),
            ("retries", .string(document.retries.text)),
            ("retryBudget", .string(document.retryBudget?.text ?? "unlimited")),
            (
                "limits",
                .object([
                    ("headerBytes", .integer(document.limits.headBytes)),
                    ("headers", .integer(document.limits.fields)),
                    (
                        "bodyBytes",
                        document.limits.bodyBytes == .max
                            ? .string("unlimited") : .integer(Int(document.limits.bodyBytes))
                    ),
                    ("acceptRate", number(document.limits.acceptRate, otherwise: "unlimited")),
                    ("bufferBytes", number(document.limits.bufferBytes, otherwise: "auto")),
                    ("minBytesPerSecond", .integer(document.limits.bytesPerSecondMin)),
                ])
            ),
            (
                "drain",
                .object([
                    ("delay", .string(Units.text(document.drainDelay))),
                    ("grace", .string(Units.text(document.drainGrace))),
                ])
            ),
        ])
    }

    private static func listenerTLS(_ tls: Document.ListenerTLS) -> JSONText {
        .object([
            ("certificates", .array(tls.certificates.map { .string($0.certificate) })),
            ("clientCA", .string(tls.clientCA ?? "none")),
            ("minVersion", .string(tls.isModern ? "1.3" : "1.2")),
        ])
    }

    private static func upstreamTLS(_ tls: Document.UpstreamTLS) -> JSONText {
        .object([
            ("ca", .string(tls.ca ?? "the system's")), ("sni", .string(tls.sni ?? "default")),
            ("verify", .string(tls.verifies ? "on" : "off")),
            ("certificate", .string(tls.certificate?.certificate ?? "none")),
        ])
    }

    static func timeouts(_ timeouts: Document.Timeouts) -> JSONText {
        .object([
            ("headers", .string(Units.text(timeouts.headers))),
            ("firstByte", .string(Units.text(timeouts.firstByte))),
            ("request", .string(Units.text(timeouts.request))),
            ("idle", .string(Units.text(timeouts.idle))),
            ("keepAlive", .string(Units.text(timeouts.keepAlive))),
            ("write", .string(Units.text(timeouts.write))),
            ("perTry", .string(Units.text(timeouts.perTry))),
            ("maxConnectionDuration", .string(Units.text(timeouts.connectionAge))),
        ])
    }

    private static func number(_ value: Int, otherwise: String) -> JSONText {
        value == 0 ? .string(otherwise) : .integer(value)
    }

    private static func service(_ service: Document.Service) -> JSONText {
        var pairs: [(String, JSONText)] = [
            ("name", .string(service.name)),
            ("hosts", .array(service.hosts.map { .string($0) })),
            ("protocol", .string("\(service.protocol)")),
            ("tls", service.tls.map(upstreamTLS) ?? .string("off")),
            ("stable", .string(service.versions[service.stable].name)),
            (
                "versions",
                .array(
                    service.versions.map { version in
                        .object([
                            ("name", .string(version.name)), ("weight", .integer(version.weight)),
                            (
                                "endpoints",
                                .array(version.endpoints.map { .string(UnixPaths.text($0)) })
                            ),
                            (
                                "dns",
                                version.dns.map { .string("\($0.name):\($0.port)") } ?? .null
                            ),
                            ("fault", version.fault.map(fault) ?? .string("off")),
                        ])
                    })
            ),
            ("whenUnavailable", .string(service.fallsBack ? "fallback" : "fail")),
            ("connectTimeout", .string(Units.text(service.connectTimeout))),
            ("connectionPool", pool(service.limits)),
            ("healthCheck", service.healthCheck.map(healthCheck) ?? .string("off")),
            ("outlierDetection", service.outlier.map(outlier) ?? .string("off")),
            ("minHealthPercent", .integer(service.healthyPercentMin)),
            ("warmup", .string(service.warmup.map { Units.text($0.duration) } ?? "off")),
        ]
        if let sticky = service.sticky {
            pairs.append(
                (
                    "sticky",
                    .object([
                        (sticky.source == .cookie ? "cookie" : "header", .string(sticky.name)),
                        ("issue", sticky.issue.map { .string($0) } ?? .null),
                        ("ttl", .string(Units.text(sticky.ttl))), ("salt", .string(sticky.salt)),
                        ("keys", sticky.keysPath.map { .string($0) } ?? .null),
                    ])
                ))
        }
        return .object(pairs)
    }

    private static func route(_ route: Document.Route, _ document: Document) -> JSONText {
        var pairs: [(String, JSONText)] = [
            ("name", .string(route.name)), ("match", .array(route.matches.map(match))),
        ]
        switch route.action {
        case .forward(let service, let version, let split):
            let target = document.services[service]
            let name = version.map { "/" + target.versions[$0].name } ?? ""
            pairs.append(("to", .string(target.name + name)))
            if let split {
                pairs.append(("split", .array(split.map { .integer($0) })))
            }
        case .redirect(let redirect): pairs.append(("redirect", .integer(Int(redirect.status))))
        case .respond(let status, _, _): pairs.append(("respond", .integer(Int(status))))
        }
        pairs += resilience(route, document)
        return .object(pairs)
    }
}
