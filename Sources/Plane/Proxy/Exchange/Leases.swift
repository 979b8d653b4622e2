import Base
import Configuration
import Telemetry
import Upstream

/// The steps of an exchange that concern its connection: everything that follows from a lease, from
/// a place that has come free, and from a failed attempt.
extension Exchanges {
    // MARK: Connections

    /// Finds a connection for the exchange, and does what follows.
    ///
    /// - Parameters:
    ///   - connects: an idle connection will not do.
    ///   - isImmediate: see `RequestRelay.start`.
    /// - Returns: whether the exchange goes on; else it was answered.
    @inline(__always) @discardableResult
    static func lease(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, connects: Bool = false,
        isImmediate: Bool = false
    ) -> Bool {
        let lease = Pools.lease(
            &tables, &turn, exchange: id, Attempts.cluster(tables, of: id), connects: connects)
        return perform(&tables, &turn, id, lease, isImmediate: isImmediate)
    }

    /// Does what follows from a lease.
    /// - Returns: whether the exchange goes on; else it was answered.
    @inline(__always) @discardableResult
    static func perform(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ lease: Lease,
        isImmediate: Bool = false
    ) -> Bool {
        switch lease {
        case .assigned(let connection):
            RequestRelay.start(&tables, &turn, id, on: connection, isImmediate: isImmediate)
        case .waits: break
        case .refused(let refusal):
            fail(&tables, &turn, id, refusal.answer)
            return false
        }
        return true
    }

    /// Looks after the queues of clusters where a connection, a stream or a place has come free.
    @inline(never)
    static func serveQueues(_ tables: inout Tables, _ turn: inout Turn) {
        var next = 0
        // Serving may make others due.
        while next < turn.dueQueues.count {
            let cluster = turn.dueQueues[next]
            next += 1
            turn.clusterPools[cluster].isDue = false
            let asks = turn.clusterPools[cluster].asksOthers
            turn.clusterPools[cluster].asksOthers = false
            serveQueue(&tables, &turn, cluster)
            if asks, turn.clusterPools[cluster].pendingCount > 0 {
                turn.effects.append(.askForConnection(cluster: cluster))
            }
        }
        turn.dueQueues.removeAll()
    }

    /// Requests that are passed over, one after the other, because their endpoint has no stream.
    private static let heldMax = 16

    /// Serves waiting requests while there are idle connections, streams or free places.
    private static func serveQueue(_ tables: inout Tables, _ turn: inout Turn, _ cluster: Int) {
        var attempt = turn.clusterPools[cluster].firstPending
        var heldCount = 0
        while !attempt.isNone {
            let exchange = tables.attempts[attempt].exchange
            switch Pools.serve(&tables, &turn, attempt, of: exchange, cluster) {
            case .served(let lease):
                perform(&tables, &turn, exchange, lease)
                attempt = turn.clusterPools[cluster].firstPending
                heldCount = 0
            case .refused(let refusal):
                fail(&tables, &turn, exchange, refusal.answer)
                // So would the next be.
                return
            case .held:
                heldCount += 1
                guard heldCount < heldMax else { return }
                attempt = tables.attempts[attempt].nextPending
            case .blocked: return
            }
        }
    }

    // MARK: Waits and repeats

    /// The exchange does nothing for a time: between two attempts, or held back by a fault.
    static func hold(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ wait: Duration,
        then hold: Exchange.Hold
    ) {
        tables.exchanges[id].hold = hold
        tables.exchanges[id].attemptDeadline = turn.now + wait
        Timers.arm(&tables, &turn, id)
    }

    /// The time is over: what waited goes on.
    static func goOn(_ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID) {
        let hold = tables.exchanges[id].hold
        tables.exchanges[id].hold = .none
        tables.exchanges[id].attemptDeadline = .never
        if case .abort(let abort) = hold { return answer(&tables, &turn, id, abort.answer) }
        if tables.exchanges[id].retry.count == 0 {
            // Held back by a fault: its time begins now.
            let snapshot = turn.snapshots[tables.exchanges[id].snapshot]
            let plan = snapshot.value.routes[tables.exchanges[id].route]
            startClocks(&tables, turn, id, firstByte: plan.firstByte, idle: plan.idle)
        }
        if lease(&tables, &turn, id) { Timers.arm(&tables, &turn, id) }
    }

    /// Sends the request once more, if that was decided.
    /// - Returns: whether it was.
    static func perform(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ retry: Retry
    ) -> Bool {
        switch retry {
        case .none: return false
        case .now(let connects): lease(&tables, &turn, id, connects: connects)
        case .after(let wait): hold(&tables, &turn, id, wait, then: .attempt)
        }
        return true
    }

    /// No connection was made for an attempt.
    static func connectFailed(
        _ tables: inout Tables, _ turn: inout Turn, attempt: AttemptID, _ failure: Failure
    ) {
        let timedOut = failure.reason == .connectTimeout
        let id = tables.attempts[attempt].exchange
        let retry = Retries.connectFailed(&tables, &turn, attempt: attempt)
        if perform(&tables, &turn, id, retry) { return }
        // To a call this is UNAVAILABLE, 14, in either case: nothing was sent, and no deadline of
        // the call has passed.
        fail(
            &tables, &turn, id,
            LocalAnswer(
                status: timedOut ? 504 : 502, flags: .upstreamConnectFailure,
                cause: timedOut ? .timeout : .connect, failure: failure, grpcStatus: 14))
    }

    /// An attempt has had its time (`perTry`).
    static func attemptTimedOut(_ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID) {
        let retry = Retries.timedOut(&tables, &turn, id)
        if perform(&tables, &turn, id, retry) { return }
        timedOut(&tables, &turn, id, by: .attemptTimeout)
    }
}
