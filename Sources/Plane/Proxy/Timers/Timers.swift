import Base
import Configuration
import Telemetry

/// Sets the timers of slots. `Deadlines` says what each means when it fires.
enum Timers {
    /// The kind in the upper byte of a timer's payload; the slot's index below.
    enum Kind: UInt64 {
        /// A client's connection: keep-alive, last call, head, write progress, lingering; of HTTP/2
        /// also idleness and a stall.
        case downstream = 1
        /// An endpoint's connection: connect, idle; of HTTP/2 also a stall.
        case upstream
        /// An exchange: attempt, first byte, silence, the whole request, a wait.
        case exchange
        /// A probe: the next connect to an endpoint that refused.
        case probe
        /// A health check: the next one.
        case check
        /// A cluster: the next comparison of success rates.
        case comparison
    }

    static func payload(_ kind: Kind, _ index: UInt32) -> UInt64 {
        kind.rawValue << 56 | UInt64(index)
    }

    /// How long a call may go on behind its client's deadline: the client and the origin know it
    /// too, and what they say comes first.
    static let callGrace = Duration.milliseconds(50)

    /// Whether a call has come to its client's deadline, or as near as clocks agree: gRPC rounds
    /// the time that it tells, by up to a hundredth and more.
    @inline(never)
    static func isCallOver(_ exchange: borrowing Exchange, now: Instant) -> Bool {
        guard !exchange.callDeadline.isNever else { return false }
        let time = (exchange.callDeadline - exchange.arrival).nanoseconds
        let early = min(10_000_000 + time / 64, time / 2)
        return now + .nanoseconds(early) >= exchange.callDeadline
    }

    /// Arms the exchange's timer for the nearest of its deadlines.
    static func arm(_ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID) {
        let nearest = min(
            tables.exchanges[id].requestDeadline,
            min(
                tables.exchanges[id].firstByteDeadline,
                min(tables.exchanges[id].idleDeadline, tables.exchanges[id].attemptDeadline)))
        tables.exchanges[id].timer.attach(to: &turn.timers, payload: payload(.exchange, id.index))
        tables.exchanges[id].timer.set(nearest, on: &turn.timers)
    }

    /// A byte of a body or a tunnel moved.
    static func progressed(_ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID) {
        let idle: Duration
        if tables.exchanges[id].route >= 0 {
            let snapshot = turn.snapshots[tables.exchanges[id].snapshot]
            idle = snapshot.value.routes[tables.exchanges[id].route].idle
        } else {
            idle = turn.snapshots.newest.value.settings.timeouts.idle
        }
        tables.exchanges[id].idleDeadline = turn.now + idle
        arm(&tables, &turn, id)
    }

    /// The endpoint said that it is at work on the request (an interim response): it has as long
    /// again for the next word. `timeouts.request` stays what it is.
    static func lived(_ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID) {
        let snapshot = turn.snapshots[tables.exchanges[id].snapshot]
        let route = tables.exchanges[id].route
        if !tables.exchanges[id].firstByteDeadline.isNever {
            tables.exchanges[id].firstByteDeadline =
                turn.now + snapshot.value.routes[route].firstByte
        }
        if !tables.exchanges[id].attemptDeadline.isNever {
            tables.exchanges[id].attemptDeadline = turn.now + snapshot.value.routes[route].perTry
        }
        arm(&tables, &turn, id)
    }

    /// Bytes of a request's body came from the client: they buy time, but never more than
    /// `timeouts.idle`. A call may be slow: its client has nothing to say at times.
    static func sent(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, byteCount: Int
    ) {
        if tables.exchanges[id].isGRPC || tables.exchanges[id].responsePhase != .waiting {
            return progressed(&tables, &turn, id)
        }
        let snapshot = turn.snapshots[tables.exchanges[id].snapshot]
        tables.exchanges[id].idleDeadline = bought(
            byteCount, before: tables.exchanges[id].idleDeadline,
            most: snapshot.value.routes[tables.exchanges[id].route].idle, turn)
        arm(&tables, &turn, id)
    }

    /// A deadline moved by what so many bytes buy (`limits.minBytesPerSecond`).
    static func bought(
        _ byteCount: Int, before deadline: Instant, most: Duration, _ turn: borrowing Turn
    ) -> Instant {
        let price = turn.snapshots.newest.value.settings.nanosecondsPerByte
        let latest = turn.now + most
        if price == 0 || deadline.isNever { return latest }
        let (time, overflow) = Int64(byteCount).multipliedReportingOverflow(by: price)
        return overflow ? latest : min(latest, deadline + .nanoseconds(time))
    }

    static func arm(
        downstream id: DownstreamID, _ deadline: Instant, _ tables: inout Tables, _ turn: inout Turn
    ) {
        tables.downstream[id].timer.attach(
            to: &turn.timers, payload: payload(.downstream, id.index))
        tables.downstream[id].timer.set(deadline, on: &turn.timers)
    }

    static func arm(
        upstream id: UpstreamID, _ deadline: Instant, _ tables: inout Tables, _ turn: inout Turn
    ) {
        tables.upstream[id].timer.attach(to: &turn.timers, payload: payload(.upstream, id.index))
        tables.upstream[id].timer.set(deadline, on: &turn.timers)
    }
}
