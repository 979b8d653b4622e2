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
    }

    /// The longest that one request may take.
    public static let limit = Duration.seconds(30)

    public static func request(
        _ address: Address, _ method: String, _ target: String, token: String?
    ) throws(Failure) -> Reply {
        let place = UnixPaths.text(address)
        do throws(SystemError) {
            return try exchange(address, method, target, token)
        } catch {
            throw Failure(
                description: "nobody answers at the admin address \(place): \(error.message)")
        }
    }

    private static func exchange(
        _ address: Address, _ method: String, _ target: String, _ token: String?
    ) throws(SystemError) -> Reply {
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
                case .bytes: continue
                case .wouldBlock: isOpen = false
                case .endOfStream: return try reply(inbound.readable)
                case .failed(let code): throw SystemError("recv", code: code)
                }
            }
        }
        throw SystemError("recv", code: 110)
    }

    private static func reply(_ bytes: Span<UInt8>) throws(SystemError) -> Reply {
        var head = ResponseHead(fieldCountMax: 100)
        var parser = ResponseHeadParser()
        guard
            case .complete(let count)? = try? parser.parse(bytes, into: &head, limits: HeadLimits())
        else { throw SystemError("recv", code: 71) }
        return Reply(
            status: head.status, body: ASCII.string(bytes.extracting(count..<bytes.count)))
    }
}
