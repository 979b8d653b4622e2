import Base
import Configuration
import HTTP2
import Telemetry
import Upstream

/// HTTP/2 connections to endpoints: which of them take another stream. One or few a worker and
/// endpoint; a new one is made only when all are full.
enum StreamPools {
    /// The HTTP/2 connection takes no new streams, and ends with its last.
    static func retire(_ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID) {
        HTTP2LinkLists.unlist(&tables, &turn, h2)
        guard tables.links[h2].engine.streamCount == 0 else { return }
        tables.links[h2].engine.shutDown()
        HTTP2LinkLists.markDirty(&tables, &turn, h2)
    }

    /// Whether a request on another worker waits for the place of a connection. Some wait although
    /// there are places: for the settings of their own HTTP/2 connection.
    private static func othersWait(_ turn: borrowing Turn, cluster: Int) -> Bool {
        guard let state = turn.clusterPools[cluster].state,
            state.value.waiters & ~(1 << UInt64(turn.worker)) != 0
        else { return false }
        return state.value.connectionCount >= turn.clusterPools[cluster].limits.connectionsMax
    }

    /// Gives up an HTTP/2 connection whose place another worker waits for: one without streams,
    /// else one that ends with its last. Who asks for it next may be this worker.
    static func giveUp(_ tables: inout Tables, _ turn: inout Turn, cluster: Int) {
        guard othersWait(turn, cluster: cluster) else { return }
        var found = HTTP2LinkID.none
        for index in 0..<tables.links.indexEnd {
            guard let id = tables.links.tenant(at: index), tables.links[id].isListed,
                tables.links[id].cluster == cluster
            else { continue }
            found = id
            if tables.links[id].engine.streamCount == 0 { break }
        }
        guard !found.isNone else { return }
        tables.upstream[tables.links[found].socket.upstream].isRetired = true
        retire(&tables, &turn, found)
    }

    /// An HTTP/2 connection to an endpoint that takes another stream now.
    ///
    /// - Parameter forWebSocket: its settings offer them.
    static func h2(
        _ tables: borrowing Tables, _ turn: borrowing Turn, endpoint: Int, cluster: Int,
        forWebSocket: Bool = false
    ) -> HTTP2LinkID? {
        let limits = turn.clusterPools[cluster].limits
        var h2 = turn.endpointPools[endpoint].links
        while !h2.isNone {
            let allowed = min(
                limits.streamsPerConnectionMax, tables.links[h2].engine.streamsAllowed)
            if tables.links[h2].engine.streamCount < allowed,
                tables.links[h2].streamsOpened < limits.requestsPerConnectionMax,
                !tables.links[h2].engine.isGoingAway,
                turn.now < tables.upstream[tables.links[h2].socket.upstream].expires,
                !forWebSocket || tables.links[h2].engine.allowsWebSockets
            {
                return h2
            }
            h2 = tables.links[h2].next
        }
        return nil
    }

    /// Whether it will soon be known how many streams an endpoint takes: a connection is being
    /// made, or the settings of a new HTTP/2 connection are on their way.
    static func isComing(
        _ tables: borrowing Tables, _ turn: borrowing Turn, endpoint: Int
    ) -> Bool {
        if turn.endpointPools[endpoint].connectingCount > 0 { return true }
        var h2 = turn.endpointPools[endpoint].links
        while !h2.isNone {
            if !tables.links[h2].engine.hasSettings,
                !tables.links[h2].engine.isGoingAway
            {
                return true
            }
            h2 = tables.links[h2].next
        }
        return false
    }

    /// Opens a stream of an HTTP/2 connection for an attempt.
    /// - Returns: the connection that it is; `nil` when there is no room.
    static func open(
        _ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID
    ) -> UpstreamID? {
        guard let id = tables.upstream.take() else { return nil }
        let socket = tables.links[h2].socket.upstream
        tables.upstream[id].reset()
        tables.upstream[id].endpoint = tables.links[h2].endpoint
        tables.upstream[id].cluster = tables.links[h2].cluster
        tables.upstream[id].h2 = h2
        tables.upstream[id].transport = tables.upstream[socket].transport
        guard
            let stream = tables.links[h2].engine.makeStream(
                owner: ConnectionID(upstream: id).token)
        else {
            tables.upstream.free(id)
            return nil
        }
        tables.upstream[id].stream = stream
        tables.upstream[id].enter(.open)
        tables.links[h2].streamsOpened += 1
        tables.upstream[socket].requestCount += 1
        if tables.links[h2].phase == .idle { tables.links[h2].enter(.busy) }
        if tables.links[h2].engine.streamCount == 1 {
            Keepalive.begin(&tables, &turn, h2)
        }
        return id
    }

    /// Serves an attempt by a stream to the endpoint it has been placed at, if one is to be had.
    static func serve(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: AttemptID, cluster: Int
    ) -> Lease? {
        let endpoint = tables.attempts[attempt].endpoint
        guard let h2 = h2(tables, turn, endpoint: endpoint, cluster: cluster) else {
            return nil
        }
        let isReused = tables.links[h2].streamsOpened > 0
        guard let id = open(&tables, &turn, h2) else { return nil }
        return Attempts.assign(&tables, attempt: attempt, connection: id, isReused: isReused)
    }

    /// A stream is over: its place goes to a request that waits, or the HTTP/2 connection may be at
    /// its end.
    static func streamFreed(_ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID) {
        let cluster = tables.links[h2].cluster
        let limits = turn.clusterPools[cluster].limits
        let socket = tables.links[h2].socket.upstream
        let isUsedUp = tables.links[h2].streamsOpened >= limits.requestsPerConnectionMax
        let isAged = turn.now >= tables.upstream[socket].expires
        if turn.clusterPools[cluster].firstPending.isNone, othersWait(turn, cluster: cluster) {
            tables.upstream[socket].isRetired = true
        }
        if isUsedUp || isAged || turn.isDraining || tables.upstream[socket].isRetired
            || tables.upstream[socket].isCheck || tables.links[h2].engine.isGoingAway
        {
            if isAged, tables.links[h2].isListed { turn.counters.count(.agedConnections) }
            retire(&tables, &turn, h2)
        }
        if !turn.clusterPools[cluster].firstPending.isNone {
            turn.queueIsDue(cluster)
        }
    }
}
