import Base

/// Waiting times of the probes that bring a refused endpoint back: 100 ms, doubling to 2 s.
public struct ProbeBackoff: BitwiseCopyable, Sendable {
    public static let first = Duration.milliseconds(100)
    public static let last = Duration.seconds(2)

    private var next = ProbeBackoff.first

    public init() {}

    /// The time until the next probe.
    public mutating func advance() -> Duration {
        defer { next = min(.nanoseconds(next.nanoseconds * 2), ProbeBackoff.last) }
        return next
    }
}
