import YAML

/// Words that a program which writes YAML 1.1 turns into truth values: `off` comes as `false` and
/// the key `on` as `true`. They are turned back where the field table has such a word, and nowhere
/// else: a header's value `no` stays `no`.
enum SchemaWords {
    private static let yes: Set<String> = [
        "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y",
    ]
    private static let no: Set<String> = [
        "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N",
    ]

    /// The tree with such words as the table writes them.
    static func canonical(_ root: YAMLNode) -> YAMLNode {
        var root = root
        rewrite(&root, .object(.document), default: nil)
        return root
    }

    private static func rewrite(_ node: inout YAMLNode, _ type: ValueType, default text: String?) {
        switch (type, node.content) {
        case (.either(let types), _):
            for type in types where fits(node, type) { rewrite(&node, type, default: text) }
        case (.object(let schema), .mapping(var entries)):
            for i in entries.indices {
                if schema.spec(named: entries[i].key) == nil, yes.contains(entries[i].key),
                    schema.spec(named: "on") != nil, node["on"] == nil
                {
                    entries[i].key = "on"
                }
                guard let field = schema.spec(named: entries[i].key) else { continue }
                rewrite(&entries[i].value, field.type, default: field.defaultText)
            }
            node.content = .mapping(entries)
        case (.map(let element, _), .mapping(var entries)):
            for i in entries.indices { rewrite(&entries[i].value, element, default: nil) }
            node.content = .mapping(entries)
        case (.list(let element), .sequence(var nodes)):
            for i in nodes.indices { rewrite(&nodes[i], element, default: nil) }
            node.content = .sequence(nodes)
        case (_, .scalar(let old, let isQuoted)):
            if let word = word(old, among: words(of: type, default: text)) {
                node.content = .scalar(word, isQuoted: isQuoted)
            }
        default: break
        }
    }

    private static func fits(_ node: YAMLNode, _ type: ValueType) -> Bool {
        switch (type, node.content) {
        case (.object, .mapping), (.map, .mapping), (.list, .sequence): return true
        case (.object, _), (.map, _), (.list, _): return false
        case (_, .scalar): return true
        default: return false
        }
    }

    private static func words(of type: ValueType, default text: String?) -> [String] {
        switch type {
        case .choice(let words): return words
        case .integer(_, let word?), .duration(let word?), .size(let word?): return [word]
        // A name, or off for none.
        case .text: return text == "off" ? ["off"] : []
        default: return []
        }
    }

    /// The one of some words that a text means.
    private static func word(_ text: String, among words: [String]) -> String? {
        if words.isEmpty || words.contains(text) { return nil }
        if yes.contains(text) { return words.first { $0 == "on" || $0 == "true" } }
        if no.contains(text) { return words.first { $0 == "off" || $0 == "false" } }
        return nil
    }
}
