import Base
import HTTPSemantics
import Routing
import Upstream
import YAML

extension DocumentDecoder {
    mutating func service(_ entry: YAMLNode.Entry) {
        let node = entry.value
        var service = Document.Service(
            name: entry.key, hosts: hosts(node["hosts"]), versions: [], stable: 0, sticky: nil,
            fallsBack: node["whenUnavailable"]?.text == "fallback", policy: .leastRequest,
            hashKey: nil, dnsRefresh: duration(node, "dnsRefresh", .seconds(5)),
            connectTimeout: duration(node, "connectTimeout", .milliseconds(250)),
            limits: PoolLimits(), mark: entry.keyStart, isPercent: false)
        if service.dnsRefresh < .milliseconds(100), let value = node["dnsRefresh"] {
            fail("dnsRefresh is below 100ms", value.start, hint: "write 100ms, or longer")
        }
        for version in node["versions"]?.entries ?? [] { self.version(version, into: &service) }
        if service.versions.isEmpty {
            fail(
                "the service \"\(entry.key)\" has no versions", (node["versions"] ?? node).start,
                hint: "write versions: { v1: \(ObjectSchema.version.example) }")
            return
        }
        if service.versions.count > 16 {
            fail("the service \"\(entry.key)\" has more than 16 versions", node.start)
        }
        let weights = (node["versions"]?.entries ?? []).map { ($0.key, $0.value["weight"]) }
        let read = self.weights(weights, of: "services.\(entry.key)", at: entry.keyStart)
        service.isPercent = read?.isPercent ?? false
        for (i, weight) in (read?.values ?? []).enumerated() { service.versions[i].weight = weight }
        switch node["protocol"]?.text {
        case "http2"?: service.protocol = .http2
        case "auto"?: service.protocol = .auto
        default: break
        }
        if let tls = node["tls"] { service.tls = upstreamTLS(tls) }
        stable(node, &service)
        if let sticky = node["sticky"] { self.sticky(sticky, node, &service) }
        if let balancer = node["loadBalancer"] { self.balancer(balancer, &service) }
        if let pool = node["connectionPool"] { service.limits = self.pool(pool, PoolLimits()) }
        if let check = node["healthCheck"] { service.healthCheck = healthCheck(check, service) }
        if let outlier = node["outlierDetection"] { outlierDetection(outlier, &service) }
        if let warmup = node["warmup"] { service.warmup = self.warmup(warmup) }
        if let errors = node["errors"] { service.errors = versionErrors(errors) }
        if let value = node["guard"] { guardPolicy(value, &service) }
        service.namespace = node["namespace"]?.text
        service.app = node["app"]?.text
        service.host = monitoredHost(node["host"])
        document.services.append(service)
    }

    /// The host that monitoring knows a service or a version by.
    private mutating func monitoredHost(_ node: YAMLNode?) -> String? {
        guard let node, let text = node.text else { return nil }
        let host = text.lowercased(), bytes = Array(host.utf8)
        guard Authority.hostLength(bytes.span) == bytes.count else {
            fail(
                "\"\(text)\" is not a host", node.start,
                hint: DocumentDecoder.host(in: text).map {
                    "write \($0): no scheme, port or path"
                } ?? "a name without port, for example reviews.shop.svc.cluster.local")
            return nil
        }
        return host
    }

    mutating func hosts(_ node: YAMLNode?) -> [String] {
        var hosts: [String] = []
        for element in node?.elements ?? [] {
            guard let text = element.text else { continue }
            var host = text.lowercased()
            // The root's dot is left out where hosts are compared.
            if host.utf8.count > 1, host.hasSuffix(".") { host.removeLast() }
            var name = host
            if name.hasPrefix("*.") { name.removeFirst(2) }
            let bytes = Array(name.utf8)
            let isValid = host == "*" || Authority.hostLength(bytes.span) == bytes.count
            if !isValid || host != "*" && name.contains("*") {
                fail(
                    "\"\(text)\" is not a host", element.start,
                    hint: DocumentDecoder.host(in: text).map {
                        "write \($0): no scheme, port or path"
                    }
                        ?? "a name without port, \"*.\" and a name, or \"*\"")
            }
            hosts.append(host)
        }
        return hosts
    }

    /// The host of a URL, or of a name with a port.
    static func host(in text: String) -> String? {
        var rest = Substring(text)
        if let scheme = rest.firstRange(of: "://") { rest = rest[scheme.upperBound...] }
        let bytes = Array(rest.prefix { $0 != "/" && $0 != "?" }.utf8)
        guard let length = Authority.hostLength(bytes.span), length < text.utf8.count else {
            return nil
        }
        return String(decoding: bytes[..<length], as: UTF8.self)
    }

    private mutating func version(_ entry: YAMLNode.Entry, into service: inout Document.Service) {
        let node = entry.value
        let endpoints = (node["endpoints"]?.elements ?? []).compactMap { element -> Address? in
            guard let address = element.text.flatMap(Units.address) else { return nil }
            if address.family != .unix, address.port == 0 {
                fail(
                    "an endpoint cannot have port 0", element.start,
                    hint: "write the port that the application listens on")
            }
            return address
        }
        var dns: Document.NameAndPort?
        if let value = node["dns"], let text = value.text {
            if let parts = Units.nameAndPort(text) {
                dns = Document.NameAndPort(name: parts.name, port: parts.port)
            } else {
                fail(
                    "dns is \"\(text)\", expected name:port", value.start,
                    hint: dnsHint(text))
            }
        }
        if node["endpoints"] != nil, node["dns"] != nil {
            fail(
                "the version \"\(entry.key)\" has endpoints and dns", entry.keyStart,
                hint: "keep one of them")
        }
        var version = Document.Version(
            name: entry.key, weight: 0, endpoints: endpoints, dns: dns, mark: entry.keyStart)
        if let headers = node["headers"] { version.edits = headerEdits(headers) }
        if let fault = node["fault"] { version.fault = self.fault(fault) }
        if let value = node["revision"] { version.revision = revision(value) }
        version.workload = node["workload"]?.text
        version.host = monitoredHost(node["host"])
        service.versions.append(version)
    }

    private func dnsHint(_ text: String) -> String {
        var name = Substring(text)
        for scheme in ["https://", "http://"] where name.hasPrefix(scheme) {
            name = name.dropFirst(scheme.count)
        }
        let host = String(name.prefix { $0 != "/" })
        if host.utf8.count < text.utf8.count, Units.nameAndPort(host) != nil {
            return "a name has no scheme and no path: write \(host)"
        }
        if Units.nameAndPort(host + ":80") != nil { return "a port is missing: write \(host):80" }
        return "for example reviews-v2.shop.svc.cluster.local:9080"
    }

    /// Reads weights of named versions: all integers, or all percents that total 100 %.
    mutating func weights(
        _ nodes: [(name: String, node: YAMLNode?)], of path: String, at mark: YAMLMark
    ) -> (values: [Int], isPercent: Bool)? {
        var values: [Int] = []
        var firstInteger: YAMLNode?, firstPercent: YAMLNode?
        for (_, node) in nodes {
            guard let node, let text = node.text else {
                values.append(0)
                continue
            }
            if let share = Units.share(text) {
                firstPercent = firstPercent ?? node
                values.append(share)
            } else {
                firstInteger = firstInteger ?? node
                values.append(Int(text) ?? 0)
            }
        }
        if let percent = firstPercent, let integer = firstInteger {
            fail(
                "weights of \(path) mix percents and integers", max(percent.start, integer.start),
                hint: "write all of them as percents, or none")
            return nil
        }
        if let percent = firstPercent {
            let sum = values.reduce(0, +)
            guard sum == 10_000 else {
                let text = "\(sum / 100).\(sum % 100 / 10)\(sum % 10)"
                fail(
                    "the percents of \(path) total \(text) %, expected 100 %", percent.start,
                    hint: percentHint(nodes, sum))
                return nil
            }
        }
        // The only version of a service needs no weight.
        if nodes.count == 1, nodes[0].node == nil { values = [1] }
        if !nodes.isEmpty {
            guard let weights = SplitWeights(values) else {
                fail("all weights of \(path) are 0", mark, hint: "give one version a weight")
                return nil
            }
            guard weights.sum <= SplitWeights.sumMax else {
                fail(
                    "the weights of \(path) reduce to a sum of \(weights.sum), above 10000", mark,
                    hint: "use percents with at most two decimals")
                return nil
            }
        }
        return (values, firstPercent != nil)
    }

    /// Advice about percents that do not total 100 %.
    private func percentHint(_ nodes: [(name: String, node: YAMLNode?)], _ sum: Int) -> String {
        let silent = nodes.filter { $0.node == nil }
        if sum < 10_000, silent.count == 1 {
            return "\"\(silent[0].name)\" has none, which counts as 0 %; give it "
                + Units.percent(10_000 - sum)
        }
        return sum < 10_000
            ? "\(Units.percent(10_000 - sum)) more must go to one of them"
            : "one of them must have \(Units.percent(sum - 10_000)) less"
    }

    private mutating func stable(_ node: YAMLNode, _ service: inout Document.Service) {
        if let value = node["stable"], let name = value.text {
            if let index = service.versions.firstIndex(where: { $0.name == name }) {
                service.stable = index
            } else {
                fail(
                    "stable names \"\(name)\", which is no version of \"\(service.name)\"",
                    value.start, hint: versionHint(name, service))
            }
        } else if let sticky = node["sticky"] {
            fail(
                "the service \"\(service.name)\" is sticky but names no stable version",
                sticky.start,
                hint: "add stable: \(service.versions[0].name)")
        }
    }

    func versionHint(_ name: String, _ service: Document.Service) -> String {
        let names = service.versions.map(\.name)
        if let meant = DidYouMean.closest(to: name, among: names) {
            return "did you mean \"\(meant)\"?"
        }
        return "its versions are " + names.joined(separator: ", ")
    }

    private mutating func sticky(
        _ node: YAMLNode, _ serviceNode: YAMLNode, _ service: inout Document.Service
    ) {
        let cookie = node["cookie"]?.text, header = node["header"]?.text
        let issue = node["issue"]?.text == "off" ? nil : node["issue"]?.text
        if cookie != nil, header != nil {
            fail("sticky has a cookie and a header", node.start, hint: "keep one of them")
        }
        if cookie == nil, header == nil, issue == nil {
            fail(
                "sticky says nothing to know a session by", node.start,
                hint: "give it cookie:, header: or issue:")
        }
        for (key, name) in [("cookie", cookie), ("header", header), ("issue", issue)] {
            if let name, !SchemaChecker.isToken(name), let value = node[key] {
                fail(
                    "sticky.\(key) is \"\(name)\", which is no "
                        + "\(key == "header" ? "header" : "cookie") name",
                    value.start, hint: "a name has no spaces, semicolons, colons or slashes")
            }
        }
        if let issue, issue == cookie {
            fail(
                "sticky issues the application's own cookie", (node["issue"] ?? node).start,
                hint: "write issue: \(issue)-sluice, or another name of its own")
        }
        for (key, name) in [("cookie", cookie), ("header", header), ("issue", issue)] {
            guard let name, Replacement.isSwitch(name), let value = node[key] else { continue }
            let example = ["cookie": "session", "header": "x-user"][key] ?? "sluice-id"
            fail(
                "sticky.\(key) is \"\(name)\", expected the name of a "
                    + (key == "header" ? "header" : "cookie"), value.start,
                hint: "write \(key): \(example)")
        }
        let ttl = duration(node, "ttl", .seconds(86_400))
        if ttl < .seconds(1), let value = node["ttl"] {
            fail("sticky.ttl is below 1s", value.start, hint: "write ttl: 24h")
        }
        if issue == nil, node["issue"] == nil, let name = cookie ?? header {
            warn(
                "sticky issues no cookie of its own: a session's first request, which comes "
                    + "without \"\(name)\", is drawn by the weights, and its second may go to "
                    + "another version",
                node.start,
                hint: "add issue: NAME, so that the first request's version is kept; "
                    + "issue: off says that this is meant")
        }
        if issue != nil, node["keys"] == nil {
            warn(
                "sticky issues a cookie without keys", node.start,
                hint: "clients can choose their version by writing a cookie; add keys: FILE")
        }
        service.sticky = Document.Sticky(
            source: header == nil ? .cookie : .header, name: header ?? cookie ?? "", issue: issue,
            ttl: ttl, salt: node["salt"]?.text ?? service.name, keysPath: node["keys"]?.text)
    }

    private mutating func balancer(_ node: YAMLNode, _ service: inout Document.Service) {
        switch node.text {
        case "leastRequest"?: service.policy = .leastRequest
        case "roundRobin"?: service.policy = .roundRobin
        case "random"?: service.policy = .random
        case "ringHash"?: service.policy = .ringHash
        case "maglev"?: service.policy = .maglev
        default:
            guard node.entries.count == 1, let entry = node.entries.first else {
                return fail(
                    "loadBalancer needs one of ringHash, maglev", node.start,
                    hint: "write \(ObjectSchema.hashedBalancer.example)")
            }
            service.policy = entry.key == "ringHash" ? .ringHash : .maglev
            let header = entry.value["header"]?.text, cookie = entry.value["cookie"]?.text
            guard (header == nil) != (cookie == nil), let name = header ?? cookie else {
                return fail(
                    "\(entry.key) needs a header or a cookie", entry.keyStart,
                    hint: "write \(entry.key): \(ObjectSchema.hashKey.example)")
            }
            guard SchemaChecker.isToken(name) else {
                return fail("\"\(name)\" is no header or cookie name", entry.value.start)
            }
            service.hashKey = Document.HashKey(
                source: header == nil ? .cookie : .header, name: name)
        }
    }

    /// - Parameter otherwise: what holds for keys that are left out.
    func pool(_ node: YAMLNode, _ otherwise: PoolLimits) -> PoolLimits {
        var limits = otherwise
        func number(_ key: String, _ otherwise: Int) -> Int {
            guard let text = node[key]?.text else { return otherwise }
            return Int(text) ?? .max
        }
        limits.connectionsMax = number("maxConnections", limits.connectionsMax)
        limits.pendingRequestsMax = number("maxPendingRequests", limits.pendingRequestsMax)
        limits.requestsMax = number("maxRequests", limits.requestsMax)
        limits.retriesMax = number("maxRetries", limits.retriesMax)
        limits.requestsPerConnectionMax = number(
            "maxRequestsPerConnection", limits.requestsPerConnectionMax)
        limits.streamsPerConnectionMax = number(
            "maxConcurrentStreams", limits.streamsPerConnectionMax)
        limits.idleTimeout = limit(node, "idleTimeout", limits.idleTimeout)
        limits.connectionAgeMax = limit(
            node, "maxConnectionDuration", limits.connectionAgeMax)
        if node["pingInterval"]?.text == "auto" {
            limits.pingInterval = PoolLimits().pingInterval
            limits.pingsAtWill = false
        } else if node["pingInterval"] != nil {
            limits.pingInterval = limit(node, "pingInterval", limits.pingInterval)
            limits.pingsAtWill = true
        }
        return limits
    }
}
