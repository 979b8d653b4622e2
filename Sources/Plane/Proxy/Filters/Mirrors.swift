import Base
import Configuration
import HTTP1
import HTTPSemantics
import Routing
import Telemetry
import Upstream

/// Copies of requests to another version: fire and forget. A copy has connections and limits of its
/// own, is marked `x-sluice-mirror`, and whatever becomes of it the client's exchange goes on as if
/// there were none.
///
/// A copy's body is fed to it as the client's goes to its own endpoint; a copy that falls behind by
/// more than `bodyBytes` is given up.
enum Mirrors {
    /// Makes a copy of the request whose head lies in the scratch and was just encoded for its own
    /// endpoint.
    ///
    /// - Parameters:
    ///   - origin: where the request comes from, as trusted hops say; lent, and not changed.
    ///   - identity: the certificate that the client has shown; empty without one.
    ///   - requestID: the id that the request was given.
    /// - Returns: the copy, which is to get its connection; `nil` for none.
    static func begin(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ index: Int,
        _ route: Snapshot.RoutePlan, _ snapshot: SharedBox<Snapshot>, _ head: ByteRange,
        origin: inout RequestOrigin?, identity: Span<UInt8>,
        requestID: (high: UInt64, low: UInt64)
    ) -> ExchangeID? {
        let plan = snapshot.value.mirrors[index]
        let draw = plan.draws.value.draw()
        if draw.wantsLayout { turn.effects.append(.wakeControl) }
        // A tunnel cannot be copied.
        guard draw.version == 0, !tables.exchanges[id].wantsTunnel else { return nil }
        let cluster = plan.cluster.value.id
        guard
            plan.cluster.value.state.value.takeRequest(max: plan.cluster.value.limits.requestsMax)
        else {
            turn.counters.count(.mirrorsDropped, cluster: cluster)
            return nil
        }
        guard let (downstream, copy) = InnerRequests.open(&tables, &turn, .mirror) else {
            plan.cluster.value.state.value.freeRequest()
            turn.counters.count(.mirrorsDropped, cluster: cluster)
            return nil
        }
        tables.downstream[downstream].body = BodyDecoder(turn.requestHead.framing)
        tables.downstream[downstream].peer = tables.exchanges[id].summary.peer
        describe(&tables, copy, of: id)
        tables.exchanges[copy].version = plan.version
        tables.exchanges[copy].cluster = plan.cluster
        tables.exchanges[copy].summary.cluster = cluster
        tables.exchanges[copy].summary.row = plan.row.id
        tables.exchanges[copy].rowSlot = plan.row.slot
        tables.exchanges[copy].edits = plan.row.edits
        tables.exchanges[copy].holdsRequestPermit = true
        var requestID = requestID
        Forwarding.encodeRequest(
            &tables.exchanges[copy], &turn, service: plan.service, snapshot, head, origin: &origin,
            identity: identity, requestID: &requestID)
        // Deadlines that the client set hold for the copy too.
        let deadlines = (tables.exchanges[id].requestDeadline, tables.exchanges[id].callDeadline)
        (tables.exchanges[copy].requestDeadline, tables.exchanges[copy].callDeadline) = deadlines
        if tables.exchanges[copy].hasRequestBody {
            tables.exchanges[copy].idleDeadline = turn.now + route.idle
        } else {
            tables.exchanges[copy].firstByteDeadline = turn.now + route.firstByte
        }
        if tables.exchanges[copy].hasRequestBody { tables.exchanges[id].mirror = copy }
        return copy
    }

    /// Gives the copy the facts of its request.
    private static func describe(_ tables: inout Tables, _ copy: ExchangeID, of id: ExchangeID) {
        let listener = tables.exchanges[id].summary.listener
        let peer = tables.exchanges[id].summary.peer
        let client = tables.exchanges[id].summary.client,
            version = tables.exchanges[id].summary.protocol
        let method = tables.exchanges[id].method, route = tables.exchanges[id].route
        let content = tables.exchanges[id].content
        let isGRPC = tables.exchanges[id].isGRPC, isSecure = tables.exchanges[id].isSecure
        let hash = tables.exchanges[id].hash, binds = tables.exchanges[id].binding != .none
        let cameByHTTPS = tables.exchanges[id].cameByHTTPS
        tables.exchanges[copy].method = method
        tables.exchanges[copy].route = route
        tables.exchanges[copy].content = content
        tables.exchanges[copy].isGRPC = isGRPC
        tables.exchanges[copy].retry.watch = isGRPC ? .notes : .none
        tables.exchanges[copy].isSecure = isSecure
        tables.exchanges[copy].cameByHTTPS = cameByHTTPS
        tables.exchanges[copy].hash = hash
        // Credentials for a connection are copied too.
        tables.exchanges[copy].binding = binds ? .binds : .none
        tables.exchanges[copy].keepsAlive = content == .none
        tables.exchanges[copy].summary.listener = listener
        tables.exchanges[copy].summary.peer = peer
        tables.exchanges[copy].summary.client = client
        tables.exchanges[copy].summary.protocol = version
        tables.exchanges[copy].summary.assign = .mirror
    }

    /// Whether a copy can take more of its request's body.
    static func takes(
        _ tables: borrowing Tables, _ turn: borrowing Turn, _ copy: ExchangeID, _ byteCount: Int
    ) -> Bool {
        let downstream = tables.exchanges[copy].downstream
        let snapshot = turn.snapshots[tables.exchanges[copy].snapshot]
        let filter = snapshot.value.routes[tables.exchanges[copy].route].filter
        let limit = snapshot.value.mirrors[snapshot.value.filters[filter].mirror].bodyBytesMax
        return tables.downstream[downstream].inbound.count + byteCount <= limit
    }
}
