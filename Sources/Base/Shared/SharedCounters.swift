import Synchronization

/// Counters that any thread may advance.
@safe public struct SharedCounters: ~Copyable, @unchecked Sendable {
    private let base: UnsafeMutablePointer<Atomic<UInt64>>
    public let count: Int

    public init(count: Int) {
        self.count = count
        unsafe base = .allocate(capacity: max(count, 1))
        for i in 0..<count { unsafe (base + i).initialize(to: Atomic(0)) }
    }

    deinit { unsafe base.deallocate() }

    /// Takes the counter's value and advances it.
    public func next(_ index: Int) -> UInt64 {
        precondition(index >= 0 && index < count, "a counter that is there")
        return unsafe base[index].add(1, ordering: .relaxed).oldValue
    }

    public subscript(index: Int) -> UInt64 {
        precondition(index >= 0 && index < count, "a counter that is there")
        return unsafe base[index].load(ordering: .acquiring)
    }

    public func set(_ value: UInt64, at index: Int) {
        precondition(index >= 0 && index < count, "a counter that is there")
        unsafe base[index].store(value, ordering: .releasing)
    }

    /// Sets a counter if nobody has changed it meanwhile.
    public func exchange(_ index: Int, from held: UInt64, to value: UInt64) -> Bool {
        precondition(index >= 0 && index < count, "a counter that is there")
        return unsafe base[index].compareExchange(
            expected: held, desired: value, ordering: .acquiringAndReleasing
        ).exchanged
    }

    /// Advances the least counter, the first of equals, and says which it was.
    public func takeLeast(preferring preferred: Int) -> Int {
        while true {
            var least = preferred
            for i in 0..<count where self[i] < self[least] { least = i }
            let held = self[least]
            let taken = unsafe base[least].compareExchange(
                expected: held, desired: held + 1, ordering: .relaxed)
            if taken.exchanged { return least }
        }
    }

    public func giveBack(_ index: Int) {
        precondition(index >= 0 && index < count, "a counter that is there")
        unsafe base[index].subtract(1, ordering: .relaxed)
    }
}
