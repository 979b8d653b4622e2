import Base
import Configuration
import HTTP1
import HTTPSemantics
import Rewriting
import Routing
import Telemetry

/// Answers that Sluice makes itself: short, with a Date, with flags when the configuration allows,
/// and with what the route adds to every answer (`AnswerHead`).
enum LocalReply {
    /// Answers an exchange and ends its response.
    static func send(_ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, status: UInt16) {
        willReply(&tables, turn, id, status: status)
        let snapshot = turn.snapshots[tables.exchanges[id].snapshot]
        let flags = tables.exchanges[id].summary.flags
        if tables.exchanges[id].isGRPC {
            let asked = tables.exchanges[id].replyGRPC
            let code = asked >= 0 ? UInt8(asked) : GRPC.status(forHTTP: status)
            tables.exchanges[id].summary.status = 200
            tables.exchanges[id].summary.grpcStatus = Int8(code)
            beginGRPC(code, Status.reason(status), flags, &turn, snapshot)
            deliver(&tables, &turn, id, snapshot, body: "")
        } else {
            let text = turn.replyText ?? Status.reason(status)
            turn.replyText = nil
            begin(status: status, body: text, flags, &turn, snapshot)
            deliver(&tables, &turn, id, snapshot, body: text)
        }
    }

    /// What holds for every local reply: the status is counted, and a request body that is still to
    /// come is read away only when that is short.
    static func willReply(
        _ tables: inout Tables, _ turn: borrowing Turn, _ id: SlotID, status: UInt16
    ) {
        tables.exchanges[id].summary.status = status
        let downstream = tables.exchanges[id].downstream
        if Exchanges.isLast(tables, id) || tables.downstream[downstream].hasEnded
            || turn.endsConnections
        {
            tables.exchanges[id].keepsAlive = false
        }
    }

    /// Composes a whole answer to what is no request of any route into `turn.output`; the
    /// connection ends with the answer.
    static func composeRefusal(status: UInt16, flags: ResponseFlags, _ turn: inout Turn) {
        begin(
            status: status, body: Status.reason(status), flags, &turn, turn.snapshots.newest)
        turn.headOut.append(turn.date())
        turn.headOut.append("connection: close\r\n\r\n")
        turn.output.append(turn.headOut.readable)
        turn.output.append(Status.reason(status))
        turn.output.append(UInt8(ascii: "\n"))
    }

    /// The head that `turn.headOut` has so far, what the route adds to it, and a body of one line.
    private static func deliver(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, _ snapshot: SharedBox<Snapshot>,
        body: StaticString
    ) {
        let start = turn.output.writerIndex
        finish(&tables, &turn, id, snapshot)
        if tables.exchanges[id].method != .head, body.utf8CodeUnitCount > 0 {
            turn.output.append(body)
            turn.output.append(UInt8(ascii: "\n"))
        }
        end(&tables, &turn, id, from: start)
    }

    /// Completes the head in `turn.headOut` and moves it to `turn.output`.
    static func finish(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, _ snapshot: SharedBox<Snapshot>
    ) {
        AnswerHead.finish(
            tables.exchanges[id], &turn, snapshot, hasDate: false, isRelayed: false)
        if !tables.exchanges[id].keepsAlive { turn.headOut.append("connection: close\r\n") }
        turn.headOut.append("\r\n")
        turn.output.append(turn.headOut.readable)
    }

    /// Sends what `turn.output` has from a position on, the whole answer.
    static func end(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, from start: Int
    ) {
        turn.send(
            ConnectionID(.downstream, tables.exchanges[id].downstream), .output,
            ByteRange(start, end: turn.output.writerIndex))
        Exchanges.responseDone(&tables, &turn, id)
    }

    // MARK: Heads

    /// Begins a head in `turn.headOut`: the status line, and what the answer has by itself.
    private static func begin(
        status: UInt16, body: StaticString, _ flags: ResponseFlags, _ turn: inout Turn,
        _ snapshot: SharedBox<Snapshot>
    ) {
        turn.headOut.clear()
        MessageEncoder.statusLine(status, to: &turn.headOut)
        turn.headOut.append("content-type: text/plain\r\ncontent-length: ")
        turn.headOut.appendDecimal(UInt64(body.utf8CodeUnitCount + 1))
        turn.headOut.append("\r\n")
        if status == 405 {
            turn.headOut.append("allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n")
        }
        beginCommon(flags, &turn, snapshot)
    }

    /// A call that ends without an origin: a response that is its trailers alone.
    private static func beginGRPC(
        _ code: UInt8, _ message: StaticString, _ flags: ResponseFlags, _ turn: inout Turn,
        _ snapshot: SharedBox<Snapshot>
    ) {
        turn.headOut.clear()
        MessageEncoder.statusLine(200, to: &turn.headOut)
        turn.headOut.append("content-type: application/grpc\r\ngrpc-status: ")
        turn.headOut.appendDecimal(UInt64(code))
        turn.headOut.append("\r\ngrpc-message: ")
        turn.headOut.append(message)
        turn.headOut.append("\r\ncontent-length: 0\r\n")
        beginCommon(flags, &turn, snapshot)
    }

    /// Ends a call whose answer has begun and whose time is over: with trailers that say so. A
    /// reset would be an error of ours to the client.
    /// - Returns: `false` when its answer has no place for trailers, or is none of gRPC.
    @inline(never)
    static func endCall(_ tables: inout Tables, _ turn: inout Turn, _ id: SlotID) -> Bool {
        guard tables.exchanges[id].isGRPC, tables.exchanges[id].sink == .chunked else {
            return false
        }
        tables.exchanges[id].summary.grpcStatus = Int8(GRPC.deadlineExceeded)
        let start = turn.output.writerIndex
        turn.output.append("0\r\ngrpc-status: ")
        turn.output.appendDecimal(UInt64(GRPC.deadlineExceeded))
        turn.output.append("\r\ngrpc-message: ")
        turn.output.append(Status.reason(504))
        turn.output.append("\r\n\r\n")
        turn.send(
            ConnectionID(.downstream, tables.exchanges[id].downstream), .output,
            ByteRange(start, end: turn.output.writerIndex))
        Exchanges.responseDone(&tables, &turn, id)
        return true
    }

    private static func beginCommon(
        _ flags: ResponseFlags, _ turn: inout Turn, _ snapshot: SharedBox<Snapshot>
    ) {
        let field = snapshot.value.settings.flagsField
        if !field.isEmpty, !flags.isEmpty {
            turn.headOut.append(snapshot.value.store.bytes(field))
            turn.headOut.append(": ")
            flags.append(to: &turn.headOut)
            turn.headOut.append("\r\n")
        }
        if !turn.replyLines.isEmpty {
            turn.headOut.append(turn.replyLines.readable)
            turn.replyLines.clear()
        }
    }
}

/// Redirects and fixed responses that a route orders.
enum DirectReply {
    static func send(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, _ route: Int,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) {
        let plan = snapshot.value.routes[route]
        turn.headOut.clear()
        MessageEncoder.statusLine(plan.status, to: &turn.headOut)
        if plan.kind == .redirect {
            turn.headOut.append("location: ")
            let origin = Decisions.origin(tables.exchanges[id], turn, snapshot)
            let bytes = turn.scratch.span(head), path = turn.key.path(in: bytes)
            let isKnown = Redirects.appendLocation(
                plan, snapshot.value.store, turn.requestHead, bytes, origin: origin, path: path,
                to: &turn.headOut)
            guard isKnown else {
                // Nobody can say where to go: HTTP/1.0 without Host.
                return Exchanges.reply(
                    &tables, &turn, id, status: 400, flags: .downstreamProtocolError, cause: .none)
            }
            turn.headOut.append("\r\n")
        } else if !plan.body.isEmpty {
            MessageEncoder.field(
                "content-type", snapshot.value.store.bytes(plan.contentType), to: &turn.headOut)
        }
        LocalReply.willReply(&tables, turn, id, status: plan.status)
        if !Status.hasNoBody(plan.status) {
            turn.headOut.append("content-length: ")
            turn.headOut.appendDecimal(UInt64(plan.body.length))
            turn.headOut.append("\r\n")
        }
        let start = turn.output.writerIndex
        LocalReply.finish(&tables, &turn, id, snapshot)
        if tables.exchanges[id].method != .head, !Status.hasNoBody(plan.status) {
            turn.output.append(snapshot.value.store.bytes(plan.body))
            tables.exchanges[id].summary.bytesSent = UInt64(plan.body.length)
        }
        LocalReply.end(&tables, &turn, id, from: start)
    }
}
