import Base
import Platform
import Proxy
import TLS
import Telemetry

/// The name of a socket's TLS among its worker's.
typealias SecureLinkID = SlotID<SecureLink>

/// TLS between one socket and the data plane.
struct SecureLink: ~Copyable {
    var tls = TLSConnection()
    /// Encrypted bytes that the socket did not take.
    var unsent = ByteBuffer()
    var isHandshaking = true
    var hasFailed = false
    /// Our side is to be ended once `unsent` is out.
    var ends = false
    /// The key under which an endpoint's TLS ticket is kept.
    var key = ResumptionKey(cluster: -1, address: .ipv4(0, 0, 0, 0, port: 0))

    init() {}

    mutating func reset() {
        tls.close()
        unsent.release()
        isHandshaking = true
        hasFailed = false
        ends = false
    }
}

struct ResumptionKey: Hashable {
    var cluster: Int
    var address: Address
}

/// The state that a worker needs for TLS, beside its sockets. Confined to it; no memory before the
/// first connection.
struct SecureLinks: ~Copyable {
    /// Ciphertext of one read: with a record that was begun before, its plaintext fits one read of
    /// the data plane.
    static let readBytesMax = DataPlane.readBytesMax - 16_384
    /// TLS tickets of endpoints, kept so that the next connection resumes.
    static let resumptionsMax = 4_096

    var directory = TLSDirectory.none
    var links = Slab<SecureLink>(countMax: 1 << 24) { SecureLink() }
    /// The bytes that were read of a socket.
    var cipher = ByteBuffer()
    /// The bytes that the TLS connection has to say.
    var output = TLSOutput()
    var resumptions: [ResumptionKey: TLSResumption] = [:]
    /// When the last failed handshake was logged: one a second is enough.
    var loggedAt = Instant(nanoseconds: 0)
}

extension WorkerLoop {
    // MARK: Begin

    /// A client's connection to a listener with TLS. Nothing when the listener has none.
    mutating func secure(_ id: ConnectionID, listener: Int) {
        guard let context = secure.directory.server(listener), let link = secure.links.take() else {
            return
        }
        secure.links[link].reset()
        guard secure.links[link].tls.openServer(context) else {
            secure.links.free(link)
            return plane.handle(.failed(id))
        }
        sockets.setSecure(id, link)
    }

    /// A connection to an endpoint of a cluster with TLS.
    ///
    /// - Parameter onlyHTTP1: HTTP/2 is not offered, whatever the cluster speaks else.
    mutating func secure(_ id: ConnectionID, cluster: Int, address: Address, onlyHTTP1: Bool) {
        guard let client = secure.directory.client(cluster), let link = secure.links.take() else {
            return
        }
        let key = ResumptionKey(cluster: cluster, address: address)
        secure.links[link].reset()
        secure.links[link].key = key
        let isOpen = secure.links[link].tls.openClient(
            client.context, name: client.name, resuming: secure.resumptions[key],
            onlyHTTP1: onlyHTTP1)
        guard isOpen else { return secure.links.free(link) }
        sockets.setSecure(id, link)
    }

    /// The socket to an endpoint is connected: the handshake begins.
    mutating func beginHandshake(_ id: ConnectionID, _ descriptor: Int32, _ link: SecureLinkID) {
        let empty = ByteBuffer()
        let step = secure.links[link].tls.handshake(empty.readable, to: &secure.output)
        sendCipher(id, descriptor, link)
        if step == .failed { handshakeFailed(id, link, cause: nil) }
    }

    // MARK: Reading

    /// Reads and decrypts until the socket is empty, the data plane has enough, or the turn's share
    /// is used.
    mutating func readSecure(
        _ id: ConnectionID, _ descriptor: Int32, _ link: SecureLinkID, untilEnd: Bool
    ) {
        for _ in 0..<WorkerLoop.readsPerTurnMax {
            guard secure.links.holds(link) else { return }
            if secure.links[link].hasFailed { return discard(id, descriptor) }
            if !secure.links[link].isHandshaking {
                guard plane.wantsRead(id) else { return tellHungUp(id) }
                if plane.mustShowKept(id), !takesOfKept(id) { return tellHungUp(id) }
            }
            secure.cipher.clear()
            let transfer = Socket.receive(
                descriptor, into: &secure.cipher, atMost: SecureLinks.readBytesMax)
            switch transfer {
            case .bytes(let count):
                guard take(id, descriptor, link) else { return }
                if count < SecureLinks.readBytesMax, !untilEnd { return }
            case .wouldBlock:
                if plane.hasKept(id) {
                    plane.handle(.received(id, 0))
                    perform()
                }
                // The peer said that it was the end (close_notify), and kept the socket open.
                if sockets.entry(id)?.hasHungUp == true, !isToBeSeenAgain(id) {
                    ended(id, link, isProper: true)
                }
                return
            case .endOfStream:
                sockets.setHungUp(id)
                return ended(id, link, isProper: id.side == .downstream)
            case .failed:
                if secure.links[link].isHandshaking {
                    return handshakeFailed(id, link, cause: .closed)
                }
                plane.handle(.failed(id))
                return perform()
            }
        }
        ready.append(id)
    }

    /// The handshake failed and the alert is out: what still comes is dropped until the peer ends.
    private mutating func discard(_ id: ConnectionID, _ descriptor: Int32) {
        for _ in 0..<WorkerLoop.readsPerTurnMax {
            secure.cipher.clear()
            switch Socket.receive(
                descriptor, into: &secure.cipher, atMost: SecureLinks.readBytesMax)
            {
            case .bytes: continue
            case .wouldBlock: return
            case .endOfStream, .failed:
                plane.handle(.ended(id))
                return perform()
            }
        }
        ready.append(id)
    }

    /// Takes the ciphertext that was just read.
    /// - Returns: whether more may be read.
    private mutating func take(
        _ id: ConnectionID, _ descriptor: Int32, _ link: SecureLinkID
    ) -> Bool {
        var isFed = false
        if secure.links[link].isHandshaking {
            let step = secure.links[link].tls.handshake(
                secure.cipher.readable, to: &secure.output)
            sendCipher(id, descriptor, link)
            switch step {
            case .wantsMore: return true
            case .failed:
                handshakeFailed(id, link, cause: nil)
                return false
            case .done:
                isFed = true
                handshakeDone(id, link)
                guard secure.links.holds(link) else { return false }
            }
        }
        return decrypt(id, descriptor, link, isFed: isFed)
    }

    private mutating func decrypt(
        _ id: ConnectionID, _ descriptor: Int32, _ link: SecureLinkID, isFed: Bool
    ) -> Bool {
        var reading = TLSConnection.Reading.wantsMore
        var count = 0
        let none = ByteBuffer()
        // The scratch takes all of it, whether the data plane wants more or not.
        plane.lendScratch(to: &lent)
        var bytes = isFed ? none.readable : secure.cipher.readable
        repeat {
            reading = secure.links[link].tls.read(
                bytes, to: &lent, atMost: DataPlane.readBytesMax - count, answers: &secure.output)
            bytes = none.readable
            if case .bytes(let more) = reading { count += more }
        } while reading.isMore && count < DataPlane.readBytesMax
        plane.takeBack(&lent)
        sendCipher(id, descriptor, link)
        if id.side == .upstream, let ticket = secure.links[link].tls.takeResumption() {
            if secure.resumptions.count >= SecureLinks.resumptionsMax {
                secure.resumptions.removeAll()
            }
            secure.resumptions[secure.links[link].key] = ticket
        }
        if count > 0 {
            plane.handle(.received(id, count))
            perform()
        }
        guard secure.links.holds(link) else { return false }
        switch reading {
        case .wantsMore, .bytes: return true
        case .ended:
            sockets.setHungUp(id)
            ended(id, link, isProper: true)
            return false
        case .failed:
            plane.handle(.failed(id))
            perform()
            return false
        }
    }

    /// The peer sent its last byte. An endpoint that does not say so may have been cut off, and
    /// what it sent may not be all (RFC 8446 §6.1).
    private mutating func ended(_ id: ConnectionID, _ link: SecureLinkID, isProper: Bool) {
        if secure.links[link].isHandshaking { return handshakeFailed(id, link, cause: .closed) }
        if plane.hasKept(id) {
            plane.handle(.received(id, 0))
            perform()
            guard plane.wantsRead(id) else { return tellHungUp(id) }
            if isToBeSeenAgain(id) { return }
        }
        plane.handle(isProper ? .ended(id) : .failed(id))
        perform()
    }

    // MARK: Handshakes

    private mutating func handshakeDone(_ id: ConnectionID, _ link: SecureLinkID) {
        secure.links[link].isHandshaking = false
        let version = secure.links[link].tls.version
        let isHTTP2 = secure.links[link].tls.isHTTP2
        plane.countHandshake(
            version: version, isDownstream: id.side == .downstream,
            wasResumed: secure.links[link].tls.wasResumed)
        if id.side == .upstream {
            plane.handle(.connected(id.upstream, isHTTP2: isHTTP2, isSecure: true))
            if let socket = sockets.entry(id) { watch(id, socket.descriptor) }
        } else {
            var identity = ByteBuffer()
            secure.links[link].tls.appendIdentity(to: &identity)
            if plane.logNeeds.contains(.serverName) {
                var name = ByteBuffer()
                secure.links[link].tls.appendServerName(to: &name)
                plane.note(serverName: name.readable, of: id)
            }
            plane.secured(id, version: version, isHTTP2: isHTTP2, identity: identity.readable)
        }
        perform()
    }

    private mutating func handshakeFailed(
        _ id: ConnectionID, _ link: SecureLinkID, cause: HandshakeFailure?
    ) {
        let failure =
            cause ?? HandshakeFailure(rawValue: secure.links[link].tls.failureCause) ?? .other
        secure.links[link].hasFailed = true
        plane.countHandshakeFailure(failure, isDownstream: id.side == .downstream)
        logFailure(id, link, failure, hasText: cause == nil)
        if id.side == .upstream {
            plane.handle(.connectFailed(id.upstream, .handshake(failure)))
        } else {
            plane.endUnsecured(id)
        }
        perform()
    }

    private mutating func logFailure(
        _ id: ConnectionID, _ link: SecureLinkID, _ failure: HandshakeFailure, hasText: Bool
    ) {
        let now = SystemClock.now()
        guard now - secure.loggedAt >= .seconds(1) else { return }
        secure.loggedAt = now
        var fields = [
            ("side", id.side == .downstream ? "downstream" : "upstream"),
            ("cause", "\(failure.label)"),
        ]
        if hasText { fields.append(("openssl", secure.links[link].tls.failureText)) }
        if id.side == .upstream {
            fields.append(("endpoint", UnixPaths.text(secure.links[link].key.address)))
        }
        group.log.warning("a TLS handshake failed", fields)
    }

    // MARK: Writing

    /// Encrypts bytes of a send effect and writes them. Kept out of the plain path.
    @inline(never)
    mutating func sendSecure(
        _ id: ConnectionID, _ descriptor: Int32, _ link: SecureLinkID, _ source: Effect.Source,
        _ range: ByteRange
    ) {
        if plane.outboundCount(id) > 0 || !secure.links[link].unsent.isEmpty {
            plane.keepUnsent(id, source, range)
            return sockets.setUnsent(id, true)
        }
        guard
            secure.links[link].tls.write(plane.bytes(source, range), to: &secure.output)
        else {
            secure.output.clear()
            return broken.append(id)
        }
        sendCipher(id, descriptor, link)
    }

    /// Writes what the TLS connection has to say; what the socket does not take waits.
    private mutating func sendCipher(_ id: ConnectionID, _ descriptor: Int32, _ link: SecureLinkID)
    {
        guard !secure.output.isEmpty else { return }
        defer { secure.output.clear() }
        if secure.links[link].unsent.isEmpty {
            switch Socket.send(descriptor, secure.output.bytes) {
            case .bytes(let count): secure.output.consume(count)
            case .wouldBlock, .endOfStream: break
            case .failed(let code):
                sockets.noteFailure(id, code: code)
                return broken.append(id)
            }
        }
        if secure.output.isEmpty { return }
        secure.links[link].unsent.append(secure.output.bytes)
        sockets.setUnsent(id, true)
    }

    /// The socket takes bytes again.
    mutating func flushSecure(_ id: ConnectionID, _ descriptor: Int32, _ link: SecureLinkID) {
        while true {
            guard flushCipher(id, descriptor, link) else { return }
            if plane.outboundCount(id) == 0 { break }
            var isBroken = false
            plane.flush(id) { bytes in
                let count = min(bytes.count, 65_536)
                isBroken = !secure.links[link].tls.write(
                    bytes.extracting(0..<count), to: &secure.output)
                return count
            }
            if isBroken {
                secure.output.clear()
                return giveUp(id)
            }
            sendCipher(id, descriptor, link)
        }
        sockets.setUnsent(id, false)
        if secure.links[link].ends { endSecure(id, descriptor, link) }
        plane.handle(.drained(id))
        perform()
    }

    /// - Returns: `false` when encrypted bytes still wait, or the socket broke.
    private mutating func flushCipher(
        _ id: ConnectionID, _ descriptor: Int32, _ link: SecureLinkID
    ) -> Bool {
        while !secure.links[link].unsent.isEmpty {
            switch Socket.send(descriptor, secure.links[link].unsent.readable) {
            case .bytes(let count): secure.links[link].unsent.consume(count)
            case .wouldBlock, .endOfStream: return false
            case .failed(let code):
                sockets.noteFailure(id, code: code)
                giveUp(id)
                return false
            }
        }
        secure.links[link].unsent.release()
        return true
    }

    /// Says that no more bytes will come, behind those that wait.
    mutating func endSecure(_ id: ConnectionID, _ descriptor: Int32, _ link: SecureLinkID) {
        guard secure.links[link].unsent.isEmpty else { return secure.links[link].ends = true }
        secure.links[link].ends = false
        secure.links[link].tls.end(to: &secure.output)
        sendCipher(id, descriptor, link)
        Socket.shutdownWrite(descriptor)
    }

    /// Forgets the link of a socket that is being closed.
    mutating func closeSecure(
        _ id: ConnectionID, _ descriptor: Int32, _ link: SecureLinkID, reset: Bool
    ) {
        if secure.links[link].isHandshaking, !secure.links[link].hasFailed,
            id.side == .downstream
        {
            plane.countHandshakeFailure(.timeout, isDownstream: true)
        }
        if !reset, !secure.links[link].isHandshaking, secure.links[link].unsent.isEmpty {
            secure.links[link].tls.end(to: &secure.output)
            if !secure.output.isEmpty { _ = Socket.send(descriptor, secure.output.bytes) }
            secure.output.clear()
        }
        secure.links[link].reset()
        secure.links.free(link)
    }
}

extension TLSConnection.Reading {
    /// There may be more in what was given.
    fileprivate var isMore: Bool {
        if case .bytes = self { return true }
        return false
    }
}
