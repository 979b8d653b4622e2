import Base
import Simulation
import Testing

/// Clients that are too many, too slow or too old, and a process that is short of something.
@Suite struct OverloadScenarios {
    @Test("when memory is short new requests get 503 and what is under way is finished")
    func memory() {
        let origins = Resilience.origins()
        origins[0].script = { _ in .init(200, delay: .seconds(1)) }
        let world = Resilience.world(origins)
        let before = SimulatedClient(world, name: "a", Resilience.gets(1))
        before.start()
        world.after(.milliseconds(500)) { world.setPressure(isFull: true) }
        let during = SimulatedClient(world, name: "b", Resilience.gets(2))
        world.after(.milliseconds(600)) { during.start() }
        world.after(.seconds(2)) { world.setPressure() }
        let after = SimulatedClient(world, name: "d", Resilience.gets(1))
        world.after(.seconds(3)) { after.start() }
        world.run()
        #expect(before.outcomes.map(\.status) == [200])
        #expect(during.outcomes.map(\.status) == [503], "and the connection is closed")
        #expect(after.outcomes.map(\.status) == [200])
        #expect(world.metric("sluice_requests_shed_total") == 1)
        #expect(world.leftovers.isEmpty)
    }

    @Test("when connections are short each answer is its connection's last, and idle ones go")
    func crowded() {
        let world = Resilience.world(Resilience.origins())
        let idle = SimulatedClient(world, name: "a", Resilience.gets(2))
        idle.pause = .seconds(30)
        idle.start()
        world.run(until: .seconds(5))
        let busy = SimulatedClient(world, name: "b", Resilience.gets(3))
        world.setPressure(isCrowded: true)
        world.evictIdle()
        busy.start()
        world.run(until: .seconds(5))
        #expect(idle.outcomes.count == 1 && idle.isClosed)
        #expect(busy.outcomes.map(\.status) == [200] && busy.isClosed)
        #expect(world.metric("sluice_idle_connections_evicted_total") == 1)
    }

    @Test("a connection that has been idle for less than a second is let alone")
    func justIdle() {
        let world = Resilience.world(Resilience.origins())
        world.faults.latencyMax = .zero
        let client = SimulatedClient(world, name: "a", Resilience.gets(2))
        client.pause = .milliseconds(800)
        client.start()
        world.after(.milliseconds(500)) { world.evictIdle() }
        world.run()
        #expect(client.outcomes.map(\.status) == [200, 200])
    }

    @Test("a client connection ends with the answer behind its time, and an idle one at it")
    func age() {
        let world = Resilience.world(
            Resilience.origins(), defaults: "timeouts: { maxConnectionDuration: 10s }")
        let busy = SimulatedClient(world, name: "a", Resilience.gets(100))
        busy.pause = .seconds(1)
        busy.start()
        let idle = SimulatedClient(world, name: "b", Resilience.gets(2))
        idle.pause = .seconds(60)
        idle.start()
        world.run(until: .seconds(30))
        #expect(busy.isClosed && busy.outcomes.count >= 9 && busy.outcomes.count <= 12)
        #expect(busy.outcomes.allSatisfy { $0.end == .complete && $0.status == 200 })
        #expect(idle.isClosed && idle.outcomes.count == 1)
        #expect(world.metric("sluice_aged_connections_total") == 2)
    }

    @Test("a connection to an endpoint serves nobody behind its time")
    func upstreamAge() {
        let origins = Resilience.origins()
        let world = Resilience.world(
            origins, service: "connectionPool: { maxConnectionDuration: 10s, idleTimeout: 1h }")
        let client = SimulatedClient(world, name: "a", Resilience.gets(60, ["x-group: beta"]))
        client.pause = .seconds(1)
        client.start()
        world.run(until: .seconds(300))
        #expect(client.outcomes.count == 60 && client.outcomes.allSatisfy { $0.status == 200 })
        #expect(origins[3].connectionCount >= 5 && origins[3].connectionCount <= 7)
        #expect(world.leftovers["upstream"] == nil, "\(world.leftovers)")
    }

    @Test("a listener that is gone lets its connections finish, and no more")
    func listenerLeaves() {
        let origins = Resilience.origins()
        for origin in origins {
            origin.script = { _ in .init(200, delay: .seconds(2)) }
        }
        let world = Resilience.world(origins)
        let busy = SimulatedClient(world, name: "a", Resilience.gets(2))
        let idle = SimulatedClient(world, name: "b", Resilience.gets(2))
        idle.pause = .seconds(20)
        idle.start()
        world.after(.seconds(3)) { busy.start() }
        world.after(.seconds(4)) { world.leaveListener() }
        world.run(until: .seconds(8))
        #expect(busy.outcomes.map(\.status) == [200] && busy.isClosed)
        #expect(idle.outcomes.map(\.status) == [200] && idle.isClosed)
        #expect(world.metric("sluice_aged_connections_total") == 0)
        #expect(world.leftovers["downstream"] == nil)
    }

    /// Answers that Sluice makes itself: a fixed one, a redirect, no route, a refused method.
    private static let local = """
        listeners: [{ name: http, address: "127.0.0.1:80" }]
        services: { s: { versions: { v1: { endpoints: ["10.0.0.1:80"] } } } }
        routes:
          - name: fixed
            match: { path: { exact: / } }
            respond: { body: "\(String(repeating: "z", count: 10_000))" }
          - { name: moved, match: { path: { exact: /moved } }, redirect: { host: x.example } }
          - { name: there, match: { path: { exact: /there } }, to: s }
        """

    @Test(
        "pipelined requests wait while answers do, whoever made the answers",
        arguments: [("GET", "/", 10_300), ("GET", "/moved", 400), ("GET", "/none", 400)])
    func pipelinedAnswers(method: String, path: String, answerBytes: Int) {
        let world = World(
            seed: 1, yaml: OverloadScenarios.local,
            origins: [SimulatedOrigin("10.0.0.1:80", version: "v1")])
        world.faults.latencyMax = .zero
        world.faults.takesPerSecond = 500_000
        let count = 2_000
        let client = SimulatedClient(
            world, name: "a", Array(repeating: SimulatedRequest(method, path), count: count))
        client.start(
            raw: String(repeating: "\(method) \(path) HTTP/1.1\r\nHost: a\r\n\r\n", count: count))
        client.end()
        world.run()
        #expect(client.outcomes.count == count, "all are answered, the last before the end")
        #expect(client.outcomes.allSatisfy { $0.end == .complete })
        #expect(world.unsentBytesMax <= 65_536 + answerBytes)
        #expect(world.leftovers.isEmpty)
    }

    @Test("a client that takes its answer by the byte is ended, one that is merely slow is not")
    func slowReaders() {
        for (rate, isEnded) in [(20, true), (400, false)] {
            let origins = Resilience.origins()
            for origin in origins { origin.bodyBytes = 30_000 }
            let world = Resilience.world(origins, defaults: "timeouts: { write: 5s }")
            world.faults.takesPerSecond = rate
            let client = SimulatedClient(world, name: "a", Resilience.gets(1))
            client.start()
            world.run(until: .seconds(200))
            #expect(client.outcomes.contains { $0.end == .complete } == !isEnded, "\(rate)")
            #expect(world.metric("sluice_slow_clients_total", "reader") == (isEnded ? 1 : 0))
            #expect(world.leftovers["downstream"] == nil)
        }
    }

    @Test("a client that sends its body by the byte is ended, one that is merely slow is not")
    func slowSenders() {
        for (bytes, every, isEnded) in [(1, 2, true), (400, 1, false)] {
            let world = Resilience.world(
                Resilience.origins(), route: "timeouts: { idle: 5s }")
            let client = SimulatedClient(world, name: "a", Resilience.gets(1))
            client.start(
                raw: "PUT / HTTP/1.1\r\nHost: s\r\nx-id: a-0\r\nContent-Length: 12000\r\n\r\n")
            func drip(_ left: Int) {
                guard left > 0, !client.isClosed else { return }
                client.say(String(repeating: "d", count: min(bytes, left)))
                world.after(.seconds(Int64(every))) { drip(left - bytes) }
            }
            drip(12_000)
            world.run(until: .seconds(100))
            #expect(client.outcomes.map(\.status) == [isEnded ? 408 : 200])
            #expect(world.metric("sluice_slow_clients_total", "sender") == (isEnded ? 1 : 0))
        }
    }

    @Test("a call may say nothing for a while")
    func slowCalls() {
        let origins = Resilience.origins()
        let world = Resilience.world(origins, route: "timeouts: { idle: 5s }")
        let client = SimulatedClient(world, name: "a", Resilience.gets(1))
        client.start(
            raw:
                "POST /a.B/C HTTP/1.1\r\nHost: s\r\nx-id: a-0\r\nContent-Type: application/grpc\r\n"
                + "Content-Length: 10\r\n\r\n")
        for n in 0..<10 { world.after(.seconds(Int64(4 * n))) { client.say("m") } }
        world.run(until: .seconds(100))
        #expect(client.outcomes.map(\.status) == [200])
    }
}
