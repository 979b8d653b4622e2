import Base
import Configuration
import Telemetry
import Upstream

/// Requests that wait for a connection at the cluster's limit, first come first served in a worker.
enum PendingQueue {
    static func append(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: AttemptID, cluster: Int
    ) {
        let last = turn.clusterPools[cluster].lastPending
        tables.attempts[attempt].enter(.pending)
        tables.attempts[attempt].previousPending = last
        tables.attempts[attempt].nextPending = .none
        if last.isNone {
            turn.clusterPools[cluster].firstPending = attempt
        } else {
            tables.attempts[last].nextPending = attempt
        }
        turn.clusterPools[cluster].lastPending = attempt
        turn.clusterPools[cluster].pendingCount += 1
    }

    static func remove(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: AttemptID, cluster: Int
    ) {
        let next = tables.attempts[attempt].nextPending
        let previous = tables.attempts[attempt].previousPending
        if previous.isNone {
            turn.clusterPools[cluster].firstPending = next
        } else {
            tables.attempts[previous].nextPending = next
        }
        if next.isNone {
            turn.clusterPools[cluster].lastPending = previous
        } else {
            tables.attempts[next].previousPending = previous
        }
        tables.attempts[attempt].enter(.placed)
        turn.clusterPools[cluster].pendingCount -= 1
        guard let state = turn.clusterPools[cluster].state else { return }
        state.value.freePending()
        if turn.clusterPools[cluster].pendingCount == 0 {
            state.value.stopWaiting(worker: turn.worker)
        }
    }
}

extension Pools {
    /// The limit is reached: wait in the queue, or be refused when that is full.
    static func wait(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: AttemptID,
        _ cluster: SharedBox<Cluster>
    ) -> Lease {
        let id = cluster.value.id
        let state = cluster.value.state
        guard state.value.takePending(max: cluster.value.limits.pendingRequestsMax) else {
            turn.counters.count(.pendingOverflow, cluster: id)
            return .refused(.pendingLimit)
        }
        PendingQueue.append(&tables, &turn, attempt, cluster: id)
        state.value.wait(worker: turn.worker)
        // A place may have been freed before the others could know that somebody waits.
        turn.queueIsDue(id, asks: true)
        return .waits
    }

    /// The outcome for a request in the queue that was looked at.
    enum Served {
        /// The request waits no more.
        case served(Lease)
        /// The request has failed, for a reason that holds for all behind it.
        case refused(Lease.Refusal)
        /// The request waits for its endpoint; another request may not have to.
        case held
        /// The request waits, and so do all behind it.
        case blocked
    }

    /// Looks for a connection, a stream or a free place for a request of the queue.
    static func serve(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: AttemptID, of exchange: ExchangeID,
        _ cluster: Int
    ) -> Served {
        let box = Attempts.cluster(tables, of: exchange)
        for position in 0..<box.value.endpoints.count {
            let endpoint = box.value.endpoints[position]
            guard endpoint.id < turn.endpointPools.count,
                box.value.isIn(position, now: turn.now)
            else { continue }
            let idle = turn.endpointPools[endpoint.id].idle
            if idle.isNone { continue }
            PendingQueue.remove(&tables, &turn, attempt, cluster: cluster)
            Attempts.move(&tables, &turn, attempt, box, position)
            IdleLists.unlink(&tables, &turn, idle)
            return .served(
                Attempts.assign(&tables, attempt: attempt, connection: idle, isReused: true))
        }
        if box.value.protocol == .http2
            || turn.endpointPools[tables.attempts[attempt].endpoint].speaksHTTP2
        {
            return serveStream(&tables, &turn, attempt, of: exchange, box)
        }
        return connect(&tables, &turn, waiting: attempt, box) ?? .blocked
    }

    /// Serves a request in the queue whose endpoint speaks HTTP/2.
    private static func serveStream(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: AttemptID, of exchange: ExchangeID,
        _ cluster: SharedBox<Cluster>
    ) -> Served {
        if Upgrades.isWanted(tables, exchange),
            let served = serveUpgrade(&tables, &turn, attempt, cluster)
        {
            return served
        }
        let endpoint = tables.attempts[attempt].endpoint, id = cluster.value.id
        if StreamPools.h2(tables, turn, endpoint: endpoint, cluster: id) != nil {
            PendingQueue.remove(&tables, &turn, attempt, cluster: id)
            if let lease = StreamPools.serve(&tables, &turn, attempt, cluster: id) {
                return .served(lease)
            }
            PendingQueue.append(&tables, &turn, attempt, cluster: id)
            return .blocked
        }
        // The HTTP/2 connection that is being made is for this one too.
        if StreamPools.isComing(tables, turn, endpoint: endpoint) { return .held }
        return connect(&tables, &turn, waiting: attempt, cluster) ?? .held
    }

    /// Looks for a way for a request that wants to leave HTTP. `nil`: the request goes on as an
    /// ordinary one.
    private static func serveUpgrade(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: AttemptID,
        _ cluster: SharedBox<Cluster>
    ) -> Served? {
        let id = cluster.value.id
        switch Upgrades.way(tables, turn, attempt, cluster) {
        case .ordinary: return nil
        case .stream(let h2):
            PendingQueue.remove(&tables, &turn, attempt, cluster: id)
            if let stream = StreamPools.open(&tables, &turn, h2) {
                return .served(
                    Attempts.assign(
                        &tables, attempt: attempt, connection: stream, isReused: true))
            }
            PendingQueue.append(&tables, &turn, attempt, cluster: id)
            return .blocked
        case .waits: return .held
        case .connects(let onlyHTTP1):
            return connect(&tables, &turn, waiting: attempt, cluster, onlyHTTP1: onlyHTTP1)
                ?? .held
        case .impossible: return .served(.refused(Upgrades.refusal(tables, &turn, attempt)))
        }
    }

    /// Makes a connection for a request of the queue. `nil`: all places are taken.
    private static func connect(
        _ tables: inout Tables, _ turn: inout Turn, waiting attempt: AttemptID,
        _ cluster: SharedBox<Cluster>, onlyHTTP1: Bool = false
    ) -> Served? {
        guard cluster.value.state.value.takeConnection(max: cluster.value.limits.connectionsMax)
        else { return nil }
        PendingQueue.remove(&tables, &turn, attempt, cluster: cluster.value.id)
        switch connect(&tables, &turn, attempt, cluster, onlyHTTP1: onlyHTTP1) {
        case .refused(let refusal): return .refused(refusal)
        case let lease: return .served(lease)
        }
    }

    /// Another worker waits: give up one connection of the cluster that is idle, or that carries
    /// streams, so that it can make its own.
    static func giveUpIdle(_ tables: inout Tables, _ turn: inout Turn, cluster: Int) {
        guard cluster < turn.clusterPools.count else { return }
        guard turn.clusterPools[cluster].idleCount > 0 else {
            return StreamPools.giveUp(&tables, &turn, cluster: cluster)
        }
        for index in 0..<tables.upstream.indexEnd {
            guard let id = tables.upstream.tenant(at: index),
                tables.upstream[id].cluster == cluster, tables.upstream[id].phase == .idle,
                tables.upstream[id].client.isNone
            else { continue }
            return EndpointConnections.close(&tables, &turn, id, reset: false)
        }
    }
}
