import Base
import Configuration
import HTTP1
import Telemetry
import Upstream

/// Connections to endpoints: reuse, connect, wait or refuse, within limits that all workers share.
///
/// A request that must wait at the connection limit is never left waiting while another worker
/// holds an idle connection: the waiter says so (`ClusterState.wait`, then one more look), asks the
/// other workers, and whoever gives up a connection tells the waiters.
enum Pools {
    // MARK: Lease

    /// Finds an endpoint and a connection for the exchange.
    ///
    /// - Parameter connects: an idle connection will not do.
    static func lease(
        _ tables: inout Tables, _ turn: inout Turn, exchange: ExchangeID,
        _ cluster: SharedBox<Cluster>, connects: Bool
    ) -> Lease {
        if !tables.exchanges[exchange].holdsRequestPermit {
            guard cluster.value.state.value.takeRequest(max: cluster.value.limits.requestsMax)
            else {
                turn.counters.count(.requestOverflow, cluster: cluster.value.id)
                return .refused(.requestLimit)
            }
            tables.exchanges[exchange].holdsRequestPermit = true
        }
        if !tables.downstream[tables.exchanges[exchange].downstream].firstPrivate.isNone,
            let lease = PrivateConnections.lease(&tables, &turn, exchange: exchange, cluster)
        {
            return lease
        }
        guard
            let position = choose(
                &turn, cluster, tables.exchanges[exchange].hash,
                tables.exchanges[exchange].retry.tried)
        else {
            return .refused(cluster.value.endpoints.count == 0 ? .noAddress : .noEndpoint)
        }
        guard let attempt = tables.attempts.take() else { return .refused(.exhausted) }
        Attempts.begin(&tables, &turn, attempt: attempt, exchange: exchange, cluster)
        if !connects, let idle = idleConnection(turn, cluster, position) {
            Attempts.place(&tables, &turn, attempt, cluster, idle.position)
            IdleLists.unlink(&tables, &turn, idle.id)
            return Attempts.assign(
                &tables, attempt: attempt, connection: idle.id, isReused: true)
        }
        Attempts.place(&tables, &turn, attempt, cluster, position)
        return make(&tables, &turn, attempt, cluster, connects: connects)
    }

    /// No connection lies idle at the endpoint that was chosen.
    @inline(never)
    private static func make(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: AttemptID,
        _ cluster: SharedBox<Cluster>, connects: Bool
    ) -> Lease {
        if cluster.value.protocol == .http2
            || turn.endpointPools[tables.attempts[attempt].endpoint].speaksHTTP2
        {
            if Upgrades.isWanted(tables, tables.attempts[attempt].exchange),
                let lease = upgrade(&tables, &turn, attempt, cluster)
            {
                return lease
            }
            if let lease = leaseStream(&tables, &turn, attempt, cluster) { return lease }
        }
        if cluster.value.state.value.takeConnection(max: cluster.value.limits.connectionsMax) {
            return connect(&tables, &turn, attempt, cluster)
        }
        if let other = anyIdle(turn, cluster), !connects {
            Attempts.move(&tables, &turn, attempt, cluster, other.position)
            IdleLists.unlink(&tables, &turn, other.id)
            return Attempts.assign(
                &tables, attempt: attempt, connection: other.id, isReused: true)
        }
        return wait(&tables, &turn, attempt, cluster)
    }

    /// A way for a request that wants to leave HTTP, at an endpoint that speaks HTTP/2. `nil`: the
    /// request goes on as an ordinary one.
    private static func upgrade(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: AttemptID,
        _ cluster: SharedBox<Cluster>
    ) -> Lease? {
        switch Upgrades.way(tables, turn, attempt, cluster) {
        case .ordinary: return nil
        case .stream(let h2):
            guard let id = StreamPools.open(&tables, &turn, h2) else { break }
            return Attempts.assign(&tables, attempt: attempt, connection: id, isReused: true)
        case .waits: break
        case .connects(let onlyHTTP1):
            if cluster.value.state.value.takeConnection(max: cluster.value.limits.connectionsMax) {
                return connect(&tables, &turn, attempt, cluster, onlyHTTP1: onlyHTTP1)
            }
        case .impossible: return .refused(Upgrades.refusal(tables, &turn, attempt))
        }
        return wait(&tables, &turn, attempt, cluster)
    }

    /// Finds a stream for an attempt at its endpoint: of an HTTP/2 connection that has room, or of
    /// the connection that is being made for others. `nil`: there is none to come.
    private static func leaseStream(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: AttemptID,
        _ cluster: SharedBox<Cluster>
    ) -> Lease? {
        if let lease = StreamPools.serve(&tables, &turn, attempt, cluster: cluster.value.id) {
            return lease
        }
        let endpoint = tables.attempts[attempt].endpoint
        guard StreamPools.isComing(tables, turn, endpoint: endpoint) else { return nil }
        return wait(&tables, &turn, attempt, cluster)
    }

    @inline(__always)
    private static func choose(
        _ turn: inout Turn, _ cluster: SharedBox<Cluster>, _ hash: UInt64, _ tried: Cluster.Tried
    ) -> Int? {
        let choice = cluster.value.choose(
            hash: hash, turn: &turn.clusterPools[cluster.value.id].turn, tried: tried,
            now: turn.now, random: &turn.random)
        guard let choice else { return nil }
        guard choice.rival >= 0 else { return choice.position }
        let load = turn.endpointPools[cluster.value.endpoints[choice.position].id].load
        let rivalLoad = turn.endpointPools[cluster.value.endpoints[choice.rival].id].load
        return rivalLoad < load ? choice.rival : choice.position
    }

    /// Whether an endpoint may be used that the exchange has not tried.
    static func hasOther(
        _ tables: borrowing Tables, _ turn: borrowing Turn, _ exchange: ExchangeID
    ) -> Bool {
        let cluster = Attempts.cluster(tables, of: exchange)
        for i in 0..<cluster.value.endpoints.count
        where !tables.exchanges[exchange].retry.tried.contains(i)
            && cluster.value.isIn(i, now: turn.now)
        {
            return true
        }
        return false
    }

    private static func idleConnection(
        _ turn: borrowing Turn, _ cluster: SharedBox<Cluster>, _ position: Int
    ) -> (id: UpstreamID, position: Int)? {
        let idle = turn.endpointPools[cluster.value.endpoints[position].id].idle
        return idle.isNone ? nil : (idle, position)
    }

    private static func anyIdle(
        _ turn: borrowing Turn, _ cluster: SharedBox<Cluster>
    ) -> (id: UpstreamID, position: Int)? {
        for position in 0..<cluster.value.endpoints.count
        where cluster.value.isIn(position, now: turn.now) {
            if let idle = idleConnection(turn, cluster, position) { return idle }
        }
        return nil
    }

    // MARK: Connect and assign

    /// Opens a connection for the attempt; the cluster's place for it is taken.
    ///
    /// - Parameter onlyHTTP1: for a request that HTTP/2 cannot carry.
    static func connect(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: AttemptID,
        _ cluster: SharedBox<Cluster>, onlyHTTP1: Bool = false
    ) -> Lease {
        let endpoint = cluster.value.endpoints[tables.attempts[attempt].position]
        guard
            let id = EndpointConnections.open(
                &tables, &turn, endpoint: endpoint.id, cluster: cluster.value.id,
                address: endpoint.address, timeout: cluster.value.connectTimeout,
                onlyHTTP1: onlyHTTP1)
        else {
            cluster.value.state.value.freeConnection()
            return .refused(.exhausted)
        }
        tables.attempts[attempt].enter(.connecting)
        tables.attempts[attempt].connection = id
        tables.upstream[id].attempt = attempt
        return .waits
    }

    // MARK: Release

    /// The connection has served and may serve again.
    static func release(_ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID) {
        if tables.upstream[id].isStream || tables.upstream[id].isCheck {
            return EndpointConnections.close(&tables, &turn, id, reset: false)
        }
        let cluster = tables.upstream[id].cluster
        let endpoint = tables.upstream[id].endpoint
        tables.upstream[id].attempt = .none
        tables.upstream[id].inbound.release()
        tables.upstream[id].isReadPaused = false
        let limits = turn.clusterPools[cluster].limits
        if tables.upstream[id].requestCount >= limits.requestsPerConnectionMax || turn.isDraining
            || tables.upstream[id].isRetired
        {
            return EndpointConnections.close(&tables, &turn, id, reset: false)
        }
        let expires = tables.upstream[id].expires
        if turn.now >= expires { return closeAged(&tables, &turn, id) }
        tables.upstream[id].enterOften(.idle)
        IdleLists.link(&tables, &turn, id, endpoint, cluster)
        Timers.arm(
            upstream: id, min(turn.now + limits.idleTimeout, expires), &tables, &turn)
        if !turn.clusterPools[cluster].firstPending.isNone {
            return turn.queueIsDue(cluster)
        }
        if let state = turn.clusterPools[cluster].state, state.value.waiters != 0 {
            // Somebody on another worker waits for the place that this connection holds.
            EndpointConnections.close(&tables, &turn, id, reset: false)
        }
    }

    private static func closeAged(_ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID) {
        turn.counters.count(.agedConnections)
        EndpointConnections.close(&tables, &turn, id, reset: false)
    }

    /// The exchange needs its connection no more, and the response was not read to its end: a
    /// connection in use is closed, one that is being made goes to the pool when it is there.
    static func abandon(
        _ tables: inout Tables, _ turn: inout Turn, exchange: ExchangeID, reset: Bool = true
    ) {
        let attempt = tables.exchanges[exchange].attempt
        if !attempt.isNone {
            let connection = tables.attempts[attempt].connection
            let wasSent = tables.attempts[attempt].phase == .sent
            Attempts.end(&tables, &turn, exchange: exchange)
            if !connection.isNone {
                tables.upstream[connection].attempt = .none
                // Bytes for nobody.
                tables.upstream[connection].outbound.release()
                if wasSent { EndpointConnections.close(&tables, &turn, connection, reset: reset) }
            }
        }
    }
}
