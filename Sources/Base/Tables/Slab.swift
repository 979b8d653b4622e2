/// The name of a slot in a `Slab` of such tenants: an index, and the generation of its tenant. A
/// stale id misses, and an id of another kind of tenant does not compile.
public struct SlotID<Tenant: ~Copyable>: Hashable, Sendable, BitwiseCopyable {
    public var index: UInt32
    /// Odd while the slot is occupied, even while it is vacant.
    public var generation: UInt32

    @inlinable public init(index: UInt32, generation: UInt32) {
        self.index = index
        self.generation = generation
    }

    /// An id that names no slot.
    public static var none: SlotID { SlotID(index: .max, generation: 0) }

    @inlinable public var isNone: Bool { generation == 0 }
}

/// Slots of one kind, reached by index and generation, never by reference. Confined to one worker.
///
/// A slot's content is made once and reused by its next tenants, so that buffers inside it stay
/// warm: whoever takes a slot resets it. The last freed slot is taken first. Growth moves all
/// slots.
@safe public struct Slab<Element: ~Copyable>: ~Copyable {
    @usableFromInline struct Slot: ~Copyable {
        @usableFromInline var generation: UInt32 = 0
        @usableFromInline var nextFree: UInt32 = .max
        @usableFromInline var element: Element
        @usableFromInline init(_ element: consuming Element) { self.element = element }
    }

    @usableFromInline var base: UnsafeMutablePointer<Slot>
    @usableFromInline var capacity: Int
    @usableFromInline var initialized = 0
    @usableFromInline var firstFree: UInt32 = .max
    /// The number of occupied slots; `0 <= count <= countMax`.
    @inlinable public var count: Int { taken }
    @usableFromInline var taken = 0
    public let countMax: Int
    @usableFromInline let make: () -> Element

    /// - Parameter make: makes the content of a slot the first time it is taken.
    public init(countMax: Int, make: @escaping () -> Element) {
        capacity = 16
        unsafe base = UnsafeMutablePointer<Slot>.allocate(capacity: capacity)
        self.countMax = countMax
        self.make = make
    }

    deinit {
        unsafe base.deinitialize(count: initialized)
        unsafe base.deallocate()
    }

    /// Takes a slot. `nil` when `countMax` are taken.
    @inlinable public mutating func take() -> SlotID<Element>? {
        let index: UInt32
        if firstFree != .max {
            index = firstFree
            firstFree = unsafe base[Int(index)].nextFree
        } else {
            guard initialized < countMax else { return nil }
            index = makeSlot()
        }
        taken += 1
        unsafe base[Int(index)].generation &+= 1
        return unsafe SlotID(index: index, generation: base[Int(index)].generation)
    }

    @usableFromInline mutating func makeSlot() -> UInt32 {
        if initialized == capacity { grow() }
        unsafe (base + initialized).initialize(to: Slot(make()))
        initialized += 1
        return UInt32(initialized - 1)
    }

    /// Frees a slot; ids of its tenant miss from now on.
    @inlinable public mutating func free(_ id: SlotID<Element>) {
        precondition(holds(id), "a slot is freed once, by its own id")
        unsafe base[Int(id.index)].generation &+= 1
        unsafe base[Int(id.index)].nextFree = firstFree
        firstFree = id.index
        taken -= 1
    }

    /// Whether the id's tenant still lives there.
    @inlinable @inline(__always) public func holds(_ id: SlotID<Element>) -> Bool {
        Int(id.index) < initialized
            && (unsafe base[Int(id.index)].generation == id.generation && id.generation & 1 == 1)
    }

    /// The tenant's id, or `nil` for a vacant slot. For timers, which know a slot by its index.
    @inlinable public func tenant(at index: UInt32) -> SlotID<Element>? {
        guard Int(index) < initialized else { return nil }
        let generation = unsafe base[Int(index)].generation
        return generation & 1 == 1 ? SlotID(index: index, generation: generation) : nil
    }

    /// Slots ever used: tenants lie at indices below it.
    @inlinable public var indexEnd: UInt32 { UInt32(initialized) }

    @inlinable public subscript(id: SlotID<Element>) -> Element {
        @inline(__always) _read {
            precondition(holds(id), "a slot is reached by the id of its tenant")
            yield unsafe base[Int(id.index)].element
        }
        @inline(__always) _modify {
            precondition(holds(id), "a slot is reached by the id of its tenant")
            yield unsafe &base[Int(id.index)].element
        }
    }

    /// The content of a slot by its index, whether it has a tenant or not. For timers only.
    @inlinable public subscript(index index: UInt32) -> Element {
        _read {
            precondition(Int(index) < initialized, "a slot that was used")
            yield unsafe base[Int(index)].element
        }
        _modify {
            precondition(Int(index) < initialized, "a slot that was used")
            yield unsafe &base[Int(index)].element
        }
    }

    private mutating func grow() {
        let next = UnsafeMutablePointer<Slot>.allocate(capacity: capacity * 2)
        unsafe next.moveInitialize(from: base, count: initialized)
        unsafe base.deallocate()
        unsafe base = next
        capacity *= 2
    }
}
