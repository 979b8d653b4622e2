import Base
import Configuration
import HTTPSemantics
import Rewriting
import Routing
import Telemetry

/// Adds a route's part to the head of every answer, whoever made the answer: an endpoint, an
/// endpoint that changes the protocol, or this proxy. Every final head of an
/// exchange ends here.
///
/// The head lies in `turn.headOut`: its first line and the fields that the answer has by itself.
/// Behind them come this hop's own fields, then the edits, then the session's cookie. Fields that
/// belong to the connection follow, which cannot be edited.
enum AnswerHead {
    /// - Parameters:
    ///   - hasDate: the answer has a `Date` already.
    ///   - isRelayed: the answer is an endpoint's.
    @inline(__always)
    static func finish(
        _ exchange: borrowing Exchange, _ turn: inout Turn, _ snapshot: SharedBox<Snapshot>,
        hasDate: Bool, isRelayed: Bool
    ) {
        if isRelayed, snapshot.value.settings.via { turn.headOut.append("via: 1.1 sluice\r\n") }
        if exchange.version >= 0 {
            let version = snapshot.value.versions[exchange.version]
            if !version.line.isEmpty {
                turn.headOut.append(snapshot.value.store.bytes(version.line))
            }
        }
        // RFC 9110 §6.6.1: a recipient with a clock adds the Date that the origin left out.
        if !hasDate { turn.headOut.append(turn.date()) }
        if exchange.edits != 0 || exchange.owesCookie {
            editAndIssue(exchange, &turn, snapshot)
        }
    }

    @inline(never)
    private static func editAndIssue(
        _ exchange: borrowing Exchange, _ turn: inout Turn, _ snapshot: SharedBox<Snapshot>
    ) {
        guard let lf = ASCII.index(of: ASCII.lf, in: turn.headOut.readable) else {
            preconditionFailure("a head with its first line")
        }
        let start = turn.headOut.readerIndex + lf + 1
        let edits = snapshot.value.edits[exchange.edits].response
        var isEdited = false
        if !edits.isEmpty {
            isEdited = names(edits, "set-cookie", snapshot)
            HeadEdits.apply(edits, snapshot, to: &turn.headOut, from: start, spare: &turn.spare)
        }
        // Who sets or removes Set-Cookie for all answers means the session's cookie too.
        if exchange.owesCookie, !isEdited { issue(exchange, &turn, snapshot, start) }
    }

    private static func names(
        _ edits: Snapshot.EditPlan.Direction, _ name: StaticString, _ snapshot: SharedBox<Snapshot>
    ) -> Bool {
        for i in edits.removed.start..<edits.removed.end {
            let edited = snapshot.value.store.bytes(snapshot.value.editedNames[i])
            if ASCII.equalFold(edited, name) { return true }
        }
        return false
    }

    /// Adds the session's cookie, unless the answer is meant for shared caches: those would give
    /// one session to everybody (RFC 9111 §7.3). The session then begins with another answer.
    private static func issue(
        _ exchange: borrowing Exchange, _ turn: inout Turn, _ snapshot: SharedBox<Snapshot>,
        _ start: Int
    ) {
        let lines = ByteRange(start, end: turn.headOut.writerIndex)
        switch CacheSharing(lines: turn.headOut.span(lines)) {
        case .meant: return turn.counters.count(.stickyCookiesWithheld)
        // The client may keep its answer as long as before.
        case .allowed: makePrivate(&turn, start)
        case .unsaid, .forbidden: break
        }
        turn.counters.count(.stickyCookiesIssued)
        let service = snapshot.value.routes[exchange.route].service
        let sticky = snapshot.value.services[service].sticky
        snapshot.value.sticky[sticky].value.appendSetCookie(
            position: exchange.cookiePosition, wall: turn.wall, isSecure: exchange.cameByHTTPS,
            to: &turn.headOut)
    }

    /// Adds `private` to the last `Cache-Control` line, or as a line of its own without one.
    private static func makePrivate(_ turn: inout Turn, _ start: Int) {
        let lines = turn.headOut.span(ByteRange(start, end: turn.headOut.writerIndex))
        var end: Int?
        FieldText.forEach(lines) { name, _, line in
            if ASCII.equalFold(lines.extracting(name.range), "cache-control") {
                end = line.upper - 2
            }
        }
        guard let end else { return turn.headOut.append("cache-control: private\r\n") }
        turn.spare.clear()
        turn.spare.append(lines.extracting(end..<lines.count))
        turn.headOut.truncate(to: start + end)
        turn.headOut.append(", private")
        turn.headOut.append(turn.spare.readable)
    }
}
