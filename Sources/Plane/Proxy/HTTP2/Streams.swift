import Base
import Configuration
import HTTP1
import HTTP2
import Telemetry

/// Streams as connections: an HTTP/2 connection's events become those of a connection, and effects
/// on such a connection become calls of its HTTP/2 connection.
enum Streams {
    // MARK: Events of an HTTP/2 connection

    static func handle(
        _ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID, _ event: HTTP2Event
    ) {
        let side = tables.links[h2].socket.side
        switch event {
        case .opened(let stream): opened(&tables, &turn, h2, stream: stream)
        case .text(let stream, let range):
            guard let id = connection(tables, h2, stream: stream) else {
                return tables.links[h2].engine.credit(stream, keeping: 0)
            }
            received(&tables, &turn, id, range)
            credit(&tables, &turn, id, on: h2, stream: stream)
        case .ended(let stream):
            guard let id = connection(tables, h2, stream: stream) else { return }
            ended(&tables, &turn, id)
        case .closed(let stream, let code, let isUnprocessed):
            closed(&tables, &turn, h2, stream: stream, code, isUnprocessed: isUnprocessed)
        case .drained(let stream):
            guard let id = connection(tables, h2, stream: stream) else { return }
            drained(&tables, &turn, id)
        case .wrote(let stream, let byteCount):
            guard let id = connection(tables, h2, stream: stream), side == .downstream else {
                return
            }
            DownstreamSide.wrote(&tables, &turn, id.downstream, byteCount: byteCount)
        case .goingAway:
            if side == .upstream { Keepalive.goingAway(&tables, &turn, h2) }
        case .settings:
            if side == .upstream {
                turn.endpointPools[tables.links[h2].endpoint].hasToldOfProtocol = false
                turn.endpointPools[tables.links[h2].endpoint].lacksWebSockets =
                    !tables.links[h2].engine.allowsWebSockets
                turn.queueIsDue(tables.links[h2].cluster)
            }
        case .droppedTrailers: turn.counters.count(.trailersDropped)
        case .breach(let breach): breached(&tables, &turn, h2, breach)
        case .malformed(let stream, let hasHead):
            guard side == .downstream else {
                if let id = connection(tables, h2, stream: stream) {
                    tables.upstream[id.upstream].verdict = .malformed
                }
                return
            }
            let socket = tables.links[h2].socket
            turn.counters.countRefused(
                listener: tables.downstream[socket.downstream].listener,
                cause: RefusalCause.malformedStream)
            if !hasHead { DownstreamSide.noteMalformedHead(tables, &turn, socket.downstream) }
        }
    }

    private static func connection(
        _ tables: borrowing Tables, _ h2: HTTP2LinkID, stream: StreamSlot
    ) -> ConnectionID? {
        let owner = tables.links[h2].engine.owner(stream)
        guard owner != 0 else { return nil }
        let id = ConnectionID(token: owner)
        switch id.side {
        case .downstream:
            return tables.downstream[id.downstream].phase == .closed ? nil : id
        case .upstream: return tables.upstream[id.upstream].phase == .closed ? nil : id
        }
    }

    /// A client opened a stream: a connection for it.
    private static func opened(
        _ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID, stream: StreamSlot
    ) {
        let socket = tables.links[h2].socket.downstream
        guard let id = tables.downstream.take() else {
            tables.links[h2].engine.release(
                stream, broken: .refusedStream, now: turn.now)
            return
        }
        let listener = tables.downstream[socket].listener
        let peer = tables.downstream[socket].peer
        let tls = tables.downstream[socket].tlsVersion
        let patience = turn.snapshots.newest.value.settings.timeouts.write
        tables.downstream[id].reset()
        tables.downstream[id].patience = patience
        tables.downstream[id].listener = listener
        tables.downstream[id].peer = peer
        tables.downstream[id].tlsVersion = tls
        tables.downstream[id].h2 = h2
        tables.downstream[id].stream = stream
        tables.links[h2].engine.setOwner(stream, ConnectionID(downstream: id).token)
        tables.links[h2].streamsOpened += 1
        // With its first stream the socket is no longer idle. Other deadlines stay: for writing,
        // for streams that the client does not read, for an announced end.
        if tables.links[h2].phase == .idle {
            tables.links[h2].enter(.busy)
            tables.downstream[socket].patience = patience
            tables.downstream[socket].timer.clear()
        }
    }

    private static func received(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ConnectionID, _ range: ByteRange
    ) {
        switch id.side {
        case .downstream: DownstreamSide.receivedText(&tables, &turn, id.downstream, range)
        case .upstream: UpstreamSide.receivedText(&tables, &turn, id.upstream, range)
        }
    }

    /// Bytes that are no longer kept for the connection have left.
    private static func credit(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ConnectionID, on h2: HTTP2LinkID,
        stream: StreamSlot
    ) {
        let kept: Int
        switch id.side {
        case .downstream: kept = tables.downstream[id.downstream].inbound.count
        case .upstream: kept = tables.upstream[id.upstream].inbound.count
        }
        tables.links[h2].engine.credit(
            stream, keeping: kept, mayGrow: !turn.refusesRequests)
        HTTP2LinkLists.markDirty(&tables, &turn, h2)
    }

    private static func ended(_ tables: inout Tables, _ turn: inout Turn, _ id: ConnectionID) {
        switch id.side {
        case .downstream:
            if !tables.downstream[id.downstream].inbound.isEmpty {
                return tables.downstream[id.downstream].endsBehindKept = true
            }
            DownstreamSide.ended(&tables, &turn, id.downstream)
        case .upstream:
            if !tables.upstream[id.upstream].inbound.isEmpty {
                return tables.upstream[id.upstream].endsBehindKept = true
            }
            UpstreamSide.ended(&tables, &turn, id.upstream)
        }
    }

    private static func closed(
        _ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID, stream: StreamSlot,
        _ code: UInt32, isUnprocessed: Bool
    ) {
        if code != 0 {
            turn.counters.countReset(
                code, isDownstream: tables.links[h2].socket.side == .downstream)
        }
        guard let id = connection(tables, h2, stream: stream) else { return }
        if id.side == .upstream {
            // The whole answer was handed over, and is being passed on.
            if tables.links[h2].engine.hasEnded(stream) { return }
            if tables.upstream[id.upstream].verdict == .none {
                tables.upstream[id.upstream].verdict = verdict(
                    tables.links[h2].engine, code, isUnprocessed: isUnprocessed)
            }
            tables.upstream[id.upstream].failure =
                isUnprocessed ? Failure(.streamRefused) : Failure(.streamReset, Int(code))
        }
        broke(&tables, &turn, id)
    }

    private static func verdict(
        _ engine: borrowing HTTP2Connection, _ code: UInt32, isUnprocessed: Bool
    ) -> UpstreamConnection.Verdict {
        if isUnprocessed {
            return engine.streamCount > engine.streamsAllowed ? .beyondLimit : .unprocessed
        }
        return code == HTTP2Code.http11Required.rawValue ? .wantsHTTP1 : .none
    }

    /// The stream is over before its exchange is.
    static func broke(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ConnectionID,
        as departure: Departure = .left
    ) {
        switch id.side {
        case .downstream:
            DownstreamSide.failed(&tables, &turn, id.downstream, as: departure)
        case .upstream:
            UpstreamSide.failed(&tables, &turn, id.upstream)
        }
    }

    private static func drained(_ tables: inout Tables, _ turn: inout Turn, _ id: ConnectionID) {
        switch id.side {
        case .downstream:
            tables.downstream[id.downstream].isStalled = false
            DownstreamSide.drained(&tables, &turn, id.downstream)
        case .upstream:
            tables.upstream[id.upstream].isStalled = false
            UpstreamSide.drained(&tables, &turn, id.upstream)
        }
    }

    private static func breached(
        _ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID, _ breach: HTTP2Breach
    ) {
        let socket = tables.links[h2].socket
        switch socket.side {
        case .downstream:
            turn.counters.countRefused(
                listener: tables.downstream[socket.downstream].listener,
                cause: RefusalCause.http2 + breach.rawValue)
        case .upstream:
            turn.counters.count(
                .protocolErrors, cluster: tables.links[h2].cluster)
        }
        HTTP2LinkLists.unlist(&tables, &turn, h2)
        HTTP2LinkLists.markDirty(&tables, &turn, h2)
    }

    // MARK: Effects on a stream

    /// Performs an effect that concerns a stream.
    /// - Returns: `false` when it concerns a socket, and is the driver's.
    @inline(__always)
    static func perform(
        _ tables: inout Tables, _ turn: inout Turn, _ effect: Effect
    ) -> Bool {
        switch effect {
        case .send(let id, let source, let range):
            guard let (h2, stream) = place(tables, id) else { return false }
            send(&tables, &turn, id, on: h2, stream: stream, source, range)
        case .resume(let id):
            guard place(tables, id) != nil else { return false }
            turn.work.resumable.append(id)
        case .shutdownWrite(let id):
            guard let (h2, stream) = place(tables, id) else { return false }
            guard tables.links.holds(h2) else { return true }
            tables.links[h2].engine.end(stream)
            HTTP2LinkLists.markDirty(&tables, &turn, h2)
        case .checkDrained(let id):
            guard place(tables, id) != nil else { return false }
            // What is handed in goes out without its connection.
            if id.side == .downstream {
                DownstreamSide.drained(&tables, &turn, id.downstream)
            } else {
                UpstreamSide.drained(&tables, &turn, id.upstream)
            }
        case .close(let id, let reset):
            guard let (h2, stream) = place(tables, id) else { return false }
            close(&tables, &turn, id, on: h2, stream: stream, reset: reset)
        case .checkQuiet, .connect, .askForConnection, .tellFreed, .wakeControl, .log: return false
        }
        return true
    }

    /// The HTTP/2 connection and stream of a connection that is one.
    @inline(__always)
    private static func place(
        _ tables: borrowing Tables, _ id: ConnectionID
    ) -> (h2: HTTP2LinkID, stream: StreamSlot)? {
        switch id.side {
        case .downstream:
            guard tables.downstream.holds(id.downstream), tables.downstream[id.downstream].isStream
            else {
                return nil
            }
            return (
                tables.downstream[id.downstream].h2, tables.downstream[id.downstream].stream
            )
        case .upstream:
            guard tables.upstream.holds(id.upstream), tables.upstream[id.upstream].isStream else {
                return nil
            }
            return (tables.upstream[id.upstream].h2, tables.upstream[id.upstream].stream)
        }
    }

    private static func send(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ConnectionID, on h2: HTTP2LinkID,
        stream: StreamSlot, _ source: Effect.Source, _ range: ByteRange
    ) {
        // What is sent to nobody's end of an inner request goes nowhere.
        guard tables.links.holds(h2) else { return }
        let bytes =
            source == .scratch ? turn.scratch.span(range) : turn.output.span(range)
        let isStalled = tables.links[h2].engine.take(stream, bytes, &turn.workspace)
        HTTP2LinkLists.markDirty(&tables, &turn, h2)
        guard isStalled else { return }
        switch id.side {
        case .downstream:
            guard !tables.downstream[id.downstream].isStalled else { return }
            tables.downstream[id.downstream].isStalled = true
            DownstreamSide.blocked(&tables, &turn, id.downstream)
        case .upstream:
            guard !tables.upstream[id.upstream].isStalled else { return }
            tables.upstream[id.upstream].isStalled = true
            UpstreamSide.blocked(&tables, &turn, id.upstream)
        }
    }

    /// The connection is over: its stream ends behind what was handed in, or is reset.
    private static func close(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ConnectionID, on h2: HTTP2LinkID,
        stream: StreamSlot, reset: Bool
    ) {
        let code: HTTP2Code?
        var patience = Duration.unlimited
        switch id.side {
        case .downstream:
            code = reset ? .internalError : nil
            patience = tables.downstream[id.downstream].patience
            if tables.downstream[id.downstream].isInner { turn.innerCount -= 1 }
            tables.downstream[id.downstream].reset()
            tables.downstream.free(id.downstream)
        case .upstream:
            code = reset ? .cancel : nil
            if tables.upstream[id.upstream].outlivesLink { turn.orphanCount -= 1 }
            tables.upstream[id.upstream].reset()
            tables.upstream.free(id.upstream)
        }
        guard tables.links.holds(h2) else { return }
        let remains = tables.links[h2].engine.release(
            stream, broken: code, now: turn.now, patience: patience)
        HTTP2LinkLists.markDirty(&tables, &turn, h2)
        if tables.links[h2].engine.streamCount == 0 {
            HTTP2Links.armIdle(&tables, &turn, h2)
        } else if remains, id.side == .downstream {
            // The others have armed theirs: of all only this one need be looked at.
            HTTP2Links.armStall(&tables, &turn, h2, by: turn.now + patience)
        }
        if id.side == .upstream { StreamPools.streamFreed(&tables, &turn, h2) }
    }

    // MARK: Kept bytes

    /// Shows a stream's kept bytes again, a slice of them.
    static func resume(_ tables: inout Tables, _ turn: inout Turn, _ id: ConnectionID) {
        guard let (h2, stream) = place(tables, id) else { return }
        turn.scratch.clear(headroom: turn.headroom)
        let isPaused: Bool
        switch id.side {
        case .downstream:
            guard tables.downstream[id.downstream].phase != .closed else { return }
            let count = min(tables.downstream[id.downstream].inbound.count, turn.shownBytesMax)
            turn.scratch.append(
                tables.downstream[id.downstream].inbound.readable.extracting(0..<count))
            let taken = DownstreamSide.reread(&tables, &turn, id.downstream, count)
            isPaused = tables.downstream[id.downstream].isReadPaused
            if tables.downstream[id.downstream].inbound.isEmpty {
                tables.downstream[id.downstream].inbound.release()
                if tables.downstream[id.downstream].endsBehindKept {
                    tables.downstream[id.downstream].endsBehindKept = false
                    DownstreamSide.ended(&tables, &turn, id.downstream)
                }
            } else if !isPaused, taken > 0 {
                turn.work.resumable.append(id)
            }
        case .upstream:
            guard tables.upstream[id.upstream].phase != .closed else { return }
            let count = min(tables.upstream[id.upstream].inbound.count, turn.shownBytesMax)
            turn.scratch.append(tables.upstream[id.upstream].inbound.readable.extracting(0..<count))
            let taken = UpstreamSide.reread(&tables, &turn, id.upstream, count)
            isPaused = tables.upstream[id.upstream].isReadPaused
            if tables.upstream[id.upstream].inbound.isEmpty {
                tables.upstream[id.upstream].inbound.release()
                if tables.upstream[id.upstream].endsBehindKept {
                    tables.upstream[id.upstream].endsBehindKept = false
                    UpstreamSide.ended(&tables, &turn, id.upstream)
                }
            } else if !isPaused, taken > 0 {
                turn.work.resumable.append(id)
            }
        }
        // A stream that outlives its HTTP/2 connection, or nobody's, has no window to open.
        if tables.links.holds(h2) { credit(&tables, &turn, id, on: h2, stream: stream) }
    }
}
