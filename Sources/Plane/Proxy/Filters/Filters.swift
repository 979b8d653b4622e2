import Base
import Configuration
import HTTP1
import HTTPSemantics
import Routing
import Telemetry

/// Acts of a route on a request before a version is chosen: the rate limit first, which costs the
/// least, then the fault.
enum Filters {
    /// - Returns: whether the request goes on, and after what delay, or what answers it.
    static func apply(
        _ exchange: inout Exchange, _ turn: inout Turn, _ index: Int,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) -> Decision {
        let plan = snapshot.value.filters[index]
        if let limit = plan.rateLimit {
            let verdict: RateLimit.Verdict
            if plan.rateKey == .none {
                verdict = limit.value.take(now: turn.now)
            } else {
                let key = key(exchange, turn, plan, limit, snapshot, head)
                verdict = limit.value.take(key: key, now: turn.now)
            }
            guard verdict.isAllowed else {
                turn.counters.count(.rateLimited, row: exchange.summary.row)
                let answer = LocalAnswer(
                    status: 429, flags: .rateLimited, cause: .local,
                    failure: Failure(.rateLimit), grpcStatus: 8,
                    content: .rateLimit(limit.value.policy, verdict))
                return .answer(answer)
            }
        }
        guard plan.fault >= 0 else { return .forward(after: .zero) }
        return Faults.apply(&exchange, &turn, plan.fault, snapshot, head, after: .zero)
    }

    /// The key of the value that has a bucket of its own. Requests without the field share one.
    private static func key(
        _ exchange: borrowing Exchange, _ turn: borrowing Turn, _ plan: Snapshot.FilterPlan,
        _ limit: SharedBox<RateLimit>, _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) -> UInt64 {
        if plan.rateKey == .address { return limit.value.key(of: exchange.summary.client) }
        let source: Stickiness.Source = plan.rateKey == .cookie ? .cookie : .header
        let value = RequestKey.find(
            source, plan.rateKnown, snapshot.value.store.bytes(plan.rateName), turn, head)
        return value.map { limit.value.key(of: turn.scratch.span($0)) } ?? 0
    }
}

/// A header's or cookie's value of the request being decided.
enum RequestKey {
    /// Where the first such value lies in the scratch; `nil` without one.
    static func find(
        _ source: Stickiness.Source, _ known: KnownField, _ name: Span<UInt8>,
        _ turn: borrowing Turn, _ head: ByteRange
    ) -> ByteRange? {
        guard turn.requestHead.fields.seen.contains(known) else { return nil }
        if known != .other, !turn.requestHead.fields.repeated.contains(known) {
            guard let field = turn.requestHead.fields.first(known) else { return nil }
            return match(source, field, name, turn, head)
        }
        for i in 0..<turn.requestHead.fields.count {
            let field = turn.requestHead.fields[i]
            guard field.is(known) else { continue }
            if let value = match(source, field, name, turn, head) { return value }
        }
        return nil
    }

    @inline(__always)
    private static func match(
        _ source: Stickiness.Source, _ field: Field, _ name: Span<UInt8>,
        _ turn: borrowing Turn, _ head: ByteRange
    ) -> ByteRange? {
        let value = field.value.shifted(by: head.lower)
        guard source == .cookie else {
            let own = turn.scratch.span(field.name.shifted(by: head.lower))
            return ASCII.equalFold(own, name) ? value : nil
        }
        let range = Cookie.value(named: name, in: turn.scratch.span(value))
        return range?.shifted(by: value.lower)
    }
}
