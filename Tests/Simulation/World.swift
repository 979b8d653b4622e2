import Base
import Configuration
import HTTP1
import Proxy
import Telemetry

/// A whole world in one thread: the production data plane under a virtual clock, a network that cuts
/// and delays, scripted origins and clients. Everything follows from the seed.
public final class World {
    /// Faults that the network may make; drawn from the seed for swarms, or set for a named
    /// scenario.
    public struct Faults {
        /// Largest piece that one read brings; 1 is the cruellest.
        public var readBytesMax = 65_536
        /// Largest piece that one write takes.
        public var writeBytesMax = 65_536
        public var latencyMax = Duration.milliseconds(5)
        /// Chances per connection to an origin, in percent.
        public var refusePercent: UInt64 = 0
        public var resetPercent: UInt64 = 0
        /// Bytes after which a connection to an origin breaks, instead of by chance.
        public var resetAfter: ((Address) -> Int?)?
        /// Addresses that answer no connect, neither yes nor no.
        public var isBlackHole: (Address) -> Bool = { _ in false }
        /// Bytes that a client takes a second, in steps of a second; `nil`: as they come.
        public var takesPerSecond: Int?
        /// Bytes after which a client takes nothing for a while, once.
        public var pausesAfter = Int.max
        public var pause = Duration.zero
        /// Chance per connection that nothing passes for a while, once.
        public var clogPercent: UInt64 = 0
        public var clogMax = Duration.seconds(5)
        /// Chance per connection that after some bytes nothing passes any more, and nobody is told.
        public var silencePercent: UInt64 = 0
        /// Chance per client that it takes little or nothing of what it is sent.
        public var slowReaderPercent: UInt64 = 0
        public init() {}
    }

    public var now = Instant(nanoseconds: 1_000_000_000)
    public let seed: UInt64
    public var random: PRNG
    public var faults = Faults()
    public private(set) var origins: [Address: SimulatedOrigin] = [:]
    public let shard = CounterShard()
    public let metrics = MetricRegistry()
    let plane: PlaneBox
    private let registry: SharedRegistry
    private let document: Document
    private var agenda = Agenda()
    private var scheduled = 0
    private var links: [ConnectionID: Link] = [:]
    private var ready: [ConnectionID] = []
    private var lent = ByteBuffer()
    /// The number of the listener whose clients come.
    private var listener = 0
    /// Looks at the world whenever the data plane has had its say.
    public var afterTurn: () -> Void = {}
    /// Faults of the tables, as they were found after each turn.
    public private(set) var tableFaults: [String] = []
    /// Stops a world that never comes to rest.
    public var stepsMax = 3_000_000

    /// - Parameter yaml: a configuration file's text; it must be valid.
    public init(seed: UInt64, yaml: String, origins: [SimulatedOrigin]) {
        self.seed = seed
        random = PRNG(seed: seed)
        let reading = ConfigurationReading(Array(yaml.utf8))
        guard let document = reading.document else {
            fatalError("a valid configuration: \(reading.errors)")
        }
        self.document = document
        registry = SharedRegistry(metrics: metrics, seed: seed)
        for listener in document.listeners { _ = metrics.listener(listener.name) }
        let snapshot = SnapshotCompiler.compile(
            document, .init(generation: 1, hash: "0"), registry: registry)
        let setup = DataPlane.Setup(
            worker: 0, snapshot: snapshot, metrics: metrics, seed: seed, connectionsMax: 1_000)
        plane = PlaneBox(
            DataPlane(setup, shard: shard, now: now, wall: WallTime(microseconds: 1_000_000)))
        for origin in origins { self.origins[origin.address] = origin }
    }

    /// Puts another configuration in force, as a reload does.
    public func reload(yaml: String, generation: UInt64) {
        let reading = ConfigurationReading(Array(yaml.utf8))
        guard let document = reading.document else {
            fatalError("a valid configuration: \(reading.errors)")
        }
        plane.value.adopt(
            SnapshotCompiler.compile(
                document, .init(generation: generation, hash: "\(generation)", now: now),
                registry: registry))
        perform()
    }

    /// The process is told to end.
    public func drain() {
        plane.value.drain()
        perform()
    }

    /// Closes everything, because the time to drain is over.
    public func closeAll() {
        plane.value.closeAll()
        perform()
    }

    /// A listener is gone.
    public func leaveListener() {
        plane.value.leave(listener: listener)
        perform()
    }

    /// The listener's socket has another name now.
    public func renameListener(to name: String) {
        plane.value.rename(listeners: [listener: metrics.listener(name)])
        listener = metrics.listener(name)
        perform()
    }

    /// States what is short, as the workers' loop does.
    public func setPressure(isCrowded: Bool = false, isFull: Bool = false) {
        plane.value.setPressure(isCrowded: isCrowded, isFull: isFull)
    }

    /// Closes idle connections to make room.
    public func evictIdle() {
        plane.value.evictIdle()
        perform()
    }

    /// Takes the news of endpoints since the last call.
    public func takeNews() -> [EndpointNews] { plane.value.takeNews() }

    // MARK: Time

    public func after(_ delay: Duration, _ step: @escaping () -> Void) {
        scheduled += 1
        agenda.insert(at: now + delay, order: scheduled, step)
    }

    func latency() -> Duration {
        Duration(nanoseconds: Int64(random.below(UInt64(faults.latencyMax.nanoseconds) + 1)))
    }

    /// Runs until nothing is left to happen (a reader of a byte a second takes days), or for a time.
    public func run(until limit: Duration? = nil) {
        let end = now + (limit ?? .seconds(1_000_000))
        var steps = 0
        while steps < stepsMax {
            steps += 1
            let timer = plane.value.nextDeadline
            let due = agenda.nextAt
            let next = min(due, timer)
            if next.isNever || next > end {
                if limit != nil { advance(to: end) }
                return
            }
            advance(to: max(now, next))
            if due <= timer {
                agenda.takeNext()?()
            } else {
                plane.value.expireTimers()
                perform()
            }
        }
        fatalError("seed \(seed): the world does not come to rest")
    }

    private func advance(to time: Instant) {
        now = time
        plane.value.beginTurn(
            now: now, wall: WallTime(microseconds: Int64(now.nanoseconds / 1_000)))
    }

    // MARK: Clients

    /// Connects a client; `nil` when it is shed.
    func connect(_ client: ClientEnd) -> ConnectionID? {
        guard
            let id = plane.value.accept(listener: listener, peer: .ipv4(10, 1, 1, 1, port: 1_000))
        else { return nil }
        links[id] = makeLink(.client(client))
        perform()
        return id
    }

    private func makeLink(_ peer: Link.Peer) -> Link {
        var link = Link(peer: peer)
        if random.below(100) < faults.clogPercent {
            link.clogAfter = Int(random.below(2_000))
            link.clogFor = .microseconds(Int64(random.below(UInt64(faults.clogMax.microseconds))))
        }
        if random.below(100) < faults.silencePercent {
            link.silentAfter = Int(random.below(3_000))
        }
        if case .client = peer, random.below(100) < faults.slowReaderPercent {
            link.takesPerSecond = [1, 50, 5_000][Int(random.below(3))]
        }
        return link
    }

    /// Counts bytes that pass a link, either way.
    /// - Returns: when they come; `nil`: never.
    private func passage(_ id: ConnectionID, _ count: Int, after earliest: Instant) -> Instant? {
        guard var link = links[id] else { return nil }
        link.bytes += count
        if link.bytes > link.clogAfter {
            link.clogAfter = .max
            link.cloggedUntil = now + link.clogFor
        }
        links[id] = link
        if link.bytes > link.silentAfter { return nil }
        return max(earliest, now + latency(), link.cloggedUntil)
    }

    /// Bytes from a client or an origin towards the data plane.
    func deliver(_ bytes: [UInt8], to id: ConnectionID) {
        arrive(id, bytes.count) { [self] in
            links[id]?.inbound += bytes
            read(id)
        }
    }

    /// The peer's last byte was sent.
    func end(_ id: ConnectionID) {
        arrive(id, 0) { [self] in
            links[id]?.hasEnded = true
            read(id)
        }
    }

    /// In order, as all that goes over a link.
    private func arrive(_ id: ConnectionID, _ count: Int, _ step: @escaping () -> Void) {
        guard let link = links[id], let at = passage(id, count, after: link.lastArrival)
        else { return }
        links[id]?.lastArrival = at
        scheduled += 1
        agenda.insert(at: at, order: scheduled, step)
    }

    /// The peer breaks the connection.
    func reset(_ id: ConnectionID) {
        guard links[id] != nil else { return }
        if id.side == .upstream {
            // What an endpoint sent before it can still be read (`WorkerLoop.giveUp`).
            return arrive(id, 0) { [self] in
                links[id]?.hasEnded = true
                links[id]?.wasReset = true
                read(id)
            }
        }
        after(latency()) { [self] in
            guard links[id] != nil else { return }
            links[id]?.isBroken = true
            plane.value.handle(.failed(id))
            perform()
        }
    }

    // MARK: The driver

    private func read(_ id: ConnectionID) {
        readWanted(id)
        guard let link = links[id], id.side == .downstream, link.hasEnded, !link.endSeen,
            !link.isBroken
        else { return }
        plane.value.handle(.hungUp(id))
        perform()
    }

    private func readWanted(_ id: ConnectionID) {
        while let link = links[id], plane.value.wantsRead(id), !link.isBroken {
            if plane.value.mustShowKept(id) {
                plane.value.handle(.received(id, 0))
                perform()
                if plane.value.mustShowKept(id) { return }
                continue
            }
            if link.inbound.isEmpty {
                if plane.value.hasKept(id), link.showKept {
                    links[id]?.showKept = false
                    plane.value.handle(.received(id, 0))
                    perform()
                    continue
                }
                guard link.hasEnded, !link.endSeen else { return }
                links[id]?.endSeen = true
                plane.value.handle(link.wasReset ? .failed(id) : .ended(id))
                return perform()
            }
            let room = min(faults.readBytesMax, DataPlane.readBytesMax)
            let count = min(link.inbound.count, Int(random.below(UInt64(room))) + 1)
            let piece = Array(link.inbound[..<count])
            links[id]?.inbound.removeFirst(count)
            guard plane.value.lendScratch(id, to: &lent) else { return }
            lent.append(piece.span)
            plane.value.takeBack(&lent)
            plane.value.handle(.received(id, count))
            perform()
        }
    }

    private func perform() {
        plane.value.endTurn()
        while let effect = plane.value.advance() { perform(effect) }
        if tableFaults.count < 20 {
            tableFaults += plane.value.check().map { "at \(now.nanoseconds / 1_000) us: \($0)" }
        }
        afterTurn()
        let again = ready
        ready = []
        for id in again {
            links[id]?.showKept = true
            after(.zero) { [self] in read(id) }
        }
    }

    private func perform(_ effect: Effect) {
        switch effect {
        case .connect(let slot, let address): connect(slot, address)
        case .send(let id, let source, let range): send(id, source, range)
        case .resume(let id): ready.append(id)
        case .shutdownWrite(let id):
            if plane.value.outboundCount(id) == 0 { peerEnded(id) }
        case .checkDrained(let id):
            if plane.value.outboundCount(id) == 0 { plane.value.handle(.drained(id)) }
        case .checkQuiet(let id):
            if links[id]?.inbound.isEmpty == true { plane.value.handle(.quiet(id)) }
        case .close(let id, let reset):
            guard let link = links.removeValue(forKey: id) else { return }
            let isReset = reset
            scheduled += 1
            agenda.insert(at: max(link.lastDelivery, now + latency()), order: scheduled) {
                switch link.peer {
                case .client(let client): client.closed(wasReset: isReset)
                case .origin(let connection): connection.closed()
                case .none: break
                }
            }
        case .askForConnection, .tellFreed, .wakeControl, .log: break
        }
    }

    private func connect(_ slot: UpstreamID, _ address: Address) {
        let id = ConnectionID(upstream: slot)
        let refuses = random.below(100) < faults.refusePercent
        let resets = random.below(100) < faults.resetPercent
        if faults.isBlackHole(address) { return }
        after(latency()) { [self] in
            guard plane.value.holds(id) else { return }
            guard let origin = origins[address], origin.isUp, !refuses else {
                plane.value.handle(.connectFailed(slot, isRefused: true))
                return perform()
            }
            origin.connectionCount += 1
            // An origin of HTTP/2 speaks first, and needs the link.
            links[id] = makeLink(.none)
            let isHTTP2 = origin.choosesHTTP2 && !plane.value.onlyHTTP1(slot)
            let peer = peer(of: origin, id, resets: resets, isHTTP2: isHTTP2)
            links[id]?.peer = .origin(peer)
            plane.value.handle(.connected(slot, isHTTP2: isHTTP2, isSecure: isHTTP2))
            perform()
        }
    }

    private func peer(
        of origin: SimulatedOrigin, _ id: ConnectionID, resets: Bool, isHTTP2: Bool
    ) -> OriginEnd {
        var limit = resets ? Int(random.below(300)) : nil
        if let resetAfter = faults.resetAfter { limit = resetAfter(origin.address) }
        if origin.speaksHTTP2 || isHTTP2 {
            let peer = HTTP2OriginPeer(origin, self, id)
            peer.resetsAfterBytes = limit
            return peer
        }
        let wire = Wire(
            deliver: { [self] in deliver($0, to: id) }, say: { [self] in deliver($0, to: id) },
            end: { [self] in end(id) },
            reset: { [self] in reset(id) }, breakDown: { [self] in reset(id) })
        let peer = OriginPeer(origin, self, wire)
        peer.resetsAfterBytes = limit
        return peer
    }

    private func send(_ id: ConnectionID, _ source: Effect.Source, _ range: ByteRange) {
        guard links[id] != nil else { return }
        if plane.value.outboundCount(id) > 0 { return plane.value.keepUnsent(id, source, range) }
        let taken = min(range.length, writeRoom(id))
        pass(id, plane.value.bytes(source, ByteRange(start: range.lower, count: taken)))
        if taken < range.length {
            plane.value.keepUnsent(id, source, ByteRange(range.lower + taken, end: range.upper))
            after(flushDelay(id)) { [self] in flush(id) }
        }
    }

    private func writeRoom(_ id: ConnectionID) -> Int {
        if id.side == .downstream, let link = links[id], link.bytes > faults.pausesAfter {
            let until = link.pausedUntil ?? now + faults.pause
            links[id]?.pausedUntil = until
            if now < until { return 0 }
        }
        if id.side == .downstream, let rate = links[id]?.takesPerSecond ?? faults.takesPerSecond {
            return rate
        }
        return Int(random.below(UInt64(faults.writeBytesMax))) + 1
    }

    private func flushDelay(_ id: ConnectionID) -> Duration {
        let takes = links[id]?.takesPerSecond ?? faults.takesPerSecond
        if let until = links[id]?.pausedUntil, now < until { return until - now }
        return id.side == .downstream && takes != nil ? .seconds(1) : latency()
    }

    private func flush(_ id: ConnectionID) {
        guard links[id] != nil, plane.value.outboundCount(id) > 0 else { return }
        let room = writeRoom(id)
        plane.value.flush(id) { bytes in
            let count = min(room, bytes.count)
            pass(id, bytes.extracting(0..<count))
            return count
        }
        if plane.value.outboundCount(id) > 0 {
            after(flushDelay(id)) { [self] in flush(id) }
        } else {
            plane.value.handle(.drained(id))
        }
        perform()
    }

    /// Bytes leave the data plane for the peer.
    private func pass(_ id: ConnectionID, _ bytes: Span<UInt8>) {
        var copy: [UInt8] = []
        for i in 0..<bytes.count { copy.append(bytes[i]) }
        guard let link = links[id] else { return }
        let sent = copy
        // In order: a link's deliveries never overtake each other.
        guard let at = passage(id, sent.count, after: link.lastDelivery) else { return }
        links[id]?.lastDelivery = at
        scheduled += 1
        agenda.insert(at: at, order: scheduled) {
            switch link.peer {
            case .client(let client): client.received(sent)
            case .origin(let connection): connection.received(sent)
            case .none: break
            }
        }
    }

    private func peerEnded(_ id: ConnectionID) {
        guard let link = links[id] else { return }
        let at = max(link.lastDelivery, now + latency())
        scheduled += 1
        agenda.insert(at: at, order: scheduled) { [self] in
            switch link.peer {
            case .client(let client): client.ended()
            case .origin, .none: end(id)
            }
        }
    }

    // MARK: At quiet

    /// Slots, permits and timers that are still held when nothing is left to happen; all zero in a
    /// sound world.
    public var leftovers: [String: Int] {
        [
            "downstream": plane.value.downstreamCount, "exchanges": plane.value.exchangeCount,
            "attempts": plane.value.attemptCount, "sessions": plane.value.sessionCount,
            "upstream": plane.value.upstreamCount, "faults of the tables": tableFaults.count,
        ].filter { $0.value != 0 }
    }

    /// Each of them in words.
    public var inventory: String {
        (tableFaults + plane.value.inventory).joined(separator: "\n")
    }

    /// Places still taken of the limits that clusters share; none in a sound world.
    public var held: [String: Int] { registry.held.filter { $0.value != 0 } }

    /// How much of its limits a cluster uses.
    public func level(service: String, version: String) -> ClusterLevel? {
        registry.level(
            ofCluster: metrics.cluster(service: service, version: version, isMirror: false))
    }

    /// The sum of a metric family's samples whose labels contain a text.
    public func metric(_ family: String, _ label: String = "") -> UInt64 {
        var page = PrometheusText(format: .prometheus)
        RequestMetricsPage(registry: metrics, shards: [shard]).write(
            to: &page, expected: [], refusedCause: RefusalCause.label)
        var sum: UInt64 = 0
        for line in ASCII.string(page.buffer.readable).split(separator: "\n")
        where line.hasPrefix(family) && !line.hasPrefix("#")
            && (label.isEmpty || line.contains(label))
        {
            sum += line.split(separator: " ").last.flatMap { UInt64($0) } ?? 0
        }
        return sum
    }
}

/// Holds the data plane, which cannot be copied into closures.
final class PlaneBox {
    var value: DataPlane
    init(_ value: consuming DataPlane) { self.value = value }
}
