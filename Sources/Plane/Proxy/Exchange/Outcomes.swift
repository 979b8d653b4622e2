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
/// fair sample. `Decisions` says of each whether and how it counts (`Exchange.EvidenceUnit`); a
/// fault takes that back.
enum Outcomes {
    /// The request is over. Called before it is counted elsewhere: the cause of an error that is
    /// none of the version's is taken back here.
    @inline(__always)
    static func finish(_ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID) {
        guard let evidence = tables.exchanges[id].evidence else {
            if tables.exchanges[id].summary.cause != .none { settle(&tables, turn, id) }
            return
        }
        let time = tables.exchanges[id].summary.firstByte.nanoseconds
        let isPlain =
            tables.exchanges[id].summary.cause == .none && time >= 0
            && tables.exchanges[id].summary.status &- 200 < 200
            && tables.exchanges[id].retry.count == 0
        guard isPlain else { return finishUnusual(&tables, &turn, id, evidence) }
        var isNew = tables.exchanges[id].unit == .request
        if tables.exchanges[id].unit == .session, let places = evidence.value.places {
            isNew = places.value.see(tables.exchanges[id].cookiePosition)
        }
        let version = tables.exchanges[id].evidenceVersion
        if isNew {
            evidence.value.recordAnswer(version, worker: turn.worker, nanoseconds: time)
        } else {
            evidence.value.recordRepeatedAnswer(version, worker: turn.worker)
        }
    }

    /// Takes the cause of an error back that its service does not count as one.
    @inline(never)
    static func settle(
        _ tables: inout Tables, _ turn: borrowing Turn, _ id: ExchangeID
    ) {
        // Without a version, and at the end of the process, the cause stands.
        guard tables.exchanges[id].summary.cause != .none, tables.exchanges[id].version >= 0,
            tables.exchanges[id].summary.cause != .drain,
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
    }

    // MARK: Ends

    /// An error, a client that left, a refusal, a retry.
    @inline(never)
    private static func finishUnusual(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID,
        _ evidence: SharedBox<EpochEvidence>
    ) {
        let isError = errors(tables, turn, id).takes(tables.exchanges[id].summary)
        var outcome = outcome(tables.exchanges[id], isError: isError)
        var isNewFailure = isError
        if let places = evidence.value.places {
            // A request without a place is no session's, and in no histogram.
            outcome.isNewPlace = false
            if tables.exchanges[id].unit == .session {
                let position = tables.exchanges[id].cookiePosition
                outcome.isNewPlace = places.value.see(position)
                if isError { isNewFailure = places.value.fail(position) }
            }
        }
        evidence.value.record(
            outcome, tables.exchanges[id].evidenceVersion, worker: turn.worker)
        if isNewFailure { blame(tables, &turn, id) }
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
        _ tables: borrowing Tables, _ turn: inout Turn, _ id: ExchangeID
    ) {
        let snapshot = turn.snapshots[tables.exchanges[id].snapshot]
        let route = snapshot.value.routes[tables.exchanges[id].route]
        // Whoever matches a stage's rule is no fair sample.
        guard route.split >= 0 else { return }
        let split = snapshot.value.splits[route.split]
        guard let sums = split.errors else { return }
        let service = snapshot.value.services[route.service]
        let version = tables.exchanges[id].evidenceVersion
        let sum = sums.value.failed(version: version, epoch: split.epoch)
        let ownSum = sums.value.failedByItself(version: version, epoch: split.epoch) {
            split.evidence?.value.tally(version: $0) ?? (0, 0)
        }
        if version == service.stable { return }
        var trip = Trip()
        trip.at = turn.now
        if let sum {
            trip.sum = sum.value
            trip.limit = sum.limit
            trip.errors = sum.errors
            trip.versionErrors = sums.value.errorCount(version: version)
        } else if let ownSum {
            let counts =
                split.evidence?.value.tally(version: version) ?? (requests: 0, errors: 0)
            trip.sum = ownSum.value
            trip.limit = AbsoluteSum.limit
            trip.errors = counts.errors
            trip.versionErrors = counts.errors
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
