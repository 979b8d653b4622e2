import Base
import Configuration
import Telemetry
import Upstream

/// Requests that wait for a connection at the cluster's limit, first come first served in a worker.
enum PendingQueue {
    static func append(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: SlotID, cluster: Int
    ) {
        let last = turn.clusterPools[cluster].lastPending
        tables.attempts[attempt].phase = .pending
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
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: SlotID, cluster: Int
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
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: SlotID, _ cluster: SharedBox<Cluster>
    ) {
        let id = cluster.value.id
        let state = cluster.value.state
        guard state.value.takePending(max: cluster.value.limits.pendingRequestsMax) else {
            turn.counters.count(.pendingOverflow, cluster: id)
            let exchange = tables.attempts[attempt].exchange
            // Not queued, so not to be taken from the queue.
            tables.attempts[attempt].phase = .connecting
            return Exchanges.fail(
                &tables, &turn, exchange, status: 503, flags: .upstreamOverflow, cause: .local)
        }
        PendingQueue.append(&tables, &turn, attempt, cluster: id)
        state.value.wait(worker: turn.worker)
        // A place may have been freed before the others could know that somebody waits.
        servePending(&tables, &turn, cluster: id)
        if turn.clusterPools[id].pendingCount > 0 {
            turn.effects.append(.askForConnection(cluster: id))
        }
    }

    /// What became of a request in the queue that was looked at.
    enum Served {
        /// It waits no more.
        case served
        /// It waits for its endpoint; another request may not have to.
        case held
        /// It waits, and so do all behind it.
        case blocked
    }

    /// Requests that are passed over, one after the other, because their endpoint has no stream.
    private static let heldMax = 16

    /// Serves waiting requests while there are idle connections, streams or free places.
    static func servePending(_ tables: inout Tables, _ turn: inout Turn, cluster: Int) {
        guard cluster < turn.clusterPools.count else { return }
        var attempt = turn.clusterPools[cluster].firstPending
        var heldCount = 0
        while !attempt.isNone {
            let exchange = tables.attempts[attempt].exchange
            switch serve(&tables, &turn, attempt, exchange, cluster) {
            case .served:
                attempt = turn.clusterPools[cluster].firstPending
                heldCount = 0
            case .held:
                heldCount += 1
                guard heldCount < heldMax else { return }
                attempt = tables.attempts[attempt].nextPending
            case .blocked: return
            }
        }
    }

    private static func serve(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: SlotID, _ exchange: SlotID,
        _ cluster: Int
    ) -> Served {
        let box = self.cluster(tables, of: exchange)
        for position in 0..<box.value.endpoints.count {
            let endpoint = box.value.endpoints[position]
            guard endpoint.id < turn.endpointPools.count,
                box.value.isIn(position, now: turn.now)
            else { continue }
            let idle = turn.endpointPools[endpoint.id].idle
            if idle.isNone { continue }
            PendingQueue.remove(&tables, &turn, attempt, cluster: cluster)
            turn.endpointPools[tables.attempts[attempt].endpoint].load -= 1
            tables.attempts[attempt].position = position
            tables.attempts[attempt].endpoint = endpoint.id
            turn.endpointPools[endpoint.id].load += 1
            tables.exchanges[exchange].summary.endpoint = endpoint.address
            unlinkIdle(&tables, &turn, idle)
            assign(&tables, &turn, attempt: attempt, connection: idle, isReused: true)
            return .served
        }
        if box.value.protocol == .http2
            || turn.endpointPools[tables.attempts[attempt].endpoint].speaksHTTP2
        {
            return serveStream(&tables, &turn, attempt, exchange, box)
        }
        return connect(&tables, &turn, waiting: attempt, box) ?? .blocked
    }

    /// The same for an endpoint that speaks HTTP/2.
    private static func serveStream(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: SlotID, _ exchange: SlotID,
        _ cluster: SharedBox<Cluster>
    ) -> Served {
        if Upgrades.isWanted(tables, exchange),
            let served = Upgrades.serve(&tables, &turn, attempt, cluster)
        {
            return served
        }
        let endpoint = tables.attempts[attempt].endpoint, id = cluster.value.id
        if StreamPools.session(tables, turn, endpoint: endpoint, cluster: id) != nil {
            PendingQueue.remove(&tables, &turn, attempt, cluster: id)
            if StreamPools.serve(&tables, &turn, attempt, cluster: id) { return .served }
            PendingQueue.append(&tables, &turn, attempt, cluster: id)
            return .blocked
        }
        // The session that is being made is for this one too.
        if StreamPools.isComing(tables, turn, endpoint: endpoint) { return .held }
        return connect(&tables, &turn, waiting: attempt, cluster) ?? .held
    }

    /// Makes a connection for a request of the queue. `nil`: all places are taken.
    static func connect(
        _ tables: inout Tables, _ turn: inout Turn, waiting attempt: SlotID,
        _ cluster: SharedBox<Cluster>, onlyHTTP1: Bool = false
    ) -> Served? {
        guard cluster.value.state.value.takeConnection(max: cluster.value.limits.connectionsMax)
        else { return nil }
        PendingQueue.remove(&tables, &turn, attempt, cluster: cluster.value.id)
        // Without a slot for it the request has failed, and so would the next.
        return connect(&tables, &turn, attempt, cluster, onlyHTTP1: onlyHTTP1)
            ? .served : .blocked
    }

    /// A connection of this worker is gone: its place goes to whoever waits, here or elsewhere.
    static func connectionFreed(_ tables: inout Tables, _ turn: inout Turn, cluster: Int) {
        guard cluster < turn.clusterPools.count, let state = turn.clusterPools[cluster].state else {
            return
        }
        state.value.freeConnection()
        let waiters = state.value.waiters
        if waiters == 0 { return }
        let others = waiters & ~(1 << UInt64(turn.worker))
        if !turn.clusterPools[cluster].firstPending.isNone {
            servePending(&tables, &turn, cluster: cluster)
        }
        if others != 0 { turn.effects.append(.tellFreed(workers: others, cluster: cluster)) }
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
            return UpstreamSide.close(&tables, &turn, id, reset: false)
        }
    }
}
