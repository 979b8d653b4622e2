import Base

/// When a request is sent once more, and how often; Istio's `HTTPRetry`.
public struct RetryPolicy: Sendable, BitwiseCopyable, Equatable {
    /// Ways in which an attempt may have failed.
    public struct Conditions: OptionSet, Sendable, BitwiseCopyable, Hashable {
        public let rawValue: UInt16
        public init(rawValue: UInt16) { self.rawValue = rawValue }

        /// No connection was made: nothing was sent.
        public static var connectFailure: Conditions { .init(rawValue: 1 << 0) }
        /// The endpoint said that it has not acted on the request (RFC 9113 §8.7).
        public static var refusedStream: Conditions { .init(rawValue: 1 << 1) }
        /// The connection broke, or the attempt's time was over, before the answer began.
        public static var reset: Conditions { .init(rawValue: 1 << 2) }
        /// 502, 503 or 504, and what `reset` says.
        public static var gatewayError: Conditions { .init(rawValue: 1 << 3) }
        /// Any 5xx, and what `reset` says.
        public static var serverError: Conditions { .init(rawValue: 1 << 4) }
        /// An answer of 409.
        public static var retriable4xx: Conditions { .init(rawValue: 1 << 5) }
        /// gRPC calls that end at once with these statuses.
        public static var cancelled: Conditions { .init(rawValue: 1 << 6) }
        public static var deadlineExceeded: Conditions { .init(rawValue: 1 << 7) }
        public static var `internal`: Conditions { .init(rawValue: 1 << 8) }
        public static var resourceExhausted: Conditions { .init(rawValue: 1 << 9) }
        public static var unavailable: Conditions { .init(rawValue: 1 << 10) }

        /// The conditions under which the endpoint has not seen the request.
        public static var safe: Conditions { [.connectFailure, .refusedStream] }
        /// The conditions that look at a gRPC call's status.
        public static var grpc: Conditions {
            [.cancelled, .deadlineExceeded, .internal, .resourceExhausted, .unavailable]
        }
    }

    /// Status codes of 400...599, a bit each.
    public struct Codes: Sendable, BitwiseCopyable, Equatable {
        private var words = InlineArray<4, UInt64>(repeating: 0)

        public init() {}

        public var isEmpty: Bool {
            words[0] == 0 && words[1] == 0 && words[2] == 0 && words[3] == 0
        }

        public mutating func insert(_ status: UInt16) {
            guard (400...599).contains(status) else { return }
            words[Int(status - 400) >> 6] |= 1 << UInt64((status - 400) & 63)
        }

        public func contains(_ status: UInt16) -> Bool {
            guard (400...599).contains(status) else { return false }
            return words[Int(status - 400) >> 6] >> UInt64((status - 400) & 63) & 1 == 1
        }

        public static func == (a: Codes, b: Codes) -> Bool {
            for i in 0..<4 where a.words[i] != b.words[i] { return false }
            return true
        }
    }

    /// The number of attempts beyond the first.
    public var retriesMax: UInt8 = 2
    public var conditions: Conditions = .safe { didSet { update() } }
    public var codes = Codes() { didSet { update() } }
    /// Whether an answer may lead to another attempt.
    public private(set) var looksAtAnswers = false
    /// Whether an attempt that was sent may be followed by another.
    public private(set) var repeatsSent = false
    /// Methods that are not idempotent may be repeated too, whatever they failed by.
    public var repeatsAllMethods = false
    public var backoff = RetryBackoff()
    /// A `Retry-After` up to this is waited for; with a longer one the answer goes to the client.
    public var retryAfterMax = Duration.seconds(2)
    /// Bytes of a request's body that are kept for another attempt.
    public var bodyBytesMax = 65_536

    public init() {}

    public static var off: RetryPolicy {
        var policy = RetryPolicy()
        policy.retriesMax = 0
        policy.conditions = []
        return policy
    }

    private mutating func update() {
        let answers: Conditions = [.gatewayError, .serverError, .retriable4xx]
        looksAtAnswers =
            !codes.isEmpty || !conditions.isDisjoint(with: Conditions.grpc.union(answers))
        repeatsSent = looksAtAnswers || conditions.contains(.reset)
    }

    /// Whether the loss of an attempt before its answer is a reason for another.
    public var takesReset: Bool {
        !conditions.isDisjoint(with: [.reset, .gatewayError, .serverError])
    }

    /// Whether an answer's status is a reason for another attempt.
    public func takes(status: UInt16) -> Bool {
        if status < 400 { return false }
        if codes.contains(status) { return true }
        switch status {
        case 409: return conditions.contains(.retriable4xx)
        case 502, 503, 504:
            return !conditions.isDisjoint(with: [.gatewayError, .serverError])
        case 500...: return conditions.contains(.serverError)
        default: return false
        }
    }

    /// Whether the status that a gRPC call ended with at once is a reason for another attempt.
    public func takes(grpcStatus: Int8) -> Bool {
        switch grpcStatus {
        case 1: return conditions.contains(.cancelled)
        case 4: return conditions.contains(.deadlineExceeded)
        case 8: return conditions.contains(.resourceExhausted)
        case 13: return conditions.contains(.internal)
        case 14: return conditions.contains(.unavailable)
        default: return false
        }
    }
}
