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

    /// A part of a lane for its writer; usable while these counters live.
    ///
    /// - Parameters:
    ///   - part: which of the parts of equal length.
    ///   - length: counters of each part.
    @inlinable @inline(__always)
    public func lane(_ index: Int, part: Int, of length: Int) -> CounterLane {
        precondition(UInt(bitPattern: index) < UInt(bitPattern: laneCount), "a lane that is there")
        let first = part &* length
        precondition(part >= 0 && first &+ length <= count, "a part of the lane")
        return unsafe CounterLane(base: base + (index &* stride &+ first), count: length)
    }

    /// A counter's value in one lane.
    public func value(_ index: Int, lane: Int) -> UInt64 {
        precondition(lane >= 0 && lane < laneCount && index >= 0 && index < count, "a counter")
        return unsafe base[lane * stride + index].load(ordering: .relaxed)
    }
}

/// One writer's run of counters in `CounterLanes`: a plain word and a length, without a reference
/// count. Whoever keeps one keeps the counters alive by other means.
@safe public struct CounterLane: BitwiseCopyable, @unchecked Sendable {
    @usableFromInline let base: UnsafeMutablePointer<Atomic<UInt64>>?
    @usableFromInline let count: Int

    @usableFromInline init(base: UnsafeMutablePointer<Atomic<UInt64>>?, count: Int) {
        unsafe self.base = base
        self.count = count
    }

    /// The lane of those that count nothing.
    @inlinable public static var none: CounterLane { unsafe CounterLane(base: nil, count: 0) }

    @inlinable public var isNone: Bool {
        @inline(__always) get { unsafe base == nil }
    }

    /// Adds one to a counter; only the lane's writer may.
    @inlinable @inline(__always) public func increment(_ index: Int) {
        precondition(UInt(bitPattern: index) < UInt(bitPattern: count), "a counter of the lane")
        guard let base = unsafe base else { return }
        let held = unsafe base[index].load(ordering: .relaxed)
        unsafe base[index].store(held &+ 1, ordering: .relaxed)
    }
}
