import Base
import JSON

/// The field table as a JSON Schema (draft 2020-12), for editors.
public enum SchemaJSON {
    public static func document() -> JSONText {
        guard case .object(var pairs) = object(.document) else { return .null }
        let title: [(String, JSONText)] = [
            ("$schema", .string("https://json-schema.org/draft/2020-12/schema")),
            ("title", .string("Sluice configuration")),
        ]
        pairs.insert(contentsOf: title, at: 0)
        return .object(pairs)
    }

    private static func object(_ schema: ObjectSchema) -> JSONText {
        let fields = schema.fields
        var pairs: [(String, JSONText)] = [
            ("type", .string("object")), ("description", .string(schema.help)),
            (
                "properties",
                .object(
                    fields.map { field in
                        guard case .object(var type) = type(field.type) else {
                            return (field.name, .null)
                        }
                        type.append(("description", .string(field.help)))
                        if let text = field.defaultText { type.append(("default", .string(text))) }
                        return (field.name, .object(type))
                    })
            ),
            ("additionalProperties", .bool(false)),
        ]
        let required = fields.filter(\.isRequired).map { JSONText.string($0.name) }
        if !required.isEmpty { pairs.append(("required", .array(required))) }
        if schema.allowsExtensions {
            pairs.append(("patternProperties", .object([("^x-", .object([]))])))
        }
        return .object(pairs)
    }

    private static func bound(_ value: Double) -> JSONText {
        value == value.rounded() ? .integer(Int(value)) : .number(value)
    }

    private static func pattern(_ pattern: String) -> JSONText {
        .object([("type", .string("string")), ("pattern", .string(pattern))])
    }

    private static func orWord(_ type: JSONText, _ word: String?) -> JSONText {
        guard let word else { return type }
        // What YAML 1.1 makes of off.
        let read: [JSONText] = word == "off" ? [.object([("const", .bool(false))])] : []
        return .object([("anyOf", .array([type, .object([("const", .string(word))])] + read))])
    }

    private static func type(_ type: ValueType) -> JSONText {
        switch type {
        case .text:
            return .object([("type", .array([.string("string"), .string("number")]))])
        case .anyText:
            let kinds = ["string", "number", "boolean", "null"].map { JSONText.string($0) }
            return .object([("type", .array(kinds))])
        case .name: return pattern("^[A-Za-z0-9._-]{1,63}$")
        case .integer(let range, let word):
            return orWord(
                .object([
                    ("type", .string("integer")), ("minimum", .integer(range.lowerBound)),
                    ("maximum", .integer(range.upperBound)),
                ]), word)
        case .integerOr(let range, let words):
            let number = self.type(.integer(range, orWord: nil))
            return .object([("anyOf", .array([number, self.type(.choice(words))]))])
        case .duration(nil): return pattern("^(?=.*[1-9])" + durationPattern)
        case .duration(let word): return orWord(pattern("^" + durationPattern), word)
        case .delay: return pattern("^" + durationPattern)
        case .size(let word):
            return orWord(
                .object([
                    ("type", .array([.string("string"), .string("integer")])),
                    ("pattern", .string("^[0-9]{1,12}(B|KiB|MiB|GiB|KB|MB|GB)?$")),
                ]), word)
        case .decimal(let range):
            var pairs: [(String, JSONText)] = [("type", .string("number"))]
            // A bound that stands for none is left out.
            if range.lowerBound > -1e15 { pairs.append(("minimum", bound(range.lowerBound))) }
            if range.upperBound < 1e15 { pairs.append(("maximum", bound(range.upperBound))) }
            return .object(pairs)
        case .share: return pattern(sharePattern)
        case .shareOr(let word): return orWord(pattern(sharePattern), word)
        case .weight:
            return .object([
                (
                    "anyOf",
                    .array([
                        .object([
                            ("type", .string("integer")), ("minimum", .integer(0)),
                            ("maximum", .integer(1_000_000)),
                        ]), pattern(sharePattern),
                    ])
                )
            ])
        case .address: return pattern("^(unix:/.+|\\[[0-9a-fA-F:.]+\\]:[0-9]+|[0-9.]+:[0-9]+)$")
        case .choice(let words):
            // YAML reads true, off and 301 as other types before the schema sees them.
            var values = words.map { JSONText.string($0) }
            for word in words {
                if let number = Int(word) { values.append(.integer(number)) }
                if word == "true" || word == "on" { values.append(.bool(true)) }
                if word == "false" || word == "off" { values.append(.bool(false)) }
            }
            return .object([("enum", .array(values))])
        case .object(let schema): return object(schema)
        case .list(let element):
            return .object([("type", .string("array")), ("items", self.type(element))])
        case .map(let value, _):
            return .object([
                ("type", .string("object")), ("additionalProperties", self.type(value)),
            ])
        case .either(let types):
            return .object([("anyOf", .array(types.map { self.type($0) }))])
        }
    }

    private static let durationPattern =
        "([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?([0-9]{1,5}ms)?$"
    private static let sharePattern = "^(100(\\.00?)?|[0-9]{1,2}(\\.[0-9]{1,2})?)%$"
}
