import Base
import Configuration
import HTTP1
import HTTPSemantics
import Routing
import Telemetry

/// Delays and errors made on purpose, for exactly their share of the requests: each has draws of
/// its own, as splits have. A request that is held back and answered waits first.
enum Faults {
    /// The longest delay that a request may ask for.
    private static let askedMax = Duration.seconds(60)
    private static let askedNameLength = 20

    /// - Returns: `false` when the request was answered, or waits for that.
    static func apply(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ index: Int,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) -> Bool {
        let plan = snapshot.value.faults[index]
        var delay = Duration.zero
        var status: UInt16 = 0
        if let draws = plan.delayDraws, hits(draws, &turn) { delay = plan.delay }
        if let draws = plan.abortDraws, hits(draws, &turn) { status = plan.abortStatus }
        var grpc = plan.abortGRPC
        if plan.isByHeader { asked(turn, head, &delay, &status, &grpc) }
        if delay > .zero {
            turn.counters.count(.delaysInjected, row: tables.exchanges[id].summary.row)
            tables.exchanges[id].summary.flags.insert(.delayInjected)
            turn.faultDelay = max(turn.faultDelay, delay)
        }
        guard status != 0 else { return true }
        turn.counters.count(.abortsInjected, row: tables.exchanges[id].summary.row)
        Forwarding.keepTexts(&tables.exchanges[id], turn, head)
        tables.exchanges[id].abortStatus = status
        tables.exchanges[id].replyGRPC = grpc
        if turn.faultDelay > .zero {
            Waits.begin(&tables, &turn, id, turn.faultDelay)
        } else {
            abort(&tables, &turn, id)
        }
        return false
    }

    private static func hits(_ draws: SharedBox<Draws>, _ turn: inout Turn) -> Bool {
        let draw = draws.value.draw()
        if draw.wantsLayout { turn.effects.append(.wakeControl) }
        return draw.version == 0
    }

    /// Answers for the origin.
    static func abort(_ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID) {
        let status = tables.exchanges[id].abortStatus
        tables.exchanges[id].abortStatus = 0
        Exchanges.reply(
            &tables, &turn, id, status: status, flags: .faultInjected,
            cause: status >= 500 ? .local : .none)
    }

    /// What the request itself asks for, on routes that allow it.
    private static func asked(
        _ turn: borrowing Turn, _ head: ByteRange, _ delay: inout Duration,
        _ status: inout UInt16, _ grpc: inout Int16
    ) {
        for i in 0..<turn.requestHead.fields.count {
            let field = turn.requestHead.fields[i]
            // Both names have the same length, and few others do.
            guard field.name.length == askedNameLength else { continue }
            let name = turn.scratch.span(field.name.shifted(by: head.lower))
            let value = turn.scratch.span(field.value.shifted(by: head.lower))
            if ASCII.equalFold(name, "x-sluice-fault-delay"), value.count <= 16 {
                if let time = Units.duration(ASCII.string(value)) { delay = min(time, askedMax) }
            } else if ASCII.equalFold(name, "x-sluice-fault-abort") {
                if let code = ASCII.decimal(value), (200...599).contains(code) {
                    status = UInt16(code)
                    grpc = -1
                }
            }
        }
    }
}
