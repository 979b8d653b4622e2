import Base
import HTTPSemantics
import RE2
import Routing
import YAML

extension DocumentDecoder {
    mutating func route(_ node: YAMLNode) {
        guard let nameNode = node["name"], let name = nameNode.text else { return }
        if let first = routeNames[name] {
            fail(
                "there are two routes named \"\(name)\": the first stands on line \(first.line)",
                nameNode.start,
                hint: "draws and metrics are kept by route name; write name: "
                    + unusedName(name, Array(routeNames.keys)))
        } else {
            routeNames[name] = nameNode.start
        }
        var matches: [MatchRule] = []
        if let match = node["match"] {
            if case .sequence(let nodes) = match.content {
                if nodes.isEmpty {
                    fail(
                        "match of \"\(name)\" is an empty list", match.start,
                        hint: "take it out to match everything")
                }
                for node in nodes { matches.append(self.match(node)) }
            } else {
                matches.append(self.match(match))
            }
        }
        guard let action = action(node, name) else { return }
        var route = Document.Route(
            name: name, matches: matches, action: action, rewrite: nil,
            edits: Document.HeaderEdits(), firstByte: nil, request: nil, idle: nil,
            allowsConnect: node["connect"]?.text == "allow", mark: node.start)
        if let headers = node["headers"] { route.edits = headerEdits(headers) }
        if let times = node["timeouts"] {
            func time(_ key: String) -> Duration? { times[key]?.text.map(Units.limit) }
            route.firstByte = time("firstByte")
            route.request = time("request")
            route.idle = time("idle")
            route.perTry = time("perTry")
            route.write = time("write")
        }
        resilience(node, &route)
        if let rewrite = node["rewrite"] { self.rewrite(rewrite, &route) }
        document.routes.append(route)
    }

    private mutating func resilience(_ node: YAMLNode, _ route: inout Document.Route) {
        if let limit = node["rateLimit"] { route.rateLimit = rateLimit(limit) }
        let isForwarding =
            if case .forward = route.action { true } else { false }
        for key in ["retries", "fault", "mirror"] {
            if let value = node[key], !isForwarding {
                fail(
                    "\(key) needs a route with to:", value.start,
                    hint: "take \(key) out: nothing is sent to a service here")
            }
        }
        guard isForwarding else { return }
        if let retries = node["retries"] {
            route.retries = self.retries(retries, document.retries)
        }
        if let fault = node["fault"] { route.fault = self.fault(fault) }
        if let mirror = node["mirror"] { route.mirror = self.mirror(mirror, route.name) }
    }

    // MARK: Actions

    private mutating func action(_ node: YAMLNode, _ name: String) -> Document.Action? {
        let given = ["to", "redirect", "respond"].filter { node[$0] != nil }
        guard given.count == 1 else {
            let has = given.isEmpty ? "none" : given.joined(separator: " and ")
            fail(
                "the route \"\(name)\" has \(has), expected one of to, redirect, respond",
                node.start,
                hint: given.isEmpty
                    ? "add to: \(document.services.first?.name ?? "SERVICE"), or respond: "
                        + ObjectSchema.respond.example
                    : "keep one of them; a second route takes the other")
            return nil
        }
        if given[0] != "to", let split = node["split"] {
            fail(
                "split needs a route with to:", split.start,
                hint: "take split out: nothing is sent to a service here")
        }
        if let redirect = node["redirect"] { return self.redirect(redirect, node) }
        if let respond = node["respond"] {
            return self.respond(respond)
        }
        return forward(node)
    }

    private mutating func respond(_ node: YAMLNode) -> Document.Action {
        let status = node["status"]?.text.flatMap { UInt16($0) } ?? 200
        let body = node["body"]?.text ?? ""
        if body.utf8.count > 65_536 {
            fail(
                "the body has more than 64 KiB", (node["body"] ?? node).start,
                hint: "serve it from an origin, with to:")
        }
        let sections: [UInt16: String] = [204: "15.3.5", 205: "15.3.6", 304: "15.4.5"]
        if !body.isEmpty, let section = sections[status] {
            fail(
                "an answer with status \(status) has no body (RFC 9110 §\(section))",
                (node["body"] ?? node).start, hint: "take body out, or write status: 200")
        }
        let type = node["contentType"]?.text ?? "text/plain"
        checkValue(type, (node["contentType"] ?? node).start)
        return .respond(status: status, body: body, contentType: type)
    }

    mutating func forward(_ node: YAMLNode) -> Document.Action? {
        guard let to = node["to"], let text = to.text else { return nil }
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let serviceName = String(parts[0])
        guard let index = document.services.firstIndex(where: { $0.name == serviceName }) else {
            let names = document.services.map(\.name)
            let meant = DidYouMean.closest(to: serviceName, among: names)
            fail(
                "there is no service named \"\(serviceName)\"", to.start,
                hint: destination(text) ?? meant.map { "did you mean \"\($0)\"?" }
                    ?? (names.isEmpty
                        ? "add services: { \(serviceName): \(ObjectSchema.service.example) }"
                        : "services: " + names.joined(separator: ", ")))
            return nil
        }
        let service = document.services[index]
        if parts.count == 2 {
            if let split = node["split"] {
                fail(
                    "a route that names a version has no split", split.start,
                    hint: "write to: \(serviceName), or take split out")
            }
            let versionName = String(parts[1])
            guard let version = service.versions.firstIndex(where: { $0.name == versionName })
            else {
                fail(
                    "the service \"\(serviceName)\" has no version \"\(versionName)\"", to.start,
                    hint: versionHint(versionName, service))
                return nil
            }
            return .forward(service: index, version: version, split: nil)
        }
        guard let split = node["split"] else {
            return .forward(service: index, version: nil, split: nil)
        }
        return self.split(split, index).map {
            .forward(service: index, version: nil, split: $0)
        }
    }

    /// The text to write where a version or an address stands for a service; `nil` for other texts.
    private func destination(_ text: String) -> String? {
        for service in document.services {
            let isVersion = service.versions.contains { $0.name == text }
            if isVersion { return "write to: \(service.name)/\(text)" }
            let version = service.versions.first { text == "\(service.name):\($0.name)" }
            if let version { return "write to: \(service.name)/\(version.name)" }
        }
        var address = Substring(text)
        if let scheme = address.firstRange(of: "://") { address = address[scheme.upperBound...] }
        let place = String(address.prefix { $0 != "/" })
        guard Units.address(place) != nil || Units.nameAndPort(place) != nil else { return nil }
        let key = Units.address(place) != nil ? "endpoints: [\"\(place)\"]" : "dns: \"\(place)\""
        return "a route names a service, and the service has the addresses: add services: { app: { "
            + "versions: { v1: { \(key) } } } }, and write to: app"
    }

    private mutating func split(_ node: YAMLNode, _ index: Int) -> [Int]? {
        let service = document.services[index]
        for entry in node.entries
        where !service.versions.contains(where: { $0.name == entry.key }) {
            fail(
                "split names \"\(entry.key)\", which is no version of \"\(service.name)\"",
                entry.keyStart, hint: versionHint(entry.key, service))
            return nil
        }
        return weights(
            service.versions.map { ($0.name, node[$0.name]) }, of: "split", at: node.start)?
            .values
    }

    private mutating func redirect(_ node: YAMLNode, _ route: YAMLNode) -> Document.Action {
        let path = node["path"]?.text, prefix = node["prefix"]?.text
        if path != nil, prefix != nil {
            fail("redirect has a path and a prefix", node.start, hint: "keep one of them")
        }
        checkPath(node["path"], mayHaveQuery: true)
        checkPath(node["prefix"])
        if let host = node["host"] { checkHost(host) }
        if node.entries.allSatisfy({ $0.key == "status" }) {
            fail(
                "redirect changes nothing", node.start,
                hint: "it would send clients in circles; give it scheme, host, port, path or prefix"
            )
        }
        return .redirect(
            Document.Redirect(
                scheme: node["scheme"]?.text, host: node["host"]?.text,
                port: node["port"]?.text.flatMap { Int($0) }, path: path, prefix: prefix,
                status: node["status"]?.text.flatMap { UInt16($0) } ?? 302))
    }

    private mutating func rewrite(_ node: YAMLNode, _ route: inout Document.Route) {
        guard case .forward = route.action else {
            return fail(
                "rewrite needs a route with to:", node.start,
                hint: "take rewrite out: nothing is sent to a service here")
        }
        let path = node["path"]?.text, prefix = node["prefix"]?.text
        if path != nil, prefix != nil {
            fail("rewrite has a path and a prefix", node.start, hint: "keep one of them")
        }
        checkPath(node["path"])
        checkPath(node["prefix"])
        if let host = node["host"] { checkHost(host) }
        if prefix != nil {
            let havePrefix = route.matches.allSatisfy {
                if case .prefix = $0.path { return true }
                return false
            }
            if route.matches.isEmpty || !havePrefix {
                fail(
                    "rewrite.prefix replaces a matched prefix, but the route matches none",
                    node.start,
                    hint: "give every match of the route path: { prefix: … }")
            }
        }
        route.rewrite = Document.Rewrite(path: path, prefix: prefix, host: node["host"]?.text)
    }

    private mutating func checkPath(_ node: YAMLNode?, mayHaveQuery: Bool = false) {
        guard let node, let text = node.text else { return }
        let bytes = Array(text.utf8)
        let pathLength = ASCII.pathLength(bytes.span).count
        var length = pathLength
        if mayHaveQuery, length < bytes.count, bytes[length] == UInt8(ascii: "?") {
            length += 1
            length += ASCII.queryLength(bytes.span.extracting(length..<bytes.count))
        }
        if bytes.first != 0x2f || length != bytes.count {
            fail(
                "\"\(text)\" is not a path", node.start,
                hint: mayHaveQuery
                    && text.hasPrefix("/")
                    ? "a path starts with / and has no space or control character"
                    : pathHint(text))
        } else if !isEscaped(bytes.span, path: pathLength) {
            var escaped = ByteBuffer()
            URIText.append(bytes.span, to: &escaped)
            fail(
                "\"\(text)\" has characters that a path must escape", node.start,
                hint: "write \(ASCII.string(escaped.readable))")
        }
    }

    /// Whether a path, and the query behind it, may stand in a URI as they are.
    private func isEscaped(_ text: Span<UInt8>, path length: Int) -> Bool {
        var query = ByteBuffer()
        URIText.append(text.extracting(length..<text.count), to: &query)
        return ASCII.isStrictPath(text.extracting(0..<length))
            && query.count == text.count - length
    }

    mutating func checkHost(_ node: YAMLNode) {
        let bytes = Array((node.text ?? "").utf8)
        if Authority.hostLength(bytes.span) == nil {
            fail(
                "\"\(node.text ?? "")\" is not a host", node.start,
                hint: DocumentDecoder.host(in: node.text ?? "").map { "write host: \($0)" }
                    ?? "a host has no scheme, path or space: example.com")
        }
    }

    mutating func checkValue(_ text: String, _ mark: YAMLMark) {
        let bytes = Array(text.utf8)
        if ASCII.valueLength(bytes.span) != bytes.count {
            fail(
                "a field value has a control character", mark,
                hint: "write it in one line, without \\n and \\r")
        }
    }

    mutating func headerEdits(_ node: YAMLNode) -> Document.HeaderEdits {
        var edits = Document.HeaderEdits()
        if let request = node["request"] { edits.request = direction(request) }
        if let response = node["response"] { edits.response = direction(response) }
        return edits
    }

    private mutating func direction(_ node: YAMLNode) -> Document.HeaderEdits.Direction {
        var direction = Document.HeaderEdits.Direction()
        for key in ["set", "add"] {
            for entry in node[key]?.entries ?? [] {
                let value = entry.value.text ?? ""
                checkEditable(entry.key, entry.keyStart)
                checkValue(value, entry.value.start)
                if key == "set" {
                    direction.set.append((entry.key, value))
                } else {
                    direction.add.append((entry.key, value))
                }
            }
        }
        for element in node["remove"]?.elements ?? [] {
            guard let name = element.text else { continue }
            if !SchemaChecker.isToken(name) {
                fail(
                    "\"\(name)\" is not a header name", element.start,
                    hint: "header names have no spaces, colons or control characters")
            }
            checkEditable(name, element.start)
            direction.remove.append(name)
        }
        return direction
    }

    private mutating func checkEditable(_ name: String, _ mark: YAMLMark) {
        guard let hint = DocumentDecoder.reasonNotToWrite(name) else { return }
        fail("\"\(name)\" cannot be edited", mark, hint: hint)
    }

    /// Why the configuration may not have a field of this name written; `nil` if it may. The fields
    /// named here say how a message is read, and the proxy alone knows that.
    static func reasonNotToWrite(_ name: String) -> String? {
        switch KnownField.intern(Array(name.utf8).span) {
        case .host: return "use rewrite: { host: … }"
        case .mirror: return "it marks copies, so that no copy is copied again"
        case let known where known.isHopByHop || known == .contentLength:
            return "it belongs to the framing of the message"
        default: return nil
        }
    }
}
