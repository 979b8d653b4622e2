import Base
import Configuration
import JSON
import Routing

extension DocumentJSON {
    /// A match with the keys that it has.
    static func match(_ match: MatchRule) -> JSONText {
        func strings(_ list: [String]) -> JSONText { .array(list.map { .string($0) }) }
        var pairs: [(String, JSONText)] = []
        if !match.listeners.isEmpty { pairs.append(("listeners", strings(match.listeners))) }
        if let scheme = match.scheme { pairs.append(("scheme", .string(scheme.rawValue))) }
        if !match.hosts.isEmpty { pairs.append(("hosts", strings(match.hosts))) }
        if let path = match.path?.words {
            pairs.append(("path", .object([(path.key, .string(path.text))])))
        }
        if !match.methods.isEmpty { pairs.append(("methods", strings(match.methods))) }
        let sources: [(String, ValueRule.Source)] = [
            ("headers", .header), ("queries", .query), ("cookies", .cookie),
        ]
        for (key, source) in sources {
            let values = match.values.filter { $0.source == source }
            if !values.isEmpty {
                pairs.append((key, .object(values.map { ($0.name, condition($0)) })))
            }
        }
        return .object(pairs)
    }

    private static func condition(_ rule: ValueRule) -> JSONText {
        let pattern = rule.pattern.words
        return .object(
            [(pattern.key, .string(pattern.text))] + (rule.isNegated ? [("not", .bool(true))] : []))
    }
}
