import Base
import Configuration
import Judge
import Rollout
import Routing
import Testing

/// Plans of rollouts: the values they are read as, and mistakes with their places.
@Suite struct RolloutReadingTests {
    static let base = """
        listeners:
          - { name: http, address: "127.0.0.1:8080" }
        admin:
          address: "127.0.0.1:15000"
          tokens:
            - { name: release-team, file: a.token, may: [read, approve] }
            - { name: viewer, file: b.token, may: [read] }
            - { name: ops, file: c.token, may: [all] }
        services:
          s:
            stable: v1
            versions:
              v1: { weight: 100%, endpoints: ["127.0.0.1:1"] }
              v2: { weight: 0%, endpoints: ["127.0.0.1:2"], revision: 1.4.2 }
              v3: { weight: 0%, endpoints: ["127.0.0.1:3"] }
        routes:
          - { name: beta, match: { path: { prefix: /beta } }, to: s/v2 }
          - { name: own, match: { path: { prefix: /own } }, to: s }
          - { name: rest, to: s }
        rollouts:
          directory: /var/lib/sluice
          plans:
            - §
        """

    static func read(_ plan: String) -> ConfigurationReading {
        ConfigurationReading(Array(Text.replacing(base, "§", with: plan).utf8))
    }

    static func plan(_ text: String) throws -> RolloutPlan {
        let reading = read(text)
        let document = try #require(reading.document, "\(reading.errors.map(\.message))")
        return try #require(document.rollouts?.plans.first)
    }

    @Test("two words are a plan: five stages, the last with a control group and ten minutes")
    func shortest() throws {
        let plan = try RolloutReadingTests.plan("{ service: s, canary: v2 }")
        #expect(plan.name == "s" && plan.canary == "v2")
        #expect(plan.stages.map(\.name) == ["1", "5", "25", "50", "100"])
        #expect(plan.stages.map(\.weight) == [100, 500, 2_500, 5_000, 10_000])
        #expect(plan.stages[4].holdBack == 200)
        #expect(plan.stages[4].watch == .seconds(600))
        #expect(plan.share(ofStage: 4) == 9_800)
        #expect(plan.guardRatio == 10)
        #expect(plan.start == .manual)
        #expect(RolloutReadingTests.read("{ service: s, canary: v2 }").warnings.isEmpty)
    }

    @Test("every key of a plan is read")
    func whole() throws {
        let plan = try RolloutReadingTests.plan(
            """
            name: shop
                  service: s
                  canary: v2
                  routes: [rest, own]
                  stages:
                    - { name: testers, weight: 0%, match: { headers: { x-user-group: beta } }, minTime: 10m }
                    - { weight: 0.5%, warmup: 60s }
                    - { ramp: { from: 1%, to: 4.5%, step: 2%, minTime: 5m } }
                    - { name: gate, approve: { by: [release-team], notStarter: true, before: true, timeout: 24h, onTimeout: rollback }, when: 'branch == "main"' }
                    - { name: half, weight: 50%, window: ["Mon-Fri 09:00-16:00 Europe/Berlin", "Sat 10:00-12:00"], maxTime: 2h, judge: { minRequests: 500 }, absolute: { p95: 1s }, metrics: [] }
                    - { name: all, weight: 100%, holdBack: 3%, watch: 30m }
                  judge: { falseRollbacks: 0.5%, tolerate: { points: 0.2%, ratio: 1.2, p95: 1.3, time: 5ms }, maxIncrease: 1%, minRequests: 50, minTime: 2m, onInconclusive: ask, onRegression: hold }
                  absolute: { errorRate: 5%, p99: 800ms }
                  guard: false
                  metrics:
                    - { name: conversion, prometheus: { url: "http://prometheus:9090", query: "a{v=\\"{{canary}}\\"}" }, min: 0.02, failures: 3, stages: [half] }
                    - { name: smoke, command: [smoke.sh, "{{canary}}"], interval: 5m }
                  synthetic: { path: /healthz, headers: { x-probe: "1" }, rate: 0.5 }
                  hooks:
                    - { events: [started, rolledBack], webhook: { url: "https://example.com/x", secret: hook.key, format: slack } }
                    - { before: half, command: [migrate-check.sh], timeout: 2m, onFailure: rollback }
                  start: onRevision
                  inputs: [ticket]
                  labels: { team: web }
                  maxDuration: 48h
                  keepStable: 2h
                  minEndpoints: 3
                  readyWithin: 5m
                  rollback: { capacity: 60% }
            """)
        #expect(plan.name == "shop" && plan.routes == ["rest", "own"])
        #expect(
            plan.stages.map(\.name)
                == ["testers", "0.5", "1", "3", "4.5", "gate", "half", "all"])
        #expect(plan.stages.map(\.weight) == [0, 50, 100, 300, 450, nil, 5_000, 10_000])
        #expect(plan.share(ofStage: 5) == 450)
        #expect(plan.stages[0].match == "{ headers: { x-user-group: beta } }")
        #expect(plan.stages[0].minTime == .seconds(600))
        #expect(plan.stages[1].warmup == .seconds(60))
        #expect(plan.stages[2].minTime == .seconds(300))
        let approval = try #require(plan.stages[5].approval)
        #expect(approval.by == ["release-team"] && approval.notStarter && approval.isBefore)
        #expect(approval.timeout == .seconds(86_400) && approval.onTimeout == .rollback)
        #expect(plan.stages[5].when == "branch == \"main\"" && plan.stages[5].onFalse == .hold)
        #expect(plan.stages[6].windows.count == 2)
        #expect(plan.stages[6].judge?.minRequests == 500)
        #expect(plan.stages[6].judge?.falseRollbacks == 0.005)
        #expect(plan.stages[6].absolute?.errorRate == 0.05)
        #expect(plan.stages[6].absolute?.p95 == .seconds(1))
        #expect(plan.stages[6].metrics == [])
        #expect(plan.stages[7].holdBack == 300 && plan.stages[7].watch == .seconds(1_800))
        #expect(plan.judge.tolerance.points == 0.002 && plan.judge.tolerance.ratio == 1.2)
        #expect(plan.judge.tolerance.latency == 1.3 && plan.judge.maxIncrease == 0.01)
        #expect(plan.judge.minTime == .seconds(120) && plan.judge.onInconclusive == .ask)
        #expect(plan.judge.onRegression == .hold)
        #expect(plan.absolute.p99 == .milliseconds(800))
        #expect(plan.guardRatio == nil)
        #expect(plan.metrics.map(\.name) == ["conversion", "smoke"])
        #expect(
            plan.metrics[0].source
                == .prometheus(url: "http://prometheus:9090", query: "a{v=\"{{canary}}\"}"))
        #expect(plan.metrics[0].failures == 3 && plan.metrics[0].stages == ["half"])
        #expect(plan.metrics[1].source == .command(["smoke.sh", "{{canary}}"]))
        #expect(plan.synthetic?.rate == 0.5)
        #expect(plan.hooks[0].events == [.started, .rolledBack])
        #expect(
            plan.hooks[0].call
                == .webhook(
                    url: "https://example.com/x", secretFile: "hook.key", format: .slack))
        #expect(plan.hooks[1].before == "half" && plan.hooks[1].onFailure == .rollback)
        #expect(plan.start == .onRevision && plan.inputs == ["ticket"])
        #expect(plan.settableNames == ["branch", "ticket"])
        #expect(plan.labels == [RolloutPlan.Label(name: "team", value: "web")])
        #expect(plan.maxDuration == .seconds(172_800) && plan.keepStable == .seconds(7_200))
        #expect(plan.minEndpoints == 3 && plan.readyWithin == .seconds(300))
        #expect(plan.rollbackCapacity == 0.6)
    }

    @Test("a false condition skips a stage, but holds where somebody's word or a time guards it")
    func whenFalse() throws {
        func stage(_ more: String) throws -> RolloutPlan.Stage {
            let text = "stages: [{ weight: 1%, when: 'branch == \"a\"'\(more) }]"
            return try RolloutReadingTests.plan("{ service: s, canary: v2, \(text) }").stages[0]
        }
        #expect(try stage("").onFalse == .skip)
        #expect(try stage(", approve: on").onFalse == .hold)
        #expect(try stage(", window: \"09:00-10:00\"").onFalse == .hold)
        #expect(try stage(", approve: on, onFalse: skip").onFalse == .skip)
    }

    @Test("the rule of a stage is read back from its text as the file's")
    func matches() throws {
        let rule =
            "[{ headers: { x-a: \"b, c\" } }, { path: { prefix: /x }, methods: [GET], queries: "
            + "{ \"a b\": { present: true } } }]"
        let reading = RolloutReadingTests.read(
            "{ service: s, canary: v2, stages: [{ weight: 0%, match: \(rule) }] }")
        let document = try #require(reading.document, "\(reading.errors)")
        let text = try #require(document.rollouts?.plans[0].stages[0].match)
        let rules = try StageMatch.rules(text, document).get()
        #expect(rules.count == 2)
        #expect(rules[0].values.map(\.name) == ["x-a"])
        #expect(rules[1].methods == ["GET"])
        #expect(rules[1].values.map(\.name) == ["a b"])
        let bad = StageMatch.rules("{ path: { prefix: x } }", document)
        guard case .failure(let failure) = bad else {
            Issue.record("a rule that no file could have is taken")
            return
        }
        #expect(failure.message.contains("is not a path"))
    }

    @Test("a revision is a version's, and tokens have names and rights")
    func others() throws {
        let document = try #require(
            RolloutReadingTests.read("{ service: s, canary: v2 }").document)
        #expect(document.services[0].versions.map(\.revision) == [nil, "1.4.2", nil])
        #expect(document.adminTokens.map(\.name) == ["release-team", "viewer", "ops"])
        #expect(document.adminTokens[0].rights == [.read, .approve])
        #expect(document.adminTokens[1].may(.read) && !document.adminTokens[1].may(.approve))
        #expect(document.adminTokens[2].may(.abort))
    }

    @Test("secrets of a plan are not shown: paths of webhooks, values of secret header fields")
    func secrets() throws {
        let reading = RolloutReadingTests.read(
            "{ service: s, canary: v2, synthetic: { path: /, headers: { authorization: hidden } }, "
                + "hooks: [{ events: [stage], webhook: { url: \"https://a.test:8/T0/hidden?x=1\" } }, "
                + "{ events: [stage], webhook: { url: \"https://b.test?hidden\" } }, "
                + "{ events: [stage], webhook: { url: \"https://c.test/\" } }] }")
        let text = DocumentJSON.document(try #require(reading.document)).text()
        #expect(!text.contains("hidden"))
        for url in ["https://a.test:8/…", "https://b.test/…", "https://c.test/"] {
            #expect(text.contains("\"\(url)\""), "\(url)")
        }
    }

    @Test("a rule with any characters is read back as it was")
    func characters() throws {
        let value = "a\"b\\\\c \\u0085\\u2028\\x7f\\e é 🙂 : # ' { }"
        let rule =
            "{ headers: { x-a: \"\(value.split(separator: "\"").joined(separator: "\\\""))\" } }"
        let reading = RolloutReadingTests.read(
            "{ service: s, canary: v2, stages: [{ weight: 0%, match: \(rule) }] }")
        let document = try #require(reading.document, "\(reading.errors)")
        let text = try #require(document.rollouts?.plans[0].stages[0].match)
        #expect(text.utf8.allSatisfy { (0x20...0x7e).contains($0) })
        let rules = try StageMatch.rules(text, document).get()
        guard case .exact(let back) = rules[0].values[0].pattern else {
            Issue.record("the rule has become another")
            return
        }
        #expect(back == "a\"b\\c \u{85}\u{2028}\u{7f}\u{1b} é 🙂 : # ' { }")
    }

    /// (tokens, part of the message, part of the hint)
    static let badTokens = [
        ("[]", "empty list", "write ["),
        ("[{ name: a, file: b }]", "lacks the key \"may\"", "may: "),
        ("[{ name: a, file: b, may: [] }, { name: o, file: c, may: [all] }]", "nothing", "[read]"),
        ("[{ name: a, file: b, may: [write] }]", "expected one of read", ""),
        (
            "[{ name: a, file: b, may: [all] }, { name: a, file: c, may: [read] }]",
            "two tokens named \"a\"", "a-2"
        ),
        ("[{ name: a, file: b, may: [read] }]", "nobody may", "may: [all]"),
        ("[{ name: a, file: b, token: c, may: [all] }]", "has no key \"token\"", "file: FILE"),
    ]

    @Test("a bad list of tokens is refused, and says what to write", arguments: badTokens)
    func tokens(_ list: String, _ message: String, _ hint: String) throws {
        let old = "\"127.0.0.1:8080\" }\n"
        let text = Text.replacing(
            BadConfigurationTests.base, old,
            with: old + "admin: { address: \"127.0.0.1:2\", tokens: \(list) }\n")
        let error = try #require(ConfigurationReading(Array(text.utf8)).errors.first)
        #expect(error.mark.line == 3)
        #expect(error.message.contains(message), "\(error.message)")
        #expect(hint.isEmpty || error.hint.contains(hint), "\(error.hint)")
    }
}
