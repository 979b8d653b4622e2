import Base
import Evidence

/// One look at the evidence of a service: all that its two versions did, stratum by stratum.
///
/// Made by whoever reads counters; a value, so that a look can be written down and judged again.
public struct EvidenceSample: Sendable, Equatable {
    /// A stratum is one process, route and epoch of weights. Counts of several are never added
    /// before they are judged.
    public struct Stratum: Sendable, Equatable {
        /// A name that the process keeps over restarts; empty for the own process.
        public var process = ""
        /// When the process began, in microseconds since 1970; its counters began with it.
        public var startedAt: Int64 = 0
        public var route: String
        public var epoch: UInt64
        /// How long the weights of the epoch have been in force.
        public var age: Duration
        /// The longest that a request of the route may take until it counts.
        public var timeLimit: Duration
        /// The weights of the two versions in the epoch, not negative, in any unit.
        public var stableWeight: Double
        public var canaryWeight: Double
        /// Counts since the epoch began.
        public var stable: VersionEvidence
        public var canary: VersionEvidence

        public init(
            route: String, epoch: UInt64, age: Duration, timeLimit: Duration,
            stableWeight: Double, canaryWeight: Double, stable: VersionEvidence = VersionEvidence(),
            canary: VersionEvidence = VersionEvidence()
        ) {
            self.route = route
            self.epoch = epoch
            self.age = age
            self.timeLimit = timeLimit
            self.stableWeight = stableWeight
            self.canaryWeight = canaryWeight
            self.stable = stable
            self.canary = canary
        }

        /// The canary's part of both versions' requests, 0...1.
        var share: Double {
            let both = stableWeight + canaryWeight
            return both > 0 ? canaryWeight / both : 0
        }
    }

    /// The sessions of a sticky service in the epoch in force, over all of its routes. A place is
    /// the same user in every process: sets of several processes are joined before.
    public struct Sessions: Sendable, Equatable {
        /// When the counting began, in microseconds since 1970; 0 where several processes are
        /// joined.
        public var startedAt: Int64 = 0
        public var epoch: UInt64
        public var age: Duration
        public var timeLimit: Duration
        /// Places of which a request has ended, and those that had an error.
        public var seen: PlaceSet
        public var failed: PlaceSet
        /// The places of each version; one that a boundary cuts is in neither.
        public var stablePlaces: Range<Int>
        public var canaryPlaces: Range<Int>

        public init(
            epoch: UInt64, age: Duration, timeLimit: Duration, seen: PlaceSet, failed: PlaceSet,
            stablePlaces: Range<Int>, canaryPlaces: Range<Int>
        ) {
            self.epoch = epoch
            self.age = age
            self.timeLimit = timeLimit
            self.seen = seen
            self.failed = failed
            self.stablePlaces = stablePlaces
            self.canaryPlaces = canaryPlaces
        }

        var share: Double {
            let both = stablePlaces.count + canaryPlaces.count
            return both > 0 ? Double(canaryPlaces.count) / Double(both) : 0
        }
    }

    /// Names of the versions.
    public var stable: String
    public var canary: String
    public var strata: [Stratum]
    /// With sessions, units of errors are places of the service; strata then tell of times alone.
    public var sessions: Sessions?
    /// Requests that a stage's rule gave to the canary, since the stage began: shown and held
    /// against limits, never compared.
    public var matched: VersionEvidence?

    public init(
        stable: String, canary: String, strata: [Stratum], sessions: Sessions? = nil,
        matched: VersionEvidence? = nil
    ) {
        self.stable = stable
        self.canary = canary
        self.strata = strata
        self.sessions = sessions
        self.matched = matched
    }

    /// The age at which increments of an epoch begin: until then, slow failures of the older
    /// version are still missing.
    static func settleTime(_ timeLimit: Duration) -> Duration {
        max(.zero, min(timeLimit, .seconds(15)))
    }
}
