import Base

/// How an endpoint is asked whether it is well.
public struct HealthCheckPolicy: Sendable, BitwiseCopyable, Equatable {
    public enum Kind: UInt8, Sendable, BitwiseCopyable {
        /// A GET whose status says it.
        case http
        /// A connect, with the TLS handshake if there is one.
        case tcp
        /// `grpc.health.v1.Health/Check`.
        case grpc
    }

    public var kind = Kind.http
    public var interval = Duration.seconds(5)
    public var timeout = Duration.seconds(1)
    /// Results in a row until an endpoint is healthy again, or unhealthy.
    public var healthyThreshold = 2
    public var unhealthyThreshold = 3
    /// Statuses that are well, both included.
    public var statusMin: UInt16 = 200
    public var statusMax: UInt16 = 299

    public init() {}
}

/// The health of an endpoint, as its checks say together.
///
///               the first result                unhealthyThreshold failures in a row
///     unchecked ───────────────▶ healthy ──────────────────────────────────▶ unhealthy
///         │                         ▲                                            │ ▲
///         │                         └── healthyThreshold successes in a row ─────┘ │
///         └───────────────────────── the first result ─────────────────────────────┘
///
/// An endpoint that was not checked yet serves: the first result decides alone.
public struct ActiveHealth: Sendable {
    private enum State {
        case unchecked
        case healthy(failuresInARow: Int)
        case unhealthy(successesInARow: Int)
    }

    public enum Change: Sendable { case becameHealthy, becameUnhealthy }

    private var state = State.unchecked
    public private(set) var successCount: UInt64 = 0
    public private(set) var failureCount: UInt64 = 0

    public init() {}

    public var isChecked: Bool { successCount + failureCount > 0 }
    public var isUnhealthy: Bool {
        if case .unhealthy = state { return true }
        return false
    }

    /// Takes the result of one check.
    /// - Returns: what changed, if anything did.
    public mutating func record(isWell: Bool, policy: HealthCheckPolicy) -> Change? {
        if isWell { successCount &+= 1 } else { failureCount &+= 1 }
        switch state {
        case .unchecked:
            state = isWell ? .healthy(failuresInARow: 0) : .unhealthy(successesInARow: 0)
            return isWell ? nil : .becameUnhealthy
        case .healthy(let failures):
            if isWell {
                state = .healthy(failuresInARow: 0)
            } else if failures + 1 < policy.unhealthyThreshold {
                state = .healthy(failuresInARow: failures + 1)
            } else {
                state = .unhealthy(successesInARow: 0)
                return .becameUnhealthy
            }
        case .unhealthy(let successes):
            if !isWell {
                state = .unhealthy(successesInARow: 0)
            } else if successes + 1 < policy.healthyThreshold {
                state = .unhealthy(successesInARow: successes + 1)
            } else {
                state = .healthy(failuresInARow: 0)
                return .becameHealthy
            }
        }
        return nil
    }
}
