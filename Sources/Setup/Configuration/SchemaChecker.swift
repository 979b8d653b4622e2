import Base
import YAML

/// Checks a YAML tree against the field table: kinds, words, units, unknown and missing keys.
/// Collects everything that is wrong.
struct SchemaChecker {
    private(set) var errors: [ConfigurationError] = []

    mutating func check(_ node: YAMLNode, _ type: ValueType, at path: String) {
        switch type {
        case .object(let schema): object(node, schema, path)
        case .list(let element):
            guard case .sequence(let nodes) = node.content else {
                return wrongKind(node, type, path)
            }
            for (i, node) in nodes.enumerated() { check(node, element, at: "\(path)[\(i)]") }
        case .map(let value, let keys):
            guard case .mapping(let entries) = node.content else {
                return wrongKind(node, type, path)
            }
            for entry in entries {
                checkKey(entry, keys, path)
                check(entry.value, value, at: "\(path).\(entry.key)")
            }
        case .either(let types): either(node, types, path)
        default:
            guard let text = node.text else { return wrongKind(node, type, path) }
            scalar(text, node, type, path)
        }
    }

    private mutating func fail(_ message: String, _ mark: YAMLMark, hint: String = "") {
        errors.append(ConfigurationError(message, at: mark, hint: hint))
    }

    private mutating func wrongKind(_ node: YAMLNode, _ type: ValueType, _ path: String) {
        let where_ = path.isEmpty ? "the file" : path
        fail(
            "\(where_) is \(node.kindName), expected \(type.expectation)", node.start,
            hint: Replacement.hint(for: node, type, key: SchemaChecker.key(path)))
    }

    /// The last key of a path such as `listeners[0].tls`.
    private static func key(_ path: String) -> String {
        let last = path.split(separator: ".").last ?? ""
        return String(last.prefix { $0 != "[" })
    }

    private mutating func either(_ node: YAMLNode, _ types: [ValueType], _ path: String) {
        for type in types {
            switch (type, node.content) {
            case (.object, .mapping), (.map, .mapping), (.list, .sequence):
                return check(node, type, at: path)
            case (.object, _), (.map, _), (.list, _): continue
            case (.choice(let words), .scalar)
            where types.contains(where: \.isDuration) && !words.contains(node.text ?? ""):
                // One of the words, or a length of time.
                continue
            case (_, .scalar):
                return alternative(node, type, of: types, path)
            default: continue
            }
        }
        wrongKind(node, .either(types), path)
    }

    /// Checks a plain value that may have other shapes too; a message names all of them.
    private mutating func alternative(
        _ node: YAMLNode, _ type: ValueType, of types: [ValueType], _ path: String
    ) {
        let before = errors.count
        check(node, type, at: path)
        guard errors.count > before, let text = node.text else { return }
        let whole = ValueType.either(types)
        let hint = Replacement.hint(for: node, whole, key: SchemaChecker.key(path))
        if errors[before].message.hasSuffix("expected \(type.expectation)") {
            errors[before].message = "\(path) is \"\(text)\", expected \(whole.expectation)"
        }
        let isBetter = type.isSingleWord || Units.share(text) != nil || Replacement.isSwitch(text)
        if !hint.isEmpty, isBetter || errors[before].hint.isEmpty { errors[before].hint = hint }
    }

    private mutating func object(_ node: YAMLNode, _ schema: ObjectSchema, _ path: String) {
        guard case .mapping(let entries) = node.content else {
            return wrongKind(node, .object(schema), path)
        }
        for entry in entries {
            let place = path.isEmpty ? entry.key : "\(path).\(entry.key)"
            guard let field = schema.spec(named: entry.key) else {
                if schema.allowsExtensions, entry.key.hasPrefix("x-") { continue }
                unknown(entry, schema, path)
                continue
            }
            if entry.value.isNull, !field.type.takesEmptyText {
                fail(
                    "\(place) has no value, expected \(field.type.expectation)", entry.keyStart,
                    hint: "give it a value, or take the key out")
            } else {
                check(entry.value, field.type, at: place)
            }
        }
        for field in schema.fields where field.isRequired && node[field.name] == nil {
            let where_ = path.isEmpty ? "the file" : path
            fail(
                "\(where_) lacks the key \"\(field.name)\"", node.start,
                hint: "add \(field.name): \(SchemaHints.example(of: field, in: schema))")
        }
    }

    private mutating func unknown(
        _ entry: YAMLNode.Entry, _ schema: ObjectSchema, _ path: String
    ) {
        let where_ = path.isEmpty ? "the file" : path
        fail(
            "\(where_) has no key \"\(entry.key)\"", entry.keyStart,
            hint: SchemaHints.unknownKey(entry.key, in: schema))
    }

    private mutating func checkKey(
        _ entry: YAMLNode.Entry, _ keys: ValueType.KeyKind, _ path: String
    ) {
        switch keys {
        case .names:
            if !SchemaChecker.isName(entry.key) {
                fail(
                    "\"\(entry.key)\" in \(path) is not a name", entry.keyStart,
                    hint: SchemaChecker.nameHint)
            }
        case .headers:
            if !SchemaChecker.isToken(entry.key) {
                fail(
                    "\"\(entry.key)\" in \(path) is not a header name", entry.keyStart,
                    hint: "header names have no spaces, colons or control characters")
            }
        case .any:
            if entry.key.isEmpty { fail("an empty name in \(path)", entry.keyStart) }
        }
    }

    static let nameHint = "letters, digits, \"-\", \"_\" and \".\", at most 63 characters"

    static func isName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 63
            && text.utf8.allSatisfy {
                ASCII.isAlpha($0) || ASCII.isDigit($0) || $0 == 0x2d || $0 == 0x5f || $0 == 0x2e
            }
    }

    static func isToken(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        return !bytes.isEmpty && ASCII.tokenLength(bytes.span) == bytes.count
    }

    // MARK: Scalars

    private mutating func scalar(
        _ text: String, _ node: YAMLNode, _ type: ValueType, _ path: String
    ) {
        let isValid: Bool
        var hint = ""
        switch type {
        case .anyText: isValid = true
        case .text: isValid = !text.isEmpty
        case .name:
            isValid = SchemaChecker.isName(text)
            hint = SchemaHints.name(text)
        case .integer(let range, let word):
            isValid = text == word || Int(text).map(range.contains) ?? false
            hint = SchemaHints.noLimit(text, word)
            if hint.isEmpty { hint = SchemaHints.number(text, range) }
        case .integerOr(let range, let words):
            isValid = words.contains(text) || Int(text).map(range.contains) ?? false
            hint = SchemaHints.choice(text, words, key: SchemaChecker.key(path))
        case .duration(nil) where Units.duration(text) == .zero:
            return fail(
                "\(path) is 0, expected \(type.expectation)", node.start,
                hint: "0s would leave no time at all; give it a length, or take the key out for "
                    + "its default")
        case .duration(let word):
            isValid = text == word || Units.duration(text) != nil
            hint = SchemaHints.duration(text, orWord: word)
        case .delay:
            isValid = Units.duration(text) != nil
            hint = SchemaHints.delay(text)
        case .size(let word):
            isValid = text == word || Units.size(text) != nil
            hint = SchemaHints.noLimit(text, word)
            if hint.isEmpty { hint = SchemaHints.size(text) }
        case .decimal(let range):
            isValid = Units.decimal(text).map(range.contains) ?? false
            hint = SchemaHints.decimal(text, range)
        case .share:
            isValid = Units.share(text) != nil
            hint = SchemaHints.share(text)
        case .shareOr(let word):
            isValid = text == word || Units.share(text) != nil
            hint = SchemaHints.share(text)
        case .weight:
            isValid =
                Units.share(text) != nil || Int(text).map { (0...1_000_000).contains($0) } ?? false
            hint = SchemaHints.weight(text)
        case .address:
            isValid = Units.address(text) != nil
            hint = SchemaHints.address(text)
        case .choice(let words):
            isValid = words.contains(text)
            hint = SchemaHints.choice(text, words, key: SchemaChecker.key(path))
        case .object, .list, .map, .either: isValid = true
        }
        if !isValid {
            fail("\(path) is \"\(text)\", expected \(type.expectation)", node.start, hint: hint)
        }
    }
}

extension YAMLNode {
    var kindName: String {
        switch content {
        case .scalar(let text, _): return text.isEmpty ? "empty" : "the text \"\(text)\""
        case .sequence: return "a list"
        case .mapping: return "a mapping"
        }
    }
}

extension ValueType {
    var isDuration: Bool {
        if case .duration = self { return true }
        return false
    }

    var takesEmptyText: Bool {
        if case .anyText = self { return true }
        if case .either(let types) = self { return types.contains { $0.takesEmptyText } }
        return false
    }
}
