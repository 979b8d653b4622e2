import Base
import Synchronization

/// Publishes snapshots: one atomic number a turn, a lock only after a change.
public final class SnapshotCell: Sendable {
    @usableFromInline let generation: Atomic<UInt64>
    private let current: Lock<SharedBox<Snapshot>>

    /// Takes over the caller's reference.
    public init(_ first: SharedBox<Snapshot>) {
        generation = Atomic(first.value.generation)
        current = Lock(first)
    }

    deinit { current.withLock { $0.release() } }

    /// Puts the next snapshot in force and takes over the caller's reference.
    public func publish(_ next: SharedBox<Snapshot>) {
        let previous = current.withLock { held in
            precondition(next.value.generation > held.value.generation, "generations only grow")
            defer { held = next }
            generation.store(next.value.generation, ordering: .releasing)
            return held
        }
        previous.release()
    }

    /// The newest generation; to be compared each turn.
    @inlinable public var newestGeneration: UInt64 { generation.load(ordering: .acquiring) }

    /// The newest snapshot with a reference of the caller's own.
    public func retained() -> SharedBox<Snapshot> {
        current.withLock {
            $0.retain()
            return $0
        }
    }
}
