import Base
import HTTP2
import HTTPSemantics
import Routing
import YAML

/// Turns a checked tree into a `Document`, and collects everything that is wrong beyond the shape:
/// references, sums, combinations. Runs after `SchemaChecker` found nothing, so kinds and units
/// hold.
struct DocumentDecoder {
    var document = Document()
    var errors: [ConfigurationError] = []
    var warnings: [ConfigurationError] = []
    /// The file, to find places within its texts.
    var bytes: [UInt8] = []
    /// Names of routes, with their places.
    var routeNames: [String: YAMLMark] = [:]
    /// Stages that the plan in hand names before its stages are known.
    var stageReferences: [Document.Place] = []
    /// A text of the plan in hand that a revision stands in.
    var usesRevision: YAMLMark?

    mutating func fail(_ message: String, _ mark: YAMLMark, hint: String = "") {
        errors.append(ConfigurationError(message, at: mark, hint: hint))
    }

    mutating func warn(_ message: String, _ mark: YAMLMark, hint: String = "") {
        warnings.append(ConfigurationError(message, at: mark, hint: hint, severity: .warning))
    }

    mutating func decode(_ root: YAMLNode) {
        if let node = root["defaults"] { defaults(node) }
        listeners(root)
        if let text = root["workers"]?.text, let count = Int(text) { document.workers = count }
        endpoints(root)
        if let node = root["services"] {
            for entry in node.entries { service(entry) }
        }
        if let node = root["routes"] {
            for element in node.elements { route(element) }
        }
        if document.services.isEmpty, document.routes.isEmpty, errors.isEmpty {
            fail(
                "the file has neither services nor routes", root.start,
                hint: "every request would be answered with 404; add routes: "
                    + "[{ name: all, respond: { status: 200 } }] for a first try")
        }
        process(root)
        if errors.isEmpty {
            DocumentLinter.lint(document, &warnings)
            DocumentLinter.lintReach(document, root, &warnings)
        }
    }

    // MARK: Listeners and process

    private mutating func listeners(_ root: YAMLNode) {
        guard let node = root["listeners"] else { return }
        if node.elements.isEmpty {
            fail(
                "listeners is empty, expected at least one listener", node.start,
                hint: "write [\(ObjectSchema.listener.example)]")
        }
        var places: [YAMLMark] = []
        for element in node.elements {
            guard let nameNode = element["name"], let name = nameNode.text,
                let addressNode = element["address"],
                let address = addressNode.text.flatMap(Units.address)
            else { continue }
            if let first = document.listeners.firstIndex(where: { $0.name == name }) {
                fail(
                    "there are two listeners named \"\(name)\": the first stands on line "
                        + "\(places[first].line)", nameNode.start,
                    hint: "metrics, logs and match: { listeners } know a listener by its name; "
                        + "write name: \(unusedName(name, document.listeners.map(\.name)))")
            }
            // Port 0 asks the kernel for a free one; it clashes with nothing.
            let clash = document.listeners.firstIndex {
                DocumentDecoder.overlap($0.address, address)
            }
            if let clash, address.port != 0 || address.family == .unix {
                let other = document.listeners[clash]
                fail(
                    "the listeners \"\(other.name)\" on line \(places[clash].line) and "
                        + "\"\(name)\" have the same "
                        + (other.address == address
                            ? "address" : "port, and one of them takes every address"),
                    addressNode.start, hint: "give one of them another port, or take one out")
            }
            places.append(nameNode.start)
            var listener = Document.Listener(name: name, address: address)
            if let text = element["protocol"]?.text {
                listener.protocol = Document.ListenerProtocol(rawValue: text) ?? .auto
            }
            listener.allowsHalfClose = element["clientHalfClose"]?.text == "allow"
            if let node = element["tls"] { listener.tls = listenerTLS(node) }
            document.listeners.append(listener)
        }
    }

    /// A name that is made of another and is none of some.
    func unusedName(_ name: String, _ taken: [String]) -> String {
        var number = 2
        while taken.contains("\(name)-\(number)") { number += 1 }
        return "\(name)-\(number)"
    }

    private mutating func process(_ root: YAMLNode) {
        if let node = root["log"] {
            if let text = node["level"]?.text, let level = Document.LogLevel(rawValue: text) {
                document.logLevel = level
            }
            document.logsJSON = node["format"]?.text == "json"
        }
        if let node = root["accessLog"], node.text == nil, let path = node["path"]?.text {
            document.accessLog = Document.AccessLog(
                path: path, format: node["format"].map { logFormat($0) } ?? .json,
                sample: node["sample"]?.text.flatMap(Units.share) ?? 10_000,
                writesErrors: node["errors"]?.text == "always")
        }
        if let node = root["rollouts"] { rollouts(node) }
        if let node = root["drain"] {
            document.drainDelay = duration(node, "delay", document.drainDelay)
            document.drainGrace = duration(node, "grace", document.drainGrace)
        }
    }

    /// A time that is needed, or a delay. The schema has refused what is neither.
    func duration(_ node: YAMLNode, _ key: String, _ otherwise: Duration) -> Duration {
        node[key]?.text.flatMap(Units.duration) ?? otherwise
    }

    /// A time that may be without limit: `off`, and `0s`, which means the same.
    func limit(_ node: YAMLNode, _ key: String, _ otherwise: Duration) -> Duration {
        guard let text = node[key]?.text else { return otherwise }
        return Units.limit(text)
    }

    // MARK: Defaults

    private mutating func defaults(_ node: YAMLNode) {
        if let times = node["timeouts"] {
            let old = document.timeouts
            document.timeouts.headers = limit(times, "headers", old.headers)
            document.timeouts.firstByte = limit(times, "firstByte", old.firstByte)
            document.timeouts.request = limit(times, "request", old.request)
            document.timeouts.idle = limit(times, "idle", old.idle)
            document.timeouts.keepAlive = limit(times, "keepAlive", old.keepAlive)
            document.timeouts.write = limit(times, "write", old.write)
            document.timeouts.perTry = limit(times, "perTry", old.perTry)
            document.timeouts.connectionAge = limit(
                times, "maxConnectionDuration", old.connectionAge)
        }
        if let retries = node["retries"] {
            document.retries = self.retries(retries, document.retries)
            retryBudget(retries)
        }
        if let limits = node["limits"] { self.limits(limits) }
        document.normalizesPaths = node["pathNormalization"]?.text != "off"
        if let node = node["forwarding"] { forwarding(node) }
    }

    private mutating func limits(_ node: YAMLNode) {
        if let size = node["headerBytes"], let bytes = size.text.flatMap(Units.size) {
            if !(1_024...262_144).contains(bytes) {
                fail(
                    "defaults.limits.headerBytes is \"\(size.text ?? "")\", "
                        + "expected 1KiB to 256KiB",
                    size.start, hint: "write \(bytes < 1_024 ? "1KiB" : "256KiB")")
            }
            document.limits.headBytes = bytes
        }
        if let count = node["headers"]?.text.flatMap({ Int($0) }) { document.limits.fields = count }
        if let bytes = node["bodyBytes"]?.text.flatMap(Units.size) {
            document.limits.bodyBytes = UInt64(bytes)
        }
        if let count = node["connections"]?.text.flatMap({ Int($0) }) {
            document.limits.connections = count
        }
        if let rate = node["acceptRate"]?.text { document.limits.acceptRate = Int(rate) ?? 0 }
        if let size = node["bufferBytes"], let bytes = size.text.flatMap(Units.size) {
            if bytes < 1 << 20 {
                fail(
                    "defaults.limits.bufferBytes is \"\(size.text ?? "")\", expected at least 1MiB",
                    size.start, hint: "write 1MiB, or auto")
            }
            document.limits.bufferBytes = bytes
        }
        if let rate = node["minBytesPerSecond"]?.text.flatMap({ Int($0) }) {
            document.limits.bytesPerSecondMin = rate
        }
        document.limits.http2.headerListBytesMax = document.limits.headBytes
        document.limits.http2.fieldCountMax = document.limits.fields
        if let node = node["http2"] { http2(node) }
    }

    private mutating func forwarding(_ node: YAMLNode) {
        if let hops = node["trustedHops"]?.text.flatMap({ Int($0) }) {
            document.forwarding.trustedHops = hops
        }
        switch node["requestId"]?.text {
        case "pass": document.forwarding.requestID = .pass
        case "off": document.forwarding.requestID = .off
        default: break
        }
        document.forwarding.via = node["via"]?.text == "on"
        document.forwarding.versionField = fieldName(node, "version")
        document.forwarding.flagsField = fieldName(node, "flags")
    }

    private mutating func fieldName(_ node: YAMLNode, _ key: String) -> String? {
        guard let value = node[key], let text = value.text, text != "off" else { return nil }
        guard SchemaChecker.isToken(text), !Replacement.isSwitch(text) else {
            fail(
                "\"\(text)\" is not a header name", value.start,
                hint: "write \(key): \(key == "version" ? "x-served-by" : "x-sluice-flags")")
            return nil
        }
        // Any field that HTTP or the proxy gives a meaning would have two lines, or two meanings.
        let hasMeaning = KnownField.intern(Array(text.utf8).span) != .other
        if let reason = DocumentDecoder.reasonNotToWrite(text)
            ?? (hasMeaning ? "it has a meaning of its own" : nil)
        {
            fail(
                "\"\(text)\" cannot be written as forwarding.\(key)", value.start,
                hint: "\(reason); write \(key): "
                    + (key == "version" ? "x-served-by" : "x-sluice-flags"))
            return nil
        }
        return text
    }
}
