import Base
import Configuration
import HTTPSemantics
import Telemetry

/// Answers to bytes that became no request.
extension DownstreamSide {
    /// Answers what is no proper request, and closes.
    static func refuse(
        _ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID, status: UInt16,
        cause: UInt8,
        isCall: Bool = false
    ) {
        let listener = tables.downstream[id].listener
        turn.counters.countRefused(listener: listener, cause: cause)
        let rowIndex = turn.snapshots.newest.value.settings.noRouteRow
        let row = turn.snapshots.newest.value.rows[rowIndex]
        turn.counters.started(rowSlot: row.slot)
        var summary = ExchangeSummary()
        summary.listener = listener
        summary.row = row.id
        summary.status = isCall ? 200 : status
        if isCall { summary.grpcStatus = Int8(GRPC.status(forHTTP: status)) }
        summary.flags = .downstreamProtocolError
        summary.arrival = turn.wall
        summary.peer = tables.downstream[id].peer
        summary.client = summary.peer
        turn.counters.finished(summary, rowSlot: row.slot)
        let start = turn.output.writerIndex
        LocalReply.composeRefusal(
            status: status, flags: .downstreamProtocolError, isCall: isCall, &turn)
        turn.send(
            ConnectionID(downstream: id), .output,
            ByteRange(start, end: turn.output.writerIndex))
        ClientConnections.finishAndClose(&tables, &turn, id)
    }

    /// Whether a stream's head that was refused is that of a gRPC call: its text says so in a whole
    /// line, whatever is wrong with it.
    @inline(never)
    static func hasCall(_ turn: borrowing Turn, _ head: ByteRange) -> Bool {
        let text = turn.scratch.span(head)
        guard let lf = ASCII.index(of: ASCII.lf, in: text) else { return false }
        let lines = text.extracting((lf + 1)..<text.count)
        var isCall = false
        FieldText.forEach(lines) { name, value, _ in
            if KnownField.intern(lines.extracting(name.range)) == .contentType {
                isCall = GRPC.isContentType(lines.extracting(value.range))
            }
        }
        return isCall
    }
}
