// Names and meanings of what workers count about themselves, clusters and routes. A metric that is
// missing here is not on the page; a test looks for each.

extension MetricCatalog {
    /// One metric's place on the page: several may share a family and differ by a label.
    public struct Entry: Sendable {
        public let family: Family
        public let label: (name: String, value: String)?

        fileprivate init(
            _ name: String, _ use: Use, _ labels: [String], _ help: String,
            _ label: (String, String)? = nil, query: String? = nil
        ) {
            family = Family(
                name, .counter, use, labels + (label.map { [$0.0] } ?? []), help, query: query)
            self.label = label.map { (name: $0.0, value: $0.1) }
        }
    }

    /// `nil` for what is only a part of another figure.
    public static func worker(_ metric: WorkerMetric) -> Entry? { workerEntries[metric] }

    public static func cluster(_ metric: ClusterMetric) -> Entry? { clusterEntries[metric] }

    public static func route(_ metric: RouteMetric) -> Entry? { routeEntries[metric] }

    private static func own(
        _ name: String, _ use: Use, _ help: String, _ label: (String, String)? = nil
    ) -> Entry {
        Entry(name, use, [], help, label)
    }

    private static let workerEntries: [WorkerMetric: Entry] = [
        .downstreamConnections: own(
            "sluice_downstream_connections_accepted_total", .clients,
            "Client connections accepted."),
        .downstreamConnectionsShed: own(
            "sluice_downstream_connections_shed_total", .clients,
            "Client connections closed at once because a limit was reached."),
        .upstreamConnections: own(
            "sluice_upstream_connections_opened_total", .upstream,
            "Connects begun to endpoints."),
        .stickyCookiesIssued: own(
            "sluice_sticky_cookies_issued_total", .requests,
            "Session cookies sent to clients."),
        .stickyCookiesRejected: own(
            "sluice_sticky_cookies_rejected_total", .requests,
            "Session cookies ignored because they were malformed or not signed by a known key."),
        .stickyCookiesWithheld: own(
            "sluice_sticky_cookies_withheld_total", .requests,
            "Session cookies not issued because the answer is meant for shared caches."),
        .accessLogLines: own(
            "sluice_access_log_lines_total", .process,
            "Access log lines handed to the writer."),
        .accessLogDropped: own(
            "sluice_access_log_dropped_total", .process,
            "Access log lines dropped: the writer is behind, or the file takes none."),
        .tunnelsOpened: own(
            "sluice_tunnels_opened_total", .clients,
            "Connections upgraded to a tunnel."),
        .downstreamResumptions: own(
            "sluice_downstream_tls_resumptions_total", .clients,
            "TLS handshakes of clients that took up an earlier session."),
        .upstreamResumptions: own(
            "sluice_upstream_tls_resumptions_total", .upstream,
            "TLS handshakes with endpoints that took up an earlier session."),
        .downstreamSessions: own(
            "sluice_downstream_http2_connections_total", .clients,
            "Client connections that speak HTTP/2."),
        .upstreamSessions: own(
            "sluice_upstream_http2_connections_total", .upstream,
            "Connections to endpoints that speak HTTP/2."),
        .upstreamGoAways: own(
            "sluice_upstream_goaways_total", .upstream,
            "GOAWAY frames received from endpoints."),
        .requestsStarted: own(
            "sluice_requests_started_total", .requests,
            "Client requests whose head was read."),
        .pausedByConnections: pause("connections"),
        .pausedByDescriptors: pause("descriptors"),
        .pausedByRate: pause("rate"),
        .requestsShed: own(
            "sluice_requests_shed_total", .clients,
            "Requests refused because limits.bufferBytes was reached."),
        .idleConnectionsEvicted: own(
            "sluice_idle_connections_evicted_total", .clients,
            "Idle client connections closed to make room for others."),
        .agedConnections: own(
            "sluice_aged_connections_total", .clients,
            "Connections of both sides ended because of their age."),
        .trailersDropped: own(
            "sluice_trailers_dropped_total", .clients,
            "Messages whose trailers were dropped: they came behind a length, unannounced."),
        .slowReaders: slow("reader"),
        .slowSenders: slow("sender"),
    ]

    private static func pause(_ cause: String) -> Entry {
        own(
            "sluice_accept_pauses_total", .clients,
            "Times that accepting stopped for a moment, by what was short.", ("cause", cause))
    }

    private static func slow(_ kind: String) -> Entry {
        own(
            "sluice_slow_clients_total", .clients,
            "Exchanges ended because the client took or sent too little.", ("kind", kind))
    }

    private static func version(
        _ name: String, _ help: String, _ label: (String, String)? = nil
    ) -> Entry {
        Entry(name, .upstream, ["service", "version", "pool"], help, label)
    }

    private static let clusterEntries: [ClusterMetric: Entry] = [
        .connects: version(
            "sluice_upstream_connects_total",
            "Connects to endpoints of the version."),
        .connectFailures: version(
            "sluice_upstream_connect_failures_total",
            "Connects that failed."),
        .connectTimeouts: version(
            "sluice_upstream_connect_timeouts_total",
            "Connects that took longer than allowed."),
        .attempts: version(
            "sluice_upstream_attempts_total",
            "Requests sent to endpoints, repeats included."),
        .retries: version(
            "sluice_upstream_retries_total",
            "Requests sent again."),
        .pendingOverflow: version(
            "sluice_upstream_pending_overflow_total",
            "Requests refused because too many wait for a connection."),
        .requestOverflow: version(
            "sluice_upstream_request_overflow_total",
            "Requests refused because too many are in flight."),
        .protocolErrors: version(
            "sluice_upstream_protocol_errors_total",
            "HTTP/2 connections ended because the endpoint broke the protocol."),
        .disconnects: version(
            "sluice_upstream_disconnects_total",
            "Connections that the endpoint ended in the middle of an exchange."),
        .retriesAfterConnect: retry("connect-failure"),
        .retriesAfterRefusal: retry("refused-stream"),
        .retriesAfterReset: retry("reset"),
        .retriesAfterAnswer: retry("response"),
        .retriesAfterTimeout: retry("per-try-timeout"),
        .retriesSucceeded: version(
            "sluice_upstream_retries_succeeded_total",
            "Requests that a retry brought an answer other than 5xx."),
        .retryBudgetSpent: refused("budget"),
        .retryLimitReached: refused("limit"),
        .perTryTimeouts: version(
            "sluice_upstream_per_try_timeouts_total",
            "Attempts ended by timeouts.perTry."),
        .ejectedForErrors: ejection("consecutive-5xx"),
        .ejectedForGatewayErrors: ejection("consecutive-gateway-errors"),
        .ejectedForLocalFailures: ejection("consecutive-local-origin-failures"),
        .ejectedForSuccessRate: ejection("success-rate"),
        .checksPassed: check("passed"),
        .checksFailed: check("failed"),
        .mirrorsDropped: version(
            "sluice_mirrors_dropped_total",
            "Copies that were not made, or given up, because a limit was reached."),
    ]

    private static func retry(_ reason: String) -> Entry {
        version(
            "sluice_upstream_retries_by_reason_total",
            "Requests sent again under `retries`, by what the attempt before failed by.",
            ("reason", reason))
    }

    private static func refused(_ cause: String) -> Entry {
        version(
            "sluice_upstream_retries_refused_total", "Retries that were due and not made.",
            ("cause", cause))
    }

    private static func ejection(_ cause: String) -> Entry {
        version(
            "sluice_upstream_ejections_total", "Ejections of endpoints by their own answers.",
            ("cause", cause))
    }

    private static func check(_ result: String) -> Entry {
        version(
            "sluice_upstream_health_checks_total", "Health checks of endpoints.",
            ("result", result))
    }

    private static func row(
        _ name: String, _ help: String, _ label: (String, String)? = nil
    ) -> Entry {
        Entry(name, .requests, ["route", "service", "version"], help, label)
    }

    private static let routeEntries: [RouteMetric: Entry] = [
        .rateLimited: row(
            "sluice_rate_limited_total", "Requests refused by a rate limit."),
        .delaysInjected: fault("delay"),
        .abortsInjected: fault("abort"),
    ]

    private static func fault(_ kind: String) -> Entry {
        row("sluice_faults_injected_total", "Faults made on purpose, by kind.", ("kind", kind))
    }

    /// Names that counters had before, and have for one release more, in the text format alone: in
    /// OpenMetrics a counter's family is named without `_total`, and these would then have the
    /// names of gauges.
    static let formerNames: [(family: Family, metric: WorkerMetric)] = [
        (former("sluice_downstream_connections"), .downstreamConnections),
        (former("sluice_tunnels"), .tunnelsOpened),
    ]

    private static func former(_ gauge: String) -> Family {
        let now = gauge + (gauge.hasSuffix("connections") ? "_accepted_total" : "_opened_total")
        return Family(
            gauge + "_total", .counter, .clients, [],
            "Former name of \(now), gone with the next release.")
    }
}
