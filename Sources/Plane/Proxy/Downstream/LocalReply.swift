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
    /// Sends a whole answer; `Exchanges.responseDone` follows.
    static func send(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ answer: LocalAnswer
    ) {
        willReply(&tables, turn, id, status: answer.status)
        let snapshot = turn.snapshots[tables.exchanges[id].snapshot]
        let start = turn.output.writerIndex
        let method = tables.exchanges[id].method
        if tables.exchanges[id].isGRPC, !answer.isAlwaysHTTP {
            let code =
                answer.grpcStatus >= 0
                ? UInt8(answer.grpcStatus) : GRPC.status(forHTTP: answer.status)
            tables.exchanges[id].summary.status = 200
            tables.exchanges[id].summary.grpcStatus = Int8(code)
            beginGRPC(code, &turn)
            turn.headOut.append(answer.text)
            endGRPC(&turn)
            addFields(tables.exchanges[id], answer, &turn, snapshot)
            finish(&tables, &turn, id, snapshot)
        } else if case .trace(let head) = answer.content {
            var content = ByteBuffer()
            MaxForwards.collect(turn, head, to: &content)
            tables.exchanges[id].summary.bytesSent = UInt64(content.count)
            // No browser may take the client's bytes for a page.
            begin(
                status: answer.status, type: "message/http\r\nx-content-type-options: nosniff",
                length: content.count, &turn)
            addFields(tables.exchanges[id], answer, &turn, snapshot)
            finish(&tables, &turn, id, snapshot)
            turn.output.append(content.readable)
        } else {
            let text = answer.text
            begin(
                status: answer.status, type: "text/plain", length: contentBytes(text), &turn)
            addFields(tables.exchanges[id], answer, &turn, snapshot)
            finish(&tables, &turn, id, snapshot)
            if method != .head {
                appendLine(text, &turn)
                tables.exchanges[id].summary.bytesSent = UInt64(contentBytes(text))
            }
        }
        end(tables, &turn, id, from: start)
    }

    /// Prepares what holds for every local reply: the status is counted, and a request body that is
    /// still to come is read away only when that is short.
    static func willReply(
        _ tables: inout Tables, _ turn: borrowing Turn, _ id: ExchangeID, status: UInt16
    ) {
        tables.exchanges[id].summary.status = status
        let downstream = tables.exchanges[id].downstream
        if tables.isLast(id) || tables.downstream[downstream].hasEnded
            || turn.endsConnections
        {
            tables.exchanges[id].keepsAlive = false
        }
    }

    /// Composes a whole answer to what is no request of any route into `turn.output`; the
    /// connection ends with the answer.
    ///
    /// - Parameter isCall: the request is a gRPC call, and is answered in gRPC's words.
    static func composeRefusal(
        status: UInt16, flags: ResponseFlags, isCall: Bool, _ turn: inout Turn
    ) {
        let text = Status.reason(status)
        if isCall {
            beginGRPC(GRPC.status(forHTTP: status), &turn)
            turn.headOut.append(text)
            endGRPC(&turn)
        } else {
            begin(status: status, type: "text/plain", length: contentBytes(text), &turn)
        }
        addFlags(flags, &turn, turn.snapshots.newest)
        turn.headOut.append(turn.date())
        turn.headOut.append("connection: close\r\n\r\n")
        turn.output.append(turn.headOut.readable)
        if !isCall { appendLine(text, &turn) }
    }

    /// Bytes of an answer's content, which is one line.
    static func contentBytes(_ text: StaticString) -> Int { text.utf8CodeUnitCount + 1 }

    private static func appendLine(_ text: StaticString, _ turn: inout Turn) {
        turn.output.append(text)
        turn.output.append(UInt8(ascii: "\n"))
    }

    /// Completes the head in `turn.headOut` and moves it to `turn.output`.
    static func finish(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID,
        _ snapshot: SharedBox<Snapshot>
    ) {
        AnswerHead.finish(
            tables.exchanges[id], &turn, snapshot, hasDate: false, isRelayed: false)
        if !tables.exchanges[id].keepsAlive { turn.headOut.append("connection: close\r\n") }
        turn.headOut.append("\r\n")
        turn.output.append(turn.headOut.readable)
        if turn.logNeeds.contains(.responseLines) {
            AccessLog.noteAnswer(&tables.exchanges[id], &turn)
        }
    }

    /// Sends what `turn.output` has from a position on, the whole answer.
    static func end(
        _ tables: borrowing Tables, _ turn: inout Turn, _ id: ExchangeID, from start: Int
    ) {
        turn.send(
            ConnectionID(downstream: tables.exchanges[id].downstream), .output,
            ByteRange(start, end: turn.output.writerIndex))
    }

    // MARK: Heads

    /// Begins a head in `turn.headOut`: the status line, and what describes the content.
    private static func begin(
        status: UInt16, type: StaticString, length: Int, _ turn: inout Turn
    ) {
        turn.headOut.clear()
        MessageEncoder.statusLine(status, to: &turn.headOut)
        turn.headOut.append("content-type: ")
        turn.headOut.append(type)
        turn.headOut.append("\r\ncontent-length: ")
        turn.headOut.appendDecimal(UInt64(length))
        turn.headOut.append("\r\n")
        if status == 405 {
            turn.headOut.append("allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n")
        }
    }

    /// Begins a response that is its trailers alone, for a call that ends without an origin. The
    /// text of `grpc-message` comes next, and `endGRPC` behind it.
    private static func beginGRPC(_ code: UInt8, _ turn: inout Turn) {
        turn.headOut.clear()
        MessageEncoder.statusLine(200, to: &turn.headOut)
        turn.headOut.append("content-type: application/grpc\r\ngrpc-status: ")
        turn.headOut.appendDecimal(UInt64(code))
        turn.headOut.append("\r\ngrpc-message: ")
    }

    private static func endGRPC(_ turn: inout Turn) {
        turn.headOut.append("\r\ncontent-length: 0\r\n")
    }

    // MARK: Calls

    /// Text of a fixed response that a call is told.
    private static let messageBytesMax = 1_024

    /// Answers a call in place of a redirect or a fixed response, which a gRPC client would not
    /// understand. The fixed text becomes the call's message.
    @inline(never)
    static func refuseCall(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, status: UInt16,
        text: Span<UInt8>, _ snapshot: SharedBox<Snapshot>
    ) {
        let code = GRPC.status(forHTTP: status)
        willReply(&tables, turn, id, status: 200)
        tables.exchanges[id].summary.grpcStatus = Int8(code)
        beginGRPC(code, &turn)
        if !text.isEmpty {
            GRPC.appendMessage(
                text.extracting(0..<min(text.count, messageBytesMax)), to: &turn.headOut)
        } else if status < 400 {
            turn.headOut.append("the route answers with a redirect, which gRPC has not")
        } else {
            turn.headOut.append(Status.reason(status))
        }
        endGRPC(&turn)
        addFlags(tables.exchanges[id].summary.flags, &turn, snapshot)
        let start = turn.output.writerIndex
        finish(&tables, &turn, id, snapshot)
        end(tables, &turn, id, from: start)
    }

    /// Ends a call whose answer has begun and cannot go on: with trailers that say why. A reset
    /// would be INTERNAL to the client, an error of this proxy. `Exchanges.responseDone` follows.
    ///
    /// - Parameter answer: what a call without an answer would be told.
    /// - Returns: `false` when the answer has no place for trailers, or is none of gRPC.
    @inline(never)
    static func endCall(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ answer: LocalAnswer
    ) -> Bool {
        guard tables.exchanges[id].isGRPC, tables.exchanges[id].sink == .chunked else {
            return false
        }
        let code =
            answer.grpcStatus >= 0
            ? UInt8(answer.grpcStatus) : GRPC.status(forHTTP: answer.status)
        tables.exchanges[id].summary.grpcStatus = Int8(code)
        let start = turn.output.writerIndex
        turn.output.append("0\r\ngrpc-status: ")
        turn.output.appendDecimal(UInt64(code))
        turn.output.append("\r\ngrpc-message: ")
        turn.output.append(reason(tables.exchanges[id], answer.status))
        turn.output.append("\r\n\r\n")
        end(tables, &turn, id, from: start)
        return true
    }

    /// Tells what happened to an answer that has begun, for those who look for the fault.
    private static func reason(
        _ exchange: borrowing Exchange, _ status: UInt16
    ) -> StaticString {
        switch exchange.summary.cause {
        case .reset: return "the endpoint broke off in the middle of its answer"
        case .invalid: return "the endpoint's answer was malformed from here on"
        case .timeout where exchange.summary.failure.reason == .requestTimeout:
            return "the deadline passed in the middle of the answer"
        case .timeout where exchange.summary.flags.contains(.streamIdle):
            return "the endpoint was silent for too long in the middle of its answer"
        default: return Status.reason(status)
        }
    }

    // MARK: Fields

    /// Fields that the answer has beside those that describe its content.
    private static func addFields(
        _ exchange: borrowing Exchange, _ answer: LocalAnswer, _ turn: inout Turn,
        _ snapshot: SharedBox<Snapshot>
    ) {
        addFlags(exchange.summary.flags, &turn, snapshot)
        switch answer.content {
        case .reason, .text, .trace: break
        case .methods:
            turn.headOut.append("allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\n")
        case .rateLimit(let policy, let verdict):
            let name = snapshot.value.store.bytes(snapshot.value.routes[exchange.route].name)
            addRateLimit(name, policy, verdict, isGRPC: exchange.isGRPC, to: &turn.headOut)
        }
    }

    private static func addFlags(
        _ flags: ResponseFlags, _ turn: inout Turn, _ snapshot: SharedBox<Snapshot>
    ) {
        let field = snapshot.value.settings.flagsField
        guard !field.isEmpty, !flags.isEmpty else { return }
        turn.headOut.append(snapshot.value.store.bytes(field))
        turn.headOut.append(": ")
        flags.append(to: &turn.headOut)
        turn.headOut.append("\r\n")
    }

    /// `Retry-After` and the fields of draft-ietf-httpapi-ratelimit-headers.
    private static func addRateLimit(
        _ name: Span<UInt8>, _ policy: RateLimitPolicy, _ verdict: RateLimit.Verdict,
        isGRPC: Bool, to out: inout ByteBuffer
    ) {
        let second = Duration.seconds(1).nanoseconds
        let seconds = UInt64((verdict.wait.nanoseconds + second - 1) / second)
        let window = max(1, (policy.per.nanoseconds + second / 2) / second)
        // A window is whole seconds there.
        let quota = max(
            1,
            Double(policy.requests) * Double(window * second)
                / Double(policy.per.nanoseconds))
        out.append("retry-after: ")
        out.appendDecimal(seconds)
        out.append("\r\nratelimit-policy: \"")
        out.append(name)
        out.append("\";q=")
        out.appendDecimal(UInt64(quota.rounded()))
        out.append(";w=")
        out.appendDecimal(UInt64(window))
        out.append("\r\nratelimit: \"")
        out.append(name)
        out.append("\";r=0;t=")
        out.appendDecimal(seconds)
        out.append("\r\n")
        guard isGRPC else { return }
        // What gRPC's clients wait before their own retry (gRFC A6).
        out.append("grpc-retry-pushback-ms: ")
        out.appendDecimal(UInt64(max(0, verdict.wait.millisecondsUp)))
        out.append("\r\n")
    }
}

/// Redirects and fixed responses that a route orders.
enum DirectReply {
    /// Sends a whole answer; `Exchanges.responseDone` follows.
    ///
    /// - Parameter origin: where the request comes from, as trusted hops say; `nil` without them.
    /// - Returns: what to answer instead, where the redirect has no place to lead to.
    static func send(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ head: ByteRange,
        origin: RequestOrigin?
    ) -> LocalAnswer? {
        let snapshot = turn.snapshots[tables.exchanges[id].snapshot]
        let plan = snapshot.value.routes[tables.exchanges[id].route]
        if tables.exchanges[id].isGRPC, plan.status >= 300 {
            LocalReply.refuseCall(
                &tables, &turn, id, status: plan.status,
                text: snapshot.value.store.bytes(plan.body), snapshot)
            return nil
        }
        turn.headOut.clear()
        MessageEncoder.statusLine(plan.status, to: &turn.headOut)
        if plan.kind == .redirect {
            turn.headOut.append("location: ")
            let origin =
                origin
                ?? RequestOrigin(
                    turn.requestHead, peer: tables.exchanges[id].summary.peer,
                    isSecure: tables.exchanges[id].isSecure)
            let bytes = turn.scratch.span(head), path = turn.key.path(in: bytes)
            let isKnown = Redirects.appendLocation(
                plan, snapshot.value.store, turn.requestHead, bytes, origin: origin, path: path,
                to: &turn.headOut)
            guard isKnown else {
                // Nobody can say where to go: HTTP/1.0 without Host.
                return LocalAnswer(
                    status: 400, flags: .downstreamProtocolError,
                    failure: Failure(.rejected, Int(HTTP1Violation.missingHost.rawValue)))
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
        LocalReply.end(tables, &turn, id, from: start)
        return nil
    }
}
