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

/// Every metric family the process emits: name, type and meaning, in the order of the page.
public enum MetricCatalog {
    public enum Kind: String, Sendable { case counter, gauge, histogram }

    public struct Family: Sendable {
        public let name: String
        public let kind: Kind
        public let help: String

        public init(name: String, kind: Kind, help: String) {
            self.name = name
            self.kind = kind
            self.help = help
        }
    }

    public static let requests = Family(
        name: "sluice_requests_total", kind: .counter,
        help: "Client requests that ended, by the status code sent; 0 when the client left first.")
    public static let errors = Family(
        name: "sluice_errors_total", kind: .counter,
        help: "Client requests that count as an error of their version, by cause.")
    public static let mirrorDuration = Family(
        name: "sluice_mirror_duration_seconds", kind: .histogram,
        help: "Time from a copy's head to the end of its answer.")
    public static let inFlight = Family(
        name: "sluice_requests_in_flight", kind: .gauge, help: "Client requests not ended yet.")
    public static let duration = Family(
        name: "sluice_request_duration_seconds", kind: .histogram,
        help: "Time from a request's head to the end of its response.")
    public static let bytesReceived = Family(
        name: "sluice_request_body_bytes_total", kind: .counter,
        help: "Bytes of request bodies read from clients.")
    public static let bytesSent = Family(
        name: "sluice_response_body_bytes_total", kind: .counter,
        help: "Bytes of response bodies handed to clients.")
    public static let refused = Family(
        name: "sluice_downstream_refused_total", kind: .counter,
        help: "Requests refused for what they did against HTTP or asked beyond a limit.")

    public static let byProtocol = Family(
        name: "sluice_requests_by_protocol_total", kind: .counter,
        help: "Client requests that ended, by what the client speaks.")
    public static let calls = Family(
        name: "sluice_grpc_calls_total", kind: .counter,
        help: "gRPC calls that ended with a status, by that status; 0 is OK.")
    public static let resets = Family(
        name: "sluice_http2_stream_resets_total", kind: .counter,
        help: "HTTP/2 streams reset by the peer, by side and RFC 9113's code.")
    public static let handshakes = Family(
        name: "sluice_tls_handshakes_total", kind: .counter,
        help: "TLS handshakes that succeeded, by side and version.")
    public static let handshakeFailures = Family(
        name: "sluice_tls_handshake_failures_total", kind: .counter,
        help: "TLS handshakes that failed, by side and cause.")

    /// Upper bounds of the duration histogram in microseconds; +Inf follows.
    public static let durationBounds: [UInt64] = [
        500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
        2_500_000, 5_000_000, 10_000_000, 30_000_000,
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
        return m <= 10_000_000 ? 13 : (m <= 30_000_000 ? 14 : 15)
    }

    /// Codes whose series exist at zero before the first request.
    public static let codesAtZero: [UInt16] = [200, 404, 500, 502, 503, 504]
    /// Causes whose series exist at zero before the first error: a rate over a series that begins
    /// with its first event misses that event.
    public static let causesAtZero: [ErrorCause] = [
        .response, .connect, .reset, .timeout, .invalid, .local,
    ]
}
