import Base
import HTTP1
import HTTP2
import HTTPSemantics
import Telemetry
import Upstream

/// The steps of a connection to an endpoint: connect, read, decode, hand over, release.
enum UpstreamSide {
    // MARK: Events

    static func connected(
        _ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID, isHTTP2: Bool, isSecure: Bool
    ) {
        guard tables.upstream.holds(id) else { return }
        tables.upstream[id].isSecure = isSecure
        EndpointConnections.made(&tables, &turn, id)
        tables.upstream[id].enter(.open)
        let attempt = tables.upstream[id].attempt
        turn.clusterPools[tables.upstream[id].cluster].state?.value.noteReached()
        if tables.upstream[id].purpose == .probe {
            tables.upstream[id].purpose = .requests
            Pools.probeSucceeded(&turn, endpoint: tables.upstream[id].endpoint)
        }
        if case .check(let check) = tables.upstream[id].purpose,
            HealthChecks.connected(&tables, &turn, id, check: check)
        {
            return
        }
        if isHTTP2 || turn.clusterPools[tables.upstream[id].cluster].speaksHTTP2 {
            return startHTTP2(&tables, &turn, id, for: attempt)
        }
        let endpoint = tables.upstream[id].endpoint
        if turn.endpointPools[endpoint].speaksHTTP2, tables.upstream[id].purpose != .oneOverHTTP1 {
            turn.endpointPools[endpoint].speaksHTTP2 = false
        }
        guard !attempt.isNone else {
            // Nobody waits for it any more: the next request will.
            return Pools.release(&tables, &turn, id)
        }
        start(&tables, &turn, attempt, on: id)
    }

    /// The attempt that asked for a connection has it.
    private static func start(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: AttemptID, on id: UpstreamID
    ) {
        let exchange = tables.attempts[attempt].exchange
        let lease = Attempts.assign(&tables, attempt: attempt, connection: id, isReused: false)
        Exchanges.perform(&tables, &turn, exchange, lease)
    }

    /// The connection is one of HTTP/2: the attempt that asked for it gets its first stream, and
    /// others that wait get theirs.
    private static func startHTTP2(
        _ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID, for attempt: AttemptID
    ) {
        let cluster = tables.upstream[id].cluster
        tables.upstream[id].attempt = .none
        if !attempt.isNone { tables.attempts[attempt].connection = .none }
        if tables.upstream[id].isCheck { return startCheck(&tables, &turn, id, for: attempt) }
        turn.endpointPools[tables.upstream[id].endpoint].speaksHTTP2 = true
        guard HTTP2Links.begin(&tables, &turn, upstream: id) != nil else {
            EndpointConnections.close(&tables, &turn, id, reset: true)
            if !attempt.isNone {
                Exchanges.connectFailed(&tables, &turn, attempt: attempt, Failure(.exhausted))
            }
            return
        }
        if !attempt.isNone { serveFirst(&tables, &turn, attempt, cluster) }
        turn.queueIsDue(cluster)
        if tables.links[tables.upstream[id].h2].engine.streamCount == 0 {
            HTTP2Links.armIdle(&tables, &turn, tables.upstream[id].h2)
        }
    }

    /// HTTP/2 connections that an attempt may ask for and get no stream of.
    private static let linksMax: UInt8 = 3

    /// The attempt that asked for the HTTP/2 connection. A WebSocket waits for the endpoint's
    /// settings (RFC 8441 §3).
    private static func serveFirst(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: AttemptID, _ cluster: Int
    ) {
        let exchange = tables.attempts[attempt].exchange
        if !Upgrades.isWanted(tables, exchange),
            let lease = StreamPools.serve(&tables, &turn, attempt, cluster: cluster)
        {
            Exchanges.perform(&tables, &turn, exchange, lease)
            return
        }
        tables.attempts[attempt].enter(.placed)
        tables.attempts[attempt].linkCount += 1
        guard tables.attempts[attempt].linkCount <= linksMax else {
            return Exchanges.connectFailed(
                &tables, &turn, attempt: attempt, Failure(.streamRefused))
        }
        let lease = Pools.wait(&tables, &turn, attempt, Attempts.cluster(tables, of: exchange))
        Exchanges.perform(&tables, &turn, exchange, lease)
    }

    /// An HTTP/2 connection for one health check, which no other request gets a stream of.
    private static func startCheck(
        _ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID, for attempt: AttemptID
    ) {
        guard !attempt.isNone,
            let h2 = HTTP2Links.begin(&tables, &turn, upstream: id, isListed: false),
            let stream = StreamPools.open(&tables, &turn, h2)
        else { return EndpointConnections.close(&tables, &turn, id, reset: true) }
        tables.upstream[stream].purpose = tables.upstream[id].purpose
        start(&tables, &turn, attempt, on: stream)
    }

    static func connectFailed(
        _ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID, _ failure: Failure
    ) {
        guard tables.upstream.holds(id) else { return }
        if case .check(let check) = tables.upstream[id].purpose {
            return checkFailed(&tables, &turn, id, check, failure)
        }
        let attempt = tables.upstream[id].attempt
        turn.counters.count(.connectFailures, cluster: tables.upstream[id].cluster)
        let endpoint = tables.upstream[id].endpoint
        let wasProbe = tables.upstream[id].purpose == .probe
        if failure.isRefusal, !attempt.isNone {
            Pools.takeOut(&tables, &turn, attempt: attempt)
        }
        let onlyHTTP1 = tables.upstream[id].purpose == .oneOverHTTP1 && !failure.isRefusal
        EndpointConnections.close(&tables, &turn, id, reset: false)
        if wasProbe { Pools.probeFailed(&tables, &turn, endpoint: endpoint) }
        guard !attempt.isNone else { return }
        if onlyHTTP1 {
            let answer = Upgrades.refusal(tables, &turn, attempt).answer
            Exchanges.fail(&tables, &turn, tables.attempts[attempt].exchange, answer)
            return
        }
        Exchanges.connectFailed(&tables, &turn, attempt: attempt, failure)
    }

    /// A health check's connection was not made, or not in time.
    private static func checkFailed(
        _ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID, _ check: Int,
        _ failure: Failure
    ) {
        let exchange = HealthChecks.connectFailed(&tables, &turn, id, check: check, failure)
        guard let exchange else { return }
        Exchanges.fail(
            &tables, &turn, exchange,
            LocalAnswer(
                status: 502, flags: .upstreamConnectFailure, cause: .connect, failure: failure))
    }

    /// Descriptors or memory have run out here, which is not the endpoint's fault.
    static func connectImpossible(_ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID) {
        guard tables.upstream.holds(id) else { return }
        if case .check(let check) = tables.upstream[id].purpose {
            return checkFailed(&tables, &turn, id, check, Failure(.exhausted))
        }
        let attempt = tables.upstream[id].attempt
        let endpoint = tables.upstream[id].endpoint
        let wasProbe = tables.upstream[id].purpose == .probe
        EndpointConnections.close(&tables, &turn, id, reset: false)
        if wasProbe { Pools.probeFailed(&tables, &turn, endpoint: endpoint) }
        guard !attempt.isNone else { return }
        Exchanges.fail(
            &tables, &turn, tables.attempts[attempt].exchange,
            LocalAnswer(
                status: 503, flags: .upstreamOverflow, cause: .local,
                failure: Failure(.exhausted)))
    }

    /// The connection's deadline: a connect that takes too long, or an idle one that has served.
    static func expired(_ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID) {
        switch tables.upstream[id].phase {
        case .connecting:
            if case .check(let check) = tables.upstream[id].purpose {
                return checkFailed(&tables, &turn, id, check, Failure(.connectTimeout))
            }
            let attempt = tables.upstream[id].attempt
            turn.counters.count(.connectTimeouts, cluster: tables.upstream[id].cluster)
            let endpoint = tables.upstream[id].endpoint
            let wasProbe = tables.upstream[id].purpose == .probe
            EndpointConnections.close(&tables, &turn, id, reset: false)
            if wasProbe { Pools.probeFailed(&tables, &turn, endpoint: endpoint) }
            guard !attempt.isNone else { return }
            Exchanges.connectFailed(
                &tables, &turn, attempt: attempt, Failure(.connectTimeout))
        case .idle: EndpointConnections.close(&tables, &turn, id, reset: false)
        case .http2: HTTP2Links.expired(&tables, &turn, tables.upstream[id].h2)
        case .open, .busy, .tunnel, .closed: break
        }
    }

    static func received(_ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID, _ count: Int)
    {
        guard tables.upstream.holds(id) else { return }
        let bytes = turn.gather(&tables.upstream[id].inbound, read: count)
        var at = bytes.lowerBound
        let end = bytes.upperBound
        switch tables.upstream[id].phase {
        case .connecting, .open, .closed: return
        case .http2:
            return HTTP2Links.received(&tables, &turn, tables.upstream[id].h2, at..<end)
        case .idle:
            // Nobody asked: whatever it is, it must not become somebody's response.
            if at < end { EndpointConnections.close(&tables, &turn, id, reset: false) }
            return
        case .tunnel:
            if at < end {
                Tunnels.relay(
                    &tables, &turn, from: ConnectionID(upstream: id), ByteRange(at, end: end))
            }
            return
        case .busy:
            process(&tables, &turn, id, &at, end)
            if at < end {
                tables.upstream[id].inbound.append(
                    turn.scratch.span(ByteRange(at, end: end)))
            }
        }
    }

    /// Text of a stream lies in the scratch.
    static func receivedText(
        _ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID, _ range: ByteRange
    ) {
        var at = range.lower
        if !tables.upstream[id].isReadPaused, tables.upstream[id].inbound.isEmpty {
            take(&tables, &turn, id, &at, range.upper)
        }
        if at < range.upper {
            tables.upstream[id].inbound.append(
                turn.scratch.span(ByteRange(at, end: range.upper)))
        }
    }

    /// The first of a stream's kept bytes lie in the scratch once more.
    /// - Returns: how many of them were taken.
    static func reread(
        _ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID, _ count: Int
    ) -> Int {
        var at = turn.headroom
        take(&tables, &turn, id, &at, turn.headroom + count)
        guard tables.upstream[id].phase != .closed else { return 0 }
        tables.upstream[id].inbound.consume(at - turn.headroom)
        return at - turn.headroom
    }

    private static func take(
        _ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID, _ at: inout Int, _ end: Int
    ) {
        if tables.upstream[id].phase == .tunnel {
            if at < end {
                Tunnels.relay(
                    &tables, &turn, from: ConnectionID(upstream: id), ByteRange(at, end: end))
            }
            at = end
        } else if tables.upstream[id].phase == .busy {
            process(&tables, &turn, id, &at, end)
        } else {
            at = end
        }
    }

    static func ended(_ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID) {
        guard tables.upstream.holds(id) else { return }
        tables.upstream[id].hasEnded = true
        switch tables.upstream[id].phase {
        case .open, .closed: break
        case .http2:
            HTTP2Links.lost(&tables, &turn, tables.upstream[id].h2)
            EndpointConnections.close(&tables, &turn, id, reset: false)
        case .connecting: connectFailed(&tables, &turn, id, Failure(.connectBroken))
        case .idle: EndpointConnections.close(&tables, &turn, id, reset: false)
        case .tunnel:
            let isDone = Tunnels.ended(&tables, &turn, from: ConnectionID(upstream: id))
            if isDone, let exchange = EndpointConnections.exchange(tables, id) {
                Exchanges.closeTunnel(&tables, &turn, exchange)
            }
        case .busy:
            guard let exchange = EndpointConnections.exchange(tables, id) else {
                return EndpointConnections.close(&tables, &turn, id, reset: false)
            }
            if tables.exchanges[exchange].responsePhase == .body,
                tables.upstream[id].body.close()
            {
                ResponseRelay.closeDelimitedEnd(&tables, &turn, exchange)
                return responseDone(&tables, &turn, exchange, on: id, isReusable: false)
            }
            broke(&tables, &turn, exchange, on: id, .closed)
        }
    }

    static func failed(_ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID) {
        guard tables.upstream.holds(id) else { return }
        switch tables.upstream[id].phase {
        case .open, .closed: break
        case .http2:
            HTTP2Links.lost(&tables, &turn, tables.upstream[id].h2, wasReset: true)
            EndpointConnections.close(&tables, &turn, id, reset: true)
        case .connecting: connectFailed(&tables, &turn, id, Failure(.connectBroken))
        case .idle: EndpointConnections.close(&tables, &turn, id, reset: false)
        case .tunnel:
            if let exchange = EndpointConnections.exchange(tables, id) {
                Exchanges.closeTunnel(&tables, &turn, exchange)
            }
        case .busy:
            guard let exchange = EndpointConnections.exchange(tables, id) else {
                return EndpointConnections.close(&tables, &turn, id, reset: false)
            }
            if tables.upstream[id].verdict == .malformed {
                return invalid(&tables, &turn, exchange, on: id, Failure(.malformedFrames))
            }
            broke(&tables, &turn, exchange, on: id, .reset)
        }
    }

    /// The socket did not take everything: the client must wait.
    static func blocked(_ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID) {
        guard let exchange = EndpointConnections.exchange(tables, id) else { return }
        tables.downstream[tables.exchanges[exchange].downstream].isReadPaused = true
    }

    static func drained(_ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID) {
        guard tables.upstream.holds(id) else { return }
        tables.upstream[id].outbound.release()
        if tables.upstream[id].phase == .http2 {
            return HTTP2Links.drained(&tables, &turn, tables.upstream[id].h2)
        }
        if tables.upstream[id].shutsDownAfterFlush {
            tables.upstream[id].shutsDownAfterFlush = false
            turn.effects.append(.shutdownWrite(ConnectionID(upstream: id)))
            if let exchange = EndpointConnections.exchange(tables, id),
                Tunnels.isDone(tables, exchange)
            {
                return Exchanges.closeTunnel(&tables, &turn, exchange)
            }
        }
        guard let exchange = EndpointConnections.exchange(tables, id) else { return }
        Timers.progressed(&tables, &turn, exchange)
        ClientConnections.resume(&tables, &turn, tables.exchanges[exchange].downstream)
    }

    // MARK: Reading

    /// Understands as much as can be used now. What lies from `at` on must be kept; when the
    /// connection is gone, that is nothing.
    @inline(__always)
    private static func process(
        _ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID, _ at: inout Int, _ end: Int
    ) {
        guard let exchange = EndpointConnections.exchange(tables, id) else {
            at = end
            return EndpointConnections.close(&tables, &turn, id, reset: false)
        }
        var isHeadPending = false
        while tables.exchanges[exchange].responsePhase == .waiting {
            guard at < end else { return }
            let progress: HeadProgress
            do throws(HTTP1Violation) {
                progress = try tables.upstream[id].parser.parse(
                    turn.scratch.span(ByteRange(at, end: end)), into: &turn.responseHead,
                    limits: tables.upstream[id].isStream ? turn.streamLimits : turn.limits)
            } catch {
                WrongProtocol.look(tables, &turn, id, ByteRange(at, end: end))
                at = end
                return invalid(
                    &tables, &turn, exchange, on: id, Failure(.malformed, Int(error.rawValue)))
            }
            guard case .complete(let headBytes) = progress else { return }
            let head = ByteRange(start: at, count: headBytes)
            at += headBytes
            switch turn.responseHead.status {
            case 101:
                if Tunnels.begin(&tables, &turn, exchange, on: id, head, &at, end) { return }
                at = end
                return invalid(&tables, &turn, exchange, on: id, Failure(.switchedUnasked))
            case 102...199, 100:
                guard ResponseRelay.interim(&tables, &turn, exchange, head) else {
                    at = end
                    return invalid(&tables, &turn, exchange, on: id, Failure(.tooManyInterims))
                }
            default:
                if tables.exchanges[exchange].isConnect, turn.responseHead.status < 300,
                    Tunnels.begin(&tables, &turn, exchange, on: id, head, &at, end)
                {
                    return
                }
                if tables.exchanges[exchange].retry.watch != .none,
                    isRepeated(&tables, &turn, exchange, on: id, head, at, end)
                {
                    at = end
                    return
                }
                ResponseRelay.begin(&tables, &turn, exchange, on: id, head)
                isHeadPending = true
            }
        }
        guard
            ResponseRelay.relay(
                &tables, &turn, exchange, on: id, &at, end, isHeadPending: isHeadPending)
        else {
            at = end
            return invalid(&tables, &turn, exchange, on: id, tables.upstream[id].failure)
        }
        if tables.upstream[id].body.isComplete {
            let isClean = at == end
            at = end
            responseDone(&tables, &turn, exchange, on: id, isReusable: isClean)
        }
    }

    /// Whether the answer whose head was read is dropped, and the request sent once more.
    @inline(never)
    private static func isRepeated(
        _ tables: inout Tables, _ turn: inout Turn, _ exchange: ExchangeID, on id: UpstreamID,
        _ head: ByteRange, _ at: Int, _ end: Int
    ) -> Bool {
        let retry = Retries.watch(&tables, &turn, exchange, on: id, head, at, end)
        return Exchanges.perform(&tables, &turn, exchange, retry)
    }

    /// The origin's bytes are not HTTP, or not this response's.
    private static func invalid(
        _ tables: inout Tables, _ turn: inout Turn, _ exchange: ExchangeID, on id: UpstreamID,
        _ failure: Failure
    ) {
        let retry = Retries.invalid(&tables, &turn, exchange, on: id)
        if Exchanges.perform(&tables, &turn, exchange, retry) { return }
        Exchanges.fail(
            &tables, &turn, exchange,
            LocalAnswer(
                status: 502, flags: .upstreamProtocolError, cause: .invalid, failure: failure))
    }

    /// Both directions as far as the origin is concerned: give the connection back, or close it.
    @inline(__always)
    private static func responseDone(
        _ tables: inout Tables, _ turn: inout Turn, _ exchange: ExchangeID, on id: UpstreamID,
        isReusable: Bool
    ) {
        let keeps =
            isReusable && tables.upstream[id].keepsAlive
            && tables.exchanges[exchange].requestPhase == .complete
            && !tables.upstream[id].hasUnsent && !tables.upstream[id].hasEnded
        Attempts.end(&tables, &turn, exchange: exchange)
        tables.upstream[id].attempt = .none
        if !keeps {
            EndpointConnections.close(&tables, &turn, id, reset: false)
        } else if tables.exchanges[exchange].binding != .none {
            let client = tables.exchanges[exchange].downstream
            PrivateConnections.keep(&tables, &turn, id, for: client)
        } else {
            Pools.release(&tables, &turn, id)
        }
        Exchanges.responseDone(&tables, &turn, exchange)
    }

    /// The connection ended before the response did.
    ///
    /// - Parameter reason: how, where the connection has not been told more (`failure`).
    private static func broke(
        _ tables: inout Tables, _ turn: inout Turn, _ exchange: ExchangeID, on id: UpstreamID,
        _ reason: Failure.Reason
    ) {
        var failure = tables.upstream[id].failure
        if failure.reason == .none { failure = Failure(reason) }
        if failure.reason == .closed || failure.reason == .reset {
            // Of the content, once the head was whole.
            failure.number = UInt32(
                clamping: tables.exchanges[exchange].responsePhase == .waiting
                    ? UInt64(tables.upstream[id].inbound.count)
                    : tables.exchanges[exchange].summary.bytesSent)
        }
        turn.counters.count(.disconnects, cluster: tables.upstream[id].cluster)
        let retry = Retries.lostConnection(&tables, &turn, exchange, on: id)
        if Exchanges.perform(&tables, &turn, exchange, retry) { return }
        // The client's identity went with the connection: with a new one it proves it anew.
        if tables.exchanges[exchange].isBound { tables.exchanges[exchange].keepsAlive = false }
        Exchanges.fail(
            &tables, &turn, exchange,
            LocalAnswer(
                status: 502, flags: .upstreamTermination, cause: .reset, failure: failure))
    }
}
