import Base
import RE2
import Routing
import YAML

extension DocumentDecoder {
    mutating func match(_ node: YAMLNode) -> MatchRule {
        var rule = MatchRule()
        rule.listeners = listeners(node["listeners"])
        rule.scheme = node["scheme"]?.text.flatMap { RequestScheme(rawValue: $0) }
        rule.hosts = hosts(node["hosts"])
        if let path = node["path"] { rule.path = self.path(path) }
        for element in node["methods"]?.elements ?? [] {
            guard let text = element.text else { continue }
            if !SchemaChecker.isToken(text) {
                fail("\"\(text)\" is not a method", element.start)
            } else if text != text.uppercased() {
                fail(
                    "\"\(text)\" is not a method as clients send it", element.start,
                    hint: "methods are case-sensitive: \(text.uppercased())")
            }
            rule.methods.append(text)
        }
        let sources: [(String, ValueRule.Source)] = [
            ("headers", .header), ("queries", .query), ("cookies", .cookie),
        ]
        for (key, source) in sources {
            for entry in node[key]?.entries ?? [] {
                if let value = value(entry, source) { rule.values.append(value) }
            }
        }
        return rule
    }

    private mutating func listeners(_ node: YAMLNode?) -> [String] {
        guard let node else { return [] }
        let known = document.listeners.map(\.name)
        if node.elements.isEmpty {
            fail("listeners is an empty list", node.start, hint: "take it out to match at any")
        }
        return node.elements.compactMap { element in
            guard let name = element.text else { return nil }
            if !known.contains(name) {
                let meant = DidYouMean.closest(to: name, among: known)
                fail(
                    "there is no listener named \"\(name)\"", element.start,
                    hint: meant.map { "did you mean \"\($0)\"?" }
                        ?? "listeners: " + known.joined(separator: ", "))
            }
            return name
        }
    }

    private mutating func path(_ node: YAMLNode) -> PathRule? {
        guard node.entries.count == 1, let entry = node.entries.first, let text = entry.value.text
        else {
            fail("path needs one of exact, prefix, template, regex", node.start)
            return nil
        }
        if entry.key == "regex" {
            return expression(text, entry.value.start).map { .regex($0) }
        }
        let bytes = Array(text.utf8)
        guard bytes.first == 0x2f, ASCII.pathLength(bytes.span).count == bytes.count else {
            fail("\"\(text)\" is not a path", entry.value.start, hint: pathHint(text))
            return nil
        }
        if entry.key == "template" { return template(text, entry.value.start) }
        guard isNormal(text, entry.value.start) else { return nil }
        return entry.key == "exact" ? .exact(text) : .prefix(text)
    }

    func pathHint(_ text: String) -> String {
        let slashed = Array(("/" + text).utf8)
        if !text.hasPrefix("/"), !text.contains("://"), ASCII.isStrictPath(slashed.span) {
            return "write /\(text)"
        }
        if text.hasPrefix("/"), let query = text.firstIndex(of: "?") {
            return "write \(text[..<query]), and match the query with queries: { … }"
        }
        return "a path starts with / and has no query, space or control character"
    }

    /// Requests' paths are matched in normal form, so that a path in another form matches none.
    private mutating func isNormal(_ text: String, _ mark: YAMLMark) -> Bool {
        let bytes = Array(text.utf8)
        let normal = normalized(bytes)
        if normal == bytes { return true }
        fail(
            "\"\(text)\" is not in normal form, so no request's path would match it", mark,
            hint: normal.map { "write \(String(decoding: $0, as: UTF8.self))" } ?? "")
        return false
    }

    private func normalized(_ bytes: [UInt8]) -> [UInt8]? {
        guard document.normalizesPaths else { return bytes }
        return PathForm.normal(bytes)
    }

    private mutating func template(_ text: String, _ mark: YAMLMark) -> PathRule? {
        for part in text.split(separator: "/") where part.contains("{") || part.contains("}") {
            let name = part.dropFirst().dropLast()
            guard part.hasPrefix("{"), part.hasSuffix("}"), SchemaChecker.isName(String(name))
            else {
                fail(
                    "\"\(part)\" in a template is neither text nor {name}", mark,
                    hint: "a variable takes a whole element: /users/{id}/orders")
                return nil
            }
        }
        if text.split(separator: "/").contains(where: { $0.hasPrefix(":") && $0.count > 1 }) {
            let braces = text.split(separator: "/").map { part in
                part.hasPrefix(":") && part.count > 1 ? "{\(part.dropFirst())}" : String(part)
            }
            warn(
                "the template \"\(text)\" is matched with its colons, as it is written", mark,
                hint: "write /\(braces.joined(separator: "/"))")
        }
        let literal = text.split(separator: "/", omittingEmptySubsequences: false)
            .map { $0.hasPrefix("{") ? "x" : String($0) }.joined(separator: "/")
        return isNormal(literal, mark) ? .template(text) : nil
    }

    private mutating func expression(_ text: String, _ mark: YAMLMark) -> RegularExpression? {
        do throws(RegularExpression.Failure) {
            return try RegularExpression(text)
        } catch {
            fail(
                "\"\(text)\" is not an RE2 pattern: \(error.reason)", mark,
                hint: "RE2 has no look-around and no back-references")
            return nil
        }
    }

    private mutating func value(
        _ entry: YAMLNode.Entry, _ source: ValueRule.Source
    ) -> ValueRule? {
        if let text = entry.value.text {
            return ValueRule(source: source, name: entry.key, pattern: .exact(text))
        }
        let node = entry.value
        let isNegated = node["not"]?.text == "true"
        let kinds = node.entries.filter { $0.key != "not" }
        guard kinds.count == 1, let kind = kinds.first, let text = kind.value.text else {
            fail("\(entry.key) needs one of exact, prefix, suffix, regex, present", node.start)
            return nil
        }
        let pattern: ValuePattern
        switch kind.key {
        case "exact": pattern = .exact(text)
        case "prefix": pattern = .prefix(text)
        case "suffix": pattern = .suffix(text)
        case "present": pattern = .present
        default:
            guard let expression = expression(text, kind.value.start) else { return nil }
            pattern = .regex(expression)
        }
        return ValueRule(
            source: source, name: entry.key, pattern: pattern, isNegated: isNegated)
    }
}
