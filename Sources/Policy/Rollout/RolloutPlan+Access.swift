import Base

extension RolloutPlan {
    /// Settings of the requests that a metric or a webhook sends. Names of files are as the
    /// configuration has them; relative ones are beside it.
    public struct Access: Sendable, Equatable, Codable {
        /// A file of header lines, `name: value` each, that go with every request.
        public var headersFile: String?
        /// `nil`: the system's authorities are believed.
        public var tls: TLS?
        public init() {}
    }

    /// TLS towards a provider of metrics or a receiver of webhooks.
    public struct TLS: Sendable, Equatable, Codable {
        public var ca: String?
        public var sni: String?
        public var verifies = true
        public var certificate: String?
        public var key: String?
        public init() {}
    }

    /// Names that `--set` may give a value, and that have none without it.
    public var settableNames: [String] { ["branch"] + inputs }

    /// Names between double braces that every rollout has a value for (`CallTemplate`).
    public static let templateNames = [
        "rollout", "service", "canary", "stable", "stage", "revision",
    ]

    /// Names that the conditions of stages know.
    public var knownNames: [String] {
        ["rollout", "service", "canary", "stable", "revision"] + settableNames
    }

    /// The stages of a plan that names none: 1, 5, 25 and 50 %, then 100 % of which 2 % stay with
    /// the stable version as control for ten minutes.
    public static var defaultStages: [Stage] {
        var stages = [100, 500, 2_500, 5_000].map { Stage(name: "\($0 / 100)", weight: $0) }
        var last = Stage(name: "100", weight: 10_000)
        last.holdBack = 200
        last.watch = .seconds(600)
        stages.append(last)
        return stages
    }

    /// Stages of rising weights from one share to another.
    ///
    /// - Parameters from, to, step: hundredths of a percent, `from` at most `to`, `step` above 0.
    public static func ramp(from: Int, to: Int, step: Int, minTime: Duration?) -> [Stage] {
        var stages: [Stage] = [], weight = from
        while weight < to {
            stages.append(Stage(name: shareName(weight), weight: weight))
            weight += step
        }
        stages.append(Stage(name: shareName(to), weight: to))
        for i in stages.indices { stages[i].minTime = minTime }
        return stages
    }

    /// The name of a stage that has none: its share without the sign, `5` or `0.5`.
    public static func shareName(_ hundredths: Int) -> String {
        let rest = hundredths % 100
        if rest == 0 { return "\(hundredths / 100)" }
        return "\(hundredths / 100)."
            + (rest % 10 == 0 ? "\(rest / 10)" : "\(rest / 10)\(rest % 10)")
    }

    /// The share that the canary has in a stage, in hundredths of a percent: the stage's weight, or
    /// that of the last stage before it that has one, without what is held back; `nil` where no
    /// stage has said one yet.
    public func share(ofStage index: Int) -> Int? {
        guard stages.indices.contains(index),
            let weight = stages[...index].last(where: { $0.weight != nil })?.weight
        else { return nil }
        return weight - min(weight, stages[index].holdBack)
    }
}
