import Base
import Configuration
import Platform
import Proxy
import Synchronization
import Telemetry

/// The loop of one worker thread: wait, think, act.
///
/// A turn is that of every `Driver`, behind the wait for events. Everything is bounded.
struct WorkerLoop: ~Copyable, Driver {
    static let acceptsPerTurnMax = 64
    static let readsPerTurnMax = 16
    /// How long accepting pauses when descriptors have run out.
    static let exhaustionPause = Duration.milliseconds(20)
    /// How long it pauses when there are as many connections as there may be.
    static let crowdedPause = Duration.milliseconds(5)

    let worker: Worker
    let group: WorkerGroup
    var poller: Poller
    var plane: DataPlane
    var sockets = SocketTable()
    var secure = SecureLinks()
    var listeners: [(descriptor: Int32, listener: Int)] = []
    /// In exchange for the scratch while that is lent.
    var lent = ByteBuffer()
    /// Connections to be read without a new edge.
    var ready: [ConnectionID] = []
    private var served: [ConnectionID] = []
    /// Connections whose socket failed while effects were performed.
    var broken: [ConnectionID] = []
    /// Whether the bytes that lie unread in a broken socket are being read (`giveUp`).
    var isGivingUp = false
    private var acceptsAgainAt = Instant.never
    private var hasMail = false
    private var isStopping = false

    /// Control tokens are even; a connection's token ends in an odd generation.
    private static let mailToken: UInt64 = 0

    init(index: Int, group: WorkerGroup, setup: DataPlane.Setup) throws(SystemError) {
        let epoll = try Poller()
        let shard = CounterShard()
        let worker = try Worker(index: index, shard: shard)
        try epoll.addInput(worker.mailbox.descriptor, token: WorkerLoop.mailToken)
        poller = epoll
        self.worker = worker
        self.group = group
        plane = DataPlane(
            setup, shard: shard, now: SystemClock.now(), wall: SystemClock.wall())
        worker.generation.store(plane.generation, ordering: .releasing)
        secure.directory = group.directory
    }

    /// The thread's whole life.
    mutating func run() {
        while !isStopping {
            do throws(SystemError) {
                try turn()
            } catch {
                preconditionFailure("a poller that was made can be waited for: \(error.message)")
            }
        }
        closeEverything()
        worker.hasStopped.store(true, ordering: .releasing)
        group.controlWanted.wake()
    }

    private mutating func turn() throws(SystemError) {
        let count = try poller.wait(milliseconds: timeout())
        let now = SystemClock.now()
        beginTurn(now: now, wall: SystemClock.wall())
        let bytes = BufferMemory.bytes
        plane.setPressure(
            isCrowded: group.admission.isCrowded(now: now),
            isFull: group.admission.isFull(bytes: bytes))
        if group.cell.newestGeneration != plane.generation {
            secure.directory = group.directory
            let needed = plane.logNeeds
            plane.adopt(group.cell.retained())
            if !needed.contains(.localAddresses), plane.logNeeds.contains(.localAddresses) {
                noteLocalAddresses()
            }
            renameListeners()
            worker.generation.store(plane.generation, ordering: .releasing)
            group.controlWanted.wake()
        }
        for i in 0..<count {
            let event = poller.ready(i)
            if event.token & 1 == 1 {
                handle(event)
            } else if event.token == WorkerLoop.mailToken {
                hasMail = true
            } else {
                accept(event.token)
            }
        }
        if acceptsAgainAt <= now { resumeAccepting() }
        finishTurn()
    }

    /// The access log's format shows addresses from now on: those of connections that are open are
    /// looked up.
    private mutating func noteLocalAddresses() {
        for side in [Side.downstream, .upstream] {
            for index in 0..<sockets.count(side) {
                guard let (id, descriptor) = sockets.connection(side, at: index) else { continue }
                plane.note(local: Socket.boundAddress(descriptor), of: id)
            }
        }
    }

    private func timeout() -> Int32 {
        if !ready.isEmpty { return 0 }
        let next = min(plane.nextDeadline, acceptsAgainAt)
        if next.isNever { return -1 }
        return Int32(clamping: (next - SystemClock.now()).millisecondsUp)
    }

    // MARK: Connections

    private mutating func handle(_ event: Poller.Ready) {
        let id = ConnectionID(token: event.token)
        guard let socket = sockets.entry(id) else { return }
        let descriptor = socket.descriptor
        if socket.isConnecting {
            let code = Socket.takeError(descriptor)
            if code != 0 {
                return drive(.connectFailed(id.upstream, Failure(connect: code)))
            }
            guard event.isWritable else { return }
            sockets.hasConnected(id)
            connected(id)
            perform()
        }
        if event.hasError { return giveUp(id) }
        if event.isHungUp { sockets.setHungUp(id) }
        if event.isWritable, socket.hasUnsent { flush(id, descriptor) }
        if event.isReadable || event.isHungUp { read(id, socket, untilEnd: event.isHungUp) }
    }

    /// Reads until the socket is empty, the data plane has enough, or the turn's share is used.
    mutating func read(
        _ id: ConnectionID, _ socket: SocketTable.Entry, untilEnd: Bool
    ) {
        let descriptor = socket.descriptor
        if !socket.secure.isNone {
            return readSecure(id, descriptor, socket.secure, untilEnd: untilEnd)
        }
        for _ in 0..<WorkerLoop.readsPerTurnMax {
            // A connection that the data plane still holds still has its descriptor.
            guard plane.lendScratch(id, to: &lent) else {
                if takesOfKept(id) { continue }
                return tellHungUp(id)
            }
            let transfer = Socket.receive(
                descriptor, into: &lent, atMost: DataPlane.readBytesMax)
            plane.takeBack(&lent)
            switch transfer {
            case .bytes(let count):
                drive(.received(id, count))
                // A short read has emptied the socket; what comes later makes a new edge.
                if count < DataPlane.readBytesMax, !untilEnd { return }
            case .wouldBlock:
                if plane.hasKept(id) {
                    drive(.received(id, 0))
                }
                return
            case .endOfStream: return endOfStream(id)
            case .failed:
                return drive(.failed(id))
            }
        }
        ready.append(id)
    }

    private mutating func endOfStream(_ id: ConnectionID) {
        sockets.setHungUp(id)
        if plane.hasKept(id) {
            drive(.received(id, 0))
            // Kept bytes that are still not wanted: the end is seen after them.
            guard plane.wantsRead(id) else { return tellHungUp(id) }
            if isToBeSeenAgain(id) { return }
        }
        // The send that failed has taken the reset out of the socket.
        drive(sockets.entry(id)?.wasReset == true ? .failed(id) : .ended(id))
    }

    /// Whether the data plane keeps bytes that it wants to see once more in this turn or the next:
    /// the end behind them is told then.
    func isToBeSeenAgain(_ id: ConnectionID) -> Bool { plane.hasKept(id) && ready.contains(id) }

    /// Nothing more is read of the connection now: when its peer has sent its last byte, the data
    /// plane is told already.
    @inline(never)
    mutating func tellHungUp(_ id: ConnectionID) {
        guard id.side == .downstream, sockets.entry(id)?.hasHungUp == true else { return }
        drive(.hungUp(id))
    }

    /// Nothing was lent: perhaps because the data plane keeps so much that it must take of that
    /// first.
    /// - Returns: whether it did, and wants more now.
    @inline(never)
    mutating func takesOfKept(_ id: ConnectionID) -> Bool {
        guard plane.mustShowKept(id) else { return false }
        plane.lendScratch(to: &lent)
        plane.takeBack(&lent)
        drive(.received(id, 0))
        return plane.wantsRead(id) && !plane.mustShowKept(id)
    }

    private mutating func flush(_ id: ConnectionID, _ descriptor: Int32) {
        if let link = sockets.entry(id)?.secure, !link.isNone {
            return flushSecure(id, descriptor, link)
        }
        var failure: Int32 = 0
        guard plane.outboundCount(id) > 0 else { return sockets.setUnsent(id, false) }
        while plane.outboundCount(id) > 0 {
            var isBlocked = false
            plane.flush(id) { bytes in
                switch Socket.send(descriptor, bytes) {
                case .bytes(let count): return count
                case .wouldBlock, .endOfStream: isBlocked = true
                case .failed(let code): failure = code
                }
                return 0
            }
            if isBlocked { return }
            if failure != 0 {
                sockets.noteFailure(id, code: failure)
                return giveUp(id)
            }
        }
        sockets.setUnsent(id, false)
        drive(.drained(id))
    }

    mutating func serveReady() {
        if ready.isEmpty { return }
        swap(&ready, &served)
        for id in served {
            if let socket = sockets.entry(id) { read(id, socket, untilEnd: true) }
        }
        served.removeAll(keepingCapacity: true)
    }

    // MARK: Accepting

    static func token(listenerDescriptor: Int32) -> UInt64 { UInt64(listenerDescriptor) << 32 }

    private mutating func accept(_ token: UInt64) {
        let descriptor = Int32(truncatingIfNeeded: token >> 32)
        guard let listener = listeners.first(where: { $0.descriptor == descriptor }) else { return }
        for _ in 0..<WorkerLoop.acceptsPerTurnMax {
            guard admits(), acceptOne(listener) else { return }
        }
    }

    /// Whether another client may be let in; if not, accepting pauses.
    private mutating func admits() -> Bool {
        let now = SystemClock.now()
        guard group.loads.total < group.admission.connectionsMax else {
            pauseAccepting(WorkerLoop.crowdedPause, .pausedByConnections)
            makeRoom(now)
            return false
        }
        if let wait = group.admission.takeRate(now: now) {
            pauseAccepting(wait, .pausedByRate)
            return false
        }
        return true
    }

    /// Somebody waits for a place: connections that nobody uses go, the others after their answer.
    private mutating func makeRoom(_ now: Instant) {
        group.admission.crowd(now: now)
        plane.evictIdle()
        perform()
    }

    /// - Returns: `false` when nothing waits, or nothing can be taken now.
    private mutating func acceptOne(_ listener: (descriptor: Int32, listener: Int)) -> Bool {
        switch Socket.accept(listener.descriptor) {
        case .success(let (connection, peer)):
            let target = group.loads.take(preferring: worker.index)
            if target == worker.index {
                take(connection, listener: listener.listener, peer: peer)
            } else {
                group.workers[target].mailbox.put(
                    .connection(
                        descriptor: connection, socket: listener.descriptor,
                        listener: listener.listener, peer: peer))
            }
            return true
        case .failure(let error):
            group.admission.giveBackRate()
            if Socket.isExhaustion(error.code) {
                pauseAccepting(WorkerLoop.exhaustionPause, .pausedByDescriptors)
                makeRoom(SystemClock.now())
            }
            // Anything else concerns one connection that is gone already.
            return !Socket.isWouldBlock(error.code) && !Socket.isExhaustion(error.code)
        }
    }

    /// A connection of this worker's own; it is counted in the loads.
    private mutating func take(_ descriptor: Int32, listener: Int, peer: Address) {
        let isSecure = secure.directory.server(listener) != nil
        guard let id = plane.accept(listener: listener, peer: peer, isSecuring: isSecure) else {
            Socket.close(descriptor)
            group.loads.giveBack(worker.index)
            return
        }
        if peer.family != .unix { Socket.setNoDelay(descriptor) }
        sockets.insert(id, descriptor, isConnecting: false)
        if plane.logNeeds.contains(.localAddresses) {
            plane.note(local: Socket.boundAddress(descriptor), of: id)
        }
        secure(id, listener: listener)
        do throws(SystemError) {
            try poller.addConnection(descriptor, token: id.token)
        } catch {
            plane.handle(.failed(id))
        }
        perform()
    }

    private mutating func pauseAccepting(_ time: Duration, _ cause: WorkerMetric) {
        guard acceptsAgainAt.isNever else { return }
        plane.count(cause)
        for listener in listeners { poller.remove(listener.descriptor) }
        acceptsAgainAt = SystemClock.now() + time
    }

    private mutating func resumeAccepting() {
        acceptsAgainAt = .never
        for listener in listeners { register(listener) }
    }

    private mutating func register(_ listener: (descriptor: Int32, listener: Int)) {
        let token = WorkerLoop.token(listenerDescriptor: listener.descriptor)
        if (try? poller.addListener(listener.descriptor, token: token)) == nil {
            pauseAccepting(WorkerLoop.exhaustionPause, .pausedByDescriptors)
        }
    }

    // MARK: Mail

    mutating func takeMail() {
        guard hasMail else { return }
        hasMail = false
        for mail in worker.mailbox.takeAll() {
            switch mail {
            case .connection(let descriptor, let socket, let listener, let peer):
                let known = listeners.first { $0.descriptor == socket }?.listener
                take(descriptor, listener: known ?? listener, peer: peer)
            case .connectionWanted(let cluster): plane.handle(.connectionWanted(cluster: cluster))
            case .connectionFreed(let cluster): plane.handle(.connectionFreed(cluster: cluster))
            case .addListener(let descriptor, let listener):
                let number = secure.directory.listeners[descriptor] ?? listener
                listeners.append((descriptor, number))
                register((descriptor, number))
            case .removeListener(let descriptor): removeListener(descriptor)
            case .drain: plane.drain()
            case .stop: isStopping = true
            }
            perform()
        }
    }

    /// Sockets whose listener has another name now: their connections belong to it too. All at
    /// once, because two names may change places.
    private mutating func renameListeners() {
        var renamed: [Int: Int] = [:]
        for i in listeners.indices {
            let held = listeners[i].listener
            guard let number = secure.directory.listeners[listeners[i].descriptor], number != held
            else { continue }
            listeners[i].listener = number
            renamed[held] = number
        }
        if !renamed.isEmpty { plane.rename(listeners: renamed) }
    }

    /// Connections that have reached the queue are accepted before the socket is let go: closing it
    /// would reset them.
    private mutating func removeListener(_ descriptor: Int32) {
        if let i = listeners.firstIndex(where: { $0.descriptor == descriptor }) {
            let listener = listeners.remove(at: i)
            poller.remove(descriptor)
            while acceptOne(listener) {}
            plane.leave(listener: listener.listener)
        }
        worker.listenersRemoved.add(1, ordering: .releasing)
        group.controlWanted.wake()
    }

    private mutating func closeEverything() {
        plane.beginTurn(now: SystemClock.now(), wall: SystemClock.wall())
        for mail in worker.mailbox.takeAll() {
            if case .connection(let descriptor, _, _, _) = mail { Socket.close(descriptor) }
        }
        plane.closeAll()
        perform()
    }
}
