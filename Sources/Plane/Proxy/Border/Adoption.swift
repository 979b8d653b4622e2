import Base
import Configuration
import Telemetry
import Upstream

// A new snapshot is in force: what it names gets its place in this worker's tables, what it no
// longer names drains.

extension Pools {
    static func adopt(_ tables: inout Tables, _ turn: inout Turn) {
        let snapshot = turn.snapshots.newest
        turn.generation = snapshot.value.generation
        turn.counters.refresh()
        for i in 0..<snapshot.value.versions.count {
            place(&turn, snapshot.value.versions[i].cluster)
        }
        for i in 0..<snapshot.value.mirrors.count {
            place(&turn, snapshot.value.mirrors[i].cluster)
        }
        for i in turn.probes.indices where turn.probes[i].isActive {
            let endpoint = turn.probes[i].endpoint.value.id
            if !isCurrent(turn, endpoint: endpoint) { endProbe(&turn, i) }
        }
        for index in 0..<tables.upstream.indexEnd {
            guard let id = tables.upstream.tenant(at: index), !tables.upstream[id].isRetired,
                !tables.upstream[id].isStream, !isReached(tables, turn, id)
            else { continue }
            tables.upstream[id].isRetired = true
            leave(&tables, &turn, id)
        }
    }

    private static func place(_ turn: inout Turn, _ cluster: SharedBox<Cluster>) {
        let id = cluster.value.id
        while turn.clusterPools.count <= id {
            var pool = ClusterPool()
            // Round robins that all begin with the first endpoint would send the first request of
            // every worker of every process there.
            pool.turn = UInt32(truncatingIfNeeded: turn.random.next())
            turn.clusterPools.append(pool)
        }
        turn.clusterPools[id].transport = cluster.value.transport
        turn.clusterPools[id].state = cluster.value.state
        turn.clusterPools[id].limits = cluster.value.limits
        turn.clusterPools[id].speaksHTTP2 = cluster.value.protocol == .http2
        for i in 0..<cluster.value.endpoints.count {
            let endpoint = cluster.value.endpoints[i].id
            while turn.endpointPools.count <= endpoint { turn.endpointPools.append(EndpointPool()) }
            // A number that was free meanwhile is another endpoint's now.
            if turn.endpointPools[endpoint].generation + 1 < turn.generation {
                turn.endpointPools[endpoint].speaksHTTP2 = false
                turn.endpointPools[endpoint].wasToldTooManyPings = false
                turn.endpointPools[endpoint].lacksWebSockets = false
                turn.endpointPools[endpoint].hasToldOfWebSockets = false
            }
            // Configured anew: whatever is still wrong is told once more.
            turn.endpointPools[endpoint].hasToldOfProtocol = false
            turn.endpointPools[endpoint].generation = turn.generation
        }
    }

    /// Whether the snapshot in force names the endpoint.
    @inline(__always)
    static func isCurrent(_ turn: borrowing Turn, endpoint: Int) -> Bool {
        turn.endpointPools[endpoint].generation == turn.generation
    }

    /// Whether the connection's endpoint is named, and reached in the same way as before.
    private static func isReached(
        _ tables: borrowing Tables, _ turn: borrowing Turn, _ id: UpstreamID
    ) -> Bool {
        isCurrent(turn, endpoint: tables.upstream[id].endpoint)
            && tables.upstream[id].transport
                == turn.clusterPools[tables.upstream[id].cluster].transport
    }

    /// The connection finishes what it has.
    private static func leave(_ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID) {
        switch tables.upstream[id].phase {
        case .idle: EndpointConnections.close(&tables, &turn, id, reset: false)
        case .connecting:
            // Somebody who waits for it began before; it ends with that exchange.
            if tables.upstream[id].attempt.isNone {
                EndpointConnections.close(&tables, &turn, id, reset: false)
            }
        case .http2:
            let h2 = tables.upstream[id].h2
            turn.endpointPools[tables.upstream[id].endpoint].speaksHTTP2 = false
            turn.endpointPools[tables.upstream[id].endpoint].lacksWebSockets = false
            StreamPools.retire(&tables, &turn, h2)
        case .open, .busy, .tunnel, .closed: break
        }
    }
}
