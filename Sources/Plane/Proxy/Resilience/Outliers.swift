import Base
import Configuration
import HTTPSemantics
import Telemetry
import Upstream

/// Tells the endpoints what became of the attempts that they had: a run of bad answers takes one
/// out of the rotation (`OutlierEjection`).
enum Outliers {
    /// The endpoint has answered.
    static func answered(
        _ tables: borrowing Tables, _ turn: inout Turn, _ id: ExchangeID, status: UInt16
    ) {
        let cluster = Attempts.cluster(tables, of: id)
        // A health check says it in its own way.
        guard cluster.value.detectsOutliers, tables.exchanges[id].kind == .client else { return }
        let call = tables.exchanges[id].summary.grpcStatus
        if Outcomes.errors(tables, turn, id).takes(status: status, call: call) {
            // A call that ends at once: its own status is what HTTP would have said.
            let said = status < 500 ? GRPC.httpStatus(for: UInt8(max(0, call))) : status
            let outcome = OutlierEjection.Outcome(status: max(said, 500))
            return take(tables, &turn, id, cluster, outcome)
        }
        let position = tables.attempts[tables.exchanges[id].attempt].position
        cluster.value.endpoints[position].state.value.succeeded(cluster.value.outlier)
    }

    /// No answer came: the connect failed, the connection broke, or a timeout passed.
    static func failed(_ tables: borrowing Tables, _ turn: inout Turn, _ id: ExchangeID) {
        guard !tables.exchanges[id].attempt.isNone,
            tables.exchanges[id].kind == .client
        else { return }
        let cluster = Attempts.cluster(tables, of: id)
        guard cluster.value.detectsOutliers, Outcomes.errors(tables, turn, id).takesNoAnswer else {
            return
        }
        take(tables, &turn, id, cluster, .localFailure)
    }

    private static func take(
        _ tables: borrowing Tables, _ turn: inout Turn, _ id: ExchangeID,
        _ cluster: SharedBox<Cluster>,
        _ outcome: OutlierEjection.Outcome
    ) {
        let position = tables.attempts[tables.exchanges[id].attempt].position
        guard position >= 0 else { return }
        let cause = cluster.value.endpoints[position].state.value.failed(
            outcome, cluster.value.outlier, cluster: cluster.value.state.value,
            endpointCount: cluster.value.endpoints.count, now: turn.now)
        if let cause { ejected(&turn, cluster, position, cause) }
    }

    static func ejected(
        _ turn: inout Turn, _ cluster: SharedBox<Cluster>, _ position: Int,
        _ cause: OutlierEjection.Cause
    ) {
        let metric: ClusterMetric
        switch cause {
        case .errors: metric = .ejectedForErrors
        case .gatewayErrors: metric = .ejectedForGatewayErrors
        case .localFailures: metric = .ejectedForLocalFailures
        case .successRate: metric = .ejectedForSuccessRate
        }
        turn.counters.count(metric, cluster: cluster.value.id)
        turn.tell(.ejected(cause), cluster, cluster.value.endpoints[position].address)
    }
}
