import Base
import Configuration
import Testing

/// One rule for every duration of the schema: where there may be no limit `0s` says so, a delay may
/// be none, and a time that is needed is refused when it is none.
@Suite struct DurationTests {
    enum Rule: Equatable { case limit, delay, needed }

    /// (the kind of object and its key, text replaced in the base file, by what; `%` is the value)
    static let own: [(key: String, Rule, String, String)] = [
        ("connection pool.idleTimeout", .limit, "stable: v1", "connectionPool: { idleTimeout: % }"),
        (
            "connection pool.maxConnectionDuration", .limit, "stable: v1",
            "connectionPool: { maxConnectionDuration: % }"
        ),
        (
            "connection pool.pingInterval", .limit, "stable: v1",
            "connectionPool: { pingInterval: % }"
        ),
        ("delay.time", .needed, "to: s", "to: s, fault: { delay: { time: % } }"),
        ("drain.delay", .delay, "routes:", "drain: { delay: % }\nroutes:"),
        ("drain.grace", .delay, "routes:", "drain: { grace: % }\nroutes:"),
        (
            "health check.interval", .needed, "stable: v1",
            "healthCheck: { path: /, interval: % }"
        ),
        ("health check.timeout", .needed, "stable: v1", "healthCheck: { path: /, timeout: % }"),
        ("metrics.retention", .delay, "routes:", "metrics: { retention: % }\nroutes:"),
        (
            "outlier detection.baseEjectionTime", .needed, "stable: v1",
            "outlierDetection: { baseEjectionTime: % }"
        ),
        (
            "outlier detection.interval", .needed, "stable: v1",
            "outlierDetection: { interval: % }"
        ),
        (
            "outlier detection.maxEjectionTime", .needed, "stable: v1",
            "outlierDetection: { maxEjectionTime: % }"
        ),
        ("rate limit.per", .needed, "to: s", "to: s, rateLimit: { requests: 1, per: % }"),
        ("retries.backoff", .delay, "to: s", "to: s, retries: { backoff: % }"),
        ("retries.maxBackoff", .delay, "to: s", "to: s, retries: { backoff: 0s, maxBackoff: % }"),
        ("retries.maxRetryAfter", .delay, "to: s", "to: s, retries: { maxRetryAfter: % }"),
        ("route timeouts.firstByte", .limit, "to: s", "to: s, timeouts: { firstByte: % }"),
        ("route timeouts.idle", .limit, "to: s", "to: s, timeouts: { idle: % }"),
        ("route timeouts.perTry", .limit, "to: s", "to: s, timeouts: { perTry: % }"),
        ("route timeouts.request", .limit, "to: s", "to: s, timeouts: { request: % }"),
        ("route timeouts.write", .limit, "to: s", "to: s, timeouts: { write: % }"),
        ("service.connectTimeout", .needed, "stable: v1", "connectTimeout: %"),
        ("service.dnsRefresh", .needed, "stable: v1", "dnsRefresh: %"),
        ("service.warmup", .limit, "stable: v1", "warmup: %"),
        (
            "sticky.ttl", .needed, "stable: v1",
            "stable: v1\n    sticky: { cookie: a, ttl: % }"
        ),
        (
            "timeouts.firstByte", .limit, "routes:",
            "defaults: { timeouts: { firstByte: % } }\nroutes:"
        ),
        ("timeouts.headers", .limit, "routes:", "defaults: { timeouts: { headers: % } }\nroutes:"),
        ("timeouts.idle", .limit, "routes:", "defaults: { timeouts: { idle: % } }\nroutes:"),
        (
            "timeouts.keepAlive", .limit, "routes:",
            "defaults: { timeouts: { keepAlive: % } }\nroutes:"
        ),
        (
            "timeouts.maxConnectionDuration", .limit, "routes:",
            "defaults: { timeouts: { maxConnectionDuration: % } }\nroutes:"
        ),
        ("timeouts.perTry", .limit, "routes:", "defaults: { timeouts: { perTry: % } }\nroutes:"),
        ("timeouts.request", .limit, "routes:", "defaults: { timeouts: { request: % } }\nroutes:"),
        ("timeouts.write", .limit, "routes:", "defaults: { timeouts: { write: % } }\nroutes:"),
        ("warm-up.duration", .needed, "stable: v1", "warmup: { duration: % }"),
    ]

    /// Durations of plans of rollouts: the key, its rule, and the plan's keys; `%` is the value.
    /// Percent signs of shares are written as `pc`.
    static let plans: [(key: String, Rule, String)] = [
        ("absolute limits.p50", .needed, "absolute: { p50: % }"),
        ("absolute limits.p95", .needed, "absolute: { p95: % }"),
        ("absolute limits.p99", .needed, "absolute: { p99: % }"),
        ("approval.timeout", .limit, "stages: [{ weight: 100pc, approve: { timeout: % } }]"),
        ("hook.timeout", .needed, "hooks: [{ events: [stage], command: [a], timeout: % }]"),
        ("judge.minTime", .delay, "judge: { minTime: % }"),
        ("metric.delay", .delay, "metrics: [{ name: a, command: [a], delay: % }]"),
        ("metric.interval", .needed, "metrics: [{ name: a, command: [a], interval: % }]"),
        ("metric.timeout", .needed, "metrics: [{ name: a, command: [a], timeout: % }]"),
        (
            "ramp.minTime", .delay,
            "stages: [{ ramp: { from: 1pc, to: 100pc, step: 9pc, minTime: % } }]"
        ),
        ("rollout plan.keepStable", .delay, "keepStable: %"),
        ("rollout plan.maxDuration", .limit, "maxDuration: %"),
        ("rollout plan.readyWithin", .needed, "readyWithin: %"),
        ("stage.maxTime", .needed, "stages: [{ weight: 100pc, minTime: 0s, maxTime: % }]"),
        ("stage.minTime", .delay, "stages: [{ weight: 100pc, minTime: % }]"),
        ("stage.warmup", .delay, "stages: [{ weight: 100pc, warmup: % }]"),
        ("tolerance.time", .delay, "judge: { tolerate: { time: % } }"),
        ("stage.watch", .needed, "stages: [{ weight: 100pc, holdBack: 2pc, watch: % }]"),
    ]

    static let table: [(key: String, Rule, String, String)] =
        own
        + plans.map { key, rule, keys in
            let plan = "rollouts: { directory: /a, plans: [{ service: s, canary: v2, \(keys) }] }"
            return (key, rule, "routes:", plan + "\nroutes:")
        }

    /// Every duration that the schema has, with its rule.
    static func durations() -> [String: Rule] {
        var found: [String: Rule] = [:]
        func walk(_ type: ValueType, _ key: String) {
            switch type {
            case .duration(let word): found[key] = word == nil ? .needed : .limit
            case .delay: found[key] = .delay
            case .object(let schema):
                for field in schema.fields { walk(field.type, "\(schema.name).\(field.name)") }
            case .list(let element): walk(element, key)
            case .map(let value, _): walk(value, key)
            case .either(let types): for type in types { walk(type, key) }
            default: break
            }
        }
        walk(.object(.document), "")
        return found
    }

    @Test("the table has every duration of the schema, with its rule")
    func isComplete() {
        let rows = Dictionary(uniqueKeysWithValues: DurationTests.table.map { ($0.key, $0.1) })
        #expect(rows == DurationTests.durations())
    }

    static func reading(_ row: Int, _ value: String) -> ConfigurationReading {
        let (_, _, old, new) = table[row]
        var edit = Text.replacing(new, "%", with: value)
        while edit.contains("pc") { edit = Text.replacing(edit, "pc", with: "%") }
        let text = Text.replacing(BadConfigurationTests.base, old, with: edit)
        return ConfigurationReading(Array(text.utf8))
    }

    @Test("0s means the same in every duration of a kind", arguments: table.indices)
    func zero(row: Int) {
        let (key, rule, _, _) = DurationTests.table[row]
        let one = DurationTests.reading(row, "1s")
        #expect(one.document != nil, "\(key): \(one.errors)")
        for zero in ["0s ", "0ms", "0h "] {
            let read = DurationTests.reading(row, zero)
            switch rule {
            case .limit:
                let off = DurationTests.reading(row, "off")
                #expect(off.document != nil, "\(key): \(off.errors)")
                #expect(
                    read.document.map { "\($0)" } == off.document.map { "\($0)" }, "\(key): \(zero)"
                )
            case .delay:
                #expect(read.document != nil, "\(key): \(read.errors)")
            case .needed:
                #expect(read.document == nil, "\(key)")
                #expect(
                    read.errors.count == 1 && read.errors[0].message.contains("is 0,"), "\(key)")
                #expect(read.errors.first?.hint.contains("give it a length") == true, "\(key)")
            }
        }
    }

    @Test("limits of 0s in the file are without limit in the document, and delays are none")
    func values() {
        func read(_ key: String) -> Document? {
            DurationTests.table.firstIndex { $0.key == key }
                .flatMap { DurationTests.reading($0, "0s").document }
        }
        #expect(read("route timeouts.request")?.routes[0].request == .unlimited)
        #expect(read("timeouts.firstByte")?.timeouts.firstByte == .unlimited)
        #expect(read("connection pool.idleTimeout")?.services[0].limits.idleTimeout == .unlimited)
        #expect(read("drain.delay")?.drainDelay == .zero)
    }
}
