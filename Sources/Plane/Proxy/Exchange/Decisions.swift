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
    /// - Parameters:
    ///   - snapshot: the exchange's.
    ///   - origin: becomes what trusted hops say of the client; `nil` without such hops.
    /// - Returns: what becomes of the request. Route and version are the exchange's by then, and
    ///   where the request is forwarded its row is: elsewhere `ownRow` is to be called.
    // Inlined by force (docs/decisions/2026-11-29-decide-is-inlined-by-force.md).
    @_transparent
    static func decide(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID,
        _ snapshot: SharedBox<Snapshot>, head: ByteRange, origin: inout RequestOrigin?
    ) -> Decision {
        let settings = snapshot.value.settings
        if settings.trustedHops > 0 {
            believe(&tables.exchanges[id], turn, settings.trustedHops, head, &origin)
        }
        let route = match(&turn, snapshot, head, arrival(tables.exchanges[id]))
        guard let route else { return refuse(400, RefusalCause.badPath) }
        guard route >= 0 else {
            return answer(
                LocalAnswer(
                    status: 404, flags: .noRoute, cause: .local, failure: Failure(.noRoute)))
        }
        tables.exchanges[id].route = route
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
            ownRow(&tables.exchanges[id], snapshot)
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
            return finishSpecial(&tables.exchanges[id], &turn, snapshot, head, after: delay)
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
            LocalAnswer(
                status: 503, flags: .overload, cause: .local, failure: Failure(.overload),
                endsConnection: true))
    }

    /// Counts a request without a version in its route's row, or in that of requests that no route
    /// took.
    @inline(never)
    static func ownRow(_ exchange: inout Exchange, _ snapshot: SharedBox<Snapshot>) {
        guard exchange.version < 0 else { return }
        let row =
            exchange.route < 0
            ? snapshot.value.settings.noRouteRow : snapshot.value.routes[exchange.route].rows
        setRow(&exchange, snapshot.value.rows[row])
    }

    @inline(__always)
    private static func setRow(_ exchange: inout Exchange, _ plan: Snapshot.RowPlan) {
        exchange.rowSlot = plan.slot
        exchange.summary.row = plan.id
        exchange.edits = plan.edits
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

    /// A request's place among the sessions of its service.
    private struct Placement: BitwiseCopyable {
        /// Whether, and how, the request's end is evidence.
        var unit = Exchange.EvidenceUnit.none
        var owesCookie = false
        var position: UInt64 = 0
    }

    // Inlined by force, for the reason that `decide` has.
    @_transparent
    private static func chooseVersion(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ route: Int,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) {
        // Large: both are read where they lie, and passed on by their numbers.
        let plan = snapshot.value.routes[route]
        let service = snapshot.value.services[plan.service]
        // Kept here until all is known, and written to the exchange at once.
        var placement = Placement()
        let choice = VersionChoice.choose(
            named: plan.pinned,
            session: {
                guard service.sticky >= 0 else { return -1 }
                placement = session(&turn, service.sticky, snapshot, head)
                guard placement.unit == .session else { return -1 }
                return snapshot.value.splits[plan.split].intervals.value.version(
                    at: placement.position)
            },
            bound: {
                let client = tables.exchanges[id].downstream
                if tables.downstream[client].firstPrivate.isNone { return -1 }
                let version = PrivateConnections.version(tables, id, plan.service, snapshot)
                if version >= 0 {
                    place(&placement, in: version, plan.split, snapshot)
                    placement.unit = .none
                }
                return version
            },
            drawn: {
                let draw = snapshot.value.splits[plan.split].draws.value.draw()
                if draw.wantsLayout { turn.effects.append(.wakeControl) }
                tables.exchanges[id].summary.draw = draw.number
                placement.unit = service.sticky >= 0 ? .placeless : .request
                place(&placement, in: draw.version, plan.split, snapshot)
                return draw.version
            },
            stable: service.stable,
            // A route that names its version outright is its author's word.
            fallsBack: service.fallsBack || service.hasGuard && plan.pinned < 0,
            isUsable: { version in
                isUsable(
                    &tables.exchanges[id], turn, plan.service, version, isNamed: plan.pinned >= 0,
                    snapshot)
            })
        if choice.way == .fallback { placement.unit = .none }
        assign(
            &tables.exchanges[id], choice, placement, split: plan.split,
            version: service.versions.start + choice.version,
            snapshot.value.rows[plan.rows + 1 + choice.version], snapshot)
        turn.counters.started(rowSlot: tables.exchanges[id].rowSlot)
        if snapshot.value.versions[tables.exchanges[id].version].cluster.value.policy.isHashed {
            tables.exchanges[id].hash = hash(
                turn, plan.service, snapshot, head, tables.exchanges[id])
        }
    }

    /// Assigns a request to the version that was chosen: the request is counted in that version's
    /// row from here on, and no longer in the route's own.
    ///
    /// - Parameters:
    ///   - split: into the snapshot's splits; read only where the choice is evidence.
    ///   - version: into the snapshot's versions.
    @inline(__always)
    private static func assign(
        _ exchange: inout Exchange, _ choice: VersionChoice, _ placement: Placement, split: Int,
        version: Int, _ row: Snapshot.RowPlan, _ snapshot: SharedBox<Snapshot>
    ) {
        let cluster = snapshot.value.versions[version].cluster
        exchange.version = version
        exchange.cluster = cluster
        exchange.summary.cluster = cluster.value.id
        exchange.summary.assign = Assign(choice.way)
        exchange.owesCookie = placement.owesCookie
        exchange.cookiePosition = placement.position
        exchange.isCounted = true
        setRow(&exchange, row)
        if placement.unit != .none {
            exchange.unit = placement.unit
            exchange.evidence = snapshot.value.splits[split].evidence
            exchange.evidenceVersion = choice.version
        }
    }

    /// Whether a version may have a request: the guard has not taken it out, and, where that
    /// matters, it has a usable endpoint. Where it may not, the stable version has the request, and
    /// the version's evidence nothing of it.
    @inline(never)
    private static func isUsable(
        _ exchange: inout Exchange, _ turn: borrowing Turn, _ service: Int, _ version: Int,
        isNamed: Bool, _ snapshot: SharedBox<Snapshot>
    ) -> Bool {
        let service = snapshot.value.services[service]
        let plan = snapshot.value.versions[service.versions.start + version]
        if service.hasGuard, !isNamed, plan.latch.value.isTripped {
            let stable = snapshot.value.versions[service.versions.start + service.stable].cluster
            if Outcomes.isOut(turn, plan.cluster, stable: stable) {
                exchange.summary.flags.insert(.guarded)
                return false
            }
        }
        return !service.fallsBack || plan.cluster.value.isAvailable(now: turn.now)
    }

    /// Applies the rare rest: a fault of the version, or a stage's rule that named the version.
    @inline(never)
    private static func finishSpecial(
        _ exchange: inout Exchange, _ turn: inout Turn, _ snapshot: SharedBox<Snapshot>,
        _ head: ByteRange, after delay: Duration
    ) -> Decision {
        let fault = snapshot.value.versions[exchange.version].fault
        var decision = Decision.forward(after: delay)
        if exchange.summary.assign == .header,
            let matched = snapshot.value.matchedEvidence(ofRoute: exchange.route)
        {
            let service = snapshot.value.routes[exchange.route].service
            exchange.unit = .request
            exchange.evidence = matched
            exchange.evidenceVersion =
                exchange.version - snapshot.value.services[service].versions.start
        }
        if fault >= 0 {
            decision = Faults.apply(&exchange, &turn, fault, snapshot, head, after: delay)
        }
        // A fault on purpose is nothing that the version did.
        if !exchange.summary.flags.isDisjoint(with: [.delayInjected, .faultInjected]) {
            exchange.evidence = nil
        }
        return decision
    }

    /// The session that the request belongs to, if one is known (splitting.md §3).
    @inline(__always)
    private static func session(
        _ turn: inout Turn, _ sticky: Int, _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) -> Placement {
        let session = snapshot.value.sticky[sticky].value.session(
            head: turn.requestHead, bytes: turn.scratch.span(head), wall: turn.wall)
        if session.hadForgery { turn.counters.count(.stickyCookiesRejected) }
        return Placement(
            unit: session.origin == .none ? .none : .session, owesCookie: session.wantsCookie,
            position: session.position)
    }

    /// Gives a session that begins with this request its position, if a cookie is to keep it.
    @inline(__always)
    private static func place(
        _ placement: inout Placement, in version: Int, _ split: Int,
        _ snapshot: SharedBox<Snapshot>
    ) {
        guard placement.owesCookie else { return }
        guard let position = position(in: version, split, snapshot) else {
            placement.owesCookie = false
            return
        }
        placement.position = position
        placement.unit = .session
    }

    /// The next free position of a version; `nil`: no position leads to a version without share.
    @inline(never)
    private static func position(
        in version: Int, _ split: Int, _ snapshot: SharedBox<Snapshot>
    ) -> UInt64? {
        let plan = snapshot.value.splits[split]
        guard plan.draws.value.weights.weights[version] > 0 else { return nil }
        let place = plan.draws.value.nextPlace(version: version)
        return plan.intervals.value.position(in: version, at: place)
    }

    /// The key of the hashed balancers: a header, a cookie, or the client's address.
    @inline(never)
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
