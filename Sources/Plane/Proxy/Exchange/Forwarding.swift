import Base
import Configuration
import HTTP1
import HTTPSemantics
import Rewriting

/// Hands a request that was decided to `RequestHeadWriter`, and keeps what came of it.
enum Forwarding {
    /// Encodes the request's head into the exchange's arena and notes texts for the log there.
    ///
    /// - Parameters:
    ///   - origin: where the request comes from, as trusted hops say; lent, and not changed.
    ///   - identity: the certificate that the client has shown; empty without one.
    ///   - requestID: becomes the id that is drawn; of a copy, the id of its original.
    @inline(__always)
    static func encodeRequest(
        _ exchange: inout Exchange, _ turn: inout Turn, service: Int,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange, origin: inout RequestOrigin?,
        identity: Span<UInt8>, requestID: inout (high: UInt64, low: UInt64)
    ) {
        let request = OutgoingRequest(
            snapshot, route: exchange.route, service: service, edits: exchange.edits,
            isSecure: exchange.isSecure, isCopy: exchange.kind == .mirror)
        let written = RequestHeadWriter.write(
            request, turn.requestHead, turn.scratch.span(head), key: turn.key,
            identity: identity, origin: &origin, random: &turn.random, requestID: &requestID,
            spare: &turn.spare, summary: &exchange.summary, to: &exchange.arena)
        exchange.head = written.range
        exchange.upgrade = written.upgrade
        exchange.tunnel = written.wantsTunnel ? .wanted : .none
    }

    /// Notes texts for the log when there is no head for an origin.
    static func keepTexts(
        _ exchange: inout Exchange, _ turn: borrowing Turn, _ head: ByteRange
    ) {
        RequestHeadWriter.keepTexts(
            turn.requestHead, turn.scratch.span(head), summary: &exchange.summary,
            to: &exchange.arena)
    }

    // MARK: Calls

    /// An attempt is about to be sent: where a call has waited, or has been tried before, its head
    /// says how much of `grpc-timeout` is left, as gRPC's own clients do. What an edit has put
    /// there stays.
    ///
    /// The new head lies behind everything else in the arena. The one that the attempt before this
    /// wrote there makes room for it, unless something has been noted for the log behind that.
    @inline(never)
    static func tellTimeLeft(_ exchange: inout Exchange, _ turn: inout Turn) {
        guard !exchange.callDeadline.isNever, turn.now > exchange.arrival else { return }
        let asked = exchange.callDeadline - exchange.arrival
        let left = exchange.callDeadline - turn.now
        let head = exchange.arena.span(exchange.head)
        guard let lf = ASCII.index(of: ASCII.lf, in: head) else { return }
        let lines = head.extracting((lf + 1)..<head.count)
        let wasTold = exchange.head.lower > 0
        var value = ByteRange.empty
        FieldText.forEach(lines) { name, range, _ in
            guard KnownField.intern(lines.extracting(name.range)) == .grpcTimeout else { return }
            if wasTold || GRPC.timeout(lines.extracting(range.range)) == asked { value = range }
        }
        guard !value.isEmpty else { return }
        turn.spare.clear()
        turn.spare.append(head.extracting(0..<(lf + 1 + value.lower)))
        GRPC.appendTimeout(left, to: &turn.spare)
        turn.spare.append(lines.extracting(value.upper..<lines.count))
        if wasTold, exchange.arena.writerIndex == exchange.head.upper {
            exchange.arena.truncate(to: exchange.head.lower)
        }
        let start = exchange.arena.writerIndex
        exchange.arena.append(turn.spare.readable)
        exchange.head = ByteRange(start, end: exchange.arena.writerIndex)
    }
}
