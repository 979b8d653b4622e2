import Base
import HTTP1
import HTTPSemantics
import Proxy

/// One request of a simulated client.
public struct SimulatedRequest: Sendable {
    public var method = "GET"
    public var path = "/"
    public var headers: [String] = []
    public var body = ""
    public var isChunked = false
    /// The length of a body whose bytes follow from the request's id (`Pattern`), as the answer's
    /// shall.
    public var patternBytes: Int?
    public init(_ method: String = "GET", _ path: String = "/") {
        self.method = method
        self.path = path
    }

    /// The request as HTTP/1.1 text, with an id that the answer must carry.
    func text(id: String) -> String {
        var text = "\(method) \(path) HTTP/1.1\r\nHost: svc\r\nx-id: \(id)\r\n"
        for header in headers { text += header + "\r\n" }
        var body = body
        if let patternBytes {
            text += "x-pattern: 1\r\n"
            body = Pattern.text(id, patternBytes)
        }
        if isChunked {
            text += "Transfer-Encoding: chunked\r\n\r\n"
            if !body.isEmpty {
                text += String(body.utf8.count, radix: 16) + "\r\n" + body + "\r\n"
            }
            return text + "0\r\n\r\n"
        }
        if body.isEmpty { return text + "\r\n" }
        return text + "Content-Length: \(body.utf8.count)\r\n\r\n" + body
    }
}

/// The outcome of one request, as its client saw it.
public struct Outcome: Sendable, Equatable {
    public enum End: Sendable { case complete, truncated, none }
    public var id: String
    public var status = 0
    public var version = ""
    /// The id that the response carried.
    public var responseID = ""
    public var bodyBytes = 0
    public var requestBodySeen = ""
    public var end = End.none
    public var cookie = ""
    /// The content, of answers with a pattern.
    public var content: [UInt8] = []
    /// When its client sent the request, and when the answer was whole or broke off.
    public var sentAt = Instant(nanoseconds: 0)
    public var at = Instant(nanoseconds: 0)
    /// Interim answers before it.
    public var interimCount = 0
    /// The trailer section's lines.
    public var trailers = ""
    /// Fields of the response by their names in lower case, the last of each.
    public var fields: [String: String] = [:]
    /// All field lines in their order, names in lower case.
    public var lines: [String] = []

    /// Notes a head.
    mutating func note(_ head: borrowing ResponseHead, _ bytes: Span<UInt8>) {
        status = Int(head.status)
        for i in 0..<head.fields.count {
            let value = ASCII.string(bytes.extracting(head.fields[i].value.range))
            let name = ASCII.string(bytes.extracting(head.fields[i].name.range)).lowercased()
            fields[name] = value
            lines.append("\(name): \(value)")
            switch name {
            case "x-id": responseID = value
            case "x-version": version = value
            case "x-body": requestBodySeen = value
            case "set-cookie": cookie = value
            default: break
            }
        }
    }

    /// Reads a whole response, if it is one.
    mutating func read(_ text: [UInt8], isHead: Bool) {
        var head = ResponseHead(fieldCountMax: 100)
        var parser = ResponseHeadParser()
        let limits = HeadLimits()
        let bytes = text.span
        var at = 0
        repeat {
            let rest = bytes.extracting(at..<bytes.count)
            guard case .complete(let count)? = try? parser.parse(rest, into: &head, limits: limits)
            else { return }
            note(head, rest)
            at += count
            if head.status < 200, head.status != 101 { interimCount += 1 }
        } while head.status < 200 && head.status != 101
        var body = BodyDecoder(isHead || Status.hasNoBody(head.status) ? .none : head.framing)
        while let step = try? body.next(bytes, at: &at, limits: limits) {
            if case .trailers(let section) = step {
                trailers = ASCII.string(bytes.extracting(section.range))
            }
            guard case .content(let range) = step else { break }
            bodyBytes += range.length
            if fields["x-pattern"] != nil { content += text[range.range] }
        }
        end = body.isComplete && at == text.count ? .complete : .truncated
    }
}

/// A client that sends its requests over one connection, each after the last answer, or all at once.
public final class SimulatedClient: ClientEnd {
    private let world: World
    private let requests: [SimulatedRequest]
    private let isPipelining: Bool
    private var id: ConnectionID?
    private var inbound: [UInt8] = []
    private var next = 0
    /// When each request was sent.
    private var sendings: [Instant] = []
    /// Requests that it sent, answered or not.
    public var sentCount: Int { next }
    public var requestCount: Int { requests.count }
    private var open: (outcome: Outcome, body: BodyDecoder)?
    private var interimCount = 0
    public private(set) var outcomes: [Outcome] = []
    public private(set) var isClosed = false
    /// Says that it will send no more as soon as it has sent its last request.
    public var halfCloses = false
    /// Between an answer and the next request.
    public var pause = Duration.zero
    public var onOutcome: () -> Void = {}
    /// Leaves after so many responses, in the middle of the next.
    public var leavesAfter: Int?
    private let name: String

    public init(
        _ world: World, name: String, _ requests: [SimulatedRequest], pipelined: Bool = false
    ) {
        self.world = world
        self.name = name
        self.requests = requests
        isPipelining = pipelined
    }

    public func start() {
        id = world.connect(self)
        if isPipelining {
            while next < requests.count, !isClosed, id != nil { send() }
        } else {
            send()
        }
    }

    /// Connects and says this, whatever it is.
    public func start(raw: String) {
        id = world.connect(self)
        next = requests.count
        say(raw)
    }

    public func say(_ text: String) {
        if let id, !isClosed { world.deliver(Array(text.utf8), to: id) }
    }

    /// Says that it will send no more, and goes on reading.
    public func end() {
        if let id, !isClosed { world.end(id) }
    }

    /// Breaks its connection.
    public func breakOff() {
        guard let id, !isClosed else { return }
        isClosed = true
        world.reset(id)
    }

    private func send() {
        guard let id, next < requests.count, !isClosed else { return }
        let request = requests[next]
        let text = request.text(id: "\(name)-\(next)")
        next += 1
        sendings.append(world.now)
        world.deliver(Array(text.utf8), to: id)
        if halfCloses, next == requests.count { world.end(id) }
        if let leavesAfter, outcomes.count >= leavesAfter {
            isClosed = true
            world.reset(id)
        }
    }

    func received(_ bytes: [UInt8]) {
        guard !isClosed else { return }
        inbound += bytes
        while step() {}
    }

    /// Understands one more piece of the responses. `false`: nothing more can be read now.
    private func step() -> Bool {
        let limits = HeadLimits()
        if var current = open {
            var at = 0
            guard let found = try? current.body.next(inbound.span, at: &at, limits: limits) else {
                return false
            }
            if case .trailers(let section) = found {
                current.outcome.trailers = ASCII.string(inbound.span.extracting(section.range))
            }
            if case .content(let range) = found {
                current.outcome.bodyBytes += range.length
                if current.outcome.fields["x-pattern"] != nil {
                    current.outcome.content += inbound[range.range]
                }
            }
            inbound.removeFirst(at)
            open = current
            if current.body.isComplete {
                finish(.complete)
                return true
            }
            if case .content = found { return true }
            return false
        }
        var head = ResponseHead(fieldCountMax: 100)
        var parser = ResponseHeadParser()
        let bytes = inbound
        let view = bytes.span
        guard case .complete(let count)? = try? parser.parse(view, into: &head, limits: limits)
        else { return false }
        inbound.removeFirst(count)
        if head.status < 200, head.status != 101 {
            interimCount += 1
            return true
        }
        var outcome = Outcome(id: "\(name)-\(outcomes.count)")
        outcome.note(head, view)
        outcome.interimCount = interimCount
        interimCount = 0
        let isHead = requests[min(outcomes.count, requests.count - 1)].method == "HEAD"
        open = (outcome, BodyDecoder(isHead ? .none : head.framing))
        if open?.body.isComplete == true { finish(.complete) }
        return true
    }

    private func finish(_ end: Outcome.End) {
        guard var outcome = open?.outcome else { return }
        outcome.end = end
        outcome.at = world.now
        // Whoever says raw bytes has sent no request that is known here.
        if outcomes.count < sendings.count { outcome.sentAt = sendings[outcomes.count] }
        outcomes.append(outcome)
        open = nil
        onOutcome()
        // Told that it was the last, a client sends no more.
        if !isPipelining, end == .complete, outcome.fields["connection"] != "close" {
            if pause > .zero { world.after(pause) { [self] in send() } } else { send() }
        }
        if outcomes.count == requests.count { leave() }
    }

    public func leave() {
        guard let id, !isClosed else { return }
        isClosed = true
        world.end(id)
    }

    /// The proxy will send no more.
    func ended() {
        if var current = open {
            let isWhole = current.body.close()
            open = current
            finish(isWhole ? .complete : .truncated)
        }
        leave()
    }

    func closed(wasReset: Bool) {
        if open != nil, !isClosed { finish(.truncated) }
        isClosed = true
    }
}
