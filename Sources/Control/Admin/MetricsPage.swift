import Base
import Configuration
import Explain
import Telemetry
import Upstream

/// The whole metrics page: requests from the workers' shards, then the process and its
/// configuration.
enum MetricsPage {
    static func text(_ process: some ProcessView, format: PrometheusText.Format) -> String {
        // Slots stay what they are until their counters have been read.
        process.metrics.reading { write(process, format: format) }
    }

    private static func write(
        _ process: some ProcessView, format: PrometheusText.Format
    ) -> String {
        var page = PrometheusText(format: format)
        let snapshot = process.snapshot
        let requests = RequestMetricsPage(
            registry: process.metrics, shards: process.workers.map(\.shard),
            hiding: process.hiddenSeries())
        requests.write(
            to: &page, expected: expected(snapshot.value.document),
            refusedCause: { process.refusedCause($0) })
        configuration(process, &page)
        weights(process, &page)
        certificates(process, &page)
        clusters(snapshot, process.now, &page)
        guards(process, &page)
        rollouts(process, &page)
        names(process, &page)
        self.process(process, &page)
        page.finish()
        return ASCII.string(page.buffer.readable)
    }

    /// Series that exist at zero: each listener with each route and version it can reach.
    private static func expected(_ document: Document) -> [RequestMetricsPage.Expected] {
        var list: [RequestMetricsPage.Expected] = []
        func add(_ route: String, _ service: Document.Service, _ version: Int, _ assign: Assign) {
            for listener in document.listeners {
                list.append(
                    .init(
                        listener: listener.name,
                        labels: .init(
                            route: route, service: service.name,
                            version: service.versions[version].name), assign: assign))
            }
        }
        func addAll(_ route: String, _ service: Document.Service, _ weights: [Int]) {
            for (version, weight) in weights.enumerated() where weight > 0 {
                add(route, service, version, .weighted)
                if service.sticky != nil { add(route, service, version, .sticky) }
            }
        }
        for route in document.routes {
            guard case .forward(let index, let version, let split) = route.action else { continue }
            let service = document.services[index]
            if let version {
                add(route.name, service, version, .header)
            } else {
                addAll(route.name, service, split ?? service.versions.map(\.weight))
            }
        }
        for service in document.services where !service.hosts.isEmpty {
            addAll(
                SnapshotCompiler.implicitName(service.name), service,
                service.versions.map(\.weight))
        }
        return list
    }

    private static func gauge(_ name: String, _ help: String) -> MetricCatalog.Family {
        MetricCatalog.Family(name: name, kind: .gauge, help: help)
    }

    private static func counter(_ name: String, _ help: String) -> MetricCatalog.Family {
        MetricCatalog.Family(name: name, kind: .counter, help: help)
    }

    private static func configuration(_ process: some ProcessView, _ page: inout PrometheusText) {
        page.family(
            counter("sluice_config_reloads_total", "Reloads of the configuration, by result."))
        page.sample([("result", "accepted")], process.reloads.accepted)
        page.sample([("result", "rejected")], process.reloads.rejected)
        page.family(
            gauge(
                "sluice_config_generation",
                "Generation in force in every worker; grows with each publication."))
        page.sample([], process.workers.map(\.generation).min() ?? 0)
        page.family(gauge("sluice_config_info", "1, with the hash of the file in force."))
        page.sample([("hash", process.hash)], 1)
        page.family(
            gauge(
                "sluice_config_last_reload_successful",
                "1 when the last reload was accepted, or none was tried."))
        page.sample([], process.reloads.lastRejection.isEmpty ? 1 : 0)
        page.family(
            gauge(
                "sluice_config_last_accepted_timestamp_seconds",
                "When the configuration in force was accepted."))
        page.sample([], microseconds: UInt64(process.reloads.lastAcceptedAt.microseconds))
        page.family(gauge("sluice_ready", "1 while the process is ready."))
        page.sample([], process.notReadyReason == nil ? 1 : 0)
        page.family(gauge("sluice_draining", "1 while the process drains."))
        page.sample([], process.isDraining ? 1 : 0)
        page.family(gauge("sluice_build_info", "1, with the version of the program."))
        page.sample([("version", process.version)], 1)
    }

    /// Weights that are not the file's; nothing where the configuration has no `rollouts:`.
    private static func weights(_ process: some ProcessView, _ page: inout PrometheusText) {
        let state = process.weights
        guard state.overlayPath != nil else { return }
        page.family(
            gauge(
                "sluice_overlay_believed", "1 when the overlay's file was read, or there is none."))
        page.sample([], state.problem == nil ? 1 : 0)
        page.family(
            gauge("sluice_overlay_written", "1 when the overlay in force is on the disk."))
        page.sample([], state.unwritten == nil ? 1 : 0)
        let services = zip(process.snapshot.value.document.services, state.sources)
        page.family(
            gauge("sluice_weights_overlaid", "1 while a service has other weights than the file's.")
        )
        for (service, source) in services {
            page.sample([("service", service.name)], source.entry == nil ? 0 : 1)
        }
        page.family(
            gauge(
                "sluice_weights_drift",
                "1 while the file's weights of a service have changed and are not applied."))
        for (service, source) in services {
            var isDrift = false
            if case .drift = source { isDrift = true }
            page.sample([("service", service.name)], isDrift ? 1 : 0)
        }
    }

    /// The acts of the guard, for services that have one; and evidence that came too late.
    private static func guards(_ process: some ProcessView, _ page: inout PrometheusText) {
        let guarded = Set(
            process.snapshot.value.document.services.filter { $0.guardRatio != nil }.map(\.name))
        let latches = process.latches().filter { guarded.contains($0.service) }
        page.family(gauge("sluice_guard_tripped", "1 while the guard keeps the version out."))
        for latch in latches {
            page.sample(
                [("service", latch.service), ("version", latch.version)], latch.isTripped ? 1 : 0)
        }
        page.family(counter("sluice_guard_trips_total", "Times the guard took the version out."))
        for latch in latches {
            page.sample(
                [("service", latch.service), ("version", latch.version)], UInt64(latch.tripCount))
        }
        page.family(
            counter(
                "sluice_evidence_lost_total",
                "Requests that ended after the two epochs that evidence is kept of."))
        for split in process.lostEvidence() {
            page.sample([("route", split.route)], UInt64(split.lost))
        }
    }

    /// When certificates end; a file that is named twice has a sample for each place.
    private static func certificates(_ process: some ProcessView, _ page: inout PrometheusText) {
        if process.certificates.isEmpty { return }
        page.family(
            gauge(
                "sluice_tls_certificate_expiry_timestamp_seconds",
                "When the file's certificates end: of a chain its first, of authorities the last."))
        var seen: Set<String> = []
        for expiry in process.certificates {
            let labels = [
                ("listener", expiry.listener), ("service", expiry.service),
                ("use", expiry.use), ("file", expiry.file),
            ]
            guard seen.insert("\(labels)").inserted else { continue }
            page.sample(labels, UInt64(max(0, expiry.notAfter)))
        }
    }

    /// Each version, with its labels; then the pools that copies have to themselves.
    private static func rows(
        _ snapshot: SharedBox<Snapshot>
    ) -> [([(String, String)], SharedBox<Cluster>)] {
        var rows: [([(String, String)], SharedBox<Cluster>)] = []
        for (i, service) in snapshot.value.document.services.enumerated() {
            let plan = snapshot.value.services[i]
            for (v, version) in service.versions.enumerated() {
                rows.append(
                    (
                        [("service", service.name), ("version", version.name)],
                        snapshot.value.versions[plan.versions.start + v].cluster
                    ))
            }
        }
        let versionCount = rows.count
        var seen: Set<Int> = []
        for i in 0..<snapshot.value.mirrors.count {
            let mirror = snapshot.value.mirrors[i]
            guard seen.insert(mirror.cluster.value.id).inserted, mirror.version < versionCount
            else { continue }
            rows.append((rows[mirror.version].0 + [("pool", "mirror")], mirror.cluster))
        }
        return rows
    }

    private static func clusters(
        _ snapshot: SharedBox<Snapshot>, _ now: Instant, _ page: inout PrometheusText
    ) {
        let rows = rows(snapshot)
        page.family(
            gauge("sluice_upstream_pool_connections", "Connections to the version, all workers."))
        for row in rows {
            page.sample(row.0, UInt64(max(0, row.1.value.state.value.connectionCount)))
        }
        page.family(
            gauge("sluice_upstream_pool_requests", "Requests in flight to the version."))
        for row in rows { page.sample(row.0, UInt64(max(0, row.1.value.state.value.requestCount))) }
        page.family(
            gauge("sluice_upstream_pool_pending", "Requests that wait for a connection."))
        for row in rows { page.sample(row.0, UInt64(max(0, row.1.value.state.value.pendingCount))) }
        page.family(gauge("sluice_upstream_pool_retries", "Retries under way to the version."))
        for row in rows { page.sample(row.0, UInt64(max(0, row.1.value.state.value.retryCount))) }
        page.family(
            gauge("sluice_upstream_retry_budget", "Retries that the version's budget would allow."))
        for row in rows {
            guard let budget = row.1.value.retryBudget else { continue }
            page.sample(row.0, UInt64(row.1.value.state.value.retriesLeft(budget, now: now)))
        }
        limits(rows, &page)
        page.family(
            gauge(
                "sluice_version_endpoints",
                "Endpoints that the version has; one without answers its share with 503."))
        for row in rows { page.sample(row.0, UInt64(row.1.value.endpoints.count)) }
        page.family(
            gauge("sluice_endpoint_available", "1 while the endpoint is in the rotation."))
        for row in rows {
            for i in 0..<row.1.value.endpoints.count {
                let endpoint = row.1.value.endpoints[i]
                page.sample(
                    row.0 + [("endpoint", UnixPaths.text(endpoint.address))],
                    EndpointText.isIn(endpoint.state.value.view(now: now)) ? 1 : 0)
            }
        }
        endpoints(rows, now, &page)
    }

    /// Why endpoints are out, a sample for each reason that there may be.
    private static func endpoints(
        _ rows: [([(String, String)], SharedBox<Cluster>)], _ now: Instant,
        _ page: inout PrometheusText
    ) {
        page.family(
            gauge("sluice_endpoint_condition", "1 while the reason holds for the endpoint."))
        let reasons: [(EndpointCondition, String)] = [
            (.refused, "refused"), (.unhealthy, "unhealthy"), (.ejected, "ejected"),
            (.warming, "warming"),
        ]
        for row in rows {
            for i in 0..<row.1.value.endpoints.count {
                let endpoint = row.1.value.endpoints[i]
                let condition = endpoint.state.value.view(now: now).condition
                for (bit, name) in reasons {
                    page.sample(
                        row.0 + [
                            ("endpoint", UnixPaths.text(endpoint.address)), ("reason", name),
                        ], condition.contains(bit) ? 1 : 0)
                }
            }
        }
    }

    /// The limits beside the levels; those without limit have no sample.
    private static func limits(
        _ rows: [([(String, String)], SharedBox<Cluster>)], _ page: inout PrometheusText
    ) {
        page.family(
            gauge("sluice_upstream_pool_limit", "Limits of the version, by what they bound."))
        for row in rows {
            let limits = row.1.value.limits
            let all = [
                ("connections", limits.connectionsMax), ("pending", limits.pendingRequestsMax),
                ("requests", limits.requestsMax), ("retries", limits.retriesMax),
            ]
            for (name, max) in all where max != .max {
                page.sample(row.0 + [("limit", name)], UInt64(max))
            }
        }
    }

    private static func names(_ process: some ProcessView, _ page: inout PrometheusText) {
        func family(
            _ name: String, _ kind: MetricCatalog.Kind, _ help: String,
            _ value: (NameView) -> UInt64
        ) {
            page.family(MetricCatalog.Family(name: name, kind: kind, help: help))
            for name in process.names {
                page.sample([("name", "\(name.name):\(name.port)")], value(name))
            }
        }
        family("sluice_dns_lookups_total", .counter, "Lookups of the name.") { $0.attempts }
        family("sluice_dns_failures_total", .counter, "Lookups of the name that failed.") {
            $0.failures
        }
        family(
            "sluice_dns_resolved", .gauge, "1 while the last lookup of the name succeeded."
        ) { $0.failure.isEmpty ? 1 : 0 }
    }

    private static func process(_ process: some ProcessView, _ page: inout PrometheusText) {
        let figures = process.figures()
        page.family(counter("process_cpu_seconds_total", "CPU time of the process."))
        page.sample([], microseconds: figures.cpuMicroseconds)
        page.family(gauge("process_resident_memory_bytes", "Resident memory."))
        page.sample([], figures.residentBytes)
        page.family(gauge("process_virtual_memory_bytes", "Virtual memory."))
        page.sample([], figures.virtualBytes)
        page.family(gauge("process_open_fds", "Open descriptors."))
        page.sample([], UInt64(figures.openDescriptors))
        page.family(gauge("process_max_fds", "The limit on open descriptors."))
        page.sample([], UInt64(figures.descriptorsMax))
        page.family(gauge("process_threads", "Threads."))
        page.sample([], UInt64(figures.threads))
        page.family(gauge("process_start_time_seconds", "When the process started."))
        page.sample([], microseconds: UInt64(process.startedAt.microseconds))
        page.family(gauge("sluice_buffer_bytes", "Memory that buffers hold."))
        page.sample([], UInt64(max(0, BufferMemory.bytes)))
        page.family(
            gauge("sluice_buffer_limit_bytes", "Above it new requests are refused."))
        page.sample([], UInt64(process.limits.bufferBytes))
        page.family(
            gauge("sluice_downstream_connections_limit", "Client connections that may be open."))
        page.sample([], UInt64(process.limits.connections))
        page.family(gauge("sluice_worker_connections", "Client connections by worker."))
        for worker in process.workers {
            page.sample([("worker", "\(worker.index)")], UInt64(max(0, worker.connections)))
        }
    }
}
