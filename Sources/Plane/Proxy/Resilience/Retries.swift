import Base
import Configuration
import HTTP1
import HTTPSemantics
import Telemetry
import Upstream

/// The step that follows a failed attempt; `Exchanges.perform` takes it.
enum Retry {
    case none
    /// The request is as it was before its first attempt, and gets a connection now: a new one, if
    /// `connects`.
    case now(connects: Bool)
    case after(Duration)
}

/// When a request is sent once more. The only way back in the life of an exchange, from an attempt
/// that failed to the next lease, and bounded: by the route's policy, by the version's budget, and
/// by what can be repeated at all.
///
/// Always to the same version, to another endpoint if there is one. Two kinds:
///
/// - repairs, once each, whatever the policy says: a reused connection that died under an
///   idempotent request (RFC 9112 §9.3.1) was the pool's mistake, not the endpoint's answer;
/// - retries under the policy: each takes a token of the budget and waits out its backoff.
enum Retries {
    /// The policy's part in a request that is about to be sent for the first time.
    @inline(__always)
    static func prepare(
        _ exchange: inout Exchange, _ snapshot: SharedBox<Snapshot>, _ policy: Int,
        detectsOutliers: Bool
    ) {
        exchange.retry.left = snapshot.value.retries[policy].retriesMax
        exchange.retry.watch = exchange.isGRPC || detectsOutliers ? .notes : .none
        // Most policies concern attempts that were never sent.
        if !snapshot.value.retries[policy].repeatsSent { return }
        prepareRepeats(&exchange, snapshot.value.retries[policy])
    }

    @inline(never)
    private static func prepareRepeats(_ exchange: inout Exchange, _ policy: RetryPolicy) {
        if policy.looksAtAnswers { exchange.retry.watch = .repeats }
        exchange.retry.keepsBody = exchange.hasRequestBody && mayRepeat(exchange.method, policy)
    }

    private static func mayRepeat(_ method: Method, _ policy: RetryPolicy) -> Bool {
        method.isIdempotent || policy.repeatsAllMethods
    }

    private static func policy(
        _ tables: borrowing Tables, _ turn: borrowing Turn, _ id: ExchangeID
    ) -> RetryPolicy {
        let snapshot = turn.snapshots[tables.exchanges[id].snapshot]
        return snapshot.value.retries[snapshot.value.routes[tables.exchanges[id].route].retry]
    }

    /// Body text goes to an endpoint: it is kept as long as it is short.
    static func keep(
        _ exchange: inout Exchange, _ turn: borrowing Turn, _ text: Span<UInt8>
    ) {
        guard exchange.retry.isReplayable, !text.isEmpty else { return }
        let snapshot = turn.snapshots[exchange.snapshot]
        let policy = snapshot.value.retries[snapshot.value.routes[exchange.route].retry]
        if exchange.replay.count + text.count > policy.bodyBytesMax {
            exchange.retry.isReplayable = false
            exchange.replay.release()
        } else {
            exchange.replay.append(text)
        }
    }

    // MARK: Reasons

    /// No connection was made, so nothing was sent: any request may try another endpoint. The
    /// attempt is over.
    static func connectFailed(
        _ tables: inout Tables, _ turn: inout Turn, attempt: AttemptID
    ) -> Retry {
        let id = tables.attempts[attempt].exchange
        Outliers.failed(tables, &turn, id)
        tables.exchanges[id].retry.tried.insert(tables.attempts[attempt].position)
        let isRepeated =
            policy(tables, turn, id).conditions.contains(.connectFailure)
            && Pools.hasOther(tables, turn, id) && takePermit(&tables, &turn, id)
        Attempts.end(&tables, &turn, exchange: id)
        // Another endpoint, which has seen nothing of this: there is no reason to wait.
        return isRepeated ? again(&tables, &turn, id, .retriesAfterConnect, wait: .zero) : .none
    }

    /// The connection of an attempt is gone, or its stream, before the exchange was over.
    @inline(never)
    static func lostConnection(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID
    ) -> Retry {
        guard tables.exchanges[id].responsePhase == .waiting else { return .none }
        switch tables.upstream[connection].verdict {
        case .unprocessed, .beyondLimit: return refused(&tables, &turn, id, on: connection)
        case .wantsHTTP1:
            if downgrade(&tables, &turn, id, on: connection) { return .now(connects: false) }
        case .none, .malformed: break
        }
        if repair(&tables, &turn, id, on: connection) {
            // Others that were idle may be as dead: this time a new connection is made.
            return .now(connects: true)
        }
        Outliers.failed(tables, &turn, id)
        guard policy(tables, turn, id).takesReset, canRepeat(tables, turn, id),
            takePermit(&tables, &turn, id)
        else { return .none }
        leave(&tables, &turn, id, on: connection)
        return backOff(&tables, &turn, id, .retriesAfterReset)
    }

    /// An endpoint's bytes were not HTTP. Nothing more can be read of the connection.
    static func invalid(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID
    ) -> Retry {
        guard tables.exchanges[id].responsePhase == .waiting else { return .none }
        Outliers.failed(tables, &turn, id)
        guard policy(tables, turn, id).takesReset, canRepeat(tables, turn, id),
            takePermit(&tables, &turn, id)
        else { return .none }
        leave(&tables, &turn, id, on: connection)
        return backOff(&tables, &turn, id, .retriesAfterReset)
    }

    /// A reused connection died before the first byte of the response: the origin had closed it
    /// while the request was on its way (RFC 9110 §9.2.2, RFC 9112 §9.3.1).
    private static func repair(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID
    ) -> Bool {
        let attempt = tables.exchanges[id].attempt
        guard tables.attempts[attempt].isReused, !tables.exchanges[id].retry.isRepaired,
            tables.exchanges[id].interimBytes == 0, tables.upstream[connection].inbound.isEmpty,
            tables.exchanges[id].method.isIdempotent, !tables.exchanges[id].hasRequestBody,
            !tables.exchanges[id].wantsTunnel, !tables.exchanges[id].isBound
        else { return false }
        Attempts.end(&tables, &turn, exchange: id)
        close(&tables, &turn, connection, reset: false)
        tables.exchanges[id].retry.isRepaired = true
        restart(&tables, &turn, id)
        return true
    }

    /// The endpoint wants the request by HTTP/1.1 (RFC 9113 §7): where ALPN may choose, it is sent
    /// once more on a connection that offers HTTP/1.1 alone. Setup, and no failure.
    private static func downgrade(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID
    ) -> Bool {
        let hasBegun = tables.exchanges[id].requestPhase != .head
        guard !tables.exchanges[id].retry.onlyHTTP1, tables.exchanges[id].interimBytes == 0,
            Attempts.cluster(tables, of: id).value.protocol == .auto,
            !tables.exchanges[id].isBound, !tables.exchanges[id].isConnect,
            !tables.exchanges[id].hasRequestBody || !hasBegun
                || tables.exchanges[id].retry.isReplayable
        else { return false }
        tables.exchanges[id].retry.onlyHTTP1 = true
        Attempts.end(&tables, &turn, exchange: id)
        close(&tables, &turn, connection, reset: false)
        restart(&tables, &turn, id)
        return true
    }

    /// The endpoint said that it has not acted on the request (RFC 9113 §8.7): any request may be
    /// sent again, once, elsewhere if there is an elsewhere.
    private static func refused(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID
    ) -> Retry {
        let hasBegun = tables.exchanges[id].requestPhase != .head
        guard !tables.exchanges[id].retry.isRefused, tables.exchanges[id].interimBytes == 0,
            !tables.exchanges[id].hasRequestBody || !hasBegun
                || tables.exchanges[id].retry.isReplayable
        else { return .none }
        if tables.upstream[connection].verdict == .beyondLimit {
            // The endpoint allows fewer streams than when it was asked: no failure, so no retry of
            // the policy's. The request waits for its place as if it had come now.
            tables.exchanges[id].retry.isRefused = true
            Attempts.end(&tables, &turn, exchange: id)
            close(&tables, &turn, connection, reset: false)
            restart(&tables, &turn, id)
            return .now(connects: false)
        }
        guard policy(tables, turn, id).conditions.contains(.refusedStream),
            takePermit(&tables, &turn, id)
        else { return .none }
        tables.exchanges[id].retry.isRefused = true
        leave(&tables, &turn, id, on: connection)
        return again(&tables, &turn, id, .retriesAfterRefusal, wait: .zero)
    }

    /// The final head of an answer was read that somebody looks at. `at` is behind it.
    /// - Returns: whether it is dropped and the request is on its way again.
    @inline(never)
    static func watch(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID,
        _ head: ByteRange, _ at: Int, _ end: Int
    ) -> Retry {
        let isGRPC = tables.exchanges[id].isGRPC
        if isGRPC { ResponseRelay.noteGRPC(&tables, turn, id, head) }
        // A deadline that the client set is no fault of the endpoint.
        if tables.exchanges[id].summary.grpcStatus != GRPC.deadlineExceeded
            || !Timers.isCallOver(tables.exchanges[id], now: turn.now)
        {
            Outliers.answered(tables, &turn, id, status: turn.responseHead.status)
        }
        guard tables.exchanges[id].retry.watch == .repeats,
            turn.responseHead.status >= 400 || isGRPC
        else { return .none }
        return onAnswer(&tables, &turn, id, on: connection, head, at, end)
    }

    /// The final head of an answer was read. `at` is behind it.
    /// - Returns: whether it is dropped and the request is on its way again.
    private static func onAnswer(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID,
        _ head: ByteRange, _ at: Int, _ end: Int
    ) -> Retry {
        let policy = policy(tables, turn, id)
        guard isWanted(tables, turn, id, policy, head) else { return .none }
        guard tables.exchanges[id].retry.left > 0 else {
            tables.exchanges[id].summary.flags.insert(.retryLimit)
            return .none
        }
        var wait = Duration.zero
        if turn.responseHead.fields.seen.contains(.retryAfter) {
            let value = turn.responseHead.fields.value(.retryAfter)
            let asked = RetryAfter.wait(
                turn.scratch.span(value.shifted(by: head.lower)), wall: turn.wall)
            if let asked {
                guard asked <= policy.retryAfterMax else { return .none }
                wait = asked
            }
        }
        guard canRepeat(tables, turn, id),
            turn.now + wait < tables.exchanges[id].requestDeadline,
            turn.now + wait < tables.exchanges[id].callDeadline,
            takePermit(&tables, &turn, id)
        else { return .none }
        drop(&tables, &turn, id, on: connection, at, end)
        return backOff(&tables, &turn, id, .retriesAfterAnswer, atLeast: wait)
    }

    private static func isWanted(
        _ tables: borrowing Tables, _ turn: borrowing Turn, _ id: ExchangeID, _ policy: RetryPolicy,
        _ head: ByteRange
    ) -> Bool {
        if policy.takes(status: turn.responseHead.status) { return true }
        guard tables.exchanges[id].isGRPC, tables.exchanges[id].summary.grpcStatus >= 0 else {
            return false
        }
        return policy.takes(grpcStatus: tables.exchanges[id].summary.grpcStatus)
    }

    /// An attempt has had its time.
    static func timedOut(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID
    ) -> Retry {
        turn.counters.count(.perTryTimeouts, cluster: tables.exchanges[id].summary.cluster)
        Outliers.failed(tables, &turn, id)
        if policy(tables, turn, id).takesReset, canRepeat(tables, turn, id),
            takePermit(&tables, &turn, id)
        {
            insertTried(&tables, id)
            Pools.abandon(&tables, &turn, exchange: id)
            return backOff(&tables, &turn, id, .retriesAfterTimeout)
        }
        return .none
    }

    // MARK: Whether

    /// Whether the request as it was sent can be sent again.
    private static func canRepeat(
        _ tables: borrowing Tables, _ turn: borrowing Turn, _ id: ExchangeID
    ) -> Bool {
        let hasBegun = tables.exchanges[id].requestPhase != .head
        return tables.exchanges[id].responsePhase == .waiting && !tables.exchanges[id].wantsTunnel
            // Elsewhere it would be nobody's request, or another one's.
            && !tables.exchanges[id].isBound
            && mayRepeat(tables.exchanges[id].method, policy(tables, turn, id))
            && (!tables.exchanges[id].hasRequestBody || !hasBegun
                || tables.exchanges[id].retry.keepsBody && tables.exchanges[id].retry.isReplayable)
    }

    /// Takes one of the retries that the policy, the version's limit and its budget allow. The
    /// attempt that has failed still holds its own place.
    private static func takePermit(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID
    ) -> Bool {
        guard tables.exchanges[id].retry.left > 0 else {
            tables.exchanges[id].summary.flags.insert(.retryLimit)
            return false
        }
        let cluster = Attempts.cluster(tables, of: id)
        let isHeld = tables.exchanges[id].retry.holdsPermit
        let refusal = cluster.value.state.value.takeRetry(
            max: isHeld ? .max : cluster.value.limits.retriesMax,
            budget: cluster.value.retryBudget, now: turn.now)
        if let refusal {
            turn.counters.count(
                refusal == .budget ? .retryBudgetSpent : .retryLimitReached,
                cluster: cluster.value.id)
            tables.exchanges[id].summary.flags.insert(.retryLimit)
            return false
        }
        if isHeld { cluster.value.state.value.freeRetry() }
        tables.exchanges[id].retry.left -= 1
        // The attempt that ends now gives no place back: the next one goes on with it.
        tables.exchanges[id].retry.holdsPermit = false
        return true
    }

    // MARK: Again

    /// The failed attempt is over, and so is its connection.
    private static func leave(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID
    ) {
        insertTried(&tables, id)
        Attempts.end(&tables, &turn, exchange: id)
        close(&tables, &turn, connection, reset: false)
    }

    private static func insertTried(_ tables: inout Tables, _ id: ExchangeID) {
        let attempt = tables.exchanges[id].attempt
        guard !attempt.isNone else { return }
        tables.exchanges[id].retry.tried.insert(tables.attempts[attempt].position)
    }

    private static func close(
        _ tables: inout Tables, _ turn: inout Turn, _ connection: UpstreamID, reset: Bool
    ) {
        tables.upstream[connection].attempt = .none
        EndpointConnections.close(&tables, &turn, connection, reset: reset)
    }

    /// The answer goes nowhere. Its connection is kept if all of it is there already.
    private static func drop(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID,
        _ at: Int,
        _ end: Int
    ) {
        var body = BodyDecoder(
            ResponseRelay.bodyFraming(turn.responseHead, tables.exchanges[id].method),
            isResponse: true)
        var at = at
        let bytes = turn.scratch.span(ByteRange(start: 0, count: end))
        while let step = try? body.next(bytes, at: &at, limits: turn.limits), step.isProgress {}
        let keeps =
            body.isComplete && at == end && turn.responseHead.keepsAlive
            && tables.exchanges[id].requestPhase == .complete
            && !tables.upstream[connection].hasUnsent && !tables.upstream[connection].hasEnded
        insertTried(&tables, id)
        Attempts.end(&tables, &turn, exchange: id)
        if keeps {
            tables.upstream[connection].attempt = .none
            Pools.release(&tables, &turn, connection)
        } else {
            close(&tables, &turn, connection, reset: !body.isComplete)
        }
    }

    private static func backOff(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ reason: ClusterMetric,
        atLeast least: Duration = .zero
    ) -> Retry {
        let wait = policy(tables, turn, id).backoff.wait(
            before: Int(tables.exchanges[id].retry.count) + 1, random: &turn.random)
        return again(&tables, &turn, id, reason, wait: max(wait, least))
    }

    /// Sends the request again, now or after a wait.
    private static func again(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ reason: ClusterMetric,
        wait: Duration
    ) -> Retry {
        if tables.exchanges[id].retry.count == 0 {
            Outcomes.noteFirst(&tables, turn, id, isAnswer: reason == .retriesAfterAnswer)
        }
        tables.exchanges[id].retry.holdsPermit = true
        tables.exchanges[id].retry.count &+= 1
        turn.counters.count(reason, cluster: tables.exchanges[id].summary.cluster)
        restart(&tables, &turn, id)
        return wait > .zero ? .after(wait) : .now(connects: false)
    }

    /// The request is as it was before the first attempt, but for what was kept of its body.
    private static func restart(_ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID) {
        turn.counters.count(.retries, cluster: tables.exchanges[id].summary.cluster)
        if tables.exchanges[id].requestPhase != .head {
            if tables.exchanges[id].hasRequestBody {
                tables.exchanges[id].retry.resend =
                    tables.exchanges[id].requestPhase == .complete ? .all : .part
            }
            tables.exchanges[id].enter(request: .head)
        }
        tables.exchanges[id].attemptDeadline = .never
        tables.exchanges[id].summary.grpcStatus = -1
        tables.exchanges[id].summary.cause = .none
        tables.exchanges[id].summary.failure = .none
    }
}
