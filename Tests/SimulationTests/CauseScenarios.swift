import Base
import Simulation
import Testing

/// The cause of every failure is readable: a line of the access log says in words why.
@Suite struct CauseScenarios {
    private static func world(
        _ origins: [SimulatedOrigin], service: String = "", route: String = "",
        log: String = "format: \"%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\""
    ) -> World {
        let yaml = Resilience.yaml(
            service: service, route: route, defaults: "retries: { attempts: 0 }")
        let world = World(
            seed: 1, yaml: yaml + "\naccessLog: { path: x, \(log) }", origins: origins)
        world.faults.latencyMax = .zero
        return world
    }

    /// The line of one request to v2, whose only endpoint is the last of the origins.
    private static func line(
        service: String = "", route: String = "", _ edit: (SimulatedOrigin) -> Void
    ) -> String {
        let origins = Resilience.origins()
        edit(origins[3])
        let world = world(origins, service: service, route: route)
        _ = Resilience.statuses(world, Resilience.gets(1, ["x-group: beta"]))
        #expect(world.logLines.count == 1)
        return world.logLines.first ?? ""
    }

    @Test("a connect that is refused, and a connection that ends or breaks, differ")
    func connections() {
        #expect(
            CauseScenarios.line { $0.isUp = false }
                == "502 UF upstream_reset_before_response_started"
                + "{remote_connection_failure|refused}\n")
        #expect(
            CauseScenarios.line { $0.reply = .reset }
                == "502 UC upstream_reset_before_response_started"
                + "{connection_termination|reset_after_0_bytes}\n")
        let half = CauseScenarios.line { origin in
            origin.answer = { _ in
                var answer = SimulatedOrigin.Answer(200, reply: .halfLength)
                answer.breakOff = (.reset, .zero)
                return answer
            }
        }
        #expect(
            half.hasPrefix(
                "200 UC upstream_reset_after_response_started{connection_termination|"), "\(half)")
        #expect(half.contains("_bytes}") && !half.contains("after_0_bytes"), "\(half)")
        let garbage = CauseScenarios.line { $0.reply = .garbage }
        #expect(
            garbage.hasPrefix(
                "502 UPE upstream_reset_before_response_started{protocol_error|malformed_answer_bad"
            ), "\(garbage)")
    }

    @Test("a stream that the endpoint resets is told with its code")
    func streams() {
        let line = CauseScenarios.line(service: "protocol: http2") {
            $0.speaksHTTP2 = true
            $0.reply = .reset
        }
        #expect(
            line.hasPrefix(
                "502 UC upstream_reset_before_response_started{connection_termination"
                    + "|stream_reset_with_"), "\(line)")
    }

    @Test("each time limit has the details of its own, and a request over its time is UT")
    func times() {
        let late = { (origin: SimulatedOrigin) in origin.reply = .silence }
        for (limit, details) in [
            ("firstByte: 1s", "504 UT response_timeout\n"),
            ("request: 1s", "504 UT response_timeout\n"),
        ] {
            let origins = Resilience.origins()
            for origin in origins { late(origin) }
            let world = CauseScenarios.world(origins, route: "timeouts: { \(limit) }")
            _ = Resilience.statuses(world, Resilience.gets(1))
            #expect(world.logLines == [details], "\(limit)")
        }
        let origins = Resilience.origins()
        for origin in origins { late(origin) }
        let world = World(
            seed: 1,
            yaml: Resilience.yaml(
                route: "timeouts: { perTry: 1s }, retries: { attempts: 1, on: [reset] }")
                + "\naccessLog: { path: x, format: \"%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% "
                + "%UPSTREAM_REQUEST_ATTEMPT_COUNT%\" }", origins: origins)
        _ = Resilience.statuses(world, Resilience.gets(1))
        #expect(world.logLines == ["URX,UT upstream_per_try_timeout 2\n"])
    }

    @Test("the native line has the cause in words beside the kind of error")
    func native() {
        let origins = Resilience.origins()
        origins[3].isUp = false
        let world = CauseScenarios.world(origins, log: "format: json")
        _ = Resilience.statuses(world, Resilience.gets(1, ["x-group: beta"]))
        let line = world.logLines.first ?? ""
        #expect(line.contains("\"error\":\"connect\",\"cause\":\"refused\""), "\(line)")
        _ = Resilience.statuses(world, Resilience.gets(1))
        #expect(world.logLines.count == 2)
        #expect(world.logLines.last?.contains("\"cause\"") == false)
    }

    @Test("of a retried request the line tells how it ended, and every endpoint that was tried")
    func retried() {
        let origins = Resilience.origins()
        origins[0].isUp = false
        origins[1].isUp = false
        let world = World(
            seed: 1,
            yaml: Resilience.yaml(route: "retries: { attempts: 2 }")
                + "\naccessLog: { path: x, format: \"%RESPONSE_CODE_DETAILS% "
                + "%UPSTREAM_HOSTS_ATTEMPTED% %UPSTREAM_PROTOCOL%\" }", origins: origins)
        world.faults.latencyMax = .zero
        #expect(Resilience.statuses(world, Resilience.gets(1)) == [200])
        let line = world.logLines.first ?? ""
        let hosts = line.split(separator: " ").dropFirst().first.map(String.init) ?? ""
        #expect(line.hasPrefix("via_upstream ") && line.hasSuffix(" HTTP/1.1\n"), "\(line)")
        #expect(hosts.hasSuffix("10.0.0.3:80"), "\(line)")
        #expect(Set(hosts.split(separator: ",")).count == hosts.split(separator: ",").count)
    }

    @Test("with errors: always every failure is written, and of the rest the sample alone")
    func errors() {
        let origins = Resilience.origins()
        origins[3].isUp = false
        for (sample, least, most) in [("0%", 0, 0), ("10%", 50, 150)] {
            let world = CauseScenarios.world(
                origins, log: "sample: \(sample), errors: always, format: \"%RESPONSE_CODE%\"")
            #expect(
                Set(Resilience.statuses(world, Resilience.gets(1_000))) == [200])
            let sampled = world.logLines.count
            #expect(sampled >= least && sampled <= most, "\(sample): \(sampled)")
            let failed = Resilience.statuses(world, Resilience.gets(20, ["x-group: beta"]))
            #expect(failed.allSatisfy { $0 >= 500 } && failed.count == 20)
            #expect(world.logLines.count == sampled + 20)
            SimulatedClient(world, name: "bad", Resilience.gets(1)).start(raw: "bad\r\n\r\n")
            world.run()
            #expect(world.logLines.count == sampled + 21)
            #expect(world.logLines.last == "400\n")
        }
    }

    @Test("fields of answers and of requests without an endpoint are shown")
    func fields() {
        let origins = Resilience.origins()
        for origin in origins {
            origin.answer = { _ in
                SimulatedOrigin.Answer(200, headers: ["x-build: 7\"a"])
            }
        }
        let yaml =
            Resilience.yaml(
                routes:
                    "- { name: fixed, match: { path: { exact: /fixed } }, respond: { body: a } }",
                defaults: "forwarding: { version: x-served-by }")
            + "\naccessLog: { path: x, format: \"%RESP(X-BUILD)% %RESP(X-SERVED-BY)% "
            + "%REQ(X-USER)% %RESP(CONTENT-LENGTH?DATE)% %RESPONSE_CODE_DETAILS%\" }"
        let world = World(seed: 1, yaml: yaml, origins: origins)
        var requests = [SimulatedRequest("GET", "/"), SimulatedRequest("GET", "/fixed")]
        for i in requests.indices { requests[i].headers = ["X-User: anna"] }
        #expect(Resilience.statuses(world, requests) == [200, 200])
        #expect(world.logLines.first == "7\\x22a v1 anna 20 via_upstream\n")
        #expect(world.logLines.last == "- - anna 1 direct_response\n")
    }
}
