import Base

/// The metrics of one stage of one rollout: who is asked now, and what all say together. Pure.
///
///     enter(stage) ──▶ questions ──asked──▶ take(reading) … ──▶ enter(next stage)
///
/// A rollout is in its next stage, or a new one has begun, some milliseconds before `enter` is
/// called: the journal has it first. Each call therefore names the place that it is about, and
/// metrics of another place say nothing, are not asked and are not heard.
public struct StageMetrics: Sendable {
    /// A stage of a rollout.
    public struct Place: Sendable, Equatable {
        /// The rollout's id.
        public var rollout: String
        /// Index into the plan's stages.
        public var stage: Int

        public init(rollout: String, stage: Int) {
            self.rollout = rollout
            self.stage = stage
        }
    }

    /// One version's number of one metric, to be asked for.
    public struct Question: Sendable, Equatable {
        /// Index into `machines`.
        public var metric: Int
        public var version: MetricCalls.Version
        /// No other asking in this value's life has the number, so that a late answer is known.
        public var number: UInt64
    }

    /// The asking that is under way for one metric, and what it brought so far.
    private struct Asking: Sendable {
        var number: UInt64
        var canary: MetricReading?
        var stable: MetricReading?
    }

    private var place: Place?
    /// In the order of the plan.
    public private(set) var machines: [MetricMachine] = []
    private var asking: [Asking?] = []
    private var number: UInt64 = 0

    public init() {}

    /// Whether the metrics are those of a stage.
    public func isAt(_ place: Place) -> Bool { self.place == place }

    /// A stage is entered, or its time begins again. Answers that are awaited are dropped. What a
    /// metric has counted in earlier stages of the same rollout goes on.
    public mutating func enter(_ place: Place, _ plan: RolloutPlan, now: Instant) {
        let before = self.place?.rollout == place.rollout ? machines : []
        let stage = plan.stages[place.stage]
        machines = (stage.metrics ?? plan.metrics).map { metric in
            var machine = before.first { $0.metric == metric } ?? MetricMachine(metric)
            machine.enter(stage.name, now: now)
            return machine
        }
        asking = machines.map { _ in nil }
        self.place = place
    }

    /// The questions whose time has come; they count as asked.
    public mutating func questions(at place: Place, now: Instant) -> [Question] {
        guard isAt(place) else { return [] }
        var questions: [Question] = []
        for i in machines.indices {
            // One that has failed is asked again when the stage is entered again.
            if case .fails = machines[i].word { continue }
            guard case .ask = machines[i].next(now: now) else { continue }
            machines[i].asked(now: now)
            number += 1
            asking[i] = Asking(number: number)
            for version in MetricCalls(machines[i].metric).versions {
                questions.append(Question(metric: i, version: version, number: number))
            }
        }
        return questions
    }

    /// Takes the answer to a question; one that nobody awaits any more changes nothing.
    ///
    /// - Returns: the words for the failure, where the metric fails by this answer.
    public mutating func take(
        _ reading: MetricReading, for question: Question, at place: Place, now: Instant
    ) -> String? {
        let i = question.metric
        guard isAt(place), asking.indices.contains(i), var awaited = asking[i],
            awaited.number == question.number
        else { return nil }
        switch question.version {
        case .canary: awaited.canary = reading
        case .stable: awaited.stable = reading
        }
        asking[i] = awaited
        let wantsBoth = machines[i].metric.comparesStable
        guard let canary = awaited.canary, !wantsBoth || awaited.stable != nil else { return nil }
        asking[i] = nil
        machines[i].take(canary, stable: awaited.stable, now: now)
        if case .fails(let text) = machines[i].word { return text }
        return nil
    }

    /// The metric that a step forward waits for, in words; `nil`: none.
    public func obstacle(at place: Place) -> String? {
        guard isAt(place) else { return "the stage has just been entered" }
        for machine in machines {
            switch machine.word {
            case .passes: continue
            case .waits(let why), .fails(let why): return "metric " + why
            }
        }
        return nil
    }
}
