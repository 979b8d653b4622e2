/// A growing array of plain values in memory of its own: no reference count, no copy on write.
/// Every access is checked against `count`. Confined to one owner.
@safe public struct PlainArray<Element: BitwiseCopyable>: ~Copyable {
    @usableFromInline var base: UnsafeMutablePointer<Element>
    @usableFromInline var capacity: Int
    @usableFromInline var length = 0

    @inlinable public init(capacity: Int = 16) {
        self.capacity = max(1, capacity)
        unsafe base = .allocate(capacity: max(1, capacity))
    }

    deinit { unsafe base.deallocate() }

    /// The number of elements; never below 0.
    @inlinable public var count: Int { length }
    @inlinable public var isEmpty: Bool { length == 0 }

    @inlinable public subscript(index: Int) -> Element {
        @inline(__always) get {
            precondition(
                UInt(bitPattern: index) < UInt(bitPattern: length), "an element of the array")
            return unsafe base[index]
        }
        @inline(__always) _modify {
            precondition(
                UInt(bitPattern: index) < UInt(bitPattern: length), "an element of the array")
            yield unsafe &base[index]
        }
    }

    @inlinable @inline(__always) public mutating func append(_ element: Element) {
        if length == capacity { grow() }
        unsafe (base + length).initialize(to: element)
        length &+= 1
    }

    @inlinable public mutating func popLast() -> Element? {
        guard length > 0 else { return nil }
        length &-= 1
        return unsafe base[length]
    }

    /// Forgets the elements behind the first `count`.
    @inlinable public mutating func truncate(to count: Int) {
        precondition(count >= 0 && count <= length, "a count that was there")
        length = count
    }

    /// Forgets all elements and keeps the memory.
    @inlinable public mutating func removeAll() { length = 0 }

    @usableFromInline mutating func grow() {
        let memory = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
        unsafe memory.update(from: base, count: length)
        unsafe base.deallocate()
        unsafe base = memory
        capacity *= 2
    }
}
