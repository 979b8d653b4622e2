import Base
import HTTP1
import HTTPSemantics
import Proxy

/// A scripted origin: answers each request with its own id, its version and a body.
public final class SimulatedOrigin {
    public enum Reply: Sendable {
        case length, chunked, untilClose, garbage, silence, reset
        /// The head and half of a chunked body, and then nothing.
        case half
        /// Breaks off in a body with a length.
        case halfLength
    }

    public let address: Address
    public let version: String
    public var isUp = true
    public var reply = Reply.length
    public var status = 200
    public var bodyBytes = 20
    public var delay = Duration.zero
    /// Closes each connection after so many responses.
    public var requestsPerConnection = Int.max
    /// Answers a request with a body when it has its head, and breaks the connection behind that.
    public var answersEarly = false
    /// Wants `NTLM name` once on each connection, in `Authorization` or in its sibling for proxies,
    /// and says in `x-user` whose it is.
    public var authenticates = false
    /// Whether a client was asked to authenticate its connection, which is bound to this origin
    /// from then on.
    public internal(set) var hasAsked = false
    /// By prior knowledge.
    public var speaksHTTP2 = false
    /// Streams that each of its connections takes at once; more are refused.
    public var streamsMax = 100
    /// HTTP/2 is what it chooses by ALPN, where a client offers that.
    public var choosesHTTP2 = false
    /// Wants all requests by HTTP/1.1, and says so to each that comes by HTTP/2.
    public var wantsHTTP1 = false
    /// Answers another way than the properties above say, by the number of the request from 0.
    public var script: (Int) -> Answer? = { _ in nil }
    /// Answers another way, by the request itself, where `script` has none.
    public var answer: (Request) -> Answer? = { _ in nil }
    /// Answers another way by what the request is; goes before `script`.
    public var onRequest: ((Request) -> Answer?)?
    /// Whether the origin says to health checks that it is well: to `GET /healthz` and to gRPC's.
    public var isHealthy = true
    public private(set) var requestCount = 0
    public private(set) var checkCount = 0
    /// The origin's machine is gone: nothing of what comes is read, and nobody is told. HTTP/2
    /// only.
    public var isGone = false
    /// When PINGs came, acknowledgements aside.
    public internal(set) var pings: [Instant] = []
    /// Connections that came to it.
    public internal(set) var connectionCount = 0
    /// Connections, and streams, that were ended in front of its answer.
    public internal(set) var leftCount = 0
    /// Requests whose body was not what their id says.
    public private(set) var wrongBodyCount = 0
    /// Heads and bodies' lengths of requests, in the order of their coming.
    public private(set) var requests: [Request] = []

    public struct Request: Sendable {
        public var id: String
        public var head: String
        public var bodyBytes: Int
        public var at: Instant
        /// Whether the body is its id's; `nil` when it need not be.
        public var hasPattern: Bool?
    }

    public enum BreakOff: CaseIterable, Sendable {
        /// The connection is reset, or the stream.
        case reset
        /// Bytes that are no chunk follow. Frames cannot say that: the stream is reset.
        case garbage
        /// The connection ends as if that were all.
        case end
        /// The connection of HTTP/2 is broken, and all streams with it.
        case connection
    }

    public struct Answer: Sendable {
        public var status: Int
        public var headers: [String]
        public var reply: Reply
        public var delay: Duration
        /// Interim answers before it: when, counted from the request, and which.
        public var interims: [(at: Duration, status: Int)] = []
        /// Trailers of a chunked answer.
        public var trailers: [String] = []
        /// How half an answer breaks off, and how long after its last byte.
        public var breakOff: (way: BreakOff, after: Duration)?

        public init(
            _ status: Int, headers: [String] = [], reply: Reply = .length, delay: Duration = .zero
        ) {
            self.status = status
            self.headers = headers
            self.reply = reply
            self.delay = delay
        }
    }

    public init(_ address: String, version: String) {
        guard let parsed = Address(address) else { fatalError("an address") }
        self.address = parsed
        self.version = version
    }

    func took(_ request: Request) {
        if let expected = request.hasPattern, !expected { wrongBodyCount += 1 }
        requestCount += 1
        requests.append(request)
    }

    func tookCheck() { checkCount += 1 }
}

/// The end to which the world delivers a connection's bytes.
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
    /// After a handshake it says again whatever it hears.
    private var isTunnel = false
    /// Breaks the connection when so many bytes have come.
    var resetsAfterBytes: Int?
    private var bytesSeen = 0
    /// A request waits for its answer.
    private var isAsked = false
    /// The answer does not wait for the rest of the request.
    private var isEarly = false
    /// Who has authenticated on the connection.
    private var user = ""

    init(_ origin: SimulatedOrigin, _ world: World, _ wire: Wire) {
        self.origin = origin
        self.world = world
        self.wire = wire
    }

    func closed() {
        if isOpen, isAsked { origin.leftCount += 1 }
        isOpen = false
    }

    func received(_ bytes: [UInt8]) {
        guard isOpen else { return }
        bytesSeen += bytes.count
        isAsked = true
        if let limit = resetsAfterBytes, bytesSeen > limit {
            isOpen = false
            return wire.reset()
        }
        if isTunnel { return wire.deliver(bytes) }
        inbound += bytes
        if inbound.starts(with: "PRI * HTTP/2.0".utf8) { return refuseHTTP2() }
        while !isTunnel, isOpen, let request = nextRequest() { answer(request) }
    }

    /// HTTP/2's preface came: answered in HTTP/1.1 and closed, as servers of HTTP/1.1 do.
    private func refuseHTTP2() {
        isOpen = false
        wire.deliver(Array("HTTP/1.1 400 X\r\ncontent-length: 0\r\n\r\n".utf8))
        wire.end()
    }

    /// The next whole request.
    private func nextRequest() -> SimulatedOrigin.Request? {
        var head = RequestHead(fieldCountMax: 100)
        var parser = RequestHeadParser()
        let limits = HeadLimits()
        let bytes = inbound
        let view = bytes.span
        guard case .complete(let count)? = try? parser.parse(view, into: &head, limits: limits)
        else { return nil }
        var body = BodyDecoder(head.framing)
        var at = count, content: [UInt8] = []
        while !body.isComplete, !origin.answersEarly {
            guard let step = try? body.next(view, at: &at, limits: limits) else { return nil }
            if case .incomplete = step { return nil }
            if case .content(let range) = step { content += bytes[range.range] }
        }
        var name = ""
        for i in 0..<head.fields.count {
            let field = head.fields[i]
            if ASCII.equalFold(view.extracting(field.name.range), "x-id") {
                name = ASCII.string(view.extracting(field.value.range))
            }
        }
        let text = ASCII.string(view.extracting(0..<count))
        isEarly = !body.isComplete
        inbound.removeFirst(at)
        var request = SimulatedOrigin.Request(
            id: name, head: text, bodyBytes: content.count, at: world.now)
        if text.contains("\r\nx-pattern: 1\r\n") {
            request.hasPattern = content == Array(Pattern.text(name, content.count).utf8)
        }
        return request
    }

    private func answer(_ request: SimulatedOrigin.Request) {
        if request.head.hasPrefix("GET /healthz ") || request.head.hasPrefix("POST /grpc.health") {
            return answerCheck(request)
        }
        let scripted =
            origin.onRequest?(request) ?? origin.script(origin.requestCount)
            ?? origin.answer(request)
        if scripted == nil, request.head.contains("pgrade: websocket\r\n") {
            return beginTunnel(request)
        }
        var answer = scripted ?? .init(origin.status, reply: origin.reply, delay: origin.delay)
        if origin.authenticates { authenticate(request, &answer) }
        origin.took(request)
        served += 1
        var text =
            "HTTP/1.1 \(answer.status) X\r\nx-id: \(request.id)\r\nx-version: \(origin.version)\r\n"
        text += "x-body: \(request.bodyBytes)\r\n"
        for header in answer.headers { text += header + "\r\n" }
        var body = String(repeating: "b", count: origin.bodyBytes)
        if request.hasPattern != nil {
            text += "x-pattern: 1\r\n"
            body = Pattern.text(request.id, origin.bodyBytes)
        }
        let closes = served >= origin.requestsPerConnection
        // Frames cannot say what is no HTTP.
        let reply =
            answer.reply == .garbage && origin.speaksHTTP2
            ? SimulatedOrigin.Reply.reset : answer.reply
        switch reply {
        case .silence: return sayInterims(answer)
        case .reset:
            isOpen = false
            return wire.reset()
        case .garbage: text = "no such protocol\r\n\r\n"
        case .length: text += "content-length: \(body.utf8.count)\r\n\r\n" + body
        case .chunked:
            let half = body.utf8.count / 2
            text += "transfer-encoding: chunked\r\n\r\n"
            for part in [String(body.prefix(half)), String(body.dropFirst(half))]
            where !part.isEmpty {
                text += String(part.utf8.count, radix: 16) + "\r\n" + part + "\r\n"
            }
            text += "0\r\nx-trailer: t\r\n" + answer.trailers.map { $0 + "\r\n" }.joined() + "\r\n"
        case .half:
            let half = String(body.prefix(body.utf8.count / 2))
            text += "transfer-encoding: chunked\r\n\r\n"
            text += String(half.utf8.count, radix: 16) + "\r\n" + half + "\r\n"
        case .halfLength:
            text += "content-length: \(body.utf8.count)\r\n\r\n" + body.prefix(body.utf8.count / 2)
        case .untilClose: text += "\r\n" + body
        }
        sayInterims(answer)
        let bytes = Array(text.utf8)
        let isPart = reply == .half || reply == .halfLength
        let ends = closes || answer.reply == .untilClose
        world.after(answer.delay) { [self] in
            guard isOpen else { return }
            isAsked = false
            if isPart { return sayPart(bytes, answer.breakOff) }
            wire.deliver(bytes)
            if isEarly {
                isOpen = false
                // A stream's answer goes out whole before its end.
                if !origin.speaksHTTP2 { wire.reset() }
            } else if ends {
                isOpen = false
                wire.end()
            }
        }
    }

    private func sayPart(
        _ bytes: [UInt8], _ breakOff: (way: SimulatedOrigin.BreakOff, after: Duration)?
    ) {
        guard let breakOff else { return wire.say(bytes) }
        let garbage = Array("no chunk\r\n".utf8)
        if breakOff.way == .garbage, breakOff.after == .zero, !origin.speaksHTTP2 {
            return wire.say(bytes + garbage)
        }
        wire.say(bytes)
        world.after(breakOff.after) { [self] in
            guard isOpen else { return }
            isOpen = false
            switch breakOff.way {
            case .reset: wire.reset()
            case .garbage: origin.speaksHTTP2 ? wire.reset() : wire.say(garbage)
            case .end: wire.end()
            case .connection: wire.breakDown()
            }
        }
    }

    private func sayInterims(_ answer: SimulatedOrigin.Answer) {
        for interim in answer.interims {
            world.after(interim.at) { [self] in
                if isOpen { wire.say(Array("HTTP/1.1 \(interim.status) X\r\n\r\n".utf8)) }
            }
        }
    }

    private func authenticate(
        _ request: SimulatedOrigin.Request, _ answer: inout SimulatedOrigin.Answer
    ) {
        for line in request.head.split(separator: "\r\n") {
            for mark in ["authorization: NTLM ", "proxy-authorization: NTLM "]
            where line.hasPrefix(mark) {
                user = String(line.dropFirst(mark.count))
            }
        }
        if user.isEmpty {
            origin.hasAsked = true
            answer = .init(401, headers: ["www-authenticate: NTLM"])
        } else {
            answer.headers.append("x-user: \(user)")
        }
    }

    private func beginTunnel(_ request: SimulatedOrigin.Request) {
        origin.took(request)
        isTunnel = true
        wire.deliver(
            Array(
                ("HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                    + "x-id: \(request.id)\r\nx-version: \(origin.version)\r\n\r\n").utf8))
        if !inbound.isEmpty { wire.deliver(inbound) }
        inbound = []
    }

    private func answerCheck(_ request: SimulatedOrigin.Request) {
        origin.tookCheck()
        if request.head.hasPrefix("GET") {
            let status = origin.isHealthy ? 200 : 503
            return wire.deliver(Array("HTTP/1.1 \(status) X\r\ncontent-length: 0\r\n\r\n".utf8))
        }
        // SERVING is 1, NOT_SERVING is 2.
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\n"
            + "transfer-encoding: chunked\r\n\r\n7\r\n"
        wire.deliver(
            Array(head.utf8) + [0, 0, 0, 0, 2, 8, origin.isHealthy ? 1 : 2]
                + Array("\r\n0\r\ngrpc-status: 0\r\n\r\n".utf8))
    }
}
