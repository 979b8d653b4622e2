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

    /// Whether any endpoint may be used now.
    public var isAvailable: Bool {
        for i in 0..<endpoints.count where !endpoints[i].state.value.isOut { return true }
        return false
    }

    /// Positions to choose from for one request.
    public struct Choice: BitwiseCopyable, Sendable {
        public let position: Int
        /// Another that is as good: the one of them with fewer requests in flight is better. -1:
        /// there is none.
        public let rival: Int

        init(_ position: Int, or rival: Int = -1) {
            self.position = position
            self.rival = rival
        }
    }

    /// The endpoints for the next request; `nil` when none may be used.
    ///
    /// - Parameters:
    ///   - hash: the request's key, for the hashed policies.
    ///   - turn: this worker's count of choices, for round robin.
    ///   - skipping: a position to avoid if another is there, or -1.
    public func choose(
        hash: UInt64, turn: inout UInt32, skipping: Int, random: inout PRNG
    ) -> Choice? {
        let count = endpoints.count
        if count == 0 { return nil }
        if count == 1 { return endpoints[0].state.value.isOut ? nil : Choice(0) }
        let first: Int
        switch policy {
        case .leastRequest: return leastRequest(skipping, &random)
        case .roundRobin:
            turn &+= 1
            first = Int(turn) % count
        case .random: first = Int(random.below(UInt64(count)))
        case .ringHash:
            return (ring.find(hash) { self.isUsable($0, skipping) } ?? usable(from: 0, -1)).map {
                Choice($0)
            }
        case .maglev:
            first = maglev.find(hash)
        }
        return (usable(from: first, skipping) ?? usable(from: first, -1)).map { Choice($0) }
    }

    private func isUsable(_ position: Int, _ skipping: Int) -> Bool {
        position != skipping && !endpoints[position].state.value.isOut
    }

    /// The first usable endpoint from a position on, around.
    private func usable(from first: Int, _ skipping: Int) -> Int? {
        var position = first
        for _ in 0..<endpoints.count {
            if isUsable(position, skipping) { return position }
            position = position + 1 == endpoints.count ? 0 : position + 1
        }
        return nil
    }

    private func leastRequest(_ skipping: Int, _ random: inout PRNG) -> Choice? {
        let count = endpoints.count
        let a = Int(random.below(UInt64(count)))
        var b = Int(random.below(UInt64(count - 1)))
        if b >= a { b += 1 }
        guard isUsable(a, skipping) else {
            if isUsable(b, skipping) { return Choice(b) }
            return (usable(from: a, skipping) ?? usable(from: a, -1)).map { Choice($0) }
        }
        return isUsable(b, skipping) ? Choice(a, or: b) : Choice(a)
    }
}
