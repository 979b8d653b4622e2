import Base
import Synchronization

/// Why an endpoint is not as good as another, a bit each.
public struct EndpointCondition: OptionSet, Sendable, BitwiseCopyable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The endpoint refused its last connect, and has not been seen back since.
    public static var refused: EndpointCondition { .init(rawValue: 1) }
    /// The endpoint's own answers have taken it out, for a time.
    public static var ejected: EndpointCondition { .init(rawValue: 2) }
    /// The endpoint's health checks fail.
    public static var unhealthy: EndpointCondition { .init(rawValue: 4) }
    /// The endpoint has failed since its last success.
    public static var failing: EndpointCondition { .init(rawValue: 8) }
    /// The endpoint is back, and gets its full share little by little.
    public static var warming: EndpointCondition { .init(rawValue: 16) }

    /// The conditions that take an endpoint out of the rotation.
    static var out: EndpointCondition { [.refused, .ejected, .unhealthy] }
}

/// State of one endpoint that all workers share: whether the endpoint may be used, and why not.
/// Lives by (cluster, address), longer than the snapshots that name it.
///
/// Whether an endpoint may be used is one relaxed load. What changes that takes a lock, and only
/// happens when something is wrong: a failure, the first success after one, a check.
public struct EndpointState: ~Copyable, Sendable {
    /// Stable number of the endpoint in this process; pools are reached by it.
    public let id: Int
    public let address: Address
    private let conditions: Atomic<UInt32>
    /// The time until which the endpoint is ejected, in nanoseconds.
    private let ejectedUntil: Atomic<UInt64>
    /// The time since which the endpoint has been warming, in nanoseconds.
    private let warmingSince: Atomic<UInt64>
    /// Requests since the last comparison in the upper half, successes in the lower.
    private let tally: Atomic<UInt64>
    public let failedConnects: Atomic<UInt64>
    public let ejections: Atomic<UInt64>
    private let machines: Lock<Machines>

    private struct Machines {
        var outlier = OutlierEjection()
        var health = ActiveHealth()
        /// Why the last health check failed, in the words of whoever checks.
        var checkFailure: UInt64 = 0
    }

    public init(id: Int, address: Address) {
        self.id = id
        self.address = address
        conditions = Atomic(0)
        ejectedUntil = Atomic(0)
        warmingSince = Atomic(0)
        tally = Atomic(0)
        failedConnects = Atomic(0)
        ejections = Atomic(0)
        machines = Lock(Machines())
    }

    public var condition: EndpointCondition { .init(rawValue: conditions.load(ordering: .relaxed)) }

    private func set(_ bit: EndpointCondition) {
        conditions.bitwiseOr(bit.rawValue, ordering: .relaxed)
    }
    private func clear(_ bit: EndpointCondition) {
        conditions.bitwiseAnd(~bit.rawValue, ordering: .relaxed)
    }

    /// Whether it may not be used. An ejection whose time is over does not count.
    public func isOut(now: Instant) -> Bool {
        let condition = condition.intersection(.out)
        if condition.isEmpty { return false }
        return condition != .ejected || ejectedUntil.load(ordering: .relaxed) > now.nanoseconds
    }

    // MARK: Connects

    /// Takes the endpoint out of the rotation. `true` for the caller that did; it owes the probes
    /// that bring it back.
    public func takeOut() -> Bool {
        failedConnects.add(1, ordering: .relaxed)
        let before = conditions.bitwiseOr(
            EndpointCondition.refused.rawValue, ordering: .relaxed
        ).oldValue
        return before & EndpointCondition.refused.rawValue == 0
    }

    /// Brings the endpoint back, because a probe has reached it.
    public func bringBack(warmup: Warmup?, now: Instant) {
        clear(.refused)
        if warmup != nil { warm(now) }
    }

    // MARK: Outcomes

    /// Notes that the endpoint answered well.
    @inline(__always)
    public func succeeded(_ policy: OutlierPolicy) {
        if policy.successRate != nil { count(isSuccess: true) }
        if condition.contains(.failing) { endRun(policy) }
    }

    private func endRun(_ policy: OutlierPolicy) {
        machines.withLock { machines in
            _ = machines.outlier.record(.success, policy: policy)
            clear(.failing)
        }
    }

    /// The endpoint did not.
    /// - Returns: why it is out from now on, if it was ejected for it.
    public func failed(
        _ outcome: OutlierEjection.Outcome, _ policy: OutlierPolicy,
        cluster: borrowing ClusterState,
        endpointCount: Int, now: Instant
    ) -> OutlierEjection.Cause? {
        if policy.successRate != nil { count(isSuccess: false) }
        readmitIfDue(cluster: cluster, warmup: nil, now: now)
        return machines.withLock { machines in
            let cause = machines.outlier.record(outcome, policy: policy)
            if machines.outlier.hasRun { set(.failing) }
            guard let cause else { return nil }
            return eject(
                &machines.outlier, cause, policy, cluster: cluster, endpointCount: endpointCount,
                now: now)
        }
    }

    /// Ejects the endpoint because its success rate is an outlier's.
    /// - Returns: whether it was ejected for it.
    public func ejectForSuccessRate(
        _ policy: OutlierPolicy, cluster: borrowing ClusterState, endpointCount: Int, now: Instant
    ) -> Bool {
        machines.withLock { machines in
            guard !machines.outlier.isEjected else { return false }
            return eject(
                &machines.outlier, .successRate, policy, cluster: cluster,
                endpointCount: endpointCount, now: now) != nil
        }
    }

    private func eject(
        _ outlier: inout OutlierEjection, _ cause: OutlierEjection.Cause, _ policy: OutlierPolicy,
        cluster: borrowing ClusterState, endpointCount: Int, now: Instant
    ) -> OutlierEjection.Cause? {
        guard cluster.takeEjection(max: policy.ejectedMax(of: endpointCount)) else { return nil }
        let until = outlier.eject(cause, now: now, policy: policy)
        ejectedUntil.store(until.nanoseconds, ordering: .relaxed)
        ejections.add(1, ordering: .relaxed)
        clear(.failing)
        set(.ejected)
        return cause
    }

    /// Ends an ejection whose time is over.
    /// - Returns: whether there was one.
    @discardableResult
    public func readmitIfDue(
        cluster: borrowing ClusterState, warmup: Warmup?, now: Instant
    ) -> Bool {
        guard condition.contains(.ejected),
            ejectedUntil.load(ordering: .relaxed) <= now.nanoseconds
        else { return false }
        return machines.withLock { machines in
            guard machines.outlier.readmit(now: now) else { return false }
            clear(.ejected)
            cluster.freeEjection()
            if warmup != nil { warm(now) }
            return true
        }
    }

    /// Ends an ejection before its time: nobody looks for outliers now, or the endpoint goes.
    public func pardon(cluster: borrowing ClusterState) {
        guard condition.contains(.ejected) else { return }
        machines.withLock { machines in
            guard machines.outlier.readmit(now: .never) else { return }
            clear(.ejected)
            cluster.freeEjection()
        }
    }

    private func count(isSuccess: Bool) {
        tally.wrappingAdd(1 << 32 | (isSuccess ? 1 : 0), ordering: .relaxed)
    }

    /// Takes the tally of the endpoint's requests since the last call.
    public func takeTally() -> SuccessRatePolicy.Tally {
        let word = tally.exchange(0, ordering: .relaxed)
        return SuccessRatePolicy.Tally(
            requests: Int(word >> 32), successes: Int(word & 0xffff_ffff))
    }

    // MARK: Checks

    /// Takes the result of a health check.
    ///
    /// - Parameter failure: why the endpoint is not well, in the words of whoever checks; kept.
    /// - Returns: what changed, if anything did.
    public func checked(
        isWell: Bool, failure: UInt64 = 0, _ policy: HealthCheckPolicy, warmup: Warmup?,
        now: Instant
    ) -> ActiveHealth.Change? {
        machines.withLock { machines in
            let change = machines.health.record(isWell: isWell, policy: policy)
            if !isWell { machines.checkFailure = failure }
            switch change {
            case .becameHealthy:
                clear(.unhealthy)
                if warmup != nil { warm(now) }
            case .becameUnhealthy: set(.unhealthy)
            case nil: break
            }
            return change
        }
    }

    /// Forgets the results of checks, because the endpoint is not checked any more.
    public func forgetChecks() {
        machines.withLock { machines in
            machines.health = ActiveHealth()
            machines.checkFailure = 0
            clear(.unhealthy)
        }
    }

    // MARK: Warm-up

    /// Gives the endpoint its share little by little from now on.
    public func warm(_ now: Instant) {
        warmingSince.store(now.nanoseconds, ordering: .relaxed)
        set(.warming)
    }

    /// Ends a warm-up whose time is over.
    func finishWarmup(_ warmup: Warmup?, now: Instant) {
        if condition.contains(.warming), share(warmup, now: now) == nil { clear(.warming) }
    }

    /// Draws whether a request that would go to the endpoint goes elsewhere, because the endpoint
    /// has not warmed up yet.
    func yields(_ warmup: Warmup?, now: Instant, random: inout PRNG) -> Bool {
        guard condition.contains(.warming), let share = share(warmup, now: now) else {
            return false
        }
        return random.below(10_000) >= UInt64(share)
    }

    /// The share of its requests that a warming endpoint takes; `nil`: all.
    private func share(_ warmup: Warmup?, now: Instant) -> Int? {
        let since = Instant(nanoseconds: warmingSince.load(ordering: .relaxed))
        return warmup?.share(since: since, now: now)
    }

    // MARK: For people

    /// How the endpoint stands, for the admin page and the metrics.
    public struct View: Sendable {
        public var condition: EndpointCondition
        public var ejectedUntil: Instant?
        public var ejectionCause: OutlierEjection.Cause?
        public var failuresInARow: Int
        public var checksPassed: UInt64
        public var checksFailed: UInt64
        public var isChecked: Bool
        /// Why the last health check that failed did, as it was told to `checked`; 0: nobody said.
        public var checkFailure: UInt64
    }

    public func view(now: Instant) -> View {
        machines.withLock { machines in
            var condition = condition
            let until = machines.outlier.until.flatMap { $0 > now ? $0 : nil }
            if until == nil { condition.remove(.ejected) }
            return View(
                condition: condition, ejectedUntil: until,
                ejectionCause: until == nil ? nil : machines.outlier.cause,
                failuresInARow: machines.outlier.failuresInARow,
                checksPassed: machines.health.successCount,
                checksFailed: machines.health.failureCount,
                isChecked: machines.health.isChecked, checkFailure: machines.checkFailure)
        }
    }
}

/// The slow start of an endpoint that is back: its share grows evenly from `sharePercentMin` to
/// whole.
public struct Warmup: Sendable, BitwiseCopyable, Equatable {
    public var duration: Duration
    /// Hundredths of a percent, 0...10,000.
    public var shareMin = 1_000

    public init(duration: Duration) { self.duration = duration }

    /// The share of its requests that it takes, in hundredths of a percent; `nil`: all.
    func share(since: Instant, now: Instant) -> Int? {
        let elapsed = (now - since).nanoseconds
        guard duration.nanoseconds > elapsed else { return nil }
        let share = Int(
            (Double(max(0, elapsed)) / Double(duration.nanoseconds) * 10_000).rounded())
        return max(shareMin, share)
    }
}
