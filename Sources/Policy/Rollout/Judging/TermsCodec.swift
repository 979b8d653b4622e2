import Base
import JSON
import Judge

/// The terms of a stage as JSON, for the state of its judge.
enum TermsCodec {
    static func encode(_ terms: StageTerms) -> JSONText {
        .object([
            ("name", .string(terms.name)),
            ("share", JudgeCodec.bits(terms.share)),
            ("policy", policy(terms.policy)),
            (
                "absolute",
                .object([
                    ("errorRate", terms.absolute.errorRate.map(JudgeCodec.bits) ?? .null),
                    ("p50", terms.absolute.p50.map(JudgeCodec.time) ?? .null),
                    ("p95", terms.absolute.p95.map(JudgeCodec.time) ?? .null),
                    ("p99", terms.absolute.p99.map(JudgeCodec.time) ?? .null),
                ])
            ),
            ("minTime", JudgeCodec.time(terms.minTime)),
            ("maxTime", terms.maxTime.map(JudgeCodec.time) ?? .null),
            ("warmup", JudgeCodec.time(terms.warmup)),
        ])
    }

    static func tolerance(_ tolerance: Tolerance) -> JSONText {
        .array(
            [
                tolerance.points, tolerance.ratio, tolerance.latency, tolerance.time,
                tolerance.late,
            ].map(JudgeCodec.bits))
    }

    private static func policy(_ policy: RolloutPlan.JudgePolicy) -> JSONText {
        .object([
            ("falseRollbacks", JudgeCodec.bits(policy.falseRollbacks)),
            ("tolerance", tolerance(policy.tolerance)),
            ("maxIncrease", policy.maxIncrease.map(JudgeCodec.bits) ?? .null),
            ("minRequests", .integer(policy.minRequests)),
            ("minTime", JudgeCodec.time(policy.minTime)),
            ("onInconclusive", .string(policy.onInconclusive.rawValue)),
            ("onRegression", .string(policy.onRegression.rawValue)),
        ])
    }

    static func decode(_ node: JSONNode) throws(JSONError) -> StageTerms {
        let reader = StateReader(node)
        let policy = try self.policy(reader.member("policy"))
        var absolute = RolloutPlan.AbsoluteLimits()
        let limits = StateReader(try reader.member("absolute"))
        absolute.errorRate = try limits.optional("errorRate") { node throws(JSONError) in
            try StateReader.bits(node)
        }
        absolute.p50 = try limits.optionalTime("p50")
        absolute.p95 = try limits.optionalTime("p95")
        absolute.p99 = try limits.optionalTime("p99")
        let share = try reader.bits("share")
        guard share >= 0, share <= 1 else { throw reader.error("a share is 0 to 1") }
        return StageTerms(
            name: try reader.text("name"), share: share, policy: policy, absolute: absolute,
            minTime: try reader.time("minTime"), maxTime: try reader.optionalTime("maxTime"),
            warmup: try reader.time("warmup"))
    }

    static func tolerance(_ node: JSONNode) throws(JSONError) -> Tolerance {
        let numbers = try StateReader.bitsList(node, count: 5)
        guard numbers.allSatisfy({ $0 >= 0 && $0.isFinite }) else {
            throw JSONError("tolerances are numbers, and not negative", at: node.mark)
        }
        var tolerance = Tolerance()
        tolerance.points = numbers[0]
        tolerance.ratio = numbers[1]
        tolerance.latency = numbers[2]
        tolerance.time = numbers[3]
        tolerance.late = numbers[4]
        return tolerance
    }

    private static func policy(
        _ node: JSONNode
    ) throws(JSONError) -> RolloutPlan.JudgePolicy {
        let reader = StateReader(node)
        var policy = RolloutPlan.JudgePolicy()
        policy.falseRollbacks = try reader.bits("falseRollbacks")
        policy.tolerance = try tolerance(reader.member("tolerance"))
        policy.maxIncrease = try reader.optional("maxIncrease") { node throws(JSONError) in
            try StateReader.bits(node)
        }
        policy.minRequests = try reader.count("minRequests")
        policy.minTime = try reader.time("minTime")
        guard
            let inconclusive = RolloutPlan.OnInconclusive(
                rawValue: try reader.text("onInconclusive")),
            let regression = RolloutPlan.OnRegression(rawValue: try reader.text("onRegression"))
        else { throw reader.error("no such policy") }
        policy.onInconclusive = inconclusive
        policy.onRegression = regression
        return policy
    }
}
