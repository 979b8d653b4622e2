import Synchronization

/// A fixed run of 64-bit counters that one thread writes and any thread reads.
///
/// A relaxed load and store by the only writer costs a third of a read-modify-write.
@safe public struct CounterBlock: ~Copyable, @unchecked Sendable {
    @usableFromInline let base: UnsafeMutablePointer<Atomic<UInt64>>
    public let count: Int

    public init(count: Int) {
        self.count = count
        unsafe base = .allocate(capacity: count)
        for i in 0..<count { unsafe (base + i).initialize(to: Atomic(0)) }
    }

    deinit {
        unsafe base.deinitialize(count: count)
        unsafe base.deallocate()
    }

    /// Adds to a counter of the block; only the owner of the block may.
    @inlinable public func add(_ amount: UInt64, at index: Int) {
        precondition(UInt(bitPattern: index) < UInt(bitPattern: count), "a counter of the block")
        let held = unsafe base[index].load(ordering: .relaxed)
        unsafe base[index].store(held &+ amount, ordering: .relaxed)
    }

    @inlinable public func set(_ value: UInt64, at index: Int) {
        precondition(UInt(bitPattern: index) < UInt(bitPattern: count), "a counter of the block")
        unsafe base[index].store(value, ordering: .relaxed)
    }

    @inlinable public subscript(index: Int) -> UInt64 {
        precondition(UInt(bitPattern: index) < UInt(bitPattern: count), "a counter of the block")
        return unsafe base[index].load(ordering: .relaxed)
    }
}

/// Counters in blocks that are added as slots are handed out; a block never moves.
///
/// The owner writes; readers on other threads see each counter whole, and new blocks by
/// acquire/release. Slots past the last block read as 0.
@safe public final class CounterShard: @unchecked Sendable {
    @usableFromInline static let blockBits = 10
    @usableFromInline static let blockMax = 16_384

    @usableFromInline let blocks: UnsafeMutablePointer<Atomic<UnsafeMutableRawPointer?>>

    public init() {
        unsafe blocks = .allocate(capacity: CounterShard.blockMax)
        for i in 0..<CounterShard.blockMax { unsafe (blocks + i).initialize(to: Atomic(nil)) }
    }

    deinit {
        for i in 0..<CounterShard.blockMax {
            if let block = unsafe blocks[i].load(ordering: .relaxed) { unsafe block.deallocate() }
        }
        unsafe blocks.deallocate()
    }

    /// The number of slots that there can be in all.
    public static var slotMax: Int { blockMax << blockBits }

    @inlinable @inline(__always)
    func cell(_ slot: Int) -> UnsafeMutablePointer<Atomic<UInt64>>? {
        precondition(slot >= 0 && slot < CounterShard.slotMax, "a slot that the registry gave")
        guard
            let block = unsafe blocks[slot >> CounterShard.blockBits].load(ordering: .acquiring)
        else { return nil }
        return unsafe block.assumingMemoryBound(to: Atomic<UInt64>.self)
            + (slot & ((1 << CounterShard.blockBits) - 1))
    }

    /// Adds to a counter. Owner only.
    @inlinable @inline(__always) public func add(_ amount: UInt64, to slot: Int) {
        let cell = unsafe self.cell(slot) ?? makeBlock(for: slot)
        let held = unsafe cell.pointee.load(ordering: .relaxed)
        unsafe cell.pointee.store(held &+ amount, ordering: .relaxed)
    }

    /// The counter's value; any thread.
    public func value(_ slot: Int) -> UInt64 {
        guard let cell = unsafe cell(slot) else { return 0 }
        return unsafe cell.pointee.load(ordering: .relaxed)
    }

    /// Sets a counter back to zero. Any thread may, while the owner surely does not add to it.
    public func clear(_ slot: Int) {
        guard let cell = unsafe cell(slot) else { return }
        unsafe cell.pointee.store(0, ordering: .relaxed)
    }

    @usableFromInline func makeBlock(for slot: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        let count = 1 << CounterShard.blockBits
        let block = UnsafeMutablePointer<Atomic<UInt64>>.allocate(capacity: count)
        for i in 0..<count { unsafe (block + i).initialize(to: Atomic(0)) }
        unsafe blocks[slot >> CounterShard.blockBits].store(
            UnsafeMutableRawPointer(block), ordering: .releasing)
        return unsafe block + (slot & (count - 1))
    }
}
