import Configuration
import Testing

/// Hints are followed: what a hint says to write makes the file valid.
@Suite struct ReplacementTests {
    /// A mistake, and what its hint says to write in its place.
    struct Slip: Sendable, CustomTestStringConvertible {
        /// A part of the good file …
        var old: String
        /// … and what takes its place; `§` stands where the mistake is.
        var frame: String
        var bad: String
        /// The text that the hint has behind the word "write".
        var good: String
        var testDescription: String { Text.replacing(frame, "§", with: bad) }

        init(_ old: String, _ frame: String, _ bad: String, _ good: String) {
            self.old = old
            self.frame = frame
            self.bad = bad
            self.good = good
        }
    }

    static func route(_ frame: String, _ bad: String, _ good: String) -> Slip {
        Slip("to: s }", "to: s, \(frame) }", bad, good)
    }

    static func action(_ frame: String, _ bad: String, _ good: String) -> Slip {
        Slip("to: s }", "\(frame) }", bad, good)
    }

    static func service(_ frame: String, _ bad: String, _ good: String) -> Slip {
        Slip("    stable: v1\n", "    stable: v1\n    \(frame)\n", bad, good)
    }

    static func listener(_ frame: String, _ bad: String, _ good: String) -> Slip {
        Slip("name: http,", "name: http, \(frame),", bad, good)
    }

    static func process(_ frame: String, _ bad: String, _ good: String) -> Slip {
        Slip("routes:\n", "\(frame)\nroutes:\n", bad, good)
    }

    static func plan(_ frame: String) -> Slip {
        process(
            "rollouts: { directory: /a, plans: [{ service: s, canary: v2, \(frame) }] }", "", "")
    }

    static let routes: [Slip] = [
        action("redirect: §", "https://x/", "{ scheme: https, host: x }"),
        action("redirect: §", "https://x.test", "{ scheme: https, host: x.test }"),
        action(
            "redirect: §", "\"http://x:81/y?a=b#c\"",
            "{ scheme: http, host: x, port: 81, path: \"/y?a=b\" }"),
        action("redirect: §", "https://$host$request_uri", "{ scheme: https }"),
        action(
            "redirect: §", "\"https://[::1]:8443/\"",
            "{ scheme: https, host: \"[::1]\", port: 8443 }"),
        action("redirect: §", "x.test/new", "{ host: x.test, path: /new }"),
        action("redirect: §", "/new", "{ path: /new }"),
        action("redirect: §", "new", "{ path: /new }"),
        action("redirect: §", "https", "{ scheme: https }"),
        action("redirect: §", "301", "{ scheme: https, status: 301 }"),
        action("redirect: §", "on", "{ scheme: https, host: example.com }"),
        action("respond: §", "hello", "{ body: hello }"),
        action("respond: §", "\"it is: ok\"", "{ body: \"it is: ok\" }"),
        action("respond: §", "404", "{ status: 404 }"),
        action("respond: { §, body: a }", "status: 204", "status: 200"),
        action("to: §", "[s]", "s"),
        action("to: §", "{ s: v1 }", "s/v1"),
        route("match: §", "/x", "{ path: { prefix: /x } }"),
        route("match: §", "x.test", "{ hosts: [x.test] }"),
        route("match: §", "\"*.x.test\"", "{ hosts: [\"*.x.test\"] }"),
        route("match: §", "post", "{ methods: [POST] }"),
        route("match: §", "https", "{ scheme: https }"),
        route("match: §", "\"*\"", "{}"),
        route("match: §", "beta", "{ path: { prefix: /api } }"),
        route("match: { path: § }", "x", "{ prefix: /x }"),
        route("match: { path: § }", "\"/users/{id}\"", "{ template: \"/users/{id}\" }"),
        route("match: { path: § }", "/api/*", "{ prefix: /api }"),
        route("match: { path: § }", "\"^/v[0-9]+$\"", "{ regex: \"/v[0-9]+\" }"),
        route("match: { hosts: § }", "a.test", "[a.test]"),
        route("match: { hosts: § }", "\"*\"", "[\"*\"]"),
        route("match: { methods: § }", "\"get, post\"", "[GET, POST]"),
        route("match: { headers: § }", "x-a", "{ x-a: { present: true } }"),
        route(
            "match: { headers: § }", "[x-a, x-b]",
            "{ x-a: { present: true }, x-b: { present: true } }"),
        route("match: { headers: § }", "[{ name: x-a, value: b }]", "{ x-a: b }"),
        route(
            "match: { headers: { x: { § } } }", "present: false", "present: true, not: true"),
        route("rewrite: §", "/v2", "{ path: /v2 }"),
        route("rewrite: §", "x.test", "{ host: x.test }"),
        route("retries: §", "on", "{ attempts: 2 }"),
        route("retries: §", "3", "{ attempts: 3 }"),
        route("timeouts: §", "5s", "{ request: 5s }"),
        route("timeouts: §", "5", "{ request: 5s }"),
        route("timeouts: §", "off", "{ firstByte: off, request: off, idle: off }"),
        route("fault: §", "10%", "{ abort: { status: 503, share: 10% } }"),
        route("fault: §", "503", "{ abort: { status: 503, share: 100% } }"),
        route("fault: §", "2s", "{ delay: { time: 2s } }"),
        route("fault: { abort: § }", "503", "{ status: 503 }"),
        route("fault: { delay: § }", "2s", "{ time: 2s }"),
        route("mirror: §", "s/v2", "{ to: s/v2 }"),
        route("rateLimit: §", "100", "{ requests: 100, per: 1s }"),
        route("rateLimit: §", "10r/m", "{ requests: 10, per: 1m }"),
        route("rateLimit: §", "5 per hour", "{ requests: 5, per: 1h }"),
        route("rateLimit: { requests: 1, per: 1s, by: § }", "ip", "address"),
        route("rateLimit: { requests: 1, per: 1s, by: § }", "x-user", "{ header: x-user }"),
        route("split: §", "v1", "{ v1: 100% }"),
        route("split: §", "[v1: 1, v2: 2]", "{ v1: 1, v2: 2 }"),
        route("split: §", "[{ name: v1, weight: 1 }]", "{ v1: 1 }"),
        route("headers: { request: { set: § } }", "[x-a: b]", "{ x-a: b }"),
        route("headers: { request: { remove: § } }", "x-a", "[x-a]"),
        route("headers: { response: { set: § } }", "x-a", "{ x-a: VALUE }"),
        route("connect: §", "on", "allow"),
        Slip("to: s }", "§ }", "to: v2", "to: s/v2"),
        Slip("name: rest", "name: §", "the rest", "the-rest"),
        route("match: { hosts: [§] }", "\"a.test:80\"", "a.test"),
        route("match: { hosts: [§] }", "\"https://a.test/\"", "a.test"),
        route("match: { path: { prefix: § } }", "api", "/api"),
        route("match: { path: { exact: § } }", "/a?b=1", "/a"),
        route("match: { headers: { x: § } }", "[a, b]", "{ regex: \"a|b\" }"),
        action("redirect: { § }", "host: https://x.test/", "host: x.test"),
        action("redirect: { path: § }", "new", "/new"),
        action("respond: { status: § }", "404 Not Found", "404"),
        route("timeouts: { request: § }", "500 ms", "500ms"),
        route("timeouts: { request: § }", "5sec", "5s"),
        route("timeouts: { request: § }", "2d", "48h"),
        route("mirror: { to: § }", "s", "s/v1"),
    ]

    static let others: [Slip] = [
        service("sticky: §", "on", "{ issue: sluice-id }"),
        service("sticky: §", "session", "{ cookie: session, issue: sluice-id }"),
        service("sticky: §", "[session]", "{ cookie: session, issue: sluice-id }"),
        service("sticky: §", "header", "{ header: x-user }"),
        service("sticky: { § }", "issue: on", "issue: sluice-id"),
        service("sticky: { §, issue: a }", "cookie: yes", "cookie: session"),
        service("sticky: { cookie: a, § }", "issue: a", "issue: a-sluice"),
        service("healthCheck: §", "on", "{ path: /healthz }"),
        service("healthCheck: §", "/up", "{ path: /up }"),
        service("healthCheck: §", "tcp", "{ tcp: true }"),
        service("healthCheck: §", "10s", "{ path: /healthz, interval: 10s }"),
        service("healthCheck: { tcp: § }", "80", "true"),
        service("outlierDetection: §", "on", "{ consecutive5xx: 5 }"),
        service("outlierDetection: §", "3", "{ consecutive5xx: 3 }"),
        service("connectionPool: §", "50", "{ maxConnections: 50 }"),
        service(
            "connectionPool: §", "off",
            "{ maxConnections: unlimited, maxPendingRequests: unlimited, maxRequests: unlimited }"),
        service("healthCheck: { path: § }", "up", "/up"),
        service("healthCheck: { path: /, statuses: § }", "2xx", "200-299"),
        service("healthCheck: { path: /, statuses: § }", "[200, 204]", "200-299"),
        service("outlierDetection: { maxEjectionPercent: § }", "10%", "10"),
        service("warmup: §", "on", "{ duration: 30s }"),
        service("warmup: §", "10%", "{ duration: 30s, minimumPercent: 10 }"),
        service("loadBalancer: §", "LEAST_REQUEST", "leastRequest"),
        service("loadBalancer: §", "round_robin", "roundRobin"),
        service("loadBalancer: { ringHash: § }", "x-user", "{ header: x-user }"),
        service("loadBalancer: { § }", "maglev: {}", "maglev: { header: x-user }"),
        service("protocol: §", "h2", "http2"),
        service("protocol: §", "grpc", "http2"),
        service("whenUnavailable: §", "on", "fallback"),
        service("tls: §", "on", "{}"),
        service("tls: §", "ca.crt", "{ ca: ca.crt }"),
        service("hosts: §", "a.test", "[a.test]"),
        listener("tls: §", "on", "{ certificate: tls.crt, key: tls.key }"),
        listener("tls: §", "x.pem", "{ certificate: x.pem, key: FILE }"),
        listener("tls: { certificates: § }", "x.crt", "[{ certificate: x.crt, key: FILE }]"),
        listener("tls: { certificate: a, key: b, minVersion: § }", "TLSv1.2", "1.2"),
        listener(
            "tls: { certificate: a, key: b, clientCA: c, clientCertificate: § }", "on", "required"),
        listener("clientHalfClose: §", "on", "allow"),
        process("accessLog: §", "on", "{ path: /dev/stdout }"),
        process("accessLog: §", "access.log", "{ path: access.log }"),
        process("accessLog: §", "json", "{ path: /dev/stdout, format: json }"),
        process("admin: §", "off", "\"127.0.0.1:15000\""),
        process("metrics: §", "off", "\"127.0.0.1:15020\""),
        process("log: §", "warn", "{ level: warning }"),
        process("accessLog: { path: a, format: § }", "\"%h %l\"", "combined"),
        process("log: §", "off", "{ level: error }"),
        process("log: { level: § }", "warn", "warning"),
        process("drain: §", "10s", "{ grace: 10s }"),
        process("drain: §", "off", "{ delay: 0s, grace: 0s }"),
        process("defaults: { retries: § }", "3", "{ attempts: 3 }"),
        process("defaults: { limits: § }", "off", "{ bodyBytes: unlimited }"),
        process("defaults: { forwarding: § }", "1", "{ trustedHops: 1 }"),
        process("defaults: { forwarding: { § } }", "version: on", "version: x-served-by"),
        process("defaults: { limits: { headerBytes: § } }", "1MB", "256KiB"),
        Slip(
            "v1: { weight: 90%, endpoints: [\"127.0.0.1:1\"] }", "v1: §", "[\"127.0.0.1:3\"]",
            "{ endpoints: [\"127.0.0.1:3\"] }"),
        Slip(
            "listeners:\n  - { name: http, address: \"127.0.0.1:8080\" }", "listeners: §", "[]",
            "[{ name: http, address: \"0.0.0.0:8080\" }]"),
        Slip(
            "listeners:\n  - { name: http, address: \"127.0.0.1:8080\" }", "listeners: §", "8080",
            "[{ name: http, address: \"0.0.0.0:8080\" }]"),
        Slip(
            "listeners:\n  - { name: http, address: \"127.0.0.1:8080\" }", "listeners: §",
            "{ web: \"127.0.0.1:80\" }", "[{ name: web, address: \"127.0.0.1:80\" }]"),
        Slip(
            "\"127.0.0.1:1\"", "§", "{ address: 127.0.0.1, port: 9081 }", "\"127.0.0.1:9081\""),
    ]

    @Test("what a hint says to write makes the file valid", arguments: routes + others)
    func followed(_ slip: Slip) throws {
        func reading(_ value: String) -> ConfigurationReading {
            let frame = Text.replacing(slip.frame, "§", with: value)
            var text = Text.replacing(BadConfigurationTests.base, slip.old, with: frame)
            // A version whose weight was lost must not make the percents wrong.
            if slip.frame == "v1: §" {
                text = Text.replacing(text, "weight: 10%", with: "weight: 1")
            }
            return ConfigurationReading(Array(text.utf8))
        }
        let bad = reading(slip.bad)
        #expect(bad.document == nil, "it is taken")
        let error = try #require(bad.errors.first)
        #expect(error.hint.contains("write \(slip.good)"), "\(error.message): \(error.hint)")
        let mended = reading(slip.good)
        #expect(mended.document != nil, "\(mended.errors.map(\.message))")
    }

    /// Where the example of each kind of object may stand.
    static let places: [String: Slip] = [
        "listener": Slip("{ name: http, address: \"127.0.0.1:8080\" }", "§", "", ""),
        "admin": process("admin: §", "", ""), "metrics": process("metrics: §", "", ""),
        "metrics in Istio's words": process("metrics: { istio: § }", "", ""),
        "identity": process("identity: §", "", ""),
        "service": Slip("services:\n", "services:\n  reviews: §\n", "", ""),
        "version": Slip("{ weight: 10%, endpoints: [\"127.0.0.1:2\"] }", "§", "", ""),
        "sticky": service("sticky: §", "", ""),
        "hashed load balancer": service("loadBalancer: §", "", ""),
        "hash key": service("loadBalancer: { maglev: § }", "", ""),
        "connection pool": service("connectionPool: §", "", ""),
        "defaults": process("defaults: §", "", ""),
        "timeouts": process("defaults: { timeouts: § }", "", ""),
        "route timeouts": route("timeouts: §", "", ""),
        "limits": process("defaults: { limits: § }", "", ""),
        "forwarding": process("defaults: { forwarding: § }", "", ""),
        "log": process("log: §", "", ""), "access log": process("accessLog: §", "", ""),
        "drain": process("drain: §", "", ""), "rollouts": process("rollouts: §", "", ""),
        "route": Slip("{ name: rest, to: s }", "§", "", ""),
        "match": route("match: §", "", ""), "path": route("match: { path: § }", "", ""),
        "value condition": route("match: { headers: { x: § } }", "", ""),
        "redirect": action("redirect: §", "", ""), "fixed response": action("respond: §", "", ""),
        "rewrite": route("rewrite: §", "", ""), "header edits": route("headers: §", "", ""),
        "edits": route("headers: { request: § }", "", ""),
        "health check": service("healthCheck: §", "", ""),
        "outlier detection": service("outlierDetection: §", "", ""),
        "success rate": service("outlierDetection: { successRate: § }", "", ""),
        "guard": service("guard: §", "", ""),
        "warm-up": service("warmup: §", "", ""), "retries": route("retries: §", "", ""),
        "fault": route("fault: §", "", ""), "delay": route("fault: { delay: § }", "", ""),
        "abort": route("fault: { abort: § }", "", ""), "mirror": route("mirror: §", "", ""),
        "rate limit": route("rateLimit: §", "", ""), "listener TLS": listener("tls: §", "", ""),
        "certificate": listener("tls: { certificates: [§] }", "", ""),
        "upstream TLS": service("tls: §", "", ""),
        "admin token": process(
            "admin: { address: \"127.0.0.1:2\", token: a, tokens: [§] }", "", ""),
        "rollout plan": process("rollouts: { directory: /a, plans: [§] }", "", ""),
        "stage": plan("stages: [§]"), "ramp": plan("stages: [{ ramp: § }]"),
        "approval": process(
            "admin: { address: \"127.0.0.1:2\", tokens: [{ name: release-team, file: a, may: "
                + "[all] }] }\nrollouts: { directory: /a, plans: [{ service: s, canary: v2, "
                + "stages: [{ weight: 1%, approve: § }] }] }", "", ""),
        "judge": plan("judge: §"), "tolerance": plan("judge: { tolerate: § }"),
        "absolute limits": plan("absolute: §"), "metric": plan("metrics: [§]"),
        "prometheus": plan("metrics: [{ name: a, max: 1, prometheus: § }]"),
        "web metric": plan("metrics: [{ name: a, max: 1, web: § }]"),
        "synthetic": plan("synthetic: §"), "hook": plan("hooks: [§]"),
        "webhook": plan("hooks: [{ events: [stage], webhook: § }]"),
        "rollback": plan("rollback: §"),
        "HTTP/2 limits": process("defaults: { limits: { http2: § } }", "", ""),
    ]

    @Test("the example of each kind of object can be taken as it stands")
    func examples() {
        var seen: Set<String> = []
        func walk(_ type: ValueType) {
            switch type {
            case .object(let schema):
                guard seen.insert(schema.name).inserted else { return }
                check(schema)
                for field in schema.fields { walk(field.type) }
            case .list(let element): walk(element)
            case .map(let element, _): walk(element)
            case .either(let types): for type in types { walk(type) }
            default: break
            }
        }
        walk(.object(.document))
        #expect(seen.count == ReplacementTests.places.count + 1)
    }

    private func check(_ schema: ObjectSchema) {
        var text = schema.example
        if schema.name != ObjectSchema.document.name {
            guard let place = ReplacementTests.places[schema.name] else {
                Issue.record("\(schema.name) has no place")
                return
            }
            let frame = Text.replacing(place.frame, "§", with: schema.example)
            text = Text.replacing(BadConfigurationTests.base, place.old, with: frame)
            // The example names a service.
            if schema.example.contains("reviews") {
                text = Text.replacing(text, "  s:\n", with: "  reviews:\n")
                text = Text.replacing(text, "to: s", with: "to: reviews")
            }
            if schema.name == "version" { text = Text.replacing(text, "90%", with: "1") }
        }
        let reading = ConfigurationReading(Array(text.utf8))
        #expect(reading.document != nil, "\(schema.name): \(reading.errors)")
    }
}
