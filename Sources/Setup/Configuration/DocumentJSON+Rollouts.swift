import Base
import HTTPSemantics
import JSON
import Judge
import Rollout

// Plans of rollouts as they were understood: ramps and the shortest plan's stages are written out.
// Names of secret files are shown, their content never.

extension DocumentJSON {
    static func rollouts(_ rollouts: Document.Rollouts) -> JSONText {
        .object([
            ("directory", .string(rollouts.directory)), ("overlay", .string(rollouts.overlay)),
            ("plans", .array(rollouts.plans.map(plan))),
        ])
    }

    static func adminToken(_ token: Document.AdminToken) -> JSONText {
        .object([
            ("name", .string(token.name)), ("file", .string(token.path)),
            ("may", strings(token.rights.map(\.rawValue))),
        ])
    }

    /// A plan as the file could have it, every default written out.
    public static func plan(_ plan: RolloutPlan) -> JSONText {
        let absolute = plan.absolute.isEmpty ? JSONText.null : limits(plan.absolute)
        let guardSetting: JSONText =
            plan.guardRatio.map { .object([("ratio", decimal($0))]) } ?? .string("off")
        return .object([
            ("name", .string(plan.name)), ("service", .string(plan.service)),
            ("canary", .string(plan.canary)),
            ("routes", plan.routes.isEmpty ? .null : strings(plan.routes)),
            ("stages", .array(plan.stages.map { stage($0, plan) })),
            ("judge", judge(plan.judge, isPlan: true)), ("absolute", absolute),
            ("guard", guardSetting), ("metrics", .array(plan.metrics.map(metric))),
            ("synthetic", plan.synthetic.map(synthetic) ?? .null),
            ("hooks", .array(plan.hooks.map(hook))), ("start", .string(plan.start.rawValue)),
            ("inputs", strings(plan.inputs)), ("labels", labels(plan.labels)),
            ("maxDuration", .string(plan.maxDuration.map { Units.text($0) } ?? "off")),
            ("keepStable", time(plan.keepStable)), ("minEndpoints", .integer(plan.minEndpoints)),
            ("readyWithin", time(plan.readyWithin)),
            ("rollback", .object([("capacity", share(plan.rollbackCapacity))])),
        ])
    }

    // MARK: Stages

    private static func stage(_ stage: RolloutPlan.Stage, _ plan: RolloutPlan) -> JSONText {
        let isWatched = stage.watch != nil
        return .object([
            ("name", .string(stage.name)),
            ("weight", stage.weight.map { share($0) } ?? .null), ("match", text(stage.match)),
            ("approve", stage.approval.map(approval) ?? .string("off")),
            ("when", text(stage.when)),
            ("onFalse", stage.when == nil ? .null : .string(stage.onFalse.rawValue)),
            ("window", stage.windows.isEmpty ? .null : strings(stage.windows)),
            ("holdBack", share(stage.holdBack)), ("watch", stage.watch.map(time) ?? .null),
            ("minTime", isWatched ? .null : time(stage.minTime ?? plan.judge.minTime)),
            ("maxTime", stage.maxTime.map(time) ?? .null), ("warmup", time(stage.warmup)),
            ("judge", stage.judge.map { judge($0, isPlan: false) } ?? .null),
            ("absolute", stage.absolute.map(limits) ?? .null),
            ("metrics", stage.metrics.map { .array($0.map(metric)) } ?? .null),
        ])
    }

    private static func approval(_ approval: RolloutPlan.Approval) -> JSONText {
        .object([
            ("by", approval.by.isEmpty ? .null : strings(approval.by)),
            ("notStarter", onOff(approval.notStarter)), ("before", onOff(approval.isBefore)),
            ("timeout", .string(approval.timeout.map { Units.text($0) } ?? "off")),
            ("onTimeout", .string(approval.onTimeout.rawValue)),
        ])
    }

    private static func judge(_ policy: RolloutPlan.JudgePolicy, isPlan: Bool) -> JSONText {
        var pairs: [(String, JSONText)] = []
        if isPlan { pairs.append(("falseRollbacks", share(policy.falseRollbacks))) }
        pairs += [
            (
                "tolerate",
                .object([
                    ("points", share(policy.tolerance.points)),
                    ("ratio", decimal(policy.tolerance.ratio)),
                    ("p95", decimal(policy.tolerance.latency)),
                    (
                        "time",
                        time(.nanoseconds(Int64((policy.tolerance.time * 1e9).rounded())))
                    ),
                ])
            ),
            ("maxIncrease", policy.maxIncrease.map { share($0) } ?? .null),
            ("minRequests", .integer(policy.minRequests)),
        ]
        if isPlan { pairs.append(("minTime", time(policy.minTime))) }
        return .object(
            pairs + [
                ("onInconclusive", .string(policy.onInconclusive.rawValue)),
                ("onRegression", .string(policy.onRegression.rawValue)),
            ])
    }

    private static func limits(_ limits: RolloutPlan.AbsoluteLimits) -> JSONText {
        .object([
            ("errorRate", limits.errorRate.map { share($0) } ?? .null),
            ("p50", limits.p50.map(time) ?? .null), ("p95", limits.p95.map(time) ?? .null),
            ("p99", limits.p99.map(time) ?? .null),
        ])
    }

    // MARK: Others

    private static func metric(_ metric: RolloutPlan.Metric) -> JSONText {
        let source: (String, JSONText)
        switch metric.source {
        case .prometheus(let url, let query):
            let own: [(String, JSONText)] = [("url", .string(url)), ("query", .string(query))]
            source = ("prometheus", .object(own + access(metric.access)))
        case .web(let url, let pointer):
            let own: [(String, JSONText)] = [("url", .string(url)), ("json", .string(pointer))]
            source = ("web", .object(own + access(metric.access)))
        case .command(let arguments): source = ("command", strings(arguments))
        }
        return .object([
            ("name", .string(metric.name)), source, ("interval", time(metric.interval)),
            ("delay", time(metric.delay)), ("timeout", time(metric.timeout)),
            ("min", metric.min.map(decimal) ?? .null), ("max", metric.max.map(decimal) ?? .null),
            ("compare", metric.comparesStable ? .string("stable") : .null),
            ("failures", .integer(metric.failures)),
            ("failuresTotal", number(metric.failuresTotal, otherwise: "off")),
            ("noValue", .string(metric.noValue.rawValue)),
            ("onFailure", .string(metric.onFailure.rawValue)),
            ("stages", metric.stages.isEmpty ? .null : strings(metric.stages)),
        ])
    }

    private static func synthetic(_ synthetic: RolloutPlan.Synthetic) -> JSONText {
        .object([
            ("path", .string(synthetic.path)), ("headers", labels(synthetic.headers, isHead: true)),
            ("rate", decimal(synthetic.rate)),
        ])
    }

    private static func hook(_ hook: RolloutPlan.Hook) -> JSONText {
        let call: (String, JSONText)
        switch hook.call {
        case .webhook(let url, let secret, let format):
            let own: [(String, JSONText)] = [
                ("url", .string(withoutPath(url))), ("secret", text(secret)),
                ("format", .string(format.rawValue)),
            ]
            call = ("webhook", .object(own + access(hook.access)))
        case .command(let arguments): call = ("command", strings(arguments))
        }
        return .object([
            ("events", hook.events.isEmpty ? .null : strings(hook.events.map(\.rawValue))),
            ("before", text(hook.before)), call, ("timeout", time(hook.timeout)),
            ("onFailure", hook.before == nil ? .null : .string(hook.onFailure.rawValue)),
        ])
    }

    /// A webhook's URL without its path, which is a secret with many receivers.
    private static func withoutPath(_ url: String) -> String {
        guard let scheme = url.firstRange(of: "://") else { return url }
        let host = url[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" }
        let rest = url[host.endIndex...]
        return url[..<host.endIndex] + (rest.isEmpty || rest == "/" ? String(rest) : "/…")
    }

    private static func access(_ access: RolloutPlan.Access) -> [(String, JSONText)] {
        let tls = access.tls.map { tls in
            JSONText.object([
                ("ca", .string(tls.ca ?? "the system's")), ("sni", text(tls.sni)),
                ("verify", onOff(tls.verifies)), ("certificate", text(tls.certificate)),
                ("key", text(tls.key)),
            ])
        }
        return [("headersFile", text(access.headersFile)), ("tls", tls ?? .null)]
    }

    // MARK: Values

    /// - Parameter isHead: the pairs are header fields, whose values may be secret.
    private static func labels(_ labels: [RolloutPlan.Label], isHead: Bool = false) -> JSONText {
        .object(
            labels.map { label in
                let shown = isHead ? SecretFields.shown(label.value, of: label.name) : label.value
                return (label.name, .string(shown))
            })
    }

    private static func share(_ part: Double) -> JSONText { share(Int((part * 10_000).rounded())) }

    private static func decimal(_ value: Double) -> JSONText {
        value == value.rounded() && abs(value) < 1e15 ? .integer(Int(value)) : .number(value)
    }
}
