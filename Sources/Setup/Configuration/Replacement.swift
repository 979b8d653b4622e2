import Base
import HTTPSemantics
import YAML

/// Says what to write in the place of a value of the wrong kind. Behind the word "write" stands a
/// complete value, which can be copied as it is.
enum Replacement {
    private static let wordsForOn: Set<String> = [
        "on", "true", "yes", "enabled", "enable", "default", "auto",
    ]

    /// Whether a text turns something on or off.
    static func isSwitch(_ text: String) -> Bool {
        let lower = text.lowercased()
        return wordsForOn.contains(lower) || SchemaHints.wordsForNone.contains(lower)
    }

    /// - Parameter key: the key that the value stands at; empty for the whole file.
    static func hint(for node: YAMLNode, _ type: ValueType, key: String) -> String {
        guard let text = node.text else { return structure(node, type, key) }
        if text.isEmpty { return isContainer(type) ? "write \(type.example)" : "" }
        let lower = text.lowercased()
        if SchemaHints.wordsForNone.contains(lower) { return none(type, key) }
        return plain(text, type, key, isOn: wordsForOn.contains(lower))
    }

    /// For somebody who wants nothing of it.
    private static func none(_ type: ValueType, _ key: String) -> String {
        switch key {
        case "admin":
            return "it cannot be turned off; write \"127.0.0.1:15000\", which only this "
                + "machine reaches"
        case "metrics":
            return "it cannot be turned off; write \"127.0.0.1:15020\", which only this "
                + "machine reaches"
        case "timeouts": return "write { firstByte: off, request: off, idle: off }"
        case "limits": return "each limit has its own: write { bodyBytes: unlimited }"
        case "log": return "write { level: error }, the least there is"
        case "drain": return "write { delay: 0s, grace: 0s }"
        case "connectionPool":
            return "write { maxConnections: unlimited, maxPendingRequests: unlimited, "
                + "maxRequests: unlimited }"
        case "": return ""
        default: break
        }
        switch type {
        case .object(let schema) where schema.name == "route" || schema.name == "listener":
            return ""
        case .object, .list, .map: return "take \(key) out: without it there is none"
        case .either(let types) where types.contains(where: isObject):
            return "take \(key) out"
        default: return ""
        }
    }

    private static func isObject(_ type: ValueType) -> Bool {
        if case .object = type { return true }
        return false
    }

    // MARK: Text

    /// For text where a list or a mapping belongs.
    private static func plain(
        _ text: String, _ type: ValueType, _ key: String, isOn: Bool
    ) -> String {
        switch type {
        case .list(.object(let schema)):
            let value = object(text, schema, isOn)
            return value.isEmpty ? "" : "write [\(firstAlternative(value))]"
        case .list(let element):
            return isOn ? "write \(type.example)" : "write [\(elements(text, element, key))]"
        case .map(let value, let keys): return "write \(map(text, value, keys, isOn))"
        case .object(let schema):
            let value = object(text, schema, isOn)
            return value.isEmpty ? "" : "write \(value)"
        case .either(let types):
            // An address has better advice than how to make a list of what is none.
            if types.contains(where: \.isAddress) {
                return isOn ? "take \(key) out: it is there without it" : ""
            }
            let ordered = types.filter(isObject) + types.filter { !isObject($0) }
            let hints = ordered.map { plain(text, $0, key, isOn: isOn) }
            return hints.first { !$0.isEmpty } ?? ""
        default: return ""
        }
    }

    private static func firstAlternative(_ value: String) -> String {
        guard let end = value.lastIndex(of: "}") else { return value }
        return String(value[...end])
    }

    private static func elements(_ text: String, _ type: ValueType, _ key: String) -> String {
        let isCommand = key == "command"
        let separator: Character = isCommand ? " " : ","
        return text.split(separator: separator).map { part in
            let part = part.trimmed
            if key == "methods" { return quoted(part.uppercased()) }
            if case .address = type { return "\"\(part)\"" }
            return quoted(part)
        }.joined(separator: ", ")
    }

    private static func map(
        _ text: String, _ value: ValueType, _ keys: ValueType.KeyKind, _ isOn: Bool
    ) -> String {
        let example = ValueType.map(value, keys: keys).example
        if isOn || !SchemaChecker.isName(text) { return example }
        if case .weight = value { return "{ \(text): 100% }" }
        if case .names = keys { return example }
        if case .anyText = value { return "{ \(text): VALUE }" }
        return "{ \(text): { present: true } }"
    }

    /// - Returns: a value, perhaps with words behind it; empty where none can be told.
    private static func object(_ text: String, _ schema: ObjectSchema, _ isOn: Bool) -> String {
        if schema.name == "upstream TLS" {
            return isOn
                ? "{} to trust the system's authorities, or { ca: FILE }"
                : text.contains(".") || text.contains("/") ? "{ ca: \(quoted(text)) }" : "{}"
        }
        if schema.name == "webhook", text.contains("://") { return "{ url: \(quoted(text)) }" }
        if schema.name == "sticky", isOn { return "{ issue: sluice-id }" }
        if schema.name == "listener TLS", !isOn {
            return "{ certificate: \(quoted(text)), key: FILE }"
        }
        if isOn { return schema.example }
        let value =
            RouteReplacement.value(text, schema.name)
            ?? ServiceReplacement.value(text, schema.name)
            ?? ProcessReplacement.value(text, schema.name)
        return value ?? schema.example
    }

    // MARK: Structure

    /// For a list or a mapping where something else belongs.
    private static func structure(_ node: YAMLNode, _ type: ValueType, _ key: String) -> String {
        let elements = node.elements
        switch type {
        case .either(let types):
            return types.lazy.map { structure(node, $0, key) }.first { !$0.isEmpty } ?? ""
        case .list(.object(let schema)):
            if !node.entries.isEmpty { return list(node.entries, schema) }
        case .map(let value, _):
            if let joined = joined(elements) { return "write \(joined)" }
            if let name = elements.first?["name"]?.text {
                return "names are keys here: write \"\(name):\", and its keys below"
            }
            if case .anyText = value { return "write \(type.example)" }
            let texts = elements.compactMap(\.text)
            if isObject(value), key == "versions", !texts.isEmpty,
                texts.allSatisfy({ Units.address($0) != nil })
            {
                let list = texts.map { "\"\($0)\"" }.joined(separator: ", ")
                return "write { v1: { endpoints: [\(list)] } }"
            }
            if let text = elements.first?.text, !SchemaChecker.isName(text) || isObject(value) {
                return "write \(type.example)"
            }
            let names = elements.compactMap(\.text)
            if !names.isEmpty, case .either = value {
                return "write { "
                    + names.map { "\(quoted($0)): { present: true }" }.joined(separator: ", ")
                    + " }"
            }
            if !elements.isEmpty { return "names are keys here, without \"- \" before them" }
        case .object(let schema):
            if schema.name == "version", !elements.isEmpty,
                elements.allSatisfy({ $0.text.flatMap(Units.address) != nil })
            {
                let list = elements.compactMap(\.text).map { "\"\($0)\"" }
                return "write { endpoints: [\(list.joined(separator: ", "))] }"
            }
            if elements.count == 1 {
                return elements[0].text != nil
                    ? hint(for: elements[0], type, key: key)
                    : "take the \"- \" or the brackets out"
            }
        case .anyText where key != "body":
            let texts = elements.compactMap(\.text)
            if texts.count > 1, texts.count == elements.count,
                texts.allSatisfy({ SchemaChecker.isName($0) && !$0.contains(".") })
            {
                return "write { regex: \"\(texts.joined(separator: "|"))\" } in a match, or one "
                    + "text"
            }
        case .address:
            if let host = (node["address"] ?? node["host"] ?? node["ip"])?.text,
                let port = node["port"]?.text, Units.address("\(host):\(port)") != nil
            {
                return "write \"\(host):\(port)\""
            }
        case .text:
            if key == "statuses", !elements.isEmpty { return "write 200-299: one range" }
            if elements.count == 1, let text = elements[0].text { return "write \(quoted(text))" }
            if key == "to", node.entries.count == 1, let version = node.entries[0].value.text {
                return "write \(node.entries[0].key)/\(version)"
            }
        default: break
        }
        return ""
    }

    private static func isContainer(_ type: ValueType) -> Bool {
        switch type {
        case .object, .list, .map: return true
        default: return false
        }
    }

    /// For a mapping where a list of objects belongs.
    private static func list(_ entries: [YAMLNode.Entry], _ schema: ObjectSchema) -> String {
        if schema.spec(named: entries[0].key) != nil {
            return "write \"- \" in front of each element's first key"
        }
        let addresses = entries.compactMap { entry in
            entry.value.text.flatMap { Units.address($0) == nil ? nil : (entry.key, $0) }
        }
        if schema.name == "listener", addresses.count == entries.count {
            let list = addresses.map { "{ name: \(quoted($0.0)), address: \"\($0.1)\" }" }
            return "write [\(list.joined(separator: ", "))]"
        }
        return "names stand within the elements here: write \"- name: \(entries[0].key)\", and its "
            + "keys below"
    }

    /// A mapping made of a list of pairs, `- a: b`, or of names with values, as other programs
    /// write them.
    private static func joined(_ elements: [YAMLNode]) -> String? {
        guard !elements.isEmpty else { return nil }
        var pairs: [String] = []
        for element in elements {
            if let name = element["name"]?.text,
                let value = (element["value"] ?? element["weight"])?.text
            {
                pairs.append("\(quoted(name)): \(quoted(value))")
            } else if element.entries.count == 1, let value = element.entries[0].value.text,
                element.entries[0].key != "name"
            {
                pairs.append("\(quoted(element.entries[0].key)): \(quoted(value))")
            } else {
                return nil
            }
        }
        return "{ " + pairs.joined(separator: ", ") + " }"
    }

    /// A text as it must stand within brackets or braces.
    static func quoted(_ text: String) -> String {
        let plain = text.utf8.allSatisfy {
            ASCII.isAlpha($0) || ASCII.isDigit($0)
                || [0x2d, 0x2e, 0x2f, 0x5f, 0x25, 0x2b, 0x3d, 0x7e].contains($0)
        }
        if plain, let first = text.utf8.first, first != 0x2d, first != 0x25, first != 0x3d,
            text != "~", text != "null"
        {
            return text
        }
        let escaped = text.map { $0 == "\\" || $0 == "\"" ? "\\\($0)" : String($0) }.joined()
        return "\"\(escaped)\""
    }
}

extension ValueType {
    fileprivate var isAddress: Bool {
        if case .address = self { return true }
        return false
    }
}
