/// The type of a value in the file. One table of these serves the checker, the JSON Schema, the
/// reference and did-you-mean.
public indirect enum ValueType: Sendable {
    /// Text that is not empty; `expected` names what it stands for in messages.
    case text(expected: String)
    /// Text that may be empty.
    case anyText
    /// A name for labels and references: letters, digits, `-`, `_`, `.`, at most 63 bytes.
    case name
    case integer(ClosedRange<Int>, orWord: String?)
    /// A number of a range, or one of some words.
    case integerOr(ClosedRange<Int>, [String])
    /// A length of time. With a word (`off`) there may be no limit, and `0s` means the same as the
    /// word; without one the time is needed, and `0s` is refused.
    case duration(orWord: String?)
    /// A length of time that something is put off by; `0s` is not at all.
    case delay
    case size(orWord: String?)
    /// A number that may have decimals.
    case decimal(ClosedRange<Double>)
    /// A percentage with two decimals.
    case share
    case shareOr(String)
    /// A relative integer or a percentage.
    case weight
    /// `1.2.3.4:80`, `[::1]:80` or `unix:/path`.
    case address
    case choice([String])
    case object(ObjectSchema)
    case list(ValueType)
    case map(ValueType, keys: KeyKind)
    /// A shape for each kind of node; at most one scalar, one list and one mapping type.
    case either([ValueType])

    public enum KeyKind: Sendable { case names, headers, any }
}

/// One key of an object.
public struct FieldSpec: Sendable {
    public var name: String
    public var type: ValueType
    public var isRequired = false
    /// The default value, as the file would write it.
    public var defaultText: String?
    public var help: String
}

extension FieldSpec {
    static func field(
        _ name: String, _ type: ValueType, default text: String? = nil, _ help: String
    ) -> FieldSpec {
        FieldSpec(name: name, type: type, defaultText: text, help: help)
    }

    static func required(_ name: String, _ type: ValueType, _ help: String) -> FieldSpec {
        FieldSpec(name: name, type: type, isRequired: true, help: help)
    }
}

/// The keys of one kind of object.
public struct ObjectSchema: Sendable {
    public var name: String
    /// A small object of this kind as the file would write it, in braces. Messages show this text
    /// to say what is expected, and it can be taken as it stands.
    public var example: String
    public var help: String
    public var fields: [FieldSpec]
    /// Keys starting with `x-` are left to the author.
    public var allowsExtensions = false
    /// Only holds keys together: giving it without any of them says nothing. Every other object
    /// says something by being there.
    public var isGroup = false
    /// The key that a plain value in the object's place stands for; `nil` where none may.
    public var shortFor: String?

    public func spec(named name: String) -> FieldSpec? { fields.first { $0.name == name } }
}
