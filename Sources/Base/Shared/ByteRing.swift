import Synchronization

/// A bounded ring of bytes between one writer and one reader thread; whole records or nothing.
///
/// `0 <= written - read <= capacity`. The writer never waits: what does not fit is refused.
@safe public final class ByteRing: @unchecked Sendable {
    private let base: UnsafeMutablePointer<UInt8>
    public let capacity: Int
    private let written = Atomic<Int>(0)
    private let read = Atomic<Int>(0)
    /// Whether the reader waits to be woken.
    private let isAsleep = Atomic<Bool>(false)

    /// - Parameter capacity: bytes, a power of two.
    public init(capacity: Int) {
        precondition(capacity.nonzeroBitCount == 1, "a ring's capacity is a power of two")
        self.capacity = capacity
        unsafe base = .allocate(capacity: capacity)
    }

    deinit { unsafe base.deallocate() }

    /// Appends a record. Writer only.
    /// - Returns: `refused` when there is no room; `wakesReader` when the reader sleeps, and the
    ///   writer must wake it.
    public func append(_ record: Span<UInt8>) -> Outcome {
        let start = written.load(ordering: .relaxed)
        let done = read.load(ordering: .acquiring)
        guard capacity - (start - done) >= record.count else { return .refused }
        let at = start & (capacity - 1)
        let first = min(record.count, capacity - at)
        unsafe record.withUnsafeBufferPointer { source in
            guard let bytes = source.baseAddress else { return }
            unsafe (base + at).update(from: bytes, count: first)
            unsafe base.update(from: bytes + first, count: record.count - first)
        }
        // Bytes first, then a look at the reader; the reader says that it sleeps, then looks for
        // bytes. In that one order of both, one of the two sees the other.
        written.store(start + record.count, ordering: .sequentiallyConsistent)
        guard isAsleep.load(ordering: .sequentiallyConsistent) else { return .appended }
        return isAsleep.exchange(false, ordering: .sequentiallyConsistent)
            ? .wakesReader : .appended
    }

    public enum Outcome: Sendable { case wakesReader, appended, refused }

    /// Says that the reader is going to sleep. Reader only.
    /// - Returns: `false` when there are bytes: the reader must not sleep.
    public func fallAsleep() -> Bool {
        isAsleep.store(true, ordering: .sequentiallyConsistent)
        if written.load(ordering: .sequentiallyConsistent) == read.load(ordering: .relaxed) {
            return true
        }
        isAsleep.store(false, ordering: .relaxed)
        return false
    }

    /// Says that the reader is awake again, whoever woke it. Reader only.
    public func wakeUp() { isAsleep.store(false, ordering: .relaxed) }

    /// Hands over all bytes there are, in one run or two; `body` says how many it took, and is not
    /// asked again when it took fewer. Reader only.
    public func drain(_ body: (Span<UInt8>) -> Int) {
        let start = read.load(ordering: .relaxed)
        let end = written.load(ordering: .acquiring)
        var at = start
        while at < end {
            let place = at & (capacity - 1)
            let run = min(end - at, capacity - place)
            let taken = body(unsafe Span(_unsafeStart: UnsafePointer(base + place), count: run))
            precondition(taken >= 0 && taken <= run, "a reader takes what is there")
            at += taken
            // Room for the writer as soon as there is some.
            read.store(at, ordering: .releasing)
            if taken < run { return }
        }
    }

    /// Moves all bytes there are to the end of `buffer`. Reader only.
    public func drain(into buffer: inout ByteBuffer) {
        let start = read.load(ordering: .relaxed)
        let end = written.load(ordering: .acquiring)
        var at = start
        while at < end {
            let place = at & (capacity - 1)
            let run = min(end - at, capacity - place)
            buffer.append(unsafe Span(_unsafeStart: UnsafePointer(base + place), count: run))
            at += run
        }
        read.store(end, ordering: .releasing)
    }
}
