import Base
import HTTP2

/// Lists of HTTP/2 connections: those of an endpoint that take streams, and those of the worker
/// that have something to write at the end of its turn.
enum HTTP2LinkLists {
    /// Puts an HTTP/2 connection in its endpoint's list, newest first.
    static func list(_ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID) {
        let endpoint = tables.links[h2].endpoint
        let head = turn.endpointPools[endpoint].links
        tables.links[h2].next = head
        tables.links[h2].previous = .none
        tables.links[h2].isListed = true
        if !head.isNone { tables.links[head].previous = h2 }
        turn.endpointPools[endpoint].links = h2
    }

    /// The HTTP/2 connection takes no new streams.
    static func unlist(_ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID) {
        guard tables.links[h2].isListed else { return }
        tables.links[h2].isListed = false
        let next = tables.links[h2].next, previous = tables.links[h2].previous
        if previous.isNone {
            turn.endpointPools[tables.links[h2].endpoint].links = next
        } else {
            tables.links[previous].next = next
        }
        if !next.isNone { tables.links[next].previous = previous }
    }

    /// The HTTP/2 connection has something to write, or may be at its end.
    static func markDirty(_ tables: inout Tables, _ turn: inout Turn, _ h2: HTTP2LinkID) {
        guard !tables.links[h2].isDirty else { return }
        tables.links[h2].isDirty = true
        turn.work.dirty.append(h2)
    }
}
