import Base
import Configuration
import HTTP2
import Telemetry
import Upstream

/// Sessions to endpoints: which of them take another stream. One or few a worker and endpoint; a
/// new one is made only when all are full.
enum StreamPools {
    /// The session takes no new streams, and ends with its last.
    static func retire(_ tables: inout Tables, _ turn: inout Turn, _ session: SessionID) {
        guard tables.sessions.holds(session) else { return }
        SessionLists.unlist(&tables, &turn, session)
        guard tables.sessions[session].engine.streamCount == 0 else { return }
        tables.sessions[session].engine.shutDown()
        SessionLists.markDirty(&tables, &turn, session)
    }

    /// Whether a request on another worker waits for the place of a connection. Some wait although
    /// there are places: for the settings of their own session.
    private static func othersWait(_ turn: borrowing Turn, cluster: Int) -> Bool {
        guard let state = turn.clusterPools[cluster].state,
            state.value.waiters & ~(1 << UInt64(turn.worker)) != 0
        else { return false }
        return state.value.connectionCount >= turn.clusterPools[cluster].limits.connectionsMax
    }

    /// Gives up a session whose place another worker waits for: one without streams, else one that
    /// ends with its last. Who asks for it next may be this worker.
    static func giveUp(_ tables: inout Tables, _ turn: inout Turn, cluster: Int) {
        guard othersWait(turn, cluster: cluster) else { return }
        var found = SessionID.none
        for index in 0..<tables.sessions.indexEnd {
            guard let id = tables.sessions.tenant(at: index), tables.sessions[id].isListed,
                tables.sessions[id].cluster == cluster
            else { continue }
            found = id
            if tables.sessions[id].engine.streamCount == 0 { break }
        }
        guard !found.isNone else { return }
        tables.upstream[tables.sessions[found].socket.upstream].isRetired = true
        retire(&tables, &turn, found)
    }

    /// A session to an endpoint that takes another stream now.
    ///
    /// - Parameter forWebSocket: its settings offer them.
    static func session(
        _ tables: borrowing Tables, _ turn: borrowing Turn, endpoint: Int, cluster: Int,
        forWebSocket: Bool = false
    ) -> SessionID? {
        let limits = turn.clusterPools[cluster].limits
        var session = turn.endpointPools[endpoint].sessions
        while !session.isNone {
            let allowed = min(
                limits.streamsPerConnectionMax, tables.sessions[session].engine.streamsAllowed)
            if tables.sessions[session].engine.streamCount < allowed,
                tables.sessions[session].streamsOpened < limits.requestsPerConnectionMax,
                !tables.sessions[session].engine.isGoingAway,
                turn.now < tables.upstream[tables.sessions[session].socket.upstream].expires,
                !forWebSocket || tables.sessions[session].engine.allowsWebSockets
            {
                return session
            }
            session = tables.sessions[session].next
        }
        return nil
    }

    /// Whether it will soon be known how many streams an endpoint takes: a connection is being
    /// made, or the settings of a new session are on their way.
    static func isComing(
        _ tables: borrowing Tables, _ turn: borrowing Turn, endpoint: Int
    ) -> Bool {
        if turn.endpointPools[endpoint].connectingCount > 0 { return true }
        var session = turn.endpointPools[endpoint].sessions
        while !session.isNone {
            if !tables.sessions[session].engine.hasSettings,
                !tables.sessions[session].engine.isGoingAway
            {
                return true
            }
            session = tables.sessions[session].next
        }
        return false
    }

    /// Opens a stream of a session for an attempt.
    /// - Returns: the connection that it is; `nil` when there is no room.
    static func open(
        _ tables: inout Tables, _ turn: inout Turn, _ session: SessionID
    ) -> UpstreamID? {
        guard let id = tables.upstream.take() else { return nil }
        let socket = tables.sessions[session].socket.upstream
        tables.upstream[id].reset()
        tables.upstream[id].endpoint = tables.sessions[session].endpoint
        tables.upstream[id].cluster = tables.sessions[session].cluster
        tables.upstream[id].session = session
        tables.upstream[id].transport = tables.upstream[socket].transport
        guard
            let stream = tables.sessions[session].engine.makeStream(
                owner: ConnectionID(upstream: id).token)
        else {
            tables.upstream.free(id)
            return nil
        }
        tables.upstream[id].stream = stream
        tables.sessions[session].streamsOpened += 1
        tables.upstream[socket].requestCount += 1
        if tables.sessions[session].engine.streamCount == 1 {
            Keepalive.begin(&tables, &turn, session)
        }
        return id
    }

    /// Serves an attempt by a stream to the endpoint it has been placed at, if one is to be had.
    static func serve(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: AttemptID, cluster: Int
    ) -> Lease? {
        let endpoint = tables.attempts[attempt].endpoint
        guard let session = session(tables, turn, endpoint: endpoint, cluster: cluster) else {
            return nil
        }
        let isReused = tables.sessions[session].streamsOpened > 0
        guard let id = open(&tables, &turn, session) else { return nil }
        return Attempts.assign(&tables, attempt: attempt, connection: id, isReused: isReused)
    }

    /// A stream is over: its place goes to a request that waits, or the session may be at its end.
    static func streamFreed(_ tables: inout Tables, _ turn: inout Turn, _ session: SessionID) {
        let cluster = tables.sessions[session].cluster
        let limits = turn.clusterPools[cluster].limits
        let socket = tables.sessions[session].socket.upstream
        let isUsedUp = tables.sessions[session].streamsOpened >= limits.requestsPerConnectionMax
        let isAged = turn.now >= tables.upstream[socket].expires
        if turn.clusterPools[cluster].firstPending.isNone, othersWait(turn, cluster: cluster) {
            tables.upstream[socket].isRetired = true
        }
        if isUsedUp || isAged || turn.isDraining || tables.upstream[socket].isRetired
            || tables.upstream[socket].isCheck || tables.sessions[session].engine.isGoingAway
        {
            if isAged, tables.sessions[session].isListed { turn.counters.count(.agedConnections) }
            retire(&tables, &turn, session)
        }
        if !turn.clusterPools[cluster].firstPending.isNone {
            turn.queueIsDue(cluster)
        }
    }
}
