extension MetricCatalog {
    /// Every family, by use and within a use in the order of the page. A test compares the list
    /// with the pages of a process that has everything.
    public static let all: [Family] = Use.allCases.flatMap { use in
        families.filter { $0.use == use }
    }

    private static let families: [Family] = {
        var families = named
        var names: Set<String> = []
        let counted =
            WorkerMetric.allCases.map(worker) + ClusterMetric.allCases.map(cluster)
            + RouteMetric.allCases.map(route)
        // Several metrics may be one family.
        families += counted.compactMap { $0?.family }
        return families.filter { names.insert($0.name).inserted }
    }()

    /// Families that are no lists of a worker's metrics.
    private static let named: [Family] = [
        requests, errors, duration, inFlight, bytesReceived, bytesSent, calls, mirrorDuration,
        istioRequests, istioDuration, istioReceived, istioSent, istioBuild, httpDuration, refused,
        byProtocol, resets, handshakes, handshakeFailures, clientConnections, connectionsLimit,
        workerConnections, tunnels, certificateExpiry, upstreamConnections, poolConnections,
        poolRequests, poolPending, poolRetries, retryBudget, poolLimit, endpoints,
        endpointAvailable, endpointCondition, lookups, lookupFailures, resolved, weight,
        overlayBelieved, overlayWritten, weightsOverlaid, weightsDrift, guardTripped, guardTrips,
        evidenceLost, rolloutState, rolloutWeight, rolloutEvidence, rolloutEvidenceLimit,
        rolloutVerdicts, reloads, generation, configuration, reloadSucceeded, acceptedAt, ready,
        draining, build, cpu, residentMemory, virtualMemory, openDescriptors, descriptorsMax,
        threads, startTime, bufferBytes, bufferLimit,
    ]
}
