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
///     route     host and path in normal form, first match wins          (Decisions)
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
        _ tables: inout Tables, _ turn: inout Turn, downstream: DownstreamID, head: ByteRange
    ) {
        // As many exchanges as connections: a slot is always there.
        guard let id = tables.exchanges.take() else {
            preconditionFailure("every connection has room for its exchange")
        }
        tables.downstream[downstream].exchange = id
        tables.downstream[downstream].body = BodyDecoder(turn.requestHead.framing)
        tables.exchanges[id].reset()
        tables.exchanges[id].downstream = downstream
        let snapshot = turn.snapshots.newest
        tables.exchanges[id].snapshot = turn.snapshots.pin()
        tables.exchanges[id].arrival = turn.now
        tables.exchanges[id].method = turn.requestHead.method
        tables.exchanges[id].isHTTP10 = turn.requestHead.isHTTP10
        tables.exchanges[id].content = Exchange.Content(turn.requestHead.framing)
        tables.exchanges[id].keepsAlive = turn.requestHead.keepsAlive && !turn.isDraining
        if turn.now >= tables.downstream[downstream].expires {
            age(&tables, &turn, id, of: downstream)
        }
        tables.exchanges[id].summary.arrival = turn.wall
        tables.exchanges[id].summary.listener = tables.downstream[downstream].listener
        if !turn.requestHead.fields.seen.isDisjoint(with: telling) {
            look(&tables.exchanges[id], turn, head)
        }
        tables.exchanges[id].summary.peer = tables.downstream[downstream].peer
        tables.exchanges[id].summary.client = tables.downstream[downstream].peer
        tables.exchanges[id].summary.protocol =
            tables.downstream[downstream].isStream
            ? .http2 : turn.requestHead.isHTTP10 ? .http10 : .http11
        tables.exchanges[id].isSecure = tables.downstream[downstream].isSecure
        tables.exchanges[id].cameByHTTPS = tables.downstream[downstream].isSecure
        tables.exchanges[id].summary.tlsVersion = tables.downstream[downstream].tlsVersion
        // Where the request comes from, as trusted hops say; `nil` without such hops.
        var origin: RequestOrigin?
        switch Decisions.decide(&tables, &turn, id, snapshot, head: head, origin: &origin) {
        case .forward(let delay):
            forward(&tables, &turn, id, snapshot, head, &origin, after: delay)
        case .direct:
            keep(&tables.exchanges[id], &turn, snapshot, head)
            if let answer = DirectReply.send(&tables, &turn, id, head, origin: origin) {
                return self.answer(&tables, &turn, id, answer)
            }
            responseDone(&tables, &turn, id)
        case .answer(let answer):
            keep(&tables.exchanges[id], &turn, snapshot, head)
            self.answer(&tables, &turn, id, answer)
        case .abort(let abort, let delay):
            keep(&tables.exchanges[id], &turn, snapshot, head)
            if delay > .zero { return hold(&tables, &turn, id, delay, then: .abort(abort)) }
            answer(&tables, &turn, id, abort.answer)
        }
    }

    /// Keeps of a request that is answered here all that counters and log are to know.
    @inline(never)
    private static func keep(
        _ exchange: inout Exchange, _ turn: inout Turn, _ snapshot: SharedBox<Snapshot>,
        _ head: ByteRange
    ) {
        Decisions.ownRow(&exchange, snapshot)
        Forwarding.keepTexts(&exchange, turn, head)
        if turn.logNeeds.contains(.requestLines) {
            AccessLog.noteRequest(&exchange, &turn, head)
        }
    }

    /// The request goes to the version that was chosen for it.
    @inline(__always)
    private static func forward(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange, _ origin: inout RequestOrigin?,
        after delay: Duration
    ) {
        // Large: read where it lies.
        let plan = snapshot.value.routes[tables.exchanges[id].route]
        let cluster = Attempts.cluster(tables, of: id)
        var requestID: (high: UInt64, low: UInt64) = (0, 0)
        let identity = tables.exchanges[id].isSecure ? identity(tables, of: id) : Span()
        Forwarding.encodeRequest(
            &tables.exchanges[id], &turn, service: plan.service, snapshot, head, origin: &origin,
            identity: identity, requestID: &requestID)
        Retries.prepare(
            &tables.exchanges[id], snapshot, plan.retry,
            detectsOutliers: cluster.value.detectsOutliers)
        if plan.isSpecial {
            copy(&tables, &turn, id, snapshot, head, &origin, requestID)
            if delay > .zero { return hold(&tables, &turn, id, delay, then: .attempt) }
        }
        startClocks(&tables, turn, id, firstByte: plan.firstByte, idle: plan.idle)
        // A request that is out already has armed its timer.
        if lease(&tables, &turn, id, isImmediate: true),
            tables.exchanges[id].requestPhase == .head
        {
            Timers.arm(&tables, &turn, id)
        }
    }

    /// Sends a copy of a request that is ready to go, where its route wants one.
    @inline(never)
    private static func copy(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange, _ origin: inout RequestOrigin?,
        _ requestID: (high: UInt64, low: UInt64)
    ) {
        let plan = snapshot.value.routes[tables.exchanges[id].route]
        guard plan.filter >= 0 else { return }
        let mirror = snapshot.value.filters[plan.filter].mirror
        guard mirror >= 0,
            let copy = Mirrors.begin(
                &tables, &turn, id, mirror, plan, snapshot, head, origin: &origin,
                identity: tables.exchanges[id].isSecure ? identity(tables, of: id) : Span(),
                requestID: requestID)
        else { return }
        if lease(&tables, &turn, copy) { Timers.arm(&tables, &turn, copy) }
    }

    /// The times of a request that goes now.
    @inline(__always)
    static func startClocks(
        _ tables: inout Tables, _ turn: borrowing Turn, _ id: ExchangeID, firstByte: Duration,
        idle: Duration
    ) {
        if !tables.exchanges[id].hasRequestBody {
            tables.exchanges[id].firstByteDeadline = turn.now + firstByte
        } else {
            tables.exchanges[id].idleDeadline = turn.now + idle
        }
    }

    /// Fields that some requests have and that tell how to go about them.
    private static var telling: KnownFields {
        credentials.with(.contentType).with(.expect)
    }

    private static var credentials: KnownFields {
        KnownFields(.authorization).with(.proxyAuthorization)
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
        if !seen.isDisjoint(with: credentials),
            PrivateConnections.hasCredentials(turn, head)
        {
            exchange.binding = .binds
        }
    }

    /// The connection is as old as it may become, or its listener is gone: this request is its
    /// last.
    @inline(never)
    private static func age(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, of downstream: DownstreamID
    ) {
        tables.exchanges[id].keepsAlive = false
        if tables.downstream[downstream].term == .open { turn.counters.count(.agedConnections) }
    }

    /// The certificate that the client of a connection, or of its HTTP/2 connection, has shown, as
    /// an element of `x-forwarded-client-cert`; empty without one. Lies in the connection's slot.
    @_lifetime(immortal)
    @inline(never)
    private static func identity(
        _ tables: borrowing Tables, of id: ExchangeID
    ) -> Span<UInt8> {
        var socket = tables.exchanges[id].downstream
        if tables.downstream[socket].isStream {
            socket = tables.links[tables.downstream[socket].h2].socket.downstream
        }
        return tables.downstream[socket].identity.readable
    }

    /// The progress of bytes of a request beyond its head.
    enum RequestProgress {
        /// The exchange has ended and the connection goes on.
        case ended
        /// Exchange and connection have ended.
        case gone
        /// They cannot go on now: keep them and stop reading.
        case blocked
        /// The bytes left over need more bytes to be understood.
        case hungry
    }

    /// Hands bytes of the request beyond its head to whoever takes them now.
    static func requestBytes(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ at: inout Int, _ end: Int
    ) -> RequestProgress {
        switch tables.exchanges[id].requestPhase {
        case .head, .body:
            switch RequestRelay.relay(&tables, &turn, id, &at, end) {
            case .passed:
                return tables.exchanges[id].requestPhase == .complete ? .blocked : .hungry
            case .blocked: return .blocked
            case .violated(let violation):
                return refuseBody(&tables, &turn, id, violation) ? .ended : .gone
            }
        case .discarding:
            let downstream = tables.exchanges[id].downstream
            switch RequestRelay.discard(&tables, turn, id, &at, end) {
            case .more: return .hungry
            case .none:
                finish(&tables, &turn, id)
                ClientConnections.becomeIdle(&tables, &turn, downstream)
                return .ended
            case .broken:
                finish(&tables, &turn, id)
                ClientConnections.close(&tables, &turn, downstream, reset: false)
                return .gone
            }
        // Bytes behind the request belong to the next one.
        case .complete: return .blocked
        }
    }

    /// The client broke the framing in the middle of its body, or sent more than it may: the
    /// exchange is over.
    /// - Returns: whether its connection is still there.
    @inline(never)
    private static func refuseBody(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ violation: HTTP1Violation
    ) -> Bool {
        turn.counters.countRefused(
            listener: tables.exchanges[id].summary.listener, cause: violation.rawValue)
        tables.exchanges[id].keepsAlive = false
        return fail(
            &tables, &turn, id,
            LocalAnswer(
                status: violation.status, flags: .downstreamProtocolError,
                failure: Failure(.rejected, Int(violation.rawValue))))
    }

    // MARK: Ends

    /// Ends an exchange whose client has gone, and cuts off its attempt.
    static func abandon(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID,
        as departure: Departure = .left
    ) {
        if tables.exchanges[id].responsePhase != .complete {
            tables.exchanges[id].summary.note(departure)
            if departure == .left, Timers.isCallOver(tables.exchanges[id], now: turn.now) {
                // Its deadline has passed: counted as if it had waited to be told.
                tables.exchanges[id].summary.flags.insert(.upstreamTimeout)
                tables.exchanges[id].summary.failure = Failure(.requestTimeout)
                tables.exchanges[id].summary.status = 200
                tables.exchanges[id].summary.grpcStatus = Int8(GRPC.deadlineExceeded)
                tables.exchanges[id].summary.cause = .timeout
            }
            tables.exchanges[id].enter(response: .complete)
        }
        // A plain end, as the client's own would be: an endpoint that only reads sees it, and the
        // framing shows when the request is not whole.
        Pools.abandon(&tables, &turn, exchange: id, reset: false)
        finish(&tables, &turn, id)
    }

    /// A deadline of the exchange has passed.
    ///
    /// - Parameter reason: the time limit that it was.
    static func timedOut(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, by reason: Failure.Reason
    ) {
        let flags: ResponseFlags = reason == .idleTimeout ? .streamIdle : .upstreamTimeout
        let downstream = tables.exchanges[id].downstream
        if tables.downstream[downstream].phase == .tunnel,
            flags != .streamIdle || !tables.downstream[downstream].hasUnsent
        {
            // Silence is how most tunnels end that nobody closes: no error of the version.
            tables.exchanges[id].summary.flags.insert(flags)
            tables.exchanges[id].summary.failure = Failure(reason)
            return closeTunnel(&tables, &turn, id)
        }
        let requestPhase = tables.exchanges[id].requestPhase
        if requestPhase == .discarding {
            // The response was complete; only its unwanted request is not.
            finish(&tables, &turn, id)
            return ClientConnections.close(&tables, &turn, downstream, reset: false)
        }
        if flags == .streamIdle, tables.downstream[downstream].hasUnsent {
            // It is the client that does not take its answer: `timeouts.write` says how long.
            return Timers.progressed(&tables, &turn, id)
        }
        if tables.exchanges[id].responsePhase == .waiting, requestPhase == .body,
            flags == .streamIdle
        {
            if let connection = Attempts.connection(tables, of: id),
                tables.upstream[connection].hasUnsent
            {
                // It is the endpoint that does not take it.
                Outliers.failed(tables, &turn, id)
                fail(
                    &tables, &turn, id,
                    LocalAnswer(
                        status: 504, flags: .upstreamTimeout, cause: .timeout,
                        failure: Failure(.endpointStalled)))
                return
            }
            // The client stopped in the middle of its body, or sends it too slowly.
            turn.counters.count(.slowSenders)
            Pools.abandon(&tables, &turn, exchange: id)
            return answer(
                &tables, &turn, id,
                LocalAnswer(status: 408, flags: flags, failure: Failure(.clientSlow)))
        }
        // An attempt that was given up has been told to the detection already.
        if reason == .firstByteTimeout { Outliers.failed(tables, &turn, id) }
        fail(
            &tables, &turn, id,
            LocalAnswer(
                status: 504, flags: flags, cause: .timeout, failure: Failure(reason)))
    }

    /// The attempt is over without a response: answer for the origin, or break off what has begun.
    /// - Returns: whether the client's connection is still there.
    @discardableResult
    static func fail(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ answer: LocalAnswer
    ) -> Bool {
        Pools.abandon(&tables, &turn, exchange: id)
        if tables.exchanges[id].responsePhase == .waiting {
            self.answer(&tables, &turn, id, answer)
            return true
        }
        // A part of the response is out: the client must see that it is not all of it.
        tables.exchanges[id].summary.flags.insert(answer.flags)
        tables.exchanges[id].summary.cause = answer.cause
        tables.exchanges[id].summary.failure = answer.failure
        if LocalReply.endCall(&tables, &turn, id, answer) {
            responseDone(&tables, &turn, id)
            return true
        }
        let downstream = tables.exchanges[id].downstream
        finish(&tables, &turn, id)
        ClientConnections.close(&tables, &turn, downstream, reset: true)
        return false
    }

    /// Answers without an origin.
    static func answer(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ answer: LocalAnswer
    ) {
        tables.exchanges[id].summary.flags.insert(answer.flags)
        tables.exchanges[id].summary.cause = answer.cause
        tables.exchanges[id].summary.failure = answer.failure
        if let refusal = answer.refusal {
            turn.counters.countRefused(
                listener: tables.exchanges[id].summary.listener, cause: refusal)
        }
        if answer.endsConnection { tables.exchanges[id].keepsAlive = false }
        LocalReply.send(&tables, &turn, id, answer)
        responseDone(&tables, &turn, id)
    }

    /// The response is handed over. What is left of the request is read away, or the connection
    /// goes.
    static func responseDone(_ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID) {
        tables.exchanges[id].enterOften(response: .complete)
        let downstream = tables.exchanges[id].downstream
        if tables.downstream[downstream].body.isComplete {
            let keepsAlive = tables.exchanges[id].keepsAlive
            finish(&tables, &turn, id)
            if keepsAlive {
                ClientConnections.becomeIdle(&tables, &turn, downstream)
            } else {
                ClientConnections.finishAndClose(&tables, &turn, downstream)
            }
            return
        }
        let left = tables.downstream[downstream].body.remaining ?? .max
        if tables.exchanges[id].keepsAlive, left <= DownstreamSide.discardBytesMax {
            tables.exchanges[id].enter(request: .discarding)
            Pools.abandon(&tables, &turn, exchange: id)
            Timers.progressed(&tables, &turn, id)
            ClientConnections.resume(&tables, &turn, downstream)
            return
        }
        Pools.abandon(&tables, &turn, exchange: id)
        finish(&tables, &turn, id)
        ClientConnections.finishAndClose(&tables, &turn, downstream)
    }

    /// Counts, logs and frees the exchange. Its attempt is over, its connection has let go of it.
    static func finish(_ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID) {
        let snapshot = turn.snapshots[tables.exchanges[id].snapshot]
        tables.exchanges[id].summary.duration = turn.now - tables.exchanges[id].arrival
        if tables.exchanges[id].kind != .client { return finishInner(&tables, &turn, id) }
        Outcomes.finish(&tables, &turn, id)
        let copy = tables.exchanges[id].mirror
        if !copy.isNone { abandonCopy(&tables, &turn, copy) }
        // What was answered without a version starts and ends in its route's row at once.
        if !tables.exchanges[id].isCounted {
            turn.counters.started(rowSlot: tables.exchanges[id].rowSlot)
        }
        turn.counters.finished(
            tables.exchanges[id].summary, rowSlot: tables.exchanges[id].rowSlot)
        if snapshot.value.settings.countsSizes { turn.counters.sizes(tables.exchanges[id].summary) }
        if snapshot.value.settings.logs { AccessLog.write(&tables, &turn, id, snapshot) }
        if tables.exchanges[id].tunnel == .open { turn.counters.count(.tunnelsClosed) }
        free(&tables, &turn, id)
    }

    /// The client's exchange is over before its body was: its copy will not get the rest either.
    @inline(never)
    private static func abandonCopy(
        _ tables: inout Tables, _ turn: inout Turn, _ copy: ExchangeID
    ) {
        guard tables.exchanges.holds(copy) else { return }
        let nobody = tables.exchanges[copy].downstream
        abandon(&tables, &turn, copy)
        ClientConnections.close(&tables, &turn, nobody, reset: true)
    }

    /// Ends both sides of a tunnel.
    static func closeTunnel(_ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID) {
        let downstream = tables.exchanges[id].downstream
        Pools.abandon(&tables, &turn, exchange: id, reset: false)
        tables.exchanges[id].enter(response: .complete)
        finish(&tables, &turn, id)
        ClientConnections.close(&tables, &turn, downstream, reset: false)
    }

    /// A request that no client sent is over: counted for itself, and not logged.
    private static func finishInner(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID
    ) {
        switch tables.exchanges[id].kind {
        case .client: break
        case .mirror:
            Outcomes.settle(&tables, turn, id)
            turn.counters.mirrored(tables.exchanges[id].summary)
        case .check: HealthChecks.finished(tables, &turn, id)
        }
        free(&tables, &turn, id)
    }

    @inline(__always)
    private static func free(_ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID) {
        tables.downstream[tables.exchanges[id].downstream].exchange = .none
        Attempts.freeRetryPermit(&tables, &turn, id)
        Attempts.freeRequestPermit(&tables, &turn, id)
        turn.snapshots.unpin(tables.exchanges[id].snapshot)
        tables.exchanges[id].timer.clear()
        tables.exchanges.free(id)
    }
}
