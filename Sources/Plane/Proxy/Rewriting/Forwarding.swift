import Base
import Configuration
import HTTP1
import HTTPSemantics
import Telemetry

/// The head as the origin gets it: hop-by-hop fields dropped, forwarding fields added, edits
/// applied. Re-serialised from parsed parts; header case and order are the client's.
enum Forwarding {
    /// Encodes the request's head into the exchange's arena and notes texts for the log there.
    @inline(__always)
    static func encodeRequest(
        _ exchange: inout Exchange, _ turn: inout Turn, service: Int,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) {
        let plan = snapshot.value.routes[exchange.route]
        exchange.arena.reserve(head.length + 256)
        exchange.isConnect = turn.requestHead.method == .connect
        exchange.wantsTunnel = exchange.isConnect
        if passesUnchanged(turn.requestHead, plan) {
            copyHead(&exchange, turn, head)
        } else {
            rewriteHead(&exchange, turn, service: service, snapshot, head)
        }
        added(&exchange, &turn, snapshot, head)
        if exchange.edits != 0 { edit(&exchange, &turn, snapshot) }
        exchange.arena.append("\r\n")
        exchange.head = ByteRange(0, end: exchange.arena.writerIndex)
        if plan.pathEdit != .none || turn.requestHead.form == .absolute {
            // The log shows what the client asked for.
            exchange.summary.target = keep(turn.requestHead.target, &exchange.arena, turn, head)
        }
        if !plan.host.isEmpty {
            exchange.summary.authority = keep(
                turn.requestHead.authority, &exchange.arena, turn, head)
        }
    }

    /// Fields that never go on as they came.
    private static var rewritten: KnownFields {
        KnownFields(.connection).with(.transferEncoding).with(.te).with(.trailer).with(.upgrade)
            .with(.keepAlive).with(.proxyConnection).with(.http2Settings).with(.forwardedFor)
            .with(.forwardedProto).with(.forwardedHost).with(.forwardedClientCert).with(.requestID)
            .with(.mirror).with(.forwarded).with(.forwardedPort).with(.forwardedPrefix)
            .with(.realIP)
    }

    /// Whether every line of the head goes on as it came: most requests' do.
    @inline(__always)
    private static func passesUnchanged(
        _ head: borrowing RequestHead, _ plan: Snapshot.RoutePlan
    ) -> Bool {
        head.isLinePlain && head.fields.isCanonical && head.fields.seen.isDisjoint(with: rewritten)
            && plan.pathEdit == .none && plan.host.isEmpty
    }

    /// Copies the lines in one piece.
    @inline(__always)
    private static func copyHead(
        _ exchange: inout Exchange, _ turn: borrowing Turn, _ head: ByteRange
    ) {
        let start = turn.requestHead.methodName.lower
        let lines = ByteRange(start, end: turn.requestHead.byteCount - 2)
        exchange.arena.append(turn.scratch.span(lines.shifted(by: head.lower)))
        exchange.summary.method = turn.requestHead.methodName.shifted(by: -start)
        exchange.summary.target = turn.requestHead.target.shifted(by: -start)
        exchange.summary.authority = turn.requestHead.authority.shifted(by: -start)
        let seen = turn.requestHead.fields.seen
        if seen.contains(.userAgent) {
            let value = turn.requestHead.fields.value(.userAgent)
            exchange.summary.userAgent = value.shifted(by: -start)
        }
        if seen.contains(.referer) {
            let value = turn.requestHead.fields.value(.referer)
            exchange.summary.referer = value.shifted(by: -start)
        }
        if seen.contains(.traceparent) {
            let value = turn.requestHead.fields.value(.traceparent)
            exchange.summary.traceparent = value.shifted(by: -start)
        }
    }

    /// Writes the lines that go on, each as it came or anew.
    private static func rewriteHead(
        _ exchange: inout Exchange, _ turn: borrowing Turn, service: Int,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) {
        let plan = snapshot.value.routes[exchange.route]
        let service = snapshot.value.services[service]
        var hasHost = false
        var run = requestLine(&exchange, turn, plan, snapshot, head)
        let writesRequestID =
            snapshot.value.settings.requestID == .create
            && (snapshot.value.settings.trustedHops == 0 || !hasRequestID(turn.requestHead.fields))
        for i in 0..<turn.requestHead.fields.count {
            let field = turn.requestHead.fields[i]
            if field.known == .other {
                if !field.isNominated {
                    _ = run.add(field, turn.scratch, head, to: &exchange.arena)
                }
                continue
            }
            if field.known == .host {
                hasHost = true
                if plan.host.isEmpty, turn.requestHead.form != .absolute {
                    exchange.summary.authority = run.add(
                        field, turn.scratch, head, to: &exchange.arena)
                    continue
                }
                run.end(turn.scratch, head, to: &exchange.arena)
                host(&exchange, turn, plan, snapshot, head, name: field.name)
                continue
            }
            if drops(
                field, isHTTP10: turn.requestHead.isHTTP10, writesRequestID: writesRequestID,
                trustsHops: snapshot.value.settings.trustedHops > 0)
            {
                continue
            }
            let value = run.add(field, turn.scratch, head, to: &exchange.arena)
            note(field.known, value, &exchange.summary)
        }
        run.end(turn.scratch, head, to: &exchange.arena)
        if turn.requestHead.maxForwards >= 0 {
            exchange.arena.append("max-forwards: ")
            exchange.arena.appendDecimal(UInt64(turn.requestHead.maxForwards))
            exchange.arena.append("\r\n")
        }
        if !hasHost { hostForHTTP10(&exchange, turn, plan, service, snapshot, head) }
    }

    /// Notes texts for the log when there is no head for an origin.
    static func keepTexts(
        _ exchange: inout Exchange, _ turn: borrowing Turn, _ head: ByteRange
    ) {
        exchange.summary.method = keep(turn.requestHead.methodName, &exchange.arena, turn, head)
        exchange.summary.target = keep(turn.requestHead.target, &exchange.arena, turn, head)
        exchange.summary.authority = keep(turn.requestHead.authority, &exchange.arena, turn, head)
        for i in 0..<turn.requestHead.fields.count {
            let field = turn.requestHead.fields[i]
            switch field.known {
            case .userAgent:
                exchange.summary.userAgent = keep(field.value, &exchange.arena, turn, head)
            case .referer: exchange.summary.referer = keep(field.value, &exchange.arena, turn, head)
            case .traceparent:
                exchange.summary.traceparent = keep(field.value, &exchange.arena, turn, head)
            default: break
            }
        }
    }

    private static func keep(
        _ range: ByteRange, _ arena: inout ByteBuffer, _ turn: borrowing Turn, _ head: ByteRange
    ) -> ByteRange {
        let start = arena.writerIndex
        arena.append(turn.scratch.span(range.shifted(by: head.lower)))
        return ByteRange(start, end: arena.writerIndex)
    }

    // MARK: Request line and Host

    /// Writes the request line, or begins the run with it where nothing about it changes.
    @inline(__always)
    private static func requestLine(
        _ exchange: inout Exchange, _ turn: borrowing Turn, _ plan: Snapshot.RoutePlan,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) -> FieldRun {
        let method = turn.requestHead.methodName
        exchange.summary.method = ByteRange(start: 0, count: method.length)
        if plan.pathEdit == .none, turn.requestHead.isLinePlain {
            exchange.summary.target = ByteRange(
                start: method.length + 1, count: turn.requestHead.target.length)
            return FieldRun(firstLine: method.lower, past: turn.requestHead.linesStart)
        }
        writeRequestLine(&exchange, turn, plan, snapshot, head)
        return FieldRun()
    }

    private static func writeRequestLine(
        _ exchange: inout Exchange, _ turn: borrowing Turn, _ plan: Snapshot.RoutePlan,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) {
        let method = turn.requestHead.methodName
        exchange.arena.append(turn.scratch.span(method.shifted(by: head.lower)))
        exchange.arena.append(UInt8(0x20))
        let start = exchange.arena.writerIndex
        if turn.requestHead.method == .connect {
            exchange.arena.append(
                turn.scratch.span(turn.requestHead.authority.shifted(by: head.lower)))
        } else {
            Rewrites.appendPath(
                plan, snapshot.value.store, turn.requestHead, turn.scratch.span(head),
                path: turn.normalPath, to: &exchange.arena)
            if turn.requestHead.hasQuery {
                exchange.arena.append(UInt8(ascii: "?"))
                exchange.arena.append(
                    turn.scratch.span(turn.requestHead.query.shifted(by: head.lower)))
            }
        }
        exchange.summary.target = ByteRange(start, end: exchange.arena.writerIndex)
        exchange.arena.append(" HTTP/1.1\r\n")
    }

    private static func host(
        _ exchange: inout Exchange, _ turn: borrowing Turn, _ plan: Snapshot.RoutePlan,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange, name: ByteRange
    ) {
        exchange.arena.append(turn.scratch.span(name.shifted(by: head.lower)))
        exchange.arena.append(": ")
        let start = exchange.arena.writerIndex
        if plan.host.isEmpty {
            exchange.arena.append(
                turn.scratch.span(turn.requestHead.authority.shifted(by: head.lower)))
        } else {
            exchange.arena.append(snapshot.value.store.bytes(plan.host))
        }
        exchange.summary.authority = ByteRange(start, end: exchange.arena.writerIndex)
        exchange.arena.append("\r\n")
    }

    /// HTTP/1.0 needs no Host, the origin does: the target's authority, else the service's name.
    private static func hostForHTTP10(
        _ exchange: inout Exchange, _ turn: borrowing Turn, _ plan: Snapshot.RoutePlan,
        _ service: Snapshot.ServicePlan, _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) {
        exchange.arena.append("host: ")
        let start = exchange.arena.writerIndex
        if !plan.host.isEmpty {
            exchange.arena.append(snapshot.value.store.bytes(plan.host))
        } else if !turn.requestHead.authority.isEmpty {
            exchange.arena.append(
                turn.scratch.span(turn.requestHead.authority.shifted(by: head.lower)))
        } else {
            exchange.arena.append(snapshot.value.store.bytes(service.name))
        }
        exchange.summary.authority = ByteRange(start, end: exchange.arena.writerIndex)
        exchange.arena.append("\r\n")
    }

    // MARK: Fields

    /// Whether the request came with an id. An empty one is none, and of several none is its own.
    private static func hasRequestID(_ fields: borrowing FieldTable) -> Bool {
        guard let field = fields.first(.requestID) else { return false }
        return !field.value.isEmpty && !fields.repeated.contains(.requestID)
    }

    /// Whether the field ends here, or is written anew below.
    private static func drops(
        _ field: Field, isHTTP10: Bool, writesRequestID: Bool, trustsHops: Bool
    ) -> Bool {
        if field.isNominated { return true }
        switch field.known {
        case .other, .via: return false
        case .forwardedFor, .forwardedProto, .forwardedHost, .forwardedClientCert, .mirror,
            .forwarded, .forwardedPort, .realIP:
            return true
        case .forwardedPrefix: return !trustsHops
        case .requestID: return writesRequestID
        case .expect: return isHTTP10
        default: return field.known.isHopByHop
        }
    }

    /// Remembers where texts for the log lie.
    private static func note(
        _ known: KnownField, _ value: ByteRange, _ summary: inout ExchangeSummary
    ) {
        switch known {
        case .userAgent: summary.userAgent = value
        case .referer: summary.referer = value
        case .requestID: summary.requestID = value
        case .traceparent: summary.traceparent = value
        default: break
        }
    }

    /// Fields that this hop writes itself.
    @inline(__always)
    private static func added(
        _ exchange: inout Exchange, _ turn: inout Turn, _ snapshot: SharedBox<Snapshot>,
        _ head: ByteRange
    ) {
        ForwardedFields.append(
            &exchange, turn, trustedHops: snapshot.value.settings.trustedHops, head)
        if snapshot.value.settings.requestID == .create, exchange.summary.requestID.isEmpty {
            exchange.arena.append("x-request-id: ")
            let start = exchange.arena.writerIndex
            // A copy has the id of its request.
            if exchange.kind == .client {
                turn.requestID = ForwardedFields.drawRequestID(&turn.random)
            }
            exchange.arena.appendUUID(high: turn.requestID.high, low: turn.requestID.low)
            exchange.summary.requestID = ByteRange(start, end: exchange.arena.writerIndex)
            exchange.arena.append("\r\n")
        }
        if exchange.kind == .mirror { exchange.arena.append("x-sluice-mirror: 1\r\n") }
        if exchange.isSecure, !turn.identity.isEmpty {
            MessageEncoder.field(
                "x-forwarded-client-cert", turn.identity.readable, to: &exchange.arena)
        }
        if snapshot.value.settings.via {
            exchange.arena.append(
                turn.requestHead.isHTTP10 ? "via: 1.0 sluice\r\n" : "via: 1.1 sluice\r\n")
        }
        if turn.requestHead.framing == .chunked {
            exchange.arena.append("transfer-encoding: chunked\r\n")
        }
        if turn.requestHead.options.upgrade { upgrade(&exchange, turn, head) }
    }

    /// RFC 9110 §7.8. `h2c` is never passed on: what follows it could not be checked.
    private static func upgrade(
        _ exchange: inout Exchange, _ turn: borrowing Turn, _ head: ByteRange
    ) {
        guard turn.requestHead.hasUpgradeField,
            !turn.requestHead.isHTTP10, !turn.requestHead.framing.hasBody, !exchange.isConnect,
            let field = turn.requestHead.fields.first(.upgrade)
        else { return }
        let value = field.value.shifted(by: head.lower)
        guard !value.isEmpty, ASCII.tokenLength(turn.scratch.span(value)) == value.length,
            !ASCII.equalFold(turn.scratch.span(value), "h2c")
        else { return }
        exchange.wantsTunnel = true
        exchange.arena.append("connection: upgrade\r\nupgrade: ")
        let start = exchange.arena.writerIndex
        exchange.arena.append(turn.scratch.span(value))
        exchange.upgrade = ByteRange(start, end: exchange.arena.writerIndex)
        exchange.arena.append("\r\n")
    }

    // MARK: Calls

    /// An attempt is about to be sent: where a call has waited, or has been tried before, its head
    /// says how much of `grpc-timeout` is left, as gRPC's own clients do. What an edit has put
    /// there stays.
    ///
    /// The new head lies behind everything else in the arena, and takes the place of the one that
    /// the attempt before this wrote there.
    @inline(never)
    static func tellTimeLeft(_ exchange: inout Exchange, _ turn: inout Turn) {
        guard !exchange.callDeadline.isNever, turn.now > exchange.arrival else { return }
        let asked = exchange.callDeadline - exchange.arrival
        let left = exchange.callDeadline - turn.now
        let head = exchange.arena.span(exchange.head)
        guard let lf = ASCII.index(of: ASCII.lf, in: head) else { return }
        let lines = head.extracting((lf + 1)..<head.count)
        let wasTold = exchange.head.lower > 0
        var value = ByteRange.empty
        FieldText.forEach(lines) { name, range, _ in
            guard KnownField.intern(lines.extracting(name.range)) == .grpcTimeout else { return }
            if wasTold || GRPC.timeout(lines.extracting(range.range)) == asked { value = range }
        }
        guard !value.isEmpty else { return }
        turn.spare.clear()
        turn.spare.append(head.extracting(0..<(lf + 1 + value.lower)))
        GRPC.appendTimeout(left, to: &turn.spare)
        turn.spare.append(lines.extracting(value.upper..<lines.count))
        if wasTold { exchange.arena.truncate(to: exchange.head.lower) }
        let start = exchange.arena.writerIndex
        exchange.arena.append(turn.spare.readable)
        exchange.head = ByteRange(start, end: exchange.arena.writerIndex)
    }

    // MARK: Edits

    /// Edits the head in the arena, this hop's own fields included, and notes anew where texts for
    /// the log lie.
    @inline(never)
    private static func edit(
        _ exchange: inout Exchange, _ turn: inout Turn, _ snapshot: SharedBox<Snapshot>
    ) {
        let edits = snapshot.value.edits[exchange.edits].request
        guard !edits.isEmpty, let lf = ASCII.index(of: ASCII.lf, in: exchange.arena.readable) else {
            return
        }
        HeadEdits.apply(edits, snapshot, to: &exchange.arena, from: lf + 1, spare: &turn.spare)
        exchange.summary.authority = .empty
        exchange.summary.userAgent = .empty
        exchange.summary.referer = .empty
        exchange.summary.requestID = .empty
        exchange.summary.traceparent = .empty
        exchange.summary.forwardedFor = .empty
        let lines = exchange.arena.span(ByteRange(lf + 1, end: exchange.arena.writerIndex))
        FieldText.forEach(lines) { name, value, _ in
            let value = value.shifted(by: lf + 1)
            switch KnownField.intern(lines.extracting(name.range)) {
            case .host: exchange.summary.authority = value
            case .forwardedFor: exchange.summary.forwardedFor = value
            case .upgrade: exchange.upgrade = value
            case let known: note(known, value, &exchange.summary)
            }
        }
    }
}
