import Base
import HTTP1
import HTTPSemantics
import Proxy

/// A client that asks for a WebSocket, says things that follow from its name, and expects to hear
/// them again, to the byte and in their order.
public final class SimulatedTunnel: ClientEnd {
    private let world: World
    private let name: String
    private let header: String
    private var id: ConnectionID?
    private var inbound: [UInt8] = []
    private var said: [UInt8] = []
    private var pieces: [Int]
    private var isClosed = false
    /// Says nothing at the end, and does not end.
    public var staysOpen = false
    /// The answer to the handshake; 0 before it came.
    public private(set) var status = 0
    /// The handshake's answer.
    public private(set) var answer = Outcome(id: "")
    public private(set) var heard: [UInt8] = []

    /// - Parameters:
    ///   - pieces: how much it says at a time; the next when all before has come back.
    ///   - header: one more field of the handshake.
    public init(_ world: World, name: String, pieces: [Int], header: String = "x-a: b") {
        self.world = world
        self.name = name
        self.pieces = pieces
        self.header = header
    }

    public func start() {
        id = world.connect(self)
        say(
            Array(
                ("GET /ws HTTP/1.1\r\nHost: svc\r\nx-id: \(name)-0\r\n\(header)\r\n"
                    + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                    + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").utf8))
    }

    /// Whether what was heard is what was said, as far as it came.
    public var isTrue: Bool { said.starts(with: heard) }

    private func say(_ bytes: [UInt8]) {
        if let id, !isClosed { world.deliver(bytes, to: id) }
    }

    private func next() {
        guard heard.count == said.count else { return }
        guard let size = pieces.popLast() else {
            if staysOpen { return }
            if let id, !isClosed { world.end(id) }
            isClosed = true
            return
        }
        let piece = Array(Pattern.text("\(name)/\(pieces.count)", size).utf8)
        said += piece
        say(piece)
    }

    func received(_ bytes: [UInt8]) {
        if status == 101 {
            heard += bytes
            return next()
        }
        inbound += bytes
        var head = ResponseHead(fieldCountMax: 100)
        var parser = ResponseHeadParser()
        let limits = HeadLimits()
        let copy = inbound
        let view = copy.span
        guard status == 0,
            case .complete(let count)? = try? parser.parse(view, into: &head, limits: limits)
        else { return }
        status = Int(head.status)
        answer.note(head, view)
        guard status == 101 else {
            if let id, !isClosed { world.end(id) }
            isClosed = true
            return
        }
        heard += inbound[count...]
        next()
    }

    func ended() {
        if let id, !isClosed { world.end(id) }
        isClosed = true
    }

    func closed(wasReset: Bool) { isClosed = true }
}
