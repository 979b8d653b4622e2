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
    /// Answers a request, or says `nil` and answers later, by the ticket.
    typealias Respond = (_ request: AdminRequest, _ ticket: UInt64) -> AdminResponse?

    private struct Listener {
        var descriptor: Int32
        var isAdmin: Bool
        var isLoopback: Bool
        /// With the port that port 0 became.
        var text: String
        /// The file of a unix socket, and its stamp from when the socket was bound.
        var file: (path: String, stamp: Files.Stamp)?
    }

    /// The field that says that an answer is Sluice's, with its version: other servers answer 200
    /// to `/reload` too.
    static let markName = "x-sluice-admin"
    static let connectionsMax = 64
    /// Connections that pages are being made for or sent to. The others are for probes.
    static let pagesMax = 32
    /// Bytes of pages that are being sent: one more than fits is still made.
    static let pageBytesMax = 128 << 20
    static let requestBytesMax = 65_536
    /// A client that takes nothing of its answer for so long is given up.
    static let stallLimit = Duration.seconds(30)

    private let listeners: [Listener]
    /// Must come as a bearer token with every change; `nil`: none is asked for.
    let token: String?
    private var connections: [Int32: AdminConnection] = [:]
    private var nextSerial: UInt32 = 0
    /// Tickets of connections that could be sent more at once.
    private var unfinished: [UInt64] = []

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
                text: text(descriptor, address), file: file(address))
        } catch {
            throw Listeners.Failure(
                text: "the \(name) endpoint cannot listen on \(UnixPaths.text(address)): "
                    + "\(error.message)\(ListenHints.text(error, address)); give \(name): another "
                    + "address")
        }
    }

    private static func file(_ address: Address) -> (path: String, stamp: Files.Stamp)? {
        guard let path = UnixPaths.path(address), let stamp = Files.stamp(path) else { return nil }
        return (path, stamp)
    }

    /// Closes the listening sockets when the process ends, or does not start after all. The files
    /// of unix sockets go with them, unless another has their place.
    deinit {
        for listener in listeners {
            Socket.close(listener.descriptor)
            if let file = listener.file { Files.removeSocket(file.path, ifStill: file.stamp) }
        }
        for connection in connections.values { Socket.close(connection.descriptor) }
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

    func handle(_ event: Poller.Ready, poller: borrowing Poller, respond: Respond) {
        let descriptor = Int32(truncatingIfNeeded: event.token >> 32)
        if let listener = listeners.first(where: { $0.descriptor == descriptor }) {
            return accept(listener, poller)
        }
        guard let connection = connections[descriptor] else { return }
        if event.isReadable || event.isHungUp, !read(connection, respond) {
            return close(connection)
        }
        advance(connection, respond)
    }

    private func accept(_ listener: Listener, _ poller: borrowing Poller) {
        guard case .success(let (descriptor, _)) = Socket.accept(listener.descriptor) else {
            return
        }
        if connections.count >= AdminServer.connectionsMax { closeIdlest() }
        guard connections.count < AdminServer.connectionsMax else {
            return Socket.close(descriptor)
        }
        nextSerial &+= 1
        let connection = AdminConnection(
            descriptor, isAdmin: listener.isAdmin, isLoopback: listener.isLoopback,
            serial: nextSerial, now: SystemClock.now())
        connections[descriptor] = connection
        do throws(SystemError) {
            try poller.addConnection(descriptor, token: AdminServer.token(descriptor))
        } catch {
            close(connection)
        }
    }

    /// A probe must find a place however many connections others keep open: the one that has been
    /// idle for longest, or has not sent its request whole, makes room.
    private func closeIdlest() {
        let idle = connections.values.filter { $0.isIdle }
        if let idlest = idle.min(by: { $0.lastProgress < $1.lastProgress }) { close(idlest) }
    }

    private func close(_ connection: AdminConnection) {
        connections[connection.descriptor] = nil
        Socket.close(connection.descriptor)
    }

    /// - Returns: `false` when the connection is over.
    private func read(_ connection: AdminConnection, _ respond: Respond) -> Bool {
        while true {
            switch Socket.receive(connection.descriptor, into: &connection.inbound, atMost: 16_384)
            {
            case .bytes:
                guard connection.inbound.count <= AdminServer.requestBytesMax else { return false }
                connection.lastProgress = SystemClock.now()
                takeRequests(connection, respond)
            case .wouldBlock: return true
            case .endOfStream:
                // It may have ended its side alone; one that is gone shows when it is answered.
                connection.hasEnded = true
                return !connection.isIdle
            case .failed: return false
            }
        }
    }

    /// Hands over requests and sends answers for as long as both go on.
    private func advance(_ connection: AdminConnection, _ respond: Respond) {
        while true {
            switch connection.send(now: SystemClock.now()) {
            case .blocked: return
            case .broken: return close(connection)
            case .slice: return unfinished.append(connection.ticket)
            case .done: break
            }
            if connection.closesAfterFlush { return close(connection) }
            // Requests that came meanwhile have waited for the page's end.
            takeRequests(connection, respond)
            if connection.owesBytes { continue }
            if connection.hasEnded, connection.isIdle { close(connection) }
            return
        }
    }

    /// Some connection could be sent more: `sendOn` is to be called soon.
    var hasUnfinished: Bool { !unfinished.isEmpty }

    /// Sends one connection more of its page; others that wait for it have their turn next time.
    func sendOn(_ respond: Respond) {
        if unfinished.isEmpty { return }
        if let connection = connection(unfinished.removeFirst()) { advance(connection, respond) }
    }

    private func connection(_ ticket: UInt64) -> AdminConnection? {
        let connection = connections[Int32(truncatingIfNeeded: ticket >> 32)]
        return connection?.ticket == ticket ? connection : nil
    }

    // MARK: Answers that come later

    /// Whether somebody still waits by the ticket.
    func isWaiting(_ ticket: UInt64) -> Bool { connection(ticket)?.waiting != nil }

    /// Notes that the request with the ticket is for a page.
    /// - Returns: `false` when too many pages are under way, or too much of them is held by clients
    ///   that read slowly.
    func takePage(_ ticket: UInt64) -> Bool {
        var held: [ObjectIdentifier: Int] = [:]
        for connection in connections.values {
            if let page = connection.page { held[ObjectIdentifier(page)] = page.bytes.count }
        }
        guard connections.values.count(where: { $0.hasPage }) < AdminServer.pagesMax,
            held.values.reduce(0, +) < AdminServer.pageBytesMax
        else { return false }
        connection(ticket)?.awaitPage()
        return true
    }

    /// Answers the request that waits by this ticket, and those behind it. Nothing happens when its
    /// client has left.
    func answer(_ ticket: UInt64, _ response: AdminResponse, respond: Respond) {
        guard let connection = connection(ticket), connection.waiting != nil else { return }
        connection.answer(response)
        if connection.isHandingOver { return }
        takeRequests(connection, respond)
        advance(connection, respond)
    }

    /// Gives up clients that take nothing of their answers.
    /// - Returns: when to look again; `.never` while nobody is owed anything.
    func giveUpStalled(now: Instant) -> Instant {
        var next = Instant.never
        for connection in Array(connections.values) where connection.owesBytes {
            let until = connection.lastProgress + AdminServer.stallLimit
            if until <= now { close(connection) } else { next = min(next, until) }
        }
        return next
    }

    // MARK: Requests

    /// Hands over every whole request that is there, until one waits for its answer.
    private func takeRequests(_ connection: AdminConnection, _ respond: Respond) {
        while !connection.inbound.isEmpty, connection.takesRequest {
            var head = RequestHead(fieldCountMax: 100)
            var parser = RequestHeadParser()
            let limits = HeadLimits(headBytesMax: 16_384)
            let bytes = connection.inbound.readable
            do throws(HTTP1Violation) {
                guard
                    case .complete(let headBytes) = try parser.parse(
                        bytes, into: &head, limits: limits)
                else { return }
                var at = headBytes
                guard let body = try AdminServer.body(bytes, head.framing, &at, limits) else {
                    return
                }
                let request = AdminServer.request(head, bytes, body, connection)
                let keepsAlive = head.keepsAlive
                connection.inbound.consume(at)
                connection.handOver(request, keepsAlive: keepsAlive, respond)
            } catch {
                connection.refuse(error)
            }
        }
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
        _ connection: AdminConnection
    ) -> AdminRequest {
        func text(_ range: ByteRange) -> String { ASCII.string(bytes.extracting(range.range)) }
        var fields: [(name: String, value: String)] = []
        for i in 0..<head.fields.count {
            let field = head.fields[i]
            fields.append((text(field.name).lowercased(), text(field.value)))
        }
        return AdminRequest(
            method: text(head.methodName), path: text(head.path), query: text(head.query),
            fields: fields, body: body, isAdmin: connection.isAdmin,
            isLoopback: connection.isLoopback)
    }
}
