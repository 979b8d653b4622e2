// Families of requests, in Sluice's own words and in those of others.

extension MetricCatalog {
    private static let row = ["route", "service", "version"]
    private static let request = ["listener", "route", "service", "version", "assign"]

    public static let requests = Family(
        "sluice_requests_total", .counter, .requests, request + ["code"],
        "Client requests that ended, by the status code sent; 0 when the client left first.",
        query: "sum by (service, version) (rate(sluice_requests_total{assign=~\"weighted|sticky\"}"
            + "[5m]))")
    public static let errors = Family(
        "sluice_errors_total", .counter, .requests, request + ["cause"],
        "Client requests that count as an error of their version, by cause.",
        query: "sum by (service, version) (rate(sluice_errors_total{assign=~\"weighted|sticky\"}"
            + "[5m])) / sum by (service, version) (rate(sluice_requests_total"
            + "{assign=~\"weighted|sticky\"}[5m]))")
    public static let duration = Family(
        "sluice_request_duration_seconds", .histogram, .requests, row,
        "Time from a request's head to the end of its response.",
        query: "histogram_quantile(0.99, sum by (service, version, le) "
            + "(rate(sluice_request_duration_seconds_bucket[5m])))")
    public static let inFlight = Family(
        "sluice_requests_in_flight", .gauge, .requests, row, "Client requests not ended yet.")
    public static let bytesReceived = Family(
        "sluice_request_body_bytes_total", .counter, .requests, row,
        "Bytes of request bodies read from clients.")
    public static let bytesSent = Family(
        "sluice_response_body_bytes_total", .counter, .requests, row,
        "Bytes of response bodies handed to clients.")
    public static let calls = Family(
        "sluice_grpc_calls_total", .counter, .requests, row + ["grpc_status"],
        "Clients' gRPC calls that ended with a status, by that status; 0 is OK, and numbers that "
            + "gRPC does not know count as 2, UNKNOWN.",
        query: "sum by (service, version, grpc_status) (rate(sluice_grpc_calls_total[5m]))")
    public static let mirrorDuration = Family(
        "sluice_mirror_duration_seconds", .histogram, .requests, row,
        "Time from a copy's head to the end of its answer.")

    // MARK: Istio

    /// The labels of the process and of versions, in the order of a line.
    static let istioSource = [
        "source_workload", "source_canonical_service", "source_canonical_revision",
        "source_workload_namespace", "source_principal", "source_app", "source_version",
        "source_cluster",
    ]
    static let istioDestination = [
        "destination_workload", "destination_workload_namespace", "destination_principal",
        "destination_app", "destination_version", "destination_service",
        "destination_canonical_service", "destination_canonical_revision",
        "destination_service_name", "destination_service_namespace", "destination_cluster",
    ]
    private static let istio = ["reporter"] + istioSource + istioDestination
    private static let policy = ["connection_security_policy"]

    public static let istioRequests = Family(
        "istio_requests_total", .counter, .istio,
        istio + ["request_protocol", "response_code", "grpc_response_status", "response_flags"]
            + policy,
        "Client requests that ended, in the labels of Istio.",
        query: "sum by (destination_workload) (rate(istio_requests_total{reporter=\"destination\","
            + "response_code!~\"5.*\"}[1m])) / sum by (destination_workload) "
            + "(rate(istio_requests_total{reporter=\"destination\"}[1m]))")
    public static let istioDuration = Family(
        "istio_request_duration_milliseconds", .histogram, .istio,
        istio + ["request_protocol", "response_code"] + policy,
        "Time from a request's head to the end of its response, in the labels of Istio; "
            + "response_code is the class.",
        query: "histogram_quantile(0.99, sum by (destination_workload, le) "
            + "(rate(istio_request_duration_milliseconds_bucket{reporter=\"destination\"}[1m])))")
    public static let istioReceived = Family(
        "istio_request_bytes", .histogram, .istio, istio + policy,
        "Bytes of request bodies, in the labels of Istio; buckets with metrics.istio.sizes.")
    public static let istioSent = Family(
        "istio_response_bytes", .histogram, .istio, istio + policy,
        "Bytes of response bodies, in the labels of Istio; buckets with metrics.istio.sizes.")
    public static let istioBuild = Family(
        "istio_build", .gauge, .istio, ["component", "tag"],
        "1, with the program in the words of Istio.")

    // MARK: Applications

    public static let httpDuration = Family(
        "http_request_duration_seconds", .histogram, .http, ["status"],
        "Time from a request's head to the end of its response, by the class of the status; with "
            + "metrics.http.",
        query: "sum(rate(http_request_duration_seconds_count{status!~\"5.*\"}[1m])) / "
            + "sum(rate(http_request_duration_seconds_count[1m]))")

    // MARK: Clients

    public static let refused = Family(
        "sluice_downstream_refused_total", .counter, .clients, ["listener", "cause"],
        "Requests refused for what they did against HTTP or asked beyond a limit.")
    public static let byProtocol = Family(
        "sluice_requests_by_protocol_total", .counter, .clients, ["protocol"],
        "Client requests that ended, by what the client speaks.")
    public static let resets = Family(
        "sluice_http2_stream_resets_total", .counter, .clients, ["side", "code"],
        "HTTP/2 streams reset by the peer, by side and RFC 9113's code.")
    public static let handshakes = Family(
        "sluice_tls_handshakes_total", .counter, .clients, ["side", "version"],
        "TLS handshakes that succeeded, by side and version.")
    public static let handshakeFailures = Family(
        "sluice_tls_handshake_failures_total", .counter, .clients, ["side", "cause"],
        "TLS handshakes that failed, by side and cause.")
    public static let clientConnections = Family(
        "sluice_downstream_connections", .gauge, .clients, [], "Client connections open.")
    public static let connectionsLimit = Family(
        "sluice_downstream_connections_limit", .gauge, .clients, [],
        "Client connections that may be open.")
    public static let workerConnections = Family(
        "sluice_worker_connections", .gauge, .clients, ["worker"],
        "Client connections by worker.")
    public static let tunnels = Family("sluice_tunnels", .gauge, .clients, [], "Tunnels open.")
    public static let certificateExpiry = Family(
        "sluice_tls_certificate_expiry_timestamp_seconds", .gauge, .clients,
        ["listener", "service", "use", "file"],
        "When the file's certificates end: of a chain its first, of authorities the last.",
        query: "min by (file) (sluice_tls_certificate_expiry_timestamp_seconds) - time() "
            + "< 7 * 86400"
    )
}
