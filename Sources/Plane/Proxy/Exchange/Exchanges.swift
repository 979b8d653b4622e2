import Base
import Configuration
import HTTP1
import HTTPSemantics
import Routing
import Telemetry
import Upstream

/// The life of one exchange, in order:
///
///     begin     pins the snapshot, takes the time                       (here)
///     route     host and path in normal form, first match wins          (Routes)
///     decide    version: named, sticky, drawn; may answer locally       (Decisions)
///     encode    the head for the origin, into the arena                 (Forwarding)
///     lease     endpoint and connection: reuse, connect, wait, refuse   (Pools)
///     request   head and body to the origin                             (RequestRelay)
///     response  head and body to the client; or another attempt         (ResponseRelay)
///     finish    summary to counters and log, unpin                      (here)
///
/// A new attempt is the only way back, from response to lease, and it is bounded.
enum Exchanges {
    static func begin(
        _ tables: inout Tables, _ turn: inout Turn, downstream: SlotID, head: ByteRange
    ) {
        // As many exchanges as connections: a slot is always there.
        guard let id = tables.exchanges.take() else {
            preconditionFailure("every connection has room for its exchange")
        }
        tables.downstream[downstream].exchange = id
        tables.downstream[downstream].body = BodyDecoder(turn.requestHead.framing)
        tables.exchanges[id].reset()
        tables.exchanges[id].downstream = downstream
        tables.exchanges[id].snapshot = turn.snapshots.pin()
        tables.exchanges[id].arrival = turn.now
        tables.exchanges[id].method = turn.requestHead.method
        tables.exchanges[id].isHTTP10 = turn.requestHead.isHTTP10
        tables.exchanges[id].isChunkedRequest = turn.requestHead.framing == .chunked
        tables.exchanges[id].hasRequestBody = turn.requestHead.framing.hasBody
        tables.exchanges[id].keepsAlive = turn.requestHead.keepsAlive && !turn.isDraining
        if turn.now >= tables.downstream[downstream].expires {
            age(&tables, &turn, id, downstream)
        }
        tables.exchanges[id].summary.arrival = turn.wall
        tables.exchanges[id].summary.listener = tables.downstream[downstream].listener
        if !turn.requestHead.fields.seen.isDisjoint(with: telling) {
            look(&tables.exchanges[id], turn, head)
        }
        tables.exchanges[id].summary.peer = tables.downstream[downstream].peer
        tables.exchanges[id].summary.client = tables.downstream[downstream].peer
        tables.exchanges[id].summary.version =
            tables.downstream[downstream].isStream
            ? .http2 : turn.requestHead.isHTTP10 ? .http10 : .http11
        tables.exchanges[id].isSecure = tables.downstream[downstream].isSecure
        tables.exchanges[id].cameByHTTPS = tables.downstream[downstream].isSecure
        tables.exchanges[id].summary.tlsVersion = tables.downstream[downstream].tlsVersion
        if tables.exchanges[id].isSecure { prepareIdentity(&tables, &turn, downstream) }
        Decisions.decide(&tables, &turn, id, head: head)
    }

    /// Fields that some requests have and that tell how to go about them.
    private static var telling: KnownFields {
        KnownFields(.contentType).with(.expect).with(.authorization)
    }

    private static func look(
        _ exchange: inout Exchange, _ turn: borrowing Turn, _ head: ByteRange
    ) {
        let seen = turn.requestHead.fields.seen
        if seen.contains(.contentType) {
            let type = turn.requestHead.fields.value(.contentType)
            exchange.isGRPC = GRPC.isContentType(
                turn.scratch.span(type.shifted(by: head.lower)))
        }
        exchange.awaitsContinue =
            seen.contains(.expect) && exchange.hasRequestBody && !exchange.isHTTP10
        if seen.contains(.authorization) {
            exchange.bindsConnection = PrivateConnections.hasCredentials(turn, head)
        }
    }

    /// Whether an answer that is about to begin must be its connection's last, because of what is
    /// left of the request: too much to be read away, or a body that the client may never send. One
    /// that waited for 100 (Continue) may send its next request in place of it (RFC 9110 §10.1.1),
    /// and nothing in the bytes would tell which of the two they are.
    static func isLast(_ tables: borrowing Tables, _ id: SlotID) -> Bool {
        let downstream = tables.exchanges[id].downstream
        if tables.downstream[downstream].body.isComplete { return false }
        let left = tables.downstream[downstream].body.remaining ?? .max
        return left > DownstreamSide.discardBytesMax
            || tables.exchanges[id].awaitsContinue
                && tables.exchanges[id].summary.bytesReceived == 0
    }

    /// The connection is as old as it may become, or its listener is gone: this request is its
    /// last.
    @inline(never)
    private static func age(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, _ downstream: SlotID
    ) {
        tables.exchanges[id].keepsAlive = false
        if tables.downstream[downstream].expires > DownstreamConnection.called {
            turn.counters.count(.agedConnections)
        }
    }

    /// The certificate that the client of a connection, or of its session, has shown.
    private static func prepareIdentity(
        _ tables: inout Tables, _ turn: inout Turn, _ downstream: SlotID
    ) {
        var socket = downstream
        if tables.downstream[downstream].isStream {
            guard tables.sessions.holds(tables.downstream[downstream].session) else { return }
            socket = tables.sessions[tables.downstream[downstream].session].socket.slot
        }
        turn.identity.clear()
        turn.identity.append(tables.downstream[socket].identity.readable)
    }

    /// What became of bytes of a request beyond its head.
    enum RequestProgress {
        /// The exchange has ended and the connection goes on, or is gone.
        case ended
        /// They cannot go on now: keep them and stop reading.
        case blocked
        /// What is left over needs more bytes to be understood.
        case hungry
    }

    /// Hands bytes of the request beyond its head to whoever takes them now.
    static func requestBytes(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, _ at: inout Int, _ end: Int
    ) -> RequestProgress {
        let downstream = tables.exchanges[id].downstream
        var isTaken = true
        switch tables.exchanges[id].requestPhase {
        case .head, .body:
            let from = at, copy = tables.exchanges[id].mirror
            isTaken = RequestRelay.relay(&tables, &turn, id, &at, end)
            if !copy.isNone {
                Mirrors.feed(&tables, &turn, copy, of: id, ByteRange(from, end: at))
            }
        case .discarding: RequestRelay.discard(&tables, &turn, id, &at, end)
        // Bytes behind the request belong to the next one.
        case .complete: isTaken = false
        }
        guard tables.downstream.holds(downstream), tables.downstream[downstream].phase == .exchange
        else { return .ended }
        let isComplete =
            tables.exchanges.holds(id) && tables.exchanges[id].requestPhase == .complete
        return isTaken && !isComplete ? .hungry : .blocked
    }

    /// The connection that serves an exchange now, if it has one that is busy with it.
    static func connection(_ tables: borrowing Tables, of id: SlotID) -> SlotID? {
        guard tables.exchanges.holds(id) else { return nil }
        let attempt = tables.exchanges[id].attempt
        guard tables.attempts.holds(attempt), tables.attempts[attempt].phase == .sent else {
            return nil
        }
        return tables.attempts[attempt].connection
    }

    // MARK: Ends

    /// Nobody will get the rest of the answer.
    static func abandon(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID,
        as departure: Departure = .left
    ) {
        if tables.exchanges[id].responsePhase != .complete {
            tables.exchanges[id].summary.note(departure)
            if departure == .left, Deadlines.isCallOver(tables.exchanges[id], now: turn.now) {
                // Its deadline has passed: counted as if it had waited to be told.
                tables.exchanges[id].summary.flags.insert(.durationTimeout)
                tables.exchanges[id].summary.status = 200
                tables.exchanges[id].summary.grpcStatus = Int8(GRPC.deadlineExceeded)
                tables.exchanges[id].summary.cause = .timeout
            }
        }
        tables.exchanges[id].responsePhase = .complete
        // A plain end, as the client's own would be: an endpoint that only reads sees it, and the
        // framing shows when the request is not whole.
        Pools.abandon(&tables, &turn, exchange: id, reset: false)
        finish(&tables, &turn, id)
    }

    /// A deadline of the exchange has passed.
    static func timedOut(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, flags: ResponseFlags
    ) {
        let downstream = tables.exchanges[id].downstream
        if tables.downstream[downstream].phase == .tunnel,
            flags != .streamIdle || !tables.downstream[downstream].hasUnsent
        {
            return Tunnels.close(&tables, &turn, id)
        }
        let requestPhase = tables.exchanges[id].requestPhase
        if requestPhase == .discarding {
            // The response was complete; only its unwanted request is not.
            finish(&tables, &turn, id)
            return DownstreamSide.close(&tables, &turn, downstream, reset: false)
        }
        if flags == .streamIdle, tables.downstream[downstream].hasUnsent {
            // It is the client that does not take its answer: `timeouts.write` says how long.
            return Deadlines.progressed(&tables, &turn, id)
        }
        if tables.exchanges[id].responsePhase == .waiting, requestPhase == .body,
            flags == .streamIdle
        {
            if let connection = connection(tables, of: id), tables.upstream[connection].hasUnsent {
                // It is the endpoint that does not take it.
                Outliers.failed(tables, &turn, id)
                return fail(
                    &tables, &turn, id, status: 504, flags: .upstreamTimeout, cause: .timeout)
            }
            // The client stopped in the middle of its body, or sends it too slowly.
            turn.counters.count(.slowSenders)
            Pools.abandon(&tables, &turn, exchange: id)
            return reply(&tables, &turn, id, status: 408, flags: flags, cause: .none)
        }
        if flags == .upstreamTimeout { Outliers.failed(tables, &turn, id) }
        fail(&tables, &turn, id, status: 504, flags: flags, cause: .timeout)
    }

    /// The attempt is over without a response: answer for the origin, or break off what has begun.
    static func fail(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, status: UInt16,
        flags: ResponseFlags, cause: ErrorCause
    ) {
        Pools.abandon(&tables, &turn, exchange: id)
        if tables.exchanges[id].responsePhase == .waiting {
            return reply(&tables, &turn, id, status: status, flags: flags, cause: cause)
        }
        // A part of the response is out: the client must see that it is not all of it.
        tables.exchanges[id].summary.flags.insert(flags)
        tables.exchanges[id].summary.cause = cause
        if LocalReply.endCall(&tables, &turn, id, status: status) { return }
        let downstream = tables.exchanges[id].downstream
        finish(&tables, &turn, id)
        DownstreamSide.close(&tables, &turn, downstream, reset: true)
    }

    /// Answers without an origin.
    static func reply(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, status: UInt16,
        flags: ResponseFlags, cause: ErrorCause
    ) {
        tables.exchanges[id].summary.flags.insert(flags)
        tables.exchanges[id].summary.cause = cause
        LocalReply.send(&tables, &turn, id, status: status)
    }

    /// The response is handed over. What is left of the request is read away, or the connection
    /// goes.
    static func responseDone(_ tables: inout Tables, _ turn: inout Turn, _ id: SlotID) {
        tables.exchanges[id].responsePhase = .complete
        let downstream = tables.exchanges[id].downstream
        if tables.downstream[downstream].body.isComplete {
            let keepsAlive = tables.exchanges[id].keepsAlive
            finish(&tables, &turn, id)
            if keepsAlive {
                DownstreamSide.becomeIdle(&tables, &turn, downstream)
            } else {
                DownstreamSide.finishAndClose(&tables, &turn, downstream)
            }
            return
        }
        let left = tables.downstream[downstream].body.remaining ?? .max
        if tables.exchanges[id].keepsAlive, left <= DownstreamSide.discardBytesMax {
            tables.exchanges[id].requestPhase = .discarding
            Pools.abandon(&tables, &turn, exchange: id)
            Deadlines.progressed(&tables, &turn, id)
            DownstreamSide.resume(&tables, &turn, downstream)
            return
        }
        Pools.abandon(&tables, &turn, exchange: id)
        finish(&tables, &turn, id)
        DownstreamSide.finishAndClose(&tables, &turn, downstream)
    }

    /// Counts, logs and frees the exchange. Its attempt is over, its connection has let go of it.
    static func finish(_ tables: inout Tables, _ turn: inout Turn, _ id: SlotID) {
        let snapshot = turn.snapshots[tables.exchanges[id].snapshot]
        tables.exchanges[id].summary.duration = turn.now - tables.exchanges[id].arrival
        if tables.exchanges[id].kind != .client { return finishInner(&tables, &turn, id) }
        let copy = tables.exchanges[id].mirror
        if !copy.isNone { Mirrors.originalEnded(&tables, &turn, copy) }
        // What was answered without a version starts and ends in its route's row at once.
        if !tables.exchanges[id].isCounted {
            turn.counters.started(rowSlot: tables.exchanges[id].rowSlot)
        }
        turn.counters.finished(
            tables.exchanges[id].summary, rowSlot: tables.exchanges[id].rowSlot)
        if snapshot.value.settings.accessLogSample > 0 {
            AccessLog.write(tables.exchanges[id], snapshot, &turn)
        }
        if tables.exchanges[id].isTunnel { turn.counters.count(.tunnelsClosed) }
        free(&tables, &turn, id)
    }

    /// A request that no client sent is over: counted for itself, and not logged.
    private static func finishInner(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID
    ) {
        switch tables.exchanges[id].kind {
        case .client: break
        case .mirror:
            turn.counters.mirrored(
                tables.exchanges[id].summary, rowSlot: tables.exchanges[id].rowSlot)
        case .check: HealthChecks.finished(tables, &turn, id)
        }
        free(&tables, &turn, id)
    }

    @inline(__always)
    private static func free(_ tables: inout Tables, _ turn: inout Turn, _ id: SlotID) {
        let downstream = tables.exchanges[id].downstream
        if tables.downstream.holds(downstream) { tables.downstream[downstream].exchange = .none }
        Pools.freeRetryPermit(&tables, &turn, id)
        Pools.freeRequestPermit(&tables, &turn, id)
        turn.snapshots.unpin(tables.exchanges[id].snapshot)
        tables.exchanges[id].timer.clear()
        tables.exchanges.free(id)
    }
}
