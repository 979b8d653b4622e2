import Base

/// A text of a plan with names between double braces, which stand for values of the rollout:
/// `rate(errors{version="{{canary}}"}[1m])`.
public struct PlanTemplate: Sendable, Equatable {
    public enum Part: Sendable, Equatable {
        case text(String)
        case name(String)
    }

    /// Names that every rollout has a value for.
    public static let names = ["rollout", "service", "canary", "stable", "stage", "revision"]

    public let parts: [Part]

    /// The name of the first pair of braces that is none of `PlanTemplate.names`.
    public struct Failure: Error, Sendable, Equatable { public var name: String }

    public init(_ text: String) throws(Failure) {
        var parts: [Part] = [], rest = Substring(text)
        while let open = PlanTemplate.find("{{", in: rest) {
            if open > rest.startIndex { parts.append(.text(String(rest[..<open]))) }
            rest = rest[rest.index(open, offsetBy: 2)...]
            guard let close = PlanTemplate.find("}}", in: rest) else {
                throw Failure(name: String(rest.prefix(40)))
            }
            let inner = rest[..<close].drop { $0 == " " }
            let name = String(inner.prefix { $0 != " " })
            guard PlanTemplate.names.contains(name),
                inner.dropFirst(name.count).allSatisfy({ $0 == " " })
            else { throw Failure(name: String(inner.prefix(40))) }
            parts.append(.name(name))
            rest = rest[rest.index(close, offsetBy: 2)...]
        }
        if !rest.isEmpty { parts.append(.text(String(rest))) }
        self.parts = parts
    }

    private static func find(_ pair: String, in text: Substring) -> Substring.Index? {
        text.firstRange(of: pair)?.lowerBound
    }

    public func uses(_ name: String) -> Bool { parts.contains(.name(name)) }

    /// The text in front of the first name.
    public var firstText: String {
        if case .text(let text)? = parts.first { return text }
        return ""
    }

    /// The text with the values in place; each value passes through `escaped` first.
    ///
    /// - Returns: `nil` where a value is missing or not of `PlanTemplate.isValue`'s form.
    public func text(
        _ value: (String) -> String?, escaped: (String) -> String = { $0 }
    ) -> String? {
        var text = ""
        for part in parts {
            switch part {
            case .text(let piece): text += piece
            case .name(let name):
                guard let value = value(name), PlanTemplate.isValue(value) else { return nil }
                text += escaped(value)
            }
        }
        return text
    }

    /// Whether a value may stand in a template: at most 128 bytes of letters, digits and
    /// `._:/@+-`.
    public static func isValue(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                ASCII.isAlpha(byte) || ASCII.isDigit(byte) || "._:/@+-".utf8.contains(byte)
            }
    }
}
