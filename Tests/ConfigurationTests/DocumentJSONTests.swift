import Base
import Configuration
import Foundation
import JSON
import Testing

/// `/config` and the field table, compared key by key.
@Suite struct DocumentJSONTests {
    /// Keys of which only one may be given, or that the reference has as comments.
    static let others = """
        listeners:
          - name: https
            address: "127.0.0.1:1"
            tls:
              certificate: a.crt
              key: a.key
              certificates: [{ certificate: b.crt, key: b.key }]
              clientCA: ca.crt
        admin:
          address: "127.0.0.1:2"
          token: token.txt
          tokens: [{ name: release-team, file: a.token, may: [approve] }]
        services:
          s:
            tls: { ca: ca.crt, sni: a.test, certificate: c.crt, key: c.key }
            versions: { v1: { endpoints: ["127.0.0.1:3"] } }
            sticky: { header: x-user, issue: sid, keys: keys.txt }
            stable: v1
            warmup: { duration: 10s }
            loadBalancer: { ringHash: { header: x-user } }
            healthCheck: { path: /, host: a.test }
          t:
            versions: { v1: { dns: "a.test:1" } }
            loadBalancer: { maglev: { cookie: c } }
            healthCheck: { tcp: true }
          u:
            protocol: http2
            versions: { v1: { endpoints: ["127.0.0.1:3"] } }
            loadBalancer: { maglev: { header: x-user } }
            healthCheck: { grpc: "" }
          v:
            versions: { v1: { endpoints: ["127.0.0.1:3"] } }
            loadBalancer: { ringHash: { cookie: c } }
            guard: { ratio: 5 }
          w:
            versions: { v1: { weight: 1 }, v2: { } }
        routes:
          - name: a
            match:
              path: { template: "/{a}" }
              headers: { a: { exact: b }, b: { prefix: b }, c: { suffix: c }, d: { regex: d } }
              queries: { a: b, b: { prefix: b }, c: { suffix: c }, d: { regex: d } }
              cookies: { a: b, b: { prefix: b }, c: { suffix: c }, d: { regex: d } }
            to: s
            rewrite: { path: /x }
            fault: { abort: { status: 503, grpcStatus: 14 } }
            rateLimit: { requests: 1, per: 1s, by: { cookie: c } }
          - name: b
            match:
              path: { regex: "/.*" }
              headers: { a: { present: true, not: true } }
              queries: { a: { present: true, not: true } }
              cookies: { a: { present: true, not: true } }
            redirect: { host: a.test, port: 1, path: /x }
        accessLog: { path: log.txt }
        rollouts:
          directory: /var/lib/sluice
          plans:
            - service: w
              canary: v2
              guard: { ratio: 5 }
              stages:
                - name: a
                  weight: 1%
                  match:
                    path: { template: "/{a}" }
                    listeners: [https]
                    scheme: https
                    hosts: [a.test]
                    methods: [GET]
                    headers: { a: b }
                  approve: { by: [release-team] }
                  judge:
                    tolerate: { points: 1%, ratio: 2, p95: 2 }
                    maxIncrease: 1%
                  absolute: { errorRate: 1%, p50: 1s, p95: 1s, p99: 1s }
                  metrics:
                    - name: a
                      prometheus:
                        url: "https://a"
                        query: b
                        headersFile: c
                        tls: { ca: d, sni: e, verify: on, certificate: f, key: g }
                      min: 0
                      max: 1
                      compare: stable
                      failuresTotal: 2
                    - name: b
                      web:
                        url: "https://a"
                        json: /a
                        headersFile: c
                        tls: { ca: d, sni: e, verify: off, certificate: f, key: g }
                      max: 1
                    - { name: c, command: [d] }
              metrics:
                - name: a
                  prometheus:
                    url: "https://a"
                    query: b
                    headersFile: c
                    tls: { ca: d, sni: e, verify: on, certificate: f, key: g }
                  max: 1
                - name: b
                  web:
                    url: "https://a"
                    json: /a
                    headersFile: c
                    tls: { ca: d, sni: e, verify: on, certificate: f, key: g }
                  max: 1
              hooks:
                - events: [stage]
                  webhook:
                    url: "https://a"
                    secret: b
                    headersFile: c
                    tls: { ca: d, sni: e, verify: on, certificate: f, key: g }
        """

    static func json(_ text: String) throws -> JSONText {
        let reading = ConfigurationReading(Array(text.utf8))
        return DocumentJSON.document(
            try #require(reading.document, "\(reading.errors.map(\.message))"))
    }

    static func reference() throws -> String {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        return try String(
            contentsOf: root.appendingPathComponent("config/reference.yaml"), encoding: .utf8)
    }

    /// Every key of the table, as a path; an asterisk stands for a name that the author chooses.
    static func paths(_ type: ValueType, at path: String) -> Set<String> {
        switch type {
        case .object(let schema):
            return schema.fields.reduce(into: []) { all, field in
                let place = path.isEmpty ? field.name : path + "." + field.name
                all.insert(place)
                all.formUnion(paths(field.type, at: place))
            }
        case .list(let element): return paths(element, at: path)
        case .map(let value, _): return paths(value, at: path + ".*")
        case .either(let types):
            return types.reduce(into: []) { $0.formUnion(paths($1, at: path)) }
        default: return []
        }
    }

    /// Every key of a page that says something, by its path in the table; `strange` gets those that
    /// the table does not have.
    static func shown(
        _ value: JSONText, _ type: ValueType, at path: String, strange: inout [String]
    ) -> Set<String> {
        var all: Set<String> = []
        switch (value, type) {
        case (.array(let elements), .list(let element)):
            for value in elements {
                all.formUnion(shown(value, element, at: path, strange: &strange))
            }
        // Where the order matters a map is a list of objects with their names.
        case (.array(let elements), .map(let value, _)):
            for case .object(let pairs) in elements {
                let rest = JSONText.object(pairs.filter { $0.0 != "name" })
                all.formUnion(shown(rest, value, at: path + ".*", strange: &strange))
            }
        case (.object(let pairs), .map(let value, _)):
            for (_, element) in pairs {
                all.formUnion(shown(element, value, at: path + ".*", strange: &strange))
            }
        case (.object(let pairs), .object(let schema)):
            for (key, value) in pairs {
                let place = path.isEmpty ? key : path + "." + key
                guard let field = schema.spec(named: key) else {
                    strange.append(place)
                    continue
                }
                if case .null = value { continue }
                all.insert(place)
                all.formUnion(shown(value, field.type, at: place, strange: &strange))
            }
        case (_, .either(let types)):
            // A list or an object takes the alternative that is one.
            for alternative in types {
                var ignored: [String] = []
                let found = shown(value, alternative, at: path, strange: &ignored)
                if !found.isEmpty {
                    strange += ignored
                    all.formUnion(found)
                }
            }
        default: break
        }
        return all
    }

    @Test("the configuration in force shows every key of the field table, and no other")
    func complete() throws {
        var seen: Set<String> = [], strange: [String] = []
        for text in [try DocumentJSONTests.reference(), DocumentJSONTests.others] {
            let page = try DocumentJSONTests.json(text)
            seen.formUnion(
                DocumentJSONTests.shown(page, .object(.document), at: "", strange: &strange))
        }
        let table = DocumentJSONTests.paths(.object(.document), at: "")
        #expect(table.count > 200)
        // Ramps are shown as the stages that they are written out to, and the rule of a stage as
        // the text that is journalled; a stage's own metrics name no stages.
        let others = table.subtracting(seen).filter { path in
            let stages = "rollouts.plans.stages."
            return !path.hasPrefix(stages + "ramp") && !path.hasPrefix(stages + "match.")
                && path != stages + "metrics.stages"
        }
        #expect(others.sorted() == [], "not shown")
        #expect(strange == [], "not in the file")
    }

    @Test("what a file leaves out is shown as it holds")
    func defaults() throws {
        let text = try DocumentJSONTests.json(BadConfigurationTests.base).text()
        for line in [
            "\"workers\": \"auto\"", "\"trustedHops\": 0", "\"pathNormalization\": \"on\"",
            "\"connections\": \"auto\"", "\"maxConcurrentStreams\": 100",
            "\"loadBalancer\": \"leastRequest\"", "\"firstByte\": \"15s\"",
            "\"accessLog\": \"off\"", "\"level\": \"info\"", "\"budget\": \"20%\"",
        ] {
            #expect(text.contains(line), "\(line)")
        }
    }
}
