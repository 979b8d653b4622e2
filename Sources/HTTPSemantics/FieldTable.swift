import Base

/// One field line: where its name and value lie in the head's bytes.
public struct Field: Sendable, BitwiseCopyable {
    public var name: ByteRange
    public var value: ByteRange
    public var known: KnownField
    /// Named in a `Connection` field, so it ends at this hop (RFC 9110 §7.6.1).
    public var isNominated = false
    /// Sent as `name: value CRLF`, one space and no blanks behind the value: the line's bytes are
    /// what serialising its parts gives.
    public var isCanonical: Bool

    @inlinable public init(
        name: ByteRange, value: ByteRange, known: KnownField, isCanonical: Bool = false
    ) {
        self.name = name
        self.value = value
        self.known = known
        self.isCanonical = isCanonical
    }
}

/// The field lines of one head in their order, by position in the head's bytes. Reused head by
/// head.
public struct FieldTable: ~Copyable {
    @usableFromInline let entries: FixedArray<Field>
    /// `0 <= count <= capacity`.
    public private(set) var count = 0

    public init(capacity: Int) {
        entries = FixedArray(
            repeating: Field(name: .empty, value: .empty, known: .other), count: capacity)
    }

    public var capacity: Int { entries.count }

    public mutating func removeAll() { count = 0 }

    /// - Returns: `false` when the table is full.
    public mutating func append(_ field: Field) -> Bool {
        guard count < entries.count else { return false }
        entries[count] = field
        count += 1
        return true
    }

    @inlinable public subscript(index: Int) -> Field { entries[index] }

    public mutating func nominate(_ index: Int) { entries[index].isNominated = true }

    /// The first line with a known name.
    public func first(_ known: KnownField) -> Field? {
        for i in 0..<count where entries[i].known == known { return entries[i] }
        return nil
    }
}
