import Base

/// The current weights as a partition of [0, 2^64): a session's position falls in one version's
/// interval. A pure function of the configuration, so every sidecar agrees without talking.
///
/// The stable version keeps the middle. The first other version grows from 0 upward, the second
/// from the end downward, the third stacks on the first, the fourth on the second, and so on. With
/// at most two others, users of a version whose share rises all stay, and the mass that moves is
/// the least possible.
public struct SessionIntervals: ~Copyable, Sendable {
    struct Interval: BitwiseCopyable, Sendable {
        var version: Int
        var first: UInt64
        /// Inclusive, so that 2^64 need not be written.
        var last: UInt64
    }

    /// The intervals in order of position, without gaps; versions without weight have none.
    private let intervals: FixedArray<Interval>

    public init(weights: SplitWeights, stable: Int) {
        var sum = 0
        var list: [Interval] = []
        let order = SessionIntervals.order(count: weights.weights.count, stable: stable)
        for version in order where weights.weights[version] > 0 {
            let first = SessionIntervals.boundary(sum, weights.sum)
            sum += weights.weights[version]
            let last = sum == weights.sum ? .max : SessionIntervals.boundary(sum, weights.sum) - 1
            list.append(Interval(version: version, first: first, last: last))
        }
        intervals = FixedArray(list)
    }

    /// The versions in the order of their intervals, those without weight too.
    public static func order(count: Int, stable: Int) -> [Int] {
        let others = (0..<count).filter { $0 != stable }
        var low: [Int] = [], high: [Int] = []
        for (i, version) in others.enumerated() {
            if i.isMultiple(of: 2) { low.append(version) } else { high.append(version) }
        }
        return low + [stable] + high.reversed()
    }

    /// floor(part x 2^64 / whole), `part < whole`.
    private static func boundary(_ part: Int, _ whole: Int) -> UInt64 {
        UInt64(whole).dividingFullWidth((high: UInt64(part), low: 0)).quotient
    }

    /// The version whose interval holds the position.
    public func version(at position: UInt64) -> Int {
        var i = 0
        while intervals[i].last < position { i += 1 }
        return intervals[i].version
    }

    /// The position at a fraction (of 2^64) of the interval of a version that has weight.
    public func position(in version: Int, at fraction: UInt64) -> UInt64 {
        for i in 0..<intervals.count where intervals[i].version == version {
            let interval = intervals[i]
            let span = interval.last - interval.first
            // Rounded down, so it stays inside; the last position of a span of 2^64 is never missed
            // by more than one.
            return interval.first + fraction.multipliedFullWidth(by: span).high
        }
        return fraction
    }

    /// The first and the last position of a version; `nil` for one without weight.
    public func bounds(of version: Int) -> (first: UInt64, last: UInt64)? {
        for i in 0..<intervals.count where intervals[i].version == version {
            return (intervals[i].first, intervals[i].last)
        }
        return nil
    }

    /// A version's share of all positions, 0...1.
    public func share(of version: Int) -> Double {
        for i in 0..<intervals.count where intervals[i].version == version {
            return Double(intervals[i].last - intervals[i].first) / 0x1p64
        }
        return 0
    }

    /// The share of positions, 0...1, whose version has another name under `next`.
    public func moved(
        to next: borrowing SessionIntervals, name: (Int) -> String, nextName: (Int) -> String
    ) -> Double {
        var starts: Set<UInt64> = []
        for i in 0..<intervals.count { starts.insert(intervals[i].first) }
        for i in 0..<next.intervals.count { starts.insert(next.intervals[i].first) }
        let sorted = starts.sorted()
        var moved = 0.0
        for (i, start) in sorted.enumerated()
        where name(version(at: start)) != nextName(next.version(at: start)) {
            let last = i + 1 < sorted.count ? sorted[i + 1] - 1 : .max
            moved += Double(last - start) / 0x1p64
        }
        return moved
    }
}
