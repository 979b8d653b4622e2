import Base

/// The sessions of a sticky service in one epoch, as places on the split: which were seen, and
/// which had an error. Any worker marks; what is marked already is only read.
///
/// A user who comes a hundred times is one unit of evidence and not a hundred. A place is a session
/// for practical purposes: there are 2^20 of them, so that a share of 1 % has over 10,000.
public struct SessionPlaces: ~Copyable, Sendable {
    /// A place is this many upper bits of a session's position.
    public static let placeBits = 20
    public static let count = 1 << placeBits

    @usableFromInline let seen = SharedBits(count: SessionPlaces.count)
    private let failed = SharedBits(count: SessionPlaces.count)

    public init() {}

    @inlinable @inline(__always)
    static func place(_ position: UInt64) -> Int {
        Int(truncatingIfNeeded: position >> UInt64(64 - placeBits))
    }

    /// Marks the place of a session whose request has ended.
    /// - Returns: whether the place is new in this epoch.
    @inlinable @inline(__always)
    public func see(_ position: UInt64) -> Bool { seen.mark(SessionPlaces.place(position)) }

    /// Marks the place of a session that had an error of its version.
    /// - Returns: whether the place had none before, in this epoch.
    public func fail(_ position: UInt64) -> Bool { failed.mark(SessionPlaces.place(position)) }

    /// Places of an interval of positions that were seen, and that failed. A place that a boundary
    /// of the interval cuts is left out: it has sessions of two versions.
    ///
    /// - Parameter last: the last position of the interval.
    public func counts(first: UInt64, last: UInt64) -> (seen: Int, failed: Int) {
        let range = SessionPlaces.range(first: first, last: last)
        if range.isEmpty { return (0, 0) }
        return (seen.marked(in: range), failed.marked(in: range))
    }

    /// Copies of what is marked. A place that has failed may be missing from those seen.
    public func sets() -> (seen: PlaceSet, failed: PlaceSet) {
        // The failed ones first: what fails between has been seen by then.
        let failed = PlaceSet(words: failed.words())
        return (PlaceSet(words: seen.words()), failed)
    }

    /// The places that lie in an interval of positions as a whole.
    public static func range(first: UInt64, last: UInt64) -> Range<Int> {
        let shift = UInt64(64 - SessionPlaces.placeBits)
        let isCutBelow = first & (1 << shift - 1) != 0
        let isCutAbove = last & (1 << shift - 1) != 1 << shift - 1
        let lower = SessionPlaces.place(first) + (isCutBelow ? 1 : 0)
        let upper = SessionPlaces.place(last) + (isCutAbove ? 0 : 1)
        return lower < upper ? lower..<upper : lower..<lower
    }
}
