import Base
import Configuration
import HTTPSemantics
import Telemetry

/// Every deadline there is: what each timer of a slot means when it fires.
enum Deadlines {
    /// The kind in the upper byte of a timer's payload; the slot's index below.
    enum Kind: UInt64 {
        /// Of a client connection: keep-alive, head, write progress, lingering.
        case downstream = 1
        /// Of an endpoint's connection: connect, idle.
        case upstream
        /// Of an exchange: first byte, idle, the whole request.
        case exchange
        /// Of a probe: the next connect to an endpoint that refused.
        case probe
        /// Of a health check: the next one.
        case check
        /// Of a cluster: the next comparison of success rates.
        case comparison
    }

    static func payload(_ kind: Kind, _ index: UInt32) -> UInt64 {
        kind.rawValue << 56 | UInt64(index)
    }

    static func fired(_ tables: inout Tables, _ turn: inout Turn, _ payload: UInt64) {
        let index = UInt32(truncatingIfNeeded: payload)
        switch Kind(rawValue: payload >> 56) {
        case .downstream:
            if tables.downstream[index: index].timer.fired(now: turn.now, on: &turn.timers),
                let id = tables.downstream.tenant(at: index)
            {
                downstream(&tables, &turn, id)
            }
        case .upstream:
            if tables.upstream[index: index].timer.fired(now: turn.now, on: &turn.timers),
                let id = tables.upstream.tenant(at: index)
            {
                UpstreamSide.expired(&tables, &turn, id)
            }
        case .exchange:
            if tables.exchanges[index: index].timer.fired(now: turn.now, on: &turn.timers),
                let id = tables.exchanges.tenant(at: index)
            {
                exchange(&tables, &turn, id)
            }
        case .probe: Pools.probe(&tables, &turn, Int(index))
        case .check: HealthChecks.fired(&tables, &turn, Int(index))
        case .comparison: Rounds.compare(&turn, Int(index))
        case nil: preconditionFailure("a timer of a known kind")
        }
    }

    private static func downstream(_ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID) {
        if tables.downstream[id].hasUnsent {
            // The client takes nothing: whatever it still lacks, it will not get.
            turn.counters.count(.slowReaders)
            return DownstreamSide.failed(&tables, &turn, id, as: .stalled)
        }
        switch tables.downstream[id].phase {
        case .idle:
            if turn.now >= tables.downstream[id].expires,
                tables.downstream[id].expires != DownstreamConnection.called
            {
                if tables.downstream[id].expires != DownstreamConnection.left {
                    turn.counters.count(.agedConnections)
                }
                return DownstreamSide.callLast(&tables, &turn, id)
            }
            DownstreamSide.closeIfQuiet(&tables, &turn, id)
        case .lingering: DownstreamSide.close(&tables, &turn, id, reset: false)
        case .head:
            DownstreamSide.refuse(&tables, &turn, id, status: 408, cause: RefusalCause.headTimeout)
        case .session: Sessions.expired(&tables, &turn, tables.downstream[id].session)
        case .exchange, .tunnel, .closed: break
        }
    }

    private static func exchange(_ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID) {
        let exchange = (
            request: tables.exchanges[id].requestDeadline,
            firstByte: tables.exchanges[id].firstByteDeadline,
            idle: tables.exchanges[id].idleDeadline
        )
        if tables.exchanges[id].attemptDeadline <= turn.now, exchange.request > turn.now {
            tables.exchanges[id].attemptDeadline = .never
            if tables.exchanges[id].isWaiting { return Waits.end(&tables, &turn, id) }
            if exchange.firstByte > turn.now { return Retries.onTimeout(&tables, &turn, id) }
        }
        let flags: ResponseFlags
        if exchange.request <= turn.now {
            flags = .durationTimeout
        } else if exchange.firstByte <= turn.now {
            flags = .upstreamTimeout
        } else if exchange.idle <= turn.now {
            flags = .streamIdle
        } else {
            return arm(&tables, &turn, id)
        }
        Exchanges.timedOut(&tables, &turn, id, flags: flags)
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
