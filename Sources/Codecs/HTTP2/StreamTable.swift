import Base

/// Finds the slot of a stream by its number: open addressing over a power of two, never more than
/// half full. Confined to its connection.
public struct StreamTable: ~Copyable {
    public struct Entry: BitwiseCopyable {
        public var id: Int32 = 0
        public var slot = StreamSlot.none
    }

    private var entries = PlainArray<Entry>(capacity: 16)
    public private(set) var count = 0

    public init() { fill(16) }

    private mutating func fill(_ capacity: Int) {
        entries.removeAll()
        for _ in 0..<capacity { entries.append(Entry()) }
    }

    public mutating func removeAll() {
        if count == 0 { return }
        count = 0
        fill(entries.count)
    }

    @inline(__always)
    private func place(_ id: Int32) -> Int {
        // Numbers of one side are all odd or all even.
        Int(truncatingIfNeeded: UInt32(bitPattern: id >> 1) &* 0x9e37_79b1) & (entries.count &- 1)
    }

    /// The stream's slot; `.none` when it is not there.
    public func slot(_ id: Int32) -> StreamSlot {
        var i = place(id)
        while entries[i].id != 0 {
            if entries[i].id == id { return entries[i].slot }
            i = (i &+ 1) & (entries.count &- 1)
        }
        return .none
    }

    public mutating func insert(_ id: Int32, _ slot: StreamSlot) {
        if (count + 1) * 2 > entries.count { grow() }
        var i = place(id)
        while entries[i].id != 0 { i = (i &+ 1) & (entries.count &- 1) }
        entries[i] = Entry(id: id, slot: slot)
        count += 1
    }

    private mutating func grow() {
        var held: [Entry] = []
        for i in 0..<entries.count where entries[i].id != 0 { held.append(entries[i]) }
        let capacity = entries.count * 2
        fill(capacity)
        count = 0
        for entry in held { insert(entry.id, entry.slot) }
    }

    /// Takes a stream out, and moves those behind it that it kept from their places.
    public mutating func remove(_ id: Int32) {
        let mask = entries.count - 1
        var i = place(id)
        while entries[i].id != id {
            if entries[i].id == 0 { return }
            i = (i + 1) & mask
        }
        count -= 1
        var hole = i
        var next = (i + 1) & mask
        while entries[next].id != 0 {
            let home = place(entries[next].id)
            // May it move into the hole: is its home not between the hole and where it is?
            if (next - home) & mask >= (next - hole) & mask {
                entries[hole] = entries[next]
                hole = next
            }
            next = (next + 1) & mask
        }
        entries[hole] = Entry()
    }
}
