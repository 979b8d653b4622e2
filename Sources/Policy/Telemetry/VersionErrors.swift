import Base

/// The one definition of an error of a version (`services.X.errors`): counters, evidence, guard,
/// ejection of endpoints and the access log all ask here.
///
/// A limit or a fault of Sluice's own, the end of the process and a client that leaves are no
/// errors of a version. That no endpoint could be had for a version that was chosen is one.
public struct VersionErrors: BitwiseCopyable, Sendable, Hashable {
    /// Answers of 500 and above.
    public var takesServerErrors: Bool
    /// No answer, or not all of it: no endpoint, no connection, a reset, a time limit, no HTTP.
    public var takesNoAnswer: Bool
    /// Statuses of gRPC calls, a bit each.
    public private(set) var calls: UInt32

    /// The statuses that are the server's doing: UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE,
    /// DATA_LOSS.
    public static let serverCalls: [UInt8] = [2, 4, 13, 14, 15]

    public init(serverErrors: Bool = true, noAnswer: Bool = true, calls: [UInt8] = serverCalls) {
        takesServerErrors = serverErrors
        takesNoAnswer = noAnswer
        self.calls = 0
        for status in calls { insert(call: status) }
    }

    public mutating func insert(call status: UInt8) {
        calls |= 1 << UInt32(min(status, 31))
    }

    /// Whether a call's status is an error. A number that gRPC does not know means UNKNOWN (2).
    public func takes(call status: Int8) -> Bool {
        guard status > 0 else { return false }
        return calls >> UInt32(status > 16 ? 2 : status) & 1 == 1
    }

    /// Whether an answer is an error.
    ///
    /// - Parameter call: the status of a gRPC call, if the head tells it; -1 if not.
    public func takes(status: UInt16, call: Int8) -> Bool {
        takesServerErrors && status >= 500 || takes(call: call)
    }

    /// Whether a request that has ended is an error of the version that it was sent to.
    public func takes(_ summary: borrowing ExchangeSummary) -> Bool {
        switch summary.cause {
        case .none, .drain: return false
        case .response: return takes(status: summary.status, call: summary.grpcStatus)
        // The endpoint itself says so, in a whole answer.
        case .timeout where summary.firstByte.nanoseconds >= 0 && !summary.isCutByTime:
            return takes(call: summary.grpcStatus)
        case .timeout, .connect, .reset, .invalid, .local:
            return takesNoAnswer || takes(call: summary.grpcStatus)
        }
    }
}

extension ExchangeSummary {
    /// Whether one of Sluice's own time limits ended the request.
    fileprivate var isCutByTime: Bool {
        !flags.isDisjoint(with: [.upstreamTimeout, .streamIdle])
    }
}
