import Base
import Evidence
import Judge
import Routing

/// The evidence, the guard's sums and the latches of all splits and versions, by name: what a
/// reload must not lose.
///
/// A value without threads: `SharedRegistry` keeps the process's under its lock. Evidence of two
/// epochs is kept for each split; requests of older ones that end later are counted as lost.
struct EvidenceBook {
    private struct Split {
        /// Evidence of the epoch in force and of the one before, oldest first.
        var kept: [SharedBox<EpochEvidence>] = []
        /// Older ones that a snapshot still holds, with the requests that were counted in time.
        var retired: [(evidence: SharedBox<EpochEvidence>, counted: Int)] = []
        var lost = 0
        var errors: SharedBox<SplitGuard>?
    }

    private struct Version: Hashable {
        var service: String
        var name: String
    }

    /// Sessions of a service in the epoch in force, by the weights of the splits that share them.
    struct Sessions {
        var epoch: UInt64
        var places: [[Int]: SharedBox<SessionPlaces>] = [:]
    }

    private var splits: [String: Split] = [:]
    private var latches: [Version: SharedBox<VersionLatch>] = [:]
    private(set) var sessions: [String: Sessions] = [:]
    /// Requests that stages' rules took, by service; apart from all that is compared.
    private var matched: [String: SharedBox<EpochEvidence>] = [:]
    private let workers: Int

    init(workers: Int) { self.workers = workers }

    /// Gives all references back. The book is of no use behind it.
    mutating func close() {
        for name in splits.keys { forget(name) }
        for latch in latches.values { latch.release() }
        for evidence in matched.values { evidence.release() }
        matched = [:]
        for service in sessions.values { for places in service.places.values { places.release() } }
        latches = [:]
        sessions = [:]
    }

    private mutating func forget(_ name: String) {
        guard let split = splits.removeValue(forKey: name) else { return }
        for evidence in split.kept { evidence.release() }
        for (evidence, _) in split.retired { evidence.release() }
        split.errors?.release()
    }

    /// Forgets splits that the configuration does not name any more.
    mutating func keep(only named: Set<String>) {
        for name in splits.keys where !named.contains(name) { forget(name) }
        let services = Set(splits.values.compactMap { $0.kept.last?.value.subject.service })
        for name in sessions.keys where !services.contains(name) {
            for places in sessions[name]?.places.values ?? [:].values { places.release() }
            sessions[name] = nil
        }
    }

    // MARK: Compiling

    /// The evidence of a split's epoch, with a reference for the caller: the one that is there
    /// while epoch and versions stay.
    mutating func evidence(
        _ subject: EpochEvidence.Subject, epoch: UInt64, now: Instant
    ) -> SharedBox<EpochEvidence> {
        var split = splits[subject.route] ?? Split()
        defer { splits[subject.route] = split }
        let known = split.kept.firstIndex {
            $0.value.epoch == epoch && $0.value.subject == subject
        }
        if let known {
            let evidence = split.kept.remove(at: known)
            split.kept.append(evidence)
            evidence.retain()
            return evidence
        }
        let evidence = SharedBox(
            EpochEvidence(
                subject, epoch: epoch, begun: now, workers: workers,
                places: subject.isSticky ? places(subject, epoch) : nil))
        // A version of weight 0 that comes or goes is no new epoch, but has another list of
        // versions: one epoch may have several of these.
        split.kept.append(evidence)
        let epochs = Set(split.kept.map { $0.value.epoch }).sorted().suffix(2)
        for old in split.kept where !epochs.contains(old.value.epoch) {
            split.retired.append((old, old.value.requests))
        }
        split.kept.removeAll { !epochs.contains($0.value.epoch) }
        evidence.retain()
        return evidence
    }

    private mutating func places(
        _ subject: EpochEvidence.Subject, _ epoch: UInt64
    ) -> SharedBox<SessionPlaces> {
        var held = sessions[subject.service] ?? Sessions(epoch: epoch)
        if held.epoch != epoch {
            for places in held.places.values { places.release() }
            held = Sessions(epoch: epoch)
        }
        let weighted = subject.weights.filter { $0 > 0 }
        let places = held.places[weighted] ?? SharedBox(SessionPlaces())
        held.places[weighted] = places
        sessions[subject.service] = held
        places.retain()
        return places
    }

    /// The counts of requests that a service's stage rules take, with a reference for the caller:
    /// the ones that are there while the versions stay.
    mutating func matched(
        _ service: Document.Service, now: Instant
    ) -> SharedBox<EpochEvidence> {
        let names = service.versions.map(\.name)
        if let known = matched[service.name], known.value.subject.versions == names {
            known.retain()
            return known
        }
        matched[service.name]?.release()
        // Without sessions: each request counts, and its time.
        let subject = EpochEvidence.Subject(
            route: "", service: service.name, versions: names, weights: names.map { _ in 1 },
            stable: service.stable, isSticky: false)
        let evidence = SharedBox(
            EpochEvidence(subject, epoch: 0, begun: now, workers: workers, places: nil))
        matched[service.name] = evidence
        evidence.retain()
        return evidence
    }

    /// The counts of a version that stages' rules gave requests; `nil` where none ever did.
    func matchedCounts(service: String, version: String) -> VersionEvidence? {
        guard let evidence = matched[service],
            let index = evidence.value.subject.versions.firstIndex(of: version)
        else { return nil }
        return evidence.value.counts(version: index)
    }

    /// The guard's sums of a split, with a reference for the caller, and its shares in force.
    ///
    /// - Parameter ratio: `nil` where the service has no guard.
    mutating func guardian(
        _ subject: EpochEvidence.Subject, epoch: UInt64, ratio: Double?
    ) -> SharedBox<SplitGuard>? {
        guard let ratio else {
            splits[subject.route]?.errors?.release()
            splits[subject.route]?.errors = nil
            return nil
        }
        let held: SharedBox<SplitGuard>
        if let known = splits[subject.route]?.errors, known.value.versions == subject.versions,
            known.value.stable == subject.stable
        {
            held = known
        } else {
            splits[subject.route]?.errors?.release()
            held = SharedBox(SplitGuard(versions: subject.versions, stable: subject.stable))
            splits[subject.route, default: Split()].errors = held
        }
        held.value.begin(epoch: epoch, weights: subject.weights, ratio: ratio)
        held.retain()
        return held
    }

    /// The latch of a version, with a reference for the caller; as old as the process.
    mutating func latch(service: String, version: String) -> SharedBox<VersionLatch> {
        let key = Version(service: service, name: version)
        let latch = latches[key] ?? SharedBox(VersionLatch())
        latches[key] = latch
        latch.retain()
        return latch
    }

    // MARK: Looking

    /// Everything that is known, sorted by route.
    mutating func reports() -> [SplitReport] {
        splits.keys.sorted().map { name in
            sweep(name)
            return EvidenceBook.report(name, splits[name] ?? Split())
        }
    }

    /// Requests that ended too late, by route; cheap, since only old epochs are looked at.
    mutating func losses() -> [(route: String, lost: Int)] {
        splits.keys.sorted().map { name in
            sweep(name)
            return (name, splits[name]?.lost ?? 0)
        }
    }

    /// Notes what older epochs have counted too late, and lets go of those that nobody holds.
    private mutating func sweep(_ name: String) {
        guard var split = splits[name] else { return }
        split.retired = split.retired.compactMap { evidence, counted in
            // Asked first: what nobody holds counts no more.
            let isOver = evidence.isUnique
            let now = evidence.value.requests
            split.lost += now - counted
            if isOver { evidence.release() }
            return isOver ? nil : (evidence, now)
        }
        splits[name] = split
    }

    private static func report(_ name: String, _ split: Split) -> SplitReport {
        var report = SplitReport(route: name, lost: split.lost)
        for evidence in split.kept {
            if report.epochs.last?.epoch == evidence.value.epoch {
                report.epochs[report.epochs.count - 1].add(evidence)
            } else {
                report.epochs.append(EpochReport(evidence))
            }
        }
        for (i, version) in (split.errors?.value.versions ?? []).enumerated() {
            if let sum = split.errors?.value.absoluteSum(version: i),
                let counts = split.kept.last?.value.tally(version: i)
            {
                let now = sum.now(goods: counts.requests - counts.errors)
                report.sums.append(
                    GuardReport(
                        version: version, sum: now.value,
                        limit: AbsoluteSum.limit, errors: counts.errors,
                        versionErrors: counts.errors))
            }
            guard let sum = split.errors?.value.sum(version: i) else { continue }
            report.sums.append(
                GuardReport(
                    version: version, sum: sum.value, limit: sum.limit, errors: sum.errors,
                    versionErrors: split.errors?.value.errorCount(version: i) ?? 0))
        }
        return report
    }

    /// The evidence of a service's splits that is kept, by route, oldest first.
    func kept(service: String) -> [(route: String, evidence: [SharedBox<EpochEvidence>])] {
        splits.keys.sorted().compactMap { name in
            guard let kept = splits[name]?.kept, kept.last?.value.subject.service == service
            else { return nil }
            return (name, kept)
        }
    }

    func latchReports() -> [LatchReport] {
        latches.map { key, latch in
            LatchReport(
                service: key.service, version: key.name, isTripped: latch.value.isTripped,
                tripCount: latch.value.tripCount, lastTrip: latch.value.lastTrip?.trip)
        }.sorted { ($0.service, $0.version) < ($1.service, $1.version) }
    }

    // MARK: Resetting

    /// Takes a version out that was out in the process before; before the workers begin.
    mutating func restore(_ trip: Overlay.Trip) {
        latches[Version(service: trip.service, name: trip.version)]?.value.restore(
            trip.numbers, number: trip.number)
    }

    /// Lets versions of a service in again, and begins their sums anew.
    ///
    /// - Parameter isDue: which of its versions, by name and trip count. A trip that comes behind
    ///   the question stands.
    /// - Returns: the versions that were out.
    mutating func reset(service: String, _ isDue: (String, Int) -> Bool) -> [String] {
        var reset: [String] = []
        for (key, latch) in latches where key.service == service {
            let count = latch.value.tripCount
            guard isDue(key.name, count) else { continue }
            for split in splits.values {
                guard split.kept.last?.value.subject.service == service, let sums = split.errors,
                    let i = sums.value.versions.firstIndex(of: key.name)
                else { continue }
                sums.value.reset(version: i)
            }
            // Behind the sums: an error between would find a sum at its limit.
            if latch.value.reset(ifTripCount: count) { reset.append(key.name) }
        }
        return reset.sorted()
    }
}
