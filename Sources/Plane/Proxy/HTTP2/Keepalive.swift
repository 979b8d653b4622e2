import Base
import HTTP2
import Telemetry
import Upstream

/// Whether an endpoint with open streams is still there (RFC 9113 §6.7).
///
///     silent ──interval──▶ asked ──any byte──▶ silent again
///                            └────interval──▶ given up
///
/// A gRPC server takes a PING as abuse that comes less than five minutes behind the one before,
/// unless it has sent HEADERS or DATA in between; it forgives two of them (gRPC's proposal A8). So
/// without an interval of the operator's an endpoint is asked when it has said something since the
/// last time, when five minutes have passed, or once besides when it was sent something since. A
/// machine that is gone is noticed earlier by TCP's own probes (`Socket.setKeepAlive`).
enum Keepalive {
    /// The time that a gRPC server asks for between two PINGs without need.
    static let leastInterval = Duration.seconds(300)

    /// The PINGs of one HTTP/2 connection: whether one is out, and what has moved since the last.
    struct State: BitwiseCopyable {
        /// Bytes came since the last look, and whether a PING is out.
        var hasHeard = false
        var isAsking = false
        /// When the last PING was known to be answered; `nil` before the first.
        var answeredAt: Instant?
        /// HEADERS and DATA that the endpoint had sent, and was sent, when it was asked last.
        var receivedBefore = 0
        var sentBefore = 0
        /// The endpoint was asked early, and has sent nothing since.
        var wasEarly = false
    }

    /// The HTTP/2 connection's first stream was opened: its silence begins now.
    static func begin(_ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID) {
        tables.links[h2].keepalive.hasHeard = false
        tables.links[h2].keepalive.isAsking = false
        arm(&tables, &turn, h2)
    }

    private static func arm(_ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID) {
        let socket = tables.links[h2].socket
        guard socket.side == .upstream else { return }
        let interval = turn.clusterPools[tables.links[h2].cluster].limits.pingInterval
        Timers.arm(upstream: socket.upstream, turn.now + interval, &tables, &turn)
    }

    /// An interval has passed.
    /// - Returns: `false` when the endpoint does not answer.
    static func expired(
        _ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID
    ) -> Bool {
        var state = tables.links[h2].keepalive
        if state.hasHeard {
            if state.isAsking { state.answeredAt = turn.now }
            state.isAsking = false
        } else if state.isAsking {
            return false
        } else if mayAsk(tables, turn, h2, &state) {
            state.isAsking = true
            tables.links[h2].engine.ping()
            HTTP2LinkLists.markDirty(&tables, &turn, h2)
        }
        state.hasHeard = false
        tables.links[h2].keepalive = state
        arm(&tables, &turn, h2)
        return true
    }

    private static func mayAsk(
        _ tables: borrowing Tables, _ turn: borrowing Turn, _ h2: HTTP2LinkID,
        _ state: inout State
    ) -> Bool {
        let received = tables.links[h2].engine.messageFramesReceived
        let sent = tables.links[h2].engine.messageFramesSent
        let limits = turn.clusterPools[tables.links[h2].cluster].limits
        let endpoint = tables.links[h2].endpoint
        let isOperators =
            limits.pingsAtWill && !turn.endpointPools[endpoint].wasToldTooManyPings
        let hasSpoken = received != state.receivedBefore
        if hasSpoken { state.wasEarly = false }
        let isDue = state.answeredAt.map { turn.now - $0 >= leastInterval } ?? true
        if !isOperators, !hasSpoken, !isDue {
            // Something was sent, and nothing came back.
            guard sent != state.sentBefore, !state.wasEarly else { return false }
            state.wasEarly = true
        }
        state.receivedBefore = received
        state.sentBefore = sent
        return true
    }

    /// The endpoint takes no more streams; it may have said that it was asked too often.
    static func goingAway(_ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID) {
        turn.counters.count(.upstreamGoAways)
        HTTP2LinkLists.unlist(&tables, &turn, h2)
        let endpoint = tables.links[h2].endpoint
        guard tables.links[h2].engine.wasToldTooManyPings,
            !turn.endpointPools[endpoint].wasToldTooManyPings
        else { return }
        // From now on it is asked by gRPC's rules, whatever the interval.
        turn.endpointPools[endpoint].wasToldTooManyPings = true
        let socket = tables.links[h2].socket.upstream
        turn.tell(
            .toldTooManyPings, cluster: tables.links[h2].cluster,
            tables.upstream[socket].address)
    }
}
