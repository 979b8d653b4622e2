import Base
import JSON
import Rollout
import Testing

@Suite struct MetricReadingTests {
    private func answer(
        _ body: String, status: UInt16 = 200, _ change: (inout CallAnswer) -> Void = { _ in }
    ) -> CallOutcome {
        var answer = CallAnswer(status: status)
        answer.body = Array(body.utf8)
        change(&answer)
        return .answered(answer)
    }

    private func vector(_ result: String, type: String = "vector") -> CallOutcome {
        answer(
            #"{"status":"success","data":{"resultType":"\#(type)","result":\#(result)}}"#)
    }

    private func why(_ reading: MetricReading) -> String {
        if case .noValue(let why) = reading { return why }
        return "\(reading)"
    }

    @Test("a vector of one series, and a scalar, are a value")
    func values() {
        let one = #"[{"metric":{"a":"b"},"value":[1764380000.1,"0.25"]}]"#
        #expect(MetricReading.prometheus(vector(one)) == .value(0.25))
        #expect(
            MetricReading.prometheus(vector("[1764380000,\"-3e2\"]", type: "scalar"))
                == .value(-300))
    }

    @Test(
        "everything else that a Prometheus may answer is no value, with the reason",
        arguments: [
            ("[]", "vector", "empty"),
            (
                #"[{"metric":{},"value":[1,"1"]},{"metric":{},"value":[1,"2"]}]"#, "vector",
                "2 series"
            ),
            (#"[{"metric":{},"value":[1,"NaN"]}]"#, "vector", "NaN"),
            (#"[{"metric":{},"value":[1,"+Inf"]}]"#, "vector", "division by 0"),
            (#"[{"metric":{},"value":[1,"0x10"]}]"#, "vector", "no number"),
            (#"[{"metric":{},"value":[1,""]}]"#, "vector", "no number"),
            (#"[{"metric":{},"value":[1,"1e999"]}]"#, "vector", "no number"),
            (#"[{"metric":{},"value":[1,2]}]"#, "vector", "time and a value"),
            (#"[{"metric":{},"histogram":[1,{}]}]"#, "vector", "histogram_quantile"),
            (#"[{"metric":{}}]"#, "vector", "no value"), ("[]", "matrix", "matrix"),
            (#"[1,"text"]"#, "string", "string"), ("null", "vector", "empty"),
        ])
    func noValues(_ result: String, _ type: String, _ words: String) {
        let said = why(.prometheus(vector(result, type: type)))
        #expect(said.contains(words), "\(said)")
    }

    @Test("an error of the provider, a redirect, a wrong content and a failed call are no value")
    func errors() {
        let error = #"{"status":"error","errorType":"bad_data","error":"parse \u001b[31merror"}"#
        #expect(
            MetricReading.prometheus(answer(error, status: 400))
                == .noValue("Prometheus answers an error: bad_data: parse  [31merror"))
        #expect(why(.prometheus(answer("<html>", status: 502))).contains("502"))
        #expect(why(.prometheus(answer("<html>"))).contains("no JSON"))
        #expect(why(.prometheus(answer(""))).contains("no content"))
        #expect(why(.prometheus(answer("[]"))).contains("not that of a Prometheus"))
        #expect(why(.prometheus(answer("{}") { $0.contentEncoding = "gzip" })).contains("gzip"))
        let redirect = answer("", status: 302) { $0.location = "http://b/" }
        #expect(why(.prometheus(redirect)).contains("not followed"))
        #expect(why(.web(redirect, at: try! JSONPointer(""))).contains("http://b/"))
        let failure = CallFailure(.timedOut, "http://a did not answer within 10 s")
        #expect(MetricReading.prometheus(.failed(failure)) == .noValue(failure.message))
    }

    @Test("the number at a JSON pointer is read, and nothing but a number")
    func web() throws {
        let body = #"{"consumers":[{"lag":12},{"lag":1.5e1}],"a/b":{"m~n":7},"":3,"s":"4"}"#
        for (pointer, value) in [
            ("/consumers/0/lag", 12.0), ("/consumers/1/lag", 15), ("/a~1b/m~0n", 7), ("/", 3),
        ] {
            #expect(try MetricReading.web(answer(body), at: JSONPointer(pointer)) == .value(value))
        }
        for (pointer, words) in [
            ("/consumers/2/lag", "nothing at"), ("/consumers/00/lag", "nothing at"),
            ("/consumers/-/lag", "nothing at"), ("/s", "a text"), ("/consumers", "a list"),
            ("", "an object"), ("/s/x", "nothing at"),
        ] {
            let said = why(try .web(answer(body), at: JSONPointer(pointer)))
            #expect(said.contains(words), "\(pointer): \(said)")
        }
        for bad in ["consumers", "/a~", "/a~2"] {
            #expect(throws: CallProblem.self) { try JSONPointer(bad) }
        }
        #expect(try MetricReading.web(answer("42"), at: JSONPointer("")) == .value(42))
    }

    @Test("a program passes, fails, or has no value where it asks to be asked again")
    func programs() {
        var end = ProgramEnd(cause: .exit(0))
        #expect(MetricReading.program(.ended(end)) == .passes)
        end.cause = .exit(75)
        #expect(why(.program(.ended(end))).contains("asked again"))
        end.cause = .exit(1)
        end.output = Array("one\nlag is 9\n\n".utf8)
        #expect(MetricReading.program(.ended(end)) == .fails("exit code 1: lag is 9"))
        end.cause = .signal(9)
        #expect(MetricReading.program(.ended(end)) == .fails("ended by signal 9: lag is 9"))
    }

    @Test("a query goes to the API's path, encoded, and one that is long goes by POST")
    func calls() throws {
        var metric = RolloutPlan.Metric(
            name: "m",
            source: .prometheus(url: "http://p:9090/base/", query: #"a{v="{{version}}"}"#))
        metric.comparesStable = true
        var values = CallValues()
        try values.set("canary", "v2")
        try values.set("stable", "v1")
        let calls = MetricCalls(metric)
        #expect(calls.versions == [.canary, .stable])
        func request(_ version: MetricCalls.Version) throws -> CallRequest? {
            guard
                case .request(let request) = try MetricCalls(metric).call(for: version, values).work
            else { return nil }
            return request
        }
        #expect(
            try request(.canary)?.url.text
                == "http://p:9090/base/api/v1/query?query=a%7Bv%3D%22v2%22%7D")
        // {{canary}} is the version that is asked for, too: one query serves both.
        metric.source = .prometheus(url: "http://p:9090", query: #"a{v="{{canary}}"}"#)
        #expect(try request(.stable)?.url.target.hasSuffix("v%3D%22v1%22%7D") == true)
        metric.source = .prometheus(
            url: "http://p:9090/api/v1/query", query: String(repeating: "a+", count: 2_000) + "1")
        let long = try request(.canary)
        #expect(long?.url.target == "/api/v1/query")
        guard case .body(let body, let type)? = long?.content else {
            Issue.record("no body")
            return
        }
        #expect(type == "application/x-www-form-urlencoded")
        #expect(String(decoding: body, as: UTF8.self).hasPrefix("query=a%2Ba%2B"))
    }

    @Test("a metric with an unknown value, or a value in its host, is refused before it is used")
    func checks() {
        let names: Set<String> = ["canary", "stable"]
        for source in [
            RolloutPlan.Metric.Source.prometheus(url: "http://p", query: "{{nobody}}"),
            .prometheus(url: "http://{{canary}}", query: "a"),
            .prometheus(url: "http://p/?x=1", query: "a"), .prometheus(url: "http://p", query: ""),
            .web(url: "http://{{canary}}/", pointer: "/a"), .web(url: "http://a/", pointer: "a"),
            .command(["{{canary}}"]), .command([]), .command(["a", "{{x}}"]),
        ] {
            #expect(throws: CallProblem.self, "\(source)") {
                try MetricCalls(.init(name: "m", source: source)).check(names: names)
            }
        }
        #expect(throws: Never.self) {
            try MetricCalls(
                .init(name: "m", source: .web(url: "http://a/{{canary}}", pointer: "/{{canary}}/x"))
            ).check(names: names)
        }
    }
}

@Suite struct MetricMachineTests {
    private static func at(_ seconds: Int) -> Instant {
        Instant(nanoseconds: UInt64(seconds) * 1_000_000_000)
    }

    private func machine(_ change: (inout RolloutPlan.Metric) -> Void = { _ in }) -> MetricMachine {
        var metric = RolloutPlan.Metric(name: "m", source: .web(url: "http://a/", pointer: ""))
        metric.max = 10
        change(&metric)
        var machine = MetricMachine(metric)
        machine.enter("one", now: MetricMachineTests.at(100))
        return machine
    }

    private func read(_ machine: inout MetricMachine, _ reading: MetricReading, at second: Int) {
        machine.asked(now: MetricMachineTests.at(second))
        machine.take(reading, now: MetricMachineTests.at(second))
    }

    private func isWaiting(_ machine: MetricMachine) -> Bool {
        if case .waits = machine.word { return true }
        return false
    }

    private func hasFailed(_ machine: MetricMachine) -> Bool {
        if case .fails = machine.word { return true }
        return false
    }

    @Test("a metric is asked after its delay, then at its interval, one question at a time")
    func times() {
        var machine = machine {
            $0.delay = .seconds(30)
            $0.interval = .seconds(60)
        }
        #expect(machine.next(now: Self.at(129)) == .wait(until: Self.at(130)))
        #expect(machine.next(now: Self.at(130)) == .ask)
        machine.asked(now: Self.at(131))
        #expect(machine.next(now: Self.at(500)) == .wait(until: .never))
        machine.take(.value(1), now: Self.at(140))
        #expect(machine.next(now: Self.at(140)) == .wait(until: Self.at(191)))
        // An answer that took longer than the interval: the next question is due at once.
        machine.asked(now: Self.at(191))
        machine.take(.value(1), now: Self.at(300))
        #expect(machine.next(now: Self.at(300)) == .ask)
        // Nobody waits for this one.
        machine.take(.value(99), now: Self.at(301))
        #expect(machine.word == .passes)
    }

    @Test("a metric of other stages is not asked, and stands against nothing")
    func stages() {
        var machine = machine { $0.stages = ["two"] }
        #expect(machine.next(now: Self.at(9_999)) == .wait(until: .never))
        #expect(machine.word == .passes)
        machine.enter("two", now: Self.at(200))
        #expect(machine.next(now: Self.at(200)) == .ask && isWaiting(machine))
        machine.resume("one", now: Self.at(200))
        #expect(machine.next(now: Self.at(9_999)) == .wait(until: .never))
    }

    @Test("failures in a row are counted from the last pass, and stay failed in the stage")
    func row() {
        var machine = machine { $0.failures = 2 }
        read(&machine, .value(11), at: 100)
        #expect(isWaiting(machine))
        read(&machine, .value(9), at: 200)
        #expect(machine.word == .passes)
        read(&machine, .value(11), at: 300)
        read(&machine, .value(12), at: 400)
        #expect(machine.word == .fails("m is 12, at most 10 is wanted, 2 times in a row"))
        read(&machine, .value(1), at: 500)
        #expect(hasFailed(machine))
        machine.enter("one", now: Self.at(600))
        #expect(isWaiting(machine) && machine.facts.failureCount == 3)
    }

    @Test("failures altogether are those of the rollout, whatever passed between")
    func total() {
        var machine = machine {
            $0.failures = 10
            $0.failuresTotal = 3
        }
        for (second, value) in [(100, 11.0), (200, 1), (300, 11), (400, 1)] {
            read(&machine, .value(value), at: second)
        }
        machine.enter("two", now: Self.at(450))
        #expect(!hasFailed(machine))
        read(&machine, .value(11), at: 500)
        #expect(hasFailed(machine))
    }

    @Test("no value waits, passes or fails as the metric says, and a wait breaks no row")
    func noValue() {
        for (noValue, word) in [
            (RolloutPlan.Metric.NoValue.wait, "waits"), (.pass, "passes"), (.fail, "fails"),
        ] {
            var machine = machine { $0.noValue = noValue }
            read(&machine, .noValue("the query's result is empty"), at: 100)
            #expect("\(machine.word)".hasPrefix(word), "\(machine.word)")
        }
        var machine = machine { $0.failures = 2 }
        read(&machine, .value(11), at: 100)
        read(&machine, .noValue("timed out"), at: 200)
        read(&machine, .value(11), at: 300)
        #expect(hasFailed(machine))
    }

    @Test("compared with the stable version the ratio is judged, and needs a number above 0")
    func compares() {
        func word(_ canary: MetricReading, _ stable: MetricReading?) -> String {
            var machine = machine {
                $0.comparesStable = true
                $0.max = 1.5
            }
            machine.asked(now: Self.at(100))
            machine.take(canary, stable: stable, now: Self.at(101))
            return "\(machine.word)"
        }
        #expect(word(.value(3), .value(2)).hasPrefix("passes"))
        #expect(word(.value(3.1), .value(2)).contains("is 1.55 times the stable"))
        #expect(word(.value(0), .value(2)).hasPrefix("passes"))
        #expect(word(.value(1), .value(0)).contains("above 0"))
        #expect(word(.value(1), .value(-1)).contains("above 0"))
        #expect(word(.value(1e300), .value(1e-300)).contains("too large"))
        #expect(word(.value(1), .noValue("empty")).contains("the stable version: empty"))
        #expect(word(.noValue("empty"), .value(1)).contains("the canary: empty"))
        #expect(word(.value(1), nil).hasPrefix("waits"))
    }

    /// The rule in the obvious way: all readings since the stage began, looked at from the start.
    private func model(
        _ history: [(stage: Int, reading: MetricReading)], _ metric: RolloutPlan.Metric
    ) -> String {
        /// `nil`: neither.
        func isPass(_ reading: MetricReading) -> Bool? {
            switch reading {
            case .passes: return true
            case .fails: return false
            case .value(let value):
                return value >= (metric.min ?? -.infinity) && value <= (metric.max ?? .infinity)
            case .noValue: return metric.noValue == .wait ? nil : metric.noValue == .pass
            }
        }
        let last = history.last?.stage ?? 0
        var word = "waits"
        for (i, entry) in history.enumerated() where entry.stage == last {
            if word == "fails" { break }
            let past = history[...i]
            let row = past.reversed().prefix { $0.stage == last && isPass($0.reading) != true }
                .count { isPass($0.reading) == false }
            let all = past.count { isPass($0.reading) == false }
            switch isPass(entry.reading) {
            case nil: word = "waits"
            case true: word = "passes"
            case false:
                let isTooMany =
                    row >= metric.failures
                    || metric.failuresTotal > 0 && all >= metric.failuresTotal
                word = isTooMany ? "fails" : "waits"
            }
        }
        return word
    }

    @Test("random histories end as an obvious model says", arguments: 0..<400)
    func model(_ seed: UInt64) {
        var random = PRNG(seed: seed)
        var metric = RolloutPlan.Metric(name: "m", source: .web(url: "http://a/", pointer: ""))
        metric.min = random.below(2) == 0 ? nil : 2
        metric.max = random.below(3) == 0 ? nil : 6
        metric.failures = 1 + Int(random.below(4))
        metric.failuresTotal = Int(random.below(3)) * 3
        metric.noValue = RolloutPlan.Metric.NoValue.allCases[Int(random.below(3))]
        var machine = MetricMachine(metric), stage = 0, second = 100
        machine.enter("0", now: Self.at(second))
        var history: [(stage: Int, reading: MetricReading)] = []
        for _ in 0..<30 {
            second += 100
            if random.below(8) == 0 {
                stage += 1
                machine.enter("\(stage)", now: Self.at(second))
                continue
            }
            let reading: MetricReading
            switch random.below(5) {
            case 0: reading = .noValue("x")
            case 1: reading = .passes
            case 2: reading = .fails("y")
            default: reading = .value(Double(random.below(9)))
            }
            #expect(machine.next(now: Self.at(second)) == .ask)
            // A restart in between changes nothing.
            if random.below(4) == 0 {
                machine = MetricMachine(metric, facts: machine.facts)
                machine.resume("\(stage)", now: Self.at(second))
            }
            read(&machine, reading, at: second)
            history.append((stage, reading))
            #expect("\(machine.word)".hasPrefix(model(history, metric)), "seed \(seed)")
        }
    }
}
