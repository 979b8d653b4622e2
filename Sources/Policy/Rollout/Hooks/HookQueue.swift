import Base

/// The messages that one hook was not told yet, in their order: one at a time is delivered, with a
/// growing pause between attempts. Pure; its entries are values for the journal, so that nothing is
/// lost by a restart.
///
///     due ──began──▶ under way ──delivered──▶ the next is due
///                        └──failed──▶ pause ──▶ due
public struct HookQueue: Sendable, Equatable {
    public struct Entry: Sendable, Equatable {
        public var message: HookMessage
        public var attempts = 0
        /// Attempts that the receiver answered, and refused.
        public var refusals = 0

        public init(_ message: HookMessage) { self.message = message }
    }

    public enum Next: Sendable, Equatable {
        case send(HookMessage)
        case wait(until: Instant)
    }

    /// The way in which an attempt ended.
    public enum End: Sendable, Equatable {
        case delivered(sequence: Int)
        /// The message stays; its next attempt is in so long.
        case again(sequence: Int, pause: Duration, reason: String)
        /// The message was dropped after many attempts.
        case givenUp(sequence: Int, reason: String)
    }

    public static let countMax = 100
    private static let firstPause = Duration.seconds(1)
    private static let longestPause = Duration.seconds(300)
    /// About a day of attempts.
    public static let attemptsMax = 300
    /// A receiver that answers 400 to a message will hardly like it better later, and the messages
    /// behind it wait.
    public static let refusalsMax = 5

    public private(set) var entries: [Entry]
    /// Messages that were dropped since the beginning: the queue was full, or they were given up.
    public private(set) var droppedCount: Int
    private var due: Instant
    private var isUnderWay = false

    /// Begins with what a journal has; the first message is due at once.
    public init(
        entries: [Entry] = [], droppedCount: Int = 0, now: Instant = Instant(nanoseconds: 0)
    ) {
        self.entries = Array(entries.suffix(HookQueue.countMax))
        self.droppedCount = droppedCount + max(0, entries.count - HookQueue.countMax)
        due = now
    }

    /// Adds a message. A full queue loses its oldest one that is not under way: the newest say
    /// where the rollout is now.
    ///
    /// - Returns: the message that was lost.
    public mutating func add(_ message: HookMessage) -> HookMessage? {
        var lost: HookMessage?
        if entries.count >= HookQueue.countMax {
            lost = entries.remove(at: isUnderWay ? 1 : 0).message
            droppedCount += 1
        }
        entries.append(Entry(message))
        return lost
    }

    public func next(now: Instant) -> Next {
        guard !isUnderWay, let first = entries.first else { return .wait(until: .never) }
        return due <= now ? .send(first.message) : .wait(until: due)
    }

    /// The message of `next` is being delivered.
    public mutating func began() { isUnderWay = !entries.isEmpty }

    /// The attempt that is under way has ended; `nil` where there was none.
    ///
    /// - Parameter random: for the pauses, so that many processes do not call in step.
    public mutating func end(
        _ outcome: CallOutcome, now: Instant, random: inout PRNG
    ) -> End? {
        guard isUnderWay, !entries.isEmpty else { return nil }
        isUnderWay = false
        let sequence = entries[0].message.sequence
        let (reason, isRefusal) = HookQueue.complaint(outcome)
        guard let reason else {
            entries.removeFirst()
            due = now
            return .delivered(sequence: sequence)
        }
        entries[0].attempts += 1
        if isRefusal { entries[0].refusals += 1 }
        if entries[0].attempts >= HookQueue.attemptsMax
            || entries[0].refusals >= HookQueue.refusalsMax
        {
            entries.removeFirst()
            droppedCount += 1
            due = now
            return .givenUp(sequence: sequence, reason: reason)
        }
        let doublings = Int64(1) << Int64(min(entries[0].attempts - 1, 20))
        let whole = min(
            HookQueue.longestPause, .nanoseconds(HookQueue.firstPause.nanoseconds * doublings))
        let jitter = Int64(random.below(UInt64(whole.nanoseconds / 5)))
        let pause = Duration(nanoseconds: whole.nanoseconds - jitter)
        due = now + pause
        return .again(sequence: sequence, pause: pause, reason: reason)
    }

    /// Why an outcome is no delivery, and whether the receiver itself said so for good.
    private static func complaint(_ outcome: CallOutcome) -> (reason: String?, isRefusal: Bool) {
        switch outcome {
        case .failed(let failure): return (failure.message, false)
        case .ended(let end): return (end.word == .passes ? nil : end.text, end.word == .fails)
        case .answered(let answer):
            let isRefusal =
                (300...499).contains(answer.status)
                && ![408, 425, 429].contains(answer.status)
            return (answer.complaint, isRefusal)
        }
    }
}
