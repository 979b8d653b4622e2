import Rollout

// The field table of what a plan asks and tells other systems: metrics, synthetic requests, hooks.

extension ObjectSchema {
    static let metric = ObjectSchema(
        name: "metric",
        example: "{ name: queue, web: { url: \"http://127.0.0.1:9000/lag\", json: /lag }, "
            + "max: 1000 }",
        help: "A number from elsewhere that has its say; one of prometheus, web and command.",
        fields: [
            .required("name", .name, "A label; unique among the metrics beside it."),
            .field("prometheus", .object(prometheus), "An instant query with one value."),
            .field("web", .object(webMetric), "A number in the JSON that a URL answers."),
            .field(
                "command", .list(.text(expected: "a program")),
                "A program of `--allow-commands` and its arguments, no shell: exit 0 passes, 75 "
                    + "is no value, all else fails."),
            .field("interval", .duration(orWord: nil), default: "1m", "From one to the next."),
            .field("delay", .delay, default: "0s", "From the stage's entry to the first."),
            .field("timeout", .duration(orWord: nil), default: "10s", "A late answer is no value."),
            .field("min", .decimal(-1e300...1e300), "Less is a failure."),
            .field("max", .decimal(-1e300...1e300), "More is a failure."),
            .field(
                "compare", .choice(["stable"]),
                "Asked with the stable version's name in the canary's place too; the ratio of the "
                    + "two is the value."),
            .field(
                "failures", .integer(1...1_000, orWord: nil), default: "1",
                "So many in a row are too many."),
            .field(
                "failuresTotal", .integer(1...100_000, orWord: "off"), default: "off",
                "So many altogether are too many, too."),
            .field(
                "noValue", .choice(RolloutPlan.Metric.NoValue.allCases.map(\.rawValue)),
                default: "wait",
                "No answer, NaN, an empty result, several series: wait, or take it for good or "
                    + "bad."),
            .field(
                "onFailure", .choice(RolloutPlan.Metric.OnFailure.allCases.map(\.rawValue)),
                default: "rollback", "What too many failures do."),
            .field(
                "stages", .list(.text(expected: "the name of a stage")),
                "Where it is asked; without it in all stages."),
        ])

    private static let headersFile = FieldSpec.field(
        "headersFile", .text(expected: "a file name"),
        "A file of header lines, `name: value` each, that go with every request.")

    /// The files of TLS, as endpoints have them.
    private static let providerTLS = FieldSpec.field(
        "tls", .object(upstreamTLS), "TLS with other files than the system's; for https URLs.")

    static let prometheus = ObjectSchema(
        name: "prometheus",
        example: "{ url: \"http://127.0.0.1:9090\", query: \"up\" }",
        help: "An instant query, answered by one value.",
        fields: [
            .required("url", .text(expected: "a URL"), "The server's, without /api."),
            .required(
                "query", .text(expected: "a query"),
                "PromQL; names in double braces, such as canary, stand for the rollout's values."),
            headersFile, providerTLS,
        ])

    static let webMetric = ObjectSchema(
        name: "web metric",
        example: "{ url: \"http://127.0.0.1:9000/lag\", json: /lag }",
        help: "A number in the JSON that a URL answers.",
        fields: [
            .required(
                "url", .text(expected: "a URL"),
                "http or https; names in double braces may stand in the path and the query."),
            .field(
                "json", .text(expected: "a JSON pointer"), default: "the whole answer",
                "Where the number is (RFC 6901)."), headersFile, providerTLS,
        ])

    static let synthetic = ObjectSchema(
        name: "synthetic",
        example: "{ path: /healthz, rate: 2 }",
        help: "Requests of Sluice's own, to both versions in turn, for a stage that is "
            + "inconclusive with onInconclusive: synthetic; never mixed with users'.",
        fields: [
            .required("path", .text(expected: "a path"), "A GET of this path."),
            .field("headers", .map(.anyText, keys: .headers), "Header fields."),
            .field(
                "rate", .decimal(0.01...1_000), default: "2",
                "Requests a second, to both versions together."),
        ])

    static let hook = ObjectSchema(
        name: "hook",
        example: "{ events: [rolledBack], webhook: { url: \"https://example.com/hook\" } }",
        help: "A call to somebody else: of events, or before a stage; a webhook or a command.",
        fields: [
            .field(
                "events", .list(.choice(RolloutPlan.Hook.Event.allCases.map(\.rawValue))),
                "Told of these, without waiting for an answer."),
            .field(
                "before", .text(expected: "the name of a stage"),
                "The stage is entered only when the call has passed."),
            .field("webhook", .object(webhook), "A POST of JSON."),
            .field(
                "command", .list(.text(expected: "a program")),
                "A program of `--allow-commands` and its arguments, no shell: exit 0 passes, 75 "
                    + "asks again, all else fails."),
            .field("timeout", .duration(orWord: nil), default: "10s", "Of one call."),
            .field(
                "onFailure", .choice(RolloutPlan.Hook.OnFailure.allCases.map(\.rawValue)),
                default: "hold", "With before: what a failure does."),
        ])

    static let webhook = ObjectSchema(
        name: "webhook",
        example: "{ url: \"https://example.com/hook\" }",
        help: "A POST of JSON.",
        fields: [
            .required(
                "url", .text(expected: "a URL"),
                "http or https; names in double braces may stand in the path and the query."),
            .field(
                "secret", .text(expected: "a file name"),
                "A file whose first line signs the body: x-sluice-signature, HMAC-SHA-256."),
            .field(
                "format", .choice(RolloutPlan.Hook.Format.allCases.map(\.rawValue)),
                default: "sluice", "The shape of the body."), headersFile, providerTLS,
        ])
}
