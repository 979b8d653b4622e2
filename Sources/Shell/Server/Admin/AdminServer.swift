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
        var isUnix: Bool
        /// With the port that port 0 became.
        var text: String
        /// The file of a unix socket, and its stamp from when the socket was bound.
        var file: (path: String, stamp: Files.Stamp)?
    }

    /// The field that says that an answer is Sluice's, with its version: other servers answer 200
    /// to `/reload` too.
    static let markName = "x-sluice-admin"
    static let requestBytesMax = 65_536
    /// Requests of one connection that are answered before others have their turn.
    private static let requestsPerTurn = 64

    /// The places of one of the two endpoints. Each has its own, so that whoever fills the metrics
    /// endpoint, which other machines reach, shuts nobody out of the admin endpoint.
    struct Places {
        var connectionsMax: Int
        /// Connections that pages are being made for or sent to. The others are for probes.
        var pagesMax: Int
        /// Bytes of pages that are being sent: one more than fits is still made.
        var pageBytesMax: Int

        static let metrics = Places(connectionsMax: 64, pagesMax: 32, pageBytesMax: 128 << 20)
        static let admin = Places(connectionsMax: 32, pagesMax: 16, pageBytesMax: 32 << 20)
    }

    private let listeners: [Listener]
    private var connections: [Int32: AdminConnection] = [:]
    private var nextSerial: UInt32 = 0
    /// Tickets of connections that could be sent more at once.
    private var unfinished: [UInt64] = []

    init(_ document: Document) throws(Listeners.Failure) {
        var listeners: [Listener] = []
        for address in document.admin {
            listeners.append(try AdminServer.listen(address, document, isAdmin: true))
        }
        for address in document.metrics {
            listeners.append(try AdminServer.listen(address, document, isAdmin: false))
        }
        self.listeners = listeners
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
                isUnix: address.family == .unix, text: text(descriptor, address),
                file: file(address))
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
        // An event of a connection that made room meanwhile is not for the one in its place.
        guard let connection = connection(event.token) else { return }
        if event.hasError { return close(connection) }
        advance(connection, respond)
    }

    private func accept(_ listener: Listener, _ poller: borrowing Poller) {
        guard case .success(let (descriptor, _)) = Socket.accept(listener.descriptor) else {
            return
        }
        let now = SystemClock.now()
        guard hasPlace(isAdmin: listener.isAdmin, now: now) else {
            return Socket.close(descriptor)
        }
        // A peer whose machine has gone answers no probe.
        Socket.setKeepAlive(descriptor)
        nextSerial &+= 1
        let connection = AdminConnection(
            descriptor, isAdmin: listener.isAdmin, isLoopback: listener.isLoopback,
            isUnix: listener.isUnix, serial: nextSerial, now: now)
        connections[descriptor] = connection
        do throws(SystemError) {
            try poller.addConnection(descriptor, token: connection.ticket)
        } catch {
            close(connection)
        }
    }

    /// A probe must find a place however many connections others keep open: the one that has been
    /// idle for longest, or else a reader that pauses, makes room.
    private func hasPlace(isAdmin: Bool, now: Instant) -> Bool {
        let own = connections.values.filter { $0.isAdmin == isAdmin }
        let places = isAdmin ? Places.admin : Places.metrics
        if own.count < places.connectionsMax { return true }
        let rooms = own.compactMap { connection in
            connection.wait.room(now: now).map { (room: $0, connection: connection) }
        }
        guard let first = rooms.min(by: { $0.room < $1.room }) else { return false }
        close(first.connection)
        return true
    }

    private func close(_ connection: AdminConnection) {
        connections[connection.descriptor] = nil
        Socket.close(connection.descriptor)
    }

    /// Sends answers and hands over requests for as long as both go on, one behind the other.
    private func advance(_ connection: AdminConnection, _ respond: Respond) {
        for _ in 0..<AdminServer.requestsPerTurn {
            switch connection.send(now: SystemClock.now()) {
            case .blocked: return
            case .broken: return close(connection)
            case .slice: return queue(connection)
            case .done: break
            }
            if connection.closesAfterFlush { return close(connection) }
            guard connection.waiting == nil else { return }
            if takeRequest(connection, respond) { continue }
            guard readOn(connection) else { return }
        }
        queue(connection)
    }

    /// Reads more of a request.
    /// - Returns: whether bytes came; else the connection is over, or will be told of more.
    private func readOn(_ connection: AdminConnection) -> Bool {
        switch Socket.receive(connection.descriptor, into: &connection.inbound, atMost: 16_384) {
        case .bytes:
            connection.received(now: SystemClock.now())
            if connection.inbound.count <= AdminServer.requestBytesMax { return true }
        case .wouldBlock: return false
        case .endOfStream, .failed: break
        }
        close(connection)
        return false
    }

    /// The connection is to have another turn, behind the others.
    private func queue(_ connection: AdminConnection) {
        if connection.isQueued { return }
        connection.isQueued = true
        unfinished.append(connection.ticket)
    }

    /// Some connection could be sent more: `sendOn` is to be called soon.
    var hasUnfinished: Bool { !unfinished.isEmpty }

    /// Sends one connection more of its page; others that wait for it have their turn next time.
    func sendOn(_ respond: Respond) {
        if unfinished.isEmpty { return }
        guard let connection = connection(unfinished.removeFirst()) else { return }
        connection.isQueued = false
        advance(connection, respond)
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
        guard let asking = connection(ticket) else { return false }
        let places = asking.isAdmin ? Places.admin : Places.metrics
        let own = connections.values.filter { $0.isAdmin == asking.isAdmin }
        var held: [ObjectIdentifier: Int] = [:]
        for connection in own {
            if let page = connection.page { held[ObjectIdentifier(page)] = page.bytes.count }
        }
        guard own.count(where: { $0.hasPage }) < places.pagesMax,
            held.values.reduce(0, +) < places.pageBytesMax
        else { return false }
        asking.awaitPage()
        return true
    }

    /// Answers the request that waits by this ticket, and those behind it. Nothing happens when its
    /// client has left.
    func answer(_ ticket: UInt64, _ response: AdminResponse, respond: Respond) {
        guard let connection = connection(ticket), connection.waiting != nil else { return }
        connection.answer(response)
        if connection.isHandingOver { return }
        advance(connection, respond)
    }

    /// Gives up clients whose time is over.
    /// - Returns: when to look again; `.never` while no client is waited for.
    func giveUpLate(now: Instant) -> Instant {
        var next = Instant.never
        for connection in Array(connections.values) {
            let deadline = connection.wait.deadline
            if deadline <= now { close(connection) } else { next = min(next, deadline) }
        }
        return next
    }

    // MARK: Requests

    /// Hands over the next request.
    /// - Returns: `false` while it is not there whole.
    private func takeRequest(_ connection: AdminConnection, _ respond: Respond) -> Bool {
        if connection.inbound.isEmpty { return false }
        var head = RequestHead(fieldCountMax: 100)
        var parser = RequestHeadParser()
        let limits = HeadLimits(headBytesMax: 16_384)
        let bytes = connection.inbound.readable
        do throws(HTTP1Violation) {
            guard
                case .complete(let headBytes) = try parser.parse(bytes, into: &head, limits: limits)
            else { return false }
            var at = headBytes
            guard let body = try AdminServer.body(bytes, head.framing, &at, limits) else {
                return false
            }
            let request = AdminServer.request(head, bytes, body, connection)
            let keepsAlive = head.keepsAlive
            connection.inbound.consume(at)
            connection.handOver(request, keepsAlive: keepsAlive, respond)
        } catch {
            connection.refuse(error)
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
            isLoopback: connection.isLoopback, isUnix: connection.isUnix)
    }
}
