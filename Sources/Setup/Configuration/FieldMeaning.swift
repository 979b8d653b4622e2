import Base
import HTTPSemantics
import JSON
import YAML

// What a field says, whatever its notation, and what holds where it is not given.

extension FieldComparison {
    /// Equal for two texts exactly when they mean one thing; `nil` for nothing given.
    static func meaning(_ text: String?, _ type: ValueType) -> String? {
        guard let text else { return nil }
        switch type {
        case .duration(let word):
            // Where there may be no limit, no time says that too.
            if let word, Units.duration(text) == .zero { return word }
            return Units.duration(text).map { "\($0.nanoseconds) ns" } ?? text
        case .delay: return Units.duration(text).map { "\($0.nanoseconds) ns" } ?? text
        case .size: return Units.size(text).map { "\($0) B" } ?? text
        case .share, .shareOr, .weight: return Units.share(text).map { "\($0) %%" } ?? number(text)
        case .integer, .integerOr: return number(text)
        case .decimal: return Units.decimal(text).map { "\($0)" } ?? text
        case .address: return Units.address(text).map { "\($0)" } ?? text
        case .text(let expected) where expected.contains("host"): return text.lowercased()
        default: return text
        }
    }

    private static func number(_ text: String) -> String { Int(text).map { "\($0)" } ?? text }

    /// The value that holds where a field is not given, as the file would write it.
    ///
    /// - Parameters:
    ///   - siblings: the object that the field would stand in.
    ///   - path: the object's.
    func fallback(
        _ field: FieldSpec, _ siblings: YAMLNode?, _ path: [String], _ root: YAMLNode
    ) -> String? {
        if path.first == "routes", let group = path.last, ["timeouts", "retries"].contains(group) {
            // A route takes what it does not say from the defaults.
            let defaults = root["defaults"]?[group]
            if defaults?.text == "off" { return field.name == "attempts" ? "0" : nil }
            return defaults?[field.name].map { FieldComparison.text($0) } ?? field.defaultText
        }
        switch field.defaultText {
        case "the service's name"?:
            return path.first == "rollouts"
                ? siblings?["service"]?.text : path.count > 1 ? path[1] : nil
        case "as requests"?: return siblings?["requests"]?.text
        case "the first one"?: return siblings?["versions"]?.entries.first?.key
        case "the system's"?: return nil
        case let text: return text
        }
    }

    /// A node in one line, as a file could have it; long ones are cut. Values of edits that may be
    /// secret are not shown.
    ///
    /// - Parameter path: the keys that lead to the node.
    static func text(_ node: YAMLNode, at path: [String] = []) -> String {
        if let name = path.last, isSecret(name, in: path.dropLast().last) {
            return SecretFields.redacted
        }
        var text = ""
        write(node, under: path.last, &text)
        return text.count > 160 ? text.prefix(157) + "…" : text
    }

    /// Whether a key names a field that edits set or add, whose value may be secret.
    private static func isSecret(_ name: String, in owner: String?) -> Bool {
        (owner == "set" || owner == "add") && SecretFields.contains(Array(name.utf8).span)
    }

    private static func write(_ node: YAMLNode, under owner: String? = nil, _ out: inout String) {
        // Enough was written for a line.
        if out.utf8.count > 1_000 { return }
        switch node.content {
        case .scalar(let text, _): out += shown(text)
        case .sequence(let nodes):
            out += "["
            for (i, node) in nodes.enumerated() {
                if i > 0 { out += ", " }
                write(node, &out)
            }
            out += "]"
        case .mapping(let entries):
            if entries.isEmpty {
                out += "{}"
                return
            }
            out += "{ "
            for (i, entry) in entries.enumerated() {
                if i > 0 { out += ", " }
                out += shown(entry.key) + ": "
                if isSecret(entry.key, in: owner) {
                    out += SecretFields.redacted
                } else {
                    write(entry.value, under: entry.key, &out)
                }
            }
            out += " }"
        }
    }

    /// Quoted where a terminal or a reader could be misled.
    private static func shown(_ text: String) -> String {
        let isPlain =
            !text.isEmpty && text.first != " " && text.last != " "
            && text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f }
            && !text.contains(", ") && !text.contains("\"")
        return isPlain ? text : JSONText.string(text).text()
    }
}
