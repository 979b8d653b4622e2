import Base
import Configuration
import HTTP1
import HTTP2
import HTTPSemantics
import Proxy
import Telemetry
import Upstream

/// The whole data plane without a socket: a request on a kept connection, and its answer on
/// another.
struct Exchanges: ~Copyable, Driver {
    var plane: DataPlane
    private let registry: SharedRegistry
    private let client: ConnectionID
    private let request: [UInt8]
    private let response = Array(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nhello, world".utf8
    )
    private var answered = 0
    private var lent = ByteBuffer()
    /// The connection to the endpoint, when a request has gone out by it.
    private var asked: ConnectionID?

    /// - Parameter route: keys of the only route, beside its name.
    init(request: [UInt8], route: String) {
        let yaml = """
            listeners: [{ name: http, address: "127.0.0.1:8080" }]
            services: { s: { versions: { v1: { endpoints: ["127.0.0.1:9081"] } } } }
            routes: [{ name: r, to: s\(route) }]
            """
        guard let document = ConfigurationReading(Array(yaml.utf8)).document else {
            preconditionFailure("a valid configuration")
        }
        let metrics = MetricRegistry()
        registry = SharedRegistry(metrics: metrics, seed: 1)
        _ = metrics.listener("http")
        let setup = DataPlane.Setup(
            worker: 0,
            snapshot: SnapshotCompiler.compile(
                document, .init(generation: 1, hash: "0"), registry: registry),
            metrics: metrics, seed: 1, connectionsMax: 16)
        plane = DataPlane(
            setup, shard: CounterShard(), now: Instant(nanoseconds: 1_000_000_000),
            wall: WallTime(microseconds: 1_000_000))
        guard let id = plane.accept(listener: 0, peer: .ipv4(127, 0, 0, 1, port: 9)) else {
            preconditionFailure("room for a connection")
        }
        client = id
        self.request = request
    }

    mutating func run(_ rounds: Int) {
        for _ in 0..<rounds {
            let before = answered
            deliver(request, to: client)
            precondition(answered == before + 1, "an answer to each request")
        }
    }

    private mutating func deliver(_ bytes: [UInt8], to id: ConnectionID) {
        precondition(plane.lendScratch(id, to: &lent), "a connection that wants bytes")
        lent.append(bytes.span)
        plane.takeBack(&lent)
        drive(.received(id, bytes.count))
    }

    /// The endpoint answers.
    mutating func settle() -> Bool {
        guard let id = asked else { return false }
        asked = nil
        deliver(response, to: id)
        return false
    }

    mutating func serveReady() {}
    mutating func takeMail() {}

    mutating func perform(_ effect: Effect) {
        switch effect {
        case .connect(let slot, _):
            plane.handle(.connected(slot, isHTTP2: false, isSecure: false))
        case .send(let id, _, _):
            if id.side == .downstream {
                answered += 1
            } else {
                asked = id
            }
        default: break
        }
    }
}

/// Two HTTP/2 connections in memory: a request there, its answer back, both ends of HPACK and
/// framing.
final class SessionPair {
    private var client = HTTP2Connection()
    private var server = HTTP2Connection()
    private var workspace = HTTP2Workspace(limits: HeadLimits())
    private var text = ByteBuffer(capacity: 65_536)
    private var wire = ByteBuffer(capacity: 65_536)
    private let now = Instant(nanoseconds: 0)
    private let request: [UInt8]
    private let response = Array(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 12\r\n\r\nhello, world".utf8
    )

    init(request: [UInt8]) {
        self.request = request
        client.open(isServer: false, isSecure: false, limits: HTTP2Limits(), seed: 1, now: now)
        server.open(isServer: true, isSecure: false, limits: HTTP2Limits(), seed: 2, now: now)
        pass()
    }

    func run(_ rounds: Int) {
        let request = request
        for _ in 0..<rounds {
            guard let stream = client.makeStream(owner: 1) else {
                preconditionFailure("room for a stream")
            }
            _ = client.take(stream, request.span, &workspace)
            pass()
            client.release(stream, broken: nil, now: now)
        }
    }

    /// Both directions until both are silent; the server answers what is opened.
    private func pass() {
        let response = response
        for _ in 0..<2 {
            wire.clear()
            _ = client.send(into: &wire, atMost: 65_536, now: now, &workspace)
            text.clear()
            _ = server.receive(wire.readable, text: &text, now: now)
            for i in 0..<server.eventCount {
                guard case .opened(let stream) = server.event(i) else { continue }
                server.setOwner(stream, 1)
                _ = server.take(stream, response.span, &workspace)
                server.release(stream, broken: nil, now: now)
            }
            server.forgetEvents()
            wire.clear()
            _ = server.send(into: &wire, atMost: 65_536, now: now, &workspace)
            text.clear()
            _ = client.receive(wire.readable, text: &text, now: now)
            client.forgetEvents()
        }
    }
}
