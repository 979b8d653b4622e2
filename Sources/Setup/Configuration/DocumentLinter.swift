import Base
import RE2
import Routing
import YAML

/// Looks for what is valid but can hardly be meant.
enum DocumentLinter {
    static func lint(_ document: Document, _ warnings: inout [ConfigurationError]) {
        func warn(_ message: String, _ mark: YAMLMark, _ hint: String) {
            warnings.append(ConfigurationError(message, at: mark, hint: hint, severity: .warning))
        }
        for service in document.services {
            for version in service.versions
            where version.endpoints.isEmpty && version.dns == nil && version.weight > 0 {
                warn(
                    "the version \"\(version.name)\" of \"\(service.name)\" "
                        + "has weight but no endpoints",
                    version.mark, "its share of requests is answered with 503")
            }
        }
        lintCookies(document, warn)
        lintCookieEdits(document, warn)
        var earlier = EarlierRoutes()
        for route in document.routes {
            if let first = earlier.shadowing(route) {
                warn(
                    "the route \"\(route.name)\" is never reached", route.mark,
                    "\"\(first.name)\" on line \(first.mark.line) takes everything it matches")
            }
            earlier.append(route)
            let times = (
                perTry: route.perTry ?? document.timeouts.perTry,
                firstByte: route.firstByte ?? document.timeouts.firstByte,
                request: route.request ?? document.timeouts.request
            )
            lintArrival(route, document, warn)
            if let firstByte = route.firstByte, firstByte > times.request {
                warn(
                    "timeouts.firstByte of \"\(route.name)\" is longer than request", route.mark,
                    "the whole exchange ends first")
            }
            if !times.perTry.isUnlimited, times.perTry > min(times.firstByte, times.request) {
                warn(
                    "timeouts.perTry of \"\(route.name)\" is longer than firstByte or request",
                    route.mark, "no attempt lives that long")
            }
        }
    }

    /// A browser keeps one cookie of a name, and sends it to every service.
    private static func lintCookies(
        _ document: Document, _ warn: (String, YAMLMark, String) -> Void
    ) {
        var first: [String: Document.Service] = [:]
        for service in document.services {
            guard let sticky = service.sticky, let issue = sticky.issue else { continue }
            guard let other = first[issue] else {
                first[issue] = service
                continue
            }
            guard other.sticky?.keysPath != sticky.keysPath else { continue }
            warn(
                "\"\(other.name)\" and \"\(service.name)\" issue the cookie \"\(issue)\" with "
                    + "different keys",
                service.mark,
                "a client has one session for both, and each takes what the other's keys signed; "
                    + "give them the same keys, or names of their own")
        }
    }

    /// Edits of Set-Cookie that reach the cookie that a service issues.
    private static func lintCookieEdits(
        _ document: Document, _ warn: (String, YAMLMark, String) -> Void
    ) {
        for route in document.routes {
            guard case .forward(let index, _, _) = route.action,
                let name = document.services[index].sticky?.issue
            else { continue }
            let levels = [route.edits.response]
            let versions = document.services[index].versions.map { levels + [$0.edits.response] }
            guard versions.contains(where: { FieldEdits($0).removed.contains("set-cookie") })
            else { continue }
            warn(
                "edits of set-cookie on the route \"\(route.name)\" take the session cookie "
                    + "\"\(name)\" away",
                route.mark,
                "without the cookie no session begins there; add: adds one beside it")
        }
    }

    /// Schemes that nobody can come by, and redirects that lead back to themselves.
    private static func lintArrival(
        _ route: Document.Route, _ document: Document,
        _ warn: (String, YAMLMark, String) -> Void
    ) {
        func schemes(_ match: MatchRule) -> Set<RequestScheme> {
            let named = document.listeners.filter {
                match.listeners.isEmpty || match.listeners.contains($0.name)
            }
            // A proxy in front may have heard either.
            let spoken: Set<RequestScheme> =
                document.forwarding.trustedHops > 0
                ? [.http, .https] : Set(named.map { $0.tls == nil ? .http : .https })
            return match.scheme.map { spoken.intersection([$0]) } ?? spoken
        }
        for match in route.matches where match.scheme != nil && schemes(match).isEmpty {
            let scheme = match.scheme?.rawValue ?? ""
            warn(
                "a match of \"\(route.name)\" asks for \(scheme), which no listener of it speaks",
                route.mark,
                scheme == "https"
                    ? "give a listener tls:, or set defaults.forwarding.trustedHops where a proxy "
                        + "in front speaks it" : "every listener there has tls:")
        }
        guard case .redirect(let redirect) = route.action, let target = redirect.scheme,
            redirect.host == nil, redirect.path == nil, redirect.prefix == nil,
            redirect.port == nil, let scheme = RequestScheme(rawValue: target)
        else { return }
        let matches = route.matches.isEmpty ? [MatchRule()] : route.matches
        if matches.contains(where: { schemes($0).contains(scheme) }) {
            warn(
                "the redirect of \"\(route.name)\" to \(target) sends those in circles who come by "
                    + target, route.mark,
                "add match: { scheme: \(scheme == .https ? "http" : "https") }")
        }
    }

    /// The routes seen so far, by the first element of their paths, so that thousands of routes are
    /// not compared each with each.
    private struct EarlierRoutes {
        /// Comparisons in all; what lies beyond is not looked at.
        private static let comparisonsMax = 1_000_000

        private var byElement: [String: [Document.Route]] = [:]
        /// Routes that a path of any first element may meet.
        private var any: [Document.Route] = []
        private var comparisons = 0

        mutating func append(_ route: Document.Route) {
            let elements = route.matches.map { EarlierRoutes.element($0.path) }
            if elements.isEmpty || elements.contains(nil) { return any.append(route) }
            for element in Set(elements.compactMap { $0 }) {
                byElement[element, default: []].append(route)
            }
        }

        mutating func shadowing(_ route: Document.Route) -> Document.Route? {
            let element = route.matches.first.flatMap { EarlierRoutes.element($0.path) }
            // The two lists are never joined: a copy for each of 10,000 routes took 5 s.
            let near = element.flatMap { byElement[$0] } ?? []
            comparisons += any.count + near.count
            guard comparisons < EarlierRoutes.comparisonsMax else { return nil }
            return any.first { shadows($0, route) } ?? near.first { shadows($0, route) }
        }

        /// The first element of a path that has a fixed one; `nil` for the others.
        private static func element(_ path: PathRule?) -> String? {
            switch path {
            case .exact(let text)?, .prefix(let text)?, .template(let text)?:
                let first = text.split(separator: "/").first.map(String.init) ?? ""
                return first.isEmpty || first.hasPrefix("{") ? nil : first
            case .regex?, nil: return nil
            }
        }
    }

    /// Whether every request that `later` matches is matched by `earlier`; a sufficient test.
    static func shadows(_ earlier: Document.Route, _ later: Document.Route) -> Bool {
        if earlier.matches.isEmpty { return true }
        if later.matches.isEmpty { return false }
        return later.matches.allSatisfy { match in earlier.matches.contains { covers($0, match) } }
    }

    private static func covers(_ a: MatchRule, _ b: MatchRule) -> Bool {
        (a.listeners.isEmpty
            || !b.listeners.isEmpty && b.listeners.allSatisfy(a.listeners.contains))
            && (a.scheme == nil || a.scheme == b.scheme)
            && coversHosts(a.hosts, b.hosts) && coversPath(a.path, b.path)
            && (a.methods.isEmpty || !b.methods.isEmpty && b.methods.allSatisfy(a.methods.contains))
            && a.values.allSatisfy { rule in b.values.contains { isSame(rule, $0) } }
    }

    private static func coversHosts(_ a: [String], _ b: [String]) -> Bool {
        if a.isEmpty || a.contains("*") { return true }
        if b.isEmpty { return false }
        return b.allSatisfy { host in
            a.contains { pattern in
                pattern == host
                    || pattern.hasPrefix("*.") && host.hasSuffix(pattern.dropFirst())
                        && host.count > pattern.count - 1
            }
        }
    }

    private static func coversPath(_ a: PathRule?, _ b: PathRule?) -> Bool {
        switch (a, b) {
        case (nil, _): return true
        case (_, nil): return false
        case (.exact(let x)?, .exact(let y)?): return x == y
        case (.template(let x)?, .template(let y)?): return x == y
        case (.template(let x)?, .exact(let y)?): return isTemplate(x, of: y)
        case (.regex(let x)?, .regex(let y)?): return x.pattern == y.pattern
        case (.prefix(let x)?, .template) where x.contains("{"): return false
        case (.prefix(let x)?, .exact(let y)?), (.prefix(let x)?, .prefix(let y)?),
            (.prefix(let x)?, .template(let y)?):
            let prefix = x.hasSuffix("/") ? String(x.dropLast()) : x
            return y == prefix || y.hasPrefix(prefix + "/") || prefix.isEmpty
        default: return false
        }
    }

    /// Whether each element of a path is that of a template, or stands for one of its names.
    private static func isTemplate(_ template: String, of path: String) -> Bool {
        let names = template.split(separator: "/", omittingEmptySubsequences: false)
        let elements = path.split(separator: "/", omittingEmptySubsequences: false)
        return names.count == elements.count
            && zip(names, elements).allSatisfy { name, element in
                name.hasPrefix("{") ? !element.isEmpty : name == element
            }
    }

    private static func isSame(_ a: ValueRule, _ b: ValueRule) -> Bool {
        guard a.source == b.source, a.isNegated == b.isNegated,
            a.source == .header ? a.name.lowercased() == b.name.lowercased() : a.name == b.name
        else { return false }
        switch (a.pattern, b.pattern) {
        case (.exact(let x), .exact(let y)), (.prefix(let x), .prefix(let y)),
            (.suffix(let x), .suffix(let y)):
            return x == y
        case (.regex(let x), .regex(let y)): return x.pattern == y.pattern
        case (.present, _): return !a.isNegated
        default: return false
        }
    }
}
