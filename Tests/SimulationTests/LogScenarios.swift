import Base
import Simulation
import Testing

/// Whatever happened to a request has its line in the access log, and says there what happened.
@Suite struct LogScenarios {
    private static func world(
        _ origins: [SimulatedOrigin] = Resilience.origins(), service: String = "",
        route: String = "", routes: String = "", format: String = "json",
        defaults: String = "timeouts: { headers: 2s }"
    ) -> World {
        let yaml = Resilience.yaml(
            service: service, route: route, routes: routes, defaults: defaults)
        let world = World(
            seed: 1, yaml: yaml + "\naccessLog: { path: x, format: \(format) }", origins: origins)
        world.faults.latencyMax = .zero
        return world
    }

    private static let long = String(repeating: "a", count: 70_000)

    /// The lines after what one client says.
    private static func lines(_ text: String, format: String = "json") -> [String] {
        let world = world(format: format)
        let client = SimulatedClient(world, name: "a", Resilience.gets(1))
        client.start(raw: text)
        world.run()
        #expect(world.leftovers.isEmpty)
        #expect(world.metric("sluice_requests_total") == 1)
        return world.logLines
    }

    @Test(
        "a refused request has a line with what was understood of it",
        arguments: [
            ("bad\r\n\r\n", 400, "", ""),
            ("GE\u{1}T / HTTP/1.1\r\n\r\n", 400, "", ""),
            ("GET /a HTTP/1.1\r\n\r\n", 400, "GET", "/a"),
            ("GET /a\"\\b HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "GET", "/a\\\"\\\\b"),
            ("PUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "PUT", "/b"),
            ("GET /c HTTP/2.0\r\nHost: a\r\n\r\n", 505, "GET", "/c"),
            ("GET /d HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417, "GET", "/d"),
            ("GET /\(long) HTTP/1.1\r\n", 414, "GET", ""),
            ("GET /e HTTP/1.1\r\nx: \(long)\r\n", 431, "GET", "/e"),
            ("GET /f HTTP/1.1\r\nHost:", 408, "GET", "/f"),
            ("GET /g HT", 408, "GET", ""),
        ])
    func refusals(text: String, status: Int, method: String, path: String) {
        let lines = LogScenarios.lines(text)
        #expect(lines.count == 1)
        let line = lines.first ?? ""
        #expect(line.contains("\"status\":\(status),\"flags\":\"DPE\""), "\(line)")
        #expect(line.contains("\"method\":\"\(method)\""), "\(line)")
        #expect(line.contains("\"path\":\"\(path)\""), "\(line)")
        #expect(line.contains("\"peer\":\"10.1.1.1\""), "\(line)")
        #expect(!line.contains("\"bytesSent\":0,"), "\(line)")
        let text = LogScenarios.lines(text, format: "combined").first ?? ""
        #expect(text.hasPrefix("10.1.1.1 - - [") && text.contains("\" \(status) "), "\(text)")
    }

    @Test("a refused request behind others has its own method and path, not theirs")
    func behindOthers() {
        let world = LogScenarios.world()
        let client = SimulatedClient(world, name: "a", Resilience.gets(2))
        client.start(
            raw: "GET /first HTTP/1.1\r\nHost: a\r\nx-id: a-0\r\n\r\n" + "bad\r\n\r\n")
        world.run()
        #expect(world.logLines.count == 2)
        #expect(world.logLines.last?.contains("\"path\":\"\"") == true)
        #expect(world.logLines.last?.contains("\"method\":\"\"") == true)
    }

    @Test("lines of refused requests are sampled as others are, and none is written without a log")
    func sampled() {
        let yaml = Resilience.yaml()
        for (log, most) in [("", 0), ("\naccessLog: { path: x, sample: 1% }", 60)] {
            let world = World(seed: 1, yaml: yaml + log, origins: Resilience.origins())
            for i in 0..<1_000 {
                SimulatedClient(world, name: "c\(i)", Resilience.gets(1)).start(raw: "bad\r\n\r\n")
                world.run()
            }
            #expect(world.logLines.count <= most)
            #expect(world.metric("sluice_requests_total") == 1_000)
        }
    }

    @Test("the bytes of answers that Sluice makes itself are logged")
    func ownAnswers() {
        let routes = """
            - { name: a, match: { path: { exact: /fixed } }, respond: { body: hello } }
              - { name: b, match: { path: { exact: /none } }, to: s/v2 }
            """
        let origins = Resilience.origins()
        for origin in origins { origin.isUp = false }
        let world = LogScenarios.world(origins, routes: routes)
        let paths = [("GET", "/fixed"), ("HEAD", "/fixed"), ("GET", "/"), ("HEAD", "/")]
        let client = SimulatedClient(
            world, name: "a", paths.map { SimulatedRequest($0.0, $0.1) })
        client.start()
        world.run(until: .seconds(30))
        #expect(client.outcomes.map(\.status) == [200, 200, 502, 503])
        #expect(world.logLines.count == 4)
        for (i, line) in world.logLines.enumerated() {
            let sent = client.outcomes[i].bodyBytes
            #expect(line.contains("\"bytesSent\":\(sent),"), "\(sent): \(line)")
            #expect((sent > 0) == (paths[i].0 == "GET"))
        }
    }

    @Test("a tunnel that was silent for too long is flagged SI, and is no error of its version")
    func silentTunnel() {
        let world = LogScenarios.world(route: "timeouts: { idle: 3s }")
        let tunnel = SimulatedTunnel(world, name: "t", pieces: [])
        tunnel.staysOpen = true
        tunnel.start()
        world.run()
        #expect(tunnel.status == 101)
        #expect(world.logLines.count == 1)
        #expect(world.logLines.first?.contains("\"status\":101,\"flags\":\"SI\"") == true)
        #expect(world.metric("sluice_errors_total") == 0)
    }

    @Test(
        "an endpoint that speaks the other version of HTTP is UPE, and is told of once a state",
        arguments: [("http2", EndpointKind.speaksHTTP1), ("http1", EndpointKind.speaksHTTP2)])
    func wrongProtocol(configured: String, kind: EndpointKind) {
        let origins = Resilience.origins()
        for origin in origins { origin.speaksHTTP2 = kind == .speaksHTTP2 }
        let yaml = { (text: String) in
            Resilience.yaml(service: "protocol: \(text)") + "\naccessLog: { path: x }"
        }
        let beta = { Resilience.gets($0, ["x-group: beta"]) }
        let world = World(seed: 1, yaml: yaml(configured), origins: origins)
        func news() -> [String] { world.takeNews().map { "\($0.kind)" } }
        #expect(Resilience.statuses(world, beta(3)) == [502, 502, 502])
        #expect(world.logLines.count == 3)
        for line in world.logLines { #expect(line.contains("\"flags\":\"UPE\""), "\(line)") }
        #expect(world.metric("sluice_errors_total", "cause=\"invalid\"") == 3)
        #expect(news() == ["\(kind)"])
        // Right, and wrong again.
        world.reload(yaml: yaml(kind == .speaksHTTP2 ? "http2" : "http1"), generation: 2)
        #expect(Resilience.statuses(world, beta(1)) == [200])
        #expect(news().isEmpty)
        world.reload(yaml: yaml(configured), generation: 3)
        #expect(Resilience.statuses(world, beta(2)) == [502, 502])
        #expect(news() == ["\(kind)"])
    }

    enum EndpointKind: String, CustomStringConvertible, Sendable {
        case speaksHTTP1, speaksHTTP2
        var description: String { rawValue }
    }
}
