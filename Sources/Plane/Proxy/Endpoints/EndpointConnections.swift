import Base
import Configuration
import HTTP1
import Telemetry
import Upstream

/// The slots of connections to endpoints: opened, held up and let go on, closed.
enum EndpointConnections {
    /// Opens a connection; the cluster's place for it is taken.
    /// - Returns: `nil` when there is no slot.
    static func open(
        _ tables: inout Tables, _ turn: inout Turn, endpoint: Int, cluster: Int, address: Address,
        timeout: Duration, onlyHTTP1: Bool = false
    ) -> UpstreamID? {
        guard let id = tables.upstream.take() else { return nil }
        tables.upstream[id].reset()
        tables.upstream[id].endpoint = endpoint
        tables.upstream[id].cluster = cluster
        tables.upstream[id].transport = turn.clusterPools[cluster].transport
        tables.upstream[id].expires =
            turn.now + turn.clusterPools[cluster].limits.connectionAgeMax
        if onlyHTTP1 {
            tables.upstream[id].purpose = .oneOverHTTP1
            // The next request is better served by a stream.
            tables.upstream[id].isRetired = true
        } else {
            turn.endpointPools[endpoint].connectingCount += 1
        }
        turn.counters.count(.upstreamConnections)
        turn.counters.count(.connects, cluster: cluster)
        Timers.arm(upstream: id, turn.now + timeout, &tables, &turn)
        tables.upstream[id].address = address
        turn.effects.append(.connect(id, address))
        return id
    }

    /// A connect has ended, one way or the other.
    static func made(_ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID) {
        // Neither is for requests that wait, and neither was counted.
        switch tables.upstream[id].purpose {
        case .oneOverHTTP1, .check: return
        case .requests, .probe:
            turn.endpointPools[tables.upstream[id].endpoint].connectingCount -= 1
        }
    }

    /// The exchange that a connection serves now.
    @inline(__always)
    static func exchange(_ tables: borrowing Tables, _ id: UpstreamID) -> ExchangeID? {
        let attempt = tables.upstream[id].attempt
        return attempt.isNone ? nil : tables.attempts[attempt].exchange
    }

    static func resume(_ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID) {
        guard tables.upstream[id].isReadPaused else { return }
        tables.upstream[id].isReadPaused = false
        turn.effects.append(.resume(ConnectionID(upstream: id)))
    }

    /// Frees the slot, the place among the cluster's connections, and the socket.
    static func close(
        _ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID, reset: Bool
    ) {
        let attempt = tables.upstream[id].attempt
        if !attempt.isNone { tables.attempts[attempt].connection = .none }
        if tables.upstream[id].isStream {
            // Effects of this event may still name it.
            tables.upstream[id].enter(.closed)
            tables.upstream[id].attempt = .none
            return turn.effects.append(.close(ConnectionID(upstream: id), reset: reset))
        }
        if tables.upstream[id].phase == .idle {
            if tables.upstream[id].client.isNone {
                IdleLists.unlink(&tables, &turn, id)
            } else {
                IdleLists.unlinkPrivate(&tables, id)
            }
        }
        if tables.upstream[id].phase == .connecting { made(&tables, &turn, id) }
        let cluster = tables.upstream[id].cluster
        let isCheck = tables.upstream[id].isCheck
        tables.upstream[id].reset()
        tables.upstream.free(id)
        turn.counters.count(.upstreamConnectionsClosed)
        turn.effects.append(.close(ConnectionID(upstream: id), reset: reset))
        // A check's connection has no place among the cluster's.
        if !isCheck { freed(&turn, cluster: cluster) }
    }

    /// A connection of this worker is gone: its place goes to whoever waits, here or elsewhere.
    private static func freed(_ turn: inout Turn, cluster: Int) {
        guard cluster < turn.clusterPools.count, let state = turn.clusterPools[cluster].state else {
            return
        }
        state.value.freeConnection()
        let waiters = state.value.waiters
        if waiters == 0 { return }
        let others = waiters & ~(1 << UInt64(turn.worker))
        if !turn.clusterPools[cluster].firstPending.isNone { turn.queueIsDue(cluster) }
        if others != 0 { turn.effects.append(.tellFreed(workers: others, cluster: cluster)) }
    }
}
