import Base
import Evidence
import Judge

/// The last minutes in slices of ten seconds: for limits, for common causes, and for rates.
struct RecentCounts: Sendable, Equatable {
    static let sliceLength = Duration.seconds(10)
    /// Slices of five minutes, and the one that is being filled.
    static let slicesMax = 31
    /// Slices of the half minute in which two versions are said to jump together.
    static let jumpSlices = 3

    /// The counts of one version.
    struct Counts: Sendable, Equatable {
        var requests = 0
        var errors = 0

        mutating func add(_ other: Counts) {
            requests += other.requests
            errors += other.errors
        }
    }

    struct Slice: Sendable, Equatable {
        /// The judge's clock at the beginning.
        var begun: Duration
        /// Time in it during which evidence was counted.
        var covered = Duration.zero
        /// Which span of unchanged weights the slice is of.
        var span = 0
        var stable = Counts()
        var canary = Counts()
        /// Units of both versions that are evidence.
        var units = 0
        /// The evidence at the beginning, of which the growth follows.
        var logEvidence = 0.0
    }

    private(set) var slices: [Slice] = []
    /// Grows with every change of the weights.
    private(set) var span = 0

    init() {}

    /// - Precondition: at most `slicesMax` slices.
    init(slices: [Slice], span: Int) {
        self.slices = slices
        self.span = span
    }

    /// The weights have changed, or another stage has begun.
    mutating func beginSpan() { span += 1 }

    /// Adds one look.
    ///
    /// - Parameters:
    ///   - step: the time since the last look.
    ///   - logEvidence: before this look.
    mutating func add(
        _ yield: EvidenceDiffer.Yield, clock: Duration, step: Duration, logEvidence: Double
    ) {
        let isFull =
            slices.last.map {
                $0.span != span
                    || clock.nanoseconds - $0.begun.nanoseconds
                        >= RecentCounts.sliceLength.nanoseconds
            } ?? true
        if isFull {
            var slice = Slice(begun: clock)
            slice.span = span
            slice.logEvidence = logEvidence
            slices.append(slice)
        }
        let oldest = clock.nanoseconds - 300 * 1_000_000_000
        slices.removeAll { $0.begun.nanoseconds < oldest }
        if slices.count > RecentCounts.slicesMax { slices.removeFirst() }
        guard let last = slices.indices.last else { return }
        if yield.isSettled { slices[last].covered = slices[last].covered + step }
        slices[last].stable.add(
            Counts(requests: yield.recent.stable.requests, errors: yield.recent.stable.errors))
        slices[last].canary.add(
            Counts(requests: yield.recent.canary.requests, errors: yield.recent.canary.errors))
        slices[last].units += yield.newUnits
    }

    /// Both versions' counts since the weights changed, at most of five minutes.
    var window: (stable: Counts, canary: Counts) { RecentCounts.sum(slices.filter(isOfSpan)) }

    private func isOfSpan(_ slice: Slice) -> Bool { slice.span == span }

    private static func sum(_ slices: some Sequence<Slice>) -> (stable: Counts, canary: Counts) {
        var stable = Counts(), canary = Counts()
        for slice in slices {
            stable.add(slice.stable)
            canary.add(slice.canary)
        }
        return (stable, canary)
    }

    /// Units of evidence a second, of both versions; `nil` before ten seconds were counted.
    var unitsPerSecond: Double? {
        var units = 0, covered = Int64(0)
        for slice in slices {
            units += slice.units
            covered += slice.covered.nanoseconds
        }
        guard covered >= RecentCounts.sliceLength.nanoseconds else { return nil }
        return Double(units) / (Double(covered) / 1e9)
    }

    /// The rate of now: that of the last half minute where it is certainly another than the rate of
    /// the last minutes, as when traffic has stopped.
    var presentUnitsPerSecond: Double? {
        guard let average = unitsPerSecond else { return nil }
        var units = 0, covered = Int64(0)
        for slice in slices.reversed() {
            units += slice.units
            covered += slice.covered.nanoseconds
            if covered >= 2 * RecentCounts.sliceLength.nanoseconds { break }
        }
        guard covered >= RecentCounts.sliceLength.nanoseconds else { return average }
        let seconds = Double(covered) / 1e9
        let expected = average * seconds
        // Three standard deviations of a count, and three units.
        let isOther = abs(Double(units) - expected) > 3 * expected.squareRoot() + 3
        return isOther ? Double(units) / seconds : average
    }

    /// How fast the evidence grows, by the second, over the last minutes; `nil` while too little is
    /// known.
    func growth(clock: Duration, logEvidence: Double) -> Double? {
        guard let first = slices.first(where: isOfSpan) else { return nil }
        let seconds = Double(clock.nanoseconds - first.begun.nanoseconds) / 1e9
        guard seconds >= 10 else { return nil }
        return (logEvidence - first.logEvidence) / seconds
    }

    /// Both versions' rates of the last half minute and of the time before it in this window, where
    /// each is certainly higher than it was; `nil` where not both are.
    var jump: (stable: (before: Double, now: Double), canary: (before: Double, now: Double))? {
        let all = slices.filter(isOfSpan)
        guard all.count > RecentCounts.jumpSlices else { return nil }
        let before = RecentCounts.sum(all.dropLast(RecentCounts.jumpSlices))
        let now = RecentCounts.sum(all.suffix(RecentCounts.jumpSlices))
        guard let stable = RecentCounts.jump(before.stable, now.stable),
            let canary = RecentCounts.jump(before.canary, now.canary)
        else { return nil }
        return (stable, canary)
    }

    private static func jump(
        _ before: Counts, _ now: Counts
    ) -> (before: Double, now: Double)? {
        guard before.requests > 0, now.requests > 0 else { return nil }
        let rate = Double(before.errors) / Double(before.requests)
        let bounds = ConfidenceSequence(
            events: min(now.errors, now.requests), units: now.requests,
            alpha: StageTotals.level / 2)
        guard bounds.lower > rate else { return nil }
        return (rate, Double(now.errors) / Double(now.requests))
    }
}
