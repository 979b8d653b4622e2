import Base
import HTTP2
import HTTPSemantics
import Routing
import Telemetry
import Upstream

/// Turns a document into a snapshot: names become indices, texts move into one store.
public struct SnapshotCompiler: ~Copyable {
    /// The contents of files and names outside the document, already fetched by whoever does I/O.
    public struct Inputs: Sendable {
        public var generation: UInt64
        public var hash: String
        /// Addresses of each name that resolved.
        public var addresses: [Document.NameAndPort: [Address]]
        /// Keys of each keys file.
        public var stickyKeys: [String: [SipHash]]
        /// A number by service that tells the service's TLS from what it was before.
        public var transports: [String: UInt64] = [:]
        /// The machine's name, and variables of the process, for lines of the access log.
        public var hostName = ""
        public var environment: [String: String] = [:]
        /// When the snapshot is made: endpoints that it names first warm up from here.
        public var now = Instant(nanoseconds: 0)

        public init(
            generation: UInt64, hash: String,
            addresses: [Document.NameAndPort: [Address]] = [:],
            stickyKeys: [String: [SipHash]] = [:], transports: [String: UInt64] = [:],
            now: Instant = Instant(nanoseconds: 0)
        ) {
            self.now = now
            self.generation = generation
            self.hash = hash
            self.addresses = addresses
            self.stickyKeys = stickyKeys
            self.transports = transports
        }
    }

    let document: Document
    let inputs: Inputs
    let registry: SharedRegistry
    var store = ByteStore()
    private var edits = [Snapshot.EditPlan()]
    private var editedNames: [ByteRange] = []
    private var rows: [Snapshot.RowPlan] = []
    private var versions: [Snapshot.VersionPlan] = []
    private var services: [Snapshot.ServicePlan] = []
    private var splits: [Snapshot.SplitPlan] = []
    private var splitOwners: [SnapshotPlans.SplitOwner] = []
    private var lacksSplits = false
    private var epochs: [UInt64] = []
    private var sticky: [SharedBox<Stickiness>] = []
    var routes: [Snapshot.RoutePlan] = []
    private var matches: [[MatchRule]] = []
    var retries: [RetryPolicy] = []
    var filters: [Snapshot.FilterPlan] = []
    var faults: [Snapshot.FaultPlan] = []
    var mirrors: [Snapshot.MirrorPlan] = []
    var checks: [Snapshot.CheckPlan] = []

    private init(_ document: Document, _ inputs: Inputs, _ registry: SharedRegistry) {
        self.document = document
        self.inputs = inputs
        self.registry = registry
    }

    /// Compiles; cannot fail on a document that was read without errors.
    /// - Returns: the snapshot with one reference, the caller's.
    public static func compile(
        _ document: Document, _ inputs: Inputs, registry: SharedRegistry
    ) -> SharedBox<Snapshot> {
        var compiler = SnapshotCompiler(document, inputs, registry)
        registry.beginSnapshot(now: inputs.now, isFirst: inputs.generation <= 1)
        compiler.retries.append(document.retries)
        for service in document.services { compiler.add(service) }
        for (i, route) in document.routes.enumerated() { compiler.add(route, at: i) }
        for (service, hosts) in compiler.implicitRoutes() { compiler.addImplicit(service, hosts) }
        for i in document.services.indices { compiler.addCheck(ofService: i) }
        registry.endSnapshot()
        compiler.epochs = registry.epochs(of: document.services, isWhole: true)
        SnapshotCompiler.attach(
            &compiler.splits, compiler.splitOwners, document, compiler.epochs, registry)
        return SharedBox(compiler.finish())
    }

    /// Gives the splits the evidence and the guard's sums of their epochs.
    static func attach(
        _ splits: inout [Snapshot.SplitPlan], _ owners: [SnapshotPlans.SplitOwner],
        _ document: Document, _ epochs: [UInt64], _ registry: SharedRegistry
    ) {
        for (i, owner) in owners.enumerated() {
            let service = document.services[owner.service]
            registry.attach(
                &splits[i], route: document.splitName(owner), service,
                epoch: epochs[owner.service])
        }
    }

    private consuming func finish() -> Snapshot {
        let settings = makeSettings()
        let metrics = registry.metrics
        let (numbered, originals) = withRules(matches)
        let matched = matchedPlans()
        let log = logProgram()
        let plans = SnapshotPlans(
            table: RouteTable(
                numbered: numbered, listenerNumber: { metrics.listener($0) }),
            routes: FixedArray(routes), services: FixedArray(services),
            versions: FixedArray(versions), sticky: FixedArray(sticky), edits: FixedArray(edits),
            editedNames: FixedArray(editedNames), rows: FixedArray(rows),
            retries: FixedArray(retries), filters: FixedArray(filters),
            faults: FixedArray(faults), mirrors: FixedArray(mirrors), checks: FixedArray(checks),
            log: log, store: store, listenerProtocols: FixedArray(listenerProtocols()),
            halfClosers: FixedArray(halfClosers()), splitOwners: FixedArray(splitOwners),
            ruleOriginals: FixedArray(originals), firstRuleRoute: routes.count - originals.count,
            matched: FixedArray(matched), lacksSplits: lacksSplits, metrics: metrics)
        return Snapshot(
            generation: inputs.generation, hash: inputs.hash, document: document,
            settings: settings, splits: splits, epochs: epochs, plans: SharedBox(plans))
    }

    private func listenerProtocols() -> [Document.ListenerProtocol] {
        var protocols: [Document.ListenerProtocol] = []
        for listener in document.listeners {
            let number = registry.metrics.listener(listener.name)
            while protocols.count <= number { protocols.append(.auto) }
            protocols[number] = listener.protocol
            registry.metrics.describe(
                listener: number,
                isMutual: listener.tls.map { $0.clientCA != nil && $0.requiresClientCertificate }
                    ?? false)
        }
        return protocols
    }

    private func halfClosers() -> [Bool] {
        var allowed: [Bool] = []
        for listener in document.listeners {
            let number = registry.metrics.listener(listener.name)
            while allowed.count <= number { allowed.append(false) }
            allowed[number] = listener.allowsHalfClose
        }
        return allowed
    }

    private mutating func makeSettings() -> Snapshot.Settings {
        var settings = Snapshot.Settings()
        settings.timeouts = document.timeouts
        settings.limits = document.limits
        settings.http2 = document.limits.http2
        settings.normalizesPaths = document.normalizesPaths
        settings.trustedHops = document.forwarding.trustedHops
        settings.requestID = document.forwarding.requestID
        settings.via = document.forwarding.via
        settings.flagsField = store.intern(document.forwarding.flagsField ?? "")
        if let log = document.accessLog {
            settings.logs = log.sample > 0 || log.writesErrors
            settings.accessLogSample = log.sample
            settings.logsErrors = log.writesErrors
        }
        settings.countsSizes = document.metricsIstio?.hasSizes ?? false
        settings.noRouteRow = row(route: "", service: "", version: "")
        let rate = document.limits.bytesPerSecondMin
        settings.nanosecondsPerByte = rate == 0 ? 0 : 1_000_000_000 / Int64(rate)
        settings.http2.nanosecondsPerByte = settings.nanosecondsPerByte
        return settings
    }

    private func logProgram() -> LogProgram {
        switch document.accessLog?.format {
        case nil, .json: return LogProgram(.json)
        case .combined: return LogProgram(.combined)
        case .template(let template, _):
            return LogProgram(
                template, hostName: inputs.hostName, environment: inputs.environment)
        }
    }

    mutating func row(route: String, service: String, version: String, edits: Int = 0) -> Int {
        let row = registry.metrics.row(
            .init(route: route, service: service, version: version))
        rows.append(Snapshot.RowPlan(id: row.id, slot: row.slot, edits: edits))
        return rows.count - 1
    }

    // MARK: Services

    private mutating func add(_ service: Document.Service) {
        registry.noteEpoch(of: service)
        var plan = Snapshot.ServicePlan()
        plan.name = store.intern(service.name)
        plan.versions = Snapshot.Run(
            start: versions.count, end: versions.count + service.versions.count)
        plan.stable = service.stable
        plan.fallsBack = service.fallsBack
        plan.hasGuard = service.guardRatio != nil && service.versions.count > 1
        if let key = service.hashKey {
            plan.hashSource = key.source
            plan.hashName = store.intern(key.name)
            plan.hashKnown =
                key.source == .cookie ? .cookie : KnownField.intern(Array(key.name.utf8).span)
        }
        if let sticky = service.sticky {
            plan.sticky = self.sticky.count
            self.sticky.append(
                SharedBox(
                    Stickiness(
                        source: sticky.source, name: sticky.name, issue: sticky.issue,
                        ttlSeconds: sticky.ttl.nanoseconds / 1_000_000_000, salt: sticky.salt,
                        keys: keys(sticky), siblingKeys: siblingKeys(service, sticky))))
        }
        for version in service.versions {
            let cluster = registry.cluster(spec(service, version))
            registry.metrics.describe(
                cluster: cluster.id, SnapshotCompiler.identity(service, version))
            versions.append(
                Snapshot.VersionPlan(
                    name: store.intern(version.name),
                    line: store.intern(versionLine(version.name)),
                    cluster: SharedBox(cluster),
                    fault: fault(version.fault, of: service.name + "/" + version.name),
                    latch: registry.latch(service: service.name, version: version.name),
                    errors: service.errors))
        }
        services.append(plan)
    }

    /// The names of a version in monitoring.
    private static func identity(
        _ service: Document.Service, _ version: Document.Version
    ) -> VersionIdentity {
        let inCluster = service.hosts.first { $0.contains(".svc.") && !$0.hasPrefix("*") }
        return VersionIdentity(
            workload: version.workload, namespace: service.namespace, app: service.app,
            host: version.host ?? service.host ?? inCluster)
    }

    private func keys(_ sticky: Document.Sticky) -> [SipHash] {
        sticky.keysPath.flatMap { inputs.stickyKeys[$0] } ?? []
    }

    /// Keys of the other services that issue a cookie of the same name, in the order of the file.
    private func siblingKeys(
        _ service: Document.Service, _ sticky: Document.Sticky
    ) -> [SipHash] {
        guard let issue = sticky.issue else { return [] }
        return document.services.flatMap { other -> [SipHash] in
            guard other.name != service.name, let sibling = other.sticky,
                sibling.issue == issue, sibling.keysPath != sticky.keysPath
            else { return [] }
            return keys(sibling)
        }
    }

    /// How a version's endpoints are chosen and reached.
    func spec(_ service: Document.Service, _ version: Document.Version) -> ClusterSpec {
        let endpoints = version.dns.map { inputs.addresses[$0] ?? [] } ?? version.endpoints
        var spec = ClusterSpec(
            service: service.name, version: version.name, endpoints: endpoints,
            policy: service.policy, limits: service.limits, connectTimeout: service.connectTimeout)
        spec.protocol = service.protocol
        spec.transport =
            (inputs.transports[service.name] ?? 0) ^ UInt64(service.protocol.rawValue)
        spec.outlier = service.outlier
        spec.healthCheck = service.healthCheck?.policy
        spec.warmup = service.warmup
        spec.healthyPercentMin = service.healthyPercentMin
        spec.retryBudget = document.retryBudget
        return spec
    }

    private func versionLine(_ version: String) -> String {
        guard let field = document.forwarding.versionField else { return "" }
        return "\(field): \(version)\r\n"
    }

    /// The place of what a route's and a version's edits come to together; 0 for none at all.
    mutating func edits(_ route: Document.HeaderEdits, _ version: Document.HeaderEdits?) -> Int {
        let version = version ?? Document.HeaderEdits()
        let request = FieldEdits([route.request, version.request])
        let response = FieldEdits([route.response, version.response])
        if request.isEmpty, response.isEmpty { return 0 }
        edits.append(
            Snapshot.EditPlan(request: direction(request), response: direction(response)))
        return edits.count - 1
    }

    private mutating func direction(_ edits: FieldEdits) -> Snapshot.EditPlan.Direction {
        let start = editedNames.count
        for name in edits.removed { editedNames.append(store.intern(name)) }
        let text = edits.lines.map { "\($0.name): \($0.value)\r\n" }.joined()
        return Snapshot.EditPlan.Direction(
            removed: Snapshot.Run(start: start, end: editedNames.count),
            lines: text.isEmpty ? .empty : store.intern(text))
    }

    // MARK: Routes

    private mutating func add(_ route: Document.Route, at index: Int) {
        var plan = Snapshot.RoutePlan()
        plan.name = store.intern(route.name)
        plan.firstByte = route.firstByte ?? document.timeouts.firstByte
        plan.request = route.request ?? document.timeouts.request
        plan.idle = route.idle ?? document.timeouts.idle
        plan.perTry = route.perTry ?? document.timeouts.perTry
        plan.write = route.write ?? document.timeouts.write
        plan.retry = retry(route.retries)
        plan.filter = filter(route)
        plan.allowsConnect = route.allowsConnect
        switch route.action {
        case .forward(let service, let version, _):
            forward(
                &plan, route.name, service, version, document.weights(ofRoute: route), route.edits,
                route: index)
            rewrite(&plan, route)
        case .redirect(let redirect):
            plan.kind = .redirect
            plan.status = redirect.status
            plan.scheme = store.intern(redirect.scheme ?? "")
            plan.host = store.intern(redirect.host ?? "")
            plan.port = UInt16(redirect.port ?? 0)
            plan.pathEdit = redirect.path != nil ? .path : redirect.prefix != nil ? .prefix : .none
            plan.pathText = store.intern(redirect.path ?? redirect.prefix ?? "")
            plan.prefixLength = SnapshotCompiler.prefixLength(route)
            plan.rows = row(
                route: route.name, service: "", version: "", edits: edits(route.edits, nil))
        case .respond(let status, let body, let contentType):
            plan.kind = .respond
            plan.status = status
            plan.body = store.intern(body)
            plan.contentType = store.intern(contentType)
            plan.rows = row(
                route: route.name, service: "", version: "", edits: edits(route.edits, nil))
        }
        routes.append(plan)
        matches.append(route.matches)
    }

    private mutating func forward(
        _ plan: inout Snapshot.RoutePlan, _ name: String, _ service: Int, _ version: Int?,
        _ weights: SplitWeights?, _ edits: Document.HeaderEdits, route: Int
    ) {
        let config = document.services[service]
        plan.kind = .forward
        plan.service = service
        plan.isSpecial = plan.filter >= 0 || config.versions.contains { $0.fault != nil }
        plan.pinned = version ?? -1
        plan.rows = row(
            route: name, service: config.name, version: "", edits: self.edits(edits, nil))
        for version in config.versions {
            _ = row(
                route: name, service: config.name, version: version.name,
                edits: self.edits(edits, version.edits))
        }
        guard version == nil else { return }
        guard let weights else {
            lacksSplits = true
            return
        }
        plan.split = splits.count
        splitOwners.append(.init(route: route, service: service))
        splits.append(
            Snapshot.SplitPlan(
                draws: registry.draws(split: name, of: config.name, weights: weights),
                intervals: SharedBox(SessionIntervals(weights: weights, stable: config.stable))))
    }

    private mutating func rewrite(_ plan: inout Snapshot.RoutePlan, _ route: Document.Route) {
        guard let rewrite = route.rewrite else { return }
        plan.pathEdit = rewrite.path != nil ? .path : rewrite.prefix != nil ? .prefix : .none
        plan.pathText = store.intern(rewrite.path ?? rewrite.prefix ?? "")
        plan.host = store.intern(rewrite.host ?? "")
        plan.prefixLength = SnapshotCompiler.prefixLength(route)
    }

    /// The prefix that a rewrite replaces. Alternatives of one route may have several lengths; the
    /// longest wins, and a path that is shorter loses what it has.
    private static func prefixLength(_ route: Document.Route) -> Int {
        route.matches.reduce(0) { longest, match in
            guard case .prefix(let text)? = match.path else { return longest }
            let trimmed = text.hasSuffix("/") ? text.utf8.count - 1 : text.utf8.count
            return max(longest, trimmed)
        }
    }

    /// Services' own hosts, behind the listed routes: exact ones first, then the longest wildcard.
    private func implicitRoutes() -> [(service: Int, hosts: [String])] {
        var pairs: [(service: Int, host: String)] = []
        for (i, service) in document.services.enumerated() {
            for host in service.hosts { pairs.append((i, host)) }
        }
        func rank(_ host: String) -> Int { host.hasPrefix("*") ? 1_000 - host.utf8.count : 0 }
        pairs.sort { (rank($0.host), $0.service) < (rank($1.host), $1.service) }
        return pairs.map { ($0.service, [$0.host]) }
    }

    private mutating func addImplicit(_ service: Int, _ hosts: [String]) {
        let config = document.services[service]
        var plan = Snapshot.RoutePlan()
        let name = SnapshotCompiler.implicitName(config.name)
        plan.name = store.intern(name)
        plan.firstByte = document.timeouts.firstByte
        plan.request = document.timeouts.request
        plan.idle = document.timeouts.idle
        plan.perTry = document.timeouts.perTry
        plan.write = document.timeouts.write
        forward(
            &plan, name, service, nil, SplitWeights(config.versions.map(\.weight)),
            Document.HeaderEdits(), route: -1)
        routes.append(plan)
        var match = MatchRule()
        match.hosts = hosts
        matches.append([match])
    }

    /// The route label of requests that a service's own hosts took. No listed route can have it.
    public static func implicitName(_ service: String) -> String { "service/" + service }

    func versionIndex(_ service: Int, _ version: Int) -> Int {
        services[service].versions.start + version
    }

    mutating func setCheck(_ check: Int, ofService service: Int) {
        services[service].check = check
    }
}
