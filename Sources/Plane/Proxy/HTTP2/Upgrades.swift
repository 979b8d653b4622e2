import Base
import Telemetry
import Upstream

/// How a request that HTTP/2 may not be able to carry reaches an endpoint that speaks HTTP/2: one
/// for a WebSocket, for another upgrade, or one that the endpoint itself wants by HTTP/1.1.
///
/// HTTP/2 carries WebSockets where the endpoint's settings offer them (RFC 8441 §3), and no other
/// upgrade. An endpoint that ALPN may choose for is asked for HTTP/1.1 instead, on a connection for
/// that request alone.
enum Upgrades {
    /// How a request goes about its upgrade.
    enum Way {
        /// The upgrade goes by a stream of this HTTP/2 connection.
        case stream(HTTP2LinkID)
        /// The upgrade waits for an HTTP/2 connection that is coming: what its settings offer is
        /// not known yet.
        case waits
        case connects(onlyHTTP1: Bool)
        /// The request goes without the upgrade, which a proxy may leave out (RFC 9110 §7.8).
        case ordinary
        case impossible
    }

    /// The answer where no way is left.
    static var noWebSockets: StaticString {
        "This endpoint speaks HTTP/2 and offers no WebSockets (RFC 8441)."
    }

    static func isWanted(_ tables: borrowing Tables, _ exchange: ExchangeID) -> Bool {
        tables.exchanges[exchange].wantsTunnel && !tables.exchanges[exchange].isConnect
            || tables.exchanges[exchange].retry.onlyHTTP1
    }

    /// How an attempt that has been placed at an endpoint can go about its upgrade.
    @inline(never)
    static func way(
        _ tables: borrowing Tables, _ turn: borrowing Turn, _ attempt: AttemptID,
        _ cluster: SharedBox<Cluster>
    ) -> Way {
        let exchange = tables.attempts[attempt].exchange
        let endpoint = tables.attempts[attempt].endpoint
        let mayAskForHTTP1 = cluster.value.protocol != .http2
        if tables.exchanges[exchange].retry.onlyHTTP1 { return .connects(onlyHTTP1: true) }
        let isWebSocket = ASCII.equalFold(
            tables.exchanges[exchange].arena.span(tables.exchanges[exchange].upgrade), "websocket")
        guard isWebSocket else {
            return mayAskForHTTP1 ? .connects(onlyHTTP1: true) : .ordinary
        }
        let h2 = StreamPools.h2(
            tables, turn, endpoint: endpoint, cluster: cluster.value.id, forWebSocket: true)
        if let h2 { return .stream(h2) }
        if turn.endpointPools[endpoint].lacksWebSockets {
            return mayAskForHTTP1 ? .connects(onlyHTTP1: true) : .impossible
        }
        return StreamPools.isComing(tables, turn, endpoint: endpoint)
            ? .waits : .connects(onlyHTTP1: false)
    }

    /// The endpoint cannot be asked for what the client wants. That is how it was set up, and no
    /// failure of the endpoint.
    static func refusal(
        _ tables: borrowing Tables, _ turn: inout Turn, _ attempt: AttemptID
    ) -> Lease.Refusal {
        let exchange = tables.attempts[attempt].exchange
        let endpoint = tables.attempts[attempt].endpoint
        guard tables.exchanges[exchange].wantsTunnel else { return .noHTTP1 }
        if !turn.endpointPools[endpoint].hasToldOfWebSockets {
            turn.endpointPools[endpoint].hasToldOfWebSockets = true
            let cluster = Attempts.cluster(tables, of: exchange)
            let position = tables.attempts[attempt].position
            turn.tell(.lacksWebSockets, cluster, cluster.value.endpoints[position].address)
        }
        return .noWebSockets
    }
}
