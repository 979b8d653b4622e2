import Base
import Configuration
import HTTP1
import Telemetry
import Upstream

/// The things that an exchange holds while it tries endpoints: the attempt under way, a place in
/// the endpoint's load, and permits of the cluster.
enum Attempts {
    static func cluster(
        _ tables: borrowing Tables, of exchange: ExchangeID
    ) -> SharedBox<Cluster> {
        guard let cluster = tables.exchanges[exchange].cluster else {
            preconditionFailure("an exchange with a version has its cluster")
        }
        return cluster
    }

    /// The slot of an attempt was taken: it is the exchange's.
    @inline(__always)
    static func begin(
        _ tables: inout Tables, _ turn: inout Turn, attempt: AttemptID, exchange: ExchangeID,
        _ cluster: SharedBox<Cluster>
    ) {
        tables.attempts[attempt].reset()
        tables.attempts[attempt].exchange = exchange
        tables.exchanges[exchange].attempt = attempt
        tables.exchanges[exchange].summary.attempts &+= 1
        turn.counters.count(.attempts, cluster: cluster.value.id)
    }

    /// The attempt counts at an endpoint from now on.
    static func place(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: AttemptID,
        _ cluster: SharedBox<Cluster>, _ position: Int
    ) {
        let endpoint = cluster.value.endpoints[position]
        tables.attempts[attempt].position = position
        tables.attempts[attempt].endpoint = endpoint.id
        tables.exchanges[tables.attempts[attempt].exchange].summary.endpoint = endpoint.address
        turn.endpointPools[endpoint.id].load += 1
    }

    static func move(
        _ tables: inout Tables, _ turn: inout Turn, _ attempt: AttemptID,
        _ cluster: SharedBox<Cluster>, _ position: Int
    ) {
        turn.endpointPools[tables.attempts[attempt].endpoint].load -= 1
        place(&tables, &turn, attempt, cluster, position)
    }

    /// The attempt is over; its connection, if it has one, is the caller's to keep or close.
    static func end(_ tables: inout Tables, _ turn: inout Turn, exchange: ExchangeID) {
        let attempt = tables.exchanges[exchange].attempt
        guard !attempt.isNone else { return }
        if tables.attempts[attempt].phase == .pending {
            PendingQueue.remove(
                &tables, &turn, attempt, cluster: tables.exchanges[exchange].summary.cluster)
        }
        let endpoint = tables.attempts[attempt].endpoint
        if endpoint >= 0 {
            turn.endpointPools[endpoint].load -= 1
            if turn.logNeeds.contains(.hosts) {
                AccessLog.noteHost(&tables.exchanges[exchange], &turn)
            }
        }
        if tables.exchanges[exchange].retry.holdsPermit {
            freeRetryPermit(&tables, &turn, exchange)
        }
        tables.attempts.free(attempt)
        tables.exchanges[exchange].attempt = .none
    }

    static func freeRetryPermit(_ tables: inout Tables, _ turn: inout Turn, _ exchange: ExchangeID)
    {
        guard tables.exchanges[exchange].retry.holdsPermit else { return }
        tables.exchanges[exchange].retry.holdsPermit = false
        let cluster = tables.exchanges[exchange].summary.cluster
        turn.clusterPools[cluster].state?.value.freeRetry()
    }

    static func freeRequestPermit(
        _ tables: inout Tables, _ turn: inout Turn, _ exchange: ExchangeID
    ) {
        guard tables.exchanges[exchange].holdsRequestPermit else { return }
        tables.exchanges[exchange].holdsRequestPermit = false
        let cluster = tables.exchanges[exchange].summary.cluster
        turn.clusterPools[cluster].state?.value.freeRequest()
    }

    /// The attempt has its connection; `RequestRelay.start` sends the request.
    @inline(__always)
    static func assign(
        _ tables: inout Tables, attempt: AttemptID, connection: UpstreamID, isReused: Bool
    ) -> Lease {
        tables.attempts[attempt].enterOften(.sent)
        tables.attempts[attempt].connection = connection
        tables.attempts[attempt].isReused = isReused
        tables.upstream[connection].attempt = attempt
        tables.upstream[connection].enterOften(.busy)
        tables.upstream[connection].parser = ResponseHeadParser()
        tables.upstream[connection].requestCount += 1
        tables.upstream[connection].timer.clear()
        return .assigned(connection)
    }

    /// The connection that serves an exchange now, if it has one that is busy with it.
    static func connection(_ tables: borrowing Tables, of id: ExchangeID) -> UpstreamID? {
        guard !id.isNone else { return nil }
        let attempt = tables.exchanges[id].attempt
        guard !attempt.isNone, tables.attempts[attempt].phase == .sent else { return nil }
        return tables.attempts[attempt].connection
    }
}
