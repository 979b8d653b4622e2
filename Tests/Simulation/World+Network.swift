import Base
import HTTP1
import Proxy
import Telemetry

// The network of a world: links that cut and delay, and the effects that reach them.

extension World {
    // MARK: Clients

    /// Connects a client; `nil` when it is shed.
    func connect(_ client: ClientEnd) -> ConnectionID? {
        var id: ConnectionID?
        nature.turn {
            act { plane in
                id = plane.accept(listener: listener, peer: .ipv4(10, 1, 1, 1, port: 1_000))
                if let id { links[id] = makeLink(.client(client)) }
            }
        }
        return id
    }

    private func makeLink(_ peer: Link.Peer) -> Link {
        var link = Link(peer: peer)
        if random.below(100) < faults.clogPercent {
            link.clogAfter = Int(random.below(2_000))
            link.clogFor = .microseconds(Int64(random.below(UInt64(faults.clogMax.microseconds))))
        }
        if random.below(100) < faults.silencePercent {
            link.silentAfter = Int(random.below(3_000))
        }
        if case .client = peer, random.below(100) < faults.slowReaderPercent {
            link.takesPerSecond = [1, 50, 5_000][Int(random.below(3))]
        }
        return link
    }

    /// Counts bytes that pass a link, either way.
    /// - Returns: when they come; `nil`: never.
    private func passage(_ id: ConnectionID, _ count: Int, after earliest: Instant) -> Instant? {
        guard var link = links[id] else { return nil }
        link.bytes += count
        if link.bytes > link.clogAfter {
            link.clogAfter = .max
            link.cloggedUntil = now + link.clogFor
        }
        links[id] = link
        if link.bytes > link.silentAfter { return nil }
        return max(earliest, now + latency(), link.cloggedUntil)
    }

    /// Bytes from a client or an origin towards the data plane.
    func deliver(_ bytes: [UInt8], to id: ConnectionID) {
        arrive(id, bytes.count) { [self] in
            links[id]?.inbound += bytes
            read(id)
        }
    }

    /// The peer's last byte was sent.
    func end(_ id: ConnectionID) {
        arrive(id, 0) { [self] in
            links[id]?.hasEnded = true
            read(id)
        }
    }

    /// In order, as all that goes over a link.
    private func arrive(_ id: ConnectionID, _ count: Int, _ step: @escaping () -> Void) {
        guard let link = links[id], let at = passage(id, count, after: link.lastArrival)
        else { return }
        links[id]?.lastArrival = at
        nature.schedule(at: at, step)
    }

    /// The peer breaks the connection.
    func reset(_ id: ConnectionID) {
        guard links[id] != nil else { return }
        if id.side == .upstream {
            // What an endpoint sent before it can still be read (`WorkerLoop.giveUp`).
            return arrive(id, 0) { [self] in
                links[id]?.hasEnded = true
                links[id]?.wasReset = true
                read(id)
            }
        }
        after(latency()) { [self] in
            guard links[id] != nil else { return }
            links[id]?.isBroken = true
            drive(.failed(id))
        }
    }

    // MARK: The driver

    func read(_ id: ConnectionID) {
        readWanted(id)
        guard let link = links[id], id.side == .downstream, link.hasEnded, !link.endSeen,
            !link.isBroken
        else { return }
        drive(.hungUp(id))
    }

    private func readWanted(_ id: ConnectionID) {
        while let link = links[id], plane.value.wantsRead(id), !link.isBroken {
            if plane.value.mustShowKept(id) {
                drive(.received(id, 0))
                if plane.value.mustShowKept(id) { return }
                continue
            }
            if link.inbound.isEmpty {
                if plane.value.hasKept(id), link.showKept {
                    links[id]?.showKept = false
                    drive(.received(id, 0))
                    continue
                }
                // What is kept and to be seen again comes first (`WorkerLoop.isToBeSeenAgain`).
                guard link.hasEnded, !link.endSeen, !(plane.value.hasKept(id) && ready.contains(id))
                else { return }
                links[id]?.endSeen = true
                return drive(link.wasReset ? .failed(id) : .ended(id))
            }
            let room = min(faults.readBytesMax, DataPlane.readBytesMax)
            let count = min(link.inbound.count, Int(random.below(UInt64(room))) + 1)
            let piece = Array(link.inbound[..<count])
            links[id]?.inbound.removeFirst(count)
            guard plane.value.lendScratch(id, to: &lent) else { return }
            lent.append(piece.span)
            plane.value.takeBack(&lent)
            drive(.received(id, count))
        }
    }

    func perform(_ effect: Effect) {
        switch effect {
        case .connect(let slot, let address): connect(slot, address)
        case .send(let id, let source, let range): send(id, source, range)
        case .resume(let id): ready.append(id)
        case .shutdownWrite(let id):
            if plane.value.outboundCount(id) == 0 { peerEnded(id) }
        case .checkDrained(let id):
            if plane.value.outboundCount(id) == 0 { plane.value.handle(.drained(id)) }
        case .checkQuiet(let id):
            if links[id]?.inbound.isEmpty == true { plane.value.handle(.quiet(id)) }
        case .close(let id, let reset):
            guard let link = links.removeValue(forKey: id) else { return }
            let isReset = reset
            nature.schedule(at: max(link.lastDelivery, now + latency())) {
                switch link.peer {
                case .client(let client): client.closed(wasReset: isReset)
                case .origin(let connection): connection.closed()
                case .none: break
                }
            }
        case .askForConnection(let cluster): mail(.connectionWanted(cluster: cluster))
        case .tellFreed(let workers, let cluster):
            mail(.connectionFreed(cluster: cluster)) { workers & (1 << UInt64($0)) != 0 }
        case .log(let range): logLines.append(ASCII.string(plane.value.logLine(range)))
        case .wakeControl: break
        }
    }

    private func connect(_ slot: UpstreamID, _ address: Address) {
        let id = ConnectionID(upstream: slot)
        let refuses = random.below(100) < faults.refusePercent
        let resets = random.below(100) < faults.resetPercent
        if faults.isBlackHole(address) { return }
        after(latency()) { [self] in
            guard plane.value.holds(id) else { return }
            guard let origin = origins[address], origin.isUp, !refuses else {
                return drive(.connectFailed(slot, Failure(.refused)))
            }
            origin.connectionCount += 1
            // An origin of HTTP/2 speaks first, and needs the link.
            links[id] = makeLink(.none)
            let isHTTP2 = origin.choosesHTTP2 && !plane.value.onlyHTTP1(slot)
            let peer = peer(of: origin, id, resets: resets, isHTTP2: isHTTP2)
            links[id]?.peer = .origin(peer)
            drive(.connected(slot, isHTTP2: isHTTP2, isSecure: isHTTP2))
        }
    }

    private func peer(
        of origin: SimulatedOrigin, _ id: ConnectionID, resets: Bool, isHTTP2: Bool
    ) -> OriginEnd {
        var limit = resets ? Int(random.below(300)) : nil
        if let resetAfter = faults.resetAfter { limit = resetAfter(origin.address) }
        if origin.speaksHTTP2 || isHTTP2 {
            let peer = HTTP2OriginPeer(origin, self, id)
            peer.resetsAfterBytes = limit
            return peer
        }
        let wire = Wire(
            deliver: { [self] in deliver($0, to: id) }, say: { [self] in deliver($0, to: id) },
            end: { [self] in end(id) },
            reset: { [self] in reset(id) }, breakDown: { [self] in reset(id) })
        let peer = OriginPeer(origin, self, wire)
        peer.resetsAfterBytes = limit
        return peer
    }

    private func send(_ id: ConnectionID, _ source: Effect.Source, _ range: ByteRange) {
        guard links[id] != nil else { return }
        if plane.value.outboundCount(id) > 0 {
            plane.value.keepUnsent(id, source, range)
            return noteUnsent(id)
        }
        let taken = min(range.length, writeRoom(id))
        pass(id, plane.value.bytes(source, ByteRange(start: range.lower, count: taken)))
        if taken < range.length {
            plane.value.keepUnsent(id, source, ByteRange(range.lower + taken, end: range.upper))
            noteUnsent(id)
            after(flushDelay(id)) { [self] in flush(id) }
        }
    }

    private func writeRoom(_ id: ConnectionID) -> Int {
        if id.side == .downstream, let link = links[id], link.bytes > faults.pausesAfter {
            let until = link.pausedUntil ?? now + faults.pause
            links[id]?.pausedUntil = until
            if now < until { return 0 }
        }
        if id.side == .downstream, let rate = links[id]?.takesPerSecond ?? faults.takesPerSecond {
            return rate
        }
        return Int(random.below(UInt64(faults.writeBytesMax))) + 1
    }

    private func flushDelay(_ id: ConnectionID) -> Duration {
        let takes = links[id]?.takesPerSecond ?? faults.takesPerSecond
        if let until = links[id]?.pausedUntil, now < until { return until - now }
        return id.side == .downstream && takes != nil ? .seconds(1) : latency()
    }

    private func flush(_ id: ConnectionID) {
        guard links[id] != nil, plane.value.outboundCount(id) > 0 else { return }
        let room = writeRoom(id)
        plane.value.flush(id) { bytes in
            let count = min(room, bytes.count)
            pass(id, bytes.extracting(0..<count))
            return count
        }
        if plane.value.outboundCount(id) > 0 {
            after(flushDelay(id)) { [self] in flush(id) }
        } else {
            drive(.drained(id))
        }
    }

    /// Bytes leave the data plane for the peer.
    private func pass(_ id: ConnectionID, _ bytes: Span<UInt8>) {
        var copy: [UInt8] = []
        for i in 0..<bytes.count { copy.append(bytes[i]) }
        guard let link = links[id] else { return }
        let sent = copy
        // In order: a link's deliveries never overtake each other.
        guard let at = passage(id, sent.count, after: link.lastDelivery) else { return }
        links[id]?.lastDelivery = at
        nature.schedule(at: at) {
            switch link.peer {
            case .client(let client): client.received(sent)
            case .origin(let connection): connection.received(sent)
            case .none: break
            }
        }
    }

    private func peerEnded(_ id: ConnectionID) {
        guard let link = links[id] else { return }
        let at = max(link.lastDelivery, now + latency())
        nature.schedule(at: at) { [self] in
            switch link.peer {
            case .client(let client): client.ended()
            case .origin, .none: end(id)
            }
        }
    }
}
