/// The counts of one version in one stratum since the last look.
///
/// Units are requests, or, where sessions are kept, places of sessions that had not failed before.
/// All counts are at least 0, and belong to units that have ended.
public struct VersionCounts: Sendable, Equatable {
    /// Units that ended.
    public var units: Int
    /// Units whose client got an error of the version.
    public var errors: Int
    /// Units whose first attempt failed; retries hide these from `errors`.
    public var firstErrors: Int
    /// Answers that were not errors, by `LatencyBuckets`; empty where times are not counted.
    public var latency: [Int]
    /// Errors, time-outs and clients that left, by the bucket that they had reached.
    public var censored: [Int]
    /// How many of the censored timed out or left: nobody saw an answer.
    public var left: Int
    /// Units that the histograms are of; `nil`: all. Of a session's place only the first request
    /// of an epoch is in them.
    public var timedUnits: Int?
    /// Units that no increment had before; `nil`: all. A session's place is at risk in increment
    /// after increment, and is one user all the same.
    public var newUnits: Int?

    public init(
        units: Int, errors: Int, firstErrors: Int = 0, latency: [Int] = [], censored: [Int] = [],
        left: Int = 0
    ) {
        self.units = units
        self.errors = errors
        self.firstErrors = firstErrors
        self.latency = latency
        self.censored = censored
        self.left = left
        timedUnits = nil
        newUnits = nil
    }

    /// Censored units that had reached a bucket.
    func censored(in bucket: Int) -> Int { bucket < censored.count ? censored[bucket] : 0 }
}

/// The counts of one stratum since the last look: one process, one route, one epoch of weights.
///
/// Counts of several strata are never added before they are judged: with unequal shares and rates
/// that alone makes a healthy canary look worse.
public struct Increment: Sendable, Equatable {
    public var stable: VersionCounts
    public var canary: VersionCounts
    /// How far the increment moves the canary on towards the next restart; `nil`: by its units.
    /// For sessions this is the number of requests, since their units are at risk again and again.
    public var progress: Int?

    /// - Precondition: both versions have histograms of the same number of buckets, or neither has
    ///   one.
    public init(stable: VersionCounts, canary: VersionCounts) {
        precondition(
            stable.latency.count == canary.latency.count,
            "both versions of an increment count times in the same buckets")
        self.stable = stable
        self.canary = canary
    }

    var hasTimes: Bool { !stable.latency.isEmpty }
}
