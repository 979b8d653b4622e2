import Base

/// One metric of a rollout in one stage after the other: when it is asked, and what its readings
/// say together. Pure: time is an argument, and readings are values.
///
///     due ──asked──▶ under way ──reading──▶ resting ──interval──▶ due
///
/// The word (`word`) is that of all readings since the stage was entered; a failed metric stays
/// failed until the stage is entered anew.
public struct MetricMachine: Sendable, Equatable {
    public typealias Metric = RolloutPlan.Metric

    /// The metric's word on whether the stage may be left.
    public enum Word: Sendable, Equatable, Codable {
        /// Nothing stands against it, or the metric is not asked in this stage.
        case passes
        /// Not yet, for a reason.
        case waits(String)
        /// Too many failures: what happens is `Metric.onFailure`.
        case fails(String)
    }

    /// The facts that outlive a restart: values for the journal.
    public struct Facts: Sendable, Equatable, Codable {
        public var failuresInARow = 0
        /// Over the whole rollout.
        public var failureCount = 0
        /// Readings that were values, over the whole rollout.
        public var valueCount = 0
        /// The last value, and the stable version's where the metric compares.
        public var value: Double?
        public var stableValue: Double?
        /// Why the last reading was no value; `nil` where it was one, or there was none yet.
        public var noValue: String?
        public var word = Word.waits("the metric was not asked yet")
        public init() {}
    }

    public enum Next: Sendable, Equatable {
        case ask
        /// Nothing before this time; `.never` where the metric rests for this stage, or an answer
        /// is awaited.
        case wait(until: Instant)
    }

    public let metric: Metric
    public private(set) var facts: Facts
    private var due = Instant.never
    /// When the reading that is awaited was asked for.
    private var askedAt: Instant?

    public init(_ metric: Metric, facts: Facts = Facts()) {
        self.metric = metric
        self.facts = facts
    }

    public var word: Word { facts.word }

    /// Whether the metric is asked in a stage.
    public func isAsked(in stage: String) -> Bool {
        metric.stages.isEmpty || metric.stages.contains(stage)
    }

    /// A stage was entered, or its time begins again. A reading that is still awaited belongs to
    /// the stage before: the caller drops it.
    public mutating func enter(_ stage: String, now: Instant) {
        askedAt = nil
        facts.failuresInARow = 0
        facts.noValue = nil
        guard isAsked(in: stage) else {
            due = .never
            facts.word = .passes
            return
        }
        due = now + metric.delay
        facts.word = .waits(
            metric.delay > .zero
                ? "\(metric.name) is asked for the first time \(CallText.time(metric.delay)) "
                    + "after the stage was entered" : "\(metric.name) was not asked yet")
    }

    /// A process was started anew in the middle of a stage: the facts stay, and a metric that is
    /// asked in this stage is due at once.
    public mutating func resume(_ stage: String, now: Instant) {
        askedAt = nil
        due = isAsked(in: stage) ? now : .never
    }

    public func next(now: Instant) -> Next {
        if askedAt != nil { return .wait(until: .never) }
        return due <= now ? .ask : .wait(until: due)
    }

    /// The last value, the limits and what they mean, or why there is none: a sentence for people.
    public var line: String {
        let limits = [
            metric.min.map { "at least \(CallText.number($0))" },
            metric.max.map { "at most \(CallText.number($0))" },
        ].compactMap { $0 }.joined(separator: " and ")
        switch word {
        case .waits(let why), .fails(let why): return why
        case .passes: break
        }
        if due.isNever, askedAt == nil, facts.valueCount == 0, facts.noValue == nil {
            return "\(metric.name) is not asked in this stage"
        }
        if let why = facts.noValue {
            return "\(metric.name) has no value: \(why); noValue: pass lets the stage be left"
        }
        guard facts.value != nil else { return "\(metric.name) passes" }
        return shown + (limits.isEmpty ? "" : ", \(limits) is wanted")
    }

    /// The last value in words.
    private var shown: String {
        "\(metric.name) is \(CallText.number(facts.value ?? 0))"
            + (metric.comparesStable ? " times the stable version's" : "")
    }

    /// The metric is being asked.
    public mutating func asked(now: Instant) { askedAt = now }

    /// Takes the reading that was asked for; one that nobody waits for changes nothing.
    ///
    /// - Parameter stable: the stable version's, where the metric compares.
    public mutating func take(
        _ reading: MetricReading, stable: MetricReading? = nil, now: Instant
    ) {
        guard let begun = askedAt else { return }
        askedAt = nil
        // Times are those of questions: a slow provider does not shift them.
        due = max(now, begun + metric.interval)
        let seen = metric.comparesStable ? compare(reading, stable) : reading
        facts.noValue = nil
        switch seen {
        case .value(let value): note(value)
        case .passes: notePass()
        case .fails(let why): noteFailure("\(metric.name): \(why)")
        case .noValue(let why): noteNothing(why)
        }
    }

    private mutating func compare(
        _ canary: MetricReading, _ stable: MetricReading?
    ) -> MetricReading {
        if case .noValue(let why) = canary { return .noValue("the canary: \(why)") }
        guard case .value(let ours) = canary else { return canary }
        switch stable {
        case .value(let theirs):
            facts.stableValue = theirs
            guard theirs > 0 else {
                return .noValue(
                    "the stable version's value is \(CallText.number(theirs)), and a ratio wants "
                        + "one above 0")
            }
            let ratio = ours / theirs
            return ratio.isFinite ? .value(ratio) : .noValue("the ratio is too large for a number")
        case .noValue(let why): return .noValue("the stable version: \(why)")
        case .passes, .fails, nil: return .noValue("the stable version has no value")
        }
    }

    private mutating func note(_ value: Double) {
        facts.value = value
        facts.valueCount += 1
        if let least = metric.min, value < least {
            noteFailure("\(shown), at least \(CallText.number(least)) is wanted")
        } else if let most = metric.max, value > most {
            noteFailure("\(shown), at most \(CallText.number(most)) is wanted")
        } else {
            notePass()
        }
    }

    private mutating func notePass() {
        facts.failuresInARow = 0
        if hasFailed { return }
        facts.word = .passes
    }

    private mutating func noteFailure(_ why: String) {
        facts.failuresInARow += 1
        facts.failureCount += 1
        if hasFailed { return }
        if facts.failuresInARow >= metric.failures {
            let times = metric.failures == 1 ? "" : ", \(metric.failures) times in a row"
            facts.word = .fails(why + times)
        } else if metric.failuresTotal > 0, facts.failureCount >= metric.failuresTotal {
            facts.word = .fails(
                "\(why), after \(facts.failureCount) failures in this rollout")
        } else {
            facts.word = .waits("\(why) (\(facts.failuresInARow) of \(metric.failures) in a row)")
        }
    }

    private mutating func noteNothing(_ why: String) {
        facts.noValue = why
        switch metric.noValue {
        case .pass: notePass()
        case .fail: noteFailure("\(metric.name) has no value: \(why)")
        case .wait:
            if hasFailed { return }
            facts.word = .waits("\(metric.name) has no value: \(why)")
        }
    }

    private var hasFailed: Bool {
        if case .fails = facts.word { return true }
        return false
    }
}

extension CallText {
    /// A time in words of at most two units: `90 s`, `10 min`, `2 h 5 min`.
    public static func time(_ duration: Duration) -> String {
        let seconds = duration.nanoseconds / 1_000_000_000
        if seconds < 1 { return "\(duration.nanoseconds / 1_000_000) ms" }
        if seconds < 120 { return "\(seconds) s" }
        if seconds < 7_200 { return "\(seconds / 60) min" }
        let rest = seconds / 60 % 60
        return "\(seconds / 3_600) h" + (rest == 0 ? "" : " \(rest) min")
    }

    /// A number with at most six significant digits.
    public static func number(_ value: Double) -> String {
        guard value.isFinite else { return "\(value)" }
        if value == 0 { return "0" }
        if value == value.rounded(), abs(value) < 1e9 { return "\(Int(value))" }
        // The shortest text that reads back as the number rounded to six digits.
        var scale = 1.0, size = abs(value)
        guard size >= 1e-6, size < 1e9 else { return "\(value)" }
        while size < 100_000 {
            size *= 10
            scale *= 10
        }
        return "\((value * scale).rounded() / scale)"
    }
}
