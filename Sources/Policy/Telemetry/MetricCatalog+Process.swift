// Families of endpoints, rollouts and the process, which no worker counts.

extension MetricCatalog {
    private static let version = ["service", "version"]
    private static let pool = ["service", "version", "pool"]

    // MARK: Endpoints

    public static let upstreamConnections = Family(
        "sluice_upstream_connections", .gauge, .upstream, [], "Connections to endpoints open.")
    public static let poolConnections = Family(
        "sluice_upstream_pool_connections", .gauge, .upstream, pool,
        "Connections to the version, all workers.")
    public static let poolRequests = Family(
        "sluice_upstream_pool_requests", .gauge, .upstream, pool,
        "Requests in flight to the version.")
    public static let poolPending = Family(
        "sluice_upstream_pool_pending", .gauge, .upstream, pool,
        "Requests that wait for a connection.")
    public static let poolRetries = Family(
        "sluice_upstream_pool_retries", .gauge, .upstream, pool,
        "Retries under way to the version.")
    public static let retryBudget = Family(
        "sluice_upstream_retry_budget", .gauge, .upstream, pool,
        "Retries that the version's budget would allow.")
    public static let poolLimit = Family(
        "sluice_upstream_pool_limit", .gauge, .upstream, pool + ["limit"],
        "Limits of the version, by what they bound.",
        query: "sluice_upstream_pool_requests / on (instance, service, version, pool) "
            + "sluice_upstream_pool_limit{limit=\"requests\"}")
    public static let endpoints = Family(
        "sluice_version_endpoints", .gauge, .upstream, pool,
        "Endpoints that the version has; one without answers its share with 503.")
    public static let endpointAvailable = Family(
        "sluice_endpoint_available", .gauge, .upstream, pool + ["endpoint"],
        "1 while the endpoint is in the rotation.",
        query: "sum by (service, version) (sluice_endpoint_available) / on (service, version) "
            + "sum by (service, version) (sluice_version_endpoints)")
    public static let endpointCondition = Family(
        "sluice_endpoint_condition", .gauge, .upstream, pool + ["endpoint", "reason"],
        "1 while the reason holds for the endpoint.")
    public static let lookups = Family(
        "sluice_dns_lookups_total", .counter, .upstream, ["name"], "Lookups of the name.")
    public static let lookupFailures = Family(
        "sluice_dns_failures_total", .counter, .upstream, ["name"],
        "Lookups of the name that failed.")
    public static let resolved = Family(
        "sluice_dns_resolved", .gauge, .upstream, ["name"],
        "1 while the last lookup of the name succeeded.")

    // MARK: Weights, guard and rollouts

    public static let weight = Family(
        "sluice_split_weight_ratio", .gauge, .rollouts, ["route"] + version,
        "The version's share of the route's requests that is in force, 0 to 1.",
        query: "sluice_split_weight_ratio - on (instance, route, service, version) "
            + "sum by (instance, route, service, version) "
            + "(rate(sluice_requests_total{assign=~\"weighted|sticky\"}[5m])) "
            + "/ on (instance, route, service) group_left sum by (instance, route, service) "
            + "(rate(sluice_requests_total{assign=~\"weighted|sticky\"}[5m]))")
    public static let overlayBelieved = Family(
        "sluice_overlay_believed", .gauge, .rollouts, [],
        "1 when the overlay's file was read, or there is none.")
    public static let overlayWritten = Family(
        "sluice_overlay_written", .gauge, .rollouts, [],
        "1 when the overlay in force is on the disk.")
    public static let weightsOverlaid = Family(
        "sluice_weights_overlaid", .gauge, .rollouts, ["service"],
        "1 while a service has other weights than the file's.")
    public static let weightsDrift = Family(
        "sluice_weights_drift", .gauge, .rollouts, ["service"],
        "1 while the file's weights of a service have changed and are not applied.")
    public static let guardTripped = Family(
        "sluice_guard_tripped", .gauge, .rollouts, version,
        "1 while the guard keeps the version out.")
    public static let guardTrips = Family(
        "sluice_guard_trips_total", .counter, .rollouts, version,
        "Times the guard took the version out.")
    public static let evidenceLost = Family(
        "sluice_evidence_lost_total", .counter, .rollouts, ["route"],
        "Requests that ended after the two epochs that evidence is kept of.")
    /// The labels of a rollout; those of its plan follow as `label_NAME`.
    static let rollout = ["rollout", "service", "version", "label_*"]
    public static let rolloutState = Family(
        "sluice_rollout_state", .gauge, .rollouts, rollout + ["state"],
        "1 for the state that the rollout is in, else 0.",
        query: "sluice_rollout_state{state=~\"held|rollback blocked|journal not read\"} == 1")
    public static let rolloutWeight = Family(
        "sluice_rollout_weight", .gauge, .rollouts, rollout,
        "The canary's share that is in force in this process, 0 to 1, whoever set it.")
    public static let rolloutEvidence = Family(
        "sluice_rollout_evidence", .gauge, .rollouts, rollout,
        "Logarithm of the evidence E that the canary is worse than tolerated.")
    public static let rolloutEvidenceLimit = Family(
        "sluice_rollout_evidence_limit", .gauge, .rollouts, rollout,
        "The evidence at which the rollout goes back, as a logarithm.")
    public static let rolloutVerdicts = Family(
        "sluice_rollout_verdicts_total", .counter, .rollouts, rollout + ["verdict"],
        "Looks of the judge, by their verdict.")

    // MARK: The process

    public static let reloads = Family(
        "sluice_config_reloads_total", .counter, .process, ["result"],
        "Reloads of the configuration, by result.")
    public static let generation = Family(
        "sluice_config_generation", .gauge, .process, [],
        "Generation in force in every worker; grows with each publication.")
    public static let configuration = Family(
        "sluice_config_info", .gauge, .process, ["hash"],
        "1, with the hash of the file in force.",
        query: "count(count by (hash) (sluice_config_info)) > 1")
    public static let reloadSucceeded = Family(
        "sluice_config_last_reload_successful", .gauge, .process, [],
        "1 when the last reload was accepted, or none was tried.",
        query: "sluice_config_last_reload_successful == 0")
    public static let acceptedAt = Family(
        "sluice_config_last_accepted_timestamp_seconds", .gauge, .process, [],
        "When the configuration in force was accepted.")
    public static let ready = Family(
        "sluice_ready", .gauge, .process, [], "1 while the process is ready.")
    public static let draining = Family(
        "sluice_draining", .gauge, .process, [], "1 while the process drains.")
    public static let build = Family(
        "sluice_build_info", .gauge, .process, ["version"],
        "1, with the version of the program.")
    public static let cpu = Family(
        "process_cpu_seconds_total", .counter, .process, [], "CPU time of the process.",
        query: "rate(process_cpu_seconds_total[5m]) / on (instance) "
            + "sum by (instance) (rate(sluice_requests_total[5m]))")
    public static let residentMemory = Family(
        "process_resident_memory_bytes", .gauge, .process, [], "Resident memory.")
    public static let virtualMemory = Family(
        "process_virtual_memory_bytes", .gauge, .process, [], "Virtual memory.")
    public static let openDescriptors = Family(
        "process_open_fds", .gauge, .process, [], "Open descriptors.")
    public static let descriptorsMax = Family(
        "process_max_fds", .gauge, .process, [], "The limit on open descriptors.")
    public static let threads = Family("process_threads", .gauge, .process, [], "Threads.")
    public static let startTime = Family(
        "process_start_time_seconds", .gauge, .process, [], "When the process started.")
    public static let bufferBytes = Family(
        "sluice_buffer_bytes", .gauge, .process, [], "Memory that buffers hold.",
        query: "sluice_buffer_bytes / sluice_buffer_limit_bytes")
    public static let bufferLimit = Family(
        "sluice_buffer_limit_bytes", .gauge, .process, [],
        "Above it new requests are refused.")
}
