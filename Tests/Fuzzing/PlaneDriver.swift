import Base
import Configuration
import Proxy
import Telemetry

/// The data plane of one worker between a client and its origins that are bytes and nothing else.
/// Used again and again: each run must leave it empty.
final class PlaneDriver {
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
            plane.handle(.ended(links[i].id))
            try settle()
        }
        if links[0].isOpen {
            plane.handle(.ended(id))
            try settle()
        }
        try wait()
        try demand(
            plane.downstreamCount == 0 && plane.exchangeCount == 0 && plane.attemptCount == 0
                && plane.upstreamCount == 0 && plane.sessionCount == 0,
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
            plane.beginTurn(now: now, wall: WallTime(microseconds: 1_000_000))
            plane.expireTimers()
            try settle()
        }
    }

    /// Delivers what can be, in pieces, until nobody wants any.
    private func settle() throws {
        var turns = 0
        try perform()
        var isMoving = true
        while isMoving {
            isMoving = false
            var i = 0
            while i < links.count {
                turns += 1
                try demand(turns < 200_000, "turns without end")
                if try deliver(i) { isMoving = true }
                i += 1
            }
        }
    }

    private func deliver(_ i: Int) throws -> Bool {
        let id = links[i].id
        guard links[i].isOpen, plane.wantsRead(id) else { return false }
        let left = links[i].inbound.count - links[i].at
        if left == 0 || plane.mustShowKept(id) {
            guard plane.hasKept(id), links[i].showKept || plane.mustShowKept(id) else {
                return false
            }
            links[i].showKept = false
            plane.handle(.received(id, 0))
            try perform()
            return true
        }
        let count = min(left, 1 + Int(random.below(random.below(3) == 0 ? 8 : 2_000)))
        guard plane.lendScratch(id, to: &lent) else { return false }
        let piece = links[i].inbound[links[i].at..<(links[i].at + count)]
        lent.append(Array(piece).span)
        plane.takeBack(&lent)
        links[i].at += count
        plane.handle(.received(id, count))
        try perform()
        return true
    }

    private func perform() throws {
        var turns = 0
        while true {
            turns += 1
            try demand(turns < 10_000, "effects without end")
            plane.endTurn()
            while let effect = plane.advance() { perform(effect) }
            if pending.isEmpty { return }
            let events = pending
            pending = []
            for event in events {
                plane.handle(event)
                while let effect = plane.advance() { perform(effect) }
            }
        }
    }

    private func index(_ id: ConnectionID) -> Int? {
        links.lastIndex { $0.id == id && $0.isOpen }
    }

    private func perform(_ effect: Effect) {
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
