import Base
import Configuration
import HTTPSemantics
import Telemetry

/// Every deadline there is: what each timer of a slot means when it fires.
enum Deadlines {
    static func fired(_ tables: inout Tables, _ turn: inout Turn, _ payload: UInt64) {
        let index = UInt32(truncatingIfNeeded: payload)
        switch Timers.Kind(rawValue: payload >> 56) {
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
            switch tables.downstream[id].term {
            case .open where turn.now >= tables.downstream[id].expires:
                turn.counters.count(.agedConnections)
                ClientConnections.callLast(&tables, &turn, id)
            case .leaving: ClientConnections.callLast(&tables, &turn, id)
            case .open, .lastCall: ClientConnections.closeIfQuiet(&tables, &turn, id)
            }
        case .lingering: ClientConnections.close(&tables, &turn, id, reset: false)
        case .head: DownstreamSide.refuseLateHead(&tables, &turn, id)
        case .http2: HTTP2Links.expired(&tables, &turn, tables.downstream[id].h2)
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
            if tables.exchanges[id].isWaiting { return Exchanges.goOn(&tables, &turn, id) }
            if exchange.firstByte > turn.now {
                return Exchanges.attemptTimedOut(&tables, &turn, id)
            }
        }
        let reason: Failure.Reason
        if exchange.request <= turn.now {
            reason = .requestTimeout
        } else if exchange.firstByte <= turn.now {
            reason = .firstByteTimeout
        } else if exchange.idle <= turn.now {
            reason = .idleTimeout
        } else {
            return Timers.arm(&tables, &turn, id)
        }
        Exchanges.timedOut(&tables, &turn, id, by: reason)
    }

}
