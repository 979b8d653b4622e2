/// A JSON value to be printed (RFC 8259), for the command line and the admin pages; traffic has
/// none.
public indirect enum JSONText: Sendable {
    case null
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    case array([JSONText])
    /// An object whose members are printed in the order given.
    case object([(String, JSONText)])

    /// Writes the value as text, indented by two spaces a level.
    public func text(indent: Int = 0) -> String {
        let pad = String(repeating: "  ", count: indent + 1)
        let end = String(repeating: "  ", count: indent)
        switch self {
        case .null: return "null"
        case .bool(let value): return value ? "true" : "false"
        case .integer(let value): return "\(value)"
        case .number(let value): return "\(value)"
        case .string(let value): return JSONText.quoted(value)
        case .array(let values):
            if values.isEmpty { return "[]" }
            let lines = values.map { pad + $0.text(indent: indent + 1) }
            return "[\n" + lines.joined(separator: ",\n") + "\n" + end + "]"
        case .object(let pairs):
            if pairs.isEmpty { return "{}" }
            let lines = pairs.map {
                pad + JSONText.quoted($0.0) + ": " + $0.1.text(indent: indent + 1)
            }
            return "{\n" + lines.joined(separator: ",\n") + "\n" + end + "}"
        }
    }

    /// Writes the value as text in one line, without spaces.
    public func line() -> String {
        switch self {
        case .null, .bool, .integer, .number, .string: return text()
        case .array(let values): return "[" + values.map { $0.line() }.joined(separator: ",") + "]"
        case .object(let pairs):
            let members = pairs.map { JSONText.quoted($0.0) + ":" + $0.1.line() }
            return "{" + members.joined(separator: ",") + "}"
        }
    }

    /// Quotes and escapes a string as RFC 8259 §7 asks for.
    public static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\t": out += "\\t"
            default:
                if scalar.value < 0x20 || scalar.value == 0x7f {
                    let hex = String(scalar.value, radix: 16)
                    out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
                } else {
                    out.unicodeScalars.append(scalar)
                }
            }
        }
        return out + "\""
    }
}
