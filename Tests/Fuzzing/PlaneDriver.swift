import Base
import Configuration
import Proxy
import Telemetry

/// The data plane of one worker between a client and its origins that are bytes and nothing else.
/// Used again and again: each run must leave it empty.
final class PlaneDriver {
    /// The driver, which a class cannot be itself. Its means are the class's.
    private struct Means: Driver {
        unowned let owner: PlaneDriver
        var plane: DataPlane {
            _read { yield owner.plane }
            nonmutating _modify { yield &owner.plane }
        }
        func perform(_ effect: Effect) { owner.perform(effect) }
        func settle() -> Bool { owner.tellNext() }
        func serveReady() {}
        func takeMail() {}
    }

    /// Bytes that left on the connections of one run.
    struct Record {
        /// To each connection to an origin, in the order of their making.
        var toOrigins: [[UInt8]] = []
        var toClient: [UInt8] = []
        var didShed = false
    }

    private struct Link {
        var id: ConnectionID
        var inbound: [UInt8] = []
        var at = 0
        /// Into `Record.toOrigins`.
        var number = 0
        var isOpen = true
        var showKept = false
    }

    private var plane: DataPlane
    private let registry: SharedRegistry
    private var lent = ByteBuffer()
    private var now = Instant(nanoseconds: 1_000_000_000)
    private var links: [Link] = []
    private var pending: [Event] = []
    private var record = Record()
    private var originBytes: [UInt8] = []
    private var random = PRNG(seed: 1)
    private let speaksHTTP2: Bool
    private var turns = 0
    /// Something was performed in the turn under way.
    private var hasActed = false

    init(yaml: String, speaksHTTP2: Bool) {
        guard let document = ConfigurationReading(Array(yaml.utf8)).document else {
            preconditionFailure("a valid configuration")
        }
        self.speaksHTTP2 = speaksHTTP2
        let metrics = MetricRegistry()
        registry = SharedRegistry(metrics: metrics, seed: 1)
        _ = metrics.listener("http")
        let setup = DataPlane.Setup(
            worker: 0,
            snapshot: SnapshotCompiler.compile(
                document, .init(generation: 1, hash: "0"), registry: registry),
            metrics: metrics, seed: 1, connectionsMax: 16)
        plane = DataPlane(
            setup, shard: CounterShard(), now: now, wall: WallTime(microseconds: 1_000_000))
    }

    /// A client says this and leaves; each connection to an origin answers that and ends.
    func run(client: [UInt8], origin: [UInt8], seed: UInt64) throws -> Record {
        record = Record()
        links = []
        random = PRNG(seed: seed)
        originBytes = origin
        let peer = Address.ipv4(10, 1, 1, 1, port: 1_000)
        guard let id = plane.accept(listener: 0, peer: peer) else {
            throw Finding("no room for a client")
        }
        links.append(Link(id: id, inbound: client))
        try settle()
        for i in 1..<max(1, links.count) where links[i].isOpen {
            drive(.ended(links[i].id))
            try settle()
        }
        if links[0].isOpen {
            drive(.ended(id))
            try settle()
        }
        try wait()
        try demand(
            plane.downstreamCount == 0 && plane.exchangeCount == 0 && plane.attemptCount == 0
                && plane.upstreamCount == 0 && plane.linkCount == 0,
            "left behind: \(plane.inventory.joined(separator: "; "))")
        return record
    }

    /// Time goes by until nothing is left to happen.
    private func wait() throws {
        var turns = 0
        while !plane.nextDeadline.isNever {
            turns += 1
            try demand(turns < 10_000, "timers without end")
            now = max(now, plane.nextDeadline)
            try settle()
        }
    }

    /// Turns in which what can be is delivered in pieces, until nobody wants any.
    private func settle() throws {
        var rounds = 0
        var isMoving = true
        while isMoving {
            turns = 0
            hasActed = false
            var means = Means(owner: self)
            means.beginTurn(now: now, wall: WallTime(microseconds: 1_000_000))
            isMoving = false
            var i = 0
            // Some turns have one event, others all there are.
            let isShort = random.below(2) == 0
            while i < links.count, !isShort || !isMoving {
                rounds += 1
                try demand(rounds < 200_000, "turns without end")
                if deliver(i) { isMoving = true }
                i += 1
            }
            means.finishTurn()
            try demand(turns < 10_000, "effects without end")
            // What HTTP/2 connections have written may be an answer's reason.
            isMoving = isMoving || hasActed
        }
    }

    private func drive(_ event: Event) {
        var means = Means(owner: self)
        means.drive(event)
    }

    /// Tells of what performing has brought about.
    private func tellNext() -> Bool {
        turns += 1
        guard !pending.isEmpty, turns < 10_000 else { return false }
        plane.handle(pending.removeFirst())
        return true
    }

    private func deliver(_ i: Int) -> Bool {
        let id = links[i].id
        guard links[i].isOpen, plane.wantsRead(id) else { return false }
        let left = links[i].inbound.count - links[i].at
        if left == 0 || plane.mustShowKept(id) {
            guard plane.hasKept(id), links[i].showKept || plane.mustShowKept(id) else {
                return false
            }
            links[i].showKept = false
            drive(.received(id, 0))
            return true
        }
        let count = min(left, 1 + Int(random.below(random.below(3) == 0 ? 8 : 2_000)))
        guard plane.lendScratch(id, to: &lent) else { return false }
        let piece = links[i].inbound[links[i].at..<(links[i].at + count)]
        lent.append(Array(piece).span)
        plane.takeBack(&lent)
        links[i].at += count
        drive(.received(id, count))
        return true
    }

    private func index(_ id: ConnectionID) -> Int? {
        links.lastIndex { $0.id == id && $0.isOpen }
    }

    private func perform(_ effect: Effect) {
        hasActed = true
        switch effect {
        case .connect(let slot, _):
            let id = ConnectionID(upstream: slot)
            links.append(Link(id: id, number: record.toOrigins.count))
            record.toOrigins.append([])
            if speaksHTTP2 { links[links.count - 1].inbound = originBytes }
            pending.append(.connected(slot, isHTTP2: false, isSecure: false))
        case .send(let id, let source, let range):
            guard let i = index(id) else { return }
            let view = plane.bytes(source, range)
            if i == 0 {
                for j in 0..<view.count { record.toClient.append(view[j]) }
                return
            }
            for j in 0..<view.count { record.toOrigins[links[i].number].append(view[j]) }
            links[i].inbound = originBytes
        case .resume(let id): if let i = index(id) { links[i].showKept = true }
        case .shutdownWrite(let id): if id.side == .downstream { pending.append(.ended(id)) }
        case .checkDrained(let id): pending.append(.drained(id))
        case .checkQuiet(let id): pending.append(.quiet(id))
        case .close(let id, let isReset):
            guard let i = index(id) else { return }
            links[i].isOpen = false
            if i == 0, isReset { record.didShed = true }
        case .askForConnection, .tellFreed, .wakeControl, .log: break
        }
    }
}
