import Base
import Routing
import YAML

/// The rule of a stage, kept as text: plans are copied into journals, and a rule that is read back
/// goes through the checks that a file's goes through.
public enum StageMatch {
    /// The longest rule in bytes, as it goes into journals.
    static let bytesMax = 16_384

    /// Why a text is no rule for a configuration.
    public struct Failure: Error, Sendable { public var message: String }

    /// The rule in YAML's flow form, in one line.
    static func text(_ node: YAMLNode) -> String {
        switch node.content {
        case .scalar(let text, _):
            return Replacement.quoted(text) == text ? text : quoted(text)
        case .sequence(let nodes): return "[" + nodes.map(text).joined(separator: ", ") + "]"
        case .mapping(let entries):
            let pairs = entries.map { entry in
                let key = YAMLNode(
                    content: .scalar(entry.key, isQuoted: false), start: entry.keyStart,
                    end: entry.keyStart)
                return "\(text(key)): \(text(entry.value))"
            }
            return "{ " + pairs.joined(separator: ", ") + " }"
        }
    }

    /// A text between double quotes. Everything beyond printable ASCII is escaped, as YAML 1.1 has
    /// line ends and characters of its own that a reader refuses or folds.
    private static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x22, 0x5c: out += "\\\(scalar)"
            case 0x20...0x7e: out += String(scalar)
            default:
                let digits = String(scalar.value, radix: 16)
                out += "\\U" + String(repeating: "0", count: 8 - digits.count) + digits
            }
        }
        return out + "\""
    }

    /// Reads the rule of a stage for a configuration: a request that matches one of the rules goes
    /// to the canary.
    public static func rules(
        _ text: String, _ document: Document
    ) -> Result<[MatchRule], Failure> {
        let nodes: [YAMLNode]
        do throws(YAMLError) {
            nodes = try YAMLReader.documents(Array(text.utf8))
        } catch {
            return .failure(Failure(message: error.message))
        }
        guard let node = nodes.first, nodes.count == 1 else {
            return .failure(Failure(message: "it is no single match"))
        }
        let match = ValueType.object(.match)
        var checker = SchemaChecker()
        checker.check(node, .either([match, .list(match)]), at: "match")
        var decoder = DocumentDecoder()
        decoder.document.listeners = document.listeners
        decoder.document.normalizesPaths = document.normalizesPaths
        var rules: [MatchRule] = []
        if checker.errors.isEmpty {
            let list = if case .sequence(let nodes) = node.content { nodes } else { [node] }
            rules = list.map { decoder.match($0) }
        }
        if let error = (checker.errors + decoder.errors).first {
            let hint = error.hint.isEmpty ? "" : "; \(error.hint)"
            return .failure(Failure(message: error.message + hint))
        }
        return .success(rules)
    }
}
