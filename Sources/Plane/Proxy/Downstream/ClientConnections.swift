import Base
import Configuration
import HTTP1
import Telemetry

/// The slots of clients' connections: held up and let go on, idle, ended.
enum ClientConnections {
    /// How long an announced close waits for the client's own.
    static let lingerMax = Duration.seconds(2)
    /// A connection that is to end waits so long for a request that is on its way.
    private static let lastCall = Duration.seconds(1)

    /// Lets the client send again, if it was held up.
    static func resume(_ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID) {
        guard tables.downstream[id].isReadPaused else { return }
        tables.downstream[id].isReadPaused = false
        turn.effects.append(.resume(ConnectionID(downstream: id)))
    }

    /// The last response is handed over: close once it is out.
    static func finishAndClose(_ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID) {
        tables.downstream[id].inbound.release()
        closeDrained(&tables, &turn, id)
    }

    /// Closes once everything that waits is out, for which the client has its time.
    static func closeDrained(
        _ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID
    ) {
        tables.downstream[id].afterFlush = .close
        tables.downstream[id].enter(.lingering)
        // Sends of this event are performed after it: whether bytes remain shows only then.
        if !tables.downstream[id].isBlocked {
            let deadline = turn.now + tables.downstream[id].patience
            Timers.arm(downstream: id, deadline, &tables, &turn)
        }
        turn.effects.append(.checkDrained(ConnectionID(downstream: id)))
    }

    /// Half-closes and waits for the client's end, so that a reset does not overtake the response.
    static func linger(_ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID) {
        if tables.downstream[id].hasEnded || tables.downstream[id].isStream {
            return close(&tables, &turn, id, reset: false)
        }
        tables.downstream[id].isReadPaused = false
        turn.effects.append(.shutdownWrite(ConnectionID(downstream: id)))
        turn.effects.append(.resume(ConnectionID(downstream: id)))
        Timers.arm(downstream: id, turn.now + lingerMax, &tables, &turn)
    }

    /// Frees the slot and closes the socket.
    static func close(
        _ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID, reset: Bool
    ) {
        if tables.downstream[id].isStream {
            // Effects of this event may still name it.
            tables.downstream[id].enter(.closed)
            tables.downstream[id].timer.clear()
            return turn.effects.append(.close(ConnectionID(downstream: id), reset: reset))
        }
        if !tables.downstream[id].firstPrivate.isNone {
            PrivateConnections.closeAll(&tables, &turn, of: id)
        }
        tables.downstream[id].reset()
        tables.downstream.free(id)
        turn.socketCount -= 1
        turn.counters.count(.downstreamConnectionsClosed)
        turn.effects.append(.close(ConnectionID(downstream: id), reset: reset))
    }

    /// The exchange is over and the connection stays: wait for the next request.
    @inline(__always)
    static func becomeIdle(_ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID) {
        // A stream carries one exchange.
        if tables.downstream[id].isStream { return close(&tables, &turn, id, reset: false) }
        tables.downstream[id].enterOften(.idle)
        tables.downstream[id].parser = RequestHeadParser()
        if !tables.downstream[id].hasUnsent {
            armIdle(&tables, &turn, id)
            resume(&tables, &turn, id)
        }
    }

    @inline(__always)
    static func armIdle(_ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID) {
        let keepAlive = turn.snapshots.newest.value.settings.timeouts.keepAlive
        let deadline = min(turn.now + keepAlive, tables.downstream[id].expires)
        Timers.arm(downstream: id, deadline, &tables, &turn)
    }

    // MARK: Last calls

    /// The connection lies idle and is to end: closed without a word it might lose the request that
    /// is on its way, so that one is answered, and told that it was the last.
    static func callLast(_ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID) {
        tables.downstream[id].term = .lastCall
        Timers.arm(downstream: id, turn.now + lastCall, &tables, &turn)
    }

    /// Closes an idle connection, unless a request has come that was not read yet.
    static func closeIfQuiet(_ tables: inout Tables, _ turn: inout Turn, _ id: DownstreamID) {
        // What has come and is none of a request, or not a whole one, has so long to become one.
        Timers.arm(downstream: id, turn.now + lastCall, &tables, &turn)
        turn.effects.append(.checkQuiet(ConnectionID(downstream: id)))
    }

    // MARK: Clients that take nothing

    /// A request's route says how long the client may take nothing of what waits for it.
    @inline(__always)
    static func setPatience(_ tables: inout Tables, _ id: DownstreamID, _ patience: Duration) {
        tables.downstream[id].patience = patience
        if tables.downstream[id].isStream { raisePatience(&tables, id, patience) }
    }

    /// A socket that carries streams has the longest of their times.
    @inline(never)
    private static func raisePatience(
        _ tables: inout Tables, _ id: DownstreamID, _ patience: Duration
    ) {
        let h2 = tables.downstream[id].h2
        let socket = tables.links[h2].socket.downstream
        tables.downstream[socket].patience = max(tables.downstream[socket].patience, patience)
    }
}
