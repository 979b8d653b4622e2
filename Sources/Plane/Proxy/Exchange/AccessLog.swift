import Base
import Configuration
import Telemetry

/// Hands the line of a finished exchange to the driver.
enum AccessLog {
    static func write(
        _ exchange: borrowing Exchange, _ snapshot: SharedBox<Snapshot>, _ turn: inout Turn
    ) {
        let settings = snapshot.value.settings
        guard isSampled(settings, &turn) else { return }
        var labels = AccessLogFormat.Names()
        if exchange.route >= 0 {
            let route = snapshot.value.routes[exchange.route]
            labels.route = route.name
            if route.service >= 0 {
                labels.service = snapshot.value.services[route.service].name
                if exchange.version >= 0 {
                    labels.version = snapshot.value.versions[exchange.version].name
                }
            }
        }
        let start = turn.logLine.writerIndex
        settings.accessLogFormat.append(
            exchange.summary, second: turn.logSecond(exchange.summary.arrival),
            text: exchange.arena.readable, labels: labels,
            names: snapshot.value.store.bytes(
                ByteRange(start: 0, count: snapshot.value.store.byteCount)), to: &turn.logLine)
        turn.effects.append(.log(ByteRange(start, end: turn.logLine.writerIndex)))
    }
    /// Hands over the line of what became no request; its texts lie in `turn.spare`.
    @inline(never)
    static func writeRefusal(
        _ summary: borrowing ExchangeSummary, _ snapshot: SharedBox<Snapshot>, _ turn: inout Turn
    ) {
        let settings = snapshot.value.settings
        guard isSampled(settings, &turn) else { return }
        let start = turn.logLine.writerIndex
        settings.accessLogFormat.append(
            summary, second: turn.logSecond(summary.arrival), text: turn.spare.readable,
            labels: AccessLogFormat.Names(), names: Span(), to: &turn.logLine)
        turn.effects.append(.log(ByteRange(start, end: turn.logLine.writerIndex)))
    }

    @inline(__always)
    private static func isSampled(_ settings: Snapshot.Settings, _ turn: inout Turn) -> Bool {
        settings.accessLogSample >= 10_000
            || turn.random.below(10_000) < UInt64(settings.accessLogSample)
    }
}
