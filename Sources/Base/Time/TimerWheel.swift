/// Deadlines of one worker: a hierarchical timing wheel (Varghese and Lauck 1987), three levels of
/// 256 places, a tick of 4.2 ms, horizon 19.5 hours; later deadlines wait at the horizon.
///
/// A timer is a `TimerID` that its owner takes once and arms again and again. Timers are lazy by
/// intent: an owner whose deadline moves away does nothing, and looks again when the timer fires;
/// only a nearer deadline costs a move. A timer never fires before its deadline, and at most two
/// ticks after it when `expire` is called in time. Confined to one worker.
public struct TimerWheel: ~Copyable {
    @usableFromInline static let tickBits: UInt64 = 22
    @usableFromInline static let levelBits: UInt64 = 8
    static let levels = 3
    static let places = 256

    struct Node: BitwiseCopyable {
        var next: UInt32 = .max
        var previous: UInt32 = .max
        /// The place's list, or `.max` while not armed.
        var place: UInt32 = .max
        var due: UInt64 = 0
        var payload: UInt64 = 0
    }

    private var nodes = PlainArray<Node>()
    private var freeNodes = PlainArray<UInt32>()
    private var heads: FixedArray<UInt32>
    private var occupied: FixedArray<UInt64>
    private var tick: UInt64

    public init(now: Instant) {
        heads = FixedArray(repeating: .max, count: TimerWheel.levels * TimerWheel.places)
        occupied = FixedArray(repeating: 0, count: TimerWheel.levels * TimerWheel.places / 64)
        tick = now.nanoseconds >> TimerWheel.tickBits
    }

    /// The number of timers that wait now.
    public private(set) var armedCount = 0

    /// Takes a timer; `payload` comes back when it fires.
    public mutating func take(payload: UInt64) -> TimerID {
        let index: UInt32
        if let free = freeNodes.popLast() {
            index = free
            nodes[Int(index)] = Node()
        } else {
            index = UInt32(nodes.count)
            nodes.append(Node())
        }
        nodes[Int(index)].payload = payload
        return TimerID(index: index)
    }

    /// Gives a timer back; it will not fire.
    public mutating func free(_ id: TimerID) {
        disarm(id)
        freeNodes.append(id.index)
    }

    /// When the timer will fire, or `.never` when it is not armed.
    public func due(_ id: TimerID) -> Instant {
        let node = nodes[Int(id.index)]
        return node.place == .max ? .never : Instant(nanoseconds: node.due << TimerWheel.tickBits)
    }

    /// Arms the timer for a deadline, or moves it there. `.never` disarms.
    public mutating func arm(_ id: TimerID, at deadline: Instant) {
        disarm(id)
        if deadline.isNever { return }
        // Rounded up, and never in the tick already served.
        let due = max((deadline.nanoseconds >> TimerWheel.tickBits) + 1, tick + 1)
        nodes[Int(id.index)].due = due
        insert(id.index, due: due)
        armedCount += 1
    }

    public mutating func disarm(_ id: TimerID) {
        guard nodes[Int(id.index)].place != .max else { return }
        unlink(id.index)
        armedCount -= 1
        if armedCount == 0 { nextDeadline = .never }
    }

    /// A time not after the next firing; `.never` when nothing waits. For the poll's timeout.
    ///
    /// A timer that is disarmed leaves the time as it was: `expire` then fires nothing, and finds
    /// the next one. So a turn of the loop reads one word, and the levels are searched only when a
    /// time has come.
    public private(set) var nextDeadline = Instant.never

    /// The time of the next firing, or of the next moving down, searched for in all levels.
    private func searchedDeadline() -> Instant {
        guard armedCount > 0 else { return .never }
        // Of every level: a place of a higher one may have to move down before the next of level 0.
        var next = UInt64.max >> TimerWheel.tickBits
        for level in 0..<TimerWheel.levels {
            let shift = UInt64(level) * TimerWheel.levelBits
            let position = (tick >> shift) & 255
            if let distance = distanceToOccupied(level: level, from: position) {
                // On higher levels the place's start, when its timers move down.
                next = min(next, max(((tick >> shift) + distance) << shift, tick + 1))
            }
        }
        return Instant(nanoseconds: next << TimerWheel.tickBits)
    }

    /// Advances to `now` and hands every due timer's payload to `fire`, each disarmed before.
    public mutating func expire(now: Instant, into fired: inout [UInt64]) {
        let target = now.nanoseconds >> TimerWheel.tickBits
        while tick < target {
            // What was disarmed may have left a time that is too early, never one too late.
            if nextDeadline <= now { nextDeadline = searchedDeadline() }
            guard nextDeadline <= now else {
                tick = target
                return
            }
            tick = max(nextDeadline.nanoseconds >> TimerWheel.tickBits, tick + 1)
            cascade()
            fireCurrent(into: &fired)
            nextDeadline = searchedDeadline()
        }
    }

    private mutating func fireCurrent(into fired: inout [UInt64]) {
        let place = Int(tick & 255)
        while heads[place] != .max {
            let index = heads[place]
            unlink(index)
            armedCount -= 1
            fired.append(nodes[Int(index)].payload)
        }
    }

    /// Moves the timers of the higher levels' current places down.
    private mutating func cascade() {
        for level in 1..<TimerWheel.levels {
            let shift = UInt64(level) * TimerWheel.levelBits
            guard tick & ((1 << shift) - 1) == 0 else { return }
            let place = level * TimerWheel.places + Int((tick >> shift) & 255)
            while heads[place] != .max {
                let index = heads[place]
                unlink(index)
                insert(index, due: nodes[Int(index)].due)
            }
        }
    }

    private mutating func insert(_ index: UInt32, due: UInt64) {
        let horizon = (UInt64(1) << (TimerWheel.levelBits * UInt64(TimerWheel.levels))) - 256
        let at = min(due, tick + horizon)
        var level = 0
        // The lowest level whose round still separates the two times.
        while level < TimerWheel.levels - 1,
            (at >> (UInt64(level) * 8)) - (tick >> (UInt64(level) * 8)) >= 256
        { level += 1 }
        let place = level * TimerWheel.places + Int((at >> (UInt64(level) * 8)) & 255)
        let head = heads[place]
        nodes[Int(index)].next = head
        nodes[Int(index)].previous = .max
        nodes[Int(index)].place = UInt32(place)
        if head != .max { nodes[Int(head)].previous = index }
        heads[place] = index
        occupied[place / 64] |= 1 << UInt64(place % 64)
        // On higher levels the place's start, when its timers move down.
        let shift = UInt64(level) * TimerWheel.levelBits
        let moves = max((at >> shift) << shift, tick + 1)
        nextDeadline = min(nextDeadline, Instant(nanoseconds: moves << TimerWheel.tickBits))
    }

    private mutating func unlink(_ index: UInt32) {
        let node = nodes[Int(index)]
        if node.previous != .max {
            nodes[Int(node.previous)].next = node.next
        } else {
            heads[Int(node.place)] = node.next
            if node.next == .max {
                occupied[Int(node.place) / 64] &= ~(1 << UInt64(node.place % 64))
            }
        }
        if node.next != .max { nodes[Int(node.next)].previous = node.previous }
        nodes[Int(index)].place = .max
    }

    /// Places from `position` forward to the next occupied one, 1...256; `nil` when none is.
    private func distanceToOccupied(level: Int, from position: UInt64) -> UInt64? {
        let words = level * TimerWheel.places / 64
        var distance: UInt64 = 1
        while distance <= 256 {
            let place = (position + distance) & 255
            let word = occupied[words + Int(place / 64)] >> (place % 64)
            if word != 0 {
                let found = distance + UInt64(word.trailingZeroBitCount)
                return found <= 256 ? found : nil
            }
            distance += 64 - place % 64
        }
        return nil
    }
}

/// The name of one timer of a `TimerWheel`.
public struct TimerID: Hashable, Sendable, BitwiseCopyable {
    public var index: UInt32
    public init(index: UInt32) { self.index = index }
}
