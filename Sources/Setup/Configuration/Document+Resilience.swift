import Base
import Routing
import Upstream

extension Document {
    /// How a service's endpoints are asked whether they are well.
    public struct HealthCheck: Sendable, Equatable {
        public var policy = HealthCheckPolicy()
        public var path = ""
        public var host: String?
        public var grpcService = ""
    }

    /// Delays and errors made on purpose.
    public struct Fault: Sendable, Equatable {
        public struct Delay: Sendable, Equatable {
            public var time: Duration
            /// Hundredths of a percent, 0...10,000.
            public var share: Int
        }

        public struct Abort: Sendable, Equatable {
            public var status: UInt16
            public var grpcStatus: UInt8?
            /// Hundredths of a percent, 0...10,000.
            public var share: Int
        }

        public var delay: Delay?
        public var abort: Abort?
        /// A request may ask for its own.
        public var isByHeader = false
    }

    /// A copy of each request to another version.
    public struct Mirror: Sendable, Equatable {
        public var service: Int
        public var version: Int
        /// Hundredths of a percent, 0...10,000.
        public var share: Int
        public var bodyBytesMax = 65_536
        public var limits = Mirror.defaultLimits

        public static var defaultLimits: PoolLimits {
            var limits = PoolLimits()
            limits.connectionsMax = 100
            limits.pendingRequestsMax = 100
            limits.requestsMax = 200
            return limits
        }
    }

    /// So many requests in so much time.
    public struct RateLimit: Sendable, Equatable {
        public enum Key: Sendable, Equatable {
            case none
            case address
            case header(String)
            case cookie(String)
        }

        public var policy: RateLimitPolicy
        public var key: Key
    }
}

extension RetryPolicy {
    /// The reasons for which requests are repeated, as the file writes them.
    var reasons: [String] {
        let named: [(Conditions, String)] = [
            (.connectFailure, "connect-failure"), (.refusedStream, "refused-stream"),
            (.reset, "reset"), (.gatewayError, "gateway-error"), (.serverError, "5xx"),
            (.retriable4xx, "retriable-4xx"), (.cancelled, "cancelled"),
            (.deadlineExceeded, "deadline-exceeded"), (.internal, "internal"),
            (.resourceExhausted, "resource-exhausted"), (.unavailable, "unavailable"),
        ]
        return named.filter { conditions.contains($0.0) }.map(\.1)
            + (UInt16(400)...599).filter { codes.contains($0) }.map { "\($0)" }
    }

    /// The policy in words, for people.
    public var text: String {
        if retriesMax == 0 { return "off" }
        // Of a request that no endpoint has seen the method does not matter.
        let isSafe = conditions.isSubset(of: .safe) && codes.isEmpty
        let methods = isSafe ? "" : repeatsAllMethods ? " (all methods)" : " (idempotent methods)"
        return "up to \(retriesMax) on \(reasons.joined(separator: ", "))\(methods), "
            + "backoff \(Units.text(backoff.base)) to \(Units.text(backoff.longest))"
    }
}

extension RetryBudget {
    /// The budget in words, for people.
    public var text: String {
        "\(Units.percent(perRequest)) of the version's requests and \(perSecond) a second"
    }
}
