import Base
import Telemetry

extension DataPlane {
    /// Sockets of clients; streams are not counted.
    package var socketCount: Int { turn.socketCount }

    /// Everything that has a slot now, a line each; for a person who wonders why it has.
    public var inventory: [String] {
        var lines: [String] = []
        func time(_ deadline: Instant) -> String {
            deadline.isNever ? "never" : "\((deadline - turn.now).microseconds)us"
        }
        for index in 0..<tables.downstream.indexEnd {
            guard let id = tables.downstream.tenant(at: index) else { continue }
            lines.append(
                "downstream \(index): \(tables.downstream[id].phase)"
                    + (tables.downstream[id].isInner ? " inner" : "")
                    + (tables.downstream[id].isReadPaused ? " paused" : "")
                    + (tables.downstream[id].hasEnded ? " ended" : "")
                    + " in \(tables.downstream[id].inbound.count)"
                    + " out \(tables.downstream[id].outbound.count)"
                    + " timer \(time(tables.downstream[id].timer.deadline))")
        }
        for index in 0..<tables.exchanges.indexEnd {
            guard let id = tables.exchanges.tenant(at: index) else { continue }
            lines.append(
                "exchange \(index): \(tables.exchanges[id].kind)"
                    + " of downstream \(tables.exchanges[id].downstream.index)"
                    + " request \(tables.exchanges[id].requestPhase)"
                    + " response \(tables.exchanges[id].responsePhase)"
                    + (tables.exchanges[id].isWaiting ? " waiting" : "")
                    + " attempts \(tables.exchanges[id].summary.attempts)"
                    + " timer \(time(tables.exchanges[id].timer.deadline))")
        }
        for index in 0..<tables.attempts.indexEnd {
            guard let id = tables.attempts.tenant(at: index) else { continue }
            lines.append(
                "attempt \(index): \(tables.attempts[id].phase)"
                    + " of exchange \(tables.attempts[id].exchange.index)"
                    + " on upstream \(tables.attempts[id].connection.index)")
        }
        for index in 0..<tables.upstream.indexEnd {
            guard let id = tables.upstream.tenant(at: index) else { continue }
            lines.append(
                "upstream \(index): \(tables.upstream[id].phase)"
                    + " cluster \(tables.upstream[id].cluster)"
                    + (tables.upstream[id].isStream ? " stream" : "")
                    + (tables.upstream[id].isCheck ? " check" : "")
                    + (tables.upstream[id].isRetired ? " retired" : "")
                    + (tables.upstream[id].isReadPaused ? " paused" : "")
                    + " in \(tables.upstream[id].inbound.count)"
                    + " out \(tables.upstream[id].outbound.count)"
                    + " timer \(time(tables.upstream[id].timer.deadline))")
        }
        return lines
    }
}
