import Base
import Proxy
import Simulation
import Testing

/// Two data planes of one process: what they share, and the mail between them.
@Suite struct ProcessScenarios {
    static func process(
        seed: UInt64, _ origins: [SimulatedOrigin], connectionsMax: Int = 1_024,
        service: String = ""
    ) -> SimulatedProcess {
        SimulatedProcess(
            seed: seed,
            yaml: Resilience.yaml(
                service: "connectionPool: { maxConnections: \(connectionsMax) }\n    \(service)",
                route: "retries: off"),
            origins: origins, workerCount: 2)
    }

    static func isEmpty(_ process: SimulatedProcess) -> Bool {
        process.workers.allSatisfy { $0.leftovers.isEmpty && $0.held.isEmpty }
    }

    @Test("connections are handed over to the worker with the fewest, and nothing is lost by it")
    func handedOver() {
        for seed: UInt64 in 1...20 {
            let process = ProcessScenarios.process(seed: seed, Resilience.origins())
            var clients: [SimulatedClient] = []
            for n in 0..<20 {
                process.workers[0].after(.milliseconds(Int64(n))) {
                    process.accept { world in
                        let client = SimulatedClient(world, name: "c\(n)", Resilience.gets(5))
                        client.pause = .milliseconds(10)
                        clients.append(client)
                        client.start()
                    }
                }
            }
            var counts: [Int] = []
            process.workers[0].after(.milliseconds(40)) {
                counts = process.workers.map(\.clientCount)
            }
            process.run()
            #expect(counts == [10, 10])
            #expect(process.workers.map(\.mailCount.connections).reduce(0, +) > 0)
            #expect(clients.count == 20)
            for client in clients {
                #expect(client.outcomes.map(\.status) == [200, 200, 200, 200, 200])
            }
            #expect(process.workers[0].metric("sluice_requests_total") == 100)
            #expect(process.workers[0].metric("sluice_requests_started_total") == 100)
            #expect(ProcessScenarios.isEmpty(process))
        }
    }

    @Test("who waits for a place gets it from the other worker's idle connection, at once")
    func idle() {
        for seed: UInt64 in 1...20 {
            let origins = Resilience.origins()
            let process = ProcessScenarios.process(seed: seed, origins, connectionsMax: 1)
            let first = SimulatedClient(process.workers[0], name: "a", Resilience.gets(1))
            first.start()
            process.run(until: .milliseconds(100))
            #expect(first.outcomes.map(\.status) == [200])
            #expect(process.workers[0].upstreamCount == 1, "its connection lies idle")
            let second = SimulatedClient(process.workers[1], name: "b", Resilience.gets(1))
            let begun = process.workers[1].now
            var ended: Instant?
            second.onOutcome = { ended = process.workers[1].now }
            second.start()
            process.run(until: .seconds(1))
            #expect(second.outcomes.map(\.status) == [200])
            // Six ways of 5 ms at most: request, connect, request, answer; and the client's own.
            #expect(ended.map { $0 - begun <= .milliseconds(30) } == true)
            #expect(process.workers[0].mailCount.wanted > 0)
            #expect(process.workers[1].mailCount.freed > 0)
            process.run()
            #expect(ProcessScenarios.isEmpty(process))
        }
    }

    @Test("who waits for a busy connection of the other worker is served when that is free")
    func busy() {
        for seed: UInt64 in 1...20 {
            for service in ["", "protocol: http2"] {
                let origins = Resilience.origins()
                for origin in origins {
                    origin.delay = .milliseconds(200)
                    origin.speaksHTTP2 = !service.isEmpty
                }
                let process = ProcessScenarios.process(
                    seed: seed, origins, connectionsMax: 1, service: service)
                let clients = process.workers.enumerated().map { n, world in
                    SimulatedClient(world, name: "c\(n)", Resilience.gets(3))
                }
                for client in clients { client.start() }
                // Long before an idle connection, or HTTP/2 connection, would end by itself.
                process.run(until: .seconds(5))
                for client in clients {
                    #expect(
                        client.outcomes.map(\.status) == [200, 200, 200],
                        "seed \(seed) \(service)")
                }
                process.run()
                #expect(ProcessScenarios.isEmpty(process))
            }
        }
    }

    @Test(
        "where there are places for both, neither worker gives up an HTTP/2 connection for the other"
    )
    func roomForAll() {
        for seed: UInt64 in 1...20 {
            let origins = Resilience.origins()
            for origin in origins {
                origin.speaksHTTP2 = true
                origin.delay = .milliseconds(5)
            }
            let process = ProcessScenarios.process(
                seed: seed, origins, service: "protocol: http2")
            var clients: [SimulatedHTTP2Client] = []
            for n in 0..<10 {
                let world = process.workers[n % 2]
                world.after(.milliseconds(Int64(7 * n))) {
                    let client = SimulatedHTTP2Client(world, name: "h\(n)", Resilience.gets(20))
                    clients.append(client)
                    client.start()
                }
            }
            process.run(until: .seconds(5))
            #expect(clients.allSatisfy { $0.outcomes.map(\.status).allSatisfy { $0 == 200 } })
            #expect(clients.map(\.outcomes.count) == [Int](repeating: 20, count: 10))
            // One for each worker and endpoint.
            #expect(origins.reduce(0) { $0 + $1.connectionCount } <= 6)
        }
    }

    @Test(
        "nobody is left waiting at the limit while the other worker holds a connection idle",
        arguments: 1...60)
    func fairness(seed: Int) {
        var random = PRNG(seed: UInt64(seed))
        let origins = Resilience.origins()
        for origin in origins { origin.delay = .milliseconds(Int64(random.below(20))) }
        let limit = 1 + Int(random.below(3))
        let process = ProcessScenarios.process(
            seed: UInt64(seed), origins, connectionsMax: limit)
        process.workers[0].faults.turnMax = .milliseconds(Int64(random.below(4)))
        process.workers[0].faults.latencyMax = .milliseconds(1 + Int64(random.below(10)))
        var clients: [SimulatedClient] = []
        for n in 0..<(2 + Int(random.below(12))) {
            let pause = Duration.milliseconds(Int64(random.below(40)))
            let count = 1 + Int(random.below(8))
            process.workers[0].after(.milliseconds(Int64(random.below(50)))) {
                process.accept { world in
                    let client = SimulatedClient(world, name: "c\(n)", Resilience.gets(count))
                    client.pause = pause
                    clients.append(client)
                    client.start()
                }
            }
        }
        for world in process.workers {
            world.afterTurn = {
                for version in ["v1", "v2"] {
                    let level = world.level(service: "s", version: version)
                    #expect((level?.connections ?? 0) <= limit)
                }
            }
        }
        // Half a minute is what an idle connection lives: who waited for its end would be late.
        process.run(until: .seconds(25))
        for client in clients {
            #expect(client.outcomes.count == client.requestCount)
            #expect(client.outcomes.allSatisfy { $0.status == 200 })
        }
        process.run()
        #expect(ProcessScenarios.isEmpty(process))
    }

    @Test("a reload and a drain reach both workers, and what is under way ends well")
    func control() {
        for seed: UInt64 in 1...20 {
            let origins = Resilience.origins()
            for origin in origins { origin.delay = .milliseconds(20) }
            let process = ProcessScenarios.process(seed: seed, origins, connectionsMax: 2)
            var clients: [SimulatedClient] = []
            for n in 0..<8 {
                process.accept { world in
                    let client = SimulatedClient(world, name: "c\(n)", Resilience.gets(10))
                    client.pause = .milliseconds(5)
                    clients.append(client)
                    client.start()
                }
            }
            process.workers[0].after(.milliseconds(60)) {
                process.reload(yaml: Resilience.yaml(route: "retries: off"), generation: 2)
            }
            process.workers[0].after(.milliseconds(150)) { process.drain() }
            process.run()
            for client in clients {
                #expect(client.outcomes.count == client.sentCount)
                #expect(client.outcomes.allSatisfy { $0.status == 200 && $0.end == .complete })
            }
            #expect(process.workers.allSatisfy { $0.clientCount == 0 })
            #expect(ProcessScenarios.isEmpty(process))
        }
    }
}
