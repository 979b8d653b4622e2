/// What one worker counts about itself, without labels chosen at run time. The raw value is the
/// slot in the worker's shard; a new metric is a case here and a row in `MetricCatalog`.
public enum WorkerMetric: Int, Sendable, CaseIterable {
    case downstreamConnections, downstreamConnectionsClosed
    case downstreamConnectionsShed
    case upstreamConnections, upstreamConnectionsClosed
    case requestsStarted, requestsFinished
    case stickyCookiesIssued, stickyCookiesRejected
    case accessLogLines, accessLogDropped
    case tunnelsOpened, tunnelsClosed
    case requestsHTTP10, requestsHTTP11, requestsHTTP2
    case downstreamResumptions, upstreamResumptions
    case downstreamSessions, upstreamSessions, upstreamGoAways

    /// Slots kept for this list, whatever its length.
    static let reserved = 64
}

/// The families that a worker counts per cluster.
public enum ClusterMetric: UInt16, Sendable, CaseIterable {
    case connects, connectFailures, attempts, retries, pendingOverflow, requestOverflow
    case connectTimeouts, disconnects, protocolErrors
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
        help: "Requests refused before routing, by what they did against the protocol.")

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

    public static func worker(_ metric: WorkerMetric) -> Family? {
        func counter(_ name: String, _ help: String) -> Family {
            Family(name: name, kind: .counter, help: help)
        }
        switch metric {
        case .downstreamConnections:
            return counter("sluice_downstream_connections_total", "Client connections accepted.")
        case .downstreamConnectionsShed:
            return counter(
                "sluice_downstream_connections_shed_total",
                "Client connections closed at once because a limit was reached.")
        case .upstreamConnections:
            return counter(
                "sluice_upstream_connections_opened_total", "Connects begun to endpoints.")
        case .stickyCookiesIssued:
            return counter("sluice_sticky_cookies_issued_total", "Session cookies sent to clients.")
        case .stickyCookiesRejected:
            return counter(
                "sluice_sticky_cookies_rejected_total",
                "Session cookies ignored because they were malformed or not signed by a known key.")
        case .accessLogLines:
            return counter(
                "sluice_access_log_lines_total", "Access log lines handed to the writer.")
        case .accessLogDropped:
            return counter(
                "sluice_access_log_dropped_total",
                "Access log lines dropped because the writer is slow.")
        case .tunnelsOpened:
            return counter("sluice_tunnels_total", "Connections upgraded to a tunnel.")
        case .downstreamResumptions:
            return counter(
                "sluice_downstream_tls_resumptions_total",
                "TLS handshakes of clients that took up an earlier session.")
        case .upstreamResumptions:
            return counter(
                "sluice_upstream_tls_resumptions_total",
                "TLS handshakes with endpoints that took up an earlier session.")
        case .downstreamSessions:
            return counter(
                "sluice_downstream_http2_connections_total",
                "Client connections that speak HTTP/2.")
        case .upstreamSessions:
            return counter(
                "sluice_upstream_http2_connections_total",
                "Connections to endpoints that speak HTTP/2.")
        case .upstreamGoAways:
            return counter(
                "sluice_upstream_goaways_total", "GOAWAY frames received from endpoints.")
        case .requestsStarted:
            return counter("sluice_requests_started_total", "Client requests whose head was read.")
        case .requestsHTTP10, .requestsHTTP11, .requestsHTTP2, .downstreamConnectionsClosed,
            .upstreamConnectionsClosed, .requestsFinished, .tunnelsClosed:
            return nil
        }
    }

    public static func cluster(_ metric: ClusterMetric) -> Family {
        func counter(_ name: String, _ help: String) -> Family {
            Family(name: name, kind: .counter, help: help)
        }
        switch metric {
        case .connects:
            return counter(
                "sluice_upstream_connects_total", "Connects to endpoints of the version.")
        case .connectFailures:
            return counter("sluice_upstream_connect_failures_total", "Connects that failed.")
        case .connectTimeouts:
            return counter(
                "sluice_upstream_connect_timeouts_total", "Connects that took longer than allowed.")
        case .attempts:
            return counter(
                "sluice_upstream_attempts_total", "Requests sent to endpoints, repeats included.")
        case .retries:
            return counter("sluice_upstream_retries_total", "Requests sent again.")
        case .pendingOverflow:
            return counter(
                "sluice_upstream_pending_overflow_total",
                "Requests refused because too many wait for a connection.")
        case .requestOverflow:
            return counter(
                "sluice_upstream_request_overflow_total",
                "Requests refused because too many are in flight.")
        case .protocolErrors:
            return counter(
                "sluice_upstream_protocol_errors_total",
                "HTTP/2 connections ended because the endpoint broke the protocol.")
        case .disconnects:
            return counter(
                "sluice_upstream_disconnects_total",
                "Connections that the endpoint ended in the middle of an exchange.")
        }
    }

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
}
