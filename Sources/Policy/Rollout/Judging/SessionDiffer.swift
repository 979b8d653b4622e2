import Base
import Evidence
import Judge

/// Increments of a sticky service's sessions, as places.
///
/// At risk in an increment are the places seen in this epoch that had not failed before it in this
/// rollout, whichever version they had then; events are those of them that failed in it.
struct SessionDiffer: Sendable, Equatable {
    /// Places that have failed in this rollout, up to the open increment.
    private(set) var failed = PlaceSet()
    /// Places seen in this epoch, up to the open increment.
    private(set) var seen = PlaceSet()
    /// Which epoch of which process the places are of; `nil` before the first look.
    private(set) var epoch: UInt64?
    private(set) var startedAt: Int64 = 0
    /// An increment is open.
    private(set) var isOpen = false
    /// The judge's clock when it began.
    private(set) var begun = Duration.zero
    /// Requests of the canary since then.
    private(set) var requests = 0
    /// Places of both versions that the last look knew as new evidence.
    private(set) var counted = 0

    init() {}

    init(
        failed: PlaceSet, seen: PlaceSet, epoch: UInt64?, startedAt: Int64, isOpen: Bool,
        begun: Duration, requests: Int, counted: Int
    ) {
        self.failed = failed
        self.seen = seen
        self.epoch = epoch
        self.startedAt = startedAt
        self.isOpen = isOpen
        self.begun = begun
        self.requests = requests
        self.counted = counted
    }

    mutating func drop() { isOpen = false }

    /// - Parameter requests: requests of the canary since the last look.
    /// - Returns: the increment that this look closes, and how many places are new evidence.
    mutating func look(
        _ sample: EvidenceSample.Sessions, isSettled: Bool, requests: Int,
        _ terms: EvidenceDiffer.Terms
    ) -> (increment: Increment?, newUnits: Int) {
        if epoch != sample.epoch || startedAt != sample.startedAt {
            epoch = sample.epoch
            startedAt = sample.startedAt
            seen = PlaceSet()
            isOpen = false
            counted = 0
        }
        guard isSettled else { return (nil, 0) }
        guard isOpen else {
            // What failed until now is no event any more, but those places have failed.
            failed.formUnion(sample.failed)
            isOpen = true
            begin(terms)
            return (nil, 0)
        }
        self.requests += requests
        let atRisk = sample.seen.union(sample.failed).subtracting(failed)
        let stable = counts(sample, atRisk, sample.stablePlaces)
        let canary = counts(sample, atRisk, sample.canaryPlaces)
        let units = stable.units + canary.units
        let new = (stable.newUnits ?? 0) + (canary.newUnits ?? 0)
        // New since the last look, of those that are new since the last increment.
        let newUnits = max(0, new - counted)
        counted = new
        let isDue =
            terms.clock.nanoseconds - begun.nanoseconds >= EvidenceDiffer.ageMin.nanoseconds
            && Double(units) * sample.share >= EvidenceDiffer.unitsMin
        guard isDue || terms.closesAll && units > 0 else { return (nil, newUnits) }
        var increment = Increment(stable: stable, canary: canary)
        increment.progress = self.requests
        failed.formUnion(sample.failed)
        seen.formUnion(sample.seen.union(sample.failed))
        begin(terms)
        return (increment, newUnits)
    }

    private mutating func begin(_ terms: EvidenceDiffer.Terms) {
        begun = terms.clock
        requests = 0
        counted = 0
    }

    private func counts(
        _ sample: EvidenceSample.Sessions, _ atRisk: PlaceSet, _ places: Range<Int>
    ) -> VersionCounts {
        var counts = VersionCounts(
            units: atRisk.count(in: places),
            errors: sample.failed.subtracting(failed).count(in: places))
        counts.newUnits = atRisk.subtracting(seen).count(in: places)
        return counts
    }
}
