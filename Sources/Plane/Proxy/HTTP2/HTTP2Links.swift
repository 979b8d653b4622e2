import Base
import Configuration
import HTTP2
import Telemetry
import Upstream

/// An HTTP/2 connection: a socket's bytes on one side, streams on the other.
///
/// An HTTP/2 connection begins as `busy`, and ends in any phase with its socket.
///
///     busy ──no stream is left──────────────────▶ idle
///     busy ──this process drains────────────────▶ ending
///     idle ──a stream is opened─────────────────▶ busy
///     idle ──this process drains────────────────▶ ending
struct HTTP2Link: ~Copyable {
    enum Phase: UInt8, MachinePhase {
        /// Streams are open, or the first is to come.
        case busy
        /// No stream is open: the socket's deadline is that of a connection without work.
        case idle
        /// The end was announced to the client; the next deadline makes it final.
        case ending

        @inline(__always)
        static func allows(_ phase: Phase, _ next: Phase) -> Bool {
            switch (phase, next) {
            case (.busy, .idle), (.busy, .ending): return true
            case (.idle, .busy), (.idle, .ending): return true
            default: return false
            }
        }
    }

    private(set) var machine = Machine(Phase.busy)
    var phase: Phase { machine.phase }
    var engine = HTTP2Connection()
    /// The socket that carries it.
    var socket = ConnectionID(downstream: .none)
    /// Whether the HTTP/2 connection is in the list of those that may have something to write.
    var isDirty = false
    /// The endpoint that an upstream HTTP/2 connection leads to, and the HTTP/2 connection's
    /// neighbours there; -1 downstream.
    var endpoint = -1
    var cluster = -1
    var next = HTTP2LinkID.none
    var previous = HTTP2LinkID.none
    var isListed = false
    var keepalive = Keepalive.State()
    /// Streams that it has carried.
    var streamsOpened = 0

    init() {}

    mutating func reset() {
        engine.close()
        isDirty = false
        endpoint = -1
        cluster = -1
        next = .none
        previous = .none
        isListed = false
        keepalive = Keepalive.State()
        streamsOpened = 0
        machine.restart(at: .busy)
    }

    @inline(__always)
    mutating func enter(_ next: Phase) { machine.enter(next) }
}

/// Work that a worker has under way with HTTP/2 connections. Everything here happens between two
/// events of the driver, when all effects so far are performed (`HTTP2Links.step`).
struct HTTP2Work: ~Copyable {
    /// The HTTP/2 connection whose events are being handled, and how far.
    var handling = HTTP2LinkID.none
    var eventAt = 0
    /// The bytes that were read of the HTTP/2 connection being handled and not fed yet, in
    /// `Turn.raw`.
    var rawAt = 0
    var rawEnd = 0
    /// HTTP/2 connections that may have something to write.
    var dirty = PlainArray<HTTP2LinkID>(capacity: 16)
    /// Streams whose kept bytes are to be looked at again.
    var resumable = PlainArray<ConnectionID>(capacity: 16)
    /// The driver's turn is ending: what waits is written now.
    var isEndOfTurn = false
}

/// The steps of an HTTP/2 connection: begin, read, dispatch, flush, end.
///
/// Each stream is a connection of its own in the tables, and speaks HTTP/1.1 text with the rest of
/// the data plane (docs/decisions/2026-11-25-streams-are-connections.md).
enum HTTP2Links {
    /// Bytes written for one HTTP/2 connection before another has its turn.
    static let flushBytesMax = 262_144
    /// How long after an announced end new streams are still taken (RFC 9113 §6.8).
    static let announcement = Duration.seconds(1)

    // MARK: Begin

    /// A client's socket speaks HTTP/2 from here on.
    /// - Returns: `false` when there was no room, and the connection is closed.
    @discardableResult
    static func begin(
        _ tables: inout Tables, _ turn: inout Turn, downstream id: DownstreamID
    ) -> Bool {
        guard let h2 = open(&tables, &turn, ConnectionID(downstream: id), isSecure: false)
        else {
            ClientConnections.close(&tables, &turn, id, reset: true)
            return false
        }
        tables.downstream[id].h2 = h2
        tables.downstream[id].enter(.http2)
        turn.counters.count(.downstreamSessions)
        armIdle(&tables, &turn, h2)
        if turn.isDraining { announceEnd(&tables, &turn, h2) }
        return true
    }

    /// A connection to an endpoint speaks HTTP/2.
    ///
    /// - Parameter isListed: requests may have streams of it.
    static func begin(
        _ tables: inout Tables, _ turn: inout Turn, upstream id: UpstreamID, isListed: Bool = true
    ) -> HTTP2LinkID? {
        let isSecure = tables.upstream[id].isSecure
        guard let h2 = open(&tables, &turn, ConnectionID(upstream: id), isSecure: isSecure)
        else { return nil }
        tables.upstream[id].h2 = h2
        tables.upstream[id].enter(.http2)
        tables.upstream[id].timer.clear()
        tables.links[h2].endpoint = tables.upstream[id].endpoint
        tables.links[h2].cluster = tables.upstream[id].cluster
        if isListed { HTTP2LinkLists.list(&tables, &turn, h2) }
        turn.counters.count(.upstreamSessions)
        return h2
    }

    private static func open(
        _ tables: inout Tables, _ turn: inout Turn, _ socket: ConnectionID, isSecure: Bool
    ) -> HTTP2LinkID? {
        guard let h2 = tables.links.take() else { return nil }
        turn.prepareForHTTP2()
        tables.links[h2].reset()
        tables.links[h2].socket = socket
        tables.links[h2].engine.open(
            isServer: socket.side == .downstream, isSecure: isSecure,
            limits: turn.snapshots.newest.value.settings.http2, seed: turn.random.next(),
            now: turn.now)
        HTTP2LinkLists.markDirty(&tables, &turn, h2)
        return h2
    }

    // MARK: Read

    /// Bytes of the socket lie in the scratch; the rest follows in steps.
    static func received(
        _ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID, _ range: Range<Int>
    ) {
        tables.links[h2].keepalive.hasHeard = true
        if !tables.links[h2].engine.hasSettings { WrongProtocol.look(tables, &turn, h2, range) }
        swap(&turn.scratch, &turn.raw)
        turn.work.handling = h2
        turn.work.eventAt = 0
        turn.work.rawAt = range.lowerBound
        turn.work.rawEnd = range.upperBound
        // Events that a flush left behind come first.
        if tables.links[h2].engine.eventCount == 0 { feed(&tables, &turn) }
    }

    private static func feed(_ tables: inout Tables, _ turn: inout Turn) {
        let h2 = turn.work.handling
        turn.scratch.clear(headroom: turn.headroom)
        let taken = tables.links[h2].engine.receive(
            turn.raw.span(ByteRange(turn.work.rawAt, end: turn.work.rawEnd)),
            text: &turn.scratch, now: turn.now)
        turn.work.rawAt = taken == 0 ? turn.work.rawEnd : turn.work.rawAt + taken
        HTTP2LinkLists.markDirty(&tables, &turn, h2)
    }

    // MARK: Steps

    /// Takes one step: an event, a slice of input, a stream to resume, a flush.
    /// - Returns: `false` when nothing is left to do.
    static func step(_ tables: inout Tables, _ turn: inout Turn) -> Bool {
        if !turn.work.handling.isNone {
            handleNext(&tables, &turn)
            return true
        }
        if let id = turn.work.resumable.popLast() {
            Streams.resume(&tables, &turn, id)
            return true
        }
        guard turn.work.isEndOfTurn else { return false }
        while let h2 = turn.work.dirty.popLast() {
            guard tables.links.holds(h2) else { continue }
            tables.links[h2].isDirty = false
            flush(&tables, &turn, h2)
            return true
        }
        turn.work.isEndOfTurn = false
        return false
    }

    private static func handleNext(_ tables: inout Tables, _ turn: inout Turn) {
        let h2 = turn.work.handling
        guard tables.links.holds(h2) else {
            turn.work.handling = .none
            return
        }
        if turn.work.eventAt < tables.links[h2].engine.eventCount {
            let event = tables.links[h2].engine.event(turn.work.eventAt)
            turn.work.eventAt += 1
            return Streams.handle(&tables, &turn, h2, event)
        }
        tables.links[h2].engine.forgetEvents()
        turn.work.eventAt = 0
        if turn.work.rawAt < turn.work.rawEnd { return feed(&tables, &turn) }
        turn.work.handling = .none
    }

    // MARK: Flush

    private static func flush(_ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID) {
        let socket = tables.links[h2].socket
        // What the socket did not take goes first; `drained` comes back here.
        guard isWritable(tables, socket) else { return }
        let start = turn.output.writerIndex
        let hasMore = tables.links[h2].engine.send(
            into: &turn.output, atMost: flushBytesMax, now: turn.now, &turn.workspace)
        turn.send(socket, .output, ByteRange(start, end: turn.output.writerIndex))
        if hasMore { HTTP2LinkLists.markDirty(&tables, &turn, h2) }
        if tables.links[h2].engine.eventCount > 0 {
            turn.work.handling = h2
            turn.work.eventAt = 0
            turn.work.rawAt = 0
            turn.work.rawEnd = 0
        }
        if tables.links[h2].engine.isFinished { finish(&tables, &turn, h2) }
    }

    private static func isWritable(_ tables: borrowing Tables, _ socket: ConnectionID) -> Bool {
        switch socket.side {
        case .downstream:
            return tables.downstream[socket.downstream].outbound.isEmpty
        case .upstream: return tables.upstream[socket.upstream].outbound.isEmpty
        }
    }

    /// Everything that waited on the socket went out.
    static func drained(_ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID) {
        HTTP2LinkLists.markDirty(&tables, &turn, h2)
        if tables.links[h2].engine.streamCount == 0 {
            armIdle(&tables, &turn, h2)
        } else {
            armStall(&tables, &turn, h2)
        }
    }

    // MARK: Idle and ends

    /// No stream is open: the socket waits for the next as one of HTTP/1.1 waits for a request.
    static func armIdle(_ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID) {
        let socket = tables.links[h2].socket
        if tables.links[h2].phase == .busy { tables.links[h2].enter(.idle) }
        switch socket.side {
        case .downstream:
            let wait = turn.snapshots.newest.value.settings.timeouts.keepAlive
            let deadline = tables.links[h2].phase == .ending ? announcement : wait
            Timers.arm(downstream: socket.downstream, turn.now + deadline, &tables, &turn)
        case .upstream:
            let limits = turn.clusterPools[tables.links[h2].cluster].limits
            let deadline = min(
                turn.now + limits.idleTimeout, tables.upstream[socket.upstream].expires)
            Timers.arm(upstream: socket.upstream, deadline, &tables, &turn)
        }
    }

    /// A stream's answer is whole, and waits for a window that the client may never open.
    private static func armStall(
        _ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID
    ) {
        guard tables.links[h2].socket.side == .downstream else { return }
        let next = tables.links[h2].engine.nextStall
        armStall(&tables, &turn, h2, by: next)
    }

    /// Has the socket looked at again by `next`, for a stream that a client's window holds up.
    static func armStall(
        _ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID, by next: Instant
    ) {
        let socket = tables.links[h2].socket
        guard next < tables.downstream[socket.downstream].timer.deadline else { return }
        Timers.arm(downstream: socket.downstream, next, &tables, &turn)
    }

    /// The deadline of an HTTP/2 connection's socket has passed.
    static func expired(_ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID) {
        let socket = tables.links[h2].socket
        if socket.side == .upstream, tables.links[h2].engine.streamCount > 0 {
            if !Keepalive.expired(&tables, &turn, h2) {
                UpstreamSide.failed(&tables, &turn, socket.upstream)
            }
            return
        }
        tables.links[h2].engine.resetStalled(now: turn.now)
        HTTP2LinkLists.markDirty(&tables, &turn, h2)
        armStall(&tables, &turn, h2)
        if tables.links[h2].phase == .ending
            || tables.links[h2].engine.streamCount == 0
        {
            tables.links[h2].engine.shutDown()
            HTTP2LinkLists.unlist(&tables, &turn, h2)
            HTTP2LinkLists.markDirty(&tables, &turn, h2)
        }
    }

    /// The process drains, or the listener has left: GOAWAY now, with room for requests that are on
    /// their way, and a final one behind it (RFC 9113 §6.8).
    static func announceEnd(_ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID) {
        guard tables.links[h2].phase != .ending else { return }
        tables.links[h2].enter(.ending)
        tables.links[h2].engine.announceShutdown()
        HTTP2LinkLists.markDirty(&tables, &turn, h2)
        Timers.arm(
            downstream: tables.links[h2].socket.downstream, turn.now + announcement,
            &tables,
            &turn)
    }

    /// Nothing will be read or written any more: the socket closes behind what it still has to
    /// write.
    private static func finish(_ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID) {
        let socket = tables.links[h2].socket
        // With streams left it ends because of what its peer did.
        endStreams(&tables, &turn, h2, as: .violated)
        free(&tables, &turn, h2)
        switch socket.side {
        case .downstream:
            tables.downstream[socket.downstream].h2 = .none
            ClientConnections.finishAndClose(&tables, &turn, socket.downstream)
        case .upstream:
            tables.upstream[socket.upstream].h2 = .none
            EndpointConnections.close(&tables, &turn, socket.upstream, reset: false)
        }
    }

    /// The socket is gone: so is every stream.
    ///
    /// - Parameter wasReset: the peer did not end it properly.
    static func lost(
        _ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID,
        as departure: Departure = .left, wasReset: Bool = false
    ) {
        endStreams(&tables, &turn, h2, as: departure, wasReset: wasReset)
        free(&tables, &turn, h2)
    }

    private static func endStreams(
        _ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID, as departure: Departure,
        wasReset: Bool = false
    ) {
        HTTP2LinkLists.unlist(&tables, &turn, h2)
        for index in 0..<tables.links[h2].engine.streamIndexEnd {
            let owner = tables.links[h2].engine.owner(at: index)
            if owner == 0 { continue }
            let id = ConnectionID(token: owner)
            if isAnswered(tables, id, of: h2) {
                tables.upstream[id.upstream].outlivesLink = true
                turn.orphanCount += 1
                continue
            }
            // What an endpoint sends that is no HTTP/2 is no answer, even if it then closes.
            if id.side == .upstream, tables.links[h2].engine.isBroken {
                tables.upstream[id.upstream].verdict = .malformed
            }
            if id.side == .upstream, tables.upstream[id.upstream].failure.reason == .none {
                tables.upstream[id.upstream].failure = Failure(wasReset ? .reset : .closed)
            }
            Streams.broke(&tables, &turn, id, as: departure)
        }
    }

    /// Whether all of an endpoint's answer on a stream is here, and waits for its client alone.
    private static func isAnswered(
        _ tables: borrowing Tables, _ id: ConnectionID, of h2: HTTP2LinkID
    ) -> Bool {
        id.side == .upstream && tables.upstream[id.upstream].phase == .busy
            && tables.links[h2].engine.hasEnded(tables.upstream[id.upstream].stream)
    }

    private static func free(_ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID) {
        tables.links[h2].reset()
        tables.links.free(h2)
    }
}
