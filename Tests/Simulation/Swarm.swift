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
    let world: World
    let origins: [SimulatedOrigin]
    let weights: SwarmWeights
    private var clients: [SimulatedClient] = []
    private var streamClients: [SimulatedHTTP2Client] = []
    private var tunnels: [SimulatedTunnel] = []
    /// The session that each client's name stands for.
    private(set) var sessions: [String: String] = [:]
    /// Requests whose route names a version.
    private(set) var pinned: Set<String> = []
    private var drainedAt: Instant?
    private var isLossy = false
    /// Some clients authenticate connections, whose version is then no draw.
    private(set) var hasCredentials = false
    public private(set) var requestCount = 0

    public convenience init(seed: UInt64) { self.init(seed: seed, checksTables: true) }

    package init(seed: UInt64, checksTables: Bool) {
        self.seed = seed
        random = PRNG(seed: seed &* 15_485_863 &+ 7)
        var options = SwarmOptions(&random)
        options.guarding = [nil, nil, "guard: on", "guard: { ratio: 3 }"][Int(seed / 7 % 4)]
        let isChanging = seed / 28 % 2 == 1
        options.namesVersions = isChanging
        self.options = options
        origins = (0..<2).flatMap { version in
            SwarmOptions.addresses(version, 4).map {
                SimulatedOrigin($0, version: "v\(version + 1)")
            }
        }
        for origin in origins { origin.speaksHTTP2 = options.isHTTP2Upstream }
        world = World(seed: seed, yaml: options.yaml(), origins: origins)
        world.checksTables = checksTables
        weights = SwarmWeights(seed: seed, world, options, isChanging: isChanging)
        weights.tell = { [unowned self] in story.append($0) }
        weights.demand = { [unowned self] in demand($0, $1) }
        guard isChanging else { return }
        for origin in origins where origin.version == "v2" {
            origin.onRequest = { [unowned self] _ in weights.isFailing ? .init(500) : nil }
        }
    }

    public func run() {
        drawNetwork()
        for origin in origins { drawOrigin(origin) }
        for n in 0..<(2 + random.below(9)) { drawClient(Int(n)) }
        for n in 0..<(chance(30) ? 1 + Int(random.below(3)) : 0) { drawTunnel(n) }
        drawOperator()
        if weights.isChanging { drawCrowd() }
        world.afterTurn = { [unowned self] in
            checkCaps()
            weights.look()
        }
        world.run(until: .seconds(40))
        // What never comes to rest is taken away.
        weights.reload(isQuiet: true)
        world.run()
        check()
    }

    /// How often the guard took a version out, weights were refused for that, an overlay was found
    /// to drift, and an epoch began.
    package var changes: (trips: Int, refusals: Int, drifts: Int, epochs: Int) {
        (tripCount, weights.refusalCount, weights.driftCount, weights.epochs.count - 1)
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

    /// Users who come and come again while weights change, each with a session of its own.
    private func drawCrowd() {
        let count = 12 + random.below(20)
        for n in 0..<count {
            let name = "w\(n)"
            sessions[name] = "wanderer\(n)"
            var request = SimulatedRequest()
            if options.isSticky { request.headers.append("cookie: session=wanderer\(n)") }
            let requests = Array(repeating: request, count: 6 + Int(random.below(8)))
            requestCount += requests.count
            let client = SimulatedClient(world, name: name, requests)
            client.pause = milliseconds(40)
            clients.append(client)
            world.after(milliseconds(150)) { client.start() }
        }
        story.append("\(count) users who come again and again")
        weights.draw()
    }

    private func drawOperator() {
        if chance(40) {
            var counts = options.endpoints
            for _ in 0..<(1 + Int(random.below(3))) {
                counts = [1 + Int(random.below(4)), 1 + Int(random.below(3))]
                let other = chance(50) ? SwarmOptions(&random) : options
                let at = milliseconds(300), next = counts
                story.append("reload at \(at): endpoints \(counts)")
                world.after(at) { [unowned self] in
                    weights.reload(endpoints: next, limits: other)
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

    func demand(_ condition: Bool, _ message: @autoclosure () -> String) {
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

    /// Each request that a client sent has its answer, as a whole, and there were no others.
    var isAnsweredWhole: Bool {
        tunnels.isEmpty && clients.allSatisfy { $0.outcomes.count == $0.sentCount }
            && streamClients.allSatisfy { $0.outcomes.count == $0.sentCount }
            && (clients.flatMap(\.outcomes) + streamClients.flatMap(\.outcomes)).allSatisfy {
                $0.end == .complete
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
}
