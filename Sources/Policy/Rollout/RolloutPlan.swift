import Base
import Judge

/// The plan of one rollout: by which stages a service's canary gets its share, on which conditions,
/// and what sends it back. Read from the configuration (`rollouts.plans`), copied into the journal
/// at the start: a rollout under way follows the copy.
public struct RolloutPlan: Sendable, Equatable, Codable {
    public var name: String
    public var service: String
    /// The version that grows; the service's stable version gives.
    public var canary: String
    /// The routes whose weights change and that are judged; empty: all that lead to the service.
    public var routes: [String] = []
    /// At least one, in their order.
    public var stages: [Stage]
    public var judge = JudgePolicy()
    public var absolute = AbsoluteLimits()
    /// Whether the guard looks at the canary while the rollout runs; `nil`: the service's own
    /// setting. The number is the odds ratio that the guard looks for.
    public var guardRatio: Double? = 10
    public var metrics: [Metric] = []
    public var synthetic: Synthetic?
    public var hooks: [Hook] = []
    public var start = Start.manual
    /// Names that `--set` may give a value for conditions, besides those that every rollout has.
    public var inputs: [String] = []
    /// Go into hooks, journal and metrics.
    public var labels: [Label] = []
    /// Wall time of the whole rollout; `nil`: as long as it takes.
    public var maxDuration: Duration?
    /// How long after success people are told not to scale the old version down.
    public var keepStable = Duration.seconds(3_600)
    /// Endpoints of the canary in rotation that a step forward wants.
    public var minEndpoints = 1
    /// How long a step forward waits for them before a person is asked.
    public var readyWithin = Duration.seconds(600)
    /// The part of the stable version's endpoints at the start, 0...1, that a rollback wants.
    public var rollbackCapacity = 0.5

    public init(name: String, service: String, canary: String, stages: [Stage]) {
        self.name = name
        self.service = service
        self.canary = canary
        self.stages = stages
    }

    public struct Label: Sendable, Equatable, Codable {
        public var name: String
        public var value: String
        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// The way in which a rollout begins.
    public enum Start: String, Sendable, Codable, CaseIterable {
        case manual
        /// When the canary's `revision` changes.
        case onRevision
    }

    /// A share of the canary, and the conditions to enter it and to leave it.
    public struct Stage: Sendable, Equatable, Codable {
        public var name: String
        /// The canary's share in hundredths of a percent, 0...10,000; `nil`: the stage before's.
        public var weight: Int?
        /// A rule that sends requests to the canary besides its share, as the text of the
        /// configuration (`match:` of a route, in YAML's flow form); `nil` without one.
        public var match: String?
        public var approval: Approval?
        /// The stage is entered only while this holds; `nil`: always.
        public var when: String?
        /// The way on where `when` is false.
        public var onFalse = OnFalse.hold
        /// Times of the week in which the stage may be entered; empty: any.
        public var windows: [String] = []
        /// The share in hundredths of a percent that stays with the stable version as control.
        public var holdBack = 0
        /// The least time of a last stage that is watched; `nil`: as `minTime`.
        public var watch: Duration?
        public var minTime: Duration?
        /// `nil`: three times the time to a conclusion at the rate of the entry, at least half an
        /// hour, at most a day, and at least twice `minTime`.
        public var maxTime: Duration?
        /// Time from the entry in which times to the first byte are not judged.
        public var warmup = Duration.zero
        /// The stage's own judge, limits and metrics; `nil`: the plan's.
        public var judge: JudgePolicy?
        public var absolute: AbsoluteLimits?
        public var metrics: [Metric]?

        public init(name: String, weight: Int? = nil) {
            self.name = name
            self.weight = weight
        }
    }

    public enum OnFalse: String, Sendable, Codable, CaseIterable { case hold, skip, rollback }

    /// A person's word, without which a stage is not left (or not entered).
    public struct Approval: Sendable, Equatable, Codable {
        /// Names of tokens that may approve; empty: any that may.
        public var by: [String] = []
        /// Whoever started the rollout may not approve.
        public var notStarter = false
        /// Asked before the stage is entered, and not before it is left.
        public var isBefore = false
        public var timeout: Duration?
        public var onTimeout = OnTimeout.hold
        public init() {}
    }

    public enum OnTimeout: String, Sendable, Codable, CaseIterable { case hold, rollback }

    public enum OnInconclusive: String, Sendable, Codable, CaseIterable {
        case hold, ask, advance, rollback, synthetic
    }

    public enum OnRegression: String, Sendable, Codable, CaseIterable { case rollback, hold }

    public struct JudgePolicy: Sendable, Equatable, Codable {
        /// The chance, 0...1, that a canary that is no worse is rolled back, over the whole
        /// rollout.
        public var falseRollbacks = 0.01
        public var tolerance = JudgePolicy.usualTolerance
        /// The greatest increase of the error rate that still counts as healthy, 0...1; `nil`: half
        /// a percent, or half the stable version's rate up to two percent, where that is more.
        public var maxIncrease: Double?
        /// Units of the canary below which a stage says nothing.
        public var minRequests = 100
        public var minTime = Duration.seconds(60)
        public var onInconclusive = OnInconclusive.hold
        public var onRegression = OnRegression.rollback
        public init() {}

        /// The tolerance of a plan that names none.
        public static var usualTolerance: Tolerance {
            var tolerance = Tolerance()
            tolerance.time = 0.002
            tolerance.late = 0.025
            return tolerance
        }
    }

    /// Limits of the canary by itself; `nil` for none.
    public struct AbsoluteLimits: Sendable, Equatable, Codable {
        /// 0...1.
        public var errorRate: Double?
        public var p50: Duration?
        public var p95: Duration?
        public var p99: Duration?
        public init() {}
        public var isEmpty: Bool {
            errorRate == nil && p50 == nil && p95 == nil && p99 == nil
        }
    }

    /// A number from elsewhere that has its say.
    public struct Metric: Sendable, Equatable, Codable {
        public enum Source: Sendable, Equatable, Codable {
            case prometheus(url: String, query: String)
            /// The number at a JSON pointer (RFC 6901) of what a URL answers.
            case web(url: String, pointer: String)
            /// A program and its arguments: exit 0 passes, 75 is "ask again", all else fails.
            case command([String])
        }

        public enum NoValue: String, Sendable, Codable, CaseIterable { case wait, pass, fail }
        public enum OnFailure: String, Sendable, Codable, CaseIterable { case rollback, hold }

        public var name: String
        public var source: Source
        public var interval = Duration.seconds(60)
        public var delay = Duration.zero
        public var min: Double?
        public var max: Double?
        /// The value is the canary's over the stable version's: the query is asked for both.
        public var comparesStable = false
        /// Failures in a row that are too many.
        public var failures = 1
        /// Failures altogether that are too many; 0: any number.
        public var failuresTotal = 0
        public var noValue = NoValue.wait
        public var onFailure = OnFailure.rollback
        /// Names of the stages in which the metric is asked; empty: all.
        public var stages: [String] = []
        /// How long one answer may take; a late one is no value.
        public var timeout = Duration.seconds(10)
        public var access = Access()

        public init(name: String, source: Source) {
            self.name = name
            self.source = source
        }
    }

    /// Requests of Sluice's own where there are too few of users.
    public struct Synthetic: Sendable, Equatable, Codable {
        public var path: String
        public var headers: [Label] = []
        /// Requests a second, to both versions together.
        public var rate = 2.0
        public init(path: String) { self.path = path }
    }

    /// A call to somebody else.
    public struct Hook: Sendable, Equatable, Codable {
        public enum Event: String, Sendable, Codable, CaseIterable {
            case started, stage, approval, paused, held, rollbackBlocked, rolledBack, succeeded
        }

        public enum Call: Sendable, Equatable, Codable {
            case webhook(url: String, secretFile: String?, format: Format)
            case command([String])
        }

        public enum Format: String, Sendable, Codable, CaseIterable { case sluice, slack }
        public enum OnFailure: String, Sendable, Codable, CaseIterable {
            case hold, rollback, ignore
        }

        /// Events of which the hook is told; empty for a hook that stands before a stage.
        public var events: [Event] = []
        /// The stage that is entered only when the hook has passed; `nil`: none.
        public var before: String?
        public var call: Call
        public var timeout = Duration.seconds(10)
        public var onFailure = OnFailure.hold
        public var access = Access()
        public init(call: Call) { self.call = call }
    }
}
