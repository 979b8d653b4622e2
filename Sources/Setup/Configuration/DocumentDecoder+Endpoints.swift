import Base
import Telemetry
import YAML

/// The addresses of the admin and metrics endpoints.
extension DocumentDecoder {
    /// Addresses that one endpoint may have.
    static let addressesMax = 8

    mutating func endpoints(_ root: YAMLNode) {
        if let node = root["admin"] {
            if let list = addresses(node, "admin") { document.admin = list }
            document.adminTokenPath = node["token"]?.text
            if let list = node["tokens"] { adminTokens(list) }
            let isOpen = document.adminTokenPath == nil && document.adminTokens.isEmpty
            if !document.admin.allSatisfy(\.isLoopback), isOpen {
                warn(
                    "the admin endpoint can be reached from other machines", node.start,
                    hint: "use a loopback address, or give a token, which all of its pages but "
                        + "/live and /ready then ask for")
            }
        }
        if let node = root["metrics"] {
            if let list = addresses(node, "metrics") { document.metrics = list }
            document.metricsRetention = duration(node, "retention", document.metricsRetention)
            metricsIstio(node["istio"])
            document.metricsHTTP = node["http"]?.text == "on"
        }
        if let node = root["identity"] { identity(node) }
        clashes("admin", document.admin, root)
        clashes("metrics", document.metrics, root)
        let shared = document.metrics.first { address in
            DocumentDecoder.isFixed(address)
                && document.admin.contains { DocumentDecoder.overlap($0, address) }
        }
        if shared != nil {
            fail(
                "admin and metrics have the same address", (root["metrics"] ?? root).start,
                hint: "give one of them another port")
        }
    }

    private mutating func metricsIstio(_ node: YAMLNode?) {
        guard let node else { return }
        if node.text == "off" { document.metricsIstio = nil }
        switch node["reporter"]?.text {
        case "source"?: document.metricsIstio?.reporters = [.source]
        case "destination"?: document.metricsIstio?.reporters = [.destination]
        case "both"?: document.metricsIstio?.reporters = [.source, .destination]
        default: break
        }
        document.metricsIstio?.hasSizes = node["sizes"]?.text == "on"
    }

    private mutating func identity(_ node: YAMLNode) {
        document.identity.workload = node["workload"]?.text
        document.identity.namespace = node["namespace"]?.text
        document.identity.app = node["app"]?.text
        document.identity.version = node["version"]?.text
        document.identity.cluster = node["cluster"]?.text
    }

    private mutating func adminTokens(_ node: YAMLNode) {
        var names: [String: YAMLMark] = [:]
        if node.elements.isEmpty {
            fail(
                "admin.tokens is an empty list", node.start,
                hint: "write [\(ObjectSchema.adminToken.example)], or take tokens out")
        }
        for element in node.elements {
            guard let place = element["name"], let name = place.text,
                let path = element["file"]?.text, let may = element["may"]
            else { continue }
            if let first = names[name] {
                fail(
                    "there are two tokens named \"\(name)\": the first stands on line "
                        + "\(first.line)", place.start,
                    hint: "write name: \(unusedName(name, Array(names.keys)))")
            }
            names[name] = place.start
            if may.elements.isEmpty {
                fail(
                    "the token \"\(name)\" may do nothing", may.start, hint: "write may: [read]")
            }
            let words = Set(may.elements.compactMap(\.text))
            document.adminTokens.append(
                Document.AdminToken(
                    name: name, path: path,
                    rights: Document.AdminRight.allCases.filter { words.contains($0.rawValue) }))
        }
        let hasAll =
            document.adminTokenPath != nil || document.adminTokens.contains { $0.may(.all) }
        if errors.isEmpty, !hasAll {
            fail(
                "with these tokens nobody may reload, drain or set weights", node.start,
                hint: "add token: FILE beside tokens, or give one of them may: [all]")
        }
    }

    /// One address or a list of them, as the endpoint's value or under its key `address`.
    private mutating func addresses(_ node: YAMLNode, _ name: String) -> [Address]? {
        let value = node["address"] ?? node
        if let text = value.text { return Units.address(text).map { [$0] } }
        guard case .sequence(let elements) = value.content else { return nil }
        if elements.isEmpty || elements.count > DocumentDecoder.addressesMax {
            fail(
                "\(name) has \(elements.count) addresses, expected 1 to "
                    + "\(DocumentDecoder.addressesMax)", value.start)
        }
        var list: [Address] = []
        for element in elements {
            guard let address = element.text.flatMap(Units.address) else { continue }
            if DocumentDecoder.isFixed(address), list.contains(address) {
                fail("\(name) has the same address twice", element.start)
            }
            list.append(address)
        }
        return list.isEmpty ? nil : list
    }

    /// Whether the kernel gives only one of two addresses a listening socket.
    static func overlap(_ a: Address, _ b: Address) -> Bool {
        if a == b { return true }
        return a.family == b.family && a.family != .unix && a.port == b.port && a.port != 0
            && (a.isUnspecified || b.isUnspecified)
    }

    /// Port 0 asks the kernel for a free one; it clashes with nothing.
    private static func isFixed(_ address: Address) -> Bool {
        address.port != 0 || address.family == .unix
    }

    private mutating func clashes(_ name: String, _ addresses: [Address], _ root: YAMLNode) {
        for address in addresses where DocumentDecoder.isFixed(address) {
            // An address that nobody wrote takes no part of one that somebody did.
            let clash = document.listeners.first {
                DocumentDecoder.overlap($0.address, address)
                    || root[name] == nil && $0.address.isUnspecified && address.isUnspecified
                        && $0.address.port == address.port
            }
            guard let clash else { continue }
            let isSame = clash.address == address
            fail(
                "\(name) and the listener \"\(clash.name)\" have the same "
                    + (isSame ? "address" : "port, and one of them takes every address"),
                (root[name] ?? root).start,
                hint: root[name] == nil
                    ? "give \(name): an address of its own" : "give one of them another port")
        }
    }
}
