import Synchronization

/// One immutable value on the heap, shared between threads by a count that only its owners touch.
///
/// `SharedBox` is a plain word: copying it costs nothing and counts nothing. Whoever keeps one past
/// its current call must hold a reference through `retain()` and give it back through `release()`.
@safe public struct SharedBox<Value: ~Copyable & Sendable>: BitwiseCopyable, @unchecked Sendable {
    @usableFromInline struct Storage: ~Copyable {
        @usableFromInline let references: Atomic<Int>
        @usableFromInline let value: Value
        init(_ value: consuming Value) {
            references = Atomic(1)
            self.value = value
        }
    }

    @usableFromInline let storage: UnsafeMutablePointer<Storage>

    /// Moves the value to the heap; the caller owns the first reference.
    public init(_ value: consuming Value) {
        unsafe storage = UnsafeMutablePointer<Storage>.allocate(capacity: 1)
        unsafe storage.initialize(to: Storage(value))
    }

    /// The value, borrowed. Valid while anyone holds a reference.
    @inlinable public var value: Value {
        @inline(__always) _read { yield unsafe storage.pointee.value }
    }

    /// Whether this is the very value of another box, and not one that is equal.
    public func isSame(as other: SharedBox) -> Bool { unsafe storage == other.storage }

    /// Nobody else holds a reference. Only an answer of yes lasts, and only while the asker alone
    /// can hand references out.
    public var isUnique: Bool {
        unsafe storage.pointee.references.load(ordering: .acquiring) == 1
    }

    public func retain() {
        _ = unsafe storage.pointee.references.add(1, ordering: .relaxed)
    }

    public func release() {
        let left = unsafe storage.pointee.references.subtract(1, ordering: .acquiringAndReleasing)
        precondition(left.newValue >= 0, "released once for every retain")
        if left.newValue == 0 {
            unsafe storage.deinitialize(count: 1)
            unsafe storage.deallocate()
        }
    }
}
