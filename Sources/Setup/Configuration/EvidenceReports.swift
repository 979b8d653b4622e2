import Base
import Evidence
import Routing

/// All that is known of one split: its evidence of two epochs, and the guard's sums. A value, made
/// for one look.
public struct SplitReport: Sendable {
    /// The route's name; `service/NAME` for a service's own hosts.
    public var route: String
    /// Requests of epochs that were gone when they ended.
    public var lost: Int
    /// Oldest first; the last is in force.
    public var epochs: [EpochReport] = []
    /// The guard's, of the versions that it looks at.
    public var sums: [GuardReport] = []
}

/// The evidence of one split in one epoch.
public struct EpochReport: Sendable {
    public var epoch: UInt64
    public var begun: Instant
    public var service: String
    public var stable: String
    public var isSticky: Bool
    public var versions: [VersionReport] = []

    init(_ evidence: SharedBox<EpochEvidence>) {
        epoch = evidence.value.epoch
        begun = evidence.value.begun
        service = evidence.value.subject.service
        stable = evidence.value.subject.versions[evidence.value.subject.stable]
        isSticky = evidence.value.subject.isSticky
        add(evidence)
    }

    /// Adds what the same epoch has under another list of versions.
    mutating func add(_ evidence: SharedBox<EpochEvidence>) {
        let subject = evidence.value.subject
        let sum = subject.weights.reduce(0, +)
        let intervals = SplitWeights(subject.weights).map {
            SessionIntervals(weights: $0, stable: subject.stable)
        }
        for i in subject.versions.indices {
            let counts = evidence.value.counts(version: i)
            if let known = versions.firstIndex(where: { $0.version == subject.versions[i] }) {
                versions[known].counts.add(counts)
                continue
            }
            var report = VersionReport(
                version: subject.versions[i], weight: subject.weights[i], weightSum: sum,
                counts: counts)
            if let places = evidence.value.places, let bounds = intervals?.bounds(of: i) {
                report.places = places.value.counts(first: bounds.first, last: bounds.last)
            }
            versions.append(report)
        }
    }
}

/// The evidence of one version in one epoch of a split.
public struct VersionReport: Sendable {
    public var version: String
    /// The weight, divided by what all have in common, and the sum of all.
    public var weight: Int
    public var weightSum: Int
    public var counts: VersionEvidence
    /// Sessions as places that were seen, and that had an error; `nil` without sessions. Splits of
    /// a service with the same weights have them together.
    public var places: (seen: Int, failed: Int)?
}

/// The guard's sum for one version of a split.
public struct GuardReport: Sendable {
    public var version: String
    public var sum: Double
    public var limit: Double
    /// Errors of this and the stable version that the sum has taken; of them this version's.
    public var errors: Int
    public var versionErrors: Int
}

/// Whether the guard has taken a version out, and its last trip.
public struct LatchReport: Sendable {
    public var service: String
    public var version: String
    public var isTripped: Bool
    public var tripCount: Int
    public var lastTrip: Trip?
}
