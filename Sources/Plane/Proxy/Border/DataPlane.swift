import Base
import Configuration
import HTTP1
import HTTPSemantics
import Telemetry
import Upstream

/// The pure machine of one worker: events in, effects out. No descriptor, no clock, no thread.
///
/// A driver hands over what happens and performs what follows from it; `Driver` says in what order.
/// Confined to one worker.
public struct DataPlane: ~Copyable {
    /// The parts that a worker starts with.
    public struct Setup {
        /// 0...63, unique in the process.
        public var worker: Int
        /// The data plane takes over this reference.
        public var snapshot: SharedBox<Snapshot>
        public var metrics: MetricRegistry
        public var seed: UInt64
        /// Client connections at one time.
        public var connectionsMax: Int

        public init(
            worker: Int, snapshot: SharedBox<Snapshot>, metrics: MetricRegistry, seed: UInt64,
            connectionsMax: Int
        ) {
            self.worker = worker
            self.snapshot = snapshot
            self.metrics = metrics
            self.seed = seed
            self.connectionsMax = connectionsMax
        }
    }

    private let addressOnly = AddressOnly()
    var tables: Tables
    var turn: Turn

    /// - Parameter shard: where this worker counts; any thread may read it.
    public init(_ setup: Setup, shard: CounterShard, now: Instant, wall: WallTime) {
        tables = Tables(connectionsMax: setup.connectionsMax)
        turn = Turn(setup, shard: shard, now: now, wall: wall)
        Pools.adopt(&tables, &turn)
        Rounds.adopt(&turn)
    }

    // MARK: Driving

    /// States the time of the turn that begins.
    public mutating func beginTurn(now: Instant, wall: WallTime) {
        turn.now = now
        turn.wall = wall
    }

    /// Takes in a client's connection. `nil` when there are too many: the driver closes it.
    ///
    /// - Parameter isSecuring: a TLS handshake comes first, and `secured` or `endUnsecured` after
    ///   it.
    public mutating func accept(
        listener: Int, peer: Address, isSecuring: Bool = false
    ) -> ConnectionID? {
        let id = DownstreamSide.accept(&tables, &turn, listener: listener, peer: peer)
        if let id { tables.downstream[id.downstream].isSecuring = isSecuring }
        return id
    }

    /// A client's TLS handshake is done.
    ///
    /// - Parameters:
    ///   - version: TLS 1.x's last digit.
    ///   - isHTTP2: it was agreed on (ALPN).
    ///   - identity: the client's certificate as an `x-forwarded-client-cert` element, or empty.
    public mutating func secured(
        _ id: ConnectionID, version: UInt8, isHTTP2: Bool, identity: Span<UInt8>
    ) {
        guard tables.downstream.holds(id.downstream) else { return }
        tables.downstream[id.downstream].isSecuring = false
        tables.downstream[id.downstream].tlsVersion = version
        tables.downstream[id.downstream].identity.append(identity)
        if isHTTP2 { HTTP2Links.begin(&tables, &turn, downstream: id.downstream) }
    }

    /// Facts that the access log's format shows, of which some only the driver can know.
    public var logNeeds: LogNeeds { turn.logNeeds }

    /// Tells this side's address of a connection, for the access log.
    public mutating func note(local: Address?, of id: ConnectionID) {
        guard holds(id) else { return }
        switch id.side {
        case .downstream: tables.downstream[id.downstream].local = local
        case .upstream: tables.upstream[id.upstream].local = local
        }
    }

    /// Tells the name that a client has asked for in TLS, for the access log.
    public mutating func note(serverName: Span<UInt8>, of id: ConnectionID) {
        guard tables.downstream.holds(id.downstream) else { return }
        tables.downstream[id.downstream].serverName.append(serverName)
    }

    /// A client's TLS handshake failed, and the alert is out.
    public mutating func endUnsecured(_ id: ConnectionID) {
        guard tables.downstream.holds(id.downstream) else { return }
        ClientConnections.finishAndClose(&tables, &turn, id.downstream)
    }

    public mutating func handle(_ event: Event) {
        switch event {
        case .received(let id, let count):
            switch id.side {
            case .downstream: DownstreamSide.received(&tables, &turn, id.downstream, count)
            case .upstream: UpstreamSide.received(&tables, &turn, id.upstream, count)
            }
        case .ended(let id):
            switch id.side {
            case .downstream: DownstreamSide.ended(&tables, &turn, id.downstream)
            case .upstream: UpstreamSide.ended(&tables, &turn, id.upstream)
            }
        case .failed(let id):
            switch id.side {
            case .downstream: DownstreamSide.failed(&tables, &turn, id.downstream)
            case .upstream: UpstreamSide.failed(&tables, &turn, id.upstream)
            }
        case .drained(let id):
            switch id.side {
            case .downstream: DownstreamSide.drained(&tables, &turn, id.downstream)
            case .upstream: UpstreamSide.drained(&tables, &turn, id.upstream)
            }
        case .hungUp(let id): DownstreamSide.hungUp(&tables, &turn, id.downstream)
        case .quiet(let id): DownstreamSide.quiet(&tables, &turn, id.downstream)
        case .connected(let id, let isHTTP2, let isSecure):
            UpstreamSide.connected(&tables, &turn, id, isHTTP2: isHTTP2, isSecure: isSecure)
        case .connectFailed(let id, let failure):
            UpstreamSide.connectFailed(&tables, &turn, id, failure)
        case .connectImpossible(let id): UpstreamSide.connectImpossible(&tables, &turn, id)
        case .connectionWanted(let cluster): Pools.giveUpIdle(&tables, &turn, cluster: cluster)
        case .connectionFreed(let cluster): turn.queueIsDue(cluster)
        }
    }

    /// Does what the data plane has to do between two effects, and gives the next effect, which the
    /// driver performs before it advances again. Performing it may add others behind the last.
    ///
    /// - Returns: `nil` when all are performed; the bytes they named are forgotten then.
    public mutating func advance() -> Effect? {
        if turn.hasStreams { return advanceHTTP2() }
        if turn.effectsTaken < turn.effects.count {
            turn.effectsTaken &+= 1
            return turn.effects[turn.effectsTaken &- 1]
        }
        forgetEffects()
        return turn.dueQueues.count == 0 ? nil : advanceQueues()
    }

    /// Looks after queues that are due, and advances.
    @inline(never)
    private mutating func advanceQueues() -> Effect? {
        Exchanges.serveQueues(&tables, &turn)
        return advance()
    }

    /// Advances where there are HTTP/2 connections: effects on streams are performed here, and what
    /// HTTP/2 connections have to do is done in steps, each when the effects of the one before are
    /// performed.
    private mutating func advanceHTTP2() -> Effect? {
        while true {
            while turn.effectsTaken < turn.effects.count {
                turn.effectsTaken &+= 1
                let effect = turn.effects[turn.effectsTaken &- 1]
                if !Streams.perform(&tables, &turn, effect) { return effect }
            }
            forgetEffects()
            if turn.dueQueues.count > 0 {
                Exchanges.serveQueues(&tables, &turn)
                continue
            }
            if HTTP2Links.step(&tables, &turn) { continue }
            // The last of them has gone: from here on every effect is a socket's again.
            turn.hasStreams =
                tables.links.count > 0 || turn.innerCount > 0 || turn.orphanCount > 0
            return nil
        }
    }

    @inline(__always)
    private mutating func forgetEffects() {
        turn.effectsTaken = 0
        turn.effects.removeAll()
        turn.output.clear(keepingAtMost: 262_144)
        turn.logLine.clear()
    }

    /// The driver's turn is ending: what HTTP/2 connections have to write goes out with the effects
    /// that follow.
    public mutating func endTurn() { turn.work.isEndOfTurn = turn.hasStreams }

    /// The bytes of a send effect.
    @_lifetime(immortal)
    public func bytes(_ source: Effect.Source, _ range: ByteRange) -> Span<UInt8> {
        source == .scratch ? turn.scratch.span(range) : turn.output.span(range)
    }

    /// Takes the news of endpoints since the last call.
    public mutating func takeNews() -> [EndpointNews] {
        defer { turn.news = [] }
        return turn.news
    }

    /// The bytes of a log effect.
    @_lifetime(immortal)
    public func logLine(_ range: ByteRange) -> Span<UInt8> { turn.logLine.span(range) }

    /// Lends the scratch to the driver, which reads at most `readBytesMax` bytes into it, gives it
    /// back with `takeBack`, and tells of them with a `.received` event at once.
    ///
    /// - Parameter buffer: gets the scratch in exchange for itself.
    /// - Returns: `false`: nothing is to be read from the connection now, or what is kept must be
    ///   shown first (`mustShowKept`); nothing was lent.
    @inline(__always)
    public mutating func lendScratch(_ id: ConnectionID, to buffer: inout ByteBuffer) -> Bool {
        let isWanted: Bool
        switch id.side {
        case .downstream:
            isWanted =
                tables.downstream.holds(id.downstream)
                && tables.downstream[id.downstream].takes(atMost: turn.limits.headBytesMax)
        case .upstream:
            isWanted =
                tables.upstream.holds(id.upstream)
                && tables.upstream[id.upstream].takes(atMost: turn.limits.headBytesMax)
        }
        if isWanted { lendScratch(to: &buffer) }
        return isWanted
    }

    /// Lends the scratch whether anything is wanted or not: for bytes that have been read already.
    @inline(__always)
    public mutating func lendScratch(to buffer: inout ByteBuffer) {
        assert(turn.effects.isEmpty, "effects are performed before more is read")
        turn.scratch.clear(headroom: turn.headroom)
        swap(&turn.scratch, &buffer)
    }

    @inline(__always)
    public mutating func takeBack(_ buffer: inout ByteBuffer) { swap(&turn.scratch, &buffer) }

    /// Bytes that one read may bring.
    public static var readBytesMax: Int { Turn.readBytesMax }

    /// Counts what only the driver can know.
    public func count(_ metric: WorkerMetric) { turn.counters.count(metric) }

    public mutating func countHandshake(version: UInt8, isDownstream: Bool, wasResumed: Bool) {
        turn.counters.countHandshake(version: version, isDownstream: isDownstream)
        if wasResumed {
            turn.counters.count(isDownstream ? .downstreamResumptions : .upstreamResumptions)
        }
    }

    public mutating func countHandshakeFailure(_ cause: HandshakeFailure, isDownstream: Bool) {
        turn.counters.countHandshakeFailure(cause, isDownstream: isDownstream)
    }

    /// When `expireTimers` must be called at the latest.
    public var nextDeadline: Instant { turn.timers.nextDeadline }

    /// Handles every timer that is due.
    public mutating func expireTimers() {
        guard turn.timers.nextDeadline <= turn.now else { return }
        turn.fired.removeAll(keepingCapacity: true)
        turn.timers.expire(now: turn.now, into: &turn.fired)
        for i in turn.fired.indices {
            let payload = turn.fired[i]
            Deadlines.fired(&tables, &turn, payload)
        }
    }

    // MARK: Bytes

    /// Whether more should be read from a connection now.
    @inline(__always)
    public func wantsRead(_ id: ConnectionID) -> Bool {
        switch id.side {
        case .downstream:
            return tables.downstream.holds(id.downstream)
                && !tables.downstream[id.downstream].isReadPaused
                && !tables.downstream[id.downstream].hasEnded
        case .upstream:
            return tables.upstream.holds(id.upstream) && !tables.upstream[id.upstream].isReadPaused
                && !tables.upstream[id.upstream].hasEnded
                && tables.upstream[id.upstream].phase != .connecting
        }
    }

    /// Whether what the peer sends is not wanted now, and will be later.
    public func isReadPaused(_ id: ConnectionID) -> Bool {
        switch id.side {
        case .downstream:
            return tables.downstream.holds(id.downstream)
                && tables.downstream[id.downstream].isReadPaused
        case .upstream:
            return tables.upstream.holds(id.upstream) && tables.upstream[id.upstream].isReadPaused
        }
    }

    /// Whether bytes are kept that must be shown again.
    public func hasKept(_ id: ConnectionID) -> Bool {
        switch id.side {
        case .downstream:
            return tables.downstream.holds(id.downstream)
                && !tables.downstream[id.downstream].inbound.isEmpty
        case .upstream:
            return tables.upstream.holds(id.upstream)
                && !tables.upstream[id.upstream].inbound.isEmpty
        }
    }

    /// Whether bytes are wanted, but more is kept than a part of a head: it must be shown again
    /// before more is read, or what is kept would grow with each read.
    public func mustShowKept(_ id: ConnectionID) -> Bool {
        guard wantsRead(id) else { return false }
        switch id.side {
        case .downstream:
            return tables.downstream[id.downstream].inbound.count > turn.limits.headBytesMax
        case .upstream: return tables.upstream[id.upstream].inbound.count > turn.limits.headBytesMax
        }
    }

    /// Whether the id still names a connection.
    public func holds(_ id: ConnectionID) -> Bool {
        id.side == .downstream
            ? tables.downstream.holds(id.downstream) : tables.upstream.holds(id.upstream)
    }

    /// Whether a connection to an endpoint carries streams of HTTP/2.
    public func carriesStreams(_ id: ConnectionID) -> Bool {
        id.side == .upstream && tables.upstream.holds(id.upstream)
            && tables.upstream[id.upstream].phase == .http2
    }

    /// The number of the cluster that a connection to an endpoint is for.
    public func cluster(_ slot: UpstreamID) -> Int {
        tables.upstream.holds(slot) ? tables.upstream[slot].cluster : -1
    }

    /// Whether a connection that is being made must offer HTTP/1.1 alone.
    public func onlyHTTP1(_ slot: UpstreamID) -> Bool {
        tables.upstream.holds(slot) && tables.upstream[slot].purpose == .oneOverHTTP1
    }

    /// Bytes that wait to be written.
    public func outboundCount(_ id: ConnectionID) -> Int {
        guard holds(id) else { return 0 }
        return id.side == .downstream
            ? tables.downstream[id.downstream].outbound.count
            : tables.upstream[id.upstream].outbound.count
    }

    /// Lets the driver write what waits: `body` returns how many bytes went out.
    public mutating func flush(_ id: ConnectionID, _ body: (Span<UInt8>) -> Int) {
        guard holds(id) else { return }
        switch id.side {
        case .downstream:
            let sent = body(tables.downstream[id.downstream].outbound.readable)
            tables.downstream[id.downstream].outbound.consume(sent)
            if sent > 0 { DownstreamSide.wrote(&tables, &turn, id.downstream, byteCount: sent) }
        case .upstream:
            let sent = body(tables.upstream[id.upstream].outbound.readable)
            tables.upstream[id.upstream].outbound.consume(sent)
        }
    }

    /// Keeps bytes of a send effect that the socket did not take, behind those that wait already.
    public mutating func keepUnsent(_ id: ConnectionID, _ source: Effect.Source, _ range: ByteRange)
    {
        guard holds(id) else { return }
        switch id.side {
        case .downstream:
            if source == .scratch {
                tables.downstream[id.downstream].outbound.append(turn.scratch.span(range))
            } else {
                tables.downstream[id.downstream].outbound.append(turn.output.span(range))
            }
            DownstreamSide.blocked(&tables, &turn, id.downstream)
        case .upstream:
            if source == .scratch {
                tables.upstream[id.upstream].outbound.append(turn.scratch.span(range))
            } else {
                tables.upstream[id.upstream].outbound.append(turn.output.span(range))
            }
            UpstreamSide.blocked(&tables, &turn, id.upstream)
        }
    }

    // MARK: Configuration and drain

    /// The generation in force here.
    public var generation: UInt64 { turn.snapshots.newest.value.generation }

    /// Puts a snapshot in force for requests from now on; takes over the caller's reference.
    public mutating func adopt(_ snapshot: SharedBox<Snapshot>) {
        let old = turn.snapshots.newest.value.settings.limits
        let new = snapshot.value.settings.limits
        turn.snapshots.adopt(snapshot)
        turn.logNeeds = snapshot.value.logNeeds
        if old.headBytes != new.headBytes || old.fields != new.fields { turn.apply(new) }
        Pools.adopt(&tables, &turn)
        Rounds.adopt(&turn)
    }

    /// States what is short in the process.
    ///
    /// - Parameters:
    ///   - isCrowded: connections; each answer is the last of its connection.
    ///   - isFull: memory; new requests are refused.
    public mutating func setPressure(isCrowded: Bool, isFull: Bool) {
        turn.endsConnections = turn.isDraining || isCrowded
        turn.refusesRequests = isFull
    }

    /// Makes room for other clients: closes some connections that have lain idle for a second.
    public mutating func evictIdle() { DownstreamSide.evictIdle(&tables, &turn) }

    /// Listeners have other numbers now, by their old ones: open connections go with them, and
    /// requests that begin from now on are counted under the new names.
    public mutating func rename(listeners: [Int: Int]) {
        for index in 0..<tables.downstream.indexEnd {
            guard let id = tables.downstream.tenant(at: index),
                let number = listeners[tables.downstream[id].listener]
            else { continue }
            tables.downstream[id].listener = number
        }
    }

    /// A listener is gone: its connections finish what they have.
    public mutating func leave(listener: Int) {
        for index in 0..<tables.downstream.indexEnd {
            guard let id = tables.downstream.tenant(at: index),
                tables.downstream[id].listener == listener, !tables.downstream[id].isStream
            else { continue }
            DownstreamSide.leave(&tables, &turn, id)
        }
    }

    /// Stops keeping connections: those between requests close soon, the others after their
    /// response.
    public mutating func drain() {
        turn.isDraining = true
        turn.endsConnections = true
        for index in 0..<tables.downstream.indexEnd {
            guard let id = tables.downstream.tenant(at: index), !tables.downstream[id].isStream
            else { continue }
            DownstreamSide.leave(&tables, &turn, id)
        }
    }

    /// Ends everything that is still under way: the time to drain is over. A client of HTTP/1.1
    /// whose answer has not begun gets 503; an answer that has begun is cut.
    public mutating func closeAll() {
        for index in 0..<tables.downstream.indexEnd {
            guard let id = tables.downstream.tenant(at: index),
                tables.downstream[id].phase != .closed
            else { continue }
            DownstreamSide.endOfDrain(&tables, &turn, id)
        }
    }

    public var linkCount: Int { tables.links.count }
    public var downstreamCount: Int { tables.downstream.count }
    public var upstreamCount: Int { tables.upstream.count }
    public var exchangeCount: Int { tables.exchanges.count }
    public var attemptCount: Int { tables.attempts.count }
}
