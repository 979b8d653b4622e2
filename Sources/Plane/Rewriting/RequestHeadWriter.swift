import Base
import Configuration
import HTTP1
import HTTPSemantics
import Routing
import Telemetry

/// Writes a request's head as the origin gets it: hop-by-hop fields dropped, forwarding fields
/// added, edits applied. Heads are written anew from parsed parts; case and order of the fields are
/// the client's.
public enum RequestHeadWriter {
    /// Writes the head and notes in the summary where texts for the log lie in what was written.
    ///
    /// - Parameters:
    ///   - bytes: the head's bytes, to which positions in the parsed head refer.
    ///   - key: has the path as it was matched.
    ///   - identity: the client's certificate as an element of `x-forwarded-client-cert`; empty
    ///     without one.
    ///   - origin: where the request comes from, as trusted hops say; `nil` without such hops. Lent
    ///     by its address, since few requests have one, and not changed.
    ///   - random: a new request id is drawn from it.
    ///   - requestID: becomes the id that is drawn; of a copy, the id of its original.
    ///   - spare: memory for edits; its bytes are lost.
    ///   - out: an empty buffer. Texts that the log shows and the origin does not get lie behind
    ///     the head.
    @inlinable @inline(__always)
    public static func write(
        _ request: OutgoingRequest, _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        key: borrowing MatchKey, identity: Span<UInt8>, origin: inout RequestOrigin?,
        random: inout PRNG, requestID: inout (high: UInt64, low: UInt64),
        spare: inout ByteBuffer, summary: inout ExchangeSummary, to out: inout ByteBuffer
    ) -> WrittenHead {
        let plan = request.plan
        var written = WrittenHead()
        out.reserve(bytes.count + 256)
        written.wantsTunnel = head.method == .connect
        if passesUnchanged(head, plan) {
            copyHead(head, bytes, &summary, &out)
        } else {
            rewriteHead(request, head, bytes, key, &summary, &out)
        }
        added(
            request, head, bytes, identity: identity, origin: &origin, random: &random,
            requestID: &requestID, &written, &summary, &out)
        if request.edits != 0 { edit(request, &written, &summary, spare: &spare, &out) }
        out.append("\r\n")
        written.range = ByteRange(0, end: out.writerIndex)
        if plan.pathEdit != .none || head.form == .absolute {
            // The log shows what the client asked for.
            summary.target = keep(head.target, of: bytes, &out)
        }
        if !plan.host.isEmpty { summary.authority = keep(head.authority, of: bytes, &out) }
        return written
    }

    /// Notes texts for the log when there is no head for an origin.
    /// - Parameter bytes: the head's bytes, to which positions refer.
    public static func keepTexts(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, summary: inout ExchangeSummary,
        to out: inout ByteBuffer
    ) {
        summary.method = keep(head.methodName, of: bytes, &out)
        summary.target = keep(head.target, of: bytes, &out)
        summary.authority = keep(head.authority, of: bytes, &out)
        for i in 0..<head.fields.count {
            let field = head.fields[i]
            switch field.known {
            case .userAgent: summary.userAgent = keep(field.value, of: bytes, &out)
            case .referer: summary.referer = keep(field.value, of: bytes, &out)
            case .traceparent: summary.traceparent = keep(field.value, of: bytes, &out)
            case .requestID: summary.requestID = keep(field.value, of: bytes, &out)
            case .forwardedFor: summary.forwardedFor = keep(field.value, of: bytes, &out)
            default: break
            }
        }
    }

    @usableFromInline
    static func keep(
        _ range: ByteRange, of bytes: Span<UInt8>, _ out: inout ByteBuffer
    ) -> ByteRange {
        let start = out.writerIndex
        out.append(bytes.extracting(range.range))
        return ByteRange(start, end: out.writerIndex)
    }

    // MARK: The client's lines

    /// Fields that never go on as they came.
    @inlinable static var rewritten: KnownFields {
        KnownFields(.connection).with(.transferEncoding).with(.te).with(.trailer).with(.upgrade)
            .with(.keepAlive).with(.proxyConnection).with(.http2Settings).with(.forwardedFor)
            .with(.forwardedProto).with(.forwardedHost).with(.forwardedClientCert).with(.requestID)
            .with(.mirror).with(.forwarded).with(.forwardedPort).with(.forwardedPrefix)
            .with(.realIP)
    }

    /// Whether every line of the head goes on as it came: most requests' do.
    @inlinable @inline(__always)
    static func passesUnchanged(
        _ head: borrowing RequestHead, _ plan: Snapshot.RoutePlan
    ) -> Bool {
        head.isLinePlain && head.fields.isCanonical && head.fields.seen.isDisjoint(with: rewritten)
            && plan.pathEdit == .none && plan.host.isEmpty
    }

    /// Copies the lines in one piece.
    @inlinable @inline(__always)
    static func copyHead(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        _ summary: inout ExchangeSummary, _ out: inout ByteBuffer
    ) {
        let start = head.methodName.lower
        out.append(bytes.extracting(start..<(head.byteCount - 2)))
        summary.method = head.methodName.shifted(by: -start)
        summary.target = head.target.shifted(by: -start)
        summary.authority = head.authority.shifted(by: -start)
        let seen = head.fields.seen
        if seen.contains(.userAgent) {
            summary.userAgent = head.fields.value(.userAgent).shifted(by: -start)
        }
        if seen.contains(.referer) {
            summary.referer = head.fields.value(.referer).shifted(by: -start)
        }
        if seen.contains(.traceparent) {
            summary.traceparent = head.fields.value(.traceparent).shifted(by: -start)
        }
    }

    /// Writes the lines that go on, each as it came or anew.
    @usableFromInline
    static func rewriteHead(
        _ request: OutgoingRequest, _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        _ key: borrowing MatchKey, _ summary: inout ExchangeSummary, _ out: inout ByteBuffer
    ) {
        let plan = request.plan
        let settings = request.snapshot.value.settings
        var hasHost = false
        var run = requestLine(request, head, bytes, key, plan, &summary, &out)
        let writesRequestID =
            settings.requestID == .create
            && (settings.trustedHops == 0 || !hasRequestID(head.fields))
        for i in 0..<head.fields.count {
            let field = head.fields[i]
            if field.known == .other {
                if !field.isNominated { _ = run.add(field, bytes, to: &out) }
                continue
            }
            if field.known == .host {
                hasHost = true
                if plan.host.isEmpty, head.form != .absolute {
                    summary.authority = run.add(field, bytes, to: &out)
                    continue
                }
                run.end(bytes, to: &out)
                out.append(bytes.extracting(field.name.range))
                out.append(": ")
                writeHost(request, head, bytes, plan, &summary, &out)
                continue
            }
            if drops(
                field, isHTTP10: head.isHTTP10, writesRequestID: writesRequestID,
                trustsHops: settings.trustedHops > 0)
            {
                continue
            }
            let value = run.add(field, bytes, to: &out)
            note(field.known, value, &summary)
        }
        run.end(bytes, to: &out)
        if head.maxForwards >= 0 {
            out.append("max-forwards: ")
            out.appendDecimal(UInt64(head.maxForwards))
            out.append("\r\n")
        }
        if !hasHost {
            // HTTP/1.0 needs no Host, the origin does.
            out.append("host: ")
            writeHost(request, head, bytes, plan, &summary, &out)
        }
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

    /// Whether the request came with an id. An empty one is none, and of several none is its own.
    private static func hasRequestID(_ fields: borrowing FieldTable) -> Bool {
        guard let field = fields.first(.requestID) else { return false }
        return !field.value.isEmpty && !fields.repeated.contains(.requestID)
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

    // MARK: Request line and Host

    /// Writes the request line, or begins the run with it where nothing about it changes.
    @inline(__always)
    private static func requestLine(
        _ request: OutgoingRequest, _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        _ key: borrowing MatchKey, _ plan: Snapshot.RoutePlan,
        _ summary: inout ExchangeSummary, _ out: inout ByteBuffer
    ) -> FieldRun {
        let method = head.methodName
        summary.method = ByteRange(start: 0, count: method.length)
        if plan.pathEdit == .none, head.isLinePlain {
            summary.target = ByteRange(start: method.length + 1, count: head.target.length)
            return FieldRun(firstLine: method.lower, past: head.linesStart)
        }
        writeRequestLine(request, head, bytes, key, plan, &summary, &out)
        return FieldRun()
    }

    private static func writeRequestLine(
        _ request: OutgoingRequest, _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        _ key: borrowing MatchKey, _ plan: Snapshot.RoutePlan,
        _ summary: inout ExchangeSummary, _ out: inout ByteBuffer
    ) {
        out.append(bytes.extracting(head.methodName.range))
        out.append(UInt8(0x20))
        let start = out.writerIndex
        if head.method == .connect {
            out.append(bytes.extracting(head.authority.range))
        } else {
            Rewrites.appendPath(
                plan, request.snapshot.value.store, head, bytes, path: key.path(in: bytes),
                to: &out)
            if head.hasQuery {
                out.append(UInt8(ascii: "?"))
                out.append(bytes.extracting(head.query.range))
            }
        }
        summary.target = ByteRange(start, end: out.writerIndex)
        out.append(" HTTP/1.1\r\n")
    }

    /// Writes the value of `Host` and its CRLF: what the route says, else the target's authority,
    /// else the service's name.
    private static func writeHost(
        _ request: OutgoingRequest, _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        _ plan: Snapshot.RoutePlan, _ summary: inout ExchangeSummary, _ out: inout ByteBuffer
    ) {
        let start = out.writerIndex
        if !plan.host.isEmpty {
            out.append(request.snapshot.value.store.bytes(plan.host))
        } else if !head.authority.isEmpty || head.fields.seen.contains(.host) {
            out.append(bytes.extracting(head.authority.range))
        } else {
            let service = request.snapshot.value.services[Int(request.service)]
            out.append(request.snapshot.value.store.bytes(service.name))
        }
        summary.authority = ByteRange(start, end: out.writerIndex)
        out.append("\r\n")
    }

    // MARK: Fields of this hop

    /// Fields that this hop writes itself.
    @inlinable @inline(__always)
    static func added(
        _ request: OutgoingRequest, _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        identity: Span<UInt8>, origin: inout RequestOrigin?, random: inout PRNG,
        requestID: inout (high: UInt64, low: UInt64), _ written: inout WrittenHead,
        _ summary: inout ExchangeSummary, _ out: inout ByteBuffer
    ) {
        if let origin {
            ForwardedFields.appendTrusted(
                head, bytes, origin: origin,
                hops: request.snapshot.value.settings.trustedHops, &summary, to: &out)
        } else {
            ForwardedFields.append(
                head, bytes, isSecure: request.isSecure, &summary, to: &out)
        }
        if request.snapshot.value.settings.requestID == .create, summary.requestID.isEmpty {
            out.append("x-request-id: ")
            let start = out.writerIndex
            // A copy has the id of its request.
            if !request.isCopy { requestID = ForwardedFields.drawRequestID(&random) }
            out.appendUUID(high: requestID.high, low: requestID.low)
            summary.requestID = ByteRange(start, end: out.writerIndex)
            out.append("\r\n")
        }
        if request.isCopy { out.append("x-sluice-mirror: 1\r\n") }
        if request.isSecure, !identity.isEmpty {
            MessageEncoder.field("x-forwarded-client-cert", identity, to: &out)
        }
        if request.snapshot.value.settings.via {
            out.append(head.isHTTP10 ? "via: 1.0 sluice\r\n" : "via: 1.1 sluice\r\n")
        }
        if head.framing == .chunked { out.append("transfer-encoding: chunked\r\n") }
        if head.options.upgrade { upgrade(head, bytes, &written, &out) }
    }

    /// RFC 9110 §7.8. `h2c` is never passed on: what follows it could not be checked.
    @usableFromInline
    static func upgrade(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        _ written: inout WrittenHead, _ out: inout ByteBuffer
    ) {
        guard head.hasUpgradeField, !head.isHTTP10, !head.framing.hasBody,
            head.method != .connect, let field = head.fields.first(.upgrade)
        else { return }
        let value = bytes.extracting(field.value.range)
        guard !value.isEmpty, ASCII.tokenLength(value) == value.count,
            !ASCII.equalFold(value, "h2c")
        else { return }
        written.wantsTunnel = true
        out.append("connection: upgrade\r\nupgrade: ")
        let start = out.writerIndex
        out.append(value)
        written.upgrade = ByteRange(start, end: out.writerIndex)
        out.append("\r\n")
    }

    // MARK: Edits

    /// Edits what was written, this hop's own fields included, and notes anew where texts for the
    /// log lie.
    @usableFromInline @inline(never)
    static func edit(
        _ request: OutgoingRequest, _ written: inout WrittenHead,
        _ summary: inout ExchangeSummary, spare: inout ByteBuffer, _ out: inout ByteBuffer
    ) {
        let edits = request.snapshot.value.edits[Int(request.edits)].request
        guard !edits.isEmpty, let lf = ASCII.index(of: ASCII.lf, in: out.readable) else { return }
        HeadEdits.apply(edits, request.snapshot, to: &out, from: lf + 1, spare: &spare)
        summary.authority = .empty
        summary.userAgent = .empty
        summary.referer = .empty
        summary.requestID = .empty
        summary.traceparent = .empty
        summary.forwardedFor = .empty
        let lines = out.span(ByteRange(lf + 1, end: out.writerIndex))
        FieldText.forEach(lines) { name, value, _ in
            let value = value.shifted(by: lf + 1)
            switch KnownField.intern(lines.extracting(name.range)) {
            case .host: summary.authority = value
            case .forwardedFor: summary.forwardedFor = value
            case .upgrade: written.upgrade = value
            case let known: note(known, value, &summary)
            }
        }
    }
}
