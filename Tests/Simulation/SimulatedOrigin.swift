import Base
import HTTP1
import HTTPSemantics
import Proxy

/// A scripted origin: answers each request with its own id, its version and a body.
public final class SimulatedOrigin {
    public enum Reply: Sendable { case length, chunked, untilClose, garbage, silence }

    public let address: Address
    public let version: String
    public var isUp = true
    public var reply = Reply.length
    public var status = 200
    public var bodyBytes = 20
    public var delay = Duration.zero
    /// Closes each connection after so many responses.
    public var requestsPerConnection = Int.max
    /// By prior knowledge.
    public var speaksHTTP2 = false
    public private(set) var requestCount = 0

    public init(_ address: String, version: String) {
        guard let parsed = Address(address) else { preconditionFailure("an address") }
        self.address = parsed
        self.version = version
    }

    func answered() { requestCount += 1 }
}

/// What the world delivers a connection's bytes to.
protocol OriginEnd: AnyObject {
    func received(_ bytes: [UInt8])
    func closed()
}

/// One connection at an origin, or one stream of one.
final class OriginPeer: OriginEnd {
    private let origin: SimulatedOrigin
    private unowned let world: World
    private let wire: Wire
    private var inbound: [UInt8] = []
    private var served = 0
    private var isOpen = true
    /// Breaks the connection when so many bytes have come.
    var resetsAfterBytes: Int?
    private var bytesSeen = 0

    init(_ origin: SimulatedOrigin, _ world: World, _ wire: Wire) {
        self.origin = origin
        self.world = world
        self.wire = wire
    }

    func closed() { isOpen = false }

    func received(_ bytes: [UInt8]) {
        guard isOpen else { return }
        bytesSeen += bytes.count
        if let limit = resetsAfterBytes, bytesSeen > limit {
            isOpen = false
            return wire.reset()
        }
        inbound += bytes
        while let request = nextRequest() { answer(request) }
    }

    /// The id and the body's length of the next whole request.
    private func nextRequest() -> (id: String, body: Int)? {
        var head = RequestHead(fieldCountMax: 100)
        var parser = RequestHeadParser()
        let limits = HeadLimits()
        let bytes = inbound
        let view = bytes.span
        guard case .complete(let count)? = try? parser.parse(view, into: &head, limits: limits)
        else { return nil }
        var body = BodyDecoder(head.framing)
        var at = count, content = 0
        while !body.isComplete {
            guard let step = try? body.next(view, at: &at, limits: limits) else { return nil }
            if case .incomplete = step { return nil }
            if case .content(let range) = step { content += range.length }
        }
        var name = ""
        for i in 0..<head.fields.count {
            let field = head.fields[i]
            if ASCII.equalFold(view.extracting(field.name.range), "x-id") {
                name = ASCII.string(view.extracting(field.value.range))
            }
        }
        inbound.removeFirst(at)
        return (name, content)
    }

    private func answer(_ request: (id: String, body: Int)) {
        origin.answered()
        served += 1
        var text =
            "HTTP/1.1 \(origin.status) X\r\nx-id: \(request.id)\r\nx-version: \(origin.version)\r\n"
        text += "x-body: \(request.body)\r\n"
        let body = String(repeating: "b", count: origin.bodyBytes)
        let closes = served >= origin.requestsPerConnection
        switch origin.reply {
        case .silence: return
        case .garbage: text = "no such protocol\r\n\r\n"
        case .length: text += "content-length: \(body.utf8.count)\r\n\r\n" + body
        case .chunked:
            let half = body.utf8.count / 2
            text += "transfer-encoding: chunked\r\n\r\n"
            for part in [String(body.prefix(half)), String(body.dropFirst(half))]
            where !part.isEmpty {
                text += String(part.utf8.count, radix: 16) + "\r\n" + part + "\r\n"
            }
            text += "0\r\nx-trailer: t\r\n\r\n"
        case .untilClose: text += "\r\n" + body
        }
        let bytes = Array(text.utf8)
        let ends = closes || origin.reply == .untilClose
        world.after(origin.delay) { [self] in
            guard isOpen else { return }
            wire.deliver(bytes)
            if ends {
                isOpen = false
                wire.end()
            }
        }
    }
}
