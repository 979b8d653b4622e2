import Base

/// The facts that a rollout began with, which never change.
public struct RolloutRun: Sendable, Equatable, Codable {
    /// Counts the rollouts of a plan, from 1.
    public var number: Int
    public var plan: RolloutPlan
    /// The service's stable version at the start, which gives.
    public var stable: String
    public var canaryRevision: String?
    public var stableRevision: String?
    public var startedBy: String
    public var startedAt: WallTime
    /// The values of `--set`, for `when`.
    public var settings: [RolloutPlan.Label] = []
    /// The canary's share at the start, in hundredths of a percent.
    public var share: Int
    /// Endpoints in rotation at the start.
    public var canaryEndpoints: Int
    public var stableEndpoints: Int
    /// How often this revision was begun again after a rollback.
    public var retries = 0
    /// Everything as if, and weights stay.
    public var isDryRun = false
    /// The shares of all versions with which everybody is with the stable version again, as
    /// `sluice weights set` takes them: `v1=90% v2=0% v3=10%`. `nil` where the service has the two
    /// versions alone, and in journals of before there was this.
    public var sharesBack: String?

    public init(
        number: Int, plan: RolloutPlan, stable: String, startedBy: String, startedAt: WallTime,
        share: Int, canaryEndpoints: Int, stableEndpoints: Int
    ) {
        self.number = number
        self.plan = plan
        self.stable = stable
        self.startedBy = startedBy
        self.startedAt = startedAt
        self.share = share
        self.canaryEndpoints = canaryEndpoints
        self.stableEndpoints = stableEndpoints
    }

    /// `NAME-NUMBER`: in approvals, hooks, metrics, and the overlay.
    public var id: String { "\(plan.name)-\(number)" }
}

/// Why a rollout is where it is.
public struct RolloutReason: Sendable, Equatable, Codable {
    public enum Code: String, Sendable, Codable, CaseIterable {
        case person, drift, weightsByHand, overlayLost, quorum
        case inconclusive, regression, limit, metric, hook, when, endpoints, approval, weights
        case tripped, maxDuration, canaryRemoved, newRevision, restart
    }

    public var code: Code
    /// A sentence or two.
    public var text: String
    /// The person, where it was one.
    public var by: String?
}

/// Everything about a rollout that outlives the process. The fold of the journal's records gives
/// the same value, to the bit.
public struct RolloutState: Sendable, Equatable, Codable {
    /// The findings of a stage's entry so far.
    struct Entry: Sendable, Equatable, Codable {
        /// The condition that is waited for.
        enum Wait: String, Sendable, Codable { case when, window, hook, endpoints, commonCause }

        /// The answer to `when`; `nil`: not yet known.
        var when: Bool?
        var isApproved = false
        var isWindowOpen: Bool?
        /// When the window opens or closes next, in words.
        var windowText = ""
        /// Hooks that stand in front of the stage and have passed, as indices into the plan.
        var hooks: [Int] = []
        /// Until a hook that asked for it is called again.
        var hookLeft: Duration?
        /// Until a person is asked, while endpoints are missing or weights refused.
        var readyLeft: Duration
        var waitsFor: Wait?
        /// The hook that was called and has not answered.
        var calls: Int?
        /// Conditions that a person decided to go without.
        var waived: [RolloutReason.Code] = []
    }

    /// A person's approval.
    public struct Approval: Sendable, Equatable, Codable {
        public var stage: String
        public var by: String
        public var time: WallTime
        /// In spite of the reason for which the rollout was held; empty: it was asked for.
        public var inSpiteOf: String
    }

    /// A line of the story.
    public struct Line: Sendable, Equatable, Codable {
        public var time: WallTime
        public var text: String
    }

    /// Weights that are in force.
    struct Weights: Sendable, Equatable, Codable {
        var epoch: Int
        var share: Int
        var rules: [String]
    }

    public let run: RolloutRun
    public internal(set) var phase = RolloutPhase.entering
    /// Index into the plan's stages.
    public internal(set) var stage = 0
    /// Why it is held, paused, going back or ended; `nil` in other phases.
    public internal(set) var reason: RolloutReason?
    /// The end that a rollback leads to.
    var outcome = RolloutPhase.rolledBack
    /// The last order.
    public internal(set) var order: WeightsOrder?
    var confirmed: Weights
    /// The number of the newest order.
    var epoch = 0
    /// How long the stage's weights have been in force, without pauses.
    public internal(set) var stageTime = Duration.zero
    /// Known once the stage was applied.
    public internal(set) var maxTime: Duration?
    var entry: Entry
    /// The stage's weights are not in force yet, or not again.
    var isAtEntry = true
    /// The stage is left with an approval even if the plan has none (`onInconclusive: ask`), for
    /// this reason.
    var asksFor: String?
    var approvalLeft: Duration?
    var durationLeft: Duration?
    var keepStableLeft: Duration?
    var canaryReady: Int
    var stableReady: Int
    public internal(set) var drift: String?
    /// The judge's last word that was worth a record.
    public internal(set) var verdict: Verdict?
    /// The judge's state at that time, as text that nobody here reads.
    public internal(set) var judge = ""
    public internal(set) var approvals: [Approval] = []
    var skipped: [Int] = []
    var notices: [RolloutNotice] = []
    var noticeCount = 0
    public internal(set) var isSynthetic = false
    var isForced = false
    /// The last lines of the story, the newest last.
    public internal(set) var lines: [Line] = []

    static let linesMax = 20
    static let noticesMax = 100

    init(_ run: RolloutRun) {
        self.run = run
        confirmed = Weights(epoch: 0, share: run.share, rules: [])
        entry = Entry(readyLeft: run.plan.readyWithin)
        durationLeft = run.plan.maxDuration
        canaryReady = run.canaryEndpoints
        stableReady = run.stableEndpoints
    }
}

// MARK: The plan, as the state sees it

extension RolloutState {
    public var plan: RolloutPlan { run.plan }

    var current: RolloutPlan.Stage { plan.stages[stage] }

    /// The canary's share in a stage, in hundredths of a percent.
    func share(of stage: Int) -> Int {
        let weight =
            plan.stages[...stage].last { $0.weight != nil }?.weight ?? run.share
        return max(0, min(weight, 10_000 - plan.stages[stage].holdBack))
    }

    /// The rules that are in force in a stage: those of it and of the stages before.
    func rules(of stage: Int) -> [String] {
        plan.stages[...stage].indices.filter { !skipped.contains($0) }
            .compactMap { plan.stages[$0].match }
    }

    /// Whether rules of stages send requests to the canary now.
    public var hasRules: Bool { !confirmed.rules.isEmpty }

    /// Whether both versions have users, so that one can be compared with the other.
    func isJudged(_ stage: Int) -> Bool { (1..<10_000).contains(share(of: stage)) }

    func judge(of stage: Int) -> RolloutPlan.JudgePolicy { plan.stages[stage].judge ?? plan.judge }

    func minTime(of stage: Int) -> Duration {
        let own = plan.stages[stage]
        return own.watch ?? own.minTime ?? judge(of: stage).minTime
    }

    /// Endpoints of the stable version that a rollback wants.
    var stableNeeded: Int {
        let part = Double(run.stableEndpoints) * plan.rollbackCapacity
        return max(1, Int(part.rounded(.up)))
    }

    /// The next stage that is not passed over; `nil` behind the last.
    func next(from stage: Int) -> Int? {
        plan.stages.indices.first { $0 >= stage && !skipped.contains($0) }
    }

    /// Whether a state that was read can be gone on with: nothing in it leads outside of the plan.
    var isSound: Bool {
        let numbers = [run.number, epoch, noticeCount, run.retries, confirmed.epoch]
        let shares = [run.share, confirmed.share, order?.share ?? 0]
        let endpoints = [
            run.canaryEndpoints, run.stableEndpoints, canaryReady, stableReady,
        ]
        return run.isSound && plan.stages.indices.contains(stage)
            && numbers.allSatisfy { (0..<RolloutState.numberMax).contains($0) }
            && shares.allSatisfy { (0...10_000).contains($0) }
            && endpoints.allSatisfy { (0...RolloutState.endpointsMax).contains($0) }
            && outcome.hasEnded && outcome != .succeeded
            && skipped.allSatisfy(plan.stages.indices.contains)
            && entry.hooks.allSatisfy(plan.hooks.indices.contains)
            && notices.allSatisfy { plan.hooks.indices.contains($0.hook) }
    }

    static let numberMax = 1 << 52
    static let endpointsMax = 1_000_000
}

extension RolloutRun {
    var isSound: Bool {
        (1...1_000).contains(plan.stages.count) && number > 0
            && (0...1).contains(plan.rollbackCapacity)
            && plan.stages.allSatisfy {
                (0...10_000).contains($0.weight ?? 0) && (0...10_000).contains($0.holdBack)
            }
            && (0...10_000).contains(share)
            && (0...RolloutState.endpointsMax).contains(stableEndpoints)
            && (0...RolloutState.endpointsMax).contains(canaryEndpoints)
            && (0..<RolloutState.numberMax).contains(number)
            && (0..<RolloutState.numberMax).contains(retries)
    }
}

extension Duration {
    /// The span that is left of this one when another has passed; never negative.
    func left(after passed: Duration) -> Duration {
        let (rest, overflow) = nanoseconds.subtractingReportingOverflow(max(0, passed.nanoseconds))
        return overflow ? .zero : Duration(nanoseconds: max(0, rest))
    }
}
