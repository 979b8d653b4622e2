import Rollout

// The field table of rollouts: plans and their stages. Of what plans ask and tell other systems the
// table is in SchemaTables+RolloutSources.swift.

extension ObjectSchema {
    static let adminToken = ObjectSchema(
        name: "admin token",
        example: "{ name: release-team, file: release.token, may: [read, approve] }",
        help: "A token that may do some things only.",
        fields: [
            .required("name", .name, "The name that is journalled, and that approve: names."),
            .required(
                "file", .text(expected: "a file name"), "A file whose first line is the token."),
            .required(
                "may", .list(.choice(Document.AdminRight.allCases.map(\.rawValue))),
                "What it may do: read pages, pause and resume, approve, abort; all is everything."),
        ])

    static let rollouts = ObjectSchema(
        name: "rollouts",
        example: "{ directory: /var/lib/sluice }",
        help: "Weights over those of the file, and plans of rollouts.",
        fields: [
            .required(
                "directory", .text(expected: "a directory's name"),
                "Where Sluice keeps what it must remember: of mode 0700, its user's own, made at "
                    + "the first need; without a leading / beside this file."),
            .field(
                "overlay", .text(expected: "a file name"), default: "overlay.json",
                "The file of the weights that `sluice weights set` and rollouts put over this "
                    + "file's, in the directory; or, with a leading /, anywhere."),
            .field("plans", .list(.object(rolloutPlan)), "How new versions get their share."),
        ])

    static let rolloutPlan = ObjectSchema(
        name: "rollout plan",
        example: "{ service: reviews, canary: v2 }",
        help: "By which stages a version gets its share, and what sends it back.",
        fields: [
            .field(
                "name", .name, default: "the service's name",
                "A label for commands, the journal and metrics; unique, begins with a letter or a "
                    + "digit."),
            .required("service", .text(expected: "the name of a service"), "The service."),
            .required(
                "canary", .text(expected: "the name of a version"),
                "The version that grows; the service's stable version gives."),
            .field(
                "routes", .list(.text(expected: "the name of a route")),
                "The routes that lead to the service by weight, all of which change and are "
                    + "judged. Without it they are found; with it one left out is an error."),
            .field(
                "stages", .list(.object(stage)),
                "Shares in their order; without it 1%, 5%, 25%, 50%, and 100% with holdBack: 2% "
                    + "and watch: 10m."),
            .field("judge", .object(judge), "How the two versions are compared."),
            .field("absolute", .object(absoluteLimits), "Limits of the canary by itself."),
            .field(
                "guard", .either([.choice(["on", "off"]), .object(guardPolicy)]), default: "on",
                "Takes the canary out at once; off leaves that to the service's own guard."),
            .field("metrics", .list(.object(metric)), "Numbers from elsewhere."),
            .field("synthetic", .object(synthetic), "Requests of Sluice's own."),
            .field("hooks", .list(.object(hook)), "Calls to others."),
            .field(
                "start", .choice(RolloutPlan.Start.allCases.map(\.rawValue)), default: "manual",
                "onRevision begins when the canary's revision changes."),
            .field(
                "inputs", .list(.name),
                "Names that `--set NAME=VALUE` may give a value for `when`, besides branch."),
            .field(
                "labels", .map(.anyText, keys: .names), "Go into hooks, journal and metrics."),
            .field(
                "maxDuration", .duration(orWord: "off"), default: "off",
                "Wall time of the whole rollout; what is not done by then is taken back."),
            .field(
                "keepStable", .delay, default: "1h",
                "How long after success people are told not to scale the old version down."),
            .field(
                "minEndpoints", .integer(1...10_000, orWord: nil), default: "1",
                "Endpoints of the canary in rotation that a step forward wants."),
            .field(
                "readyWithin", .duration(orWord: nil), default: "10m",
                "How long a step forward waits for them before a person is asked."),
            .field("rollback", .object(rollback), "What the way back wants."),
        ])

    static let rollback = ObjectSchema(
        name: "rollback",
        example: "{ capacity: 50% }",
        help: "What the way back wants.",
        fields: [
            .field(
                "capacity", .share, default: "50%",
                "Of the stable version's endpoints at the start, in rotation; with fewer the "
                    + "canary is lowered as far as they allow.")
        ], isGroup: true)

    static let stage = ObjectSchema(
        name: "stage",
        example: "{ name: small, weight: 5% }",
        help: "A share of the canary, and what it takes to enter and to leave it.",
        fields: [
            .field(
                "name", .name, default: "its weight",
                "A label for commands and hooks; unique in the plan."),
            .field(
                "weight", .share,
                "The canary's share; without it that of the stage before. A stage of 0% is not "
                    + "judged."),
            .field(
                "match", .either([.object(match), .list(.object(match))]),
                "Requests that go to the canary besides its share, from here to the end of the "
                    + "rollout; they are counted apart and not judged."),
            .field(
                "approve", .either([.choice(["on", "off"]), .object(approval)]), default: "off",
                "A person's word, asked when the stage could be left."),
            .field(
                "when", .text(expected: "a condition"),
                "Entered only while this holds: `branch == \"main\"`, !=, in [..], and, or, not, "
                    + "parentheses; of rollout, service, canary, stable, revision, branch and "
                    + "inputs."),
            .field(
                "onFalse", .choice(RolloutPlan.OnFalse.allCases.map(\.rawValue)),
                default: "hold",
                "Where when is false, of a stage with approve or window; any other is skipped."),
            .field(
                "window",
                .either([.text(expected: "a window"), .list(.text(expected: "a window"))]),
                "Entered only then: `Mon-Fri 09:00-16:00 Europe/Berlin`; UTC without a zone."),
            .field(
                "holdBack", .share, default: "0%",
                "With weight: 100%: the share that stays with the stable version as control."),
            .field(
                "watch", .duration(orWord: nil),
                "With weight: 100%: how long the last stage is watched; needs holdBack, absolute "
                    + "or metrics."),
            .field(
                "minTime", .delay, default: "as judge", "The stage is not left before."),
            .field(
                "maxTime", .duration(orWord: nil),
                "When onInconclusive acts; without it three times the time to a conclusion, at "
                    + "least 30m, at most 24h; and at least twice minTime."),
            .field(
                "warmup", .delay, default: "0s",
                "Time from the entry in which times to the first byte are not judged."),
            .field("judge", .object(stageJudge), "What differs from the plan's, in this stage."),
            .field(
                "absolute", .object(absoluteLimits),
                "What differs from the plan's, in this stage."),
            .field("metrics", .list(.object(metric)), "In the place of the plan's."),
            .field(
                "ramp", .object(ramp),
                "In the place of all other keys: stages of rising shares, written out."),
        ])

    static let ramp = ObjectSchema(
        name: "ramp",
        example: "{ from: 5%, to: 50%, step: 5% }",
        help: "Stages of rising shares.",
        fields: [
            .required("from", .share, "The first share."),
            .required("to", .share, "The last share."),
            .required("step", .share, "From one share to the next."),
            .field("minTime", .delay, default: "as judge", "No stage is left before."),
        ])

    static let approval = ObjectSchema(
        name: "approval",
        example: "{ by: [release-team], timeout: 24h, onTimeout: rollback }",
        help: "Whose word is wanted, and when.",
        fields: [
            .field(
                "by", .list(.text(expected: "the name of a token")),
                "Tokens of admin.tokens; without it any that may approve."),
            .field(
                "notStarter", .choice(["on", "off"]), default: "off",
                "Whoever started the rollout may not approve."),
            .field(
                "before", .choice(["on", "off"]), default: "off",
                "Asked before the stage is entered, and not before it is left."),
            .field("timeout", .duration(orWord: "off"), default: "off", "How long is waited."),
            .field(
                "onTimeout", .choice(RolloutPlan.OnTimeout.allCases.map(\.rawValue)),
                default: "hold", "What happens then."),
        ])

    static let judge = ObjectSchema(
        name: "judge",
        example: "{ falseRollbacks: 1%, minRequests: 100 }",
        help: "How the two versions are compared.",
        fields: [
            .field(
                "falseRollbacks", .share, default: "1%",
                "The chance that a canary that is no worse is taken back, over the whole rollout; "
                    + "0.01% to 20%."),
            .field("tolerate", .object(tolerance), "Increases that do not matter."),
            .field(
                "maxIncrease", .share,
                "The largest increase of the error rate that still counts as healthy; without it "
                    + "0.5%, or half the stable version's rate up to 2%, where that is more."),
            .field(
                "minRequests", .integer(1...1_000_000_000, orWord: nil), default: "100",
                "Requests of the canary, or sessions, below which a stage says nothing."),
            .field("minTime", .delay, default: "1m", "No stage is left before."),
            .field(
                "onInconclusive", .choice(RolloutPlan.OnInconclusive.allCases.map(\.rawValue)),
                default: "hold", "What happens at maxTime; synthetic needs synthetic: …"),
            .field(
                "onRegression", .choice(RolloutPlan.OnRegression.allCases.map(\.rawValue)),
                default: "rollback", "hold leaves the way back to a person; the guard acts still."),
        ], isGroup: true)

    /// All keys of the judge but the budget, which belongs to the whole rollout, and the time,
    /// which the stage itself has.
    static let stageJudge = ObjectSchema(
        name: judge.name, example: "{ minRequests: 100 }", help: "What differs from the plan's.",
        fields: judge.fields
            .filter { $0.name != "falseRollbacks" && $0.name != "minTime" }
            .map { field in
                var field = field
                field.defaultText = "as the plan"
                return field
            }, isGroup: true)

    static let tolerance = ObjectSchema(
        name: "tolerance",
        example: "{ points: 0.1%, ratio: 1.1, p95: 1.1, time: 2ms }",
        help: "An increase counts as a regression only above both points and ratio, or above both "
            + "p95 and time.",
        fields: [
            .field("points", .share, default: "0.1%", "Of all requests, more errors."),
            .field("ratio", .decimal(1...100), default: "1.1", "Times the stable version's rate."),
            .field(
                "p95", .decimal(1...100), default: "1.1",
                "Times the stable version's 50th and 95th percentiles of times."),
            .field(
                "time", .delay, default: "2ms",
                "Above the stable version's 50th and 95th percentiles of times."),
        ], isGroup: true)

    static let absoluteLimits = ObjectSchema(
        name: "absolute limits",
        example: "{ errorRate: 5%, p99: 800ms }",
        help: "Limits of the canary by itself; above one it goes back, unless the stable version "
            + "is above it too.",
        fields: [
            .field("errorRate", .share, "The rate of errors."),
            .field("p50", .duration(orWord: nil), "The median of times to the first byte."),
            .field("p95", .duration(orWord: nil), "The 95th percentile."),
            .field("p99", .duration(orWord: nil), "The 99th percentile."),
        ], isGroup: true)
}
