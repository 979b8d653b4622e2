import Base

/// Whoever drives a data plane: a worker's loop over epoll, the simulated world, the fuzzer, the
/// micro benchmark. The driver supplies the means; this file alone says in what order they are
/// used, and each of the four goes by it.
///
/// A turn:
///
///     beginTurn ─▶ drive(event) … ─▶ serveReady ─▶ due timers ─▶ takeMail ─▶ HTTP/2 writes
///                └──────────── each with all of its effects performed before the next ──────────┘
///
/// - **All effects of one event are performed before the next event**: bytes that they send may lie
///   in the scratch, which the next read overwrites. They are performed in their order.
/// - **Performing may tell of more** (`DataPlane.handle` from within `perform(_:)`): a connect that
///   failed at once, a connection without bytes to write. What follows from that goes behind the
///   effects that wait. Nothing may be read then, since the scratch is still in use.
/// - **HTTP/2 connections write once a turn**, behind everything else, so that all streams of a
///   connection share one write.
/// - **All events of a turn have one time**, read when it begins.
///
/// The methods are specialised for each driver: for a worker this protocol costs nothing.
public protocol Driver: ~Copyable {
    /// The data plane that is driven.
    var plane: DataPlane { get set }

    /// Does what the data plane asks for.
    mutating func perform(_ effect: Effect)

    /// All effects so far are performed. A driver that found out meanwhile that a connection is
    /// broken tells of one now.
    /// - Returns: `false` when there is nothing to tell.
    mutating func settle() -> Bool

    /// Reads connections again that were cut off by the turn's share, or resumed.
    mutating func serveReady()

    /// Hands over what other workers and the control thread have sent.
    mutating func takeMail()
}

extension Driver where Self: ~Copyable {
    /// Performs what the data plane asks for, in order, until it asks for nothing more.
    @inlinable
    public mutating func perform() {
        repeat {
            while let effect = plane.advance() { perform(effect) }
        } while settle()
    }

    /// Hands over an event and performs all that follows from it.
    @inlinable @inline(__always)
    public mutating func drive(_ event: Event) {
        plane.handle(event)
        perform()
    }

    /// A turn begins; its events follow.
    @inlinable @inline(__always)
    public mutating func beginTurn(now: Instant, wall: WallTime) {
        plane.beginTurn(now: now, wall: wall)
    }

    /// All events of the turn are handed over: completes it.
    @inlinable @inline(__always)
    public mutating func finishTurn() {
        serveReady()
        plane.expireTimers()
        perform()
        takeMail()
        plane.endTurn()
        perform()
    }
}
