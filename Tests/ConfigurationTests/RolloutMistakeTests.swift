import Configuration
import Testing

/// Mistakes in plans: each is refused at its place, with a hint that says what to write.
@Suite struct RolloutMistakeTests {
    struct Mistake: Sendable, CustomTestStringConvertible {
        var plan: String
        /// The text of the file at the place that the message points to.
        var at: String
        var message: String
        var hint: String
        var testDescription: String { plan }

        init(_ plan: String, at: String, _ message: String, _ hint: String) {
            self.plan = plan
            self.at = at
            self.message = message
            self.hint = hint
        }

        /// A plan that is good but for some keys.
        static func with(
            _ keys: String, at: String, _ message: String, _ hint: String
        ) -> Mistake {
            Mistake("{ service: s, canary: v2, \(keys) }", at: at, message, hint)
        }

        static func stage(
            _ keys: String, at: String, _ message: String, _ hint: String
        ) -> Mistake {
            with("stages: [{ \(keys) }]", at: at, message, hint)
        }
    }

    static let names: [Mistake] = [
        Mistake("{ canary: v2 }", at: "{ can", "lacks the key \"service\"", "service: reviews"),
        Mistake("{ service: s }", at: "{ ser", "lacks the key \"canary\"", "canary: v2"),
        Mistake("{ service: ss, canary: v2 }", at: "ss,", "no service named", "\"s\"?"),
        Mistake("{ service: s, canary: v4 }", at: "v4", "no version of \"s\"", "did you mean"),
        .with("name: .s", at: ".s", "does not begin with a letter", "write name: s"),
        .with("name: \"a/b\"", at: "\"a/b", "expected a name", "write a-b"),
        Mistake(
            "{ service: s, canary: v2 }\n    - { service: s, canary: v3 }", at: "s, canary: v3",
            "two plans named \"s\"", "name: s-2"),
        .with("routes: [nobody]", at: "nobody", "no route named", "rest"),
        .with("routes: [beta]", at: "beta", "does not lead to \"s\" by weight", "rest"),
        .with("routes: [own]", at: "[own]", "leaves \"rest\" out", "a service of their own"),
        .with("routes: []", at: "[]", "empty list", "take it out"),
        .with("steps: []", at: "steps", "no key \"steps\"", "write stages"),
        .with("inputs: [branch]", at: "branch", "every rollout has", "take it out"),
        .with("inputs: [\"1\"]", at: "\"1", "cannot stand in a condition", "letter"),
        .with("start: onRevison", at: "onRevison", "expected one of", "onRevision"),
        Mistake(
            "{ service: s, canary: v3, start: onRevision }", at: "onRevision",
            "has no revision", "services.s.versions.v3"),
        Mistake(
            "{ service: s, canary: v2, start: onRevision }\n"
                + "    - { name: b, service: s, canary: v3 }", at: "onRevision",
            "another plan on line 24", "start: manual"),
        .with("maxDuration: 2 days", at: "2 days", "expected a duration", "write 48h"),
        .with("minEndpoints: 0", at: "0", "from 1 to 10000", ""),
        .with("rollback: { capacity: 50 }", at: "50", "expected a percentage", "50%"),
        .with("judge: { falseRollbacks: 0% }", at: "0%", "expected 0.01% to 20%", "0.1%"),
        .with("judge: { tolerate: { ratio: 10% } }", at: "10%", "a number from 1", "write 1.1"),
        .with("judge: { tolerate: { ratio: 0.9 } }", at: "0.9", "a number from 1", ""),
        .with(
            "judge: { onInconclusive: synthetic }", at: "synthetic", "no synthetic requests",
            "add synthetic: "),
        .with("judge: { tolerate: { time: 2 } }", at: "2", "expected a duration", "2s"),
        .with("judge: { onRegression: pause }", at: "pause", "expected one of", "write hold"),
        .with("labels: { \"a b\": c }", at: "\"a b", "is not a name", ""),
        .with("guard: { ratio: 1 }", at: "1 }", "whole number from 2", ""),
    ]

    static let stages: [Mistake] = [
        .with("stages: []", at: "[]", "empty list", "1%, 5%"),
        .stage("weight: 5", at: "5 }", "expected a percentage", "5%"),
        .stage("setWeight: 5%", at: "setW", "no key \"setWeight\"", "write weight"),
        .stage("pause: {}", at: "pause", "no key \"pause\"", "approve: on"),
        .with(
            "stages: [{ weight: 1% }, { weight: 1%, approve: on }]",
            at: "{ weight: 1%, a", "two stages named \"1\"", "1-2"),
        .with(
            "stages: [{ ramp: { from: 1%, to: 2%, step: 1% } }, { name: \"2\" }]", at: "\"2\"",
            "two stages named \"2\"", "2-2"),
        .stage("ramp: { from: 5%, to: 1%, step: 1% }", at: "1%, st", "down to 1%", "write {"),
        .stage("ramp: { from: 5%, to: 9%, step: 0% }", at: "0%", "step is 0%", "write {"),
        .stage(
            "ramp: { from: 0%, to: 100%, step: 0.01% }", at: "100%", "more than 100 stages", ""),
        .stage(
            "ramp: { from: 0%, to: 9%, step: 1% }, weight: 1%", at: "weight", "too",
            "stage of its own"),
        .stage("weight: 5%, holdBack: 1%", at: "1%", "has holdBack, but not", "take it out"),
        .stage("weight: 100%, holdBack: 60%", at: "60%", "at most 50%", "holdBack: 2%"),
        .stage("weight: 5%, watch: 1h", at: "1h", "has watch, but not", "minTime: 1h"),
        .stage(
            "weight: 100%, watch: 1h", at: "1h", "nothing can be watched", "add holdBack: 2%"),
        .stage(
            "weight: 100%, holdBack: 2%, watch: 1h, minTime: 1h", at: "1h }",
            "watch and minTime", "keep watch"),
        .stage("weight: 5%, minTime: 2h, maxTime: 1h", at: "1h", "shorter than", "longer"),
        .stage("weight: 5%, maxTime: 30s", at: "30s", "its minTime of 1m", "shorter minTime"),
        .stage("weight: 5", at: "5", "expected a percentage", "did you mean 5%?"),
        .stage("weight: 0.5", at: "0.5", "expected a percentage", "0.5%, or 50% for 0.5 of all"),
        .stage("weight: 0.25", at: "0.25", "expected", "0.25%, or 25% for 0.25 of all"),
        .stage("weight: 1.5", at: "1.5", "expected a percentage", "did you mean 1.5%?"),
        .stage("weight: 5%, onFalse: skip", at: "skip", "but no when", "add when"),
        .stage(
            "weight: 5%, when: 'branch == \"a\"', onFalse: stop", at: "stop", "expected one of",
            "write hold"),
        .stage(
            "weight: 5%, when: 'branch == \"a\"', onFalse: hold", at: "hold",
            "neither approve nor window", "take onFalse out"),
        .stage("weight: 5%, approve: { by: [nobody] }", at: "nobody", "no token", "admin.tokens"),
        .stage("weight: 5%, approve: { by: [viewer] }", at: "viewer", "may not approve", "may:"),
        .stage(
            "weight: 5%, approve: { timeout: 1h, onTimeout: abort }", at: "abort",
            "expected one of", "write rollback"),
        .stage("weight: 5%, approve: { by: [] }", at: "[]", "empty list", "take it out"),
        .stage(
            "weight: 5%, approve: { onTimeout: rollback }", at: "rollback", "no timeout",
            "timeout: 24h"),
        .stage("weight: 0%, match: {}", at: "{} }", "takes every request", "x-user-group"),
        .stage("weight: 0%, match: { path: { prefix: x } }", at: "x }", "not a path", "/x"),
        .stage("weight: 5%, judge: { minTime: 1m }", at: "minTime", "no key", "the stage itself"),
        .stage(
            "weight: 5%, judge: { falseRollbacks: 1% }", at: "falseRoll", "no key",
            "in the plan's judge"),
    ]

    static let entries: [Mistake] = [
        .stage("when: \"branch = 'a'\"", at: "= 'a'", "\"=\" is not", "write =="),
        .stage("when: 'branch == main'", at: "main'", "is no text", "\"main\""),
        .stage("when: 'branch == \"a\" && x == \"b\"'", at: "&& x", "not understood", "write and"),
        .stage("when: '(branch == \"a\"'", at: "' }", "the end", "write )"),
        .stage("when: 'brunch == \"a\"'", at: "brunch", "knows no \"brunch\"", "\"branch\"?"),
        .stage(
            "when: 'branch == \"a\" or ticket == \"b\"'", at: "ticket", "knows no \"ticket\"",
            "inputs: [ticket]"),
        .stage("when: 'branch in []'", at: "]'", "a text was expected", "\"text\""),
        .stage("when: 'branch not in [\"a\"]'", at: "not in", "behind", "not branch in"),
        .stage("window: \"9-17\"", at: "\"9-17\"", "no time of the day", "09:00-16:00"),
        .stage("window: \"Mo-Fr 09:00-16:00\"", at: "\"Mo-", "no day", "Mon, Tue"),
        .stage("window: \"09:00-09:00\"", at: "\"09", "begins and ends", "00:00-24:00"),
        .stage("window: \"09:00-10:00 ../etc\"", at: "\"09", "is no time zone", "Europe/Berlin"),
        .stage("window: []", at: "[]", "empty list", "take it out"),
    ]

    static let sources: [Mistake] = [
        .with("metrics: [{ name: a, max: 1 }]", at: "{ name: a", "has none", "prometheus"),
        .with(
            "metrics: [{ name: a, web: { url: \"http://a\" } }]", at: "{ name: a",
            "neither min nor max", "add max"),
        .with(
            "metrics: [{ name: a, min: 2, max: 1, web: { url: \"http://a\" } }]", at: "2, max",
            "above its max", "smaller"),
        .with(
            "metrics: [{ name: a, max: 1, web: { url: \"http://a\", json: a.b } }]", at: "a.b",
            "no JSON pointer", "write /a/b"),
        .with(
            "metrics: [{ name: a, max: 1, web: { url: \"a:80/x\" } }]", at: "\"a:80",
            "no URL of http", "write http://a:80/x"),
        .with(
            "metrics: [{ name: a, max: 1, web: { url: \"http://u:p@a/\" } }]", at: "\"http",
            "a name and a password", "headersFile"),
        .with(
            "metrics: [{ name: a, max: 1, web: { url: \"http://{{canary}}/\" } }]", at: "\"http",
            "not in its host", "write the host"),
        .with(
            "metrics: [{ name: a, max: 1, web: { url: \"http://169.254.169.254/x\" } }]",
            at: "\"http", "link-local", "another host"),
        .with(
            "metrics: [{ name: a, max: 1, web: { url: \"http://a b/\" } }]", at: "\"http",
            "no URL", "without spaces"),
        .with(
            "metrics: [{ name: a, max: 1, web: { url: \"http://a:x/\" } }]", at: "\"http",
            "no host", "example.com"),
        .with(
            "metrics: [{ name: a, max: 1, web: { url: \"http://a/{{canry}}\" } }]", at: "\"http",
            "called \"canry\"", "\"canary\"?"),
        .with(
            "metrics: [{ name: a, max: 1, web: { url: \"http://a/\", tls: { ca: b } } }]",
            at: "{ ca", "beside a URL of http", "https://"),
        Mistake(
            "{ service: s, canary: v3, metrics: [{ name: a, command: [a, \"{{revision}}\"] }] }",
            at: "\"{{rev", "uses the revision", "revision:"),
        .with("metrics: [{ name: a, command: \"a b\" }]", at: "\"a b\"", "a list", "write [a, b]"),
        .with("metrics: [{ name: a, command: [] }]", at: "[]", "empty list", "check.sh"),
        .with(
            "metrics: [{ name: a, command: [/bin/a] }]", at: "/bin/a", "no name of a program",
            "--allow-commands /bin/"),
        .with(
            "metrics: [{ name: a, command: [\"a b\"] }]", at: "\"a b", "no name of a program",
            "write [a, b]"),
        .with(
            "metrics: [{ name: a, command: [\"{{canary}}\"] }]", at: "\"{{",
            "is written out", "--allow-commands"),
        .with(
            "metrics: [{ name: a, command: [a], max: 1 }]", at: "1 }", "is a command",
            "exit 0 passes"),
        .with(
            "metrics: [{ name: a, command: [a] }, { name: a, command: [b] }]", at: "a, command: [b",
            "two metrics named", "a-2"),
        .with(
            "metrics: [{ name: a, command: [a], stages: [\"7\"] }]", at: "\"7\"",
            "no stage named \"7\"", "stages: 1, 5"),
        .with(
            "metrics: [{ name: a, command: [a], timeout: 2m }]", at: "2m", "longer than its",
            "shorter"),
        .with(
            "metrics: [{ name: a, command: [a], interval: 500ms }]", at: "500ms", "below 1s",
            "write 1s"),
        .with("synthetic: { path: x }", at: "x }", "not a path", "write /x"),
        .with("synthetic: { path: /, rate: 0 }", at: "0 }", "a number from 0.01", ""),
        .with(
            "synthetic: { path: /, headers: { connection: close } }", at: "connection",
            "set by Sluice itself", "take it out"),
        .with("hooks: [{ webhook: { url: \"http://a\" } }]", at: "{ web", "neither", "before:"),
        .with(
            "hooks: [{ events: [stage], before: \"5\", command: [a] }]", at: "{ ev",
            "events and before", "two hooks"),
        .with("hooks: [{ events: [stage] }]", at: "{ ev", "calls nothing", "add webhook"),
        .with(
            "hooks: [{ events: [done], command: [a] }]", at: "done", "expected one of",
            "write succeeded"),
        .with(
            "hooks: [{ events: [stages], command: [a] }]", at: "stages]", "expected one of",
            "\"stage\"?"),
        .with(
            "hooks: [{ events: [stage], command: [a], onFailure: hold }]", at: "hold",
            "nothing waits", "before: STAGE"),
        .with(
            "hooks: [{ before: \"6\", command: [a] }]", at: "\"6", "no stage named", "stages: 1"),
        .with(
            "hooks: [{ events: [stage], webhook: \"http://a\" }]", at: "\"http", "expected a map",
            "write { url: \"http://a\" }"),
    ]

    @Test(
        "a mistake in a plan is refused at its place, and the hint says what to write",
        arguments: names + stages + entries + sources)
    func refused(_ mistake: Mistake) throws {
        let reading = RolloutReadingTests.read(mistake.plan)
        #expect(reading.document == nil, "it is taken")
        let error = try #require(reading.errors.first)
        #expect(error.message.contains(mistake.message), "\(error.message)")
        #expect(
            mistake.hint.isEmpty || error.hint.contains(mistake.hint), "\(error.hint)")
        let lines = ConfigurationError.lines(reading.bytes)
        let there = lines[error.mark.line - 1].dropFirst(error.mark.column - 1)
        #expect(there.hasPrefix(mistake.at), "it points to \(there)")
        #expect(reading.errors.count == 1, "\(reading.errors.map(\.message))")
    }

    @Test("every list of a plan has an end")
    func bounds() throws {
        func many(_ element: (Int) -> String) -> String {
            (0..<51).map(element).joined(separator: ", ")
        }
        let lists = [
            "metrics: [\(many { "{ name: a\($0), command: [a] }" })]",
            "hooks: [\(many { _ in "{ events: [stage], command: [a] }" })]",
            "labels: { \(many { "a\($0): b" }) }", "inputs: [\(many { "a\($0)" })]",
            "synthetic: { path: /, headers: { \(many { "a\($0): b" }) } }",
            "stages: [{ weight: 100%, window: [\(many { _ in "\"09:00-10:00\"" })] }]",
        ]
        for list in lists {
            let reading = RolloutReadingTests.read("{ service: s, canary: v2, \(list) }")
            let error = try #require(reading.errors.first, "\(list)")
            #expect(error.message.hasPrefix("there are 51 "), "\(error.message)")
            #expect(error.hint == "write at most 50")
            #expect(reading.errors.count == 1)
        }
    }

    @Test("plans without a directory are refused, and the hint names one")
    func directory() throws {
        let text = Text.replacing(
            RolloutReadingTests.base, "  directory: /var/lib/sluice\n", with: "")
        let reading = ConfigurationReading(
            Array(Text.replacing(text, "§", with: "{ service: s, canary: v2 }").utf8))
        #expect(reading.errors.map(\.message) == ["rollouts lacks the key \"directory\""])
        #expect(reading.errors.first?.hint == "add directory: /var/lib/sluice")
    }

    static let doubts: [(plan: String, at: String, message: String)] = [
        (
            "{ service: s, canary: v2, stages: [{ weight: 25% }, { weight: 5% }, "
                + "{ weight: 100% }] }", "5% }, { weight: 100", "less than \"25\" with 25%"
        ),
        (
            "{ service: s, canary: v2, stages: [{ weight: 5% }, { name: b, weight: 5% }, "
                + "{ weight: 100% }] }", "5% }, { weight: 100", "as \"5\" does"
        ),
        (
            "{ service: s, canary: v2, stages: [{ weight: 50% }] }", "[{ w",
            "gives the canary 50%"
        ),
        ("{ service: s, canary: v1 }", "v1 }", "is the stable version of \"s\""),
    ]

    @Test("what a plan can hardly mean is a warning at its place", arguments: doubts)
    func warned(_ plan: String, _ at: String, _ message: String) throws {
        let reading = RolloutReadingTests.read(plan)
        #expect(reading.document != nil, "\(reading.errors)")
        let warning = try #require(reading.warnings.first)
        #expect(reading.warnings.count == 1)
        #expect(warning.message.contains(message), "\(warning.message)")
        let lines = ConfigurationError.lines(reading.bytes)
        let there = lines[warning.mark.line - 1].dropFirst(warning.mark.column - 1)
        #expect(there.hasPrefix(at), "it points to \(there)")
        #expect(!warning.hint.isEmpty)
    }
}
