import Base
import Routing
import YAML

/// Looks for what no request reaches, and for requests that would come back.
extension DocumentLinter {
    static func lintReach(
        _ document: Document, _ root: YAMLNode, _ warnings: inout [ConfigurationError]
    ) {
        func warn(_ message: String, _ mark: YAMLMark, _ hint: String) {
            warnings.append(ConfigurationError(message, at: mark, hint: hint, severity: .warning))
        }
        lintServices(document, root, warn)
        lintWeights(document, root, warn)
        lintLoops(document, root, warn)
        lintStars(document, warn)
        if let log = document.accessLog, ["stdout", "stderr", "-"].contains(log.path) {
            warn(
                "accessLog.path is a file named \"\(log.path)\" beside the configuration file",
                (root["accessLog"]?["path"] ?? root).start,
                "write path: /dev/\(log.path == "stderr" ? "stderr" : "stdout")")
        }
    }

    private static func lintServices(
        _ document: Document, _ root: YAMLNode, _ warn: (String, YAMLMark, String) -> Void
    ) {
        let services = document.services
        if document.routes.isEmpty {
            guard services.allSatisfy(\.hosts.isEmpty) else { return }
            warn(
                "there are no routes, and no service has hosts: every request is answered with 404",
                (root["routes"] ?? root["services"] ?? root).start,
                "add routes: [{ name: rest, to: \(services.first?.name ?? "SERVICE") }]")
            return
        }
        var reached: Set<Int> = []
        for route in document.routes {
            if case .forward(let service, _, _) = route.action { reached.insert(service) }
            if let mirror = route.mirror { reached.insert(mirror.service) }
        }
        for (i, service) in services.enumerated()
        where !reached.contains(i) && service.hosts.isEmpty {
            warn(
                "no route leads to the service \"\(service.name)\"", service.mark,
                "add a route with to: \(service.name), or hosts: to the service, or take it out")
        }
    }

    /// Versions without a weight beside others that have one, and that nothing else names.
    private static func lintWeights(
        _ document: Document, _ root: YAMLNode, _ warn: (String, YAMLMark, String) -> Void
    ) {
        for (i, service) in document.services.enumerated() where service.versions.count > 1 {
            let named = versionsNamed(document, service: i)
            for (j, version) in service.versions.enumerated() where !named.contains(j) {
                let node = root["services"]?[service.name]?["versions"]?[version.name]
                guard let node, node["weight"] == nil else { continue }
                warn(
                    "the version \"\(version.name)\" of \"\(service.name)\" has no weight, which "
                        + "counts as 0: no request goes to it",
                    version.mark,
                    "give it one, as the others have; weight: 0 says that this is meant")
            }
        }
    }

    /// Versions that a route or a mirror names, or that a split of a route gives a weight.
    private static func versionsNamed(_ document: Document, service index: Int) -> Set<Int> {
        var named: Set<Int> = []
        for route in document.routes {
            if case .forward(index, let version, let split) = route.action {
                if let version { named.insert(version) }
                for (i, weight) in (split ?? []).enumerated() where weight > 0 { named.insert(i) }
            }
            if let mirror = route.mirror, mirror.service == index { named.insert(mirror.version) }
        }
        return named
    }

    // MARK: Loops

    /// Warns of endpoints that are listeners of this file, when their requests would go there again
    /// in circles.
    private static func lintLoops(
        _ document: Document, _ root: YAMLNode, _ warn: (String, YAMLMark, String) -> Void
    ) {
        for (i, service) in document.services.enumerated() {
            for version in service.versions {
                let node = root["services"]?[service.name]?["versions"]?[version.name]
                var targets = version.endpoints.enumerated().map { n, address in
                    (address, node?["endpoints"]?.elements[n].start ?? version.mark)
                }
                if let dns = version.dns, let mark = node?["dns"]?.start {
                    targets += addresses(dns).map { ($0, mark) }
                }
                for (address, mark) in targets {
                    let listener = document.listeners.first {
                        leads(address, to: $0, document)
                            && takes(document, listener: $0.name, service: i)
                    }
                    guard let listener else { continue }
                    warn(
                        "\(UnixPaths.text(address)) is Sluice's own listener "
                            + "\"\(listener.name)\": what \"\(service.name)\" is sent comes in "
                            + "again, and goes in circles",
                        mark,
                        "write the address of the application; a listener and its application "
                            + "need ports of their own")
                    break
                }
            }
        }
    }

    /// The addresses that a name certainly stands for, without asking anybody.
    private static func addresses(_ dns: Document.NameAndPort) -> [Address] {
        if let address = Address("\(dns.name):\(dns.port)") { return [address] }
        guard dns.name.lowercased() == "localhost" else { return [] }
        return [
            .ipv4(127, 0, 0, 1, port: dns.port),
            Address(family: .ipv6, port: dns.port, high: 0, low: 1),
        ]
    }

    /// Whether a request that comes in at a listener may be sent to a service.
    private static func takes(_ document: Document, listener: String, service index: Int) -> Bool {
        if !document.services[index].hosts.isEmpty { return true }
        return document.routes.contains { route in
            guard case .forward(index, _, _) = route.action else { return false }
            return route.matches.isEmpty
                || route.matches.contains {
                    $0.listeners.isEmpty || $0.listeners.contains(listener)
                }
        }
    }

    /// Whether a connect to an address ends at a listener's socket for certain: other addresses of
    /// the machine are not known here.
    private static func leads(
        _ target: Address, to listener: Document.Listener, _ document: Document
    ) -> Bool {
        let own = listener.address
        if target == own { return own.port != 0 || own.family == .unix }
        guard target.family != .unix, own.family != .unix, target.port == own.port, own.port != 0
        else { return false }
        // Linux takes a connect to 0.0.0.0 or [::] for one to the machine itself.
        guard target.isLoopback || target.isUnspecified else { return false }
        if own.isUnspecified {
            return own.family == target.family
                || own.family == .ipv6 && document.isDual(own)
        }
        guard target.isUnspecified, own.family == target.family else { return false }
        return own == .ipv4(127, 0, 0, 1, port: own.port) || own.family == .ipv6 && own.isLoopback
    }

    // MARK: Patterns

    /// Paths with a star at their end, as other programs write a prefix.
    private static func lintStars(
        _ document: Document, _ warn: (String, YAMLMark, String) -> Void
    ) {
        for route in document.routes {
            for match in route.matches {
                let text: String
                switch match.path {
                case .exact(let path)?, .prefix(let path)?: text = path
                default: continue
                }
                guard text.hasSuffix("*") else { continue }
                var prefix = Substring(text)
                while prefix.last == "*" { prefix.removeLast() }
                if prefix.count > 1, prefix.last == "/" { prefix.removeLast() }
                warn(
                    "the route \"\(route.name)\" matches \"\(text)\" with its star, as it is "
                        + "written", route.mark,
                    "write path: { prefix: \(prefix) } for all below it")
            }
        }
    }
}
