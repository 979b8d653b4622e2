import Base
import HTTPSemantics
import Simulation
import Testing

/// gRPC calls whose endpoint breaks off: the client is told in trailers, since a reset would be an
/// error of the proxy to it.
@Suite struct BrokenCallScenarios {
    typealias BreakOff = SimulatedOrigin.BreakOff

    struct Kind: CustomTestStringConvertible, Sendable {
        var way: BreakOff
        var after: Duration
        var isHTTP2Origin: Bool
        var reply = SimulatedOrigin.Reply.half
        var testDescription: String { "\(way) after \(after), \(reply), HTTP/2: \(isHTTP2Origin)" }

        static var all: [Kind] {
            var kinds: [Kind] = []
            for after in [Duration.zero, .milliseconds(100)] {
                for way in BreakOff.allCases {
                    for isHTTP2 in [false, true] where way != .end || !isHTTP2 {
                        kinds.append(Kind(way: way, after: after, isHTTP2Origin: isHTTP2))
                        if way == .garbage { continue }
                        kinds.append(
                            Kind(
                                way: way, after: after, isHTTP2Origin: isHTTP2,
                                reply: .halfLength))
                    }
                }
            }
            return kinds
        }
    }

    static func run(
        _ kind: Kind, seed: UInt64, _ call: SimulatedRequest = CallDeadlineScenarios.call(nil),
        isHTTP2Client: Bool = true
    ) -> (Outcome?, World) {
        var answer = CallDeadlineScenarios.answer(kind.reply)
        answer.breakOff = (kind.way, kind.after)
        let origins = Resilience.origins()
        for origin in origins {
            origin.script = { [answer] _ in answer }
            origin.speaksHTTP2 = kind.isHTTP2Origin
        }
        let world = Resilience.world(
            seed: seed, origins, service: kind.isHTTP2Origin ? "protocol: http2" : "",
            route: "retries: off")
        // Whether the head is read with what is wrong behind it depends on the seed.
        if seed % 2 == 0 { world.faults.readBytesMax = 100 }
        if isHTTP2Client {
            let client = SimulatedHTTP2Client(world, name: "c", [call])
            client.start()
            world.run(until: .seconds(600))
            return (client.outcomes.first, world)
        }
        let client = SimulatedClient(world, name: "c", [call])
        client.start()
        world.run(until: .seconds(600))
        return (client.outcomes.first, world)
    }

    @Test(
        "one whose answer has begun ends with UNAVAILABLE, however the endpoint broke off",
        arguments: Kind.all)
    func unavailable(kind: Kind) {
        for seed: UInt64 in 1...10 {
            for isHTTP2Client in [true, false] {
                let (outcome, world) = BrokenCallScenarios.run(
                    kind, seed: seed, isHTTP2Client: isHTTP2Client)
                #expect(outcome?.status == 200)
                if outcome?.trailers.isEmpty == true {
                    // Nothing of the answer came: the call ends with its status alone.
                    #expect(outcome?.fields["grpc-status"] == "14")
                } else {
                    #expect(outcome?.trailers.contains("grpc-status: 14\r\n") == true)
                    #expect(outcome?.trailers.contains("grpc-message: the endpoint") == true)
                    #expect(outcome?.fields["content-length"] == nil)
                }
                #expect(outcome?.end == .complete)
                #expect(world.metric("sluice_grpc_calls_total", "grpc_status=\"14\"") == 1)
                let cause =
                    kind.way == .garbage && !kind.isHTTP2Origin ? "invalid" : "reset"
                #expect(world.metric("sluice_errors_total", "cause=\"\(cause)\"") == 1)
                #expect(world.metric("sluice_requests_total", "code=\"200\"") == 1)
                #expect(world.leftovers.isEmpty, "\(world.leftovers)")
            }
        }
    }

    @Test("what came of the answer before it broke off is the client's, in every case of time")
    func partial() {
        for isHTTP2 in [false, true] {
            let kind = Kind(way: .reset, after: .milliseconds(100), isHTTP2Origin: isHTTP2)
            for seed: UInt64 in 1...10 {
                let (outcome, _) = BrokenCallScenarios.run(kind, seed: seed)
                #expect(outcome?.bodyBytes == 10)
            }
        }
        // The head and what is no chunk behind it, in one read.
        let kind = Kind(way: .garbage, after: .zero, isHTTP2Origin: false)
        for seed: UInt64 in 1...10 {
            let (outcome, _) = BrokenCallScenarios.run(kind, seed: seed)
            #expect(outcome?.status == 200 && outcome?.bodyBytes == 10)
        }
    }

    @Test("an answer to another request than a call is still visibly a part")
    func others() {
        for kind in Kind.all {
            for isHTTP2Client in [true, false] {
                var request = SimulatedRequest("POST", "/")
                request.body = "x"
                let (outcome, _) = BrokenCallScenarios.run(
                    kind, seed: 1, request, isHTTP2Client: isHTTP2Client)
                // A stream that is reset before its head has come is no outcome.
                guard let outcome else { continue }
                #expect(outcome.status == 502 || outcome.end == .truncated, "\(kind)")
                #expect(outcome.trailers.isEmpty)
            }
        }
    }

    @Test("a whole answer with a length loses the length, and nothing else")
    func lengths() {
        for isHTTP2Origin in [false, true] {
            for isHTTP2Client in [true, false] {
                let kind = Kind(
                    way: .end, after: .zero, isHTTP2Origin: isHTTP2Origin, reply: .length)
                for seed: UInt64 in 1...10 {
                    let (outcome, _) = BrokenCallScenarios.run(
                        kind, seed: seed, isHTTP2Client: isHTTP2Client)
                    #expect(outcome?.status == 200 && outcome?.end == .complete)
                    #expect(outcome?.bodyBytes == 20)
                    #expect(outcome?.fields["content-length"] == nil)
                }
            }
        }
    }
}

/// The deadline of a call, as endpoints are told it.
@Suite struct CallTimeScenarios {
    static func told(_ origins: [SimulatedOrigin]) -> [(Duration?, Instant)] {
        origins.flatMap(\.requests).sorted { $0.at < $1.at }.map { request in
            let mark = "grpc-timeout: "
            let line = request.head.split(separator: "\r\n").first { $0.hasPrefix(mark) }
            let value = line.map { Array($0.dropFirst(mark.count).utf8) } ?? []
            return (GRPC.timeout(value.span), request.at)
        }
    }

    static func run(
        _ route: String, failures: Int, timeout: String = "1S", bodyBytes: Int = 1
    ) -> ([(Duration?, Instant)], World, Instant) {
        let origins = Resilience.origins()
        var count = 0
        for origin in origins {
            origin.speaksHTTP2 = true
            origin.script = { _ in
                count += 1
                let fields = ["content-type: application/grpc"]
                return count <= failures
                    ? .init(200, headers: fields + ["grpc-status: 14"], delay: .milliseconds(100))
                    : .init(200, headers: fields + ["grpc-status: 0"])
            }
        }
        let world = Resilience.world(origins, service: "protocol: http2", route: route)
        var call = CallDeadlineScenarios.call(timeout)
        call.body = String(repeating: "x", count: bodyBytes)
        let begun = world.now
        let client = SimulatedHTTP2Client(world, name: "c", [call])
        client.start()
        world.run(until: .seconds(5))
        #expect(client.outcomes.first?.status == 200)
        #expect(world.leftovers["exchanges"] == nil && world.leftovers["attempts"] == nil)
        for request in origins.flatMap(\.requests) {
            #expect(request.head.components(of: "grpc-timeout: ") == 1)
            #expect(request.head.hasPrefix("POST /demo.Echo/Wait HTTP/1.1\r\n"))
            #expect(request.bodyBytes == bodyBytes)
        }
        return (CallTimeScenarios.told(origins), world, begun)
    }

    @Test(
        "each attempt says how much is left, in whatever unit the client used", arguments: [1, 3])
    func retries(failures: Int) {
        let route =
            "retries: { on: [unavailable], methods: all, attempts: 3, backoff: 50ms }"
        for (timeout, whole) in [
            ("2S", Duration.seconds(2)), ("2000m", .seconds(2)), ("2000000u", .seconds(2)),
            ("1M", .seconds(60)), ("20H", .seconds(72_000)),
        ] {
            for bodyBytes in [0, 1, 5_000] {
                let (told, world, begun) = CallTimeScenarios.run(
                    route, failures: failures, timeout: timeout, bodyBytes: bodyBytes)
                #expect(told.count == failures + 1)
                #expect(world.metric("sluice_upstream_retries_total") == UInt64(failures))
                for (left, at) in told {
                    // Latencies of up to 5 ms, there and here, and what the unit rounds away.
                    let rest = (begun + whole - at).nanoseconds
                    let error = (left ?? .zero).nanoseconds - rest
                    #expect(abs(error) <= 15_000_000, "\(timeout) \(error)")
                }
            }
        }
    }

    @Test("a call that a fault holds back says what is left behind the delay")
    func heldBack() {
        let (told, _, _) = CallTimeScenarios.run(
            "fault: { delay: { share: 100%, time: 300ms } }", failures: 0)
        #expect(told.count == 1)
        #expect((told.first?.0 ?? .zero) <= .milliseconds(700))
        #expect((told.first?.0 ?? .zero) > .milliseconds(600))
    }

    @Test("what an edit puts there stays")
    func edited() {
        let (told, _, _) = CallTimeScenarios.run(
            "retries: { on: [unavailable], methods: all }, "
                + "headers: { request: { set: { grpc-timeout: 5S } } }", failures: 1)
        #expect(told.map(\.0) == [.seconds(5), .seconds(5)])
    }
}

extension String {
    fileprivate func components(of text: String) -> Int { split(separator: text).count - 1 }
}

/// Calls that no endpoint sees: each ends with its status alone.
@Suite struct RefusedCallScenarios {
    static func outcome(
        routes: String = "", defaults: String = "", path: String = "/a.B/C",
        headers: [String] = [], type: String = "application/grpc"
    ) -> (Outcome?, World) {
        let world = Resilience.world(Resilience.origins(), routes: routes, defaults: defaults)
        var call = SimulatedRequest("POST", path)
        call.headers = headers + ["content-type: \(type)", "te: trailers"] + headers
        let client = SimulatedHTTP2Client(world, name: "c", [call])
        client.start()
        world.run(until: .seconds(5))
        return (client.outcomes.first, world)
    }

    static func check(_ seen: (Outcome?, World), _ status: String, _ message: String) {
        #expect(seen.0?.status == 200 && seen.0?.end == .complete)
        #expect(seen.0?.bodyBytes == 0)
        #expect(seen.0?.fields["content-type"] == "application/grpc")
        #expect(seen.0?.fields["grpc-status"] == status)
        #expect(seen.0?.fields["grpc-message"] == message)
        #expect(seen.1.metric("sluice_grpc_calls_total", "grpc_status=\"\(status)\"") == 1)
        #expect(seen.1.leftovers.isEmpty, "\(seen.1.inventory)")
    }

    @Test(
        "a list of fields that is too large, in bytes or in number, is RESOURCE_EXHAUSTED",
        arguments: ["application/grpc", "application/grpc+proto"])
    func tooLarge(type: String) {
        let many = (0..<60).map { "x-\($0): v" }
        let long = ["x-long: " + String(repeating: "v", count: 40_000)]
        for headers in [many, long] {
            let seen = RefusedCallScenarios.outcome(headers: headers, type: type)
            RefusedCallScenarios.check(seen, "8", "Request Header Fields Too Large")
        }
        let plain = RefusedCallScenarios.outcome(headers: many, type: "text/plain")
        #expect(plain.0?.status == 431)
    }

    @Test("a head that is not one of HTTP/1.1 is INTERNAL")
    func malformed() {
        // A host that HTTP/2's rules let through, and HTTP/1.1's do not.
        let seen = RefusedCallScenarios.outcome(path: "/%zz%00")
        RefusedCallScenarios.check(seen, "13", "Bad Request")
    }

    @Test("no route is UNIMPLEMENTED, as is a route that answers 404; its text is the message")
    func routes() {
        RefusedCallScenarios.check(
            RefusedCallScenarios.outcome(
                routes: "- { name: a, match: { path: { prefix: / } }, respond: { status: 404 } }"),
            "12", "Not Found")
        RefusedCallScenarios.check(
            RefusedCallScenarios.outcome(
                routes: "- { name: a, match: { path: { prefix: / } }, "
                    + "respond: { status: 503, body: \"back at 5 %\\nétage\" } }"),
            "14", "back at 5 %25%0A%C3%A9tage")
        RefusedCallScenarios.check(
            RefusedCallScenarios.outcome(
                routes: "- { name: a, match: { path: { prefix: / } }, "
                    + "redirect: { scheme: https } }"),
            "2", "the route answers with a redirect, which gRPC has not")
    }

    @Test("a fixed answer that is a success stays what it was set up to be")
    func success() {
        let seen = RefusedCallScenarios.outcome(
            routes: "- { name: a, match: { path: { prefix: / } }, "
                + "respond: { status: 200, body: \"ok\" } }")
        #expect(seen.0?.status == 200 && seen.0?.bodyBytes == 2)
    }
}
