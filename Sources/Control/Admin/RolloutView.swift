import Base
import Rollout

/// One plan and its rollout at one moment, as the admin pages see them.
public struct RolloutView: Sendable {
    public struct Stage: Sendable {
        public enum Progress: String, Sendable { case done, passedOver, now, next }

        public var name: String
        /// The canary's share in hundredths of a percent.
        public var weight: Int
        public var needsApproval: Bool
        public var progress: Progress

        public init(name: String, weight: Int, needsApproval: Bool, progress: Progress) {
            self.name = name
            self.weight = weight
            self.needsApproval = needsApproval
            self.progress = progress
        }
    }

    /// One version's deeds in the present stage, over all routes that are judged.
    public struct Version: Sendable {
        public var version: String
        /// Requests, or the sessions of a service with `sticky:`.
        public var units = 0
        public var errors = 0
        /// Bounds of the rate of errors that hold at all times at once, 0...1.
        public var low = 0.0
        public var high = 1.0
        /// Answers that are no errors, by bucket of their time.
        public var latency: [Int] = []

        public init(_ version: String) { self.version = version }
    }

    /// A line of what happened.
    public struct Event: Sendable {
        public var at: WallTime
        public var text: String

        public init(at: WallTime, text: String) {
            self.at = at
            self.text = text
        }
    }

    /// The state of a plan whose journal cannot be read.
    public static let unread = "journal not read"

    public var name: String
    public var service: String
    public var canary: String
    public var stable: String
    /// The rollout's own name, which no other has; `nil` before the first.
    public var id: String?
    /// The word for the state, such as `watching`.
    public var state = "not started"
    public var reason = ""
    /// Sentences for the person beside the state, such as what to do after success.
    public var notes: [String] = []
    /// Verdicts of the judge since the process began.
    public var verdictCounts: [Verdict.Kind: UInt64] = [:]
    public var stages: [Stage] = []
    /// Into `stages`; `nil` where none is under way.
    public var stageIndex: Int?
    /// The weights of that stage came into force.
    public var isStageEntered = false
    /// The canary's share in hundredths of a percent: as the rollout wants it, and as it is in
    /// force in this process. Of a dry run: as it would be, and as it is.
    public var weightWanted = 0
    public var weightInForce = 0
    /// Why another share is in force than the rollout wants; `nil` where that is on its way.
    public var weightCause: String?
    public var isDryRun = false
    public var verdict: Verdict?
    public var versions: [Version] = []
    /// Whether the units of `versions` are sessions, because the service is sticky.
    public var hasSessions = false
    /// The canary's deeds in the present stage at requests that rules of stages gave it; `nil`
    /// without rules.
    public var matched: Version?
    /// The metrics of the stage that was entered last; empty before the first.
    public var metrics: [MetricMachine] = []
    /// Newest last.
    public var events: [Event] = []
    /// Why the journal is not written; `nil` when it is.
    public var unwritten: String?
    public var revision: String?
    public var labels: [RolloutPlan.Label] = []
    /// Lines of the forecast of each stage.
    public var forecast: [String] = []

    public init(name: String, service: String, canary: String, stable: String) {
        self.name = name
        self.service = service
        self.canary = canary
        self.stable = stable
    }
}
