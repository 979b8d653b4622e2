/// One deadline that moves often, on a wheel that is touched rarely.
///
/// The owner states its deadline with every change; the wheel is only told when the new deadline is
/// earlier than what it already waits for. When the timer fires, the owner calls `fired`: either
/// the deadline has truly come, or the timer is armed again for where the deadline has moved.
public struct LazyTimer: BitwiseCopyable {
    public var id: TimerID
    @inlinable public var deadline: Instant { wanted }
    @usableFromInline var wanted = Instant.never
    @usableFromInline var armedFor = Instant.never

    /// A timer without a place on a wheel yet.
    public init() { id = TimerID(index: .max) }

    /// Takes a place on the wheel, once; `payload` comes back whenever it fires.
    @inlinable public mutating func attach(to wheel: inout TimerWheel, payload: UInt64) {
        if id.index == .max { id = wheel.take(payload: payload) }
    }

    @inlinable public mutating func set(_ deadline: Instant, on wheel: inout TimerWheel) {
        wanted = deadline
        if deadline < armedFor {
            armedFor = deadline
            wheel.arm(id, at: deadline)
        }
    }

    /// Forgets the deadline; the wheel may still fire once, for nothing.
    @inlinable public mutating func clear() { wanted = .never }

    /// Handles a firing of the wheel's timer; call this when the wheel fires. Returns `true` when
    /// the deadline has come.
    public mutating func fired(now: Instant, on wheel: inout TimerWheel) -> Bool {
        armedFor = .never
        if deadline <= now {
            wanted = .never
            return true
        }
        if !deadline.isNever {
            armedFor = deadline
            wheel.arm(id, at: deadline)
        }
        return false
    }
}
