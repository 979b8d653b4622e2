import Base
import Configuration
import HTTP1
import HTTPSemantics
import Telemetry

/// Answers that Sluice makes itself: short, with a Date, with flags when the configuration allows.
enum LocalReply {
    /// Answers an exchange and ends its response.
    static func send(_ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, status: UInt16) {
        willReply(&tables, turn, id, status: status)
        let downstream = tables.exchanges[id].downstream
        let start = turn.output.writerIndex
        if tables.exchanges[id].isGRPC {
            let asked = tables.exchanges[id].replyGRPC
            let code = asked >= 0 ? UInt8(asked) : GRPC.status(forHTTP: status)
            tables.exchanges[id].summary.status = 200
            tables.exchanges[id].summary.grpcStatus = Int8(code)
            composeGRPC(code, Status.reason(status), tables.exchanges[id], &turn)
        } else {
            compose(
                status: status, body: nil, flags: tables.exchanges[id].summary.flags,
                closes: !tables.exchanges[id].keepsAlive,
                isHead: tables.exchanges[id].method == .head, &turn)
        }
        turn.send(
            ConnectionID(.downstream, downstream), .output,
            ByteRange(start, end: turn.output.writerIndex))
        Exchanges.responseDone(&tables, &turn, id)
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

    /// Composes a whole response into `turn.output`.
    static func compose(
        status: UInt16, body: StaticString?, flags: ResponseFlags, closes: Bool, isHead: Bool,
        _ turn: inout Turn
    ) {
        let settings = turn.snapshots.newest.value.settings
        MessageEncoder.statusLine(status, to: &turn.output)
        date(&turn)
        turn.output.append("content-type: text/plain\r\n")
        let text = body ?? Status.reason(status)
        turn.output.append("content-length: ")
        turn.output.appendDecimal(UInt64(text.utf8CodeUnitCount + 1))
        turn.output.append("\r\n")
        if !settings.flagsField.isEmpty, !flags.isEmpty {
            turn.output.append(turn.snapshots.newest.value.store.bytes(settings.flagsField))
            turn.output.append(": ")
            flags.append(to: &turn.output)
            turn.output.append("\r\n")
        }
        if !turn.replyLines.isEmpty {
            turn.output.append(turn.replyLines.readable)
            turn.replyLines.clear()
        }
        if closes { turn.output.append("connection: close\r\n") }
        if status == 405 {
            turn.output.append("allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n")
        }
        turn.output.append("\r\n")
        if !isHead {
            turn.output.append(text)
            turn.output.append(UInt8(ascii: "\n"))
        }
    }

    /// A call that ends without an origin: a response that is its trailers alone.
    private static func composeGRPC(
        _ code: UInt8, _ message: StaticString, _ exchange: borrowing Exchange,
        _ turn: inout Turn
    ) {
        let settings = turn.snapshots.newest.value.settings
        MessageEncoder.statusLine(200, to: &turn.output)
        date(&turn)
        turn.output.append("content-type: application/grpc\r\ngrpc-status: ")
        turn.output.appendDecimal(UInt64(code))
        turn.output.append("\r\ngrpc-message: ")
        turn.output.append(message)
        turn.output.append("\r\ncontent-length: 0\r\n")
        if !settings.flagsField.isEmpty, !exchange.summary.flags.isEmpty {
            turn.output.append(turn.snapshots.newest.value.store.bytes(settings.flagsField))
            turn.output.append(": ")
            exchange.summary.flags.append(to: &turn.output)
            turn.output.append("\r\n")
        }
        if !turn.replyLines.isEmpty {
            turn.output.append(turn.replyLines.readable)
            turn.replyLines.clear()
        }
        if !exchange.keepsAlive { turn.output.append("connection: close\r\n") }
        turn.output.append("\r\n")
    }

    static func date(_ turn: inout Turn) {
        turn.output.append(turn.date())
    }
}

/// Redirects and fixed responses that a route orders.
enum DirectReply {
    static func send(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, _ route: Int,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) {
        let plan = snapshot.value.routes[route]
        LocalReply.willReply(&tables, turn, id, status: plan.status)
        let start = turn.output.writerIndex
        MessageEncoder.statusLine(plan.status, to: &turn.output)
        LocalReply.date(&turn)
        if plan.kind == .redirect {
            turn.output.append("location: ")
            location(
                &turn, plan, snapshot, head, isSecure: tables.exchanges[id].isSecure)
            turn.output.append("\r\n")
        } else if !plan.body.isEmpty {
            turn.output.append("content-type: ")
            turn.output.append(snapshot.value.store.bytes(plan.contentType))
            turn.output.append("\r\n")
        }
        if !Status.hasNoBody(plan.status) {
            turn.output.append("content-length: ")
            turn.output.appendDecimal(UInt64(plan.body.length))
            turn.output.append("\r\n")
        }
        Forwarding.append(plan.responseEdits, snapshot, to: &turn.output)
        if !tables.exchanges[id].keepsAlive { turn.output.append("connection: close\r\n") }
        turn.output.append("\r\n")
        if tables.exchanges[id].method != .head, !Status.hasNoBody(plan.status) {
            turn.output.append(snapshot.value.store.bytes(plan.body))
            tables.exchanges[id].summary.bytesSent = UInt64(plan.body.length)
        }
        turn.send(
            ConnectionID(.downstream, tables.exchanges[id].downstream), .output,
            ByteRange(start, end: turn.output.writerIndex))
        Exchanges.responseDone(&tables, &turn, id)
    }

    /// An absolute URI; what the redirect leaves out stays as the client asked.
    private static func location(
        _ turn: inout Turn, _ plan: Snapshot.RoutePlan, _ snapshot: SharedBox<Snapshot>,
        _ head: ByteRange, isSecure: Bool
    ) {
        if plan.scheme.isEmpty {
            turn.output.append(isSecure ? "https" : "http")
        } else {
            turn.output.append(snapshot.value.store.bytes(plan.scheme))
        }
        turn.output.append("://")
        let authority = turn.requestHead.authority.shifted(by: head.lower)
        if !plan.host.isEmpty {
            turn.output.append(snapshot.value.store.bytes(plan.host))
        } else if plan.port != 0 || !plan.scheme.isEmpty {
            // Another scheme or port: the client's port no longer belongs to it.
            let length = Authority.hostLength(turn.scratch.span(authority)) ?? 0
            turn.output.append(
                turn.scratch.span(ByteRange(start: authority.lower, count: length)))
        } else {
            turn.output.append(turn.scratch.span(authority))
        }
        if plan.port != 0 {
            turn.output.append(UInt8(ascii: ":"))
            turn.output.appendDecimal(UInt64(plan.port))
        }
        switch plan.pathEdit {
        case .none:
            if turn.requestHead.path.isEmpty || turn.requestHead.form == .asterisk {
                turn.output.append(UInt8(ascii: "/"))
            } else {
                URIText.append(
                    turn.scratch.span(turn.requestHead.path.shifted(by: head.lower)),
                    to: &turn.output)
            }
        case .path: turn.output.append(snapshot.value.store.bytes(plan.pathText))
        case .prefix:
            let path = turn.normalPath
            Forwarding.replacePrefix(
                snapshot.value.store.bytes(plan.pathText), plan.prefixLength,
                of: path, to: &turn.output, escapes: true)
        }
        if turn.requestHead.hasQuery {
            turn.output.append(UInt8(ascii: "?"))
            URIText.append(
                turn.scratch.span(turn.requestHead.query.shifted(by: head.lower)),
                to: &turn.output)
        }
    }
}
