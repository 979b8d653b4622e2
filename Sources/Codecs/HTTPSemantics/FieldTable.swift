import Base

/// One field line: where its name and value lie in the head's bytes.
public struct Field: Sendable, BitwiseCopyable {
    @usableFromInline let line: FieldLine

    @inlinable init(_ line: FieldLine) { self.line = line }

    @inlinable public init(
        name: ByteRange, value: ByteRange, known: KnownField, isCanonical: Bool = false
    ) {
        line = FieldLine(
            name: name, value: value, number: known.rawValue, isCanonical: isCanonical)
    }

    @inlinable public var name: ByteRange { line.name }
    @inlinable public var value: ByteRange { line.value }
    @inlinable public var known: KnownField { KnownField(rawValue: line.number) ?? .other }
    /// Whether the field's name is `known`; costs less than comparing `known` with the field's.
    @inlinable public func `is`(_ known: KnownField) -> Bool { line.number == known.rawValue }
    /// Named in a `Connection` field, so it ends at this hop (RFC 9110 §7.6.1).
    @inlinable public var isNominated: Bool { line.isNominated }
    /// Sent as `name: value CRLF`, one space and no blanks behind the value: the line's bytes are
    /// what serialising its parts gives.
    @inlinable public var isCanonical: Bool { line.isCanonical }
}

/// The field lines of one head in their order, by position in the head's bytes. Reused head by
/// head.
public struct FieldTable: ~Copyable {
    @usableFromInline var lines: FieldLines

    public init(capacity: Int) { lines = FieldLines(capacity: capacity, names: KnownField.names) }

    public var capacity: Int { lines.capacity }
    /// The number of lines; `0 <= count <= capacity`.
    @inlinable public var count: Int { lines.count }
    /// Known names that are there; `other` stands for any other.
    @inlinable public var seen: KnownFields { KnownFields(bits: lines.seen) }
    /// The known fields that are there more than once.
    @inlinable public var repeated: KnownFields { KnownFields(bits: lines.repeated) }
    /// Every line is canonical: the bytes of the section are what serialising it gives.
    @inlinable public var isCanonical: Bool { lines.isCanonical }

    public mutating func removeAll() { lines.removeAll() }

    /// Reads canonical lines from a position on, and returns where it stopped: at a line of another
    /// kind, one that is not all there, or without room.
    public mutating func scan(_ bytes: Span<UInt8>, from start: Int) -> Int {
        lines.scan(bytes, from: start)
    }

    /// - Returns: `false` when the table is full.
    public mutating func append(_ field: Field) -> Bool { lines.append(field.line) }

    @inlinable public subscript(index: Int) -> Field { Field(lines[index]) }

    public mutating func nominate(_ index: Int) { lines.nominate(index) }

    /// The first line with a known name.
    @inlinable @inline(__always) public func first(_ known: KnownField) -> Field? {
        guard let line = lines.first(known.rawValue) else { return nil }
        return Field(line)
    }

    /// The value of the first line with a known name; empty without one.
    @inlinable @inline(__always) public func value(_ known: KnownField) -> ByteRange {
        lines.first(known.rawValue)?.value ?? .empty
    }
}
