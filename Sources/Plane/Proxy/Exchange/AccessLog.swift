import Base
import Configuration
import HTTP1
import HTTPSemantics
import Telemetry

/// Hands the line of a finished exchange to the driver, and notes, while an exchange is under way,
/// what only some formats show.
///
/// Whether a request is written is drawn when the first fact would have to be noted, or else at its
/// end: what is not written costs nothing more, but where errors are always written.
enum AccessLog {
    /// The exchange is over, and there is a log.
    @inline(never)
    static func write(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID,
        _ snapshot: SharedBox<Snapshot>
    ) {
        let choice = tables.exchanges[id].log.choice
        let isDrawn = choice == .open ? isSampled(snapshot, &turn) : choice == .written
        guard
            isDrawn
                || snapshot.value.settings.logsErrors
                    && hasFailed(tables.exchanges[id].summary)
        else { return }
        var notes = LogNotes()
        if snapshot.value.log.form == .steps {
            notes = tables.exchanges[id].log
            complete(&notes, tables.exchanges[id])
            gather(&notes, tables, &turn, tables.exchanges[id].downstream, snapshot.value.log.needs)
        }
        compose(tables.exchanges[id], notes, &turn, snapshot)
    }

    private static func compose(
        _ exchange: borrowing Exchange, _ notes: LogNotes, _ turn: inout Turn,
        _ snapshot: SharedBox<Snapshot>
    ) {
        var labels = AccessLogFormat.Names()
        if exchange.route >= 0 {
            labels.route = snapshot.value.routes[exchange.route].name
            let service = snapshot.value.routes[exchange.route].service
            if service >= 0 {
                labels.service = snapshot.value.services[service].name
                if exchange.version >= 0 {
                    labels.version = snapshot.value.versions[exchange.version].name
                }
            }
        }
        let start = turn.logLine.writerIndex
        snapshot.value.log.append(
            exchange.summary, notes, labels, violation: violation(exchange.summary.failure),
            LogSource(
                second: turn.logSecond(exchange.summary.arrival), text: exchange.arena.readable,
                names: snapshot.value.store.bytes(
                    ByteRange(start: 0, count: snapshot.value.store.byteCount)),
                client: turn.logClient.readable), to: &turn.logLine)
        turn.effects.append(.log(ByteRange(start, end: turn.logLine.writerIndex)))
    }

    /// Hands over the line of what became no request; its texts lie in `turn.spare`.
    ///
    /// - Parameter downstream: the client's connection.
    @inline(never)
    static func writeRefusal(
        _ summary: borrowing ExchangeSummary, _ tables: borrowing Tables, _ turn: inout Turn,
        _ downstream: DownstreamID, _ snapshot: SharedBox<Snapshot>
    ) {
        guard isSampled(snapshot, &turn) || snapshot.value.settings.logsErrors else { return }
        var notes = LogNotes()
        if snapshot.value.log.form == .steps {
            notes.isSecure = summary.tlsVersion != 0
            gather(&notes, tables, &turn, downstream, snapshot.value.log.needs)
        }
        let start = turn.logLine.writerIndex
        snapshot.value.log.append(
            summary, notes, AccessLogFormat.Names(), violation: violation(summary.failure),
            LogSource(
                second: turn.logSecond(summary.arrival), text: turn.spare.readable,
                names: Span(), client: turn.logClient.readable), to: &turn.logLine)
        turn.effects.append(.log(ByteRange(start, end: turn.logLine.writerIndex)))
    }

    @inline(__always)
    private static func isSampled(
        _ snapshot: SharedBox<Snapshot>, _ turn: inout Turn
    ) -> Bool {
        let sample = snapshot.value.settings.accessLogSample
        return sample >= 10_000 || turn.random.below(10_000) < UInt64(sample)
    }

    /// Whether a request is one that `errors: always` writes.
    private static func hasFailed(_ summary: borrowing ExchangeSummary) -> Bool {
        summary.status >= 500 || !summary.flags.isEmpty || summary.cause != .none
    }

    /// The name of what the number of a failure stands for.
    private static func violation(_ failure: Failure) -> StaticString {
        switch failure.reason {
        case .malformed, .rejected:
            return RefusalCause.text(UInt8(truncatingIfNeeded: failure.number))
        default: return ""
        }
    }

    // MARK: At the end

    /// Completes what was noted by what the exchange itself has.
    private static func complete(_ notes: inout LogNotes, _ exchange: borrowing Exchange) {
        notes.isSecure = exchange.cameByHTTPS
        guard !exchange.head.isEmpty else { return }
        notes.requestLines = exchange.head
        // The client's target lies behind the head where the endpoint got another.
        let method = exchange.summary.method
        guard exchange.summary.target.lower > method.upper + 1 else { return }
        let head = exchange.arena.span(exchange.head)
        guard let space = ASCII.index(of: 0x20, in: head),
            let length = ASCII.index(of: 0x20, in: head.extracting((space + 1)..<head.count))
        else { return }
        notes.sentTarget = ByteRange(
            start: exchange.head.lower + space + 1, count: length)
    }

    /// Gathers what the client's connection says, into `turn.logClient` where it is text.
    private static func gather(
        _ notes: inout LogNotes, _ tables: borrowing Tables, _ turn: inout Turn,
        _ downstream: DownstreamID, _ needs: LogNeeds
    ) {
        turn.logClient.clear()
        guard needs.contains(.client) else { return }
        var socket = downstream
        if tables.downstream[socket].isStream, !tables.downstream[socket].isInner {
            guard tables.links.holds(tables.downstream[socket].h2) else { return }
            socket = tables.links[tables.downstream[socket].h2].socket.downstream
        }
        notes.local = tables.downstream[socket].local
        notes.connection = tables.downstream[socket].number
        turn.logClient.append(tables.downstream[socket].serverName.readable)
        notes.serverName = ByteRange(0, end: turn.logClient.count)
        turn.logClient.append(tables.downstream[socket].identity.readable)
        notes.identity = ByteRange(notes.serverName.upper, end: turn.logClient.count)
    }

    // MARK: While the exchange is under way

    /// Whether something is to be noted of an exchange: decided once, at its first fact.
    private static func isNoted(
        _ exchange: inout Exchange, _ turn: inout Turn, _ need: LogNeeds
    ) -> Bool {
        let snapshot = turn.snapshots[exchange.snapshot]
        guard exchange.kind == .client, snapshot.value.log.needs.contains(need),
            snapshot.value.settings.logs
        else { return false }
        if exchange.log.choice == .open {
            exchange.log.choice =
                isSampled(snapshot, &turn) ? .written : .dropped
        }
        return exchange.log.choice == .written || snapshot.value.settings.logsErrors
    }

    /// The head of an answer to the client lies in `turn.headOut`.
    @inline(never)
    static func noteAnswer(_ exchange: inout Exchange, _ turn: inout Turn) {
        guard isNoted(&exchange, &turn, .responseLines) else { return }
        let snapshot = turn.snapshots[exchange.snapshot]
        exchange.log.responseLines = snapshot.value.log.keep(
            turn.headOut.readable, of: .responseField, to: &exchange.arena)
    }

    /// A trailer section of an answer lies in the scratch.
    @inline(never)
    static func noteTrailers(
        _ exchange: inout Exchange, _ turn: inout Turn, _ section: ByteRange
    ) {
        guard isNoted(&exchange, &turn, .trailerLines) else { return }
        let snapshot = turn.snapshots[exchange.snapshot]
        let start = exchange.arena.writerIndex
        let lines = turn.scratch.span(ByteRange(start: 0, count: section.upper))
        var at = section.lower
        while at < section.upper,
            case .field(let field, let next)? = try? FieldLineParser.line(lines, at: at)
        {
            let name = lines.extracting(field.name.range)
            if snapshot.value.log.shows(name, of: .trailer) {
                MessageEncoder.field(
                    name, lines.extracting(field.value.range), to: &exchange.arena)
            }
            at = next
        }
        exchange.log.trailerLines = ByteRange(start, end: exchange.arena.writerIndex)
    }

    /// A request is answered without an endpoint: its fields are kept that the format shows.
    @inline(never)
    static func noteRequest(
        _ exchange: inout Exchange, _ turn: inout Turn, _ head: ByteRange
    ) {
        guard isNoted(&exchange, &turn, .requestLines) else { return }
        let snapshot = turn.snapshots[exchange.snapshot]
        let bytes = turn.scratch.span(head)
        let start = exchange.arena.writerIndex
        for i in 0..<turn.requestHead.fields.count {
            let field = turn.requestHead.fields[i]
            let name = bytes.extracting(field.name.range)
            if snapshot.value.log.shows(name, of: .requestField) {
                MessageEncoder.field(
                    name, bytes.extracting(field.value.range), to: &exchange.arena)
            }
        }
        exchange.log.requestLines = ByteRange(start, end: exchange.arena.writerIndex)
    }

    /// A request goes out on a connection.
    @inline(never)
    static func noteConnection(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, on connection: UpstreamID
    ) {
        guard isNoted(&tables.exchanges[id], &turn, .connection) else { return }
        let isStream = tables.upstream[connection].isStream
        tables.exchanges[id].log.upstreamProtocol = isStream ? .http2 : .http11
        var socket = connection
        if isStream, tables.links.holds(tables.upstream[connection].h2) {
            socket = tables.links[tables.upstream[connection].h2].socket.upstream
        }
        tables.exchanges[id].log.upstreamLocal = tables.upstream[socket].local
    }

    /// An attempt is over: its endpoint joins those that were tried.
    @inline(never)
    static func noteHost(_ exchange: inout Exchange, _ turn: inout Turn) {
        guard let endpoint = exchange.summary.endpoint, isNoted(&exchange, &turn, .hosts) else {
            return
        }
        let before = exchange.log.hosts
        turn.spare.clear()
        turn.spare.append(exchange.arena.span(before))
        let start = exchange.arena.writerIndex
        exchange.arena.append(turn.spare.readable)
        if !before.isEmpty { exchange.arena.append(UInt8(ascii: ",")) }
        LogText.append(endpoint, to: &exchange.arena)
        exchange.log.hosts = ByteRange(start, end: exchange.arena.writerIndex)
    }

    /// The whole request has come.
    @inline(never)
    static func noteRequestEnd(_ exchange: inout Exchange, _ turn: inout Turn) {
        guard exchange.log.requestTime.nanoseconds < 0, isNoted(&exchange, &turn, .requestTime)
        else { return }
        exchange.log.requestTime = turn.now - exchange.arrival
    }
}
