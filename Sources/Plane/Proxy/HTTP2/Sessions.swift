import Base
import Configuration
import HTTP2
import Telemetry
import Upstream

/// An HTTP/2 connection: a socket's bytes on one side, streams on the other.
struct SessionLink: ~Copyable {
    var engine = HTTP2Session()
    /// The socket that carries it.
    var socket = ConnectionID(downstream: .none)
    /// Whether the session is in the list of those that may have something to write.
    var isDirty = false
    /// The endpoint that an upstream session leads to, and the session's neighbours there; -1
    /// downstream.
    var endpoint = -1
    var cluster = -1
    var next = SessionID.none
    var previous = SessionID.none
    var isListed = false
    var keepalive = Keepalive.State()
    /// Streams that it has carried.
    var streamsOpened = 0
    /// The socket's deadline is that of a connection without streams.
    var isIdle = false
    /// The end was announced; the next deadline makes it final.
    var isAnnounced = false

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
        isIdle = false
        isAnnounced = false
    }
}

/// Work that a worker has under way with sessions. Everything here happens between two events of
/// the driver, when all effects so far are performed (`Sessions.step`).
struct SessionWork: ~Copyable {
    /// The session whose events are being handled, and how far.
    var handling = SessionID.none
    var eventAt = 0
    /// The bytes that were read of the session being handled and not fed yet, in `Turn.raw`.
    var rawAt = 0
    var rawEnd = 0
    /// Sessions that may have something to write.
    var dirty = PlainArray<SessionID>(capacity: 16)
    /// Streams whose kept bytes are to be looked at again.
    var resumable = PlainArray<ConnectionID>(capacity: 16)
    /// The driver's turn is ending: what waits is written now.
    var isEndOfTurn = false
}

/// The steps of an HTTP/2 connection: begin, read, dispatch, flush, end.
///
/// Each stream is a connection of its own in the tables, and speaks HTTP/1.1 text with the rest of
/// the data plane (ARCHITECTURE.md, "Streams are connections").
enum Sessions {
    /// Bytes written for one session before another has its turn.
    static let flushBytesMax = 262_144
    /// How long after an announced end new streams are still taken (RFC 9113 §6.8).
    static let announcement = Duration.seconds(1)

    // MARK: Begin

    /// A client's socket speaks HTTP/2 from here on.
    static func begin(_ tables: inout Tables, _ turn: inout Turn, downstream id: DownstreamID) {
        guard let session = open(&tables, &turn, ConnectionID(downstream: id), isSecure: false)
        else { return ClientConnections.close(&tables, &turn, id, reset: true) }
        tables.downstream[id].session = session
        tables.downstream[id].phase = .session
        turn.counters.count(.downstreamSessions)
        armIdle(&tables, &turn, session)
        if turn.isDraining { announceEnd(&tables, &turn, session) }
    }

    /// A connection to an endpoint speaks HTTP/2.
    ///
    /// - Parameter isListed: requests may have streams of it.
    static func begin(
        _ tables: inout Tables, _ turn: inout Turn, upstream id: UpstreamID, isListed: Bool = true
    ) -> SessionID? {
        let isSecure = tables.upstream[id].isSecure
        guard let session = open(&tables, &turn, ConnectionID(upstream: id), isSecure: isSecure)
        else { return nil }
        tables.upstream[id].session = session
        tables.upstream[id].phase = .session
        tables.upstream[id].timer.clear()
        tables.sessions[session].endpoint = tables.upstream[id].endpoint
        tables.sessions[session].cluster = tables.upstream[id].cluster
        if isListed { SessionLists.list(&tables, &turn, session) }
        turn.counters.count(.upstreamSessions)
        return session
    }

    private static func open(
        _ tables: inout Tables, _ turn: inout Turn, _ socket: ConnectionID, isSecure: Bool
    ) -> SessionID? {
        guard let session = tables.sessions.take() else { return nil }
        turn.prepareForSessions()
        tables.sessions[session].reset()
        tables.sessions[session].socket = socket
        tables.sessions[session].engine.open(
            isServer: socket.side == .downstream, isSecure: isSecure,
            limits: turn.snapshots.newest.value.settings.http2, seed: turn.random.next(),
            now: turn.now)
        SessionLists.markDirty(&tables, &turn, session)
        return session
    }

    // MARK: Read

    /// Bytes of the socket lie in the scratch; the rest follows in steps.
    static func received(
        _ tables: inout Tables, _ turn: inout Turn, _ session: SessionID, _ range: Range<Int>
    ) {
        guard tables.sessions.holds(session) else { return }
        tables.sessions[session].keepalive.hasHeard = true
        swap(&turn.scratch, &turn.raw)
        turn.work.handling = session
        turn.work.eventAt = 0
        turn.work.rawAt = range.lowerBound
        turn.work.rawEnd = range.upperBound
        // Events that a flush left behind come first.
        if tables.sessions[session].engine.eventCount == 0 { feed(&tables, &turn) }
    }

    private static func feed(_ tables: inout Tables, _ turn: inout Turn) {
        let session = turn.work.handling
        turn.scratch.clear(headroom: turn.headroom)
        let taken = tables.sessions[session].engine.receive(
            turn.raw.span(ByteRange(turn.work.rawAt, end: turn.work.rawEnd)),
            text: &turn.scratch, now: turn.now)
        turn.work.rawAt = taken == 0 ? turn.work.rawEnd : turn.work.rawAt + taken
        SessionLists.markDirty(&tables, &turn, session)
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
        while let session = turn.work.dirty.popLast() {
            guard tables.sessions.holds(session) else { continue }
            tables.sessions[session].isDirty = false
            flush(&tables, &turn, session)
            return true
        }
        turn.work.isEndOfTurn = false
        return false
    }

    private static func handleNext(_ tables: inout Tables, _ turn: inout Turn) {
        let session = turn.work.handling
        guard tables.sessions.holds(session) else {
            turn.work.handling = .none
            return
        }
        if turn.work.eventAt < tables.sessions[session].engine.eventCount {
            let event = tables.sessions[session].engine.event(turn.work.eventAt)
            turn.work.eventAt += 1
            return Streams.handle(&tables, &turn, session, event)
        }
        tables.sessions[session].engine.forgetEvents()
        turn.work.eventAt = 0
        if turn.work.rawAt < turn.work.rawEnd { return feed(&tables, &turn) }
        turn.work.handling = .none
    }

    // MARK: Flush

    private static func flush(_ tables: inout Tables, _ turn: inout Turn, _ session: SessionID) {
        let socket = tables.sessions[session].socket
        // What the socket did not take goes first; `drained` comes back here.
        guard isWritable(tables, socket) else { return }
        let start = turn.output.writerIndex
        let hasMore = tables.sessions[session].engine.send(
            into: &turn.output, atMost: flushBytesMax, now: turn.now, &turn.workspace)
        turn.send(socket, .output, ByteRange(start, end: turn.output.writerIndex))
        if hasMore { SessionLists.markDirty(&tables, &turn, session) }
        if tables.sessions[session].engine.eventCount > 0 {
            turn.work.handling = session
            turn.work.eventAt = 0
            turn.work.rawAt = 0
            turn.work.rawEnd = 0
        }
        if tables.sessions[session].engine.isFinished { finish(&tables, &turn, session) }
    }

    private static func isWritable(_ tables: borrowing Tables, _ socket: ConnectionID) -> Bool {
        switch socket.side {
        case .downstream:
            return tables.downstream.holds(socket.downstream)
                && tables.downstream[socket.downstream].outbound.isEmpty
        case .upstream:
            return tables.upstream.holds(socket.upstream)
                && tables.upstream[socket.upstream].outbound.isEmpty
        }
    }

    /// Everything that waited on the socket went out.
    static func drained(_ tables: inout Tables, _ turn: inout Turn, _ session: SessionID) {
        guard tables.sessions.holds(session) else { return }
        SessionLists.markDirty(&tables, &turn, session)
        if tables.sessions[session].engine.streamCount == 0 {
            armIdle(&tables, &turn, session)
        } else {
            armStall(&tables, &turn, session)
        }
    }

    // MARK: Idle and ends

    /// No stream is open: the socket waits for the next as one of HTTP/1.1 waits for a request.
    static func armIdle(_ tables: inout Tables, _ turn: inout Turn, _ session: SessionID) {
        let socket = tables.sessions[session].socket
        switch socket.side {
        case .downstream:
            let wait = turn.snapshots.newest.value.settings.timeouts.keepAlive
            let deadline =
                tables.sessions[session].isAnnounced ? announcement : wait
            tables.sessions[session].isIdle = !tables.sessions[session].isAnnounced
            Timers.arm(downstream: socket.downstream, turn.now + deadline, &tables, &turn)
        case .upstream:
            let limits = turn.clusterPools[tables.sessions[session].cluster].limits
            let deadline = min(
                turn.now + limits.idleTimeout, tables.upstream[socket.upstream].expires)
            Timers.arm(upstream: socket.upstream, deadline, &tables, &turn)
        }
    }

    /// A stream's answer is whole, and waits for a window that the client may never open.
    private static func armStall(
        _ tables: inout Tables, _ turn: inout Turn, _ session: SessionID
    ) {
        guard tables.sessions[session].socket.side == .downstream else { return }
        let next = tables.sessions[session].engine.nextStall
        armStall(&tables, &turn, session, by: next)
    }

    /// Has the socket looked at again by `next`, for a stream that a client's window holds up.
    static func armStall(
        _ tables: inout Tables, _ turn: inout Turn, _ session: SessionID, by next: Instant
    ) {
        let socket = tables.sessions[session].socket
        guard next < tables.downstream[socket.downstream].timer.deadline else { return }
        Timers.arm(downstream: socket.downstream, next, &tables, &turn)
    }

    /// The deadline of a session's socket has passed.
    static func expired(_ tables: inout Tables, _ turn: inout Turn, _ session: SessionID) {
        guard tables.sessions.holds(session) else { return }
        let socket = tables.sessions[session].socket
        if socket.side == .upstream, tables.sessions[session].engine.streamCount > 0 {
            if !Keepalive.expired(&tables, &turn, session) {
                UpstreamSide.failed(&tables, &turn, socket.upstream)
            }
            return
        }
        tables.sessions[session].engine.resetStalled(now: turn.now)
        SessionLists.markDirty(&tables, &turn, session)
        armStall(&tables, &turn, session)
        if tables.sessions[session].isAnnounced
            || tables.sessions[session].engine.streamCount == 0
        {
            tables.sessions[session].engine.shutDown()
            SessionLists.unlist(&tables, &turn, session)
            SessionLists.markDirty(&tables, &turn, session)
        }
    }

    /// The process drains: GOAWAY now, with room for requests that are on their way, and a final
    /// one behind it (RFC 9113 §6.8).
    static func announceEnd(_ tables: inout Tables, _ turn: inout Turn, _ session: SessionID) {
        guard !tables.sessions[session].isAnnounced else { return }
        tables.sessions[session].isAnnounced = true
        tables.sessions[session].engine.announceShutdown()
        SessionLists.markDirty(&tables, &turn, session)
        Timers.arm(
            downstream: tables.sessions[session].socket.downstream, turn.now + announcement,
            &tables,
            &turn)
    }

    /// Nothing will be read or written any more: the socket closes behind what it still has to
    /// write.
    private static func finish(_ tables: inout Tables, _ turn: inout Turn, _ session: SessionID) {
        let socket = tables.sessions[session].socket
        // With streams left it ends because of what its peer did.
        endStreams(&tables, &turn, session, as: .violated)
        free(&tables, &turn, session)
        switch socket.side {
        case .downstream:
            tables.downstream[socket.downstream].session = .none
            ClientConnections.finishAndClose(&tables, &turn, socket.downstream)
        case .upstream:
            tables.upstream[socket.upstream].session = .none
            EndpointConnections.close(&tables, &turn, socket.upstream, reset: false)
        }
    }

    /// The socket is gone: so is every stream.
    static func lost(
        _ tables: inout Tables, _ turn: inout Turn, _ session: SessionID,
        as departure: Departure = .left
    ) {
        guard tables.sessions.holds(session) else { return }
        endStreams(&tables, &turn, session, as: departure)
        free(&tables, &turn, session)
    }

    private static func endStreams(
        _ tables: inout Tables, _ turn: inout Turn, _ session: SessionID, as departure: Departure
    ) {
        SessionLists.unlist(&tables, &turn, session)
        for index in 0..<tables.sessions[session].engine.streamIndexEnd {
            let owner = tables.sessions[session].engine.owner(at: index)
            if owner == 0 { continue }
            let id = ConnectionID(token: owner)
            if isAnswered(tables, session, id) {
                tables.upstream[id.upstream].outlivesSession = true
                turn.orphanCount += 1
                continue
            }
            Streams.broke(&tables, &turn, id, as: departure)
        }
    }

    /// Whether all of an endpoint's answer on a stream is here, and waits for its client alone.
    private static func isAnswered(
        _ tables: borrowing Tables, _ session: SessionID, _ id: ConnectionID
    ) -> Bool {
        id.side == .upstream && tables.upstream.holds(id.upstream)
            && tables.upstream[id.upstream].phase == .busy
            && tables.sessions[session].engine.hasEnded(tables.upstream[id.upstream].stream)
    }

    private static func free(_ tables: inout Tables, _ turn: inout Turn, _ session: SessionID) {
        tables.sessions[session].reset()
        tables.sessions.free(session)
    }
}
