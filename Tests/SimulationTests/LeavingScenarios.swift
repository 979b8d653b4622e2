import Base
import Simulation
import Testing

/// Clients that leave while they are served, endpoints that answer before they have all of a
/// request, and connections that carry one client's identity.
@Suite struct LeavingScenarios {
    static let half = "clientHalfClose: allow"

    /// A world whose first endpoint of v1 is the only one.
    static func world(
        _ origins: [SimulatedOrigin], listener: String = "", service: String = "",
        route: String = "", defaults: String = ""
    ) -> World {
        let yaml = Resilience.yaml(service: service, route: route, defaults: defaults)
            .replacingFirst(", \"10.0.0.2:80\", \"10.0.0.3:80\"", with: "")
            .replacingFirst(
                "address: \"127.0.0.1:80\"",
                with: "address: \"127.0.0.1:80\"\(listener.isEmpty ? "" : ", " + listener)")
        return World(seed: 1, yaml: yaml, origins: origins)
    }

    // MARK: Clients that leave

    /// The moment of an exchange at which its client ends its side.
    enum Moment: CaseIterable {
        case answering, connecting, backingOff, delayed, pending, sendingBody
    }

    @Test(
        "a client that ends its side has left, whatever its request waits for",
        arguments: Moment.allCases)
    func left(moment: Moment) {
        let origins = Resilience.origins()
        origins[0].script = { _ in .init(200, delay: .seconds(10)) }
        var service = "", route = ""
        switch moment {
        case .answering, .sendingBody: break
        case .connecting: service = "connectTimeout: 20s"
        case .backingOff:
            origins[0].script = { _ in .init(503) }
            route = "retries: { attempts: 1, on: [5xx], backoff: 10s, maxBackoff: 10s }"
        case .delayed: route = "fault: { delay: { time: 10s, share: 100% } }"
        case .pending: service = "connectionPool: { maxConnections: 1 }"
        }
        let world = LeavingScenarios.world(origins, service: service, route: route)
        if moment == .connecting { world.faults.isBlackHole = { _ in true } }
        let holder = SimulatedClient(world, name: "h", Resilience.gets(1))
        if moment == .pending { holder.start() }
        let client = SimulatedClient(world, name: "c", Resilience.gets(1))
        let body = moment == .sendingBody ? "Content-Length: 9\r\n\r\nfive!" : "\r\n"
        world.after(.milliseconds(100)) {
            client.start(raw: "PUT / HTTP/1.1\r\nHost: s\r\nx-id: c-0\r\n" + body)
        }
        world.after(.seconds(1)) { client.end() }
        world.run(until: .milliseconds(1_200))
        #expect(client.isClosed && client.outcomes.isEmpty)
        #expect(world.metric("sluice_requests_total", "code=\"0\"") == 1)
        #expect(world.metric("sluice_requests_in_flight") == (moment == .pending ? 1 : 0))
        #expect(world.level(service: "s", version: "v1")?.pending == 0)
        if moment == .answering || moment == .sendingBody { #expect(origins[0].leftCount == 1) }
        world.run()
        #expect(holder.outcomes.map(\.status) == (moment == .pending ? [200] : []))
        #expect(world.leftovers.isEmpty, "\(world.inventory)")
        #expect(world.held.isEmpty, "\(world.held)")
    }

    @Test("the end is noticed behind bytes that are not read: pipelined requests, a body held up")
    func unread() {
        for isBody in [false, true] {
            let origins = Resilience.origins()
            origins[0].script = { _ in .init(200, delay: .seconds(10)) }
            let world = LeavingScenarios.world(origins)
            // An endpoint that takes little at a time, so that the body must wait.
            if isBody { world.faults.writeBytesMax = 1_000 }
            let client = SimulatedClient(world, name: "c", Resilience.gets(2), pipelined: true)
            if isBody {
                client.start(
                    raw: "PUT / HTTP/1.1\r\nHost: s\r\nx-id: c-0\r\nContent-Length: 300000\r\n\r\n"
                        + String(repeating: "b", count: 290_000))
            } else {
                client.start()
            }
            world.after(.milliseconds(50)) { client.end() }
            world.run(until: .milliseconds(100))
            #expect(client.outcomes.isEmpty && client.isClosed)
            #expect(world.metric("sluice_requests_in_flight") == 0)
            #expect(world.leftovers["exchanges"] == nil, "\(world.inventory)")
        }
    }

    @Test("where the listener allows it, a client that ended its side gets every answer")
    func halfClose() {
        let origins = Resilience.origins()
        origins[0].script = { _ in .init(200, delay: .seconds(2)) }
        let world = LeavingScenarios.world(origins, listener: LeavingScenarios.half)
        let client = SimulatedClient(world, name: "c", Resilience.gets(5), pipelined: true)
        client.halfCloses = true
        client.start()
        world.run()
        #expect(client.outcomes.map(\.status) == [200, 200, 200, 200, 200])
        #expect(world.metric("sluice_requests_total", "code=\"0\"") == 0)
        #expect(world.leftovers.isEmpty)
    }

    @Test("answers that were given before the client left are not taken back")
    func before() {
        let origins = Resilience.origins()
        origins[0].script = { $0 == 0 ? nil : .init(200, delay: .seconds(10)) }
        let world = LeavingScenarios.world(origins)
        let client = SimulatedClient(world, name: "c", Resilience.gets(3), pipelined: true)
        client.halfCloses = false
        client.start()
        world.after(.seconds(1)) { client.end() }
        world.run(until: .seconds(3))
        #expect(client.outcomes.map(\.status) == [200])
        #expect(client.outcomes.first?.end == .complete)
        // The third was never begun.
        #expect(world.metric("sluice_requests_started_total") == 2)
    }

    @Test("a client that leaves ends its stream at an endpoint of HTTP/2, and nobody else's")
    func streams() {
        let origins = Resilience.origins()
        origins[0].speaksHTTP2 = true
        origins[0].script = { _ in .init(200, delay: .seconds(5)) }
        let world = LeavingScenarios.world(origins, service: "protocol: http2")
        let leaver = SimulatedClient(world, name: "l", Resilience.gets(1))
        let stayer = SimulatedClient(world, name: "s", Resilience.gets(1))
        leaver.start()
        stayer.start()
        world.after(.seconds(1)) { leaver.end() }
        world.run()
        #expect(stayer.outcomes.map(\.status) == [200])
        #expect(origins[0].leftCount == 1 && origins[0].connectionCount == 1)
        #expect(world.metric("sluice_requests_total", "code=\"0\"") == 1)
    }

    @Test("a copy of a request goes on when the client has left")
    func mirror() {
        let origins = Resilience.origins()
        origins[0].script = { _ in .init(200, delay: .seconds(5)) }
        origins[3].script = { _ in .init(200, delay: .seconds(5)) }
        let world = LeavingScenarios.world(origins, route: "mirror: { to: s/v2 }")
        let client = SimulatedClient(world, name: "c", Resilience.gets(1))
        client.start()
        world.after(.seconds(1)) { client.end() }
        world.run()
        #expect(world.metric("sluice_requests_total", "assign=\"mirror\",code=\"200\"") == 1)
    }

    // MARK: Early answers

    @Test(
        "an answer that comes before the request is whole is the answer, by either version",
        arguments: [false, true], [20, 200_000])
    func early(isHTTP2: Bool, bytes: Int) {
        let origins = Resilience.origins()
        origins[0].speaksHTTP2 = isHTTP2
        origins[0].answersEarly = true
        origins[0].status = 413
        origins[0].bodyBytes = bytes
        let world = LeavingScenarios.world(
            origins, service: isHTTP2 ? "protocol: http2" : "",
            route: "retries: { attempts: 3, on: [reset], methods: all }")
        world.faults.writeBytesMax = 3_000
        let client = SimulatedClient(world, name: "c", [Resilience.put(400_000)])
        client.start()
        world.run()
        #expect(client.outcomes.map(\.status) == [413])
        #expect(client.outcomes.map(\.bodyBytes) == [bytes])
        #expect(client.outcomes.map(\.end) == [.complete])
        #expect(origins[0].requestCount == 1, "an answer was read, so nothing is repeated")
        #expect(world.leftovers["exchanges"] == nil)
    }

    // MARK: Identity

    private func ntlm(_ user: String?, by field: String = "authorization") -> SimulatedRequest {
        Resilience.gets(1, user.map { ["\(field): NTLM \($0)"] } ?? [])[0]
    }

    @Test(
        "a connection that authenticated a client serves no other, and ends with that client",
        arguments: ["authorization", "proxy-authorization"])
    func identity(field: String) {
        let origins = Resilience.origins()
        origins[0].authenticates = true
        let world = LeavingScenarios.world(origins)
        let alice = SimulatedClient(
            world, name: "a", [ntlm(nil), ntlm("alice", by: field), ntlm(nil)])
        alice.pause = .seconds(2)
        alice.start()
        let mallory = SimulatedClient(world, name: "m", [ntlm(nil), ntlm(nil)])
        world.after(.seconds(3)) { mallory.start() }
        // No challenge comes before the credentials of this one.
        let bob = SimulatedClient(world, name: "b", [ntlm("bob", by: field), ntlm(nil)])
        world.after(.milliseconds(3_100)) { bob.start() }
        let carol = SimulatedClient(world, name: "c", [ntlm(nil)])
        world.after(.seconds(4)) { carol.start() }
        world.run()
        #expect(carol.outcomes.map(\.status) == [401])
        #expect(alice.outcomes.map(\.status) == [401, 200, 200])
        #expect(alice.outcomes.map { $0.fields["x-user"] } == [nil, "alice", "alice"])
        #expect(mallory.outcomes.map(\.status) == [401, 401])
        #expect(bob.outcomes.map { $0.fields["x-user"] } == ["bob", "bob"])
        #expect(origins[0].connectionCount == 4)
        #expect(world.leftovers.isEmpty, "\(world.inventory)")
        #expect(world.held.isEmpty, "\(world.held)")
    }

    @Test(
        "a client keeps its version while a connection there carries its identity",
        arguments: ["", "sticky: { cookie: login }"])
    func versions(sticky: String) {
        let origins = Resilience.origins()
        for origin in origins { origin.authenticates = true }
        let yaml = Resilience.yaml(service: sticky)
            .replacingFirst("weight: 100%", with: "weight: 50%")
            .replacingFirst("weight: 0%", with: "weight: 50%")
        let world = World(seed: 3, yaml: yaml, origins: origins)
        for n in 0..<20 {
            let client = SimulatedClient(
                world, name: "c\(n)", [ntlm(nil), ntlm("u\(n)"), ntlm(nil), ntlm(nil)])
            client.start()
            world.run()
            #expect(client.outcomes.map(\.status) == [401, 200, 200, 200])
            #expect(Set(client.outcomes.map(\.version)).count == 1)
        }
        #expect(world.metric("sluice_requests_total", "assign=\"weighted\"") == 20)
        #expect(world.metric("sluice_requests_total", "version=\"v1\",assign=\"weighted\"") == 10)
    }

    @Test("a request whose identity died with its connection is not sent elsewhere")
    func lostIdentity() {
        let origins = Resilience.origins()
        for origin in origins { origin.authenticates = true }
        origins[0].script = { $0 == 2 ? .init(200, reply: .reset) : nil }
        let world = LeavingScenarios.world(
            origins, route: "retries: { attempts: 3, on: [reset, 5xx], methods: all }")
        let client = SimulatedClient(
            world, name: "a", [ntlm(nil), ntlm("alice"), ntlm(nil), ntlm(nil)])
        client.start()
        world.run()
        #expect(client.outcomes.map(\.status) == [401, 200, 502])
        #expect(client.isClosed, "the next begins with a connection of its own")
        #expect(world.metric("sluice_upstream_retries_total") == 0)
    }

    @Test("a client's stream is authenticated alone: the connection ends with its answer")
    func identityOfStreams() {
        let origins = Resilience.origins()
        origins[0].authenticates = true
        let world = LeavingScenarios.world(origins)
        let first = SimulatedHTTP2Client(world, name: "h", [ntlm("hanna")])
        first.start()
        let second = SimulatedClient(world, name: "m", [ntlm(nil)])
        world.after(.seconds(1)) { second.start() }
        world.run()
        #expect(first.outcomes.map { $0.fields["x-user"] } == ["hanna"])
        #expect(second.outcomes.map(\.status) == [401])
    }

    // MARK: Expect

    @Test("a refused Expect ends the connection: the client may send its next request in its place")
    func expect() {
        for body in ["", "ten bytes!"] {
            let origins = Resilience.origins()
            origins[0].answersEarly = true
            origins[0].script = { _ in .init(417) }
            let world = LeavingScenarios.world(origins)
            let client = SimulatedClient(world, name: "c", Resilience.gets(1))
            client.start(
                raw: "PUT / HTTP/1.1\r\nHost: s\r\nx-id: c-0\r\nExpect: 100-continue\r\n"
                    + "Content-Length: 10\r\n\r\n" + body)
            world.run(until: .seconds(1))
            #expect(client.outcomes.map(\.status) == [417])
            // With the body there it is plain what follows.
            let closes = client.outcomes.first?.fields["connection"] == "close"
            #expect(closes == body.isEmpty)
            world.run()
            #expect(world.leftovers["exchanges"] == nil)
        }
    }

    @Test("so does an answer of our own")
    func expectLocal() {
        let world = LeavingScenarios.world(
            Resilience.origins(), route: "fault: { abort: { status: 403, share: 100% } }")
        let client = SimulatedClient(world, name: "c", Resilience.gets(1))
        client.start(
            raw: "PUT / HTTP/1.1\r\nHost: s\r\nx-id: c-0\r\nExpect: 100-continue\r\n"
                + "Content-Length: 10\r\n\r\n")
        world.run(until: .seconds(1))
        #expect(client.outcomes.map(\.status) == [403])
        #expect(client.outcomes.first?.fields["connection"] == "close")
    }

    // MARK: Ends of our own

    @Test(
        "what this process's end cuts has not been left by its client; over HTTP/1.1 it gets 503")
    func drained() {
        for isHTTP2 in [false, true] {
            let origins = Resilience.origins()
            origins[0].script = { _ in .init(200, delay: .seconds(60)) }
            let world = LeavingScenarios.world(origins)
            let client = SimulatedClient(world, name: "c", Resilience.gets(1))
            if isHTTP2 {
                SimulatedHTTP2Client(world, name: "h", Resilience.gets(1)).start()
            } else {
                client.start()
            }
            world.run(until: .seconds(2))
            world.drain()
            world.closeAll()
            world.run()
            #expect(world.metric("sluice_errors_total", "cause=\"drain\"") == 1)
            let code = isHTTP2 ? "0" : "503"
            #expect(world.metric("sluice_requests_total", "code=\"\(code)\"") == 1)
            #expect(client.outcomes.map(\.status) == (isHTTP2 ? [] : [503]))
            #expect(world.leftovers.isEmpty, "\(world.inventory)")
        }
    }

    @Test(
        "a reader may pause as long as its route says, longer than every other time",
        arguments: [false, true])
    func pausedReader(isHTTP2: Bool) {
        for (write, isEnded) in [("5s", true), ("10m", false), ("off", false)] {
            let origins = Resilience.origins()
            origins[0].bodyBytes = 300_000
            let world = LeavingScenarios.world(
                origins, route: "timeouts: { write: \(write), idle: 3s }",
                defaults: "timeouts: { write: 7s }, limits: { minBytesPerSecond: 0 }")
            // Nothing is taken for five minutes, in the middle of the answer.
            world.faults.pausesAfter = 1_500
            world.faults.pause = .seconds(300)
            var ends: [Outcome.End] = []
            if isHTTP2 {
                let client = SimulatedHTTP2Client(world, name: "h", Resilience.gets(1))
                client.start()
                world.run()
                ends = client.outcomes.map(\.end)
            } else {
                let client = SimulatedClient(world, name: "c", Resilience.gets(1))
                client.start()
                world.run()
                ends = client.outcomes.map(\.end)
            }
            #expect((ends == [.complete]) == !isEnded, "write \(write): \(ends)")
            #expect(world.leftovers.isEmpty, "\(world.inventory)")
        }
    }
}
