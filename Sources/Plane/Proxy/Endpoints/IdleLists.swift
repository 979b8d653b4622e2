import Base

/// Lists of connections to endpoints that serve nobody now, newest first: an endpoint's, from which
/// any request may take one, and a client's own (`PrivateConnections`).
enum IdleLists {
    /// Puts a connection first in its endpoint's list.
    @inline(__always)
    static func link(
        _ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID, _ endpoint: Int,
        _ cluster: Int
    ) {
        let head = turn.endpointPools[endpoint].idle
        tables.upstream[id].nextIdle = head
        tables.upstream[id].previousIdle = .none
        if !head.isNone { tables.upstream[head].previousIdle = id }
        turn.endpointPools[endpoint].idle = id
        turn.endpointPools[endpoint].idleCount += 1
        turn.clusterPools[cluster].idleCount += 1
    }

    /// Takes a connection out of its endpoint's list.
    @inline(__always)
    static func unlink(_ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID) {
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

    /// Takes a kept connection out of its client's list.
    @inline(never)
    static func unlinkPrivate(_ tables: inout Tables, _ id: UpstreamID) {
        let client = tables.upstream[id].client
        let next = tables.upstream[id].nextIdle, previous = tables.upstream[id].previousIdle
        if previous.isNone {
            tables.downstream[client].firstPrivate = next
        } else {
            tables.upstream[previous].nextIdle = next
        }
        if !next.isNone { tables.upstream[next].previousIdle = previous }
        tables.upstream[id].nextIdle = .none
        tables.upstream[id].previousIdle = .none
        tables.upstream[id].client = .none
    }
}
