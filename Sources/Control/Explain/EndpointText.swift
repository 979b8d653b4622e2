import Base
import Upstream

/// How an endpoint stands, in words.
public enum EndpointText {
    /// Whether requests go to it.
    public static func isIn(_ view: EndpointState.View) -> Bool {
        view.condition.isDisjoint(with: [.refused, .ejected, .unhealthy])
    }

    /// Every reason why it is out, or not quite in; empty without one.
    ///
    /// - Parameter check: why its last health check failed, in words.
    public static func why(
        _ view: EndpointState.View, _ now: Instant, check: String = ""
    ) -> String {
        var reasons: [String] = []
        if view.condition.contains(.refused) { reasons.append("refused its last connect") }
        if view.condition.contains(.unhealthy) {
            reasons.append("its health checks fail" + (check.isEmpty ? "" : ": \(check)"))
        }
        if let until = view.ejectedUntil, let cause = view.ejectionCause {
            let seconds = (until - now).millisecondsUp / 1_000 + 1
            reasons.append("ejected for \(cause.label), for another \(seconds)s")
        }
        if view.condition.contains(.warming) { reasons.append("warming up") }
        return reasons.joined(separator: "; ")
    }
}
