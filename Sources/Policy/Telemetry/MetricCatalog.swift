/// Counters that one worker keeps about itself, without labels chosen at run time. The raw value is
/// the slot in the worker's shard; a new metric is a case here and a row in `MetricCatalog`.
public enum WorkerMetric: Int, Sendable, CaseIterable {
    case downstreamConnections, downstreamConnectionsClosed
    case downstreamConnectionsShed
    case upstreamConnections, upstreamConnectionsClosed
    case requestsStarted, requestsFinished
    case stickyCookiesIssued, stickyCookiesRejected, stickyCookiesWithheld
    case accessLogLines, accessLogDropped
    case tunnelsOpened, tunnelsClosed
    case requestsHTTP10, requestsHTTP11, requestsHTTP2
    case downstreamResumptions, upstreamResumptions
    case downstreamSessions, upstreamSessions, upstreamGoAways
    case pausedByConnections, pausedByDescriptors, pausedByRate
    case requestsShed, idleConnectionsEvicted, agedConnections
    case slowReaders, slowSenders
    case trailersDropped

    /// Slots kept for this list, whatever its length.
    static let reserved = 64
}

/// The families that a worker counts per cluster.
public enum ClusterMetric: UInt16, Sendable, CaseIterable {
    case connects, connectFailures, attempts, retries, pendingOverflow, requestOverflow
    case connectTimeouts, disconnects, protocolErrors
    case retriesAfterConnect, retriesAfterRefusal, retriesAfterReset, retriesAfterAnswer
    case retriesAfterTimeout, retriesSucceeded
    case retryBudgetSpent, retryLimitReached
    case perTryTimeouts
    case ejectedForErrors, ejectedForGatewayErrors, ejectedForLocalFailures
    case ejectedForSuccessRate
    case checksPassed, checksFailed
    case mirrorsDropped
}

/// The families that a worker counts per route.
public enum RouteMetric: UInt16, Sendable, CaseIterable {
    case rateLimited, delaysInjected, abortsInjected
}

/// Every metric family that the process has, in all vocabularies: the one list from which pages are
/// written and docs/metrics.md is made.
public enum MetricCatalog {
    public enum Kind: String, Sendable { case counter, gauge, histogram }

    /// The readers whom a family is for. A page may be asked for some uses alone, and is written in
    /// their order.
    public enum Use: String, Sendable, CaseIterable {
        /// The deeds of versions: judges of canaries, alerts, dashboards.
        case requests
        /// Requests in Istio's words.
        case istio
        /// Requests in the words of applications that export `http_request_duration_seconds`.
        case http
        /// Endpoints, connections to them, retries, health.
        case upstream
        /// Clients' connections, TLS, HTTP/2, limits.
        case clients
        /// Weights, the guard, rollouts.
        case rollouts
        /// Configuration, readiness, memory, names.
        case process

        /// The heading in the documentation.
        public var title: String {
            switch self {
            case .requests: "Requests of versions"
            case .istio: "Requests in Istio's words"
            case .http: "Requests in the words of applications"
            case .upstream: "Endpoints"
            case .clients: "Clients"
            case .rollouts: "Weights, guard and rollouts"
            case .process: "The process"
            }
        }
    }

    public struct Family: Sendable {
        public let name: String
        public let kind: Kind
        public let use: Use
        /// Names of all labels that a sample may have, but for `le`.
        public let labels: [String]
        public let help: String
        /// A question to copy, in PromQL.
        public let query: String?

        init(
            _ name: String, _ kind: Kind, _ use: Use, _ labels: [String], _ help: String,
            query: String? = nil
        ) {
            self.name = name
            self.kind = kind
            self.use = use
            self.labels = labels
            self.help = help
            self.query = query
        }

        /// The name of the family in OpenMetrics, whose counters have `_total` on their samples
        /// alone.
        public var openMetricsName: String {
            kind == .counter && name.hasSuffix("_total") ? String(name.dropLast(6)) : name
        }

        /// The unit, which is the end of the name; `nil` for plain numbers.
        public var unit: String? {
            let name = openMetricsName
            return ["milliseconds", "seconds", "bytes", "ratio"].first { name.hasSuffix("_" + $0) }
        }
    }

    /// Upper bounds of duration histograms in microseconds; +Inf follows. Istio's bounds are among
    /// them.
    public static let durationBounds: [UInt64] = [
        500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
        2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000, 300_000_000, 600_000_000,
        1_800_000_000, 3_600_000_000,
    ]

    /// The bucket of a duration, by position; `durationBounds.count` is +Inf.
    @inlinable public static func durationBucket(microseconds m: UInt64) -> Int {
        if m <= 5_000 { return m <= 1_000 ? (m <= 500 ? 0 : 1) : (m <= 2_500 ? 2 : 3) }
        if m <= 100_000 {
            return m <= 25_000 ? (m <= 10_000 ? 4 : 5) : (m <= 50_000 ? 6 : 7)
        }
        if m <= 1_000_000 {
            return m <= 250_000 ? 8 : (m <= 500_000 ? 9 : 10)
        }
        if m <= 5_000_000 { return m <= 2_500_000 ? 11 : 12 }
        if m <= 60_000_000 { return m <= 10_000_000 ? 13 : (m <= 30_000_000 ? 14 : 15) }
        if m <= 600_000_000 { return m <= 300_000_000 ? 16 : 17 }
        return m <= 1_800_000_000 ? 18 : (m <= 3_600_000_000 ? 19 : 20)
    }

    /// Upper bounds of size histograms in bytes: Istio's, whose first is half a byte; +Inf follows.
    public static let sizeBounds: [UInt64] = [
        0, 1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000,
        600_000, 1_800_000, 3_600_000,
    ]

    /// The bucket of a size, by position; `sizeBounds.count` is +Inf.
    public static func sizeBucket(_ bytes: UInt64) -> Int {
        sizeBounds.firstIndex { bytes <= $0 } ?? sizeBounds.count
    }

    /// Codes whose series exist at zero before the first request.
    public static let codesAtZero: [UInt16] = [200, 404, 500, 502, 503, 504]
    /// Causes whose series exist at zero before the first error: a rate over a series that begins
    /// with its first event misses that event.
    public static let causesAtZero: [ErrorCause] = [
        .response, .connect, .reset, .timeout, .invalid, .local,
    ]
}
