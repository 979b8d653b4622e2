import Base
import Simulation
import Testing

/// Retries under a policy, in a world with a clock of its own.
@Suite struct RetryScenarios {
    static let gateway = "retries: { attempts: 2, on: [gateway-error] }"

    /// The first endpoint that is asked answers so, all others well.
    static func failFirst(_ origins: [SimulatedOrigin], _ answer: SimulatedOrigin.Answer) {
        let failures = Failures(1)
        for origin in origins { origin.script = { _ in failures.take() ? answer : nil } }
    }

    /// So many failures, whoever has them.
    final class Failures {
        private var left: Int
        init(_ count: Int) { left = count }
        func take() -> Bool {
            guard left > 0 else { return false }
            left -= 1
            return true
        }
    }

    @Test(
        "an answer that the policy names is dropped, and another endpoint of the version is asked",
        arguments: [502, 503, 504])
    func gatewayError(status: Int) {
        let origins = Resilience.origins()
        RetryScenarios.failFirst(origins, .init(status))
        let world = Resilience.world(origins, route: RetryScenarios.gateway)
        #expect(Resilience.statuses(world, Resilience.gets(1)) == [200])
        #expect(origins[..<3].map(\.requestCount).sorted() == [0, 1, 1])
        #expect(origins[3].requestCount == 0, "never another version")
        #expect(world.metric("sluice_upstream_attempts_total") == 2)
        #expect(
            world.metric("sluice_upstream_retries_by_reason_total", "reason=\"response\"") == 1)
        #expect(world.metric("sluice_upstream_retries_succeeded_total") == 1)
        #expect(world.metric("sluice_requests_total", "code=\"200\"") == 1)
        #expect(world.leftovers.isEmpty, "\(world.leftovers)")
    }

    @Test("what the policy does not name goes to the client as it is")
    func notNamed() {
        for status in [500, 501, 429, 404] {
            let origins = Resilience.origins()
            RetryScenarios.failFirst(origins, .init(status))
            let world = Resilience.world(origins, route: RetryScenarios.gateway)
            #expect(Resilience.statuses(world, Resilience.gets(1)) == [status])
            #expect(world.metric("sluice_upstream_retries_total") == 0)
        }
    }

    @Test("5xx, 409 and listed codes each have their word")
    func words() {
        for (word, status) in [("5xx", 500), ("5xx", 503), ("retriable-4xx", 409), ("429", 429)] {
            let origins = Resilience.origins()
            RetryScenarios.failFirst(origins, .init(status))
            let world = Resilience.world(origins, route: "retries: { on: [\(word)] }")
            #expect(Resilience.statuses(world, Resilience.gets(1)) == [200], "\(word)")
        }
    }

    @Test("a method that is not idempotent is not repeated, unless it is told")
    func methods() {
        for (methods, expected) in [("idempotent", 503), ("all", 200)] {
            let origins = Resilience.origins()
            RetryScenarios.failFirst(origins, .init(503))
            let world = Resilience.world(
                origins, route: "retries: { on: [gateway-error], methods: \(methods) }")
            var post = SimulatedRequest("POST", "/")
            post.body = "order"
            #expect(Resilience.statuses(world, [post]) == [expected])
        }
    }

    @Test("attempts are bounded, and the last answer goes to the client")
    func attempts() {
        let origins = Resilience.origins()
        for origin in origins { origin.status = 503 }
        let world = Resilience.world(origins, route: RetryScenarios.gateway)
        #expect(Resilience.statuses(world, Resilience.gets(1)) == [503])
        #expect(origins[..<3].map(\.requestCount) == [1, 1, 1], "each endpoint once")
        #expect(world.leftovers.isEmpty)
    }

    @Test(
        "a body is sent again as it came, on either framing, whole or while it is still coming",
        arguments: [false, true])
    func bodies(chunked: Bool) {
        for bytes in [1, 500, 60_000] {
            let origins = Resilience.origins()
            RetryScenarios.failFirst(origins, .init(503))
            let world = Resilience.world(
                seed: UInt64(bytes), origins, route: RetryScenarios.gateway)
            world.faults.readBytesMax = 700
            #expect(Resilience.statuses(world, [Resilience.put(bytes, chunked: chunked)]) == [200])
            let seen = origins.flatMap(\.requests).map(\.bodyBytes)
            #expect(seen == [bytes, bytes], "\(seen)")
            #expect(world.leftovers.isEmpty)
        }
    }

    @Test("a body that is larger than the policy keeps is not sent again")
    func largeBodies() {
        let origins = Resilience.origins()
        RetryScenarios.failFirst(origins, .init(503))
        let world = Resilience.world(
            origins, route: "retries: { on: [gateway-error], bodyBytes: 1KiB }")
        let statuses = Resilience.statuses(world, [Resilience.put(2_000), Resilience.put(1_000)])
        #expect(statuses == [503, 200])
        #expect(world.metric("sluice_upstream_retries_total") == 0)
        #expect(world.leftovers.isEmpty)
    }

    @Test("an answer that comes before the body is whole: what came is sent again, and the rest")
    func earlyAnswer() {
        let origins = Resilience.origins()
        let world = Resilience.world(origins, route: "retries: { on: [reset, 5xx] }")
        world.faults.readBytesMax = 200
        // Broken in the middle of the first request's body.
        var broken = false
        world.faults.resetAfter = { _ in
            defer { broken = true }
            return broken ? nil : 600
        }
        #expect(Resilience.statuses(world, [Resilience.put(5_000)]) == [200])
        #expect(origins.flatMap(\.requests).map(\.bodyBytes) == [5_000])
        #expect(
            world.metric("sluice_upstream_retries_by_reason_total", "reason=\"reset\"") == 1)
        #expect(world.leftovers.isEmpty)
    }

    @Test("Retry-After is waited for when it is short, and left to the client when it is long")
    func retryAfter() {
        for (value, expected) in [("1", 200), ("3", 503), ("soon", 200)] {
            let origins = Resilience.origins()
            RetryScenarios.failFirst(origins, .init(503, headers: ["retry-after: \(value)"]))
            let world = Resilience.world(origins, route: RetryScenarios.gateway)
            let start = world.now
            #expect(Resilience.statuses(world, Resilience.gets(1)) == [expected], "\(value)")
            let last = origins.flatMap(\.requests).map(\.at).max() ?? start
            if value == "1" {
                #expect(last - start >= .seconds(1))
            } else {
                #expect(last - start < .seconds(1), "\(value)")
            }
        }
    }

    @Test("retries wait between attempts, and not all as long")
    func backoff() {
        var waits: Set<Int64> = []
        for seed in 1...20 {
            let origins = Resilience.origins()
            RetryScenarios.failFirst(origins, .init(503))
            let world = Resilience.world(
                seed: UInt64(seed), origins,
                route: "retries: { on: [gateway-error], backoff: 100ms }")
            world.faults.latencyMax = .zero
            #expect(Resilience.statuses(world, Resilience.gets(1)) == [200])
            let times = origins.flatMap(\.requests).map(\.at).sorted()
            let wait = (times[1] - times[0]).nanoseconds / 1_000_000
            // One tick of the timers more.
            #expect((0...110).contains(wait), "\(wait)")
            waits.insert(wait)
        }
        #expect(waits.count > 10)
    }

    @Test(
        "an attempt that takes too long is given up for another, and the whole request has its own time"
    )
    func perTry() {
        let origins = Resilience.origins()
        RetryScenarios.failFirst(origins, .init(200, reply: .silence))
        let world = Resilience.world(
            origins, route: "timeouts: { perTry: 200ms }, retries: { on: [reset] }")
        let start = world.now
        #expect(Resilience.statuses(world, Resilience.gets(1)) == [200])
        #expect(world.metric("sluice_upstream_per_try_timeouts_total") == 1)
        #expect(
            world.metric("sluice_upstream_retries_by_reason_total", "per-try-timeout") == 1)
        let times = origins.flatMap(\.requests).map(\.at).sorted()
        #expect(times[1] - start >= .milliseconds(200) && times[1] - start < .milliseconds(300))
        #expect(world.leftovers.isEmpty)
    }

    @Test("without a retry a late attempt is 504, and the request's own time ends everything")
    func timeouts() {
        for (times, most) in [("perTry: 300ms", 400), ("perTry: 300ms, request: 700ms", 800)] {
            let origins = Resilience.origins()
            for origin in origins { origin.reply = .silence }
            let retries = times.contains("request") ? "on: [reset], attempts: 10" : "on: [503]"
            let world = Resilience.world(
                origins, route: "timeouts: { \(times) }, retries: { \(retries) }")
            world.faults.latencyMax = .milliseconds(1)
            let start = world.now
            var finishedAt = start
            let client = SimulatedClient(world, name: "c", Resilience.gets(1))
            client.onOutcome = { finishedAt = world.now }
            client.start()
            world.run(until: .seconds(60))
            #expect(client.outcomes.map(\.status) == [504])
            #expect(finishedAt - start < .milliseconds(Int64(most)), "\(times)")
            #expect(world.leftovers.isEmpty)
        }
    }

    @Test("an attempt that takes too long is one failure of its endpoint, repeated or not")
    func blame() {
        for (attempts, most) in [(0, 1), (3, 1), (0, 2)] {
            let origins = Resilience.origins()
            for origin in origins { origin.reply = .silence }
            let world = Resilience.world(
                origins,
                service: "outlierDetection: { consecutiveLocalOriginFailures: \(most), "
                    + "maxEjectionPercent: 100, minHealthPercent: 0 }",
                route:
                    "timeouts: { perTry: 100ms }, retries: { on: [reset], attempts: \(attempts) }")
            _ = Resilience.statuses(world, Resilience.gets(1), until: .seconds(5))
            let asked = origins.count { $0.requestCount > 0 }
            #expect(asked >= 1)
            #expect(
                world.metric("sluice_upstream_ejections_total") == UInt64(most == 1 ? asked : 0))
        }
    }

    @Test("x-request-timeout-ms shortens the request's time and never lengthens it")
    func requestedTimeout() {
        for (value, most) in [("300", 400), ("5000", 1_100), ("junk", 1_100), ("0", 1_100)] {
            let origins = Resilience.origins()
            for origin in origins { origin.reply = .silence }
            let world = Resilience.world(origins, route: "timeouts: { request: 1s }")
            world.faults.latencyMax = .milliseconds(1)
            let start = world.now
            var finishedAt = start
            let client = SimulatedClient(
                world, name: "c", Resilience.gets(1, ["x-request-timeout-ms: \(value)"]))
            client.onOutcome = { finishedAt = world.now }
            client.start()
            world.run(until: .seconds(60))
            #expect(client.outcomes.map(\.status) == [504])
            #expect(finishedAt - start < .milliseconds(Int64(most)), "\(value)")
            if most > 1_000 { #expect(finishedAt - start >= .seconds(1), "\(value)") }
        }
    }

    @Test("retries: off repeats nothing that the policy could repeat")
    func off() {
        let origins = Resilience.origins()
        origins[0].isUp = false
        let world = Resilience.world(origins, route: "retries: off")
        let statuses = Resilience.statuses(world, Resilience.gets(6), until: .milliseconds(90))
        #expect(statuses.filter { $0 == 502 }.count == 1, "the endpoint is out after its first")
        #expect(world.metric("sluice_upstream_retries_total") == 0)
    }

    @Test("retries under way are bounded by the version's limit")
    func limit() {
        let origins = Resilience.origins()
        for origin in origins {
            origin.script = { _ in .init(503, delay: .milliseconds(100)) }
        }
        let world = Resilience.world(
            origins, service: "connectionPool: { maxRetries: 2 }", route: RetryScenarios.gateway)
        for n in 0..<10 {
            SimulatedClient(world, name: "c\(n)", Resilience.gets(1)).start()
        }
        world.run()
        #expect(
            world.metric("sluice_upstream_retries_refused_total", "cause=\"limit\"") >= 6)
        #expect(world.metric("sluice_upstream_retries_by_reason_total") <= 8)
        #expect(world.leftovers.isEmpty)
    }

    @Test("in a storm the endpoints get a fifth more than the clients send, and the floor")
    func storm() {
        let origins = Resilience.origins()
        for origin in origins { origin.status = 503 }
        let world = Resilience.world(
            origins, service: "connectionPool: { maxConnections: 2000, maxRequests: 20000 }",
            route: "retries: { attempts: 3, on: [5xx] }")
        world.faults.latencyMax = .milliseconds(1)
        // 5,000 requests a second for four seconds, over 250 connections.
        for n in 0..<250 {
            let client = SimulatedClient(world, name: "c\(n)", Resilience.gets(80))
            client.pause = .milliseconds(50)
            world.after(.microseconds(Int64(n) * 200)) { client.start() }
        }
        world.run(until: .seconds(3))
        let sent = world.metric("sluice_requests_started_total")
        let seen = UInt64(origins.reduce(0) { $0 + $1.requestCount })
        #expect(sent > 9_000)
        #expect(seen <= sent * 12 / 10 + 10 * (3 + 10) + 1, "\(seen) of \(sent)")
        #expect(seen > sent * 11 / 10, "the budget is used: \(seen) of \(sent)")
        // The endpoints are well again: so is every request from now on.
        for origin in origins { origin.status = 200 }
        let before = world.metric("sluice_requests_total", "code=\"503\"")
        world.run(until: .milliseconds(100))
        let during = world.metric("sluice_requests_total", "code=\"503\"")
        world.run()
        #expect(world.metric("sluice_requests_total", "code=\"503\"") == during)
        #expect(during - before < 100)
        #expect(world.leftovers.isEmpty)
    }

    @Test("a call that ends at once with a status that the policy names is repeated")
    func grpc() {
        let origins = Resilience.origins()
        for origin in origins { origin.speaksHTTP2 = true }
        RetryScenarios.failFirst(
            origins, .init(200, headers: ["content-type: application/grpc", "grpc-status: 14"]))
        let world = Resilience.world(
            origins, service: "protocol: http2",
            route: "retries: { on: [unavailable], methods: all }")
        var call = SimulatedRequest("POST", "/a.B/C")
        call.headers = ["content-type: application/grpc", "te: trailers"]
        call.body = "call"
        #expect(Resilience.statuses(world, [call]) == [200])
        #expect(origins.reduce(0) { $0 + $1.requestCount } == 2)
        #expect(world.metric("sluice_grpc_calls_total", "grpc_status=\"14\"") == 0)
        #expect(world.metric("sluice_errors_total") == 0)
        #expect(world.leftovers.isEmpty)
    }
}
