import JSON

/// Turns a value into JSON, member by member in the order of its declaration, so that equal values
/// have equal texts. Numbers that JSON lacks are the texts `inf`, `-inf` and `nan`.
enum JournalEncoder {
    static func encode(_ value: some Encodable) throws -> JSONText {
        let box = JSONBox()
        try value.encode(to: BoxEncoder(box: box, codingPath: []))
        return box.text
    }
}

/// A JSON value that is being put together. Confined to one call of `JournalEncoder`.
private final class JSONBox {
    enum Content {
        case empty
        case value(JSONText)
        case object([(String, JSONBox)])
        case array([JSONBox])
    }

    var content = Content.empty

    var text: JSONText {
        switch content {
        case .empty: .object([])
        case .value(let text): text
        case .object(let members): .object(members.map { ($0.0, $0.1.text) })
        case .array(let elements): .array(elements.map(\.text))
        }
    }

    func member(_ name: String) -> JSONBox {
        let box = JSONBox()
        if case .object(let members) = content {
            content = .object(members + [(name, box)])
        } else {
            content = .object([(name, box)])
        }
        return box
    }

    func element() -> JSONBox {
        let box = JSONBox()
        if case .array(let elements) = content {
            content = .array(elements + [box])
        } else {
            content = .array([box])
        }
        return box
    }

    func put(_ value: some Encodable, _ path: [any CodingKey]) throws {
        switch value {
        case let value as Bool: content = .value(.bool(value))
        case let value as Int: content = .value(.integer(value))
        case let value as Int64: content = .value(.integer(Int(value)))
        case let value as String: content = .value(.string(value))
        case let value as Double:
            content = .value(value.isFinite ? .number(value) : .string("\(value)"))
        default: try value.encode(to: BoxEncoder(box: self, codingPath: path))
        }
    }
}

private struct BoxEncoder: Encoder {
    let box: JSONBox
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        if case .empty = box.content { box.content = .object([]) }
        return KeyedEncodingContainer(BoxMembers<Key>(box: box, codingPath: codingPath))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        if case .empty = box.content { box.content = .array([]) }
        return BoxElements(box: box, codingPath: codingPath)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer {
        BoxValue(box: box, codingPath: codingPath)
    }
}

private struct BoxMembers<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let box: JSONBox
    let codingPath: [any CodingKey]

    func encodeNil(forKey key: Key) { box.member(key.stringValue).content = .value(.null) }

    func encode(_ value: some Encodable, forKey key: Key) throws {
        try box.member(key.stringValue).put(value, codingPath + [key])
    }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) -> KeyedEncodingContainer<Nested> {
        encoder(key).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        encoder(key).unkeyedContainer()
    }

    func superEncoder() -> any Encoder {
        BoxEncoder(box: box.member("super"), codingPath: codingPath)
    }

    func superEncoder(forKey key: Key) -> any Encoder { encoder(key) }

    private func encoder(_ key: Key) -> BoxEncoder {
        BoxEncoder(box: box.member(key.stringValue), codingPath: codingPath + [key])
    }
}

private struct BoxElements: UnkeyedEncodingContainer {
    let box: JSONBox
    let codingPath: [any CodingKey]

    var count: Int { if case .array(let elements) = box.content { elements.count } else { 0 } }

    func encodeNil() { box.element().content = .value(.null) }
    func encode(_ value: some Encodable) throws { try box.element().put(value, codingPath) }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type
    ) -> KeyedEncodingContainer<Nested> {
        BoxEncoder(box: box.element(), codingPath: codingPath).container(keyedBy: type)
    }

    func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
        BoxEncoder(box: box.element(), codingPath: codingPath).unkeyedContainer()
    }

    func superEncoder() -> any Encoder { BoxEncoder(box: box.element(), codingPath: codingPath) }
}

private struct BoxValue: SingleValueEncodingContainer {
    let box: JSONBox
    let codingPath: [any CodingKey]

    func encodeNil() { box.content = .value(.null) }
    func encode(_ value: some Encodable) throws { try box.put(value, codingPath) }
}
