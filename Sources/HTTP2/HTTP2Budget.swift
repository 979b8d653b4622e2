import Base

/// How much of what costs the sender nothing a connection has left (reliability.md: the floods of
/// 2019, CVE-2023-44487, CVE-2025-8671). A full second's worth is refilled each second; twice as
/// much may come at once.
public struct HTTP2Budget: BitwiseCopyable {
    private var resets: Int
    private var controlFrames: Int
    private var emptyFrames: Int
    private var refilledAt: Instant
    private var priorities = 0
    private var windowUpdates = 0
    /// Streams opened and DATA frames sent since the connection began.
    public var streamsOpened = 0
    public var dataFramesSent = 0

    public init(_ limits: HTTP2Limits, now: Instant) {
        resets = limits.resetsPerSecond * 2
        controlFrames = limits.controlFramesPerSecond * 2
        emptyFrames = limits.emptyFramesPerSecond * 2
        refilledAt = now
    }

    public mutating func refill(_ limits: HTTP2Limits, now: Instant) {
        let passed = (now - refilledAt).nanoseconds
        guard passed >= 100_000_000 else { return }
        refilledAt = now
        let tenths = Int(min(passed / 100_000_000, 20))
        func add(_ left: inout Int, _ perSecond: Int) {
            left = min(perSecond * 2, left + perSecond * tenths / 10)
        }
        add(&resets, limits.resetsPerSecond)
        add(&controlFrames, limits.controlFramesPerSecond)
        add(&emptyFrames, limits.emptyFramesPerSecond)
    }

    public mutating func takeReset() -> HTTP2Breach {
        resets -= 1
        return resets < 0 ? .resets : .none
    }

    public mutating func takeControlFrame() -> HTTP2Breach {
        controlFrames -= 1
        return controlFrames < 0 ? .controlFrames : .none
    }

    public mutating func takeEmptyFrame() -> HTTP2Breach {
        emptyFrames -= 1
        return emptyFrames < 0 ? .emptyFrames : .none
    }

    public mutating func takePriority(_ limits: HTTP2Limits) -> HTTP2Breach {
        priorities += 1
        return priorities > limits.priorityFramesPerStream * (streamsOpened + 1)
            ? .priorities : .none
    }

    public mutating func takeWindowUpdate(_ limits: HTTP2Limits) -> HTTP2Breach {
        windowUpdates += 1
        let belonging = limits.windowUpdatesPerDataFrame * dataFramesSent
        return windowUpdates > 100 + 2 * streamsOpened + belonging ? .windowUpdates : .none
    }
}
