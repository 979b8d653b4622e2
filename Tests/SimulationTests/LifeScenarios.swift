import Base
import Simulation
import Testing

/// Interim answers: signs of life from an endpoint (RFC 9110 §15.2).
@Suite struct InterimScenarios {
    static let processing = SimulatedOrigin.Answer(200, delay: .seconds(110))

    /// One request of a client of either version to an origin of either version.
    static func ask(
        _ answer: SimulatedOrigin.Answer, route: String, isHTTP2: Bool
    ) -> (outcome: Outcome?, world: World) {
        let origins = Resilience.origins()
        for origin in origins {
            origin.script = { _ in answer }
            origin.speaksHTTP2 = isHTTP2
        }
        let world = Resilience.world(
            origins, service: isHTTP2 ? "protocol: http2" : "", route: "retries: off" + route)
        var outcome: Outcome?
        if isHTTP2 {
            let client = SimulatedHTTP2Client(world, name: "c", [SimulatedRequest()])
            client.start()
            world.run(until: .seconds(600))
            outcome = client.outcomes.first
        } else {
            let client = SimulatedClient(world, name: "c", [SimulatedRequest()])
            client.start()
            world.run(until: .seconds(600))
            outcome = client.outcomes.first
        }
        #expect(world.leftovers.isEmpty, "\(world.leftovers)")
        return (outcome, world)
    }

    static func said(every step: Int64, until end: Int64, _ status: Int = 102)
        -> [(at: Duration, status: Int)]
    {
        stride(from: step, through: end, by: Int(step)).map { (.seconds($0), status) }
    }

    @Test("an endpoint that says 102 in time is waited for", arguments: [false, true], [102, 103])
    func life(isHTTP2: Bool, status: Int) {
        var answer = InterimScenarios.processing
        #expect(InterimScenarios.ask(answer, route: "", isHTTP2: isHTTP2).outcome?.status == 504)
        answer.interims = InterimScenarios.said(every: 10, until: 100, status)
        let seen = InterimScenarios.ask(answer, route: "", isHTTP2: isHTTP2).outcome
        #expect(seen?.status == 200)
        #expect(seen?.interimCount == 10)
        // One that stops saying so is not.
        answer.interims = InterimScenarios.said(every: 10, until: 80, status)
        #expect(InterimScenarios.ask(answer, route: "", isHTTP2: isHTTP2).outcome?.status == 504)
    }

    @Test("the time of a whole request stays absolute", arguments: [false, true])
    func absolute(isHTTP2: Bool) {
        var answer = InterimScenarios.processing
        answer.interims = InterimScenarios.said(every: 10, until: 100)
        let route = ", timeouts: { request: 45s }"
        let (outcome, world) = InterimScenarios.ask(answer, route: route, isHTTP2: isHTTP2)
        #expect(outcome?.status == 504)
        #expect(outcome?.interimCount == 4)
        #expect(world.metric("sluice_errors_total", "cause=\"timeout\"") == 1)
    }

    @Test("the time of an attempt begins anew with each", arguments: [false, true])
    func perTry(isHTTP2: Bool) {
        var answer = SimulatedOrigin.Answer(200, delay: .seconds(14))
        answer.interims = InterimScenarios.said(every: 4, until: 12)
        let route = ", timeouts: { perTry: 5s }"
        let (outcome, world) = InterimScenarios.ask(answer, route: route, isHTTP2: isHTTP2)
        #expect(outcome?.status == 200)
        #expect(world.metric("sluice_upstream_attempts_total") == 1)
    }

    @Test("thousands are passed on, an endless stream of them is 502", arguments: [false, true])
    func budget(isHTTP2: Bool) {
        for (count, status) in [(17, 200), (5_000, 200), (20_000, 502)] {
            var answer = SimulatedOrigin.Answer(200, delay: .seconds(10))
            answer.interims = (0..<count).map { (.milliseconds(Int64($0 % 1_000)), 102) }
            let (outcome, world) = InterimScenarios.ask(answer, route: "", isHTTP2: isHTTP2)
            #expect(outcome?.status == status, "\(count)")
            if status == 200 {
                #expect(outcome?.interimCount == count)
            } else {
                #expect((outcome?.interimCount ?? 0) < 16_000)
                #expect(world.metric("sluice_errors_total", "cause=\"invalid\"") == 1)
            }
        }
    }
}

/// Calls that come to their deadline: DEADLINE_EXCEEDED, and counted one way whoever is first.
@Suite struct CallDeadlineScenarios {
    static func call(_ timeout: String?) -> SimulatedRequest {
        var request = SimulatedRequest("POST", "/demo.Echo/Wait")
        request.headers = ["content-type: application/grpc", "te: trailers"]
        if let timeout { request.headers.append("grpc-timeout: \(timeout)") }
        request.body = "x"
        return request
    }

    static func answer(
        _ reply: SimulatedOrigin.Reply, delay: Duration = .zero, trailers: [String] = []
    ) -> SimulatedOrigin.Answer {
        var answer = SimulatedOrigin.Answer(
            200, headers: ["content-type: application/grpc"], reply: reply, delay: delay)
        answer.trailers = trailers
        return answer
    }

    struct Seen {
        var outcome: Outcome?
        var at: Duration
        /// Calls with status 4, errors by a timeout, answers with 200, requests that left.
        var counts: [UInt64]
    }

    static func run(
        _ request: SimulatedRequest, _ answer: SimulatedOrigin.Answer, route: String = "",
        cancelsAfter: Duration? = nil, isHTTP2Origin: Bool = true
    ) -> Seen {
        let origins = Resilience.origins()
        for origin in origins {
            origin.script = { _ in answer }
            origin.speaksHTTP2 = isHTTP2Origin
        }
        let world = Resilience.world(
            origins, service: isHTTP2Origin ? "protocol: http2" : "",
            route: "retries: off" + route)
        let client = SimulatedHTTP2Client(world, name: "c", [request])
        client.cancelsAfter = cancelsAfter
        let begun = world.now
        client.start()
        world.run(until: .seconds(600))
        #expect(world.leftovers.isEmpty, "\(world.leftovers)")
        return Seen(
            outcome: client.outcomes.first,
            at: (client.outcomes.first?.at ?? begun) - begun,
            counts: [
                world.metric("sluice_grpc_calls_total", "grpc_status=\"4\""),
                world.metric("sluice_errors_total", "cause=\"timeout\""),
                world.metric("sluice_requests_total", "code=\"200\""),
                world.metric("sluice_requests_total", "code=\"0\""),
            ])
    }

    @Test("a call without an answer ends with its status alone", arguments: [false, true])
    func silent(isHTTP2Origin: Bool) {
        let seen = CallDeadlineScenarios.run(
            CallDeadlineScenarios.call("1S"), CallDeadlineScenarios.answer(.silence),
            isHTTP2Origin: isHTTP2Origin)
        #expect(seen.outcome?.fields["grpc-status"] == "4")
        #expect(seen.outcome?.end == .complete)
        // The client's own end, and the origin's, come first.
        #expect(seen.at >= .milliseconds(1_050), "\(seen.at)")
        #expect(seen.at <= .milliseconds(1_100), "\(seen.at)")
        #expect(seen.counts == [1, 1, 1, 0])
    }

    @Test("one whose answer has begun ends with trailers", arguments: [false, true])
    func begun(isHTTP2Origin: Bool) {
        for (timeout, route) in [
            ("1S" as String?, ""), ("1000m", ""), ("1000000u", ""),
            (nil, ", timeouts: { request: 1s }"), (nil, ", timeouts: { idle: 1s }"),
            ("1H", ", timeouts: { request: 1s }"), ("1S", ", timeouts: { request: 1h }"),
        ] {
            let seen = CallDeadlineScenarios.run(
                CallDeadlineScenarios.call(timeout), CallDeadlineScenarios.answer(.half),
                route: route, isHTTP2Origin: isHTTP2Origin)
            #expect(seen.outcome?.trailers.contains("grpc-status: 4\r\n") == true, "\(route)")
            #expect(seen.outcome?.end == .complete)
            #expect(seen.outcome?.bodyBytes == 10)
            #expect(seen.counts == [1, 1, 1, 0])
        }
    }

    @Test("client, origin and Sluice count one way")
    func whoeverIsFirst() {
        typealias Scenarios = CallDeadlineScenarios
        let call = Scenarios.call("1S")
        for cancel in [985, 1_000, 1_020, 1_049] as [Int64] {
            for reply in [SimulatedOrigin.Reply.silence, .half] {
                let seen = Scenarios.run(
                    call, Scenarios.answer(reply), cancelsAfter: .milliseconds(cancel))
                #expect(seen.counts == [1, 1, 1, 0], "\(reply), \(cancel) ms")
            }
        }
        var alone = Scenarios.answer(.length, delay: .milliseconds(1_010))
        alone.headers.append("grpc-status: 4")
        let answers = [
            alone,
            Scenarios.answer(.chunked, delay: .milliseconds(1_010), trailers: ["grpc-status: 4"]),
        ]
        for answer in answers {
            #expect(Scenarios.run(call, answer).counts == [1, 1, 1, 0])
        }
    }

    @Test("a call that is taken back before its deadline has left")
    func cancelled() {
        let seen = CallDeadlineScenarios.run(
            CallDeadlineScenarios.call("5S"), CallDeadlineScenarios.answer(.half),
            cancelsAfter: .seconds(1))
        #expect(seen.counts == [0, 0, 0, 1])
    }

    @Test("a connect that is refused, or takes too long, is UNAVAILABLE and no deadline")
    func connects() {
        for isSilent in [false, true] {
            let origins = Resilience.origins()
            for origin in origins { origin.isUp = isSilent }
            let world = Resilience.world(
                origins, service: "protocol: http2", route: "retries: off")
            world.faults.isBlackHole = { _ in isSilent }
            let client = SimulatedHTTP2Client(
                world, name: "c", [CallDeadlineScenarios.call("20S")])
            client.start()
            world.run(until: .seconds(5))
            #expect(client.outcomes.first?.fields["grpc-status"] == "14")
            #expect(world.metric("sluice_grpc_calls_total", "grpc_status=\"14\"") == 1)
        }
    }

    @Test("a copy of a call has its deadline too")
    func copies() {
        let origins = Resilience.origins()
        for origin in origins {
            origin.speaksHTTP2 = true
            origin.script = { _ in CallDeadlineScenarios.answer(.silence) }
        }
        let world = Resilience.world(
            origins, service: "protocol: http2", route: "retries: off, mirror: { to: s/v2 }")
        let client = SimulatedHTTP2Client(world, name: "c", [CallDeadlineScenarios.call("1S")])
        client.start()
        world.run(until: .seconds(3))
        #expect(origins[3].requestCount == 1)
        #expect(client.outcomes.first?.fields["grpc-status"] == "4")
        // Both are over, long before the time for the first byte; calls are those of clients.
        #expect(world.metric("sluice_grpc_calls_total", "grpc_status=\"4\"") == 1)
        #expect(world.metric("sluice_requests_total", "assign=\"mirror\"") == 1)
    }

    @Test("deadlines that clients set eject no endpoint, an endpoint's own do")
    func ejection() {
        for (timeout, ejections) in [("1m" as String?, 0), (nil, 1)] as [(String?, UInt64)] {
            let origins = Resilience.origins()
            for origin in origins {
                origin.speaksHTTP2 = true
                origin.script = { _ in
                    .init(
                        200, headers: ["content-type: application/grpc", "grpc-status: 4"],
                        delay: .milliseconds(5))
                }
            }
            let world = Resilience.world(
                origins,
                service: "protocol: http2\n    outlierDetection: { consecutive5xx: 5 }",
                route: "retries: off")
            let client = SimulatedHTTP2Client(
                world, name: "c",
                (0..<30).map { _ in CallDeadlineScenarios.call(timeout) })
            client.start()
            world.run(until: .seconds(5))
            #expect(client.outcomes.count == 30)
            #expect(world.metric("sluice_upstream_ejections_total") == ejections)
        }
    }
}
