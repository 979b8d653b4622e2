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
    public var `protocol` = UpstreamProtocol.http1
    /// A number that tells this way to the endpoints from another: connections made before it
    /// changed are not used after.
    public var transport: UInt64 = 0
    /// Whether the cluster is a mirror's: copies of requests have connections and limits of their
    /// own.
    public var isMirror = false
    public var outlier: OutlierPolicy?
    public var healthCheck: HealthCheckPolicy?
    public var warmup: Warmup?
    public var retryBudget: RetryBudget? = RetryBudget()
    /// The share of endpoints in the rotation below which all of them are used, 0...100.
    public var healthyPercentMin = 0

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

/// The protocol that is spoken with a cluster's endpoints.
public enum UpstreamProtocol: UInt8, Sendable, BitwiseCopyable {
    case http1
    /// HTTP/2 by prior knowledge, or by ALPN with TLS.
    case http2
    /// The endpoint's choice by ALPN, with TLS; without TLS, HTTP/1.1.
    case auto
}

public enum BalancingPolicy: UInt8, Sendable, BitwiseCopyable {
    /// Two at random, the one with fewer requests in flight.
    case leastRequest
    case roundRobin
    case random
    /// Consistent hashing of a key of the request.
    case ringHash
    case maglev

    @inlinable public var isHashed: Bool { self == .ringHash || self == .maglev }
}

/// Bounds of one cluster, over all workers. `Int.max` stands for unlimited.
public struct PoolLimits: Sendable, BitwiseCopyable, Equatable {
    public var connectionsMax = 1_024
    public var pendingRequestsMax = 1_024
    public var requestsMax = 1_024
    public var requestsPerConnectionMax = Int.max
    /// The most retries that may be under way.
    public var retriesMax = Int.max
    /// The age at which a connection serves no new request.
    public var connectionAgeMax = Duration.unlimited
    /// Streams of one HTTP/2 connection; the endpoint's own limit holds besides.
    public var streamsPerConnectionMax = 100
    public var idleTimeout = Duration.seconds(60)
    /// How long an HTTP/2 connection with open streams may be silent before it is asked with a
    /// PING, and again before it is given up.
    public var pingInterval = Duration.seconds(30)
    /// The operator has set the interval: every silence of that length is asked about. Otherwise
    /// gRPC's rules hold besides (`Proxy/Keepalive`).
    public var pingsAtWill = false
    public init() {}
}
