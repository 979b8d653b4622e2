import Base
import HTTPSemantics
import Telemetry

/// When a request may be sent once more: only when the origin cannot have acted on it twice.
enum Retries {
    /// Bytes of a body that are kept until the answer begins.
    static let replayBytesMax = 65_536

    /// Body text goes to a stream: it is kept as long as it is short.
    static func keep(_ exchange: inout Exchange, _ text: Span<UInt8>) {
        guard exchange.isReplayable, !text.isEmpty else { return }
        if exchange.replay.count + text.count > replayBytesMax {
            exchange.isReplayable = false
            exchange.replay.release()
        } else {
            exchange.replay.append(text)
        }
    }

    /// No connection was made, so nothing was sent: any request may try another endpoint.
    static func connectFailed(
        _ tables: inout Tables, _ turn: inout Turn, attempt: SlotID, timedOut: Bool
    ) {
        let id = tables.attempts[attempt].exchange
        let failedAt = tables.attempts[attempt].position
        Pools.endAttempt(&tables, &turn, exchange: id)
        tables.exchanges[id].summary.flags.insert(.upstreamConnectFailure)
        if tables.exchanges[id].attemptsLeft > 0, Pools.hasOther(tables, turn, id, than: failedAt) {
            again(&tables, &turn, id)
            return Pools.lease(&tables, &turn, exchange: id, skipping: failedAt)
        }
        Exchanges.fail(
            &tables, &turn, id, status: timedOut ? 504 : 502, flags: .upstreamConnectFailure,
            cause: timedOut ? .timeout : .connect)
    }

    /// A reused connection died before the first byte of the response: the origin had closed it
    /// while the request was on its way (RFC 9110 §9.2.2, RFC 9112 §9.3.1).
    /// - Returns: whether the request is on its way again.
    static func onDeadConnection(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, _ connection: SlotID
    ) -> Bool {
        if tables.upstream[connection].isUnprocessed {
            return onUnprocessed(&tables, &turn, id, connection)
        }
        let attempt = tables.exchanges[id].attempt
        guard tables.attempts[attempt].isReused, tables.exchanges[id].attemptsLeft > 0,
            tables.exchanges[id].responsePhase == .waiting,
            tables.exchanges[id].interimCount == 0,
            tables.upstream[connection].inbound.isEmpty,
            tables.exchanges[id].method.isIdempotent, !tables.exchanges[id].hasRequestBody,
            !tables.exchanges[id].wantsTunnel
        else { return false }
        Pools.endAttempt(&tables, &turn, exchange: id)
        tables.upstream[connection].attempt = .none
        UpstreamSide.close(&tables, &turn, connection, reset: false)
        again(&tables, &turn, id)
        // Others that were idle may be as dead: this time a new connection is made.
        tables.exchanges[id].attemptsLeft = 0
        Pools.lease(&tables, &turn, exchange: id, connects: true)
        return true
    }

    /// The endpoint said that it has not acted on the request (RFC 9113 §8.7): any request may be
    /// sent again, once, elsewhere if there is an elsewhere.
    private static func onUnprocessed(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, _ connection: SlotID
    ) -> Bool {
        let hasBegun = tables.exchanges[id].requestPhase != .head
        guard tables.exchanges[id].attemptsLeft > 0, !tables.exchanges[id].isRepeated,
            tables.exchanges[id].responsePhase == .waiting, tables.exchanges[id].interimCount == 0,
            !tables.exchanges[id].hasRequestBody || !hasBegun || tables.exchanges[id].isReplayable
        else { return false }
        let attempt = tables.exchanges[id].attempt
        let failedAt = tables.attempts[attempt].position
        Pools.endAttempt(&tables, &turn, exchange: id)
        tables.upstream[connection].attempt = .none
        UpstreamSide.close(&tables, &turn, connection, reset: false)
        if tables.exchanges[id].hasRequestBody, hasBegun {
            tables.exchanges[id].replays = true
            tables.exchanges[id].replaysAll = tables.exchanges[id].requestPhase == .complete
        }
        tables.exchanges[id].isRepeated = true
        tables.exchanges[id].attemptsLeft -= 1
        tables.exchanges[id].requestPhase = .head
        turn.counters.count(.retries, cluster: tables.exchanges[id].summary.cluster)
        Pools.lease(&tables, &turn, exchange: id, skipping: failedAt)
        return true
    }

    private static func again(_ tables: inout Tables, _ turn: inout Turn, _ id: SlotID) {
        tables.exchanges[id].attemptsLeft -= 1
        if tables.exchanges[id].requestPhase != .complete || !tables.exchanges[id].hasRequestBody {
            tables.exchanges[id].requestPhase = .head
        }
        turn.counters.count(.retries, cluster: tables.exchanges[id].summary.cluster)
    }
}
