import Admin
import Base
import Configuration
import Files
import HTTP1
import HTTPSemantics
import Platform

/// The sockets of the admin and metrics endpoints, on the control thread. Small requests, whole
/// responses, bounded everywhere.
final class AdminServer {
    private final class Connection {
        let descriptor: Int32
        let listener: Listener
        var inbound = ByteBuffer()
        var outbound = ByteBuffer()
        var closesAfterFlush = false
        /// Says which request waits for its answer, also when the descriptor is another's by then.
        let ticket: UInt64
        /// A request was read whose answer comes later; further requests wait behind it.
        var waiting: Waiting?
        /// The request is being handed over: whoever answers at once need not go on with the next.
        var isHandingOver = false

        init(_ descriptor: Int32, of listener: Listener, serial: UInt32) {
            self.descriptor = descriptor
            self.listener = listener
            ticket = UInt64(UInt32(bitPattern: descriptor)) << 32 | UInt64(serial)
        }
    }

    private struct Waiting {
        var isHead: Bool
        var keepsAlive: Bool
    }

    /// Answers a request, or says `nil` and answers later, by the ticket.
    typealias Respond = (_ request: AdminRequest, _ ticket: UInt64) -> AdminResponse?

    private struct Listener {
        var descriptor: Int32
        var isAdmin: Bool
        var isLoopback: Bool
        /// With the port that port 0 became.
        var text: String
    }

    /// The field that says that an answer is Sluice's, with its version: other servers answer 200
    /// to `/reload` too.
    static let markName = "x-sluice-admin"
    static let connectionsMax = 64
    static let requestBytesMax = 65_536

    private let listeners: [Listener]
    /// Must come as a bearer token with every change; `nil`: none is asked for.
    let token: String?
    private var connections: [Int32: Connection] = [:]
    private var nextSerial: UInt32 = 0

    init(_ document: Document, configPath: String, log: ProcessLog) throws(Listeners.Failure) {
        var listeners: [Listener] = []
        for address in document.admin {
            listeners.append(try AdminServer.listen(address, document, isAdmin: true))
        }
        for address in document.metrics {
            listeners.append(try AdminServer.listen(address, document, isAdmin: false))
        }
        self.listeners = listeners
        if let path = document.adminTokenPath {
            // The configuration was not taken without it.
            token = AdminToken.load(ConfigurationFile.resolve(path, beside: configPath)).token
        } else {
            token = nil
        }
    }

    /// The addresses of one of the two endpoints, apart by commas.
    func text(isAdmin: Bool) -> String {
        listeners.filter { $0.isAdmin == isAdmin }.map(\.text).joined(separator: ",")
    }

    private static func listen(
        _ address: Address, _ document: Document, isAdmin: Bool
    ) throws(Listeners.Failure) -> Listener {
        let name = isAdmin ? "admin" : "metrics"
        do throws(SystemError) {
            let descriptor = try Socket.listen(
                address, isDual: document.isDual(address), backlog: 64)
            return Listener(
                descriptor: descriptor, isAdmin: isAdmin, isLoopback: address.isLoopback,
                text: text(descriptor, address))
        } catch {
            throw Listeners.Failure(
                text: "the \(name) endpoint cannot listen on \(UnixPaths.text(address)): "
                    + "\(error.message)\(ListenHints.text(error, address)); give \(name): another "
                    + "address")
        }
    }

    private static func text(_ descriptor: Int32, _ configured: Address) -> String {
        if configured.family == .unix { return UnixPaths.text(configured) }
        return Socket.boundAddress(descriptor)?.description ?? configured.description
    }

    private static func token(_ descriptor: Int32) -> UInt64 { UInt64(descriptor) << 32 | 1 }

    func register(with poller: borrowing Poller) throws(SystemError) {
        for listener in listeners {
            try poller.addInput(
                listener.descriptor, token: AdminServer.token(listener.descriptor))
        }
    }

    // MARK: Events

    func handle(
        _ event: Poller.Ready, poller: borrowing Poller, respond: Respond
    ) {
        let descriptor = Int32(truncatingIfNeeded: event.token >> 32)
        if let listener = listeners.first(where: { $0.descriptor == descriptor }) {
            return accept(listener, poller)
        }
        guard let connection = connections[descriptor] else { return }
        if event.isReadable || event.isHungUp, !read(connection, respond) {
            return close(connection)
        }
        if !flush(connection) { close(connection) }
    }

    private func accept(_ listener: Listener, _ poller: borrowing Poller) {
        guard case .success(let (descriptor, _)) = Socket.accept(listener.descriptor) else {
            return
        }
        guard connections.count < AdminServer.connectionsMax else {
            return Socket.close(descriptor)
        }
        nextSerial &+= 1
        let connection = Connection(descriptor, of: listener, serial: nextSerial)
        connections[descriptor] = connection
        do throws(SystemError) {
            try poller.addConnection(descriptor, token: AdminServer.token(descriptor))
        } catch {
            close(connection)
        }
    }

    private func close(_ connection: Connection) {
        connections[connection.descriptor] = nil
        Socket.close(connection.descriptor)
    }

    /// - Returns: `false` when the connection is over.
    private func read(_ connection: Connection, _ respond: Respond) -> Bool {
        while true {
            switch Socket.receive(connection.descriptor, into: &connection.inbound, atMost: 16_384)
            {
            case .bytes:
                guard connection.inbound.count <= AdminServer.requestBytesMax else { return false }
                guard answer(connection, respond) else { return false }
            case .wouldBlock: return true
            case .endOfStream where connection.waiting != nil:
                // It may have ended its side alone; one that is gone shows when it is answered.
                connection.waiting?.keepsAlive = false
                return true
            case .endOfStream: return !connection.outbound.isEmpty && flush(connection)
            case .failed: return false
            }
        }
    }

    /// Answers the request that waits by this ticket, and those behind it. Nothing happens when its
    /// client has left.
    func answer(_ ticket: UInt64, _ response: AdminResponse, respond: Respond) {
        let descriptor = Int32(truncatingIfNeeded: ticket >> 32)
        guard let connection = connections[descriptor], connection.ticket == ticket,
            let waiting = connection.waiting
        else { return }
        connection.waiting = nil
        write(response, waiting, to: connection)
        if connection.isHandingOver { return }
        if !answer(connection, respond) || !flush(connection) { close(connection) }
    }

    private func write(_ response: AdminResponse, _ waiting: Waiting, to connection: Connection) {
        AdminServer.write(
            response, isHead: waiting.isHead, keepsAlive: waiting.keepsAlive,
            to: &connection.outbound)
        connection.closesAfterFlush = !waiting.keepsAlive
    }

    /// Hands over every whole request that is there, until one waits for its answer.
    private func answer(_ connection: Connection, _ respond: Respond) -> Bool {
        while !connection.inbound.isEmpty, !connection.closesAfterFlush, connection.waiting == nil {
            var head = RequestHead(fieldCountMax: 100)
            var parser = RequestHeadParser()
            let limits = HeadLimits(headBytesMax: 16_384)
            let bytes = connection.inbound.readable
            do throws(HTTP1Violation) {
                guard
                    case .complete(let headBytes) = try parser.parse(
                        bytes, into: &head, limits: limits)
                else { return true }
                var at = headBytes
                guard let body = try AdminServer.body(bytes, head.framing, &at, limits) else {
                    return true
                }
                let request = AdminServer.request(head, bytes, body, connection.listener)
                let waiting = Waiting(
                    isHead: request.method == "HEAD", keepsAlive: head.keepsAlive)
                connection.inbound.consume(at)
                connection.waiting = waiting
                connection.isHandingOver = true
                let response = respond(request, connection.ticket)
                connection.isHandingOver = false
                if let response {
                    connection.waiting = nil
                    write(response, waiting, to: connection)
                }
            } catch {
                let reply = AdminResponse(
                    status: error.status, contentType: "text/plain", body: "\(error.cause)\n")
                AdminServer.write(reply, isHead: false, keepsAlive: false, to: &connection.outbound)
                connection.closesAfterFlush = true
            }
        }
        return true
    }

    /// The whole body, or `nil` while some of it is missing.
    private static func body(
        _ bytes: Span<UInt8>, _ framing: BodyFraming, _ at: inout Int, _ limits: HeadLimits
    ) throws(HTTP1Violation) -> [UInt8]? {
        var decoder = BodyDecoder(framing)
        var body: [UInt8] = []
        while !decoder.isComplete {
            switch try decoder.next(bytes, at: &at, limits: limits) {
            case .content(let range): for i in range.range { body.append(bytes[i]) }
            case .trailers, .complete: return body
            case .incomplete: return nil
            }
        }
        return body
    }

    private static func request(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ body: [UInt8],
        _ listener: Listener
    ) -> AdminRequest {
        func text(_ range: ByteRange) -> String { ASCII.string(bytes.extracting(range.range)) }
        var fields: [(name: String, value: String)] = []
        for i in 0..<head.fields.count {
            let field = head.fields[i]
            fields.append((text(field.name).lowercased(), text(field.value)))
        }
        return AdminRequest(
            method: text(head.methodName), path: text(head.path), query: text(head.query),
            fields: fields, body: body, isAdmin: listener.isAdmin,
            isLoopback: listener.isLoopback)
    }

    private static func write(
        _ response: AdminResponse, isHead: Bool, keepsAlive: Bool, to out: inout ByteBuffer
    ) {
        MessageEncoder.statusLine(response.status, to: &out)
        // A 304 has no content, and says nothing of its own of the one that is known.
        if response.status != 304 {
            out.append(text: "content-type: \(response.contentType)\r\n")
            out.append(text: "content-length: \(response.body.utf8.count)\r\n")
        }
        if let tag = response.entityTag {
            out.append(text: "etag: \(tag)\r\ncache-control: no-cache\r\n")
        } else {
            out.append("cache-control: no-store\r\n")
        }
        out.append("x-content-type-options: nosniff\r\n")
        out.append(text: "\(AdminServer.markName): \(SluiceVersion.text)\r\n")
        if !keepsAlive { out.append("connection: close\r\n") }
        out.append("\r\n")
        if !isHead { out.append(text: response.body) }
    }

    private func flush(_ connection: Connection) -> Bool {
        while !connection.outbound.isEmpty {
            switch Socket.send(connection.descriptor, connection.outbound.readable) {
            case .bytes(let count): connection.outbound.consume(count)
            case .wouldBlock: return true
            case .endOfStream, .failed: return false
            }
        }
        return !connection.closesAfterFlush
    }
}
