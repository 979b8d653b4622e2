/// A place in a JSON text. Both count from 1; columns count characters of Unicode.
public struct JSONMark: Hashable, Sendable {
    public var line: Int
    public var column: Int

    public init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }
}

/// A JSON value that was read, with the place where it begins.
public struct JSONNode: Sendable {
    public struct Member: Sendable {
        public var name: String
        public var mark: JSONMark
        public var value: JSONNode
    }

    public indirect enum Content: Sendable {
        case null
        case bool(Bool)
        /// A number without fraction and exponent that fits.
        case integer(Int)
        /// Every other number; finite.
        case number(Double)
        case string(String)
        case array([JSONNode])
        /// Members in the order of the text; each name occurs once.
        case object([Member])
    }

    public var content: Content
    public var mark: JSONMark

    /// The word for what the value is, for messages.
    public var kind: String {
        switch content {
        case .null: "null"
        case .bool: "true or false"
        case .integer, .number: "a number"
        case .string: "a text"
        case .array: "a list"
        case .object: "an object"
        }
    }

    public var members: [Member]? {
        if case .object(let members) = content { return members }
        return nil
    }

    public var elements: [JSONNode]? {
        if case .array(let elements) = content { return elements }
        return nil
    }

    public var text: String? {
        if case .string(let text) = content { return text }
        return nil
    }

    public var integer: Int? {
        if case .integer(let value) = content { return value }
        return nil
    }

    /// The value of an object's member.
    public subscript(name: String) -> JSONNode? {
        members?.first { $0.name == name }?.value
    }
}

/// Why bytes are no JSON text, or more than the limits allow.
public struct JSONError: Error, Equatable, Sendable, CustomStringConvertible {
    public var message: String
    public var mark: JSONMark

    public init(_ message: String, at mark: JSONMark) {
        self.message = message
        self.mark = mark
    }

    /// `line:column: message`.
    public var description: String { "\(mark.line):\(mark.column): \(message)" }
}
