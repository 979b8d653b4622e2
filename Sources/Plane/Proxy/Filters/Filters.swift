import Base
import Configuration
import HTTP1
import HTTPSemantics
import Routing
import Telemetry

/// What a route does with a request before it is passed on: the rate limit first, which costs the
/// least, then the fault.
enum Filters {
    /// - Returns: `false` when the request was answered, or waits to be.
    static func apply(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ index: Int,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) -> Bool {
        let plan = snapshot.value.filters[index]
        if let limit = plan.rateLimit {
            let verdict: RateLimit.Verdict
            if plan.rateKey == .none {
                verdict = limit.value.take(now: turn.now)
            } else {
                let key = key(tables.exchanges[id], turn, plan, limit, snapshot, head)
                verdict = limit.value.take(key: key, now: turn.now)
            }
            guard verdict.isAllowed else {
                refuse(&tables, &turn, id, limit.value.policy, verdict, snapshot, head)
                return false
            }
        }
        guard plan.fault >= 0 else { return true }
        return Faults.apply(&tables, &turn, id, plan.fault, snapshot, head)
    }

    /// What has a bucket of its own. Requests without the field share one.
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

    private static func refuse(
        _ tables: inout Tables, _ turn: inout Turn, _ id: ExchangeID, _ policy: RateLimitPolicy,
        _ verdict: RateLimit.Verdict, _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) {
        let route = snapshot.value.routes[tables.exchanges[id].route]
        turn.counters.count(.rateLimited, row: tables.exchanges[id].summary.row)
        let name = snapshot.value.store.bytes(route.name)
        writeLines(
            &turn, name, policy, verdict, isGRPC: tables.exchanges[id].isGRPC)
        tables.exchanges[id].replyGRPC = 8
        Forwarding.keepTexts(&tables.exchanges[id], turn, head)
        Exchanges.reply(&tables, &turn, id, status: 429, flags: .rateLimited, cause: .local)
    }

    /// `Retry-After` and the fields of draft-ietf-httpapi-ratelimit-headers.
    private static func writeLines(
        _ turn: inout Turn, _ name: Span<UInt8>, _ policy: RateLimitPolicy,
        _ verdict: RateLimit.Verdict, isGRPC: Bool
    ) {
        let second = Duration.seconds(1).nanoseconds
        let seconds = UInt64((verdict.wait.nanoseconds + second - 1) / second)
        let window = max(1, (policy.per.nanoseconds + second / 2) / second)
        // A window is whole seconds there.
        let quota = max(
            1,
            Double(policy.requests) * Double(window * second)
                / Double(policy.per.nanoseconds))
        turn.replyLines.append("retry-after: ")
        turn.replyLines.appendDecimal(seconds)
        turn.replyLines.append("\r\nratelimit-policy: \"")
        turn.replyLines.append(name)
        turn.replyLines.append("\";q=")
        turn.replyLines.appendDecimal(UInt64(quota.rounded()))
        turn.replyLines.append(";w=")
        turn.replyLines.appendDecimal(UInt64(window))
        turn.replyLines.append("\r\nratelimit: \"")
        turn.replyLines.append(name)
        turn.replyLines.append("\";r=0;t=")
        turn.replyLines.appendDecimal(seconds)
        turn.replyLines.append("\r\n")
        guard isGRPC else { return }
        // What gRPC's clients wait before their own retry (gRFC A6).
        turn.replyLines.append("grpc-retry-pushback-ms: ")
        turn.replyLines.appendDecimal(UInt64(max(0, verdict.wait.millisecondsUp)))
        turn.replyLines.append("\r\n")
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
