import Base
import Platform
import Proxy
import Telemetry

extension WorkerLoop {
    /// Gives up a connection whose socket broke while effects were performed.
    @inline(__always)
    mutating func settle() -> Bool {
        // `giveUp` is not entered twice: the other broken connections wait in `broken`.
        guard !broken.isEmpty, !isGivingUp, let id = broken.popLast() else { return false }
        giveUp(id)
        return true
    }

    @inline(__always)
    mutating func perform(_ effect: Effect) {
        switch effect {
        case .send(let id, let source, let range): send(id, source, range)
        case .connect(let slot, let address): connect(slot, address)
        case .resume(let id): ready.append(id)
        case .shutdownWrite(let id):
            // With bytes waiting, the data plane says so again when they are out.
            guard plane.outboundCount(id) == 0, let socket = sockets.entry(id) else { return }
            if socket.secure.isNone {
                Socket.shutdownWrite(socket.descriptor)
            } else {
                endSecure(id, socket.descriptor, socket.secure)
            }
        case .checkDrained(let id):
            if plane.outboundCount(id) == 0, !hasUnsentCipher(id) { plane.handle(.drained(id)) }
        case .checkQuiet(let id):
            if let socket = sockets.entry(id), !Socket.hasInput(socket.descriptor) {
                plane.handle(.quiet(id))
            }
        case .close(let id, let reset): close(id, reset: reset)
        case .askForConnection(let cluster):
            for other in group.workers where other.index != worker.index {
                other.mailbox.put(.connectionWanted(cluster: cluster))
            }
        case .tellFreed(let workers, let cluster):
            for other in group.workers where workers & (1 << UInt64(other.index)) != 0 {
                other.mailbox.put(.connectionFreed(cluster: cluster))
            }
        case .wakeControl: group.tell(plane.takeNews())
        case .log(let range): log(range)
        }
    }

    @inline(__always)
    private mutating func send(_ id: ConnectionID, _ source: Effect.Source, _ range: ByteRange) {
        guard let socket = sockets.entry(id) else { return }
        if !socket.secure.isNone {
            return sendSecure(id, socket.descriptor, socket.secure, source, range)
        }
        if socket.hasUnsent, plane.outboundCount(id) > 0 { return keep(id, source, range) }
        switch Socket.send(socket.descriptor, plane.bytes(source, range)) {
        case .bytes(let count):
            if count < range.length {
                keep(id, source, ByteRange(range.lower + count, end: range.upper))
            }
        case .wouldBlock, .endOfStream: keep(id, source, range)
        case .failed(let code):
            sockets.noteFailure(id, code: code)
            broken.append(id)
        }
    }

    private mutating func keep(_ id: ConnectionID, _ source: Effect.Source, _ range: ByteRange) {
        plane.keepUnsent(id, source, range)
        sockets.setUnsent(id, true)
    }

    /// The socket is broken, or takes no more bytes.
    ///
    /// A client's is over. An endpoint's may still hold the answer: who answers early and closes
    /// with bytes unread resets the connection behind the answer's last byte, and what came before
    /// the reset can still be read (RFC 9112 §9.6). So what lies there is read to its end, as fast
    /// as its client takes it, and only that end is the connection's.
    @inline(never)
    mutating func giveUp(_ id: ConnectionID) {
        if let socket = sockets.entry(id), id.side == .upstream || isHandshaking(socket) {
            isGivingUp = true
            read(id, socket, untilEnd: true)
            isGivingUp = false
            // Reading was paused or cut off: the failure is told when the rest has been read.
            if plane.isReadPaused(id) || ready.contains(id) { return perform() }
        }
        drive(.failed(id))
    }

    /// Whether a TLS handshake is under way. Its alert, which says what was wrong, may lie unread
    /// before the end.
    private func isHandshaking(_ socket: SocketTable.Entry) -> Bool {
        secure.links.holds(socket.secure) && secure.links[socket.secure].isHandshaking
    }

    private func hasUnsentCipher(_ id: ConnectionID) -> Bool {
        guard let link = sockets.entry(id)?.secure, secure.links.holds(link) else { return false }
        return !secure.links[link].unsent.isEmpty
    }

    private mutating func connect(_ slot: UpstreamID, _ address: Address) {
        let id = ConnectionID(upstream: slot)
        do throws(SystemError) {
            let (descriptor, isConnected) = try Socket.connect(address)
            sockets.insert(id, descriptor, isConnecting: !isConnected)
            secure(
                id, cluster: plane.cluster(slot), address: address,
                onlyHTTP1: plane.onlyHTTP1(slot))
            try poller.addConnection(descriptor, token: id.token)
            if isConnected { connected(id) }
        } catch {
            plane.handle(
                Socket.isExhaustion(error.code)
                    ? .connectImpossible(slot)
                    : .connectFailed(slot, Failure(connect: error.code)))
        }
    }

    /// Goes on after a connect: tells the data plane, or begins the TLS handshake first.
    mutating func connected(_ id: ConnectionID) {
        guard let socket = sockets.entry(id) else { return }
        if plane.logNeeds.contains(.localAddresses) {
            plane.note(local: Socket.boundAddress(socket.descriptor), of: id)
        }
        if socket.secure.isNone {
            plane.handle(.connected(id.upstream, isHTTP2: false, isSecure: false))
            watch(id, socket.descriptor)
        } else {
            beginHandshake(id, socket.descriptor, socket.secure)
        }
    }

    /// Switches TCP keep-alive on for an endpoint's HTTP/2 connection: it may be silent for long,
    /// and PINGs may be sent seldom only (`Proxy/Keepalive`).
    func watch(_ id: ConnectionID, _ descriptor: Int32) {
        if plane.carriesStreams(id) { Socket.setKeepAlive(descriptor) }
    }

    private mutating func close(_ id: ConnectionID, reset: Bool) {
        guard let socket = sockets.remove(id) else { return }
        if secure.links.holds(socket.secure) {
            closeSecure(id, socket.descriptor, socket.secure, reset: reset)
        }
        if reset { Socket.setResetOnClose(socket.descriptor) }
        Socket.close(socket.descriptor)
        if id.side == .downstream { group.loads.giveBack(worker.index) }
    }

    private mutating func log(_ range: ByteRange) {
        switch worker.logRing.append(plane.logLine(range)) {
        case .wakesReader:
            plane.count(.accessLogLines)
            group.logWriter.wake()
        case .appended: plane.count(.accessLogLines)
        case .refused: plane.count(.accessLogDropped)
        }
    }
}

extension Failure {
    /// The failure that an error of a connect is.
    init(connect code: Int32) {
        switch Socket.connectError(code) {
        case .refused: self.init(.refused)
        case .noSocket: self.init(.noSocket)
        case .unreachable: self.init(.unreachable)
        case .forbidden: self.init(.forbidden)
        case .timedOut: self.init(.connectTimeout)
        case .other: self.init(.connectBroken)
        }
    }
}
