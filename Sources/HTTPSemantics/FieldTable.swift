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
    @inlinable public var count: Int { taken }
    @usableFromInline var taken = 0
    /// Known names that are there; `other` stands for any other.
    @inlinable public var seen: KnownFields { seenNames }
    @usableFromInline var seenNames = KnownFields()
    /// Those that are there more than once.
    @inlinable public var repeated: KnownFields { repeatedNames }
    @usableFromInline var repeatedNames = KnownFields()
    /// Every line is canonical: the bytes of the section are what serialising it gives.
    @inlinable public var isCanonical: Bool { allCanonical }
    @usableFromInline var allCanonical = true
    /// Position of the first line with a name that was seen.
    @usableFromInline var places = InlineArray<32, UInt32>(repeating: 0)
    /// Room for the parser's scan.
    public var plain = PlainLines()

    public init(capacity: Int) {
        entries = FixedArray(
            repeating: Field(name: .empty, value: .empty, known: .other), count: capacity)
    }

    public var capacity: Int { entries.count }

    public mutating func removeAll() {
        taken = 0
        seenNames = KnownFields()
        repeatedNames = KnownFields()
        allCanonical = true
    }

    /// - Returns: `false` when the table is full.
    @inlinable @inline(__always)
    public mutating func append(_ field: Field) -> Bool {
        guard taken < entries.count else { return false }
        entries[taken] = field
        if !seen.contains(field.known) {
            seenNames.insert(field.known)
            places[Int(field.known.rawValue)] = UInt32(truncatingIfNeeded: taken)
        } else {
            repeatedNames.insert(field.known)
        }
        allCanonical = allCanonical && field.isCanonical
        taken &+= 1
        return true
    }

    @inlinable public subscript(index: Int) -> Field { entries[index] }

    public mutating func nominate(_ index: Int) { entries[index].isNominated = true }

    /// The first line with a known name.
    @inlinable @inline(__always) public func first(_ known: KnownField) -> Field? {
        seen.contains(known) ? entries[Int(places[Int(known.rawValue)])] : nil
    }

    /// The value of the first line with a known name; empty without one.
    @inlinable @inline(__always) public func value(_ known: KnownField) -> ByteRange {
        seen.contains(known) ? entries[Int(places[Int(known.rawValue)])].value : .empty
    }
}
