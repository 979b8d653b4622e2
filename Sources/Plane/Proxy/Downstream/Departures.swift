import Base
import Configuration
import Telemetry

/// Why a client does not get its answer, or not all of it, other than by its endpoint's doing.
enum Departure {
    /// It ended the connection, or the stream.
    case left
    /// It did not take what was sent to it for too long (`timeouts.write`).
    case stalled
    /// It broke the protocol of its connection, and lost all streams of it.
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
        case .violated:
            flags.insert(.downstreamProtocolError)
            status = 0
            cause = .none
        // What has been sent stands; it was not all.
        case .stalled: flags.insert(.streamIdle)
        case .drained:
            flags.insert(.drained)
            cause = .drain
        }
    }
}

extension DownstreamSide {
    // MARK: Clients that leave

    /// The client will send no more, and what it has sent is not all read: with a request under way
    /// it has left, as in `ended`.
    static func hungUp(_ tables: inout Tables, _ turn: inout Turn, _ id: SlotID) {
        guard tables.downstream.holds(id), tables.downstream[id].phase == .exchange,
            isGone(tables, turn, id)
        else { return }
        left(&tables, &turn, id)
    }

    /// Whether a client that sends no more has left. A stream's end is only its request's.
    static func isGone(
        _ tables: borrowing Tables, _ turn: borrowing Turn, _ id: SlotID
    ) -> Bool {
        !tables.downstream[id].isStream
            && !turn.snapshots.newest.value.allowsHalfClose(tables.downstream[id].listener)
    }

    /// The client has left while its request was under way: nobody waits for the answer.
    static func left(_ tables: inout Tables, _ turn: inout Turn, _ id: SlotID) {
        let exchange = tables.downstream[id].exchange
        // A reset shows a part as a part; it would also take back answers in front of this one.
        let isPart = tables.exchanges[exchange].responsePhase == .body
        Exchanges.abandon(&tables, &turn, exchange)
        close(&tables, &turn, id, reset: isPart)
    }

    // MARK: The end of draining

    /// Ends a connection, or a stream, because this process ends now. What the client has had so
    /// far must not look complete, and where it has had nothing it is told.
    static func endOfDrain(_ tables: inout Tables, _ turn: inout Turn, _ id: SlotID) {
        guard !tables.downstream[id].isStream else {
            return failed(&tables, &turn, id, as: .drained)
        }
        switch tables.downstream[id].phase {
        // No request has begun, or none that is whole.
        case .idle, .head: close(&tables, &turn, id, reset: false)
        case .exchange:
            let exchange = tables.downstream[id].exchange
            guard tables.exchanges.holds(exchange),
                tables.exchanges[exchange].responsePhase == .waiting
            else { return failed(&tables, &turn, id, as: .drained) }
            Exchanges.fail(
                &tables, &turn, exchange, status: 503, flags: .drained, cause: .drain)
        // The last answer is out; only a client that has not taken all of it loses something.
        case .lingering where !tables.downstream[id].hasUnsent:
            close(&tables, &turn, id, reset: false)
        case .lingering, .tunnel, .session, .closed:
            failed(&tables, &turn, id, as: .drained)
        }
    }

    // MARK: Clients that take nothing

    /// A request's route says how long the client may take nothing of what waits for it.
    @inline(__always)
    static func setPatience(_ tables: inout Tables, _ id: SlotID, _ patience: Duration) {
        tables.downstream[id].patience = patience
        if tables.downstream[id].isStream { raisePatience(&tables, id, patience) }
    }

    /// A socket that carries streams has the longest of their times.
    @inline(never)
    private static func raisePatience(
        _ tables: inout Tables, _ id: SlotID, _ patience: Duration
    ) {
        let session = tables.downstream[id].session
        guard tables.sessions.holds(session) else { return }
        let socket = tables.sessions[session].socket.slot
        tables.downstream[socket].patience = max(tables.downstream[socket].patience, patience)
    }
}
