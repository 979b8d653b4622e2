import Base

/// How one version's endpoints are chosen and reached, as configured. A cluster is one version of
/// one service.
public struct ClusterSpec: Sendable {
    public var service: String
    public var version: String
    public var endpoints: [Address]
    public var policy: BalancingPolicy
    public var limits: PoolLimits
    public var connectTimeout: Duration

    public init(
        service: String, version: String, endpoints: [Address], policy: BalancingPolicy,
        limits: PoolLimits, connectTimeout: Duration
    ) {
        self.service = service
        self.version = version
        self.endpoints = endpoints
        self.policy = policy
        self.limits = limits
        self.connectTimeout = connectTimeout
    }
}

public enum BalancingPolicy: UInt8, Sendable, BitwiseCopyable {
    /// Two at random, the one with fewer requests in flight.
    case leastRequest
    case roundRobin
    case random
    /// Consistent hashing of a key of the request.
    case ringHash
    case maglev

    public var isHashed: Bool { self == .ringHash || self == .maglev }
}

/// Bounds of one cluster, over all workers. `Int.max` stands for unlimited.
public struct PoolLimits: Sendable, BitwiseCopyable, Equatable {
    public var connectionsMax = 1_024
    public var pendingRequestsMax = 1_024
    public var requestsMax = 1_024
    public var requestsPerConnectionMax = Int.max
    public var idleTimeout = Duration.seconds(60)
    public init() {}
}
