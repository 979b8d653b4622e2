import Base
import Configuration
import HTTP1
import HTTPSemantics
import Rewriting
import Routing
import Telemetry

/// The response on its way to the client.
enum ResponseRelay {
    /// Bytes of interim responses that one exchange may have, and what each counts beyond its own.
    /// A long task that says 102 every second has over two hours; an endless stream of them ends.
    static let interimBytesMax = 1 << 20
    static let interimCost = 64

    /// The final head was read: decide its framing, encode it for the client.
    ///
    /// The head goes to `turn.headOut`, and out with the first of the body.
    @inline(__always)
    static func begin(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID,
        _ head: ByteRange
    ) {
        let status = turn.responseHead.status
        tables.exchanges[id].summary.status = status
        tables.exchanges[id].summary.firstByte = turn.now - tables.exchanges[id].arrival
        if status >= 400 { noteRefusal(&tables.exchanges[id], turn, head) }
        tables.exchanges[id].enterOften(response: .body)
        tables.exchanges[id].firstByteDeadline = .never
        tables.exchanges[id].attemptDeadline = .never
        if tables.exchanges[id].retry.count > 0, status < 500 {
            turn.counters.count(
                .retriesSucceeded, cluster: tables.exchanges[id].summary.cluster)
        }
        if tables.exchanges[id].replay.capacity > 0 { tables.exchanges[id].replay.release() }
        let downstream = tables.exchanges[id].downstream
        if tables.exchanges[id].requestPhase != .complete, tables.isLast(id) {
            tables.exchanges[id].keepsAlive = false
        }
        if turn.endsConnections || tables.downstream[downstream].hasEnded {
            tables.exchanges[id].keepsAlive = false
        }
        let framing = bodyFraming(turn.responseHead, tables.exchanges[id].method)
        tables.upstream[connection].body = BodyDecoder(framing, isResponse: true)
        tables.upstream[connection].keepsAlive = turn.responseHead.keepsAlive
        tables.exchanges[id].sink = sink(framing, isHTTP10: tables.exchanges[id].isHTTP10)
        if tables.exchanges[id].sink == .untilClose { tables.exchanges[id].keepsAlive = false }
        if tables.exchanges[id].isGRPC { makeRoomForTrailers(&tables.exchanges[id], &turn, head) }
        encode(tables.exchanges[id], &turn, head)
        if turn.logNeeds.contains(.responseLines) {
            AccessLog.noteAnswer(&tables.exchanges[id], &turn)
        }
    }

    /// A call's answer with a length has no place for trailers, in which alone a client can be told
    /// that it broke off: its length goes no further
    /// (docs/decisions/2026-11-25-lengths-yield-to-trailers.md).
    @inline(never)
    private static func makeRoomForTrailers(
        _ exchange: inout Exchange, _ turn: inout Turn, _ head: ByteRange
    ) {
        guard exchange.sink == .length, !exchange.isHTTP10,
            case .length(let bytes) = turn.responseHead.framing, bytes > 0,
            let type = turn.responseHead.fields.first(.contentType),
            GRPC.isContentType(turn.scratch.span(type.value.shifted(by: head.lower)))
        else { return }
        exchange.sink = .chunked
        for i in 0..<turn.responseHead.fields.count
        where turn.responseHead.fields[i].known == .contentLength {
            turn.responseHead.fields.nominate(i)
        }
        turn.responseHead.isLinePlain = false
    }

    @inline(never)
    private static func noteRefusal(
        _ exchange: inout Exchange, _ turn: borrowing Turn, _ head: ByteRange
    ) {
        if turn.responseHead.status >= 500 { exchange.summary.cause = .response }
        if turn.responseHead.status == 401 || turn.responseHead.status == 407,
            exchange.binding == .none, PrivateConnections.isChallenge(turn, head)
        {
            exchange.binding = .binds
        }
    }

    /// Notes the status of a call that an answer's head tells, when the call ends with it.
    static func noteGRPC(
        _ tables: inout Tables, _ turn: borrowing Turn, _ id: ExchangeID, _ head: ByteRange
    ) {
        guard let field = turn.responseHead.fields.first(.grpcStatus) else { return }
        noteGRPC(&tables, id, turn.scratch.span(field.value.shifted(by: head.lower)))
    }

    /// A call's own outcome, in its head or its trailers: an error of the version even though HTTP
    /// says 200 (splitting.md §4).
    private static func noteGRPC(_ tables: inout Tables, _ id: ExchangeID, _ value: Span<UInt8>) {
        guard let status = GRPC.status(value) else { return }
        tables.exchanges[id].summary.grpcStatus = status
        if status == 0 { return }
        // A deadline counts the same whoever noticed it first: client, origin or Sluice.
        tables.exchanges[id].summary.cause =
            status == GRPC.deadlineExceeded ? .timeout : .response
    }

    /// Looks for the outcome in a trailer section.
    private static func noteTrailers(
        _ tables: inout Tables, _ turn: borrowing Turn, _ id: ExchangeID, _ section: ByteRange
    ) {
        guard tables.exchanges[id].isGRPC else { return }
        let lines = turn.scratch.span(ByteRange(start: 0, count: section.upper))
        var at = section.lower
        while at < section.upper,
            case .field(let field, let next)? = try? FieldLineParser.line(lines, at: at)
        {
            if field.known == .grpcStatus {
                noteGRPC(&tables, id, lines.extracting(field.value.range))
            }
            at = next
        }
    }

    /// RFC 9112 §6.3: the request's method and the status decide before the fields do.
    static func bodyFraming(
        _ head: borrowing ResponseHead, _ method: Method
    ) -> BodyFraming {
        if method == .head || Status.hasNoBody(head.status) { return .none }
        return head.framing
    }

    private static func sink(_ framing: BodyFraming, isHTTP10: Bool) -> Exchange.Sink {
        switch framing {
        case .none: return .none
        case .length: return .length
        case .chunked, .untilClose: return isHTTP10 ? .untilClose : .chunked
        }
    }

    @inline(__always)
    private static func encode(
        _ exchange: borrowing Exchange, _ turn: inout Turn, _ head: ByteRange
    ) {
        let snapshot = turn.snapshots[exchange.snapshot]
        turn.headOut.clear()
        turn.headOut.reserve(head.length + 128)
        if passesUnchanged(turn.responseHead) {
            let lines = ByteRange(start: head.lower, count: head.length - 2)
            turn.headOut.append(turn.scratch.span(lines))
        } else {
            rewriteHead(&turn, head)
        }
        let hasDate = turn.responseHead.fields.seen.contains(.date)
        AnswerHead.finish(exchange, &turn, snapshot, hasDate: hasDate, isRelayed: true)
        if exchange.sink == .chunked { turn.headOut.append("transfer-encoding: chunked\r\n") }
        if !exchange.keepsAlive {
            turn.headOut.append("connection: close\r\n")
        } else if exchange.isHTTP10 {
            turn.headOut.append("connection: keep-alive\r\n")
        }
        turn.headOut.append("\r\n")
    }

    /// Fields that end at this hop.
    private static var dropped: KnownFields {
        KnownFields(.connection).with(.transferEncoding).with(.te).with(.trailer).with(.upgrade)
            .with(.keepAlive).with(.proxyConnection).with(.http2Settings)
    }

    /// Whether every line of the head goes on as it came.
    @inline(__always)
    private static func passesUnchanged(_ head: borrowing ResponseHead) -> Bool {
        head.isLinePlain && head.fields.isCanonical && head.fields.seen.isDisjoint(with: dropped)
            && head.status != 204
    }

    /// Writes the lines that go on, each as it came or anew.
    private static func rewriteHead(_ turn: inout Turn, _ head: ByteRange) {
        let status = turn.responseHead.status
        let bytes = turn.scratch.span(head)
        var run = FieldRun()
        if turn.responseHead.isLinePlain {
            run = FieldRun(firstLine: 0, past: turn.responseHead.linesStart)
        } else {
            MessageEncoder.statusLine(
                status,
                reason: turn.scratch.span(turn.responseHead.reason.shifted(by: head.lower)),
                to: &turn.headOut)
        }
        for i in 0..<turn.responseHead.fields.count {
            let field = turn.responseHead.fields[i]
            if field.isNominated || field.known.isHopByHop { continue }
            // 204 and 1xx have no length (RFC 9110 §8.6).
            if field.known == .contentLength, status == 204 { continue }
            _ = run.add(field, bytes, to: &turn.headOut)
        }
        run.end(bytes, to: &turn.headOut)
    }

    // MARK: Body

    /// Passes on what is there. `isHeadPending`: `turn.headOut` goes in front.
    /// - Returns: `false` when the origin broke the framing; the exchange is then over.
    static func relay(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID,
        _ at: inout Int, _ end: Int, isHeadPending: Bool
    ) -> Bool {
        if tables.upstream[connection].body.isPlain, tables.exchanges[id].sink != .chunked {
            plain(&tables, &turn, id, on: connection, &at, end, isHeadPending: isHeadPending)
            return true
        }
        return coded(&tables, &turn, id, on: connection, &at, end, isHeadPending: isHeadPending)
    }

    /// A body that goes on as it came: one send, nothing copied but the head in front of it.
    private static func plain(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID,
        _ at: inout Int, _ end: Int, isHeadPending: Bool
    ) {
        let downstream = ConnectionID(downstream: tables.exchanges[id].downstream)
        let count = tables.upstream[connection].body.takePlain(end - at)
        let isComplete = tables.upstream[connection].body.isComplete
        tables.exchanges[id].summary.bytesSent &+= UInt64(count)
        var from = at
        at += count
        if isHeadPending {
            if count > 0, turn.headOut.count <= from {
                from = turn.scratch.place(turn.headOut.readable, endingAt: from)
            } else {
                let start = turn.output.writerIndex
                turn.output.append(turn.headOut.readable)
                turn.send(downstream, .output, ByteRange(start, end: turn.output.writerIndex))
            }
        }
        turn.send(downstream, .scratch, ByteRange(from, end: at))
        if !isComplete { Timers.progressed(&tables, &turn, id) }
    }

    /// A body that is decoded, encoded anew, or both.
    private static func coded(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID,
        _ at: inout Int, _ end: Int, isHeadPending: Bool
    ) -> Bool {
        let start = turn.output.writerIndex
        var isHeadPending = isHeadPending
        let downstream = ConnectionID(downstream: tables.exchanges[id].downstream)
        // A head that does not fit in front of the body is copied, and the body behind it.
        let fits = turn.headOut.count <= at
        let isCopied = tables.exchanges[id].sink == .chunked
        if isHeadPending, isCopied || at == end || !fits {
            turn.output.append(turn.headOut.readable)
            isHeadPending = false
        }
        var step = BodyStep.incomplete
        repeat {
            do throws(HTTP1Violation) {
                step = try tables.upstream[connection].body.next(
                    turn.scratch.span(ByteRange(start: 0, count: end)), at: &at,
                    limits: turn.limits)
            } catch {
                tables.upstream[connection].failure = Failure(.malformed, Int(error.rawValue))
                if isCopied {
                    // The client gets what came in front of it, and first of all the head.
                    turn.send(
                        downstream, .output, ByteRange(start, end: turn.output.writerIndex))
                }
                return false
            }
            switch step {
            case .content(let range):
                tables.exchanges[id].summary.bytesSent += UInt64(range.length)
                if tables.exchanges[id].kind == .check {
                    keepStart(&tables.exchanges[id], turn.scratch.span(range))
                }
                if isCopied {
                    MessageEncoder.chunkHead(range.length, to: &turn.output)
                    turn.output.append(turn.scratch.span(range))
                    turn.output.append("\r\n")
                } else {
                    var from = range.lower
                    if isHeadPending {
                        from = turn.scratch.place(turn.headOut.readable, endingAt: from)
                        isHeadPending = false
                    }
                    turn.send(downstream, .scratch, ByteRange(from, end: range.upper))
                }
            case .trailers(let section):
                noteTrailers(&tables, turn, id, section)
                if turn.logNeeds.contains(.trailerLines) {
                    AccessLog.noteTrailers(&tables.exchanges[id], &turn, section)
                }
                if isCopied {
                    MessageEncoder.lastChunk(
                        trailers: section, of: turn.scratch.span(ByteRange(start: 0, count: end)),
                        to: &turn.output)
                }
            // The end of a length that went no further.
            case .complete: if isCopied { turn.output.append("0\r\n\r\n") }
            case .incomplete: break
            }
        } while step.isProgress
        if isHeadPending { turn.output.append(turn.headOut.readable) }
        turn.send(downstream, .output, ByteRange(start, end: turn.output.writerIndex))
        if !tables.upstream[connection].body.isComplete {
            Timers.progressed(&tables, &turn, id)
        }
        return true
    }

    /// Bytes of the answer to a gRPC health check that are looked at.
    private static let checkBytesMax = 64

    /// Keeps the beginning of the answer to a health check.
    private static func keepStart(_ exchange: inout Exchange, _ content: Span<UInt8>) {
        let room = checkBytesMax - exchange.replay.count
        exchange.replay.append(content.extracting(0..<min(room, content.count)))
    }

    /// The origin closed, and that was the body's end: show it to the client.
    static func closeDelimitedEnd(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID
    ) {
        guard tables.exchanges[id].sink == .chunked else { return }
        let start = turn.output.writerIndex
        turn.output.append("0\r\n\r\n")
        turn.send(
            ConnectionID(downstream: tables.exchanges[id].downstream), .output,
            ByteRange(start, end: turn.output.writerIndex))
    }

    // MARK: Interim responses

    /// Appends the status line and the fields that pass this hop, of a response without a body.
    static func appendHead(
        _ response: borrowing ResponseHead, _ scratch: borrowing ByteBuffer, _ head: ByteRange,
        to out: inout ByteBuffer
    ) {
        MessageEncoder.statusLine(
            response.status, reason: scratch.span(response.reason.shifted(by: head.lower)),
            to: &out)
        for i in 0..<response.fields.count {
            let field = response.fields[i]
            if field.isNominated || field.known.isHopByHop || field.known == .contentLength {
                continue
            }
            MessageEncoder.field(
                scratch.span(field.name.shifted(by: head.lower)),
                scratch.span(field.value.shifted(by: head.lower)), to: &out)
        }
    }

    /// Passes on a 1xx response (RFC 9110 §15.2), but never to HTTP/1.0.
    /// - Returns: `false` when there were too many.
    static func interim(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ head: ByteRange
    ) -> Bool {
        tables.exchanges[id].interimBytes += UInt32(head.length + interimCost)
        guard tables.exchanges[id].interimBytes <= interimBytesMax else { return false }
        Timers.lived(&tables, &turn, id)
        if turn.responseHead.status == 100 { tables.exchanges[id].awaitsContinue = false }
        if tables.exchanges[id].isHTTP10 { return true }
        let start = turn.output.writerIndex
        appendHead(turn.responseHead, turn.scratch, head, to: &turn.output)
        turn.output.append("\r\n")
        turn.send(
            ConnectionID(downstream: tables.exchanges[id].downstream), .output,
            ByteRange(start, end: turn.output.writerIndex))
        return true
    }
}
