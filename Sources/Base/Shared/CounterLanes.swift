import Synchronization

/// Counters in lanes of equal length. Each lane has one writer, which adds by a relaxed load and
/// store; any thread may read.
///
/// A lane begins on a cache line of its own, so that writers of two lanes do not slow each other.
@safe public struct CounterLanes: ~Copyable, @unchecked Sendable {
    @usableFromInline let base: UnsafeMutablePointer<Atomic<UInt64>>
    /// Counters from one lane to the next.
    @usableFromInline let stride: Int
    public let laneCount: Int
    /// Counters of a lane.
    public let count: Int

    /// Eight counters are a cache line.
    private static let line = 8

    public init(lanes: Int, count: Int) {
        precondition(lanes >= 0 && count >= 0, "no negative number of counters")
        laneCount = lanes
        self.count = count
        stride = (count + CounterLanes.line - 1) / CounterLanes.line * CounterLanes.line
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: max(1, lanes * stride) * 8, alignment: 64)
        unsafe base = memory.assumingMemoryBound(to: Atomic<UInt64>.self)
        for i in 0..<(lanes * stride) { unsafe (base + i).initialize(to: Atomic(0)) }
    }

    deinit { unsafe UnsafeMutableRawPointer(base).deallocate() }

    /// Adds one to a counter of a lane; only the lane's writer may.
    @inlinable @inline(__always)
    public func increment(_ index: Int, lane: Int) {
        precondition(UInt(bitPattern: lane) < UInt(bitPattern: laneCount), "a lane that is there")
        precondition(UInt(bitPattern: index) < UInt(bitPattern: count), "a counter of the lane")
        let counter = unsafe base + (lane &* stride &+ index)
        let held = unsafe counter.pointee.load(ordering: .relaxed)
        unsafe counter.pointee.store(held &+ 1, ordering: .relaxed)
    }

    /// A counter's value in one lane.
    public func value(_ index: Int, lane: Int) -> UInt64 {
        precondition(lane >= 0 && lane < laneCount && index >= 0 && index < count, "a counter")
        return unsafe base[lane * stride + index].load(ordering: .relaxed)
    }
}
