import Base
import Judge

/// The evidence of one split while its weights stay: counts by version and worker.
///
/// Lives in a `SharedBox` that every snapshot with these weights holds. An exchange pins its
/// snapshot, so whoever counts a late end finds the epoch in which its version was chosen, and
/// nobody can write to an epoch that no snapshot holds any more.
public struct EpochEvidence: ~Copyable, Sendable {
    /// The split that the counts belong to. Copied from the configuration, because an epoch may
    /// outlive it.
    public struct Subject: Sendable, Equatable {
        public var route: String
        public var service: String
        /// Names of the service's versions, in its order.
        public var versions: [String]
        /// The versions' weights, divided by what they have in common.
        public var weights: [Int]
        /// Into `versions`.
        public var stable: Int
        public var isSticky: Bool

        public init(
            route: String, service: String, versions: [String], weights: [Int], stable: Int,
            isSticky: Bool
        ) {
            self.route = route
            self.service = service
            self.versions = versions
            self.weights = weights
            self.stable = stable
            self.isSticky = isSticky
        }
    }

    public let subject: Subject
    /// The generation of the configuration with which the weights came into force.
    public let epoch: UInt64
    public let begun: Instant
    /// Sessions of the service, shared by its splits of the same weights; `nil` where it has none.
    public let places: SharedBox<SessionPlaces>?
    @usableFromInline let lanes: CounterLanes

    /// - Parameters:
    ///   - workers: the number of lanes.
    ///   - places: a reference of its own, which is taken over.
    public init(
        _ subject: Subject, epoch: UInt64, begun: Instant, workers: Int,
        places: SharedBox<SessionPlaces>?
    ) {
        self.subject = subject
        self.epoch = epoch
        self.begun = begun
        self.places = places
        lanes = CounterLanes(
            lanes: workers, count: subject.versions.count * EvidenceCell.count)
    }

    deinit { places?.release() }

    /// Counts a plain answer of a version: no error, the first attempt, at a new place.
    ///
    /// - Parameter worker: the lane; only that worker may call this.
    @inlinable @inline(__always)
    public func recordAnswer(_ version: Int, worker: Int, nanoseconds: Int64) {
        increment(LatencyBuckets.bucket(nanoseconds: nanoseconds), version, worker)
    }

    /// Counts a plain answer whose session was seen before in this epoch, or that is no session's.
    @inlinable @inline(__always)
    public func recordRepeatedAnswer(_ version: Int, worker: Int) {
        increment(EvidenceCell.repeats, version, worker)
    }

    /// Counts the end of a request, whatever it was.
    public func record(_ outcome: RequestOutcome, _ version: Int, worker: Int) {
        let end = Int(outcome.end.rawValue)
        // What is told beside the request comes first: a reader may miss nothing of a request that
        // it counts.
        if outcome.isFirstError { increment(EvidenceCell.firstErrors, version, worker) }
        if outcome.isClientError { increment(EvidenceCell.clientErrors, version, worker) }
        if outcome.isTimeout, outcome.isNewPlace {
            increment(EvidenceCell.timeouts, version, worker)
        }
        guard outcome.isNewPlace else {
            return increment(EvidenceCell.repeats + end, version, worker)
        }
        let bucket = LatencyBuckets.bucket(nanoseconds: max(0, outcome.time.nanoseconds))
        increment(
            EvidenceCell.histograms + end * LatencyBuckets.count + bucket, version, worker)
    }

    @inlinable @inline(__always)
    func increment(_ cell: Int, _ version: Int, _ worker: Int) {
        lanes.increment(version &* EvidenceCell.count &+ cell, lane: worker)
    }

    /// A version's counts, over all workers.
    public func counts(version: Int) -> VersionEvidence {
        var sum = VersionEvidence()
        for lane in 0..<lanes.laneCount {
            sum.add { lanes.value(version * EvidenceCell.count + $0, lane: lane) }
        }
        return sum
    }

    /// Requests of a version that have ended, and errors among them: what the guard asks at an
    /// error, without memory.
    public func tally(version: Int) -> (requests: Int, errors: Int) {
        var requests: UInt64 = 0, errors: UInt64 = 0
        let first = version * EvidenceCell.count
        for lane in 0..<lanes.laneCount {
            for cell in 0..<EvidenceCell.clientErrors {
                let count = lanes.value(first + cell, lane: lane)
                requests += count
                if EvidenceCell.isFailure(cell) { errors += count }
            }
        }
        return (Int(truncatingIfNeeded: requests), Int(truncatingIfNeeded: errors))
    }

    /// Requests of all versions that have ended.
    public var requests: Int {
        subject.versions.indices.reduce(0) { $0 + tally(version: $1).requests }
    }
}
