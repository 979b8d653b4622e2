import Base
import HTTP2

/// Lists of sessions: those of an endpoint that take streams, and those of the worker that have
/// something to write at the end of its turn.
enum SessionLists {
    /// Puts a session in its endpoint's list, newest first.
    static func list(_ tables: inout Tables, _ turn: inout Turn, _ session: SessionID) {
        let endpoint = tables.sessions[session].endpoint
        let head = turn.endpointPools[endpoint].sessions
        tables.sessions[session].next = head
        tables.sessions[session].previous = .none
        tables.sessions[session].isListed = true
        if !head.isNone { tables.sessions[head].previous = session }
        turn.endpointPools[endpoint].sessions = session
    }

    /// The session takes no new streams.
    static func unlist(_ tables: inout Tables, _ turn: inout Turn, _ session: SessionID) {
        guard tables.sessions[session].isListed else { return }
        tables.sessions[session].isListed = false
        let next = tables.sessions[session].next, previous = tables.sessions[session].previous
        if previous.isNone {
            turn.endpointPools[tables.sessions[session].endpoint].sessions = next
        } else {
            tables.sessions[previous].next = next
        }
        if !next.isNone { tables.sessions[next].previous = previous }
    }

    /// The session has something to write, or may be at its end.
    static func markDirty(_ tables: inout Tables, _ turn: inout Turn, _ session: SessionID) {
        guard !tables.sessions[session].isDirty else { return }
        tables.sessions[session].isDirty = true
        turn.work.dirty.append(session)
    }
}
