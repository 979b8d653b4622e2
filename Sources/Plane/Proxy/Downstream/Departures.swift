import Base
import Configuration
import Telemetry

/// Why a client does not get its answer, or not all of it, other than by its endpoint's doing.
enum Departure {
    /// The client ended the connection, or the stream.
    case left
    /// The client did not take what was sent to it for too long (`timeouts.write`).
    case stalled
    /// The client broke the protocol of its connection, and lost all streams of it.
    case violated
    /// This process ends, and its time to drain is over.
    case drained
}

extension ExchangeSummary {
    mutating func note(_ departure: Departure) {
        switch departure {
        case .left:
            flags.insert(.downstreamTermination)
            status = 0
            cause = .none
            failure = Failure(.clientLeft)
        case .violated:
            flags.insert(.downstreamProtocolError)
            status = 0
            cause = .none
            failure = Failure(.clientViolated)
        // What has been sent stands; it was not all.
        case .stalled:
            flags.insert(.streamIdle)
            failure = Failure(.clientStalled)
        case .drained:
            flags.insert(.drained)
            cause = .drain
            failure = Failure(.drain)
        }
    }
}

extension DownstreamSide {
    // MARK: Clients that leave

    /// The client will send no more, and what it has sent is not all read: with a request under way
    /// it has left, as in `ended`.
    static func hungUp(_ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID) {
        guard tables.downstream.holds(id), tables.downstream[id].phase == .exchange,
            isGone(tables, turn, id)
        else { return }
        left(&tables, &turn, id)
    }

    /// Whether a client that sends no more has left. A stream's end is only its request's.
    static func isGone(
        _ tables: borrowing Tables, _ turn: borrowing Turn, _ id: DownstreamID
    ) -> Bool {
        !tables.downstream[id].isStream
            && !turn.snapshots.newest.value.allowsHalfClose(tables.downstream[id].listener)
    }

    /// The client has left while its request was under way: nobody waits for the answer.
    static func left(_ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID) {
        let exchange = tables.downstream[id].exchange
        // A reset shows a part as a part; it would also take back answers in front of this one.
        let isPart = tables.exchanges[exchange].responsePhase == .body
        Exchanges.abandon(&tables, &turn, exchange)
        ClientConnections.close(&tables, &turn, id, reset: isPart)
    }

    // MARK: The end of draining

    /// Ends a connection, or a stream, because this process ends now. What the client has had so
    /// far must not look complete, and where it has had nothing it is told.
    static func endOfDrain(_ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID) {
        guard !tables.downstream[id].isStream else {
            return failed(&tables, &turn, id, as: .drained)
        }
        switch tables.downstream[id].phase {
        // No request has begun, or none that is whole.
        case .idle, .head: ClientConnections.close(&tables, &turn, id, reset: false)
        case .exchange:
            let exchange = tables.downstream[id].exchange
            guard tables.exchanges[exchange].responsePhase == .waiting else {
                return failed(&tables, &turn, id, as: .drained)
            }
            Exchanges.fail(
                &tables, &turn, exchange,
                LocalAnswer(
                    status: 503, flags: .drained, cause: .drain, failure: Failure(.drain)))
        // The last answer is out; only a client that has not taken all of it loses something.
        case .lingering where !tables.downstream[id].hasUnsent:
            ClientConnections.close(&tables, &turn, id, reset: false)
        case .lingering, .tunnel, .http2, .closed:
            failed(&tables, &turn, id, as: .drained)
        }
    }
}
