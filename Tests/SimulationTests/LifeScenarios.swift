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
