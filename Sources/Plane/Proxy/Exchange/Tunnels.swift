import Base
import HTTP1
import HTTPSemantics
import Telemetry

/// Connections that have become pipes: after 101 to a client that asked for that protocol, or after
/// CONNECT where a route allows it. Bytes go through as they come; either half may end alone.
enum Tunnels {
    /// - Returns: `false` when the origin switched without being asked; the client is owed 502.
    static func begin(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID,
        _ head: ByteRange, _ at: inout Int, _ end: Int
    ) -> Bool {
        guard tables.exchanges[id].tunnel == .wanted, tables.exchanges[id].requestPhase == .complete
        else {
            return false
        }
        if !tables.exchanges[id].isConnect {
            // RFC 9110 §7.8: only a protocol that the client offered.
            guard let field = turn.responseHead.fields.first(.upgrade),
                ASCII.equalFold(
                    turn.scratch.span(field.value.shifted(by: head.lower)),
                    tables.exchanges[id].arena.span(tables.exchanges[id].upgrade))
            else { return false }
        }
        let downstream = tables.exchanges[id].downstream
        tables.exchanges[id].summary.status = turn.responseHead.status
        tables.exchanges[id].summary.firstByte = turn.now - tables.exchanges[id].arrival
        tables.exchanges[id].enter(response: .body)
        tables.exchanges[id].firstByteDeadline = .never
        tables.exchanges[id].requestDeadline = .never
        tables.exchanges[id].keepsAlive = false
        encodeHead(&tables, &turn, id, head)
        tables.exchanges[id].tunnel = .open
        tables.downstream[downstream].enter(.tunnel)
        tables.upstream[connection].enter(.tunnel)
        turn.counters.count(.tunnelsOpened)
        let start = turn.output.writerIndex
        turn.output.append(turn.headOut.readable)
        turn.output.append(turn.scratch.span(ByteRange(at, end: end)))
        tables.exchanges[id].summary.bytesSent += UInt64(end - at)
        at = end
        turn.send(
            ConnectionID(downstream: downstream), .output,
            ByteRange(start, end: turn.output.writerIndex))
        Timers.progressed(&tables, &turn, id)
        ClientConnections.resume(&tables, &turn, downstream)
        return true
    }

    private static func encodeHead(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ head: ByteRange
    ) {
        turn.headOut.clear()
        ResponseRelay.appendHead(turn.responseHead, turn.scratch, head, to: &turn.headOut)
        AnswerHead.finish(
            tables.exchanges[id], &turn, turn.snapshots[tables.exchanges[id].snapshot],
            hasDate: turn.responseHead.fields.seen.contains(.date), isRelayed: true)
        if !tables.exchanges[id].isConnect {
            turn.headOut.append("connection: upgrade\r\n")
            MessageEncoder.field(
                "upgrade", tables.exchanges[id].arena.span(tables.exchanges[id].upgrade),
                to: &turn.headOut)
        }
        turn.headOut.append("\r\n")
        if turn.logNeeds.contains(.responseLines) {
            AccessLog.noteAnswer(&tables.exchanges[id], &turn)
        }
    }

    /// Passes bytes on to the other side.
    static func relay(
        _ tables: inout Tables, _ turn: inout Turn, from: ConnectionID, _ range: ByteRange
    ) {
        guard let (id, peer) = other(tables, from) else { return }
        if from.side == .downstream {
            tables.exchanges[id].summary.bytesReceived += UInt64(range.length)
        } else {
            tables.exchanges[id].summary.bytesSent += UInt64(range.length)
        }
        turn.send(peer, .scratch, range)
        Timers.progressed(&tables, &turn, id)
    }

    /// One side has sent its last byte: tell the other.
    /// - Returns: whether the tunnel is done, and to be closed.
    static func ended(
        _ tables: inout Tables, _ turn: inout Turn, from: ConnectionID
    ) -> Bool {
        guard let (id, peer) = other(tables, from) else { return false }
        switch peer.side {
        case .downstream:
            if !tables.downstream[peer.downstream].hasUnsent {
                turn.effects.append(.shutdownWrite(peer))
            } else {
                tables.downstream[peer.downstream].afterFlush = .shutDown
            }
        case .upstream:
            if !tables.upstream[peer.upstream].hasUnsent {
                turn.effects.append(.shutdownWrite(peer))
            } else {
                tables.upstream[peer.upstream].shutsDownAfterFlush = true
            }
        }
        return isDone(tables, id)
    }

    /// Whether both sides have sent their last byte and all of it was passed on.
    static func isDone(_ tables: borrowing Tables, _ id: ExchangeID) -> Bool {
        guard let upstream = Attempts.connection(tables, of: id) else { return false }
        let downstream = tables.exchanges[id].downstream
        return tables.downstream[downstream].hasEnded && tables.upstream[upstream].hasEnded
            && !tables.downstream[downstream].hasUnsent && !tables.upstream[upstream].hasUnsent
    }

    private static func other(
        _ tables: borrowing Tables, _ from: ConnectionID
    ) -> (exchange: ExchangeID, peer: ConnectionID)? {
        switch from.side {
        case .downstream:
            let id = tables.downstream[from.downstream].exchange
            guard let peer = Attempts.connection(tables, of: id) else { return nil }
            return (id, ConnectionID(upstream: peer))
        case .upstream:
            guard let id = EndpointConnections.exchange(tables, from.upstream) else { return nil }
            return (id, ConnectionID(downstream: tables.exchanges[id].downstream))
        }
    }
}
