import Base
import Configuration
import HTTP1
import HTTPSemantics
import Platform

/// A small client for the admin endpoint, for the command line. Blocks, with a bound.
public enum AdminClient {
    public struct Reply: Sendable {
        public var status: UInt16
        public var body: String
    }

    public struct Failure: Error, Sendable, CustomStringConvertible {
        public let description: String
        /// The server took the request and has not answered it: what was asked for may be under
        /// way.
        public var isUnanswered = false

        public init(description: String, isUnanswered: Bool = false) {
            self.description = description
            self.isUnanswered = isUnanswered
        }
    }

    /// The longest that one request may take, where the caller does not say.
    public static let limit = Duration.seconds(30)
    /// The longest that a server may take to say who it is.
    private static let askLimit = Duration.seconds(10)
    /// Bytes of an answer that are read; more is no answer of ours.
    private static let bytesMax = 64 << 20

    /// Asks a process that runs. Before anything is changed there, the server is asked who it is:
    /// other servers answer 200 to a POST too, and may even do something.
    public static func request(
        _ address: Address, _ method: String, _ target: String, token: String?,
        limit: Duration = AdminClient.limit
    ) throws(Failure) -> Reply {
        if method != "GET" { _ = try answer(address, "GET", "/", nil, limit: askLimit) }
        return try answer(address, method, target, token, limit: limit)
    }

    private static func answer(
        _ address: Address, _ method: String, _ target: String, _ token: String?, limit: Duration
    ) throws(Failure) -> Reply {
        let place = UnixPaths.text(address)
        let found: Found
        do throws(SystemError) {
            found = try exchange(address, method, target, token, limit)
        } catch {
            throw Failure(
                description: "nobody answers at the admin address \(place): \(error.message); a "
                    + "process that runs says its address in its line \"sluice started\"")
        }
        let advice = "give the address that admin: has in its file, by default 127.0.0.1:15000"
        switch found {
        case .reply(let reply): return reply
        case .nothing:
            throw Failure(
                description: "\(place) has not answered \(method) \(target) within "
                    + "\(Units.text(limit))", isUnanswered: true)
        case .foreign(let status):
            throw Failure(
                description: "what answers at \(place) is not Sluice's admin endpoint (it answered "
                    + "\(status)); \(advice)")
        case .noHTTP:
            throw Failure(
                description: "what answers at \(place) does not speak HTTP/1.1, and is not "
                    + "Sluice's admin endpoint; \(advice)")
        }
    }

    /// Who answered.
    private enum Found {
        case reply(Reply)
        /// Another server, with its status.
        case foreign(UInt16)
        case noHTTP
        /// Nothing that is whole, until the time was over.
        case nothing
    }

    private static func exchange(
        _ address: Address, _ method: String, _ target: String, _ token: String?, _ limit: Duration
    ) throws(SystemError) -> Found {
        let (descriptor, _) = try Socket.connect(address)
        defer { Socket.close(descriptor) }
        var poller = try Poller()
        try poller.addConnection(descriptor, token: 1)
        var outbound = ByteBuffer()
        outbound.append(
            text: "\(method) \(target) HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n")
        if let token { outbound.append(text: "authorization: Bearer \(token)\r\n") }
        outbound.append("content-length: 0\r\n\r\n")
        var inbound = ByteBuffer()
        let deadline = SystemClock.now() + limit
        var hasConnected = false
        while SystemClock.now() < deadline {
            let left = (deadline - SystemClock.now()).millisecondsUp
            let count = try poller.wait(milliseconds: Int32(clamping: left))
            if count == 0 { continue }
            if !hasConnected {
                let code = Socket.takeError(descriptor)
                guard code == 0 else { throw SystemError("connect", code: code) }
                hasConnected = true
            }
            while !outbound.isEmpty {
                guard case .bytes(let sent) = Socket.send(descriptor, outbound.readable) else {
                    break
                }
                outbound.consume(sent)
            }
            var isOpen = true
            while isOpen {
                switch Socket.receive(descriptor, into: &inbound, atMost: 65_536) {
                case .bytes:
                    // Other servers may keep the connection open.
                    if let found = found(inbound.readable) { return found }
                    guard inbound.count <= bytesMax else { return .noHTTP }
                case .wouldBlock: isOpen = false
                case .endOfStream: return .noHTTP
                case .failed(let code): throw SystemError("recv", code: code)
                }
            }
        }
        if hasConnected { return .nothing }
        throw SystemError("connect", code: Socket.timedOut)
    }

    /// Who answered, and what; `nil` while the answer is not whole.
    private static func found(_ bytes: Span<UInt8>) -> Found? {
        var head = ResponseHead(fieldCountMax: 100)
        var parser = ResponseHeadParser()
        guard let parsed = try? parser.parse(bytes, into: &head, limits: HeadLimits()) else {
            return .noHTTP
        }
        guard case .complete(let count) = parsed else { return nil }
        func value(_ name: String) -> String? {
            for i in 0..<head.fields.count {
                let field = head.fields[i]
                let own = ASCII.string(bytes.extracting(field.name.range))
                if own.lowercased() == name {
                    return ASCII.string(bytes.extracting(field.value.range))
                }
            }
            return nil
        }
        // Our own answers say how long they are.
        guard value(AdminServer.markName) != nil,
            let length = value("content-length").flatMap({ Int($0) }), length >= 0
        else { return .foreign(head.status) }
        guard bytes.count - count >= length else { return nil }
        return .reply(
            Reply(
                status: head.status,
                body: ASCII.string(bytes.extracting(count..<(count + length)))))
    }
}
