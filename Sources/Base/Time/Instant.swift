/// A span of time in whole nanoseconds; may be negative as a difference.
public struct Duration: Hashable, Comparable, Sendable, BitwiseCopyable {
    public var nanoseconds: Int64

    @inlinable public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    @inlinable public static func nanoseconds(_ n: Int64) -> Duration { .init(nanoseconds: n) }
    @inlinable public static func microseconds(_ n: Int64) -> Duration {
        .init(nanoseconds: n &* 1_000)
    }
    @inlinable public static func milliseconds(_ n: Int64) -> Duration {
        .init(nanoseconds: n &* 1_000_000)
    }
    @inlinable public static func seconds(_ n: Int64) -> Duration {
        .init(nanoseconds: n &* 1_000_000_000)
    }
    public static var zero: Duration { .init(nanoseconds: 0) }
    /// "No limit": long enough never to come (about 146 years), short enough to add without
    /// overflow.
    public static var unlimited: Duration { .init(nanoseconds: Int64.max / 2) }

    @inlinable public var isUnlimited: Bool { nanoseconds >= Int64.max / 2 }

    /// Whole microseconds, rounded down.
    @inlinable public var microseconds: Int64 { nanoseconds / 1_000 }
    /// Whole milliseconds, rounded up, as a poll timeout wants it.
    @inlinable public var millisecondsUp: Int64 {
        nanoseconds <= 0 ? 0 : (nanoseconds &- 1) / 1_000_000 &+ 1
    }

    @inlinable public static func < (a: Duration, b: Duration) -> Bool {
        a.nanoseconds < b.nanoseconds
    }
    @inlinable public static func + (a: Duration, b: Duration) -> Duration {
        let (sum, overflow) = a.nanoseconds.addingReportingOverflow(b.nanoseconds)
        return overflow ? .unlimited : .init(nanoseconds: sum)
    }
}

/// In records a span is its nanoseconds.
extension Duration: Codable {
    public init(from decoder: any Decoder) throws {
        nanoseconds = try decoder.singleValueContainer().decode(Int64.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(nanoseconds)
    }
}

/// A point on the monotonic clock, in nanoseconds since an arbitrary start.
///
/// Below the I/O line time only ever arrives as an argument.
public struct Instant: Hashable, Comparable, Sendable, BitwiseCopyable {
    public var nanoseconds: UInt64

    @inlinable public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    /// An instant that is later than every deadline.
    public static var never: Instant { .init(nanoseconds: .max) }

    @inlinable public var isNever: Bool { nanoseconds == .max }

    @inlinable public static func < (a: Instant, b: Instant) -> Bool {
        a.nanoseconds < b.nanoseconds
    }

    /// The point after a span; `.never` when the span is unlimited or the sum would overflow.
    @inlinable public static func + (a: Instant, b: Duration) -> Instant {
        if b.isUnlimited { return .never }
        if b.nanoseconds <= 0 { return a }
        let (sum, overflow) = a.nanoseconds.addingReportingOverflow(UInt64(b.nanoseconds))
        return overflow ? .never : .init(nanoseconds: sum)
    }

    /// The span from `b` to `a`; negative when `b` is later.
    @inlinable public static func - (a: Instant, b: Instant) -> Duration {
        if a.nanoseconds >= b.nanoseconds {
            return .init(nanoseconds: Int64(clamping: a.nanoseconds &- b.nanoseconds))
        }
        return .init(nanoseconds: -Int64(clamping: b.nanoseconds &- a.nanoseconds))
    }
}

/// A point on the wall clock: microseconds since 1970-01-01T00:00:00Z. For log lines, the Date
/// field and the age of cookies, never for deadlines.
public struct WallTime: Hashable, Sendable, BitwiseCopyable {
    public var microseconds: Int64

    @inlinable public init(microseconds: Int64) { self.microseconds = microseconds }

    @inlinable public var seconds: Int64 { microseconds / 1_000_000 }
}

/// In records a point on the wall clock is its microseconds.
extension WallTime: Codable {
    public init(from decoder: any Decoder) throws {
        microseconds = try decoder.singleValueContainer().decode(Int64.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(microseconds)
    }
}
