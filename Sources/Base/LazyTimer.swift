/// One deadline that moves often, on a wheel that is touched rarely.
///
/// The owner states its deadline with every change; the wheel is only told when the new deadline is
/// earlier than what it already waits for. When the timer fires, the owner calls `fired`: either
/// the deadline has truly come, or the timer is armed again for where the deadline has moved.
public struct LazyTimer: BitwiseCopyable {
    public var id: TimerID
    public private(set) var deadline: Instant = .never
    private var armedFor: Instant = .never

    /// A timer without a place on a wheel yet.
    public init() { id = TimerID(index: .max) }

    /// Takes a place on the wheel, once; `payload` comes back whenever it fires.
    public mutating func attach(to wheel: inout TimerWheel, payload: UInt64) {
        if id.index == .max { id = wheel.take(payload: payload) }
    }

    public mutating func set(_ deadline: Instant, on wheel: inout TimerWheel) {
        self.deadline = deadline
        if deadline < armedFor {
            armedFor = deadline
            wheel.arm(id, at: deadline)
        }
    }

    /// Forgets the deadline; the wheel may still fire once, for nothing.
    @inlinable public mutating func clear() { deadlineCleared() }

    @usableFromInline mutating func deadlineCleared() { deadline = .never }

    /// To be called when the wheel fires the timer. `true`: the deadline has come.
    public mutating func fired(now: Instant, on wheel: inout TimerWheel) -> Bool {
        armedFor = .never
        if deadline <= now {
            deadline = .never
            return true
        }
        if !deadline.isNever {
            armedFor = deadline
            wheel.arm(id, at: deadline)
        }
        return false
    }
}
