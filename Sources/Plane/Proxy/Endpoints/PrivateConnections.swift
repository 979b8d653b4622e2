import Base
import Configuration
import HTTPSemantics
import Upstream

/// Connections to endpoints that carry one client's identity (`ConnectionAuthentication`): they
/// serve that client's connection alone, never the pool, and end with it.
///
///     busy ──answer done──▶ kept, in its client's list ──next request of the client──▶ busy
///
/// Only between requests does such a connection stand in a list: `UpstreamConnection.client` says
/// whose, and the links of the pool's list are used for it. While it is busy the exchange knows
/// (`Exchange.binding`). A stream of HTTP/2 has no connection of its own that could be
/// kept for it, on either side: an endpoint's connection that authenticated a client's stream is
/// closed behind the answer, and a stream to an endpoint carries no identity (RFC 9113 §8.1.1
/// leaves each request to itself).
enum PrivateConnections {
    /// The answer is done and its connection could serve again: it waits for its client.
    @inline(never)
    static func keep(
        _ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID, for client: DownstreamID
    ) {
        let limits = turn.clusterPools[tables.upstream[id].cluster].limits
        tables.upstream[id].inbound.release()
        tables.upstream[id].isReadPaused = false
        guard !tables.downstream[client].isStream,
            !tables.upstream[id].isStream, !tables.upstream[id].isCheck,
            !tables.upstream[id].isRetired, !turn.isDraining,
            tables.upstream[id].requestCount < limits.requestsPerConnectionMax,
            turn.now < tables.upstream[id].expires
        else { return EndpointConnections.close(&tables, &turn, id, reset: false) }
        tables.upstream[id].enter(.idle)
        tables.upstream[id].client = client
        let first = tables.downstream[client].firstPrivate
        tables.upstream[id].nextIdle = first
        tables.upstream[id].previousIdle = .none
        if !first.isNone { tables.upstream[first].previousIdle = id }
        tables.downstream[client].firstPrivate = id
        Timers.arm(
            upstream: id, min(turn.now + limits.idleTimeout, tables.upstream[id].expires),
            &tables, &turn)
    }

    /// The client's connection is over, and so are those that carry its identity.
    @inline(never)
    static func closeAll(_ tables: inout Tables, _ turn: inout Turn, of client: DownstreamID) {
        while !tables.downstream[client].firstPrivate.isNone {
            // Which takes it out of the list.
            EndpointConnections.close(
                &tables, &turn, tables.downstream[client].firstPrivate, reset: false)
        }
    }

    /// A kept connection of the client to a version; `.none` without one.
    private static func find(
        _ tables: borrowing Tables, _ client: DownstreamID, cluster: Int
    ) -> UpstreamID {
        var id = tables.downstream[client].firstPrivate
        while !id.isNone, tables.upstream[id].cluster != cluster {
            id = tables.upstream[id].nextIdle
        }
        return id
    }

    /// The version among a service's that a client has proved its identity to: a new draw would
    /// send each step of a handshake to another one. -1: none of them.
    @inline(never)
    static func version(
        _ tables: borrowing Tables, _ exchange: ExchangeID, _ service: Int,
        _ snapshot: SharedBox<Snapshot>
    ) -> Int {
        let service = snapshot.value.services[service]
        let client = tables.exchanges[exchange].downstream
        for i in service.versions.start..<service.versions.end {
            let cluster = snapshot.value.versions[i].cluster.value.id
            if !find(tables, client, cluster: cluster).isNone {
                return i - service.versions.start
            }
        }
        return -1
    }

    /// Serves the exchange by a connection that carries its client's identity.
    /// - Returns: `nil`: there is none to the version, or to an endpoint that it still has.
    @inline(never)
    static func lease(
        _ tables: inout Tables, _ turn: inout Turn, exchange: ExchangeID,
        _ cluster: SharedBox<Cluster>
    ) -> Lease? {
        let client = tables.exchanges[exchange].downstream
        let id = find(tables, client, cluster: cluster.value.id)
        guard !id.isNone else { return nil }
        let endpoint = tables.upstream[id].endpoint
        var position: Int?
        for i in 0..<cluster.value.endpoints.count where cluster.value.endpoints[i].id == endpoint {
            position = i
        }
        guard let position, turn.now < tables.upstream[id].expires,
            let attempt = tables.attempts.take()
        else {
            EndpointConnections.close(&tables, &turn, id, reset: false)
            return nil
        }
        IdleLists.unlinkPrivate(&tables, id)
        Attempts.begin(&tables, &turn, attempt: attempt, exchange: exchange, cluster)
        tables.exchanges[exchange].binding = .bound
        Attempts.place(&tables, &turn, attempt, cluster, position)
        return Attempts.assign(&tables, attempt: attempt, connection: id, isReused: true)
    }

    // MARK: Signs of it

    /// Whether an answer's challenges, which lie in the scratch, are for the connection.
    static func isChallenge(_ turn: borrowing Turn, _ head: ByteRange) -> Bool {
        for i in 0..<turn.responseHead.fields.count {
            let field = turn.responseHead.fields[i]
            let name = turn.scratch.span(field.name.shifted(by: head.lower))
            guard
                ASCII.equalFold(name, "www-authenticate")
                    || ASCII.equalFold(name, "proxy-authenticate")
            else { continue }
            let value = turn.scratch.span(field.value.shifted(by: head.lower))
            if ConnectionAuthentication.isNamed(in: value) { return true }
        }
        return false
    }

    /// Whether a request, whose head lies in the scratch, brings credentials for the connection.
    static func hasCredentials(_ turn: borrowing Turn, _ head: ByteRange) -> Bool {
        for i in 0..<turn.requestHead.fields.count {
            let field = turn.requestHead.fields[i]
            guard field.is(.authorization) || field.is(.proxyAuthorization) else { continue }
            let value = turn.scratch.span(field.value.shifted(by: head.lower))
            if ConnectionAuthentication.isNamed(in: value) { return true }
        }
        return false
    }
}
