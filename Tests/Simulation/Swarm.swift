import Base
import Configuration
import Evidence

/// One world drawn from a seed, run to its end, and everything in it that should not be.
///
/// The same seed gives the same world, step by step: what it finds can be replayed.
public final class Swarm {
    public let seed: UInt64
    public let options: SwarmOptions
    /// The acts of the network, the origins, the clients and the operator, a line each.
    public private(set) var story: [String] = []
    /// Invariants that did not hold.
    public private(set) var findings: [String] = []
    private var random: PRNG
    private let world: World
    private let origins: [SimulatedOrigin]
    private var clients: [SimulatedClient] = []
    private var streamClients: [SimulatedHTTP2Client] = []
    private var tunnels: [SimulatedTunnel] = []
    /// The session that each client's name stands for.
    private var sessions: [String: String] = [:]
    /// Requests whose route names a version.
    private var pinned: Set<String> = []
    private var drainedAt: Instant?
    private var isLossy = false
    /// Some clients authenticate connections, whose version is then no draw.
    private var hasCredentials = false
    public private(set) var requestCount = 0

    public convenience init(seed: UInt64) { self.init(seed: seed, checksTables: true) }

    package init(seed: UInt64, checksTables: Bool) {
        self.seed = seed
        random = PRNG(seed: seed &* 15_485_863 &+ 7)
        var options = SwarmOptions(&random)
        options.guarding = [nil, nil, "guard: on", "guard: { ratio: 3 }"][Int(seed / 7 % 4)]
        self.options = options
        origins = (0..<2).flatMap { version in
            SwarmOptions.addresses(version, 4).map {
                SimulatedOrigin($0, version: "v\(version + 1)")
            }
        }
        for origin in origins { origin.speaksHTTP2 = options.isHTTP2Upstream }
        world = World(seed: seed, yaml: options.yaml(), origins: origins)
        world.checksTables = checksTables
    }

    public func run() {
        drawNetwork()
        for origin in origins { drawOrigin(origin) }
        for n in 0..<(2 + random.below(9)) { drawClient(Int(n)) }
        for n in 0..<(chance(30) ? 1 + Int(random.below(3)) : 0) { drawTunnel(n) }
        drawOperator()
        world.afterTurn = { [unowned self] in checkCaps() }
        world.run(until: .seconds(40))
        // What never comes to rest is taken away.
        world.reload(yaml: options.yaml(isQuiet: true), generation: 99)
        world.run()
        check()
    }

    /// The steps that the world's machines have taken.
    package var steps: MachineSteps { world.steps }

    /// The fate of each answered request.
    public var fates: [String] {
        (clients.flatMap(\.outcomes) + streamClients.flatMap(\.outcomes)).map {
            "\($0.id): \($0.status) \($0.version) \($0.bodyBytes) B \($0.end)"
        } + tunnels.map { "tunnel: \($0.status), heard \($0.heard.count) B" }
    }

    private func chance(_ percent: UInt64) -> Bool { random.below(100) < percent }
    private func pick<T>(_ choices: [T]) -> T { choices[Int(random.below(UInt64(choices.count)))] }
    private func milliseconds(_ below: UInt64) -> Duration {
        .milliseconds(Int64(random.below(below)))
    }

    // MARK: The world

    private func drawNetwork() {
        world.faults.readBytesMax = pick([1, 7, 100, 65_536])
        world.faults.writeBytesMax = pick([1, 13, 1_000, 65_536])
        world.faults.latencyMax = milliseconds(20)
        world.faults.refusePercent = pick([0, 0, 10, 30])
        world.faults.resetPercent = pick([0, 0, 10, 30])
        world.faults.clogPercent = pick([0, 0, 20])
        world.faults.clogMax = pick([.milliseconds(100), .seconds(5), .seconds(90)])
        world.faults.silencePercent = pick([0, 0, 0, 15])
        world.faults.slowReaderPercent = pick([0, 0, 0, 30])
        world.faults.turnMax = [.zero, .zero, .microseconds(500), .milliseconds(4)][Int(seed % 4)]
        story.append("network: \(world.faults)")
        isLossy =
            world.faults.resetPercent > 0 || world.faults.silencePercent > 0
            || world.faults.clogPercent > 0 || world.faults.slowReaderPercent > 0
        if chance(20) {
            let hole = pick(origins).address
            story.append("\(hole) answers no connect")
            world.faults.isBlackHole = { $0 == hole }
        }
    }

    private func drawOrigin(_ origin: SimulatedOrigin) {
        origin.reply = pick([.length, .chunked, .untilClose])
        let isSlow = world.faults.readBytesMax < 100 || world.faults.writeBytesMax < 100
        origin.bodyBytes = pick(isSlow ? [0, 20, 900] : [0, 20, 900, 70_000])
        origin.delay = milliseconds(30)
        origin.requestsPerConnection = pick([1, 3, 1_000])
        origin.isHealthy = !chance(25)
        let badness = pick([0, 0, 3, 2, 1])
        let bad = pick([
            SimulatedOrigin.Answer(503), .init(500, headers: ["retry-after: 0"]),
            .init(200, reply: .silence), .init(200, reply: .garbage), .init(200, reply: .reset),
            .init(503, reply: .chunked), .init(502, delay: .milliseconds(50)),
        ])
        if badness > 0 { origin.script = { $0 % badness == 0 ? bad : nil } }
        story.append(
            "\(origin.address): \(origin.reply) \(origin.bodyBytes) B after \(origin.delay), "
                + "\(origin.requestsPerConnection) a connection, bad \(badness): \(bad)")
        if chance(10) {
            origin.answersEarly = true
            story.append("\(origin.address) answers early")
        }
        if chance(10) {
            origin.authenticates = true
            story.append("\(origin.address) authenticates connections")
        }
        if chance(15) {
            origin.isUp = false
            let back = milliseconds(300)
            story.append("\(origin.address) is down until \(back)")
            world.after(back) { origin.isUp = true }
        }
        // Health that comes and goes.
        if chance(20) {
            for _ in 0..<4 {
                let at = milliseconds(3_000)
                world.after(at) { origin.isHealthy.toggle() }
            }
        }
    }

    private func request(_ session: String) -> SimulatedRequest {
        var request = SimulatedRequest(
            pick(["GET", "HEAD", "POST", "PUT", "DELETE"]), pick(["/", "/ok", "/a/../b", "/x?y"]))
        if chance(25) { request.headers.append("x-group: beta") }
        if options.isSticky { request.headers.append("cookie: session=\(session)") }
        if chance(10) { request.headers.append("x-request-timeout-ms: \(5 + random.below(40))") }
        if chance(5) { request.headers.append("x-sluice-fault-abort: 504") }
        if chance(5) { request.headers.append("connection: close") }
        if request.method == "POST" || request.method == "PUT" {
            request.patternBytes = Int(random.below(chance(10) ? 100_000 : 600))
            if world.faults.readBytesMax < 100 || world.faults.writeBytesMax < 100 {
                request.patternBytes = min(request.patternBytes ?? 0, 600)
            }
            request.isChunked = chance(50)
        } else if chance(70) {
            request.patternBytes = 0
        }
        return request
    }

    private func drawClient(_ n: Int) {
        let isStreams = chance(35)
        let name = "\(isStreams ? "h" : "c")\(n)"
        let session = "user\(random.below(5))"
        sessions[name] = session
        var requests = (0...random.below(8)).map { _ in request(session) }
        requestCount += requests.count
        if chance(30) {
            hasCredentials = true
            for i in requests.indices where chance(40) {
                requests[i].headers.append("authorization: NTLM \(name)")
            }
        }
        for (i, request) in requests.enumerated() where request.headers.contains("x-group: beta") {
            pinned.insert("\(name)-\(i)")
        }
        let start = milliseconds(150)
        var words = "\(name) at \(start): \(requests.count) requests"
        if isStreams {
            for i in requests.indices {
                requests[i].headers.removeAll { $0.hasPrefix("connection") }
            }
            let client = SimulatedHTTP2Client(world, name: name, requests)
            if chance(25) { client.cancels = Int(random.below(3)) }
            if chance(20) { client.leavesAfter = Int(random.below(3)) + 1 }
            words += ", cancels \(client.cancels), leaves after \(client.leavesAfter ?? -1)"
            streamClients.append(client)
            world.after(start) { client.start() }
        } else {
            let isPipelined = chance(30)
            let client = SimulatedClient(world, name: name, requests, pipelined: isPipelined)
            if chance(20) { client.leavesAfter = Int(random.below(3)) }
            client.halfCloses = chance(20)
            client.pause = chance(30) ? milliseconds(80) : .zero
            words +=
                ", pipelined \(isPipelined), half-closes \(client.halfCloses), "
                + "leaves after \(client.leavesAfter ?? -1)"
            clients.append(client)
            world.after(start) { client.start() }
        }
        story.append(words)
    }

    private func drawTunnel(_ n: Int) {
        let isSlow = world.faults.readBytesMax < 100 || world.faults.writeBytesMax < 100
        let pieces = (0...random.below(4)).map { _ in
            1 + Int(random.below(isSlow ? 300 : pick([300, 100_000])))
        }
        let tunnel = SimulatedTunnel(
            world, name: "t\(n)", pieces: pieces,
            header: chance(30) ? "x-group: beta" : "cookie: session=user\(n)")
        let start = milliseconds(150)
        story.append("tunnel t\(n) at \(start): \(pieces)")
        tunnels.append(tunnel)
        requestCount += 1
        world.after(start) { tunnel.start() }
    }

    private func drawOperator() {
        if chance(40) {
            var counts = options.endpoints
            for round in 0..<(1 + Int(random.below(3))) {
                counts = [1 + Int(random.below(4)), 1 + Int(random.below(3))]
                let other = chance(50) ? SwarmOptions(&random) : options
                let yaml = options.yaml(endpoints: counts, limits: other)
                let at = milliseconds(300)
                story.append("reload at \(at): endpoints \(counts)")
                world.after(at) { [unowned self] in
                    world.reload(yaml: yaml, generation: UInt64(2 + round))
                }
            }
        }
        if chance(10) {
            let at = milliseconds(200)
            story.append("listener leaves at \(at)")
            world.after(at) { [unowned self] in world.leaveListener() }
        }
        if chance(10) {
            let at = milliseconds(300)
            story.append("drain at \(at)")
            world.after(at) { [unowned self] in
                drainedAt = world.now
                world.drain()
            }
        }
        if chance(10) {
            let at = milliseconds(200)
            story.append("pressure at \(at)")
            world.after(at) { [unowned self] in
                world.setPressure(isCrowded: true, isFull: chance(50))
                world.evictIdle()
            }
            world.after(at + .milliseconds(50)) { [unowned self] in world.setPressure() }
        }
    }

    // MARK: What must hold

    private func demand(_ condition: Bool, _ message: @autoclosure () -> String) {
        if !condition, findings.count < 20 { findings.append(message()) }
    }

    /// After every turn: no limit is ever passed.
    private func checkCaps() {
        for version in ["v1", "v2"] {
            guard let level = world.level(service: "s", version: version) else { continue }
            demand(
                level.connections <= options.caps.connections
                    && level.pending <= options.caps.pending
                    && level.requests <= options.caps.requests
                    && level.connections >= 0 && level.pending >= 0 && level.requests >= 0
                    && level.retries >= 0,
                "\(version) at \(level) of \(options.caps)")
        }
    }

    private func check() {
        demand(world.leftovers.isEmpty, "left behind: \(world.inventory)")
        demand(world.held.isEmpty, "still held: \(world.held)")
        demand(
            origins.allSatisfy { $0.wrongBodyCount == 0 },
            "a request reached an origin with another's body")
        let outcomes = clients.flatMap(\.outcomes) + streamClients.flatMap(\.outcomes)
        for outcome in outcomes { check(outcome) }
        for tunnel in tunnels {
            demand(tunnel.isTrue, "a tunnel heard what it had not said")
            demand(
                tunnel.status == 0 || tunnel.status == 101
                    || Swarm.statuses.contains(tunnel.status),
                "a tunnel got \(tunnel.status)")
        }
        checkCounters(outcomes)
        checkWeights()
        checkSessions(outcomes)
        checkEvidence(outcomes)
        if let drainedAt, !isLossy {
            let took = world.now - drainedAt
            demand(took < .seconds(240), "draining took \(took)")
        }
    }

    private static let statuses: Set<Int> = [200, 401, 408, 413, 429, 431, 500, 502, 503, 504]

    private func check(_ outcome: Outcome) {
        demand(Swarm.statuses.contains(outcome.status), "\(outcome.id) got \(outcome.status)")
        guard !outcome.responseID.isEmpty else { return }
        demand(
            outcome.responseID == outcome.id,
            "\(outcome.id) got the answer to \(outcome.responseID)")
        if let user = outcome.fields["x-user"] {
            let client = String(outcome.id.prefix { $0 != "-" })
            demand(user == client, "\(outcome.id) was answered as \(user)")
        }
        guard outcome.fields["x-pattern"] != nil else { return }
        let right = Array(Pattern.text(outcome.id, outcome.content.count).utf8)
        demand(outcome.content == right, "\(outcome.id) got a body that is not its own")
    }

    /// Each request that began ended once, and nobody saw an answer that was not counted.
    private func checkCounters(_ outcomes: [Outcome]) {
        let started = world.metric("sluice_requests_started_total")
        let mirrored = world.metric("sluice_requests_total", "assign=\"mirror\"")
        let ended = world.metric("sluice_requests_total") - mirrored
        demand(ended == started, "\(started) began and \(ended) ended")
        demand(world.metric("sluice_requests_in_flight") == 0, "some are still in flight")
        demand(UInt64(outcomes.count) <= started, "\(outcomes.count) answers to \(started)")
        for status in Swarm.statuses {
            // One that is cut off counts for what cut it.
            let seen = outcomes.filter { $0.status == status && $0.end == .complete }.count
            let counted = world.metric("sluice_requests_total", "code=\"\(status)\"")
            demand(UInt64(seen) <= counted, "\(seen) got \(status), \(counted) are counted")
        }
    }

    /// The share is exact: of N draws each version has within one of its weight.
    private func checkWeights() {
        guard !options.hasFallback, !options.isSticky, tripCount == 0 else { return }
        let counts = ["v1", "v2"].map {
            world.metric("sluice_requests_total", "version=\"\($0)\",assign=\"weighted\"")
        }
        let total = counts.reduce(0, +)
        for (count, weight) in zip(counts, options.weights) {
            let exact = Double(total) * Double(weight) / 100
            demand(
                abs(Double(count) - exact) < 1, "\(count) of \(total) draws at weight \(weight)")
        }
    }

    /// A session stays on its version as long as weights do.
    private func checkSessions(_ outcomes: [Outcome]) {
        guard options.isSticky, !options.hasFallback else { return }
        var versions: [String: Set<String>] = [:]
        for outcome in outcomes where !outcome.version.isEmpty {
            let client = String(outcome.id.prefix { $0 != "-" })
            guard let session = sessions[client], !pinned.contains(outcome.id) else { continue }
            versions[session, default: []].insert(outcome.version)
        }
        // The guard moves the users of a version that it takes out, and nobody else.
        if tripCount > 0 {
            return demand(
                versions.values.allSatisfy { $0.count == 1 || $0.contains("v2") },
                "a session of the stable version was moved")
        }
        for (session, seen) in versions where seen.count > 1 {
            demand(false, "session \(session) was on \(seen.sorted())")
        }
    }

    private var tripCount: Int { world.latch(service: "s", version: "v2")?.tripCount ?? 0 }

    /// The evidence is what the counters and the clients say, to the request.
    private func checkEvidence(_ outcomes: [Outcome]) {
        let isPlain = !options.hasFaults && !hasCredentials
        let reports = world.evidence.filter { $0.route == "rest" }
        demand(reports.allSatisfy { $0.lost == 0 && $0.epochs.count == 1 }, "an epoch was begun")
        demand(
            world.latch(service: "s", version: "v1")?.tripCount == 0, "the stable version tripped")
        for report in reports.flatMap(\.epochs).flatMap(\.versions) {
            let version = report.version, counts = report.counts
            var requests: UInt64 = 0, errors: UInt64 = 0
            for assign in ["weighted", "sticky"] {
                let labels = "service=\"s\",version=\"\(version)\",assign=\"\(assign)\""
                requests += world.metric("sluice_requests_total", labels)
                errors += world.metric("sluice_errors_total", labels)
                errors -= world.metric("sluice_errors_total", labels + ",cause=\"drain\"")
            }
            demand(UInt64(counts.requests) <= requests, "\(version): \(counts) of \(requests)")
            if isPlain {
                demand(
                    UInt64(counts.requests) == requests && UInt64(counts.errors) == errors,
                    "\(version): \(counts.requests), \(counts.errors) of \(requests), \(errors)")
            }
            let inHistograms = (counts.latency + counts.censored).reduce(0, +)
            demand(
                options.isSticky
                    ? inHistograms <= counts.requests : inHistograms == counts.requests,
                "\(version): \(inHistograms) in histograms of \(counts.requests)")
            let seen = outcomes.filter {
                $0.version == version && $0.status >= 500 && $0.end == .complete
                    && !pinned.contains($0.id)
            }
            demand(
                !isPlain || seen.count <= counts.errors || tripCount > 0,
                "\(version): clients saw \(seen.count) errors of \(counts.errors)")
        }
    }
}
