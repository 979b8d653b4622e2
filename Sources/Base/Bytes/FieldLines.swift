import CScan

/// One field line by positions in the head's bytes; its name by number, if it has one.
public struct FieldLine: BitwiseCopyable, Sendable {
    @usableFromInline var raw: cscan_field

    @inlinable public init(name: ByteRange, value: ByteRange, number: UInt8, isCanonical: Bool) {
        raw = cscan_field(
            name_start: name.start, name_count: name.count, value_start: value.start,
            value_count: value.count, known: number, is_nominated: 0,
            is_canonical: isCanonical ? 1 : 0)
    }

    @inlinable public var name: ByteRange {
        ByteRange(start: raw.name_start, count: raw.name_count)
    }
    @inlinable public var value: ByteRange {
        ByteRange(start: raw.value_start, count: raw.value_count)
    }
    /// The number of the line's name; 0 for a name without one.
    @inlinable public var number: UInt8 { raw.known }
    /// Sent as `name: value CRLF`, one space and no blanks behind the value.
    @inlinable public var isCanonical: Bool { raw.is_canonical != 0 }
    @inlinable public var isNominated: Bool {
        get { raw.is_nominated != 0 }
        set { raw.is_nominated = newValue ? 1 : 0 }
    }
}

/// The field lines of one head in their order. Reused head by head; confined to its owner.
@safe public struct FieldLines: ~Copyable {
    private let addressOnly = AddressOnly()
    @usableFromInline let lines: FixedArray<FieldLine>
    @usableFromInline let places = FixedArray<UInt32>(repeating: 0, count: 64)
    @usableFromInline let names: FieldNames
    @usableFromInline var table: cscan_table

    public init(capacity: Int, names: FieldNames) {
        let empty = FieldLine(name: .empty, value: .empty, number: 0, isCanonical: true)
        lines = FixedArray(repeating: empty, count: capacity)
        self.names = names
        unsafe table = cscan_table(
            fields: nil, places: nil, count: 0, max: UInt32(capacity), seen: 0, repeated: 0,
            is_canonical: 1)
    }

    public var capacity: Int { lines.count }
    /// The number of lines; `0 <= count <= capacity`.
    @inlinable public var count: Int { unsafe Int(table.count) }
    /// A bit for each number that was seen; bit 0 for names without one.
    @inlinable public var seen: UInt64 { unsafe table.seen }
    /// A bit for each number that was seen twice or more; bit 0 for names without one.
    @inlinable public var repeated: UInt64 { unsafe table.repeated }
    @inlinable public var isCanonical: Bool { unsafe table.is_canonical != 0 }

    public mutating func removeAll() {
        unsafe table.count = 0
        unsafe table.seen = 0
        unsafe table.repeated = 0
        unsafe table.is_canonical = 1
    }

    /// Reads canonical lines from a position on, and returns where it stopped: at a line of another
    /// kind, one that is not all there, one very near the end of the bytes, or without room.
    /// `0 <= start <= bytes.count`.
    public mutating func scan(_ bytes: Span<UInt8>, from start: Int) -> Int {
        precondition(start >= 0 && start <= bytes.count, "a position among the bytes")
        return unsafe withTable { table, names in
            unsafe bytes.withUnsafeBufferPointer { p in
                guard let base = p.baseAddress else { return start }
                return unsafe cscan_lines(
                    base, p.count, start, names.places, names.multiplier, table)
            }
        }
    }

    /// - Returns: `false` when the table is full.
    public mutating func append(_ line: FieldLine) -> Bool {
        unsafe withTable { table, _ in unsafe cscan_append(table, line.raw) != 0 }
    }

    private mutating func withTable<Result>(
        _ body: (UnsafeMutablePointer<cscan_table>, FieldNames) -> Result
    ) -> Result {
        let names = names
        return unsafe lines.withPointer { fields in
            unsafe places.withPointer { places in
                unsafe fields.withMemoryRebound(to: cscan_field.self, capacity: lines.count) {
                    unsafe table.fields = $0
                    unsafe table.places = places
                    return unsafe body(&table, names)
                }
            }
        }
    }

    @inlinable public subscript(index: Int) -> FieldLine {
        @inline(__always) get { lines[index] }
    }

    public mutating func nominate(_ index: Int) { lines[index].isNominated = true }

    /// The first line with a numbered name, or `nil`.
    @inlinable @inline(__always) public func first(_ number: UInt8) -> FieldLine? {
        seen & (1 << UInt64(number & 63)) != 0 ? lines[Int(places[Int(number & 63)])] : nil
    }
}
