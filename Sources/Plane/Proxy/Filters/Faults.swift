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

    /// The answer that a fault gives in place of the version, when its delay is over.
    struct Abort: BitwiseCopyable {
        var status: UInt16
        /// The status that a call is told, 0...16; -1: the one that the HTTP status means.
        var grpcStatus: Int16

        var answer: LocalAnswer {
            LocalAnswer(
                status: status, flags: .faultInjected, cause: status >= 500 ? .local : .none,
                failure: Failure(.fault), grpcStatus: grpcStatus)
        }
    }

    /// - Parameter delay: what other faults of the request have ordered; the longest holds.
    static func apply(
        _ exchange: inout Exchange, _ turn: inout Turn, _ index: Int,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange, after delay: Duration
    ) -> Decision {
        let plan = snapshot.value.faults[index]
        var own = Duration.zero
        var abort = Abort(status: 0, grpcStatus: plan.abortGRPC)
        if let draws = plan.delayDraws, hits(draws, &turn) { own = plan.delay }
        if let draws = plan.abortDraws, hits(draws, &turn) { abort.status = plan.abortStatus }
        if plan.isByHeader { asked(turn, head, &own, &abort) }
        if own > .zero {
            turn.counters.count(.delaysInjected, row: exchange.summary.row)
            exchange.summary.flags.insert(.delayInjected)
        }
        let delay = max(delay, own)
        guard abort.status != 0 else { return .forward(after: delay) }
        turn.counters.count(.abortsInjected, row: exchange.summary.row)
        return .abort(abort, after: delay)
    }

    private static func hits(_ draws: SharedBox<Draws>, _ turn: inout Turn) -> Bool {
        let draw = draws.value.draw()
        if draw.wantsLayout { turn.effects.append(.wakeControl) }
        return draw.version == 0
    }

    /// The fault that the request itself asks for, on routes that allow it.
    private static func asked(
        _ turn: borrowing Turn, _ head: ByteRange, _ delay: inout Duration, _ abort: inout Abort
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
                    abort = Abort(status: UInt16(code), grpcStatus: -1)
                }
            }
        }
    }
}
