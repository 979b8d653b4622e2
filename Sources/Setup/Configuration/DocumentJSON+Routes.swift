import Base
import JSON
import Routing
import Upstream

// Routes as they were understood, with the times and retries that hold for them.

extension DocumentJSON {
    static func route(_ route: Document.Route, _ document: Document) -> JSONText {
        var pairs: [(String, JSONText)] = [
            ("name", .string(route.name)), ("match", .array(route.matches.map(match))),
        ]
        switch route.action {
        case .forward(let index, let version, let split):
            let service = document.services[index]
            let name = version.map { "/" + service.versions[$0].name } ?? ""
            pairs.append(("to", .string(service.name + name)))
            if let split {
                let weights = zip(service.versions, split).map { ($0.name, JSONText.integer($1)) }
                pairs.append(("split", .object(weights)))
            }
        case .redirect(let redirect): pairs.append(("redirect", self.redirect(redirect)))
        case .respond(let status, let body, let contentType):
            pairs.append(
                (
                    "respond",
                    .object([
                        ("status", .integer(Int(status))), ("body", .string(body)),
                        ("contentType", .string(contentType)),
                    ])
                ))
        }
        return .object(
            pairs + [
                ("rewrite", route.rewrite.map(rewrite) ?? .null), ("headers", edits(route.edits)),
                ("timeouts", timeouts(of: route, document.timeouts)),
                ("connect", .string(route.allowsConnect ? "allow" : "refuse")),
                ("retries", .object(retries(route.retries ?? document.retries))),
                ("fault", route.fault.map(fault) ?? .null),
                ("mirror", route.mirror.map { mirror($0, document) } ?? .null),
                ("rateLimit", route.rateLimit.map(rateLimit) ?? .null),
            ])
    }

    private static func redirect(_ redirect: Document.Redirect) -> JSONText {
        .object([
            ("scheme", text(redirect.scheme)), ("host", text(redirect.host)),
            ("port", redirect.port.map { .integer($0) } ?? .null), ("path", text(redirect.path)),
            ("prefix", text(redirect.prefix)), ("status", .integer(Int(redirect.status))),
        ])
    }

    private static func rewrite(_ rewrite: Document.Rewrite) -> JSONText {
        .object([
            ("path", text(rewrite.path)), ("prefix", text(rewrite.prefix)),
            ("host", text(rewrite.host)),
        ])
    }

    private static func timeouts(
        of route: Document.Route, _ defaults: Document.Timeouts
    ) -> JSONText {
        .object([
            ("firstByte", time(route.firstByte ?? defaults.firstByte)),
            ("request", time(route.request ?? defaults.request)),
            ("idle", time(route.idle ?? defaults.idle)),
            ("perTry", time(route.perTry ?? defaults.perTry)),
            ("write", time(route.write ?? defaults.write)),
        ])
    }

    static func retries(_ policy: RetryPolicy) -> [(String, JSONText)] {
        [
            ("attempts", .integer(Int(policy.retriesMax))), ("on", strings(policy.reasons)),
            ("methods", .string(policy.repeatsAllMethods ? "all" : "idempotent")),
            ("backoff", time(policy.backoff.base)), ("maxBackoff", time(policy.backoff.longest)),
            ("maxRetryAfter", time(policy.retryAfterMax)),
            ("bodyBytes", .integer(policy.bodyBytesMax)),
        ]
    }

    private static func mirror(_ mirror: Document.Mirror, _ document: Document) -> JSONText {
        let service = document.services[mirror.service]
        return .object([
            ("to", .string(service.name + "/" + service.versions[mirror.version].name)),
            ("share", share(mirror.share)), ("bodyBytes", .integer(mirror.bodyBytesMax)),
            ("connectionPool", pool(mirror.limits)),
        ])
    }

    private static func rateLimit(_ limit: Document.RateLimit) -> JSONText {
        let key: JSONText
        switch limit.key {
        case .none: key = .null
        case .address: key = .string("address")
        case .header(let name): key = .object([("header", .string(name))])
        case .cookie(let name): key = .object([("cookie", .string(name))])
        }
        return .object([
            ("requests", .integer(limit.policy.requests)), ("per", time(limit.policy.per)),
            ("burst", .integer(limit.policy.burst)), ("by", key),
            ("maxKeys", .integer(limit.policy.keysMax)),
        ])
    }

    // MARK: Matches

    /// A match with the keys that it has.
    private static func match(_ match: MatchRule) -> JSONText {
        var pairs: [(String, JSONText)] = []
        if !match.listeners.isEmpty { pairs.append(("listeners", strings(match.listeners))) }
        if let scheme = match.scheme { pairs.append(("scheme", .string(scheme.rawValue))) }
        if !match.hosts.isEmpty { pairs.append(("hosts", strings(match.hosts))) }
        if let path = match.path?.words {
            pairs.append(("path", .object([(path.key, .string(path.text))])))
        }
        if !match.methods.isEmpty { pairs.append(("methods", strings(match.methods))) }
        let sources: [(String, ValueRule.Source)] = [
            ("headers", .header), ("queries", .query), ("cookies", .cookie),
        ]
        for (key, source) in sources {
            let values = match.values.filter { $0.source == source }
            if !values.isEmpty {
                pairs.append((key, .object(values.map { ($0.name, condition($0)) })))
            }
        }
        return .object(pairs)
    }

    private static func condition(_ rule: ValueRule) -> JSONText {
        let pattern = rule.pattern.words
        return .object(
            [(pattern.key, .string(pattern.text))] + (rule.isNegated ? [("not", .bool(true))] : []))
    }
}
