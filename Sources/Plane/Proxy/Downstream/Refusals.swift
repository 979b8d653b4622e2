import Base
import Configuration
import HTTP1
import HTTPSemantics
import Telemetry

/// Answers to bytes that became no request. Such bytes have no exchange, but a line in the access
/// log, with whatever could be read of the request line.
extension DownstreamSide {
    /// Refuses a head that breaks HTTP, and closes.
    ///
    /// - Parameter head: what was read of the head, in the scratch.
    @inline(never)
    static func refuse(
        _ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID,
        _ violation: HTTP1Violation, _ head: ByteRange
    ) {
        let isCall = tables.downstream[id].isStream && hasCall(turn, head)
        turn.spare.clear()
        // In place of a stream's head that is too large stands another, which nobody has sent.
        if !tables.downstream[id].isStream || violation != .headTooLarge {
            turn.spare.append(turn.scratch.span(firstLine(head, turn)))
        }
        refuse(
            &tables, &turn, id, status: violation.status, cause: violation.rawValue, isCall: isCall)
    }

    /// Refuses a head that did not come in time, and closes.
    static func refuseLateHead(
        _ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID
    ) {
        let kept = ByteRange(start: 0, count: tables.downstream[id].inbound.count)
        turn.spare.clear()
        turn.spare.append(
            tables.downstream[id].inbound.readable.extracting(firstLine(kept, turn).range))
        refuse(
            &tables, &turn, id, status: 408, cause: RefusalCause.headTimeout, isCall: false)
    }

    /// As much of a head as its first line may have.
    private static func firstLine(_ head: ByteRange, _ turn: borrowing Turn) -> ByteRange {
        ByteRange(start: head.lower, count: min(head.length, turn.limits.requestLineBytesMax + 16))
    }

    /// - Parameter isCall: the request is a gRPC call, and is answered in gRPC's words.
    private static func refuse(
        _ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID, status: UInt16,
        cause: UInt8, isCall: Bool
    ) {
        turn.counters.countRefused(listener: tables.downstream[id].listener, cause: cause)
        var summary = summary(tables, turn, of: id)
        summary.status = isCall ? 200 : status
        summary.failure = Failure(.rejected, Int(cause))
        summary.isGRPC = isCall
        if isCall {
            summary.grpcStatus = Int8(GRPC.status(forHTTP: status))
        } else {
            summary.bytesSent = UInt64(LocalReply.contentBytes(Status.reason(status)))
        }
        noteLine(&summary, turn.spare.readable)
        record(summary, tables, &turn, id)
        let start = turn.output.writerIndex
        LocalReply.composeRefusal(
            status: status, flags: .downstreamProtocolError, isCall: isCall, &turn)
        turn.send(
            ConnectionID(downstream: id), .output,
            ByteRange(start, end: turn.output.writerIndex))
        ClientConnections.finishAndClose(&tables, &turn, id)
    }

    /// Notes a stream that was reset because its head is none: nothing is answered.
    ///
    /// - Parameter id: the socket.
    @inline(never)
    static func noteMalformedHead(
        _ tables: borrowing Tables, _ turn: inout Turn, _ id: DownstreamID
    ) {
        var summary = summary(tables, turn, of: id)
        summary.protocol = .http2
        summary.failure = Failure(.rejected, Int(RefusalCause.malformedStream))
        record(summary, tables, &turn, id)
    }

    // MARK: Facts

    private static func summary(
        _ tables: borrowing Tables, _ turn: borrowing Turn, of id: DownstreamID
    ) -> ExchangeSummary {
        var summary = ExchangeSummary()
        summary.listener = tables.downstream[id].listener
        summary.flags = .downstreamProtocolError
        summary.arrival = turn.wall
        summary.peer = tables.downstream[id].peer
        summary.client = summary.peer
        summary.tlsVersion = tables.downstream[id].tlsVersion
        if tables.downstream[id].isStream { summary.protocol = .http2 }
        return summary
    }

    /// Counts what was refused as a request without a route, and logs it.
    private static func record(
        _ facts: consuming ExchangeSummary, _ tables: borrowing Tables, _ turn: inout Turn,
        _ id: DownstreamID
    ) {
        var summary = facts
        let snapshot = turn.snapshots.newest
        let row = snapshot.value.rows[snapshot.value.settings.noRouteRow]
        summary.row = row.id
        turn.counters.started(rowSlot: row.slot)
        turn.counters.finished(summary, rowSlot: row.slot)
        if snapshot.value.settings.countsSizes { turn.counters.sizes(summary) }
        if snapshot.value.settings.logs {
            AccessLog.writeRefusal(summary, tables, &turn, id, snapshot)
        }
    }

    /// Notes method and target, each if all of it is there: a method is a token with a space behind
    /// it, and behind a target comes the version.
    private static func noteLine(_ summary: inout ExchangeSummary, _ text: Span<UInt8>) {
        // One empty line in front is no fault (RFC 9112 §2.2).
        let start = text.count > 1 && text[0] == ASCII.cr && text[1] == ASCII.lf ? 2 : 0
        let method = ASCII.tokenLength(text.extracting(start..<text.count))
        guard method > 0, start + method < text.count, text[start + method] == 0x20 else { return }
        summary.method = ByteRange(start: start, count: method)
        let target = start + method + 1
        let rest = text.extracting(target..<text.count)
        let end = ASCII.index(of: ASCII.lf, in: rest) ?? rest.count
        guard let length = ASCII.index(of: 0x20, in: rest.extracting(0..<end)), length > 0
        else { return }
        let version = rest.extracting((length + 1)..<end)
        guard version.count >= 8, ASCII.equalPrefix(version.extracting(0..<5), "HTTP/")
        else { return }
        summary.target = ByteRange(start: target, count: length)
        if ASCII.equalPrefix(version.extracting(0..<8), "HTTP/1.0") { summary.protocol = .http10 }
    }

    /// Whether a stream's head that was refused is that of a gRPC call: its text says so in a whole
    /// line, whatever is wrong with it.
    private static func hasCall(_ turn: borrowing Turn, _ head: ByteRange) -> Bool {
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
