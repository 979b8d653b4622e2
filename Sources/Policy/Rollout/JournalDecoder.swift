import JSON

/// Makes a value of JSON that was read. Whoever wrote it is not believed: a member that is missing,
/// or of another kind, is an error that names its place.
enum JournalDecoder {
    static func decode<Value: Decodable>(
        _ type: Value.Type, _ node: JSONNode
    ) throws(JournalFold.Failure) -> Value {
        do {
            return try Value(from: NodeDecoder(node: node, codingPath: []))
        } catch let failure as JournalFold.Failure {
            throw failure
        } catch let error as DecodingError {
            throw JournalFold.Failure(text: JournalDecoder.text(error))
        } catch {
            throw JournalFold.Failure(text: "\(error)")
        }
    }

    private static func text(_ error: DecodingError) -> String {
        switch error {
        case .keyNotFound(let key, let context):
            "\(place(context.codingPath + [key])) is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context),
            .dataCorrupted(let context):
            "\(place(context.codingPath)): \(context.debugDescription)"
        @unknown default: "\(error)"
        }
    }

    private static func place(_ path: [any CodingKey]) -> String {
        path.isEmpty ? "the record" : path.map(\.stringValue).joined(separator: ".")
    }
}

private struct NodeDecoder: Decoder {
    let node: JSONNode
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(
        keyedBy type: Key.Type
    ) throws -> KeyedDecodingContainer<Key> {
        guard let members = node.members else { throw mismatch("an object") }
        return KeyedDecodingContainer(
            NodeMembers<Key>(node: node, members: members, codingPath: codingPath))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        guard let elements = node.elements else { throw mismatch("a list") }
        return NodeElements(elements: elements, codingPath: codingPath)
    }

    func singleValueContainer() throws -> any SingleValueDecodingContainer {
        NodeValue(node: node, codingPath: codingPath)
    }

    func mismatch(_ expected: String) -> DecodingError {
        let text = "expected \(expected), found \(node.kind)"
        return .dataCorrupted(.init(codingPath: codingPath, debugDescription: text))
    }

    var isNull: Bool { if case .null = node.content { true } else { false } }

    func value<Value: Decodable>(_ type: Value.Type) throws -> Value {
        func cast(_ value: Any?, _ expected: String) throws -> Value {
            guard let value = value as? Value else { throw mismatch(expected) }
            return value
        }
        switch type {
        case is Bool.Type:
            if case .bool(let value) = node.content { return try cast(value, "true or false") }
            throw mismatch("true or false")
        case is Int.Type: return try cast(node.integer, "a whole number")
        case is Int64.Type: return try cast(node.integer.map { Int64($0) }, "a whole number")
        case is String.Type: return try cast(node.text, "a text")
        case is Double.Type: return try cast(double, "a number")
        default: return try Value(from: self)
        }
    }

    private var double: Double? {
        switch node.content {
        case .integer(let value): Double(value)
        case .number(let value): value
        case .string("inf"): .infinity
        case .string("-inf"): -.infinity
        case .string("nan"): .nan
        default: nil
        }
    }
}

private struct NodeMembers<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let node: JSONNode
    let members: [JSONNode.Member]
    let codingPath: [any CodingKey]

    var allKeys: [Key] { members.compactMap { Key(stringValue: $0.name) } }

    private func find(_ key: Key) -> JSONNode? {
        members.first { $0.name == key.stringValue }?.value
    }

    private func decoder(_ key: Key) throws -> NodeDecoder {
        guard let node = find(key) else {
            throw DecodingError.keyNotFound(
                key, .init(codingPath: codingPath, debugDescription: "missing"))
        }
        return NodeDecoder(node: node, codingPath: codingPath + [key])
    }

    func contains(_ key: Key) -> Bool { find(key) != nil }
    func decodeNil(forKey key: Key) throws -> Bool { try decoder(key).isNull }

    func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
        try decoder(key).value(type)
    }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<Nested> {
        try decoder(key).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        try decoder(key).unkeyedContainer()
    }

    func superDecoder() throws -> any Decoder {
        NodeDecoder(node: node, codingPath: codingPath)
    }

    func superDecoder(forKey key: Key) throws -> any Decoder { try decoder(key) }
}

private struct NodeElements: UnkeyedDecodingContainer {
    let elements: [JSONNode]
    let codingPath: [any CodingKey]
    var currentIndex = 0

    var count: Int? { elements.count }
    var isAtEnd: Bool { currentIndex >= elements.count }

    private mutating func next() throws -> NodeDecoder {
        guard currentIndex < elements.count else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: codingPath, debugDescription: "the list ends early"))
        }
        currentIndex += 1
        return NodeDecoder(node: elements[currentIndex - 1], codingPath: codingPath)
    }

    mutating func decodeNil() throws -> Bool {
        guard currentIndex < elements.count else { return false }
        let decoder = NodeDecoder(node: elements[currentIndex], codingPath: codingPath)
        if decoder.isNull { currentIndex += 1 }
        return decoder.isNull
    }

    mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        try next().value(type)
    }

    mutating func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type
    ) throws -> KeyedDecodingContainer<Nested> {
        try next().container(keyedBy: type)
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
        try next().unkeyedContainer()
    }

    mutating func superDecoder() throws -> any Decoder { try next() }
}

private struct NodeValue: SingleValueDecodingContainer {
    let node: JSONNode
    let codingPath: [any CodingKey]

    private var decoder: NodeDecoder { NodeDecoder(node: node, codingPath: codingPath) }

    func decodeNil() -> Bool { decoder.isNull }

    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value { try decoder.value(type) }
}
