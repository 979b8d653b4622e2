// The field table of what keeps a bad version, endpoint or network from hurting others: health,
// retries, faults, mirrors, rate limits. Names are Istio's where it has one.

extension ObjectSchema {
    static let healthCheck = ObjectSchema(
        name: "health check",
        example: "{ path: /healthz }",
        help: "How endpoints are asked whether they are well.",
        fields: [
            .field("path", .text(expected: "a path"), "HTTP: a GET of this path."),
            .field("tcp", .choice(["true"]), "A connect, with the TLS handshake if there is one."),
            .field(
                "grpc", .anyText,
                "gRPC: `grpc.health.v1.Health/Check` of this service; \"\" for the whole server."),
            .field(
                "host", .text(expected: "a host name"), default: "the service's name",
                "The Host of a check."),
            .field(
                "statuses", .text(expected: "a status or a range such as 200-299"),
                default: "200-299", "HTTP: what a healthy endpoint answers."),
            .field(
                "interval", .duration(orWord: nil), default: "5s",
                "From one check of an endpoint to the next, give or take a tenth."),
            .field(
                "timeout", .duration(orWord: nil), default: "1s",
                "How long one check may take, the connect included."),
            .field(
                "healthyThreshold", .integer(1...1_000, orWord: nil), default: "2",
                "Checks in a row that must succeed until an endpoint is back."),
            .field(
                "unhealthyThreshold", .integer(1...1_000, orWord: nil), default: "3",
                "Checks in a row that must fail until it is out; the very first decides alone."),
        ])

    static let outlierDetection = ObjectSchema(
        name: "outlier detection",
        example: "{ consecutive5xx: 5 }",
        help: "Ejection of endpoints by their own answers.",
        fields: [
            .field(
                "consecutive5xx", .integer(1...10_000, orWord: "off"), default: "5",
                "5xx in a row, answers that did not come included."),
            .field(
                "consecutiveGatewayErrors", .integer(1...10_000, orWord: "off"), default: "off",
                "502, 503 and 504 in a row, answers that did not come included."),
            .field(
                "consecutiveLocalOriginFailures", .integer(1...10_000, orWord: "off"),
                default: "5",
                "Failed connects, timeouts and broken connections in a row."),
            .field(
                "successRate", .object(successRate),
                "Ejects endpoints that answer well much more rarely than the others."),
            .field(
                "interval", .duration(orWord: nil), default: "10s",
                "How often success rates are compared, and after how much good behaviour an "
                    + "ejection is forgotten."),
            .field(
                "baseEjectionTime", .duration(orWord: nil), default: "30s",
                "The first ejection; the second takes twice as long, and so on."),
            .field(
                "maxEjectionTime", .duration(orWord: nil), default: "5m", "The longest ejection."),
            .field(
                "maxEjectionPercent", .integer(0...100, orWord: nil), default: "10",
                "Of a version's endpoints at one time; of several, one may always go, unless it "
                    + "is 0."),
            .field(
                "minHealthPercent", .integer(0...100, orWord: nil), default: "0",
                "With fewer of its endpoints in the rotation, all of a version's are used."),
        ])

    static let successRate = ObjectSchema(
        name: "success rate",
        example: "{ minRequests: 100 }",
        help: "When an endpoint's success rate is an outlier's.",
        fields: [
            .field(
                "minEndpoints", .integer(2...100_000, orWord: nil), default: "5",
                "Endpoints with enough requests that a comparison needs."),
            .field(
                "minRequests", .integer(1...1_000_000, orWord: nil), default: "100",
                "Requests within an interval that an endpoint is judged by."),
            .field(
                "stdevFactor", .integer(0...100_000, orWord: nil), default: "1900",
                "Thousandths of a standard deviation below the mean that are too few."),
        ])

    static let warmup = ObjectSchema(
        name: "warm-up",
        example: "{ duration: 30s }",
        help: "The slow start of an endpoint that is back, or new.",
        fields: [
            .required("duration", .duration(orWord: nil), "Until it has its full share."),
            .field("minimumPercent", .integer(1...100, orWord: nil), default: "10", "At first."),
        ], shortFor: "duration")

    /// Names of gRPC statuses from 1 on, in lower case.
    static let callStatuses = [
        "cancelled", "unknown", "invalid-argument", "deadline-exceeded", "not-found",
        "already-exists", "permission-denied", "resource-exhausted", "failed-precondition",
        "aborted", "out-of-range", "unimplemented", "internal", "unavailable", "data-loss",
        "unauthenticated",
    ]

    static let versionErrors = ["5xx", "no-answer", "grpc"] + callStatuses

    static let guardPolicy = ObjectSchema(
        name: "guard",
        example: "{ ratio: 10 }",
        help: "Takes a version out at once.",
        fields: [
            .field(
                "ratio", .integer(2...100, orWord: nil), default: "10",
                "How many times the stable version's rate of errors is looked for.")
        ])

    static let retryConditions = [
        "connect-failure", "refused-stream", "reset", "gateway-error", "5xx", "retriable-4xx",
        "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
    ]

    static let routeRetries = ObjectSchema(
        name: "retries",
        example: "{ attempts: 2 }",
        help: "When a request is sent once more; to the same version, always.",
        fields: [
            .field(
                "attempts", .integer(0...10, orWord: nil), default: "2",
                "Attempts beyond the first."),
            .field(
                "on", .list(.integerOr(400...599, retryConditions)),
                default: "[connect-failure, refused-stream]",
                "What an attempt failed by; status codes too. All but the first two hold for "
                    + "idempotent methods only."),
            .field(
                "methods", .choice(["idempotent", "all"]), default: "idempotent",
                "all repeats POST and the like too, whatever the endpoint did with them."),
            .field(
                "backoff", .delay, default: "25ms",
                "The longest wait in front of the first retry; drawn evenly, doubled each time."),
            .field(
                "maxBackoff", .delay, default: "250ms", "The longest of all."),
            .field(
                "maxRetryAfter", .delay, default: "2s",
                "A Retry-After up to this is waited for; longer ones go to the client."),
            .field(
                "bodyBytes", .size(orWord: nil), default: "64KiB",
                "Of a request's body, kept for another attempt; at most 16MiB."),
        ], isGroup: true)

    static let retries = ObjectSchema(
        name: "retries",
        example: "{ attempts: 2 }",
        help: routeRetries.help,
        fields: routeRetries.fields + [
            .field(
                "budget", .either([.shareOr("unlimited")]), default: "20%",
                "Retries of a version as a share of its requests, over all workers."),
            .field(
                "minPerSecond", .integer(0...1_000_000, orWord: nil), default: "10",
                "Retries a second that a version may have besides."),
        ], isGroup: true)

    static let fault = ObjectSchema(
        name: "fault",
        example: "{ abort: { status: 503, share: 1% } }",
        help: "Delays and errors made on purpose, for exactly their share.",
        fields: [
            .field("delay", .object(faultDelay), "Holds requests back."),
            .field("abort", .object(faultAbort), "Answers for the origin."),
            .field(
                "byHeader", .choice(["allow", "ignore"]), default: "ignore",
                "allow: a request may ask for its own fault, x-sluice-fault-delay: 250ms (at most "
                    + "1m) and x-sluice-fault-abort: 503."),
        ])

    static let faultDelay = ObjectSchema(
        name: "delay",
        example: "{ time: 250ms, share: 1% }",
        help: "Holds requests back.",
        fields: [
            .required("time", .duration(orWord: nil), "For how long."),
            .field("share", .share, default: "100%", "Of which requests."),
        ])

    static let faultAbort = ObjectSchema(
        name: "abort",
        example: "{ status: 503, share: 1% }",
        help: "Answers for the origin.",
        fields: [
            .field("status", .integer(200...599, orWord: nil), "The status code."),
            .field(
                "grpcStatus", .integer(1...16, orWord: nil),
                "What gRPC calls get; without it, what the status code means to them."),
            .field("share", .share, default: "100%", "Of which requests."),
        ])

    static let mirror = ObjectSchema(
        name: "mirror",
        example: "{ to: reviews/v2, share: 10% }",
        help: "A copy of each request to another version; its answer is dropped.",
        fields: [
            .required("to", .text(expected: "service/version"), "Where the copies go."),
            .field("share", .share, default: "100%", "Of which requests, exactly."),
            .field(
                "bodyBytes", .size(orWord: nil), default: "64KiB",
                "Of a copy's body that waits; a copy that falls behind by more is given up."),
            .field(
                "connectionPool", .object(mirrorPool),
                "Bounds of the copies alone; by default 100 connections and 200 requests."),
        ])

    static let mirrorPool = ObjectSchema(
        name: connectionPool.name, example: connectionPool.example,
        help: "Bounds of the copies, over all workers.",
        fields: connectionPool.fields.map { field in
            let own = [
                "maxConnections": "100", "maxPendingRequests": "100", "maxRequests": "200",
            ]
            var field = field
            field.defaultText = own[field.name] ?? field.defaultText
            return field
        }, isGroup: true)

    static let rateLimit = ObjectSchema(
        name: "rate limit",
        example: "{ requests: 100, per: 1s }",
        help: "A token bucket; 429 beyond, over all workers exactly.",
        fields: [
            .required("requests", .integer(1...1_000_000_000, orWord: nil), "So many …"),
            .required("per", .duration(orWord: nil), "… in this time."),
            .field(
                "burst", .integer(1...1_000_000_000, orWord: nil), default: "as requests",
                "At once, after a time without any."),
            .field(
                "by", .either([.choice(["address"]), .object(hashKey)]),
                "A bucket for each value: of a header, of a cookie, or of the client's address."),
            .field(
                "maxKeys", .integer(1...1_000_000, orWord: nil), default: "10000",
                "Values with a bucket of their own, rounded up to a power of two; all others share "
                    + "one."),
        ])
}
