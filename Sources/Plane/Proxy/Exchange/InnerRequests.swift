import Base
import Telemetry

/// Requests that Sluice makes itself: copies of clients' (`Mirrors`) and health checks
/// (`HealthChecks`).
///
/// Each has an exchange like any other, and in place of a client's socket a connection that is
/// nobody's: text can be fed into it, and what is sent to it goes nowhere. So there is one way to
/// ask an endpoint, whoever asks.
enum InnerRequests {
    /// Takes the slots of an inner request. `nil`: there is no room.
    static func open(
        _ tables: inout Tables, _ turn: inout Turn, _ kind: Exchange.Kind
    ) -> (downstream: DownstreamID, exchange: ExchangeID)? {
        guard let downstream = tables.downstream.take() else { return nil }
        guard let exchange = tables.exchanges.take() else {
            tables.downstream.free(downstream)
            return nil
        }
        turn.hasStreams = true
        turn.innerCount += 1
        tables.downstream[downstream].reset()
        tables.downstream[downstream].stream = .inner
        tables.downstream[downstream].enter(.exchange)
        tables.downstream[downstream].hasServed = true
        tables.downstream[downstream].exchange = exchange
        tables.exchanges[exchange].reset()
        tables.exchanges[exchange].kind = kind
        tables.exchanges[exchange].downstream = downstream
        tables.exchanges[exchange].snapshot = turn.snapshots.pin()
        tables.exchanges[exchange].arrival = turn.now
        tables.exchanges[exchange].summary.arrival = turn.wall
        return (downstream, exchange)
    }
}
