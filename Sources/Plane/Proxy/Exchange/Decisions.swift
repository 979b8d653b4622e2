import Base
import Configuration
import HTTP1
import HTTPSemantics
import Routing
import Telemetry
import Upstream

/// Which route, which version: the decisions of one request (splitting.md §1), in their order.
enum Decisions {
    @inline(__always)
    static func decide(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, head: ByteRange
    ) {
        let snapshot = turn.snapshots[tables.exchanges[id].snapshot]
        let settings = snapshot.value.settings
        if settings.trustedHops > 0 { believe(&tables, &turn, id, settings.trustedHops, head) }
        let route = match(&turn, snapshot, head, arrival(tables.exchanges[id]))
        if let route, route >= 0 {
            tables.exchanges[id].route = route
            setRow(&tables, &turn, id, snapshot.value.routes[route].rows, snapshot)
        } else {
            setRow(&tables, &turn, id, settings.noRouteRow, snapshot)
        }
        guard let route else {
            return refuse(&tables, &turn, id, head, 400, RefusalCause.badPath)
        }
        guard route >= 0 else {
            Forwarding.keepTexts(&tables.exchanges[id], turn, head)
            return Exchanges.reply(&tables, &turn, id, status: 404, flags: .noRoute, cause: .local)
        }
        if case .length(let bytes) = turn.requestHead.framing, bytes > settings.limits.bodyBytes {
            return refuse(&tables, &turn, id, head, 413, RefusalCause.bodyTooLarge)
        }
        if turn.refusesRequests { return shed(&tables, &turn, id, head) }
        let plan = snapshot.value.routes[route]
        tables.exchanges[id].requestDeadline = turn.now + plan.request
        DownstreamSide.setPatience(&tables, tables.exchanges[id].downstream, plan.write)
        if tables.exchanges[id].isGRPC
            || turn.requestHead.fields.seen.contains(.requestTimeout)
        {
            shortenDeadline(&tables, turn, id, head)
        }
        if plan.filter >= 0 {
            turn.faultDelay = .zero
            guard Filters.apply(&tables, &turn, id, plan.filter, snapshot, head) else { return }
        }
        switch plan.kind {
        case .redirect, .respond:
            Forwarding.keepTexts(&tables.exchanges[id], turn, head)
            DirectReply.send(&tables, &turn, id, route, snapshot, head)
        case .forward:
            if turn.requestHead.method.isRare {
                if turn.requestHead.method == .connect {
                    guard plan.allowsConnect else {
                        return refuse(&tables, &turn, id, head, 405, RefusalCause.connectRefused)
                    }
                } else if MaxForwards.apply(&tables, &turn, id, snapshot, head) {
                    return
                }
            }
            forward(&tables, &turn, id, route, snapshot, head)
        }
    }

    /// A client says how long its answer is of use; that may shorten the time, never lengthen it.
    @inline(never)
    private static func shortenDeadline(
        _ tables: inout Tables, _ turn: borrowing Turn, _ id: SlotID, _ head: ByteRange
    ) {
        func shorten(_ timeout: Duration?) {
            guard let timeout else { return }
            tables.exchanges[id].requestDeadline = min(
                tables.exchanges[id].requestDeadline, turn.now + timeout)
        }
        if tables.exchanges[id].isGRPC, let field = turn.requestHead.fields.first(.grpcTimeout),
            let timeout = GRPC.timeout(turn.scratch.span(field.value.shifted(by: head.lower)))
        {
            tables.exchanges[id].callDeadline = turn.now + timeout
            shorten(timeout + Deadlines.callGrace)
        }
        if let field = turn.requestHead.fields.first(.requestTimeout),
            let milliseconds = ASCII.decimal(
                turn.scratch.span(field.value.shifted(by: head.lower))), milliseconds > 0
        {
            shorten(.milliseconds(Int64(min(milliseconds, 1 << 40))))
        }
    }

    /// Memory is short: what is under way is finished, nothing new is begun.
    @inline(never)
    private static func shed(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, _ head: ByteRange
    ) {
        Forwarding.keepTexts(&tables.exchanges[id], turn, head)
        turn.counters.count(.requestsShed)
        tables.exchanges[id].keepsAlive = false
        Exchanges.reply(&tables, &turn, id, status: 503, flags: .overload, cause: .local)
    }

    @inline(never)
    static func refuse(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, _ head: ByteRange,
        _ status: UInt16, _ cause: UInt8
    ) {
        Forwarding.keepTexts(&tables.exchanges[id], turn, head)
        turn.counters.countRefused(listener: tables.exchanges[id].summary.listener, cause: cause)
        tables.exchanges[id].keepsAlive = false
        Exchanges.reply(
            &tables, &turn, id, status: status, flags: .downstreamProtocolError, cause: .none)
    }

    static func setRow(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, _ row: Int,
        _ snapshot: SharedBox<Snapshot>
    ) {
        let plan = snapshot.value.rows[row]
        tables.exchanges[id].rowSlot = plan.slot
        tables.exchanges[id].summary.row = plan.id
        tables.exchanges[id].edits = plan.edits
    }

    // MARK: Origin

    /// Reads what trusted hops say of the client, before anything is decided.
    @inline(never)
    private static func believe(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, _ hops: Int, _ head: ByteRange
    ) {
        turn.trustedOrigin = RequestOrigin(
            turn.requestHead, turn.scratch.span(head), peer: tables.exchanges[id].summary.peer,
            isSecure: tables.exchanges[id].isSecure, trustedHops: hops)
        tables.exchanges[id].summary.client = turn.trustedOrigin.client
        tables.exchanges[id].cameByHTTPS = turn.trustedOrigin.isSecure
    }

    /// Where the request that is being decided comes from. Its client and scheme stay with the
    /// exchange (`summary.client`, `cameByHTTPS`).
    static func origin(
        _ exchange: borrowing Exchange, _ turn: borrowing Turn, _ snapshot: SharedBox<Snapshot>
    ) -> RequestOrigin {
        if snapshot.value.settings.trustedHops > 0 { return turn.trustedOrigin }
        return RequestOrigin(
            turn.requestHead, peer: exchange.summary.peer, isSecure: exchange.isSecure)
    }

    // MARK: Route

    /// - Returns: the route, -1 when none matches, `nil` when the path is refused.
    @inline(__always)
    private static func match(
        _ turn: inout Turn, _ snapshot: SharedBox<Snapshot>, _ head: ByteRange,
        _ arrival: Arrival
    ) -> Int? {
        let bytes = turn.scratch.span(head)
        let isGood = turn.key.take(
            turn.requestHead, bytes, looksAtHost: snapshot.value.table.looksAtHost,
            normalizesPaths: snapshot.value.settings.normalizesPaths)
        guard isGood else { return nil }
        return snapshot.value.table.match(
            head: turn.requestHead, bytes: bytes, host: turn.key.host,
            path: turn.key.path(in: bytes), arrival: arrival) ?? -1
    }

    @inline(__always)
    private static func arrival(_ exchange: borrowing Exchange) -> Arrival {
        Arrival(
            listener: Int(exchange.summary.listener), scheme: exchange.cameByHTTPS ? .https : .http)
    }

    // MARK: Version

    @inline(__always)
    private static func forward(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, _ route: Int,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) {
        // Large: read where it lies, and passed on by its number.
        let plan = snapshot.value.routes[route]
        let service = snapshot.value.services[plan.service]
        var version = plan.pinned
        if version >= 0 {
            tables.exchanges[id].summary.assign = .header
        } else if service.sticky >= 0 {
            version = stickyVersion(
                &tables, &turn, id, split: plan.split, sticky: service.sticky, snapshot, head)
        } else if !tables.downstream[tables.exchanges[id].downstream].firstPrivate.isNone,
            let bound = PrivateConnections.version(tables, id, service, snapshot)
        {
            tables.exchanges[id].summary.assign = .sticky
            version = bound
        } else {
            tables.exchanges[id].summary.assign = .weighted
            version = draw(&tables, &turn, id, split: plan.split, snapshot)
        }
        var cluster = snapshot.value.versions[service.versions.start + version].cluster
        if service.fallsBack, version != service.stable,
            !cluster.value.isAvailable(now: turn.now)
        {
            version = service.stable
            cluster = snapshot.value.versions[service.versions.start + version].cluster
            tables.exchanges[id].summary.assign = .fallback
        }
        tables.exchanges[id].version = service.versions.start + version
        tables.exchanges[id].cluster = cluster
        tables.exchanges[id].summary.cluster = cluster.value.id
        moveRow(&tables, &turn, id, plan.rows + 1 + version, snapshot)
        if cluster.value.policy.isHashed {
            tables.exchanges[id].hash = hash(
                turn, plan.service, snapshot, head, tables.exchanges[id])
        }
        if plan.isSpecial {
            guard applyFault(&tables, &turn, id, plan.filter, snapshot, head) else { return }
        }
        Forwarding.encodeRequest(
            &tables.exchanges[id], &turn, service: plan.service, snapshot, head)
        Retries.prepare(
            &tables.exchanges[id], snapshot, plan.retry,
            detectsOutliers: cluster.value.detectsOutliers)
        if plan.isSpecial {
            guard holdOrGo(&tables, &turn, id, route, snapshot, head) else { return }
        }
        startClocks(&tables, turn, id, firstByte: plan.firstByte, idle: plan.idle)
        Pools.lease(&tables, &turn, exchange: id, isImmediate: true)
        // A request that is out already has armed its timer, one that was answered has none.
        if tables.exchanges.holds(id), tables.exchanges[id].requestPhase == .head {
            Deadlines.arm(&tables, &turn, id)
        }
    }

    /// The fault of the request's version, if it has one.
    /// - Returns: `false` when the request was answered, or waits for that.
    @inline(never)
    private static func applyFault(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, _ filter: Int,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) -> Bool {
        if filter < 0 { turn.faultDelay = .zero }
        let fault = snapshot.value.versions[tables.exchanges[id].version].fault
        guard fault >= 0 else { return true }
        return Faults.apply(&tables, &turn, id, fault, snapshot, head)
    }

    /// What only some routes and versions want of a request that is ready to go: a copy of it, and
    /// a delay.
    /// - Returns: `false` when it waits.
    @inline(never)
    private static func holdOrGo(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, _ route: Int,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) -> Bool {
        let plan = snapshot.value.routes[route]
        if plan.filter >= 0 {
            let mirror = snapshot.value.filters[plan.filter].mirror
            if mirror >= 0 { Mirrors.begin(&tables, &turn, id, mirror, plan, snapshot, head) }
        }
        guard turn.faultDelay > .zero else { return true }
        Waits.begin(&tables, &turn, id, turn.faultDelay)
        return false
    }

    /// The times of a request that goes now.
    @inline(__always)
    static func startClocks(
        _ tables: inout Tables, _ turn: borrowing Turn, _ id: SlotID, firstByte: Duration,
        idle: Duration
    ) {
        if !tables.exchanges[id].hasRequestBody {
            tables.exchanges[id].firstByteDeadline = turn.now + firstByte
        } else {
            tables.exchanges[id].idleDeadline = turn.now + idle
        }
    }

    /// The request belongs to a version now, no longer to the route alone.
    private static func moveRow(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, _ row: Int,
        _ snapshot: SharedBox<Snapshot>
    ) {
        setRow(&tables, &turn, id, row, snapshot)
        tables.exchanges[id].isCounted = true
        turn.counters.started(rowSlot: tables.exchanges[id].rowSlot)
    }

    private static func draw(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, split: Int,
        _ snapshot: SharedBox<Snapshot>
    ) -> Int {
        let draw = snapshot.value.splits[split].draws.value.draw()
        if draw.wantsLayout { turn.effects.append(.wakeControl) }
        tables.exchanges[id].summary.draw = draw.number
        return draw.version
    }

    /// splitting.md §3: the session's position; a new session is drawn and placed.
    private static func stickyVersion(
        _ tables: inout Tables, _ turn: inout Turn, _ id: SlotID, split: Int, sticky: Int,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) -> Int {
        let session = snapshot.value.sticky[sticky].value.session(
            head: turn.requestHead, bytes: turn.scratch.span(head), wall: turn.wall)
        if session.hadForgery { turn.counters.count(.stickyCookiesRejected) }
        tables.exchanges[id].owesCookie = session.wantsCookie
        tables.exchanges[id].cookiePosition = session.position
        if session.origin != .none {
            tables.exchanges[id].summary.assign = .sticky
            return snapshot.value.splits[split].intervals.value.version(at: session.position)
        }
        tables.exchanges[id].summary.assign = .weighted
        let version = draw(&tables, &turn, id, split: split, snapshot)
        if session.wantsCookie {
            let plan = snapshot.value.splits[split]
            let place = plan.draws.value.nextPlace(version: version)
            tables.exchanges[id].cookiePosition = plan.intervals.value.position(
                in: version, at: place)
        }
        return version
    }

    /// The key of the hashed balancers: a header, a cookie, or the client's address.
    private static func hash(
        _ turn: borrowing Turn, _ service: Int, _ snapshot: SharedBox<Snapshot>,
        _ head: ByteRange, _ exchange: borrowing Exchange
    ) -> UInt64 {
        let service = snapshot.value.services[service]
        var address = exchange.summary.client
        address.port = 0
        if service.hashName.isEmpty { return address.stableHash }
        let value = RequestKey.find(
            service.hashSource, service.hashKnown, snapshot.value.store.bytes(service.hashName),
            turn, head)
        if let value { return XXH64.hash(turn.scratch.span(value), seed: 0) }
        return address.stableHash
    }
}
