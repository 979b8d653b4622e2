import Base
import Evidence
import Rollout
import Routing

/// Whatever the judge of a rollout asks the counters.
public struct EvidenceQuestion: Sendable {
    public var service: String
    /// The version that is judged; the other one is the service's stable version.
    public var canary: String
    /// Names of the routes that are judged; empty: all that lead to the service.
    public var routes: [String] = []
    /// When the process began, in microseconds since 1970.
    public var startedAt: Int64
    /// The longest that a request of a route may take until it counts.
    public var timeLimit: @Sendable (_ route: String) -> Duration

    public init(
        service: String, canary: String, startedAt: Int64,
        timeLimit: @escaping @Sendable (_ route: String) -> Duration
    ) {
        self.service = service
        self.canary = canary
        self.startedAt = startedAt
        self.timeLimit = timeLimit
    }
}

/// A sample whose sessions are still to be copied.
struct PendingSample {
    var sample: EvidenceSample
    var places: SharedBox<SessionPlaces>?
    /// The places of each version of the epoch in force.
    var stablePlaces = 0..<0
    var canaryPlaces = 0..<0

    mutating func addSessions(_ sets: (seen: PlaceSet, failed: PlaceSet)) {
        let newest = sample.strata.max { $0.epoch < $1.epoch }
        guard let newest else { return }
        let limits = sample.strata.filter { $0.epoch == newest.epoch }.map(\.timeLimit)
        var sessions = EvidenceSample.Sessions(
            epoch: newest.epoch, age: newest.age, timeLimit: limits.max() ?? .zero,
            seen: sets.seen, failed: sets.failed, stablePlaces: stablePlaces,
            canaryPlaces: canaryPlaces)
        sessions.startedAt = newest.startedAt
        sample.sessions = sessions
    }
}

extension EvidenceBook {
    /// - Returns: `nil` where no split has both versions. Its places are borrowed.
    func sample(_ question: EvidenceQuestion, now: Instant) -> PendingSample? {
        var pending: PendingSample?
        for (route, kept) in kept(service: question.service) {
            guard question.routes.isEmpty || question.routes.contains(route) else { continue }
            for evidence in kept {
                let subject = evidence.value.subject
                guard let canary = subject.versions.firstIndex(of: question.canary),
                    canary != subject.stable
                else { continue }
                let stable = subject.versions[subject.stable]
                var found =
                    pending
                    ?? PendingSample(
                        sample: EvidenceSample(stable: stable, canary: question.canary, strata: []))
                found.sample.stable = stable
                found.add(evidence, route, canary, question, now)
                pending = found
            }
        }
        pending?.sample.matched = matchedCounts(
            service: question.service, version: question.canary)
        return pending
    }
}

extension PendingSample {
    /// Adds what a split has in one epoch. An epoch may have several lists of versions, of which
    /// counts are added: versions of weight 0 come and go without a new epoch.
    fileprivate mutating func add(
        _ evidence: SharedBox<EpochEvidence>, _ route: String, _ canary: Int,
        _ question: EvidenceQuestion, _ now: Instant
    ) {
        let subject = evidence.value.subject
        let stableCounts = evidence.value.counts(version: subject.stable)
        let canaryCounts = evidence.value.counts(version: canary)
        let known = sample.strata.firstIndex {
            $0.route == route && $0.epoch == evidence.value.epoch
        }
        if let known {
            sample.strata[known].stable.add(stableCounts)
            sample.strata[known].canary.add(canaryCounts)
        } else {
            var stratum = EvidenceSample.Stratum(
                route: route, epoch: evidence.value.epoch,
                age: max(.zero, now - evidence.value.begun),
                timeLimit: question.timeLimit(route),
                stableWeight: Double(subject.weights[subject.stable]),
                canaryWeight: Double(subject.weights[canary]), stable: stableCounts,
                canary: canaryCounts)
            stratum.startedAt = question.startedAt
            sample.strata.append(stratum)
        }
        let newest = sample.strata.map(\.epoch).max()
        guard let boxed = evidence.value.places, newest == evidence.value.epoch else { return }
        places = boxed
        guard let weights = SplitWeights(subject.weights) else { return }
        let intervals = SessionIntervals(weights: weights, stable: subject.stable)
        stablePlaces = PendingSample.range(intervals, subject.stable)
        canaryPlaces = PendingSample.range(intervals, canary)
    }

    private static func range(
        _ intervals: borrowing SessionIntervals, _ version: Int
    ) -> Range<Int> {
        guard let bounds = intervals.bounds(of: version) else { return 0..<0 }
        return SessionPlaces.range(first: bounds.first, last: bounds.last)
    }
}
