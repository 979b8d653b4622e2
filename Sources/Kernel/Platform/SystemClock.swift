import Base
import CPlatform

/// The two clocks of the machine, read only above the I/O line.
public enum SystemClock {
    @inline(__always)
    public static func now() -> Instant {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec))
    }

    @inline(__always)
    public static func wall() -> WallTime {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_REALTIME, &time)
        return WallTime(
            microseconds: Int64(time.tv_sec) &* 1_000_000 &+ Int64(time.tv_nsec) / 1_000)
    }

    /// Lets the thread rest. For control threads that wait for others, never for a worker.
    public static func pause(_ duration: Duration) {
        _ = poll(nil, 0, Int32(clamping: duration.millisecondsUp))
    }
}
