import Base
import HTTP2
import JSON
import Telemetry
import Upstream

/// The configuration in force as JSON, in the shape of the file: every key of the field table with
/// what was understood, defaults included. Names of key files are shown, keys never.
///
/// A map of the file, such as the services, is a list here whose elements have the key as `name`,
/// where their order matters. What is not given and has no default is `null`.
public enum DocumentJSON {
    public static func document(_ document: Document) -> JSONText {
        .object([
            ("listeners", .array(document.listeners.map(listener))),
            ("workers", number(document.workers, otherwise: "auto")),
            (
                "admin",
                .object([
                    ("address", addresses(document.admin)),
                    ("token", text(document.adminTokenPath)),
                    ("tokens", .array(document.adminTokens.map(adminToken))),
                ])
            ),
            (
                "metrics",
                .object([
                    ("address", addresses(document.metrics)),
                    ("retention", time(document.metricsRetention)),
                    ("istio", document.metricsIstio.map(istio) ?? .string("off")),
                    ("http", onOff(document.metricsHTTP)),
                ])
            ),
            (
                "identity",
                .object([
                    ("workload", text(document.identity.workload)),
                    ("namespace", text(document.identity.namespace)),
                    ("app", text(document.identity.app)),
                    ("version", text(document.identity.version)),
                    ("cluster", text(document.identity.cluster)),
                ])
            ),
            ("services", .array(document.services.map(service))),
            ("routes", .array(document.routes.map { route($0, document) })),
            ("defaults", defaults(document)),
            (
                "log",
                .object([
                    ("level", .string(document.logLevel.rawValue)),
                    ("format", .string(document.logsJSON ? "json" : "logfmt")),
                ])
            ),
            ("accessLog", document.accessLog.map(accessLog) ?? .string("off")),
            ("rollouts", document.rollouts.map(rollouts) ?? .null),
            (
                "drain",
                .object([
                    ("delay", time(document.drainDelay)), ("grace", time(document.drainGrace)),
                ])
            ),
        ])
    }

    // MARK: Values

    static func text(_ value: String?) -> JSONText { value.map { .string($0) } ?? .null }

    static func time(_ value: Duration) -> JSONText { .string(Units.text(value)) }

    static func share(_ hundredths: Int) -> JSONText { .string(Units.percent(hundredths)) }

    static func strings(_ list: [String]) -> JSONText { .array(list.map { .string($0) }) }

    static func addresses(_ list: [Address]) -> JSONText {
        strings(list.map { UnixPaths.text($0) })
    }

    static func onOff(_ value: Bool) -> JSONText { .string(value ? "on" : "off") }

    /// A number that 0 stands for a word in.
    static func number(_ value: Int, otherwise: String) -> JSONText {
        value == 0 ? .string(otherwise) : .integer(value)
    }

    // MARK: Listeners and the process

    private static func istio(_ settings: IstioMetricsPage.Settings) -> JSONText {
        let reporter =
            switch settings.reporters {
            case nil: "auto"
            case [.source]?: "source"
            case [.destination]?: "destination"
            default: "both"
            }
        return .object([
            ("reporter", .string(reporter)), ("sizes", onOff(settings.hasSizes)),
        ])
    }

    private static func listener(_ listener: Document.Listener) -> JSONText {
        .object([
            ("name", .string(listener.name)),
            ("address", .string(UnixPaths.text(listener.address))),
            ("protocol", .string(listener.protocol.rawValue)),
            ("tls", listener.tls.map(listenerTLS) ?? .string("off")),
            ("clientHalfClose", .string(listener.allowsHalfClose ? "allow" : "abort")),
        ])
    }

    private static func listenerTLS(_ tls: Document.ListenerTLS) -> JSONText {
        var pairs: [(String, JSONText)] = []
        // The first of them may have been written beside `certificates`.
        if let first = tls.certificates.first { pairs += pair(first) }
        pairs += [
            ("certificates", .array(tls.certificates.dropFirst().map { .object(pair($0)) })),
            ("clientCA", text(tls.clientCA)),
            (
                "clientCertificate",
                .string(tls.requiresClientCertificate ? "required" : "optional")
            ),
            ("minVersion", .string(tls.isModern ? "1.3" : "1.2")),
        ]
        return .object(pairs)
    }

    /// The names of the two files.
    static func pair(_ paths: Document.CertificatePaths?) -> [(String, JSONText)] {
        [("certificate", text(paths?.certificate)), ("key", text(paths?.key))]
    }

    private static func accessLog(_ log: Document.AccessLog) -> JSONText {
        .object([
            ("path", .string(log.path)), ("format", logFormat(log.format)),
            ("sample", share(log.sample)),
            ("errors", .string(log.writesErrors ? "always" : "sampled")),
        ])
    }

    private static func logFormat(_ format: Document.AccessLog.Format) -> JSONText {
        func text(_ shape: LogTemplate.Shape) -> JSONText {
            switch shape {
            case .text(_, let source): return .string(source)
            case .object(let members):
                return .object(members.map { ($0.key, text($0.value)) })
            }
        }
        switch format {
        case .json: return .string("json")
        case .combined: return .string("combined")
        case .template(_, let name?): return .string(name)
        case .template(let template, nil): return text(template.shape)
        }
    }

    // MARK: Defaults

    private static func defaults(_ document: Document) -> JSONText {
        var retries = self.retries(document.retries)
        retries += [
            ("budget", document.retryBudget.map { share($0.perRequest) } ?? .string("unlimited")),
            ("minPerSecond", document.retryBudget.map { .integer($0.perSecond) } ?? .null),
        ]
        return .object([
            ("timeouts", timeouts(document.timeouts)), ("retries", .object(retries)),
            ("limits", limits(document.limits)), ("forwarding", forwarding(document.forwarding)),
            ("pathNormalization", onOff(document.normalizesPaths)),
        ])
    }

    private static func timeouts(_ timeouts: Document.Timeouts) -> JSONText {
        .object([
            ("headers", time(timeouts.headers)), ("firstByte", time(timeouts.firstByte)),
            ("request", time(timeouts.request)), ("idle", time(timeouts.idle)),
            ("keepAlive", time(timeouts.keepAlive)), ("write", time(timeouts.write)),
            ("perTry", time(timeouts.perTry)),
            ("maxConnectionDuration", time(timeouts.connectionAge)),
        ])
    }

    private static func limits(_ limits: Document.Limits) -> JSONText {
        .object([
            ("headerBytes", .integer(limits.headBytes)), ("headers", .integer(limits.fields)),
            (
                "bodyBytes",
                limits.bodyBytes == .max
                    ? .string("unlimited") : .integer(Int(clamping: limits.bodyBytes))
            ),
            ("connections", number(limits.connections, otherwise: "auto")),
            ("acceptRate", number(limits.acceptRate, otherwise: "unlimited")),
            ("bufferBytes", number(limits.bufferBytes, otherwise: "auto")),
            ("minBytesPerSecond", .integer(limits.bytesPerSecondMin)),
            ("http2", http2(limits.http2)),
        ])
    }

    private static func http2(_ limits: HTTP2Limits) -> JSONText {
        .object([
            ("maxConcurrentStreams", .integer(limits.streamsMax)),
            ("initialWindow", .integer(limits.streamWindowBytes)),
            ("maxWindow", .integer(limits.streamWindowBytesMax)),
            ("continuationFrames", .integer(limits.continuationsMax)),
            ("resetsPerSecond", .integer(limits.resetsPerSecond)),
            ("controlFramesPerSecond", .integer(limits.controlFramesPerSecond)),
            ("emptyFramesPerSecond", .integer(limits.emptyFramesPerSecond)),
            ("priorityFramesPerStream", .integer(limits.priorityFramesPerStream)),
            ("windowUpdatesPerDataFrame", .integer(limits.windowUpdatesPerDataFrame)),
            ("queuedControlFrames", .integer(limits.queuedControlFramesMax)),
        ])
    }

    private static func forwarding(_ forwarding: Document.Forwarding) -> JSONText {
        .object([
            ("trustedHops", .integer(forwarding.trustedHops)),
            ("requestId", .string("\(forwarding.requestID)")), ("via", onOff(forwarding.via)),
            ("version", .string(forwarding.versionField ?? "off")),
            ("flags", .string(forwarding.flagsField ?? "off")),
        ])
    }
}
