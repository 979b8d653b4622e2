import Base
import Configuration
import HTTP1
import HTTP2
import HTTPSemantics
import Telemetry

/// The steps of a client's connection: accept, read, decode, hand over, close.
enum DownstreamSide {
    /// A request body of a known length up to this is read and dropped rather than the connection
    /// closed.
    static let discardBytesMax: UInt64 = 65_536
    /// Bytes of answers composed in one event, above which the next pipelined request waits until
    /// they are handed to the socket: only then does it show whether the client takes them.
    private static let composedBytesMax = 65_536

    // MARK: Events

    static func accept(
        _ tables: inout Tables, _ turn: inout Turn, listener: Int, peer: Address
    ) -> ConnectionID? {
        turn.counters.count(.downstreamConnections)
        guard turn.socketCount < turn.socketsMax, let id = tables.downstream.take() else {
            turn.counters.count(.downstreamConnectionsShed)
            turn.counters.count(.downstreamConnectionsClosed)
            return nil
        }
        turn.socketCount += 1
        tables.downstream[id].reset()
        tables.downstream[id].listener = listener
        tables.downstream[id].peer = peer
        turn.connectionCount += 1
        // Workers count for themselves, 64 of them at most.
        tables.downstream[id].number = turn.connectionCount << 6 | UInt64(turn.worker)
        // A client that connects and says nothing has as long as one that begins a head.
        let times = turn.snapshots.newest.value.settings.timeouts
        tables.downstream[id].expires = turn.now + times.connectionAge
        tables.downstream[id].patience = times.write
        Timers.arm(downstream: id, turn.now + times.headers, &tables, &turn)
        return ConnectionID(downstream: id)
    }

    /// Bytes came, or kept ones are to be looked at again.
    static func received(
        _ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID, _ count: Int
    ) {
        guard tables.downstream.holds(id) else { return }
        let bytes = turn.gather(&tables.downstream[id].inbound, read: count)
        let end = bytes.upperBound
        if tables.downstream[id].phase == .http2 {
            return HTTP2Links.received(&tables, &turn, tables.downstream[id].h2, bytes)
        }
        let at = process(&tables, &turn, id, from: bytes.lowerBound, to: end)
        if at < end {
            tables.downstream[id].inbound.append(
                turn.scratch.span(ByteRange(at, end: end)))
        }
    }

    /// Text of a stream lies in the scratch.
    static func receivedText(
        _ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID, _ range: ByteRange
    ) {
        var at = range.lower
        if !tables.downstream[id].isReadPaused, tables.downstream[id].inbound.isEmpty {
            at = process(&tables, &turn, id, from: range.lower, to: range.upper)
        }
        if at < range.upper {
            tables.downstream[id].inbound.append(
                turn.scratch.span(ByteRange(at, end: range.upper)))
        }
    }

    /// The first of a stream's kept bytes lie in the scratch once more.
    /// - Returns: how many of them were taken.
    static func reread(
        _ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID, _ count: Int
    ) -> Int {
        let at = process(
            &tables, &turn, id, from: turn.headroom, to: turn.headroom + count)
        // One that was refused keeps nothing any more.
        guard !tables.downstream[id].inbound.isEmpty else { return 0 }
        tables.downstream[id].inbound.consume(at - turn.headroom)
        return at - turn.headroom
    }

    /// The client sent its last byte. With a request under way it has left, unless its listener
    /// allows clients to wait for the answer all the same.
    static func ended(_ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID) {
        guard tables.downstream.holds(id) else { return }
        tables.downstream[id].hasEnded = true
        switch tables.downstream[id].phase {
        case .idle, .head, .lingering:
            if tables.downstream[id].hasUnsent || tables.downstream[id].isSecure {
                // Whoever takes the rest of an answer gets it; the kernel says when nobody does.
                return ClientConnections.closeDrained(&tables, &turn, id)
            }
            ClientConnections.close(&tables, &turn, id, reset: false)
        case .closed: break
        case .http2:
            HTTP2Links.lost(&tables, &turn, tables.downstream[id].h2)
            ClientConnections.close(&tables, &turn, id, reset: false)
        case .tunnel:
            let isDone = Tunnels.ended(&tables, &turn, from: ConnectionID(downstream: id))
            if isDone { Exchanges.closeTunnel(&tables, &turn, tables.downstream[id].exchange) }
        case .exchange:
            if isGone(tables, turn, id) { return left(&tables, &turn, id) }
            let exchange = tables.downstream[id].exchange
            switch tables.exchanges[exchange].requestPhase {
            case .complete: tables.exchanges[exchange].keepsAlive = false
            case .head:
                // A whole request may wait for its connection; a part of one is worth nothing.
                if tables.downstream[id].body.isComplete {
                    tables.exchanges[exchange].keepsAlive = false
                } else {
                    failed(&tables, &turn, id)
                }
            case .body, .discarding: failed(&tables, &turn, id)
            }
        }
    }

    /// The connection broke, or must end now. Whatever was under way is over.
    static func failed(
        _ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID,
        as departure: Departure = .left
    ) {
        guard tables.downstream.holds(id), tables.downstream[id].phase != .closed else { return }
        let h2 = tables.downstream[id].h2
        if tables.downstream[id].phase == .http2 {
            HTTP2Links.lost(&tables, &turn, h2, as: departure)
        }
        let exchange = tables.downstream[id].exchange
        if !exchange.isNone {
            Exchanges.abandon(&tables, &turn, exchange, as: departure)
        }
        ClientConnections.close(&tables, &turn, id, reset: true)
    }

    /// The socket did not take everything: its source must wait, and progress has a deadline.
    static func blocked(_ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID) {
        if !tables.downstream[id].isBlocked {
            tables.downstream[id].isBlocked = true
            let deadline = turn.now + tables.downstream[id].patience
            Timers.arm(downstream: id, deadline, &tables, &turn)
        }
        let exchange = tables.downstream[id].exchange
        if let upstream = Attempts.connection(tables, of: exchange) {
            tables.upstream[upstream].isReadPaused = true
        }
    }

    /// Some of what waits went out: it buys time, but never more than `timeouts.write`.
    static func wrote(
        _ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID, byteCount: Int
    ) {
        let deadline = Timers.bought(
            byteCount, before: tables.downstream[id].timer.deadline,
            most: tables.downstream[id].patience, turn)
        Timers.arm(downstream: id, deadline, &tables, &turn)
        let exchange = tables.downstream[id].exchange
        if !exchange.isNone { Timers.progressed(&tables, &turn, exchange) }
    }

    /// Everything that waited went out.
    static func drained(_ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID) {
        guard tables.downstream.holds(id) else { return }
        tables.downstream[id].outbound.release()
        tables.downstream[id].timer.clear()
        tables.downstream[id].isBlocked = false
        if tables.downstream[id].phase == .http2 {
            return HTTP2Links.drained(&tables, &turn, tables.downstream[id].h2)
        }
        switch tables.downstream[id].afterFlush {
        case .nothing: break
        case .shutDown:
            tables.downstream[id].afterFlush = .nothing
            turn.effects.append(.shutdownWrite(ConnectionID(downstream: id)))
            let exchange = tables.downstream[id].exchange
            if Tunnels.isDone(tables, exchange) { Exchanges.closeTunnel(&tables, &turn, exchange) }
            return
        case .close:
            tables.downstream[id].afterFlush = .nothing
            return ClientConnections.linger(&tables, &turn, id)
        }
        if tables.downstream[id].phase == .idle { ClientConnections.armIdle(&tables, &turn, id) }
        ClientConnections.resume(&tables, &turn, id)
        let exchange = tables.downstream[id].exchange
        if let upstream = Attempts.connection(tables, of: exchange) {
            EndpointConnections.resume(&tables, &turn, upstream)
        }
    }

    // MARK: Reading

    /// Understands as much as can be used now.
    /// - Returns: the first byte that must be kept; the end when the connection is gone.
    @inline(__always)
    private static func process(
        _ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID, from start: Int, to end: Int
    ) -> Int {
        var at = start
        while true {
            switch tables.downstream[id].phase {
            case .idle, .head:
                if at < end, tables.downstream[id].hasUnsent {
                    // Nothing new is begun for a client that does not take what it asked for.
                    tables.downstream[id].isReadPaused = true
                    return at
                }
                if at < end, turn.output.count >= composedBytesMax {
                    // Seen again behind the sends of this event, which may block the connection.
                    turn.effects.append(.resume(ConnectionID(downstream: id)))
                    return at
                }
                if !tables.downstream[id].hasServed, at < end,
                    let isWhole = preface(tables, turn, id, ByteRange(at, end: end))
                {
                    guard isWhole else { return at }
                    guard HTTP2Links.begin(&tables, &turn, downstream: id) else { return end }
                    continue
                }
                guard at < end, readHead(&tables, &turn, id, &at, end) else { return at }
            case .exchange:
                let exchange = tables.downstream[id].exchange
                // The whole request is on its way, and nothing came behind it.
                if at == end, tables.exchanges[exchange].requestPhase == .complete { return at }
                let copy = tables.exchanges[exchange].mirror
                let progress =
                    copy.isNone
                    ? Exchanges.requestBytes(&tables, &turn, exchange, &at, end)
                    : requestBytes(&tables, &turn, exchange, &at, end, andTo: copy)
                switch progress {
                case .ended: break
                case .gone: return end
                case .hungry: return at
                case .blocked:
                    if at < end { tables.downstream[id].isReadPaused = true }
                    return at
                }
            case .tunnel:
                if at < end {
                    Tunnels.relay(
                        &tables, &turn, from: ConnectionID(downstream: id),
                        ByteRange(at, end: end))
                }
                return end
            case .lingering, .closed: return end
            case .http2:
                HTTP2Links.received(
                    &tables, &turn, tables.downstream[id].h2, at..<end)
                return end
            }
        }
    }

    /// Hands bytes of a request's body to its endpoint, and those that went on to its copy.
    @inline(never)
    private static func requestBytes(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ at: inout Int, _ end: Int,
        andTo copy: ExchangeID
    ) -> Exchanges.RequestProgress {
        let from = at
        let isWanted = tables.exchanges[id].requestPhase != .discarding
        let progress = Exchanges.requestBytes(&tables, &turn, id, &at, end)
        switch progress {
        // Its copy has ended with it.
        case .ended, .gone: return progress
        case .blocked, .hungry: break
        }
        // After the last byte the copy goes its own way.
        if tables.exchanges[id].requestPhase == .complete { tables.exchanges[id].mirror = .none }
        guard isWanted, at > from, tables.exchanges.holds(copy) else { return progress }
        let nobody = tables.exchanges[copy].downstream
        if Mirrors.takes(tables, turn, copy, at - from) {
            receivedText(&tables, &turn, nobody, ByteRange(from, end: at))
        } else {
            turn.counters.count(
                .mirrorsDropped, cluster: tables.exchanges[copy].summary.cluster)
            failed(&tables, &turn, nobody)
        }
        return progress
    }

    /// Whether the first bytes of a connection are, or may become, HTTP/2's preface (RFC 9113
    /// §3.4). `nil`: they are not.
    private static func preface(
        _ tables: borrowing Tables, _ turn: borrowing Turn, _ id: DownstreamID, _ range: ByteRange
    ) -> Bool? {
        guard !tables.downstream[id].isStream else { return nil }
        // Whatever comes, the HTTP/2 connection says whether it is HTTP/2.
        if turn.snapshots.newest.value.speaksHTTP2Only(tables.downstream[id].listener) {
            return true
        }
        guard turn.scratch.span(range)[0] == HTTP2Preface.first,
            !turn.snapshots.newest.value.speaksHTTP1Only(tables.downstream[id].listener)
        else { return nil }
        return HTTP2Preface.match(turn.scratch.span(range))
    }

    /// - Returns: `true` when a whole head was read and an exchange began.
    @inline(__always)
    private static func readHead(
        _ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID, _ at: inout Int, _ end: Int
    ) -> Bool {
        let progress: HeadProgress
        do throws(HTTP1Violation) {
            progress = try tables.downstream[id].parser.parse(
                turn.scratch.span(ByteRange(at, end: end)), into: &turn.requestHead,
                limits: tables.downstream[id].isStream ? turn.streamLimits : turn.limits)
        } catch {
            refuse(&tables, &turn, id, error, ByteRange(at, end: end))
            at = end
            return false
        }
        switch progress {
        case .incomplete:
            if tables.downstream[id].phase == .idle {
                tables.downstream[id].enter(.head)
                let headers = turn.snapshots.newest.value.settings.timeouts.headers
                Timers.arm(downstream: id, turn.now + headers, &tables, &turn)
            }
            return false
        case .complete(let headBytes):
            let head = ByteRange(start: at, count: headBytes)
            at += headBytes
            tables.downstream[id].enterOften(.exchange)
            tables.downstream[id].hasServed = true
            tables.downstream[id].timer.clear()
            Exchanges.begin(&tables, &turn, downstream: id, head: head)
            return true
        }
    }

    // MARK: Room for others

    /// The listener is gone, or everything ends: the request under way is the connection's last, or
    /// the next one if that is on its way.
    static func leave(_ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID) {
        tables.downstream[id].term = .leaving
        tables.downstream[id].expires = turn.now
        if tables.downstream[id].phase == .http2 {
            return HTTP2Links.announceEnd(&tables, &turn, tables.downstream[id].h2)
        }
        let exchange = tables.downstream[id].exchange
        if !exchange.isNone {
            // A response that began otherwise does not say so; the client may go on behind it.
            if tables.exchanges[exchange].responsePhase == .waiting {
                tables.exchanges[exchange].keepsAlive = false
            }
        } else if tables.downstream[id].phase == .idle, tables.downstream[id].inbound.isEmpty,
            !tables.downstream[id].isSecuring, !tables.downstream[id].hasUnsent
        {
            ClientConnections.callLast(&tables, &turn, id)
        }
    }

    /// Connections that are looked at when room is short, and closed at most.
    private static let evictionSteps: UInt32 = 64
    private static let evictionsMax = 8
    /// A connection that is idle for less may have a request on its way.
    private static let evictableAfter = Duration.seconds(1)

    /// Closes some connections that have served and have been idle since.
    static func evictIdle(_ tables: inout Tables, _ turn: inout Turn) {
        let end = tables.downstream.indexEnd
        guard end > 0 else { return }
        let keepAlive = turn.snapshots.newest.value.settings.timeouts.keepAlive
        var closed = 0
        for _ in 0..<min(end, evictionSteps) where closed < evictionsMax {
            turn.evictionHand = turn.evictionHand + 1 < end ? turn.evictionHand + 1 : 0
            guard let id = tables.downstream.tenant(at: turn.evictionHand),
                tables.downstream[id].phase == .idle, tables.downstream[id].hasServed,
                !tables.downstream[id].isStream, !tables.downstream[id].hasUnsent,
                tables.downstream[id].inbound.isEmpty,
                // Armed when it became idle.
                turn.now + keepAlive >= tables.downstream[id].timer.deadline + evictableAfter
            else { continue }
            closed += 1
            turn.counters.count(.idleConnectionsEvicted)
            ClientConnections.closeIfQuiet(&tables, &turn, id)
        }
    }

    /// Nothing has come.
    static func quiet(_ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID) {
        guard tables.downstream.holds(id), tables.downstream[id].phase == .idle else { return }
        ClientConnections.close(&tables, &turn, id, reset: false)
    }
}

/// Causes of refusals beyond `HTTP1Violation`'s, in one numbering with them.
public enum RefusalCause {
    public static let headTimeout: UInt8 = 200
    public static let bodyTooLarge: UInt8 = 201
    public static let badPath: UInt8 = 202
    public static let connectRefused: UInt8 = 203
    public static let malformedStream: UInt8 = 204
    public static let badMaxForwards: UInt8 = 205
    /// The first of those that end an HTTP/2 connection, `HTTP2Breach` behind it.
    public static let http2: UInt8 = 210

    /// The label of a cause on the metrics page.
    public static func label(_ cause: UInt8) -> String { "\(text(cause))" }

    /// The name of a cause.
    static func text(_ cause: UInt8) -> StaticString {
        switch cause {
        case headTimeout: return "head-timeout"
        case bodyTooLarge: return "body-too-large"
        case badPath: return "bad-path"
        case connectRefused: return "connect-refused"
        case malformedStream: return "h2-malformed"
        case badMaxForwards: return "bad-max-forwards"
        case http2...(http2 + 20):
            return HTTP2Breach(rawValue: cause - http2)?.label ?? "unknown"
        default: return HTTP1Violation(rawValue: cause)?.cause ?? "unknown"
        }
    }
}
