import Base
import Configuration
import HTTP1
import HTTPSemantics
import Telemetry

/// The request on its way to the origin: head from the arena, body from the client.
enum RequestRelay {
    /// The exchange has its connection: the request goes out.
    ///
    /// - Parameter isImmediate: the request's bytes are in the scratch right now, and whoever reads
    ///   them sends the head in front of its body.
    @inline(__always)
    static func start(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID,
        isImmediate: Bool
    ) {
        if tables.exchanges[id].isGRPC {
            Forwarding.tellTimeLeft(&tables.exchanges[id], &turn)
        }
        if turn.logNeeds.contains(.connection) {
            AccessLog.noteConnection(&tables, &turn, id, on: connection)
        }
        if !tables.exchanges[id].hasRequestBody {
            sendHead(&tables, &turn, id, on: connection)
            return requestDone(&tables, &turn, id)
        }
        if tables.exchanges[id].retry.resend != .none {
            return replay(&tables, &turn, id, on: connection)
        }
        if isImmediate { return }
        let downstream = tables.exchanges[id].downstream
        if tables.downstream[downstream].isReadPaused {
            // Kept bytes of the body go with the head.
            ClientConnections.resume(&tables, &turn, downstream)
        } else {
            sendHead(&tables, &turn, id, on: connection)
            tables.exchanges[id].enter(request: .body)
        }
    }

    /// The head and what the endpoint before has got of the body, then what follows.
    private static func replay(
        _ tables: inout Tables, _ turn: inout Turn, _ exchange: ExchangeID,
        on connection: UpstreamID
    ) {
        let isWhole = tables.exchanges[exchange].retry.resend == .all
        tables.exchanges[exchange].retry.resend = .none
        sendHead(&tables, &turn, exchange, on: connection)
        let start = turn.output.writerIndex
        turn.output.append(tables.exchanges[exchange].replay.readable)
        turn.send(
            ConnectionID(upstream: connection), .output,
            ByteRange(start, end: turn.output.writerIndex))
        if isWhole { return requestDone(&tables, &turn, exchange) }
        tables.exchanges[exchange].enter(request: .body)
        ClientConnections.resume(&tables, &turn, tables.exchanges[exchange].downstream)
    }

    @inline(__always)
    private static func sendHead(
        _ tables: inout Tables, _ turn: inout Turn, _ exchange: ExchangeID,
        on connection: UpstreamID
    ) {
        let start = turn.output.writerIndex
        turn.output.append(
            tables.exchanges[exchange].arena.span(tables.exchanges[exchange].head))
        turn.send(
            ConnectionID(upstream: connection), .output,
            ByteRange(start, end: turn.output.writerIndex))
    }

    /// The fate of bytes of a request's body.
    enum Passage {
        case passed
        /// They cannot go on now, and stay where they are.
        case blocked
        /// The client broke the framing, or a limit.
        case violated(HTTP1Violation)
    }

    /// Passes on what is there, if the exchange has its connection and that takes bytes.
    static func relay(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ at: inout Int, _ end: Int
    ) -> Passage {
        guard let connection = Attempts.connection(tables, of: id),
            !tables.upstream[connection].hasUnsent
        else { return .blocked }
        if tables.exchanges[id].content == .chunked {
            return chunked(&tables, &turn, id, on: connection, &at, end)
        }
        plain(&tables, &turn, id, on: connection, &at, end)
        return .passed
    }

    /// A body of a known length, or none: one send, head and body together, nothing copied but
    /// the head.
    private static func plain(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID,
        _ at: inout Int, _ end: Int
    ) {
        let downstream = tables.exchanges[id].downstream
        let from = at
        at += tables.downstream[downstream].body.takePlain(end - at)
        let isHeadPending = tables.exchanges[id].requestPhase == .head
        var start = from
        if isHeadPending, tables.exchanges[id].head.length > from {
            // Edits can make a head larger than the room in front of the body.
            let first = turn.output.writerIndex
            turn.output.append(tables.exchanges[id].arena.span(tables.exchanges[id].head))
            turn.send(
                ConnectionID(upstream: connection), .output,
                ByteRange(first, end: turn.output.writerIndex))
            tables.exchanges[id].enter(request: .body)
        } else if isHeadPending {
            let head = tables.exchanges[id].head
            start = turn.scratch.place(
                tables.exchanges[id].arena.span(head), endingAt: from)
            tables.exchanges[id].enter(request: .body)
        }
        tables.exchanges[id].summary.bytesReceived += UInt64(at - from)
        if tables.upstream[connection].isStream || tables.exchanges[id].retry.keepsBody {
            Retries.keep(
                &tables.exchanges[id], turn, turn.scratch.span(ByteRange(from, end: at)))
        }
        turn.send(ConnectionID(upstream: connection), .scratch, ByteRange(start, end: at))
        if tables.downstream[downstream].body.isComplete {
            requestDone(&tables, &turn, id)
        } else if at > from || isHeadPending {
            Timers.sent(&tables, &turn, id, byteCount: at - from)
        }
    }

    /// A chunked body is decoded and encoded anew: chunk sizes are ours, extensions are dropped.
    private static func chunked(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID,
        _ at: inout Int, _ end: Int
    ) -> Passage {
        let downstream = tables.exchanges[id].downstream
        let start = turn.output.writerIndex
        if tables.exchanges[id].requestPhase == .head {
            turn.output.append(
                tables.exchanges[id].arena.span(tables.exchanges[id].head))
            tables.exchanges[id].enter(request: .body)
        }
        let bodyStart = turn.output.writerIndex
        let from = at
        var step = BodyStep.incomplete
        repeat {
            do throws(HTTP1Violation) {
                step = try tables.downstream[downstream].body.next(
                    turn.scratch.span(ByteRange(start: 0, count: end)), at: &at,
                    limits: turn.limits)
            } catch {
                return .violated(error)
            }
            switch step {
            case .content(let range):
                tables.exchanges[id].summary.bytesReceived += UInt64(range.length)
                MessageEncoder.chunkHead(range.length, to: &turn.output)
                turn.output.append(turn.scratch.span(range))
                turn.output.append("\r\n")
            case .trailers(let section):
                MessageEncoder.lastChunk(
                    trailers: section, of: turn.scratch.span(ByteRange(start: 0, count: end)),
                    to: &turn.output)
            case .complete, .incomplete: break
            }
        } while step.isProgress
        let received = tables.exchanges[id].summary.bytesReceived
        let limit = turn.snapshots[tables.exchanges[id].snapshot].value.settings.limits.bodyBytes
        if received > limit { return .violated(.bodyTooLarge) }
        if tables.upstream[connection].isStream || tables.exchanges[id].retry.keepsBody {
            Retries.keep(
                &tables.exchanges[id], turn,
                turn.output.span(ByteRange(bodyStart, end: turn.output.writerIndex)))
        }
        turn.send(
            ConnectionID(upstream: connection), .output,
            ByteRange(start, end: turn.output.writerIndex))
        if tables.downstream[downstream].body.isComplete {
            requestDone(&tables, &turn, id)
        } else if at > from {
            Timers.sent(&tables, &turn, id, byteCount: at - from)
        }
        return .passed
    }

    /// The whole request is on its way: from now on the origin's time counts.
    static func requestDone(_ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID) {
        tables.exchanges[id].enterOften(request: .complete)
        if turn.logNeeds.contains(.requestTime) {
            AccessLog.noteRequestEnd(&tables.exchanges[id], &turn)
        }
        guard tables.exchanges[id].responsePhase == .waiting else { return }
        let snapshot = turn.snapshots[tables.exchanges[id].snapshot]
        let route = tables.exchanges[id].route
        tables.exchanges[id].idleDeadline = .never
        // Over all attempts; `perTry` is for each.
        if tables.exchanges[id].firstByteDeadline.isNever {
            tables.exchanges[id].firstByteDeadline =
                turn.now + snapshot.value.routes[route].firstByte
        }
        tables.exchanges[id].attemptDeadline = turn.now + snapshot.value.routes[route].perTry
        Timers.arm(&tables, &turn, id)
    }

    /// The part of a body that is still to be read away.
    enum Rest { case more, none, broken }

    /// Reads away what is left of a body that nobody wants.
    static func discard(
        _ tables: inout Tables, _ turn: borrowing Turn, _ id: ExchangeID, _ at: inout Int,
        _ end: Int
    ) -> Rest {
        let downstream = tables.exchanges[id].downstream
        var step = BodyStep.incomplete
        repeat {
            do throws(HTTP1Violation) {
                step = try tables.downstream[downstream].body.next(
                    turn.scratch.span(ByteRange(start: 0, count: end)), at: &at,
                    limits: turn.limits)
            } catch {
                return .broken
            }
        } while step.isProgress
        return tables.downstream[downstream].body.isComplete ? .none : .more
    }
}

extension BodyStep {
    /// Whether more may follow in the bytes at hand.
    var isProgress: Bool {
        switch self {
        case .content: return true
        case .trailers, .complete, .incomplete: return false
        }
    }
}
