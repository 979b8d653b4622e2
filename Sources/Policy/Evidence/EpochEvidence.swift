import Base

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

    /// A worker's counters of a version; only that worker may write to them.
    @inlinable @inline(__always)
    public func lane(worker: Int, version: Int) -> CounterLane {
        lanes.lane(worker, part: version, of: EvidenceCell.count)
    }

    /// A version's counts, over all workers.
    public func counts(version: Int) -> VersionEvidence {
        var sum = VersionEvidence()
        for lane in 0..<lanes.laneCount {
            sum.add { lanes.value(version * EvidenceCell.count + $0, lane: lane) }
        }
        return sum
    }

    /// Requests of all versions that have ended.
    public var requests: Int {
        subject.versions.indices.reduce(0) { $0 + counts(version: $1).requests }
    }
}
