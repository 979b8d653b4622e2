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
    /// - Parameters:
    ///   - connects: an idle connection will not do.
    ///   - isImmediate: see `assign`.
    static func lease(
        _ tables: inout Tables, _ turn: inout Turn, exchange: SlotID, connects: Bool = false,
        isImmediate: Bool = false
    ) {
        let cluster = self.cluster(tables, of: exchange)
        let id = cluster.value.id
        if !tables.exchanges[exchange].holdsRequestPermit {
            guard cluster.value.state.value.takeRequest(max: cluster.value.limits.requestsMax)
            else {
                turn.counters.count(.requestOverflow, cluster: id)
                return Exchanges.reply(
                    &tables, &turn, exchange, status: 503, flags: .upstreamOverflow, cause: .local)
            }
            tables.exchanges[exchange].holdsRequestPermit = true
        }
        if !tables.downstream[tables.exchanges[exchange].downstream].firstPrivate.isNone,
            PrivateConnections.lease(
                &tables, &turn, exchange: exchange, cluster, isImmediate: isImmediate)
        {
            return
        }
        guard
            let position = choose(
                &turn, cluster, tables.exchanges[exchange].hash,
                tables.exchanges[exchange].retry.tried)
        else {
            return Exchanges.fail(
                &tables, &turn, exchange, status: 503, flags: .noHealthyUpstream, cause: .local)
        }
        guard let attempt = tables.attempts.take() else {
            return Exchanges.fail(
                &tables, &turn, exchange, status: 503, flags: .upstreamOverflow, cause: .local)
        }
        begin(&tables, &turn, attempt: attempt, exchange: exchange, cluster)
        if !connects, let idle = idleConnection(turn, cluster, position) {
            place(&tables, &turn, attempt, cluster, idle.position)
            unlinkIdle(&tables, &turn, idle.id)
            return assign(
                &tables, &turn, attempt: attempt, connection: idle.id, isReused: true,
                isImmediate: isImmediate)
        }
        place(&tables, &turn, attempt, cluster, position)
        if cluster.value.protocol == .http2
            || turn.endpointPools[cluster.value.endpoints[position].id].speaksHTTP2
        {
            if Upgrades.isWanted(tables, exchange),
                Upgrades.lease(&tables, &turn, attempt, cluster)
            {
                return
            }
            if leaseStream(&tables, &turn, attempt, cluster, isImmediate: isImmediate) { return }
        }
        if cluster.value.state.value.takeConnection(max: cluster.value.limits.connectionsMax) {
            connect(&tables, &turn, attempt, cluster)
            return
        }
        if let other = anyIdle(turn, cluster), !connects {
            move(&tables, &turn, attempt, cluster, other.position)
            unlinkIdle(&tables, &turn, other.id)
            return assign(
                &tables, &turn, attempt: attempt, connection: other.id, isReused: true,
                isImmediate: isImmediate)
        }
        wait(&tables, &turn, attempt, cluster)
    }

    /// The slot of an attempt was taken: it is the exchange's.
    @inline(__always)
    static func begin(
        _ tables: inout Tables, _ turn: inout Turn, attempt: SlotID, exchange: SlotID,
        _ cluster: SharedBox<Cluster>
    ) {
        tables.attempts[attempt].reset()
        tables.attempts[attempt].exchange = exchange
        tables.exchanges[exchange].attempt = attempt
        tables.exchanges[exchange].summary.attempts &+= 1
        turn.counters.count(.attempts, cluster: cluster.value.id)
    }

    /// Finds a stream for an attempt at its endpoint: of a session that has room, or of the
    /// connection that is being made for others.
    private static func leaseStream(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: SlotID,
        _ cluster: SharedBox<Cluster>, isImmediate: Bool
    ) -> Bool {
        let id = cluster.value.id
        if StreamPools.serve(&tables, &turn, attempt, cluster: id, isImmediate: isImmediate) {
            return true
        }
        let endpoint = tables.attempts[attempt].endpoint
        guard StreamPools.isComing(tables, turn, endpoint: endpoint) else { return false }
        wait(&tables, &turn, attempt, cluster)
        return true
    }

    /// A connect has ended, one way or the other.
    static func connectionMade(_ tables: inout Tables, _ turn: inout Turn, _ id: SlotID) {
        if tables.upstream[id].onlyHTTP1 { return }
        turn.endpointPools[tables.upstream[id].endpoint].connectingCount -= 1
    }

    static func cluster(
        _ tables: borrowing Tables, of exchange: SlotID
    ) -> SharedBox<Cluster> {
        guard let cluster = tables.exchanges[exchange].cluster else {
            preconditionFailure("an exchange with a version has its cluster")
        }
        return cluster
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
        _ tables: borrowing Tables, _ turn: borrowing Turn, _ exchange: SlotID
    ) -> Bool {
        let cluster = cluster(tables, of: exchange)
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
    ) -> (id: SlotID, position: Int)? {
        let idle = turn.endpointPools[cluster.value.endpoints[position].id].idle
        return idle.isNone ? nil : (idle, position)
    }

    private static func anyIdle(
        _ turn: borrowing Turn, _ cluster: SharedBox<Cluster>
    ) -> (id: SlotID, position: Int)? {
        for position in 0..<cluster.value.endpoints.count
        where cluster.value.isIn(position, now: turn.now) {
            if let idle = idleConnection(turn, cluster, position) { return idle }
        }
        return nil
    }

    /// The attempt counts at an endpoint from now on.
    static func place(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: SlotID,
        _ cluster: SharedBox<Cluster>, _ position: Int
    ) {
        let endpoint = cluster.value.endpoints[position]
        tables.attempts[attempt].position = position
        tables.attempts[attempt].endpoint = endpoint.id
        tables.exchanges[tables.attempts[attempt].exchange].summary.endpoint = endpoint.address
        turn.endpointPools[endpoint.id].load += 1
    }

    private static func move(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: SlotID,
        _ cluster: SharedBox<Cluster>, _ position: Int
    ) {
        turn.endpointPools[tables.attempts[attempt].endpoint].load -= 1
        place(&tables, &turn, attempt, cluster, position)
    }

    // MARK: Connect and assign

    /// Opens a connection for the attempt; the cluster's place for it is taken.
    ///
    /// - Parameter onlyHTTP1: for a request that HTTP/2 cannot carry.
    /// - Returns: `false` when there is no slot for a connection; the exchange has failed.
    @discardableResult
    static func connect(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: SlotID,
        _ cluster: SharedBox<Cluster>, onlyHTTP1: Bool = false
    ) -> Bool {
        let endpoint = cluster.value.endpoints[tables.attempts[attempt].position]
        guard
            let id = open(
                &tables, &turn, endpoint: endpoint.id, cluster: cluster.value.id,
                address: endpoint.address, timeout: cluster.value.connectTimeout,
                onlyHTTP1: onlyHTTP1)
        else {
            cluster.value.state.value.freeConnection()
            let exchange = tables.attempts[attempt].exchange
            Exchanges.fail(
                &tables, &turn, exchange, status: 503, flags: .upstreamOverflow, cause: .local)
            return false
        }
        tables.attempts[attempt].phase = .connecting
        tables.attempts[attempt].connection = id
        tables.upstream[id].attempt = attempt
        return true
    }

    static func open(
        _ tables: inout Tables, _ turn: inout Turn, endpoint: Int, cluster: Int, address: Address,
        timeout: Duration, onlyHTTP1: Bool = false
    ) -> SlotID? {
        guard let id = tables.upstream.take() else { return nil }
        tables.upstream[id].reset()
        tables.upstream[id].endpoint = endpoint
        tables.upstream[id].cluster = cluster
        tables.upstream[id].transport = turn.clusterPools[cluster].transport
        tables.upstream[id].expires =
            turn.now + turn.clusterPools[cluster].limits.connectionAgeMax
        if onlyHTTP1 {
            tables.upstream[id].onlyHTTP1 = true
            // The next request is better served by a stream.
            tables.upstream[id].isRetired = true
        } else {
            turn.endpointPools[endpoint].connectingCount += 1
        }
        turn.counters.count(.upstreamConnections)
        turn.counters.count(.connects, cluster: cluster)
        Deadlines.arm(upstream: id, turn.now + timeout, &tables, &turn)
        tables.upstream[id].address = address
        turn.effects.append(.connect(id, address))
        return id
    }

    /// The attempt has its connection: the request goes out.
    ///
    /// - Parameter isImmediate: the request's bytes are in the scratch right now, and whoever reads
    ///   them sends the head in front of its body.
    static func assign(
        _ tables: inout Tables, _ turn: inout Turn, attempt: SlotID, connection: SlotID,
        isReused: Bool, isImmediate: Bool = false
    ) {
        let exchange = tables.attempts[attempt].exchange
        tables.attempts[attempt].phase = .sent
        tables.attempts[attempt].connection = connection
        tables.attempts[attempt].isReused = isReused
        tables.upstream[connection].attempt = attempt
        tables.upstream[connection].phase = .busy
        tables.upstream[connection].parser = ResponseHeadParser()
        tables.upstream[connection].requestCount += 1
        tables.upstream[connection].timer.clear()
        if tables.exchanges[exchange].isGRPC {
            Forwarding.tellTimeLeft(&tables.exchanges[exchange], &turn)
        }
        let downstream = tables.exchanges[exchange].downstream
        if !tables.exchanges[exchange].hasRequestBody {
            sendHead(&tables, &turn, exchange, connection)
            return RequestRelay.requestDone(&tables, &turn, exchange)
        }
        if tables.exchanges[exchange].retry.replays {
            return replay(&tables, &turn, exchange, connection)
        }
        if isImmediate { return }
        if tables.downstream[downstream].isReadPaused {
            // Kept bytes of the body go with the head.
            DownstreamSide.resume(&tables, &turn, downstream)
        } else {
            sendHead(&tables, &turn, exchange, connection)
            tables.exchanges[exchange].requestPhase = .body
        }
    }

    /// The head and what the endpoint before has got of the body, then what follows.
    private static func replay(
        _ tables: inout Tables, _ turn: inout Turn, _ exchange: SlotID, _ connection: SlotID
    ) {
        tables.exchanges[exchange].retry.replays = false
        sendHead(&tables, &turn, exchange, connection)
        let start = turn.output.writerIndex
        turn.output.append(tables.exchanges[exchange].replay.readable)
        turn.send(
            ConnectionID(.upstream, connection), .output,
            ByteRange(start, end: turn.output.writerIndex))
        if tables.exchanges[exchange].retry.replaysAll {
            return RequestRelay.requestDone(&tables, &turn, exchange)
        }
        tables.exchanges[exchange].requestPhase = .body
        DownstreamSide.resume(&tables, &turn, tables.exchanges[exchange].downstream)
    }

    @inline(__always)
    private static func sendHead(
        _ tables: inout Tables, _ turn: inout Turn, _ exchange: SlotID, _ connection: SlotID
    ) {
        let start = turn.output.writerIndex
        turn.output.append(
            tables.exchanges[exchange].arena.span(tables.exchanges[exchange].head))
        turn.send(
            ConnectionID(.upstream, connection), .output,
            ByteRange(start, end: turn.output.writerIndex))
    }

    // MARK: Release

    /// The connection has served and may serve again.
    static func release(_ tables: inout Tables, _ turn: inout Turn, _ id: SlotID) {
        if tables.upstream[id].isStream || tables.upstream[id].isCheck {
            return UpstreamSide.close(&tables, &turn, id, reset: false)
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
            return UpstreamSide.close(&tables, &turn, id, reset: false)
        }
        let expires = tables.upstream[id].expires
        if turn.now >= expires { return closeAged(&tables, &turn, id) }
        tables.upstream[id].phase = .idle
        linkIdle(&tables, &turn, id, endpoint, cluster)
        Deadlines.arm(
            upstream: id, min(turn.now + limits.idleTimeout, expires), &tables, &turn)
        if !turn.clusterPools[cluster].firstPending.isNone {
            return servePending(&tables, &turn, cluster: cluster)
        }
        if let state = turn.clusterPools[cluster].state, state.value.waiters != 0 {
            // Somebody on another worker waits for the place that this connection holds.
            UpstreamSide.close(&tables, &turn, id, reset: false)
        }
    }

    private static func closeAged(_ tables: inout Tables, _ turn: inout Turn, _ id: SlotID) {
        turn.counters.count(.agedConnections)
        UpstreamSide.close(&tables, &turn, id, reset: false)
    }

    @inline(__always)
    private static func linkIdle(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, _ endpoint: Int, _ cluster: Int
    ) {
        let head = turn.endpointPools[endpoint].idle
        tables.upstream[id].nextIdle = head
        tables.upstream[id].previousIdle = .none
        if !head.isNone { tables.upstream[head].previousIdle = id }
        turn.endpointPools[endpoint].idle = id
        turn.endpointPools[endpoint].idleCount += 1
        turn.clusterPools[cluster].idleCount += 1
    }

    @inline(__always)
    static func unlinkIdle(_ tables: inout Tables, _ turn: inout Turn, _ id: SlotID) {
        let endpoint = tables.upstream[id].endpoint
        let next = tables.upstream[id].nextIdle, previous = tables.upstream[id].previousIdle
        if previous.isNone {
            turn.endpointPools[endpoint].idle = next
        } else {
            tables.upstream[previous].nextIdle = next
        }
        if !next.isNone { tables.upstream[next].previousIdle = previous }
        tables.upstream[id].nextIdle = .none
        tables.upstream[id].previousIdle = .none
        turn.endpointPools[endpoint].idleCount -= 1
        turn.clusterPools[tables.upstream[id].cluster].idleCount -= 1
    }

    // MARK: Ends of attempts

    /// The attempt is over; its connection, if it has one, is the caller's to keep or close.
    static func endAttempt(_ tables: inout Tables, _ turn: inout Turn, exchange: SlotID) {
        let attempt = tables.exchanges[exchange].attempt
        guard tables.attempts.holds(attempt) else { return }
        if tables.attempts[attempt].phase == .pending {
            PendingQueue.remove(
                &tables, &turn, attempt, cluster: tables.exchanges[exchange].summary.cluster)
        }
        let endpoint = tables.attempts[attempt].endpoint
        if endpoint >= 0 { turn.endpointPools[endpoint].load -= 1 }
        if tables.exchanges[exchange].retry.holdsPermit {
            freeRetryPermit(&tables, &turn, exchange)
        }
        tables.attempts.free(attempt)
        tables.exchanges[exchange].attempt = .none
    }

    /// The exchange needs its connection no more, and the response was not read to its end: a
    /// connection in use is closed, one that is being made goes to the pool when it is there.
    static func abandon(
        _ tables: inout Tables, _ turn: inout Turn, exchange: SlotID, reset: Bool = true
    ) {
        let attempt = tables.exchanges[exchange].attempt
        if tables.attempts.holds(attempt) {
            let connection = tables.attempts[attempt].connection
            let wasSent = tables.attempts[attempt].phase == .sent
            endAttempt(&tables, &turn, exchange: exchange)
            if tables.upstream.holds(connection) {
                tables.upstream[connection].attempt = .none
                // Bytes for nobody.
                tables.upstream[connection].outbound.release()
                if wasSent { UpstreamSide.close(&tables, &turn, connection, reset: reset) }
            }
        }
    }

    static func freeRetryPermit(_ tables: inout Tables, _ turn: inout Turn, _ exchange: SlotID) {
        guard tables.exchanges[exchange].retry.holdsPermit else { return }
        tables.exchanges[exchange].retry.holdsPermit = false
        let cluster = tables.exchanges[exchange].summary.cluster
        turn.clusterPools[cluster].state?.value.freeRetry()
    }

    static func freeRequestPermit(
        _ tables: inout Tables, _ turn: inout Turn, _ exchange: SlotID
    ) {
        guard tables.exchanges[exchange].holdsRequestPermit else { return }
        tables.exchanges[exchange].holdsRequestPermit = false
        let cluster = tables.exchanges[exchange].summary.cluster
        turn.clusterPools[cluster].state?.value.freeRequest()
    }
}
