import Base
import HTTP1
import HTTP2
import HTTPSemantics
import Proxy

/// The acts of a simulated peer on its connection, or on its stream.
struct Wire {
    /// The last of a message.
    var deliver: ([UInt8]) -> Void
    /// Something that more follows on.
    var say: ([UInt8]) -> Void
    var end: () -> Void
    var reset: () -> Void
    /// All of the connection, whatever else is on it.
    var breakDown: () -> Void
}

/// An HTTP/2 connection of a simulated peer: frames on the link, HTTP/1.1 text to and from its
/// streams.
final class SimulatedSession {
    private var h2 = HTTP2Connection()
    private var workspace = HTTP2Workspace(limits: HeadLimits())
    private unowned let world: World
    private let link: ConnectionID
    var opened: (StreamSlot) -> Void = { _ in }
    var received: (StreamSlot, [UInt8]) -> Void = { _, _ in }
    var closed: (StreamSlot, UInt32) -> Void = { _, _ in }
    /// The peer has announced its end, or made it final.
    var goneAway: () -> Void = {}

    init(isServer: Bool, _ world: World, _ link: ConnectionID, streamsMax: Int = 100) {
        self.world = world
        self.link = link
        var limits = HTTP2Limits()
        limits.streamsMax = streamsMax
        h2.open(
            isServer: isServer, isSecure: false, limits: limits, seed: world.seed, now: world.now)
    }

    func makeStream() -> StreamSlot? { h2.makeStream(owner: 1) }

    func say(_ stream: StreamSlot, _ bytes: [UInt8]) {
        _ = h2.take(stream, bytes.span, &workspace)
        flush()
    }

    func end(_ stream: StreamSlot) {
        h2.end(stream)
        flush()
    }

    func release(_ stream: StreamSlot, _ code: HTTP2Code?) {
        h2.release(stream, broken: code, now: world.now)
        flush()
    }

    func shutDown() {
        h2.shutDown()
        flush()
    }

    func flush() {
        var out = ByteBuffer()
        while h2.send(into: &out, atMost: 65_536, now: world.now, &workspace) {}
        let isOver = h2.isFinished
        if !out.isEmpty {
            var bytes: [UInt8] = []
            let view = out.readable
            for i in 0..<view.count { bytes.append(view[i]) }
            world.deliver(bytes, to: link)
        }
        handleEvents(ByteBuffer())
        if isOver { world.end(link) }
    }

    func take(_ bytes: [UInt8]) {
        var at = 0
        while at < bytes.count {
            var text = ByteBuffer()
            let taken = h2.receive(
                bytes.span.extracting(at..<bytes.count), text: &text, now: world.now)
            handleEvents(text)
            if taken == 0 { break }
            at += taken
        }
        flush()
    }

    private func handleEvents(_ text: borrowing ByteBuffer) {
        var todo: [HTTP2Event] = []
        for i in 0..<h2.eventCount { todo.append(h2.event(i)) }
        h2.forgetEvents()
        for event in todo {
            switch event {
            case .opened(let stream):
                h2.setOwner(stream, 1)
                opened(stream)
            case .text(let stream, let range):
                var piece: [UInt8] = []
                let view = text.span(range)
                for j in 0..<view.count { piece.append(view[j]) }
                h2.credit(stream, keeping: 0)
                received(stream, piece)
            case .closed(let stream, let code, _): closed(stream, code)
            case .goingAway: goneAway()
            case .ended, .drained, .wrote, .settings, .breach, .malformed,
                .droppedTrailers:
                break
            }
        }
    }
}

/// A connection at an origin that speaks HTTP/2: each stream is a peer of its own.
final class HTTP2OriginPeer: OriginEnd {
    private let h2: SimulatedSession
    private let origin: SimulatedOrigin
    /// Bytes received from the last frame on that is not all there.
    private var unread: [UInt8] = []
    private var isBehindPreface = false
    private var peers: [StreamSlot: OriginPeer] = [:]
    private unowned let world: World
    private let link: ConnectionID
    private var isOpen = true
    var resetsAfterBytes: Int?
    private var bytesSeen = 0

    init(_ origin: SimulatedOrigin, _ world: World, _ link: ConnectionID) {
        self.world = world
        self.link = link
        self.origin = origin
        h2 = SimulatedSession(
            isServer: true, world, link, streamsMax: origin.streamsMax)
        var served = 0
        h2.opened = { [unowned self] stream in
            served += 1
            // Some say that they take no more, in the middle of others.
            if served == origin.requestsPerConnection { h2.shutDown() }
            if origin.wantsHTTP1 { return h2.release(stream, .http11Required) }
            peers[stream] = OriginPeer(
                origin, world,
                Wire(
                    deliver: { [unowned self] in
                        guard isOpen else { return }
                        h2.say(stream, $0)
                        h2.release(stream, nil)
                    },
                    say: { [unowned self] in if isOpen { h2.say(stream, $0) } },
                    end: { [unowned self] in if isOpen { h2.end(stream) } },
                    reset: { [unowned self] in h2.release(stream, .internalError) },
                    breakDown: { [unowned self] in
                        isOpen = false
                        world.reset(link)
                    }))
        }
        h2.received = { [unowned self] stream, text in peers[stream]?.received(text) }
        h2.closed = { [unowned self] stream, code in
            peers[stream]?.closed()
            peers[stream] = nil
            h2.release(stream, nil)
        }
        h2.flush()
    }

    func received(_ bytes: [UInt8]) {
        guard isOpen, !origin.isGone else { return }
        bytesSeen += bytes.count
        if let limit = resetsAfterBytes, bytesSeen > limit {
            isOpen = false
            return world.reset(link)
        }
        countPings(bytes)
        h2.take(bytes)
    }

    private func countPings(_ bytes: [UInt8]) {
        unread += bytes
        var at = 0
        if !isBehindPreface {
            guard unread.count >= 24 else { return }
            isBehindPreface = true
            at = 24
        }
        while at + 9 <= unread.count {
            let length = Int(unread[at]) << 16 | Int(unread[at + 1]) << 8 | Int(unread[at + 2])
            guard at + 9 + length <= unread.count else { break }
            if unread[at + 3] == 6, unread[at + 4] & 1 == 0 { origin.pings.append(world.now) }
            at += 9 + length
        }
        unread.removeFirst(at)
    }

    func closed() {
        isOpen = false
        for peer in peers.values { peer.closed() }
    }
}

/// A client that sends all its requests at once, each on a stream of its own.
public final class SimulatedHTTP2Client: ClientEnd {
    private unowned let world: World
    private var requests: [SimulatedRequest]
    private let name: String
    private var link: ConnectionID?
    private var h2: SimulatedSession?
    private var texts: [StreamSlot: (index: Int, sentAt: Instant, text: [UInt8])] = [:]
    /// Requests that it sent, answered or not.
    public private(set) var sentCount = 0
    public private(set) var outcomes: [Outcome] = []
    private var isClosed = false
    /// Takes back so many of its requests at once.
    public var cancels = 0
    /// Takes back what is not answered by then.
    public var cancelsAfter: Duration?
    /// Breaks its connection after so many answers.
    public var leavesAfter: Int?
    /// Stays when all is answered.
    public var stays = false
    /// GOAWAY frames that have come.
    public private(set) var goAwayCount = 0

    public init(_ world: World, name: String, _ requests: [SimulatedRequest]) {
        self.world = world
        self.name = name
        self.requests = requests
    }

    private func cancelAll() {
        guard let link, !isClosed else { return }
        for stream in texts.keys { h2?.release(stream, .cancel) }
        texts = [:]
        isClosed = true
        world.end(link)
    }

    public func start() {
        if let cancelsAfter { world.after(cancelsAfter) { [self] in cancelAll() } }
        guard let link = world.connect(self) else { return }
        self.link = link
        let h2 = SimulatedSession(isServer: false, world, link)
        self.h2 = h2
        h2.received = { [unowned self] stream, text in texts[stream]?.text += text }
        h2.closed = { [unowned self] stream, code in finish(stream, code) }
        h2.goneAway = { [unowned self] in goAwayCount += 1 }
        for i in requests.indices { say(i) }
    }

    /// Sends one more request on the connection that it has.
    public func ask(_ request: SimulatedRequest) {
        requests.append(request)
        say(requests.count - 1)
    }

    private func say(_ i: Int) {
        guard let h2, let stream = h2.makeStream() else { return }
        texts[stream] = (i, world.now, [])
        sentCount += 1
        h2.say(stream, Array(requests[i].text(id: "\(name)-\(i)").utf8))
        if i < cancels {
            texts[stream] = nil
            h2.release(stream, .cancel)
        }
    }

    private func finish(_ stream: StreamSlot, _ code: UInt32) {
        h2?.release(stream, nil)
        guard let (index, sentAt, text) = texts.removeValue(forKey: stream) else { return }
        var outcome = Outcome(id: "\(name)-\(index)")
        outcome.read(text, isHead: requests[index].method == "HEAD")
        outcome.sentAt = sentAt
        outcome.at = world.now
        if code != 0 { outcome.end = .truncated }
        if outcome.status != 0 { outcomes.append(outcome) }
        if let leavesAfter, outcomes.count >= leavesAfter, let link, !isClosed {
            isClosed = true
            return world.reset(link)
        }
        if texts.isEmpty, !stays, let link, !isClosed {
            isClosed = true
            world.end(link)
        }
    }

    func received(_ bytes: [UInt8]) { if !isClosed { h2?.take(bytes) } }

    func ended() {
        guard let link, !isClosed else { return }
        isClosed = true
        world.end(link)
    }

    func closed(wasReset: Bool) { isClosed = true }
}
