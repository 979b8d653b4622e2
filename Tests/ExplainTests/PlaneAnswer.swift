import Base
import Configuration
import Proxy
import Telemetry

/// The doings of the data plane with one request.
struct PlaneAnswer {
    /// To the client, when nobody else was asked.
    var answer = ""
    /// The endpoint that it connected to, and the head that went there.
    var endpoint: Address?
    var head = ""

    /// The status of the answer; `nil` when the request went on.
    var status: Int? {
        endpoint == nil ? Int(answer.split(separator: " ").dropFirst().first ?? "") : nil
    }

    static func field(_ name: String, _ head: String) -> String? {
        for line in head.split(separator: "\r\n").dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2, parts[0].lowercased() == name {
                return String(parts[1].drop { $0 == " " })
            }
        }
        return nil
    }
}

/// A data plane without sockets, whose endpoints take requests and never answer.
struct PlaneWorld: ~Copyable {
    private var plane: DataPlane
    private var lent = ByteBuffer()
    private var result = PlaneAnswer()

    static let now = Instant(nanoseconds: 1_000_000_000)
    static let wall = WallTime(microseconds: 1_000_000)

    /// - Parameter snapshot: one reference of it is taken over.
    init(_ snapshot: SharedBox<Snapshot>, _ metrics: MetricRegistry) {
        let setup = DataPlane.Setup(
            worker: 0, snapshot: snapshot, metrics: metrics, seed: 1, connectionsMax: 16)
        plane = DataPlane(setup, shard: CounterShard(), now: PlaneWorld.now, wall: PlaneWorld.wall)
    }

    /// - Parameter listener: the number of the listener that the request comes in at.
    mutating func run(_ request: RandomRouting.Request, listener: Int) -> PlaneAnswer {
        result = PlaneAnswer()
        let peer = Address.ipv4(127, 0, 0, 1, port: 9)
        guard let id = plane.accept(listener: listener, peer: peer, isSecuring: request.isSecure)
        else { return result }
        if request.isSecure {
            plane.secured(id, version: 3, isHTTP2: false, identity: Span())
        }
        var text = "\(request.method) \(request.target) HTTP/1.1\r\nHost: \(request.host)\r\n"
        for header in request.headers { text += header + "\r\n" }
        let bytes = Array((text + "\r\n").utf8)
        guard plane.lendScratch(id, to: &lent) else { return result }
        lent.append(bytes.span)
        plane.takeBack(&lent)
        plane.handle(.received(id, bytes.count))
        perform()
        let answer = result
        // A client that leaves takes everything of its request with it.
        plane.handle(.failed(id))
        perform()
        return answer
    }

    private mutating func perform() {
        plane.endTurn()
        while let effect = plane.advance() {
            switch effect {
            case .connect(let slot, let address):
                result.endpoint = address
                plane.handle(.connected(slot, isHTTP2: false, isSecure: false))
            case .send(let id, let source, let range):
                let text = ASCII.string(plane.bytes(source, range))
                if id.side == .downstream { result.answer += text } else { result.head += text }
            default: break
            }
        }
    }

    /// Connections and exchanges that are there.
    var count: Int { plane.downstreamCount + plane.exchangeCount + plane.upstreamCount }
}
