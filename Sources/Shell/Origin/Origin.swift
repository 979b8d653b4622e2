import Base
import HTTP1
import HTTPSemantics
import Platform

/// The demo's origin: answers every request with JSON that says which version it is and what it
/// received, and can misbehave, as it was told at its start or is told by requests to `/demo`. One
/// thread, one epoll; not for production.
public struct Origin: ~Copyable {
    public struct Options: Sendable {
        public var version: String
        public var address: Address
        /// How it misbehaves from the start on.
        public var misbehaviour = Misbehaviour()
        public var notations: OriginNotations
        /// The seed of the draws that choose which answers are errors, and which are slow.
        public var seed: UInt64

        public init(
            version: String, address: Address, seed: UInt64, notations: OriginNotations
        ) {
            self.version = version
            self.address = address
            self.seed = seed
            self.notations = notations
        }
    }

    private struct Pending {
        var due: Instant
        var descriptor: Int32
        var generation: Int
        var response: [UInt8]
        var closes: Bool
    }

    private let options: Options
    private var misbehaviour: Misbehaviour
    private let listener: Int32
    private var poller: Poller
    private var connections: [Int32: OriginConnection] = [:]
    private var pending: [Pending] = []
    private var random: PRNG
    private var nextGeneration = 0

    /// Opens the listening socket.
    public init(_ options: Options) throws(SystemError) {
        let socket = try Socket.listen(options.address, isDual: true)
        let epoll = try Poller()
        try epoll.addInput(socket, token: UInt64(socket))
        self.options = options
        misbehaviour = options.misbehaviour
        listener = socket
        poller = epoll
        random = PRNG(seed: options.seed)
    }

    /// The address it listens on, with the port that port 0 became.
    public var address: Address { Socket.boundAddress(listener) ?? options.address }

    /// Serves for ever.
    public mutating func run() {
        while true {
            guard let count = try? poller.wait(milliseconds: timeout()) else { return }
            for i in 0..<count {
                let event = poller.ready(i)
                let descriptor = Int32(truncatingIfNeeded: event.token)
                if descriptor == listener { accept() } else { serve(descriptor, event) }
            }
            answerDue()
        }
    }

    private func timeout() -> Int32 {
        guard let next = pending.map(\.due).min() else { return -1 }
        return Int32(clamping: (next - SystemClock.now()).millisecondsUp)
    }

    private mutating func accept() {
        for _ in 0..<64 {
            guard case .success(let (descriptor, peer)) = Socket.accept(listener) else { return }
            if peer.family != .unix { Socket.setNoDelay(descriptor) }
            guard (try? poller.addConnection(descriptor, token: UInt64(descriptor))) != nil else {
                Socket.close(descriptor)
                continue
            }
            nextGeneration += 1
            connections[descriptor] = OriginConnection(generation: nextGeneration)
        }
    }

    private mutating func serve(_ descriptor: Int32, _ event: Poller.Ready) {
        guard let connection = connections[descriptor] else { return }
        if event.isWritable, !connection.flush(descriptor) { return close(descriptor) }
        guard event.isReadable || event.isHungUp else { return }
        while true {
            switch Socket.receive(descriptor, into: &connection.inbound, atMost: 65_536) {
            case .bytes where connection.isRefused:
                connection.inbound.consume(connection.inbound.readable.count)
            case .bytes: guard take(connection, descriptor) else { return close(descriptor) }
            case .wouldBlock: return
            case .endOfStream, .failed: return close(descriptor)
            }
        }
    }

    /// Answers every whole request that is there.
    private mutating func take(_ connection: OriginConnection, _ descriptor: Int32) -> Bool {
        while let request = connection.next() {
            switch request {
            case .failure(let violation):
                connection.refuse(violation)
                return connection.flush(descriptor)
            case .success(let request):
                answer(request, connection, descriptor)
            }
        }
        return connection.flush(descriptor)
    }

    private mutating func answer(
        _ request: OriginRequest, _ connection: OriginConnection, _ descriptor: Int32
    ) {
        if OriginControl.isControl(request.target) {
            let (status, body) = OriginControl.answer(request, &misbehaviour, options.notations)
            return connection.send(
                request.response(status, body), closes: !request.keepsAlive)
        }
        let errors = misbehaviour.errors, delay = misbehaviour.delay
        let fails = draws(errors.share) && request.target.hasPrefix(errors.path)
        let response =
            fails
            ? request.failure(version: options.version, status: errors.status)
            : request.echo(version: options.version)
        let isSlow =
            delay.add > .zero && draws(delay.share) && request.target.hasPrefix(delay.path)
        guard isSlow else { return connection.send(response, closes: !request.keepsAlive) }
        pending.append(
            Pending(
                due: SystemClock.now() + delay.add, descriptor: descriptor,
                generation: connection.generation, response: response,
                closes: !request.keepsAlive))
    }

    /// Whether this request is one of a share.
    private mutating func draws(_ share: Double) -> Bool {
        if share <= 0 { return false }
        return share >= 1 || Double(random.next() >> 11) / 0x1p53 < share
    }

    private mutating func answerDue() {
        guard !pending.isEmpty else { return }
        let now = SystemClock.now()
        let due = pending.filter { $0.due <= now }
        pending.removeAll { $0.due <= now }
        for answer in due {
            guard let connection = connections[answer.descriptor],
                connection.generation == answer.generation
            else { continue }
            connection.send(answer.response, closes: answer.closes)
            if !connection.flush(answer.descriptor) { close(answer.descriptor) }
        }
    }

    private mutating func close(_ descriptor: Int32) {
        connections[descriptor] = nil
        Socket.close(descriptor)
    }
}
