import Base

/// One version's endpoints as a snapshot knows them: immutable, with the shared state of each.
public struct Cluster: ~Copyable, Sendable {
    public struct Endpoint: BitwiseCopyable, Sendable {
        public let id: Int
        public let address: Address
        public let state: SharedBox<EndpointState>
    }

    private let addressOnly = AddressOnly()
    public let id: Int
    public let state: SharedBox<ClusterState>
    public let endpoints: FixedArray<Endpoint>
    public let policy: BalancingPolicy
    public let limits: PoolLimits
    public let connectTimeout: Duration
    public let `protocol`: UpstreamProtocol
    public let transport: UInt64
    /// Whether outcomes are looked at; `outlier` says how.
    public let detectsOutliers: Bool
    public let outlier: OutlierPolicy
    public let healthCheck: HealthCheckPolicy?
    public let warmup: Warmup?
    public let retryBudget: RetryBudget?
    private let healthyPercentMin: Int
    private let ring: HashRing
    private let maglev: MaglevTable

    public init(
        _ spec: ClusterSpec, state: SharedBox<ClusterState>, endpoints: [SharedBox<EndpointState>]
    ) {
        id = state.value.id
        self.state = state
        self.endpoints = FixedArray(
            endpoints.map { Endpoint(id: $0.value.id, address: $0.value.address, state: $0) })
        policy = spec.policy
        limits = spec.limits
        connectTimeout = spec.connectTimeout
        `protocol` = spec.protocol
        transport = spec.transport
        detectsOutliers = spec.outlier != nil
        outlier = spec.outlier ?? OutlierPolicy()
        healthCheck = spec.healthCheck
        warmup = spec.warmup
        retryBudget = spec.retryBudget
        healthyPercentMin = spec.healthyPercentMin
        let addresses = endpoints.map { $0.value.address }
        ring = HashRing(policy == .ringHash ? addresses : [])
        maglev = MaglevTable(policy == .maglev ? addresses : [])
        state.retain()
        for endpoint in endpoints { endpoint.retain() }
    }

    deinit {
        for i in 0..<endpoints.count { endpoints[i].state.release() }
        state.release()
    }

    // MARK: Availability

    /// Whether an endpoint may be used now. One whose ejection is over may be; `choose` takes it
    /// back into the rotation.
    @inline(__always)
    public func isIn(_ position: Int, now: Instant) -> Bool {
        let state = endpoints[position].state
        return state.value.condition.isEmpty || !state.value.isOut(now: now)
    }

    /// Takes back every endpoint whose ejection is over: others may be ejected in its place, and
    /// its warm-up begins.
    private func readmitDue(now: Instant) {
        if state.value.ejectedCount == 0 { return }
        for i in 0..<endpoints.count {
            endpoints[i].state.value.readmitIfDue(cluster: state.value, warmup: warmup, now: now)
        }
    }

    /// Whether any endpoint may be used now.
    public func isAvailable(now: Instant) -> Bool {
        for i in 0..<endpoints.count where isIn(i, now: now) { return true }
        return isPanicking(now: now)
    }

    /// Whether so few endpoints are in the rotation that all are used: those that are left would
    /// only fall under the load of the others.
    public func isPanicking(now: Instant) -> Bool {
        if healthyPercentMin == 0 || endpoints.count == 0 { return false }
        var healthy = 0
        for i in 0..<endpoints.count where isIn(i, now: now) { healthy += 1 }
        return healthy * 100 < healthyPercentMin * endpoints.count
    }

    // MARK: Choosing

    /// Positions to choose from for one request.
    public struct Choice: BitwiseCopyable, Sendable {
        public let position: Int
        /// A second position to compare, or -1. The caller takes whichever has fewer requests in
        /// flight.
        public let rival: Int

        init(_ position: Int, or rival: Int = -1) {
            self.position = position
            self.rival = rival
        }
    }

    /// Positions that an exchange has tried, to be avoided while there are others.
    public struct Tried: BitwiseCopyable, Sendable {
        /// The positions below 64, a bit each.
        private var bits: UInt64 = 0
        /// The last position that was inserted, however large; -1: none.
        private var last = -1

        public init() {}

        public mutating func insert(_ position: Int) {
            last = position
            if position < 64 { bits |= 1 << UInt64(position) }
        }

        @inline(__always)
        public func contains(_ position: Int) -> Bool {
            position == last || position < 64 && bits >> UInt64(position) & 1 == 1
        }

        @inline(__always)
        public var isEmpty: Bool { last < 0 }
    }

    /// Chooses an endpoint for the next request, or two to compare, and takes those back into the
    /// rotation whose ejection is over.
    ///
    /// - Parameters:
    ///   - hash: the request's key, for the hashed policies.
    ///   - turn: this worker's count of choices, for round robin.
    ///   - tried: positions to avoid if others are there.
    /// - Returns: `nil` when none may be used.
    public func choose(
        hash: UInt64, turn: inout UInt32, tried: Tried, now: Instant, random: inout PRNG
    ) -> Choice? {
        let count = endpoints.count
        if count == 0 { return nil }
        if count == 1 {
            if endpoints[0].state.value.condition.isEmpty { return Choice(0) }
            readmitDue(now: now)
            return isIn(0, now: now) || isPanicking(now: now) ? Choice(0) : nil
        }
        // `leastRequest` looks for ended ejections itself, and only when it has to.
        if policy != .leastRequest { readmitDue(now: now) }
        let first: Int
        switch policy {
        case .leastRequest: return leastRequest(tried, now, &random)
        case .roundRobin:
            turn &+= 1
            first = yielding(Int(turn) % count, now, &random)
        case .random: first = yielding(Int(random.below(UInt64(count))), now, &random)
        case .ringHash:
            return ring.find(hash) { self.isUsable($0, tried, now) }.map { Choice($0) }
                ?? fallback(from: 0, tried, now)
        case .maglev: first = maglev.find(hash)
        }
        return isUsable(first, tried, now) ? Choice(first) : fallback(from: first, tried, now)
    }

    private func isUsable(_ position: Int, _ tried: Tried, _ now: Instant) -> Bool {
        !tried.contains(position) && isIn(position, now: now)
    }

    /// Where the first choice cannot be used: in panic any that was not tried, else the next usable
    /// one around that was not tried, else any usable one.
    private func fallback(from first: Int, _ tried: Tried, _ now: Instant) -> Choice? {
        if isPanicking(now: now) {
            return Choice(search(from: first) { !tried.contains($0) } ?? first)
        }
        if let found = search(from: first, { self.isUsable($0, tried, now) }) {
            return Choice(found)
        }
        if tried.isEmpty { return nil }
        return search(from: first) { self.isIn($0, now: now) }.map { Choice($0) }
    }

    private func search(from first: Int, _ isGood: (Int) -> Bool) -> Int? {
        var position = first
        for _ in 0..<endpoints.count {
            if isGood(position) { return position }
            position = position + 1 == endpoints.count ? 0 : position + 1
        }
        return nil
    }

    /// Chooses the position itself, or the next one where the endpoint at the position is still
    /// warming up and passes on this request.
    private func yielding(_ position: Int, _ now: Instant, _ random: inout PRNG) -> Int {
        if endpoints[position].state.value.condition.isEmpty { return position }
        guard yields(position, now, &random) else { return position }
        return position + 1 == endpoints.count ? 0 : position + 1
    }

    /// Ends the warm-up of a position if its time is over, else draws whether the position leaves
    /// this request to another.
    private func yields(_ position: Int, _ now: Instant, _ random: inout PRNG) -> Bool {
        let state = endpoints[position].state
        state.value.finishWarmup(warmup, now: now)
        return state.value.yields(warmup, now: now, random: &random)
    }

    @inline(__always)
    private func leastRequest(_ tried: Tried, _ now: Instant, _ random: inout PRNG) -> Choice? {
        let count = endpoints.count
        let a = Int(random.below(UInt64(count)))
        var b = Int(random.below(UInt64(count - 1)))
        if b >= a { b += 1 }
        if tried.isEmpty, endpoints[a].state.value.condition.isEmpty,
            endpoints[b].state.value.condition.isEmpty
        {
            return Choice(a, or: b)
        }
        return leastRequest(a, b, tried, now, &random)
    }

    /// Chooses by load where something is wrong with one of the two endpoints, or some were tried.
    private func leastRequest(
        _ a: Int, _ b: Int, _ tried: Tried, _ now: Instant, _ random: inout PRNG
    ) -> Choice? {
        readmitDue(now: now)
        if isPanicking(now: now) { return tried.contains(a) ? Choice(b) : Choice(a, or: b) }
        let isA = isUsable(a, tried, now), isB = isUsable(b, tried, now)
        switch (isA, isB) {
        case (true, true):
            if yields(a, now, &random) { return Choice(b) }
            if yields(b, now, &random) { return Choice(a) }
            return Choice(a, or: b)
        case (true, false): return Choice(a)
        case (false, true): return Choice(b)
        case (false, false): return fallback(from: a, tried, now)
        }
    }
}
