import Base

/// Frames that cost their sender nothing are counted here: a budget for each kind says how many
/// more of them a connection's peer may send (reliability.md §10: the floods of 2019,
/// CVE-2023-44487, CVE-2025-8671).
///
/// Every kind of frame is paid for in two ways: by *work* that both sides have done with each other
/// since the connection began, content and answers, and, when that is used up, by *time*. Honest
/// peers send such frames because of work (a PING for each burst of DATA, a WINDOW_UPDATE for what
/// was read, a cancel among many calls), so they are never short of it. A flood has only time, and
/// ends after two seconds' worth. Confined to its connection.
public struct HTTP2Budget: BitwiseCopyable {
    /// The allowance for one kind of frame.
    struct Allowance: BitwiseCopyable {
        /// Frames that time has given and nobody took.
        var left: Int
        /// How much of the work was paid with, or is forgotten.
        var spent = 0

        init(_ left: Int) { self.left = left }

        /// Takes `cost` from the work first.
        ///
        /// - Parameters:
        ///   - earned: all work since the connection began, in frames of this kind.
        ///   - most: how much of the work that nobody paid with is remembered.
        /// - Returns: `false` when neither work nor time is enough.
        mutating func take(_ cost: Int, earned: Int, most: Int) -> Bool {
            spent = max(spent, earned - most)
            let paid = min(cost, earned - spent)
            spent += paid
            left -= cost - paid
            return left >= 0
        }

        mutating func refill(_ perSecond: Int, tenths: Int) {
            left = min(perSecond * 2, left + perSecond * tenths / 10)
        }
    }

    /// Work that nobody paid with is remembered as far as it is worth so many seconds.
    static let secondsRemembered = 10
    /// A client that has not acknowledged SETTINGS does not know the limit of streams, and one that
    /// has not read GOAWAY does not know the end: so many streams are refused free of charge.
    static let pardonsMax = 1_000
    /// The least that a DATA frame on a closed stream takes, in bytes.
    static let lateFrameBytes = 64

    private var resets: Allowance
    private var controlFrames: Allowance
    private var emptyFrames: Allowance
    private var priorities: Allowance
    private var windowUpdates: Allowance
    private var lateFrames: Allowance
    private var pardons = HTTP2Budget.pardonsMax
    /// DATA that may still be on its way to streams which were reset here, in bytes.
    private var lateBytes = 0
    private var refilledAt: Instant
    /// Work since the connection began: streams that were opened, answers whose head went out or
    /// came in, DATA frames with content.
    public var streamsOpened = 0
    public var answers = 0
    public var dataFramesSent = 0
    public var dataBytesSent = 0
    public var dataFramesReceived = 0

    public init(_ limits: HTTP2Limits, now: Instant) {
        resets = Allowance(limits.resetsPerSecond * 2)
        controlFrames = Allowance(limits.controlFramesPerSecond * 2)
        emptyFrames = Allowance(limits.emptyFramesPerSecond * 2)
        priorities = Allowance(limits.priorityFramesPerStream)
        windowUpdates = Allowance(limits.controlFramesPerSecond)
        lateFrames = Allowance(limits.resetsPerSecond * 2)
        refilledAt = now
    }

    /// Gives what the time since the last call is worth; tenths of a second are the unit.
    public mutating func refill(_ limits: HTTP2Limits, now: Instant) {
        let passed = (now - refilledAt).nanoseconds
        guard passed >= 100_000_000 else { return }
        refilledAt = now
        let tenths = Int(min(passed / 100_000_000, 20))
        resets.refill(limits.resetsPerSecond, tenths: tenths)
        controlFrames.refill(limits.controlFramesPerSecond, tenths: tenths)
        emptyFrames.refill(limits.emptyFramesPerSecond, tenths: tenths)
        windowUpdates.refill(limits.controlFramesPerSecond, tenths: tenths)
        lateFrames.refill(limits.resetsPerSecond, tenths: tenths)
    }

    // MARK: Streams

    /// A stream that the peer took back without its answer, or made this side reset. An answer
    /// pays for one: half of all requests may be cancelled before their answer begins, and every
    /// one behind its beginning.
    @inline(never)
    public mutating func takeReset(_ limits: HTTP2Limits) -> HTTP2Breach {
        let most = limits.resetsPerSecond * HTTP2Budget.secondsRemembered
        return resets.take(1, earned: answers, most: most) ? .none : .resets
    }

    /// A stream beyond the limit.
    ///
    /// - Parameter isPardonable: the peer may not have known better.
    @inline(never)
    public mutating func takeRefusal(_ limits: HTTP2Limits, isPardonable: Bool) -> HTTP2Breach {
        if isPardonable, pardons > 0 {
            pardons -= 1
            return .none
        }
        return takeReset(limits)
    }

    // MARK: Frames

    /// PING, SETTINGS, GOAWAY and frames without meaning. A DATA frame with content pays for one,
    /// whoever sent it, and an answer for two.
    @inline(never)
    public mutating func takeControlFrames(
        _ count: Int, _ limits: HTTP2Limits
    ) -> HTTP2Breach {
        let most = limits.controlFramesPerSecond * HTTP2Budget.secondsRemembered
        let earned = dataFramesSent + dataFramesReceived + 2 * answers
        return controlFrames.take(count, earned: earned, most: most) ? .none : .controlFrames
    }

    /// DATA without content that does not end its stream; one with content pays for one.
    @inline(never)
    public mutating func takeEmptyFrame(_ limits: HTTP2Limits) -> HTTP2Breach {
        let most = limits.emptyFramesPerSecond * HTTP2Budget.secondsRemembered
        return emptyFrames.take(1, earned: dataFramesReceived, most: most) ? .none : .emptyFrames
    }

    /// PRIORITY and PRIORITY_UPDATE, which streams alone pay for.
    @inline(never)
    public mutating func takePriority(_ limits: HTTP2Limits) -> HTTP2Breach {
        let perStream = limits.priorityFramesPerStream
        let earned = perStream * streamsOpened
        return priorities.take(1, earned: earned, most: perStream * 100) ? .none : .priorities
    }

    /// WINDOW_UPDATE. What was sent pays for it, however late the peer comes to read it: by DATA
    /// frame, and by the pieces of 256 bytes that a peer may read it in.
    @inline(never)
    public mutating func takeWindowUpdate(_ limits: HTTP2Limits) -> HTTP2Breach {
        let earned =
            2 * streamsOpened + limits.windowUpdatesPerDataFrame * dataFramesSent
            + dataBytesSent >> 8
        return windowUpdates.take(1, earned: earned, most: .max) ? .none : .windowUpdates
    }

    // MARK: Closed streams

    /// A frame on a closed stream. Each stream pays for four: an interim and a final head, trailers
    /// and RST_STREAM may all cross the reset.
    @inline(never)
    public mutating func takeLateFrame(_ limits: HTTP2Limits) -> HTTP2Breach {
        let most = limits.resetsPerSecond * HTTP2Budget.secondsRemembered * 10
        return lateFrames.take(1, earned: 4 * streamsOpened, most: most) ? .none : .closedStreams
    }

    /// Content on a closed stream: free as far as windows allowed it before the reset.
    @inline(never)
    public mutating func takeLateData(
        _ byteCount: Int, _ limits: HTTP2Limits
    ) -> HTTP2Breach {
        let cost = max(byteCount, HTTP2Budget.lateFrameBytes)
        guard cost <= lateBytes else { return takeLateFrame(limits) }
        lateBytes -= cost
        return .none
    }

    /// A stream was reset here whose peer may have sent as much as its window allows, and all
    /// streams together at most `most` bytes, the connection's window.
    public mutating func expectLate(_ window: Int, most: Int) {
        lateBytes = min(most, lateBytes + max(0, window))
    }
}
