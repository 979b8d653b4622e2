import Base
import Evidence
import Judge

/// Times to the first byte of the last minutes, in slices of one minute, for limits of times.
struct RecentTimes: Sendable, Equatable {
    static let sliceLength = Duration.seconds(60)
    static let slicesMax = 5

    struct Slice: Sendable, Equatable {
        var begun: Duration
        var counts = EvidencePair()
    }

    private(set) var slices: [Slice] = []

    init() {}

    /// - Precondition: at most `slicesMax` slices.
    init(slices: [Slice]) { self.slices = slices }

    mutating func clear() { slices = [] }

    mutating func add(_ counts: EvidencePair, clock: Duration) {
        let age = slices.last.map { clock.nanoseconds - $0.begun.nanoseconds } ?? .max
        if age >= RecentTimes.sliceLength.nanoseconds { slices.append(Slice(begun: clock)) }
        if slices.count > RecentTimes.slicesMax { slices.removeFirst() }
        guard let last = slices.indices.last else { return }
        slices[last].counts.add(counts)
    }

    /// Bounds of the part of a version's requests that certainly took longer than a limit.
    ///
    /// Requests in the bucket that holds the limit are taken for faster. Whoever got no answer took
    /// at least as long as the bucket that was reached says; others without a time are left out.
    func slow(
        _ version: KeyPath<EvidencePair, VersionEvidence>, limit: Duration
    ) -> (part: Double, bounds: ConfidenceSequence) {
        let first = LatencyBuckets.bucket(nanoseconds: max(0, limit.nanoseconds)) + 1
        var units = 0, slow = 0
        for slice in slices {
            let counts = slice.counts[keyPath: version]
            units += counts.latency.reduce(0, +)
            guard first < LatencyBuckets.count else { continue }
            let waited = counts.censored[first...].reduce(0, +)
            slow += counts.latency[first...].reduce(0, +) + waited
            units += waited
        }
        return (
            units > 0 ? Double(slow) / Double(units) : 0,
            ConfidenceSequence(events: slow, units: units, alpha: StageTotals.level / 2)
        )
    }
}
