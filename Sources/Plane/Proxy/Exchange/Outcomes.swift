import Base
import Configuration
import Evidence
import HTTP1
import HTTPSemantics
import Judge
import Telemetry
import Upstream

/// Lessons of the end of a request about its version: evidence, and the guard that takes a version
/// out at once when it alone has the errors (docs/evidence.md).
///
/// Only requests whose version was drawn, or follows from their session's position, say anything: a
/// fair sample. `Decisions` gives those their run of counters; a fault takes it away again.
enum Outcomes {
    /// The request's version is a fair draw of its split: its end will count.
    @inline(__always)
    static func begin(
        _ exchange: inout Exchange, worker: Int, version: Int, _ plan: Snapshot.SplitPlan
    ) {
        guard let evidence = plan.evidence else { return }
        exchange.evidence = evidence.value.lane(worker: worker, version: version)
    }

    /// The request's service has sessions.
    ///
    /// - Parameter hasPlace: whether the request belongs to one, at the exchange's position.
    @inline(__always)
    static func beginSession(
        _ exchange: inout Exchange, hasPlace: Bool, _ plan: Snapshot.SplitPlan
    ) {
        exchange.unit = hasPlace ? .session : .placeless
        exchange.places = hasPlace ? plan.evidence?.value.places : nil
    }

    /// The request is over. Called before it is counted elsewhere: the cause of an error that is
    /// none of the version's is taken back here.
    @inline(__always)
    static func finish(_ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID) {
        if tables.exchanges[id].evidence.isNone {
            if tables.exchanges[id].summary.cause != .none { settle(&tables, turn, id) }
            return
        }
        let time = tables.exchanges[id].summary.firstByte.nanoseconds
        if tables.exchanges[id].summary.cause == .none, time >= 0,
            tables.exchanges[id].summary.status &- 200 < 200
        {
            switch tables.exchanges[id].unit {
            case .request: return tables.exchanges[id].evidence.recordAnswer(nanoseconds: time)
            case .placeless: return tables.exchanges[id].evidence.recordRepeatedAnswer()
            case .session: return finishSession(tables.exchanges[id], nanoseconds: time)
            case .repeated: break
            }
        }
        finishUnusual(&tables, &turn, id)
    }

    /// A plain answer to a session.
    private static func finishSession(_ exchange: borrowing Exchange, nanoseconds: Int64) {
        if let places = exchange.places, places.value.see(exchange.cookiePosition) {
            exchange.evidence.recordAnswer(nanoseconds: nanoseconds)
        } else {
            exchange.evidence.recordRepeatedAnswer()
        }
    }

    /// Takes the cause of an error back that its service does not count as one.
    @inline(never)
    private static func settle(
        _ tables: inout Tables, _ turn: borrowing Turn, _ id: ExchangeID
    ) {
        // Without a version, and at the end of the process, the cause stands.
        guard tables.exchanges[id].version >= 0, tables.exchanges[id].summary.cause != .drain,
            !errors(tables, turn, id).takes(tables.exchanges[id].summary)
        else { return }
        tables.exchanges[id].summary.cause = .none
    }

    /// The definition of an error of an exchange's version.
    static func errors(
        _ tables: borrowing Tables, _ turn: borrowing Turn, _ id: ExchangeID
    ) -> VersionErrors {
        let version = tables.exchanges[id].version
        guard version >= 0 else { return VersionErrors() }
        return turn.snapshots[tables.exchanges[id].snapshot].value.versions[version].errors
    }

    /// The first attempt of a request failed, and another follows.
    ///
    /// - Parameter isAnswer: the attempt failed by its answer, whose head lies in the turn.
    static func noteFirst(
        _ tables: inout Tables, _ turn: borrowing Turn, _ id: ExchangeID, isAnswer: Bool
    ) {
        guard tables.exchanges[id].kind == .client else { return }
        let errors = errors(tables, turn, id)
        tables.exchanges[id].hasFirstError =
            isAnswer
            ? errors.takes(
                status: turn.responseHead.status, call: tables.exchanges[id].summary.grpcStatus)
            : errors.takesNoAnswer
        tables.exchanges[id].unit = .repeated
    }

    // MARK: Ends

    /// An error, a client that left, a refusal, a session, a retry.
    @inline(never)
    private static func finishUnusual(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID
    ) {
        let isError = errors(tables, turn, id).takes(tables.exchanges[id].summary)
        var outcome = outcome(tables.exchanges[id], isError: isError)
        let snapshot = turn.snapshots[tables.exchanges[id].snapshot]
        let split = snapshot.value.splits[snapshot.value.routes[tables.exchanges[id].route].split]
        var isNewFailure = isError
        if split.evidence?.value.places != nil {
            let position = tables.exchanges[id].cookiePosition
            // A request without a place is no session's, and in no histogram.
            outcome.isNewPlace = false
            if let places = tables.exchanges[id].places {
                outcome.isNewPlace = places.value.see(position)
                if isError { isNewFailure = places.value.fail(position) }
            }
        }
        tables.exchanges[id].evidence.record(outcome)
        if isNewFailure, let sums = split.errors {
            blame(tables, &turn, id, sums, epoch: split.epoch)
        }
        if !isError, tables.exchanges[id].summary.cause != .drain {
            tables.exchanges[id].summary.cause = .none
        }
    }

    private static func outcome(
        _ exchange: borrowing Exchange, isError: Bool
    ) -> RequestOutcome {
        var outcome = RequestOutcome()
        let isAnswered = exchange.summary.firstByte.nanoseconds >= 0
        outcome.end = isError ? .failure : isAnswered ? .answer : .departure
        outcome.time = isAnswered ? exchange.summary.firstByte : exchange.summary.duration
        let isRefusal = exchange.summary.status &- 400 < 100 || exchange.summary.grpcStatus > 0
        outcome.isClientError = !isError && isRefusal
        outcome.isFirstError = exchange.retry.count > 0 ? exchange.hasFirstError : isError
        outcome.isTimeout = isError && !isAnswered && exchange.summary.cause == .timeout
        return outcome
    }

    // MARK: The guard

    /// Requests in a row that reach no endpoint of their version until it is taken out.
    private static let unreachedMax = 5

    /// An error goes into the guard's sums; a version that has too many is taken out.
    private static func blame(
        _ tables: borrowing Tables, _ turn: inout Turn, _ id: ExchangeID,
        _ sums: SharedBox<SplitGuard>, epoch: UInt64
    ) {
        let snapshot = turn.snapshots[tables.exchanges[id].snapshot]
        let service = snapshot.value.services[
            snapshot.value.routes[tables.exchanges[id].route].service]
        let version = tables.exchanges[id].version - service.versions.start
        let sum = sums.value.failed(version: version, epoch: epoch)
        if version == service.stable { return }
        var trip = Trip()
        trip.at = turn.now
        if let sum {
            trip.sum = sum.value
            trip.limit = sum.limit
            trip.errors = sum.errors
            trip.versionErrors = sums.value.errorCount(version: version)
        } else if let count = unreached(tables.exchanges[id], turn) {
            trip.cause = .unreachable
            trip.sum = Double(count)
            trip.limit = Double(unreachedMax)
        } else {
            return
        }
        // Never the last version that can take requests.
        let stable = snapshot.value.versions[service.versions.start + service.stable].cluster
        guard stable.value.isAvailable(now: turn.now) else { return }
        if snapshot.value.versions[tables.exchanges[id].version].latch.value.trip(trip) {
            turn.effects.append(.wakeControl)
        }
    }

    /// Counts a request that reached no endpoint.
    /// - Returns: how many there were in a row, when they are enough and no endpoint is left.
    private static func unreached(
        _ exchange: borrowing Exchange, _ turn: borrowing Turn
    ) -> Int? {
        let flags: ResponseFlags = [.upstreamConnectFailure, .noHealthyUpstream]
        guard !exchange.summary.flags.isDisjoint(with: flags), let cluster = exchange.cluster else {
            return nil
        }
        let count = cluster.value.state.value.noteUnreached()
        return count >= unreachedMax && !cluster.value.isAvailable(now: turn.now) ? count : nil
    }

    /// Whether a version that the guard has taken out stays without requests: not while it is the
    /// only one that can take them.
    static func isOut(
        _ turn: borrowing Turn, _ cluster: SharedBox<Cluster>, stable: SharedBox<Cluster>
    ) -> Bool {
        stable.value.isAvailable(now: turn.now) || !cluster.value.isAvailable(now: turn.now)
    }
}
