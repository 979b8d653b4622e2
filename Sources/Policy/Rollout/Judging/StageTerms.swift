import Base
import Judge

/// The terms on which one stage is judged: its own, and the plan's where it has none.
public struct StageTerms: Sendable, Equatable {
    public var name: String
    /// The canary's share of its own and the stable version's requests, 0...1.
    public var share: Double
    public var policy: RolloutPlan.JudgePolicy
    public var absolute: RolloutPlan.AbsoluteLimits
    public var minTime: Duration
    /// As the plan gives it; `nil`: by the traffic at the entry.
    public var maxTime: Duration?
    /// Time from the entry in which times to the first byte are not judged.
    public var warmup: Duration

    public init(
        name: String, share: Double, policy: RolloutPlan.JudgePolicy = .init(),
        absolute: RolloutPlan.AbsoluteLimits = .init(), minTime: Duration? = nil,
        maxTime: Duration? = nil, warmup: Duration = .zero
    ) {
        self.name = name
        self.share = min(1, max(0, share))
        self.policy = policy
        self.absolute = absolute
        self.minTime = minTime ?? policy.minTime
        self.maxTime = maxTime
        self.warmup = warmup
    }

    /// The terms of a stage of a plan, which follow a stage without a weight from the one before.
    ///
    /// - Parameters:
    ///   - index: of the stage, into the plan's.
    ///   - others: the share of versions that are neither the canary nor the stable one, 0..<1.
    public init(_ plan: RolloutPlan, stage index: Int, others: Double = 0) {
        let stage = plan.stages[index]
        let weighted = plan.stages[...index].last { $0.weight != nil }
        let weight = weighted?.weight ?? 0
        let kept = weighted?.holdBack ?? 0
        let canary = Double(min(weight, 10_000 - kept)) / 10_000
        let both = 1 - others
        self.init(
            name: stage.name, share: both > 0 ? min(1, canary / both) : 0,
            policy: stage.judge ?? plan.judge, absolute: stage.absolute ?? plan.absolute,
            minTime: stage.watch ?? stage.minTime, maxTime: stage.maxTime,
            warmup: stage.warmup)
    }

    /// Whether there are two versions to compare: at a share of 0 or of 1 there are not.
    public var isJudged: Bool { share > 0 && share < 1 }
}
