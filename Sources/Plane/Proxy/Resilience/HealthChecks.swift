import Base
import Configuration
import HTTP1
import HTTPSemantics
import Telemetry
import Upstream

/// One endpoint that is asked at intervals whether it is well.
struct HealthCheck {
    /// Both are retained while the check is active.
    var endpoint: SharedBox<EndpointState>
    var cluster: SharedBox<Cluster>
    /// The check's index in the newest snapshot's checks.
    var plan: Int
    /// The endpoint's position in the cluster.
    var position: Int
    /// The version's index in the newest snapshot's versions.
    var version: Int
    var policy: HealthCheckPolicy
    var isActive = true
    /// The newest snapshot has it.
    var isNamed = true
    var isRunning = false
    var timer = LazyTimer()
}

/// Active health checks: a connection of its own for each, so that a check also says whether the
/// endpoint accepts any. They pass by the cluster's limits, and count in none of its figures.
enum HealthChecks {
    /// The first check of an endpoint comes within this time.
    private static let firstWithin = Duration.milliseconds(200)

    // MARK: Times

    /// Begins to check an endpoint, or goes on with what a new snapshot says about it.
    static func put(
        _ turn: inout Turn, _ cluster: SharedBox<Cluster>, position: Int, plan: Int, version: Int,
        policy: HealthCheckPolicy
    ) {
        let endpoint = cluster.value.endpoints[position].state
        cluster.retain()
        let held = turn.rounds.checks.firstIndex {
            $0.isActive && $0.endpoint.value.id == endpoint.value.id
        }
        if let held {
            turn.rounds.checks[held].cluster.release()
            turn.rounds.checks[held].cluster = cluster
            turn.rounds.checks[held].plan = plan
            turn.rounds.checks[held].position = position
            turn.rounds.checks[held].version = version
            turn.rounds.checks[held].isNamed = true
            guard turn.rounds.checks[held].policy != policy else { return }
            turn.rounds.checks[held].policy = policy
            return schedule(&turn, held, within: firstWithin)
        }
        endpoint.retain()
        var check = HealthCheck(
            endpoint: endpoint, cluster: cluster, plan: plan, position: position, version: version,
            policy: policy)
        let index: Int
        let free = turn.rounds.checks.firstIndex { !$0.isActive && !$0.isRunning }
        if let free {
            check.timer = turn.rounds.checks[free].timer
            turn.rounds.checks[free] = check
            index = free
        } else {
            turn.rounds.checks.append(check)
            index = turn.rounds.checks.count - 1
        }
        schedule(&turn, index, within: firstWithin)
    }

    static func stop(_ turn: inout Turn, _ index: Int) {
        turn.rounds.checks[index].isActive = false
        turn.rounds.checks[index].timer.clear()
        turn.rounds.checks[index].endpoint.release()
        turn.rounds.checks[index].cluster.release()
    }

    private static func schedule(_ turn: inout Turn, _ index: Int, within limit: Duration) {
        let most = min(limit, turn.rounds.checks[index].policy.interval)
        set(&turn, index, .nanoseconds(Int64(turn.random.below(UInt64(most.nanoseconds) + 1))))
    }

    /// Give or take a tenth, so that checks of many proxies do not come together.
    private static func scheduleNext(_ turn: inout Turn, _ index: Int) {
        let interval = turn.rounds.checks[index].policy.interval.nanoseconds
        let tenth = interval / 10
        let jitter = Int64(turn.random.below(UInt64(tenth * 2) + 1))
        set(&turn, index, .nanoseconds(interval - tenth + jitter))
    }

    private static func set(_ turn: inout Turn, _ index: Int, _ wait: Duration) {
        turn.rounds.checks[index].timer.attach(
            to: &turn.timers, payload: Timers.payload(.check, UInt32(index)))
        turn.rounds.checks[index].timer.set(turn.now + wait, on: &turn.timers)
    }

    static func fired(_ tables: inout Tables, _ turn: inout Turn, _ index: Int) {
        guard turn.rounds.checks[index].timer.fired(now: turn.now, on: &turn.timers),
            turn.rounds.checks[index].isActive
        else { return }
        scheduleNext(&turn, index)
        if !turn.rounds.checks[index].isRunning, !turn.isDraining { start(&tables, &turn, index) }
    }

    // MARK: One check

    private static func start(_ tables: inout Tables, _ turn: inout Turn, _ index: Int) {
        let check = turn.rounds.checks[index]
        guard let connection = connect(&tables, &turn, index, check) else { return }
        turn.rounds.checks[index].isRunning = true
        if check.policy.kind == .tcp { return }
        guard let attempt = tables.attempts.take() else {
            return giveUp(&tables, &turn, index, connection)
        }
        guard let (downstream, id) = InnerRequests.open(&tables, &turn, .check) else {
            tables.attempts.free(attempt)
            return giveUp(&tables, &turn, index, connection)
        }
        let snapshot = turn.snapshots.newest
        let plan = snapshot.value.checks[check.plan]
        tables.downstream[downstream].body = BodyDecoder(.none)
        tables.exchanges[id].check = index
        tables.exchanges[id].route = plan.route
        tables.exchanges[id].version = check.version
        tables.exchanges[id].cluster = check.cluster
        tables.exchanges[id].summary.cluster = check.cluster.value.id
        tables.exchanges[id].summary.endpoint = check.endpoint.value.address
        tables.exchanges[id].isGRPC = check.policy.kind == .grpc
        tables.exchanges[id].retry.watch = check.policy.kind == .grpc ? .notes : .none
        tables.exchanges[id].method = check.policy.kind == .grpc ? .post : .get
        tables.exchanges[id].keepsAlive = true
        tables.exchanges[id].arena.append(snapshot.value.store.bytes(plan.message))
        tables.exchanges[id].head = ByteRange(0, end: tables.exchanges[id].arena.writerIndex)
        tables.exchanges[id].requestDeadline = turn.now + check.policy.timeout
        tables.attempts[attempt].reset()
        tables.attempts[attempt].exchange = id
        tables.attempts[attempt].enter(.connecting)
        tables.attempts[attempt].position = check.position
        tables.attempts[attempt].connection = connection
        tables.exchanges[id].attempt = attempt
        tables.upstream[connection].attempt = attempt
        Timers.arm(&tables, &turn, id)
    }

    /// There is no room for a check's request: what that says of the endpoint is nothing.
    private static func giveUp(
        _ tables: inout Tables, _ turn: inout Turn, _ index: Int, _ connection: UpstreamID
    ) {
        turn.rounds.checks[index].isRunning = false
        EndpointConnections.close(&tables, &turn, connection, reset: false)
    }

    private static func connect(
        _ tables: inout Tables, _ turn: inout Turn, _ index: Int, _ check: HealthCheck
    ) -> UpstreamID? {
        guard let id = tables.upstream.take() else { return nil }
        tables.upstream[id].reset()
        tables.upstream[id].endpoint = check.endpoint.value.id
        tables.upstream[id].cluster = check.cluster.value.id
        tables.upstream[id].transport = check.cluster.value.transport
        tables.upstream[id].purpose = .check(index)
        turn.counters.count(.upstreamConnections)
        Timers.arm(upstream: id, turn.now + check.policy.timeout, &tables, &turn)
        tables.upstream[id].address = check.endpoint.value.address
        turn.effects.append(.connect(id, check.endpoint.value.address))
        return id
    }

    // MARK: Results

    /// A check's connection was made.
    /// - Returns: whether that was all it wanted.
    static func connected(
        _ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID, check: Int
    ) -> Bool {
        guard tables.upstream[id].attempt.isNone,
            turn.rounds.checks[check].policy.kind == .tcp
        else { return false }
        EndpointConnections.close(&tables, &turn, id, reset: false)
        finish(&turn, check, .none)
        return true
    }

    /// A check's connection was not made, or not in time.
    /// - Returns: the exchange that fails with it, if it was for one.
    static func connectFailed(
        _ tables: inout Tables, _ turn: inout Turn, _ id: UpstreamID, check: Int,
        _ failure: Failure
    ) -> ExchangeID? {
        let attempt = tables.upstream[id].attempt
        EndpointConnections.close(&tables, &turn, id, reset: false)
        guard !attempt.isNone else {
            // Of an exchange it was the end already.
            if turn.rounds.checks[check].policy.kind == .tcp { finish(&turn, check, failure) }
            return nil
        }
        let exchange = tables.attempts[attempt].exchange
        Attempts.end(&tables, &turn, exchange: exchange)
        return exchange
    }

    /// A check's exchange is over.
    static func finished(_ tables: borrowing Tables, _ turn: inout Turn, _ id: ExchangeID) {
        let index = tables.exchanges[id].check
        let status = tables.exchanges[id].summary.status
        let policy = turn.rounds.checks[index].policy
        var failure = tables.exchanges[id].summary.failure
        let isExpected =
            policy.kind == .grpc
            ? status == 200 : status >= policy.statusMin && status <= policy.statusMax
        if failure.reason == .none, !isExpected {
            failure = Failure(.unexpectedStatus, Int(status))
        }
        if failure.reason == .none, policy.kind == .grpc,
            tables.exchanges[id].summary.grpcStatus != 0
                || !isServing(tables.exchanges[id].replay.readable)
        {
            failure = Failure(.notServing)
        }
        finish(&turn, index, failure)
    }

    /// Whether a framed `HealthCheckResponse { ServingStatus status = 1; }` says SERVING, 1.
    private static func isServing(_ bytes: Span<UInt8>) -> Bool {
        // Not compressed, a length of two: the tag of field 1 as a varint, and the value.
        guard bytes.count >= 7, bytes[0] == 0, bytes[4] >= 2 else { return false }
        return bytes[5] == 0x08 && bytes[6] == 0x01
    }

    /// - Parameter failure: why the endpoint is not well; `none`: it is.
    private static func finish(_ turn: inout Turn, _ index: Int, _ failure: Failure) {
        let isWell = failure.reason == .none
        turn.rounds.checks[index].isRunning = false
        let check = turn.rounds.checks[index]
        guard check.isActive else { return }
        turn.counters.count(
            isWell ? .checksPassed : .checksFailed, cluster: check.cluster.value.id)
        let change = check.endpoint.value.checked(
            isWell: isWell, failure: failure.packed, check.policy,
            warmup: check.cluster.value.warmup, now: turn.now)
        guard let change else { return }
        turn.tell(
            change == .becameHealthy ? .becameHealthy : .becameUnhealthy(failure), check.cluster,
            check.endpoint.value.address)
    }
}
