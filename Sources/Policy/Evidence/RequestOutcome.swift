import Base
import Judge

/// The end of one request, as evidence about the version that had it.
public struct RequestOutcome: BitwiseCopyable, Sendable, Equatable {
    public enum End: UInt8, BitwiseCopyable, Sendable, CaseIterable {
        /// An answer that is no error of the version.
        case answer
        /// An error of the version (`VersionErrors`).
        case failure
        /// Neither: the client left before an answer began, or the process ended under it.
        case departure
    }

    public var end = End.answer
    /// The time to the first byte of the answer; without an answer the time until the end.
    public var time = Duration.zero
    /// The answer says that the client is wrong: 4xx, or a gRPC status that is no error.
    public var isClientError = false
    /// The first attempt was an error of the version, whatever a retry made of it.
    public var isFirstError = false
    /// A time limit passed before an answer began.
    public var isTimeout = false
    /// The request is the first that ended at its session's place in this epoch, or the service has
    /// no sessions. Only such requests are in the histograms.
    public var isNewPlace = true

    public init() {}
}

/// Where what is counted of a version lies in its run of counters.
///
/// A request and its outcome are one counter, the bucket of a histogram for how it ended, so that
/// no reader ever sees a request without its outcome: counted apart, they make one false alarm in
/// twenty. How many requests there were follows by addition.
public enum EvidenceCell {
    /// Histograms of `LatencyBuckets`, one for each of the three `RequestOutcome.End`.
    static var histograms: Int { 0 }
    /// Requests that are in no histogram, one counter for each `RequestOutcome.End`.
    @inlinable static var repeats: Int { 3 * LatencyBuckets.count }
    static var clientErrors: Int { repeats + 3 }
    static var firstErrors: Int { repeats + 4 }
    static var timeouts: Int { repeats + 5 }
    /// Whether a counter below `clientErrors` is of failures.
    static func isFailure(_ cell: Int) -> Bool {
        let end = cell < repeats ? cell / LatencyBuckets.count : cell - repeats
        return end == Int(RequestOutcome.End.failure.rawValue)
    }

    /// Counters of one version in one lane; whole cache lines.
    @inlinable public static var count: Int { (repeats + 6 + 7) / 8 * 8 }
}

/// The counts of one version in one epoch, over all workers.
public struct VersionEvidence: Sendable, Equatable {
    /// Requests that ended.
    public var requests = 0
    /// Those that were errors of the version.
    public var errors = 0
    public var clientErrors = 0
    public var firstErrors = 0
    /// Requests without an answer because a time limit passed or the client left.
    public var left = 0
    /// Times to the first byte of answers that are no errors, by bucket.
    public var latency = [Int](repeating: 0, count: LatencyBuckets.count)
    /// Errors, timeouts and clients that left, by the bucket that they had reached.
    public var censored = [Int](repeating: 0, count: LatencyBuckets.count)

    public init() {}

    /// Adds the counts of the same version from elsewhere.
    public mutating func add(_ other: VersionEvidence) {
        requests += other.requests
        errors += other.errors
        clientErrors += other.clientErrors
        firstErrors += other.firstErrors
        left += other.left
        for i in latency.indices {
            latency[i] += other.latency[i]
            censored[i] += other.censored[i]
        }
    }

    /// Adds what one lane has of a version.
    ///
    /// - Parameter value: reads a counter of the version's run.
    mutating func add(_ value: (Int) -> UInt64) {
        func read(_ cell: Int) -> Int { Int(truncatingIfNeeded: value(cell)) }
        func bucket(_ end: RequestOutcome.End, _ bucket: Int) -> Int {
            read(EvidenceCell.histograms + Int(end.rawValue) * LatencyBuckets.count + bucket)
        }
        for i in 0..<LatencyBuckets.count {
            let answers = bucket(.answer, i), failures = bucket(.failure, i)
            let departures = bucket(.departure, i)
            latency[i] += answers
            censored[i] += failures + departures
            requests += answers + failures + departures
            errors += failures
            left += departures
        }
        for end in RequestOutcome.End.allCases {
            requests += read(EvidenceCell.repeats + Int(end.rawValue))
        }
        errors += read(EvidenceCell.repeats + Int(RequestOutcome.End.failure.rawValue))
        left += read(EvidenceCell.timeouts)
        clientErrors += read(EvidenceCell.clientErrors)
        firstErrors += read(EvidenceCell.firstErrors)
    }
}
