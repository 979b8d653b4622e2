import Base
import Configuration
import Evidence
import HTTP1
import HTTPSemantics
import Routing
import Telemetry
import Upstream

/// Which route, which version: the decisions of one request (splitting.md §1), in their order.
enum Decisions {
    /// - Parameter origin: becomes what trusted hops say of the client; `nil` without such hops.
    /// - Returns: what becomes of the request; route and version are the exchange's by then.
    @inline(__always)
    static func decide(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, head: ByteRange,
        origin: inout RequestOrigin?
    ) -> Decision {
        let snapshot = turn.snapshots[tables.exchanges[id].snapshot]
        let settings = snapshot.value.settings
        if settings.trustedHops > 0 {
            believe(&tables.exchanges[id], turn, settings.trustedHops, head, &origin)
        }
        let route = match(&turn, snapshot, head, arrival(tables.exchanges[id]))
        if let route, route >= 0 {
            tables.exchanges[id].route = route
            setRow(&tables, &turn, id, snapshot.value.routes[route].rows, snapshot)
        } else {
            setRow(&tables, &turn, id, settings.noRouteRow, snapshot)
        }
        guard let route else { return refuse(400, RefusalCause.badPath) }
        guard route >= 0 else {
            return answer(LocalAnswer(status: 404, flags: .noRoute, cause: .local))
        }
        if case .length(let bytes) = turn.requestHead.framing, bytes > settings.limits.bodyBytes {
            return refuse(413, RefusalCause.bodyTooLarge)
        }
        if turn.refusesRequests { return shed(&turn) }
        let plan = snapshot.value.routes[route]
        tables.exchanges[id].requestDeadline = turn.now + plan.request
        ClientConnections.setPatience(&tables, tables.exchanges[id].downstream, plan.write)
        if tables.exchanges[id].isGRPC
            || turn.requestHead.fields.seen.contains(.requestTimeout)
        {
            shortenDeadline(&tables, turn, id, head)
        }
        var delay = Duration.zero
        if plan.filter >= 0 {
            switch Filters.apply(&tables.exchanges[id], &turn, plan.filter, snapshot, head) {
            case .forward(let after): delay = after
            case let decision: return decision
            }
        }
        guard plan.kind == .forward else { return .direct }
        if turn.requestHead.method.isRare {
            if turn.requestHead.method == .connect {
                guard plan.allowsConnect else { return refuse(405, RefusalCause.connectRefused) }
            } else if let decision = MaxForwards.apply(&turn, head) {
                return decision
            }
        }
        chooseVersion(&tables, &turn, id, route, snapshot, head)
        if plan.isSpecial {
            return applyFault(&tables.exchanges[id], &turn, snapshot, head, after: delay)
        }
        return .forward(after: .zero)
    }

    @inline(never)
    private static func answer(_ answer: LocalAnswer) -> Decision { .answer(answer) }

    @inline(never)
    private static func refuse(_ status: UInt16, _ cause: UInt8) -> Decision {
        .answer(.refusal(status, cause))
    }

    /// A client says how long its answer is of use; that may shorten the time, never lengthen it.
    @inline(never)
    private static func shortenDeadline(
        _ tables: inout Tables, _ turn: borrowing Turn, _ id: ExchangeID, _ head: ByteRange
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
            shorten(timeout + Timers.callGrace)
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
    private static func shed(_ turn: inout Turn) -> Decision {
        turn.counters.count(.requestsShed)
        return .answer(
            LocalAnswer(status: 503, flags: .overload, cause: .local, endsConnection: true))
    }

    static func setRow(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ row: Int,
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
        _ exchange: inout Exchange, _ turn: borrowing Turn, _ hops: Int, _ head: ByteRange,
        _ origin: inout RequestOrigin?
    ) {
        let told = RequestOrigin(
            turn.requestHead, turn.scratch.span(head), peer: exchange.summary.peer,
            isSecure: exchange.isSecure, trustedHops: hops)
        exchange.summary.client = told.client
        exchange.cameByHTTPS = told.isSecure
        origin = told
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
    private static func chooseVersion(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ route: Int,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) {
        // Large: read where it lies, and passed on by its number.
        let plan = snapshot.value.routes[route]
        let service = snapshot.value.services[plan.service]
        let choice = VersionChoice.choose(
            named: plan.pinned,
            session: {
                guard service.sticky >= 0 else { return -1 }
                return placed(
                    &tables, &turn, id, split: plan.split, sticky: service.sticky, snapshot, head)
            },
            bound: {
                let client = tables.exchanges[id].downstream
                if tables.downstream[client].firstPrivate.isNone { return -1 }
                return bound(&tables, id, split: plan.split, service, snapshot)
            },
            drawn: {
                let version = draw(&tables, &turn, id, split: plan.split, snapshot)
                if service.sticky >= 0 {
                    place(&tables, id, in: version, plan.split, snapshot)
                    Outcomes.beginSession(
                        &tables.exchanges[id], hasPlace: tables.exchanges[id].owesCookie,
                        snapshot.value.splits[plan.split])
                }
                return version
            },
            stable: service.stable,
            // A route that names its version outright is its author's word.
            fallsBack: service.fallsBack || service.hasGuard && plan.pinned < 0,
            isUsable: { version in
                isUsable(
                    &tables.exchanges[id], turn, service, version, isNamed: plan.pinned >= 0,
                    snapshot)
            })
        let version = choice.version
        let cluster = snapshot.value.versions[service.versions.start + version].cluster
        tables.exchanges[id].summary.assign = Assign(choice.way)
        tables.exchanges[id].version = service.versions.start + version
        tables.exchanges[id].cluster = cluster
        tables.exchanges[id].summary.cluster = cluster.value.id
        moveRow(&tables, &turn, id, plan.rows + 1 + version, snapshot)
        if cluster.value.policy.isHashed {
            tables.exchanges[id].hash = hash(
                turn, plan.service, snapshot, head, tables.exchanges[id])
        }
    }

    /// Whether a version may have a request: the guard has not taken it out, and, where that
    /// matters, it has a usable endpoint. Where it may not, the stable version has the request, and
    /// the version's evidence nothing of it.
    @inline(never)
    private static func isUsable(
        _ exchange: inout Exchange, _ turn: borrowing Turn, _ service: Snapshot.ServicePlan,
        _ version: Int, isNamed: Bool, _ snapshot: SharedBox<Snapshot>
    ) -> Bool {
        let plan = snapshot.value.versions[service.versions.start + version]
        if service.hasGuard, !isNamed, plan.latch.value.isTripped {
            let stable = snapshot.value.versions[service.versions.start + service.stable].cluster
            if Outcomes.isOut(turn, plan.cluster, stable: stable) {
                exchange.summary.flags.insert(.guarded)
                exchange.evidence = .none
                return false
            }
        }
        if !service.fallsBack || plan.cluster.value.isAvailable(now: turn.now) { return true }
        exchange.evidence = .none
        return false
    }

    /// The fault of the request's version, if it has one.
    @inline(never)
    private static func applyFault(
        _ exchange: inout Exchange, _ turn: inout Turn, _ snapshot: SharedBox<Snapshot>,
        _ head: ByteRange, after delay: Duration
    ) -> Decision {
        let fault = snapshot.value.versions[exchange.version].fault
        var decision = Decision.forward(after: delay)
        if fault >= 0 {
            decision = Faults.apply(&exchange, &turn, fault, snapshot, head, after: delay)
        }
        // A fault on purpose is nothing that the version did.
        if !exchange.summary.flags.isDisjoint(with: [.delayInjected, .faultInjected]) {
            exchange.evidence = .none
        }
        return decision
    }

    /// The request belongs to a version now, no longer to the route alone.
    private static func moveRow(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ row: Int,
        _ snapshot: SharedBox<Snapshot>
    ) {
        setRow(&tables, &turn, id, row, snapshot)
        tables.exchanges[id].isCounted = true
        turn.counters.started(rowSlot: tables.exchanges[id].rowSlot)
    }

    private static func draw(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, split: Int,
        _ snapshot: SharedBox<Snapshot>
    ) -> Int {
        let draw = snapshot.value.splits[split].draws.value.draw()
        if draw.wantsLayout { turn.effects.append(.wakeControl) }
        tables.exchanges[id].summary.draw = draw.number
        Outcomes.begin(
            &tables.exchanges[id], worker: turn.worker, version: draw.version,
            snapshot.value.splits[split])
        return draw.version
    }

    /// The version at the session's position (splitting.md §3); -1 for a session that is not known
    /// yet.
    private static func placed(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, split: Int, sticky: Int,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) -> Int {
        let session = snapshot.value.sticky[sticky].value.session(
            head: turn.requestHead, bytes: turn.scratch.span(head), wall: turn.wall)
        if session.hadForgery { turn.counters.count(.stickyCookiesRejected) }
        tables.exchanges[id].owesCookie = session.wantsCookie
        tables.exchanges[id].cookiePosition = session.position
        guard session.origin != .none else { return -1 }
        let version = snapshot.value.splits[split].intervals.value.version(at: session.position)
        Outcomes.begin(
            &tables.exchanges[id], worker: turn.worker, version: version,
            snapshot.value.splits[split])
        Outcomes.beginSession(&tables.exchanges[id], hasPlace: true, snapshot.value.splits[split])
        return version
    }

    /// The version that a connection with this client's identity leads to; -1 for none.
    @inline(never)
    private static func bound(
        _ tables: inout Tables, _ id: ExchangeID, split: Int, _ service: Snapshot.ServicePlan,
        _ snapshot: SharedBox<Snapshot>
    ) -> Int {
        guard let version = PrivateConnections.version(tables, id, service, snapshot) else {
            return -1
        }
        if service.sticky >= 0 { place(&tables, id, in: version, split, snapshot) }
        return version
    }

    /// Gives a session that begins with this request its position, if a cookie is to keep it.
    private static func place(
        _ tables: inout Tables, _ id: ExchangeID, in version: Int, _ split: Int,
        _ snapshot: SharedBox<Snapshot>
    ) {
        guard tables.exchanges[id].owesCookie else { return }
        let plan = snapshot.value.splits[split]
        // A version without share has no position that would lead to it.
        guard plan.draws.value.weights.weights[version] > 0 else {
            tables.exchanges[id].owesCookie = false
            return
        }
        let place = plan.draws.value.nextPlace(version: version)
        tables.exchanges[id].cookiePosition = plan.intervals.value.position(in: version, at: place)
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

extension Assign {
    /// The label of a way to a version (splitting.md §1).
    @inline(__always)
    fileprivate init(_ way: VersionChoice.Way) {
        switch way {
        case .named: self = .header
        case .session, .bound: self = .sticky
        case .drawn: self = .weighted
        case .fallback: self = .fallback
        }
    }
}
