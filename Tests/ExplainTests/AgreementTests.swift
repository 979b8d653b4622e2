import Base
import Configuration
import Explain
import JSON
import Routing
import Telemetry
import Testing

/// One question, one answer: what `explain` says and what the data plane does.
@Suite struct AgreementTests {
    static func text(_ key: String, _ json: JSONText) -> String? {
        guard case .object(let pairs) = json,
            case .string(let text)? = pairs.first(where: { $0.0 == key })?.1
        else { return nil }
        return text
    }

    static func has(_ key: String, _ json: JSONText) -> Bool {
        guard case .object(let pairs) = json else { return false }
        return pairs.contains { $0.0 == key }
    }

    enum Outcome: CaseIterable {
        case refused, noRoute, direct, located, named, drawn, rewritten, ownHosts
    }

    /// A configuration with the data plane that runs it.
    struct World: ~Copyable {
        let document: Document
        let snapshot: SharedBox<Snapshot>
        let metrics = MetricRegistry()
        let registry: SharedRegistry
        var plane: PlaneWorld
        /// Kinds of outcomes that there were.
        var outcomes: Set<Outcome> = []

        /// - Parameter entry: is put over the service "a".
        init(_ text: String, under entry: Overlay.Entry? = nil) throws {
            let reading = ConfigurationReading(Array(text.utf8))
            let file = try #require(
                reading.document, "\(reading.errors.map(\.message))\n\(text)")
            var overlay = Overlay()
            if var entry {
                let index = try #require(file.services.firstIndex { $0.name == "a" })
                entry.fingerprint = file.fingerprint(ofService: index)
                overlay.services["a"] = entry
            }
            document = OverlayMerge(file, under: overlay).document
            registry = SharedRegistry(metrics: metrics, seed: 1)
            snapshot = SnapshotCompiler.compile(
                document, .init(generation: 1, hash: ""), registry: registry)
            snapshot.retain()
            plane = PlaneWorld(snapshot, metrics)
        }

        deinit { snapshot.release() }

        mutating func run(_ request: RandomRouting.Request) -> PlaneAnswer {
            plane.run(request, listener: metrics.listener(request.isSecure ? "secure" : "plain"))
        }

        /// The label of the only series of requests.
        var assigned: String? {
            metrics.contents().series.first { $0.kind == .requests }.map { "\($0.assign.label)" }
        }

        func explain(
            _ request: RandomRouting.Request
        ) -> Result<Explanation, Explainer.Failure> {
            var query = ExplainQuery(method: request.method, url: request.url)
            query.headers = request.headers
            let metrics = metrics
            return Explainer.explain(
                query,
                ExplainGround(
                    snapshot: snapshot, file: "file", listenerNumber: { metrics.listener($0) },
                    now: PlaneWorld.now, wall: PlaneWorld.wall))
        }

        /// The difference between the two; `nil` for nothing.
        mutating func difference(_ request: RandomRouting.Request) -> String? {
            let answer = run(request)
            switch explain(request) {
            case .failure(let failure):
                guard let status = answer.status, failure.text.contains("refused with \(status)")
                else { return "explain: \(failure.text)" }
                outcomes.insert(.refused)
                return nil
            case .success(let explanation):
                let json = explanation.json
                if let result = AgreementTests.text("result", json) {
                    return answered(result, json, request, answer)
                }
                return forwarded(json, request, answer)
            }
        }

        private mutating func answered(
            _ result: String, _ json: JSONText, _ request: RandomRouting.Request,
            _ answer: PlaneAnswer
        ) -> String? {
            var status = Int(result.prefix(3))
            let location = AgreementTests.text("location", json)
            // Nobody says where to go to.
            if location?.hasPrefix("none: 400") == true { status = 400 }
            guard answer.status == status else { return "explain: \(result)" }
            let route = named(json)
            guard PlaneAnswer.field("x-route", answer.answer) == route else {
                return "explain: route \(route ?? "none")"
            }
            if status == 400 { return nil }
            guard PlaneAnswer.field("location", answer.answer) == location else {
                return "explain: location \(location ?? "none")"
            }
            outcomes.insert(status == 404 && route == nil ? .noRoute : .direct)
            if location != nil { outcomes.insert(.located) }
            return nil
        }

        private mutating func forwarded(
            _ json: JSONText, _ request: RandomRouting.Request, _ answer: PlaneAnswer
        ) -> String? {
            guard let endpoint = answer.endpoint else { return "explain: goes on" }
            let route = named(json)
            guard PlaneAnswer.field("x-route", answer.head) == route else {
                return "explain: route \(route ?? "none")"
            }
            let found = place(of: endpoint)
            if let version = AgreementTests.text("version", json) {
                guard version == found.name else { return "explain: version \(version)" }
                outcomes.insert(.named)
            } else {
                // Drawn: any version with a share may be it.
                guard found.weight > 0 else { return "explain: drawn, but not \(found.name)" }
                outcomes.insert(.drawn)
            }
            let parts = answer.head.split(separator: " ", maxSplits: 2).map(String.init)
            let host = PlaneAnswer.field("host", answer.head) ?? ""
            var target = request.target, wantedHost = request.host
            let rewrite = AgreementTests.text("rewrite", json) ?? ""
            for part in rewrite.split(separator: ",").map({ $0.split(separator: " ") }) {
                guard let value = part.last.map(String.init) else { continue }
                if part.dropLast().last == "target" { target = value }
                if part.dropLast().last == "host" { wantedHost = value }
            }
            guard parts.count == 3, parts[1] == target else { return "explain: target \(target)" }
            guard host == wantedHost else { return "explain: host \(wantedHost)" }
            if !rewrite.isEmpty { outcomes.insert(.rewritten) }
            if route == nil { outcomes.insert(.ownHosts) }
            return nil
        }

        /// The route, where it is one of the file's, which all mark what they touch; hosts of
        /// services have routes of their own.
        private func named(_ json: JSONText) -> String? {
            let route = AgreementTests.text("route", json)
            return document.routes.contains { $0.name == route } ? route : nil
        }

        private func place(of endpoint: Address) -> (name: String, weight: Int) {
            for service in document.services {
                for version in service.versions where version.endpoints.contains(endpoint) {
                    return (service.name + "/" + version.name, version.weight)
                }
            }
            return ("nobody", 0)
        }
    }

    @Test("explain says of every request what the data plane does", arguments: 0..<8)
    func property(part: Int) throws {
        var outcomes: Set<Outcome> = []
        for i in 0..<25 {
            let seed = UInt64(part * 1_000 + i)
            var random = RandomRouting(seed: seed)
            let text = random.configuration()
            var world = try World(text)
            for _ in 0..<30 {
                let request = random.request()
                let difference = world.difference(request)
                #expect(difference == nil, "seed \(seed): \(request)\n\(text)")
                let left = world.plane.count
                #expect(left == 0, "seed \(seed): \(request): left behind")
                if difference != nil { return }
            }
            outcomes.formUnion(world.outcomes)
        }
        // Agreement about nothing would be none.
        #expect(outcomes == Set(Outcome.allCases))
    }

    @Test("explain and the data plane fall back in the same cases, with the same label")
    func fallbacks() throws {
        for (to, weights, assign) in [
            ("a", "100%", "weighted"), ("a/v2", "100%", "header"), ("a", "0%", "weighted"),
        ] {
            for isUsable in [true, false] {
                let v2 =
                    isUsable ? "endpoints: [\"127.0.0.1:9001\"]" : "dns: \"v2.test:1\""
                let text = """
                    listeners: [{ name: plain, address: "127.0.0.1:8080" }]
                    services:
                      a:
                        stable: v1
                        whenUnavailable: fallback
                        versions:
                          v1: { weight: \(weights == "0%" ? "100%" : "0%"), \
                    endpoints: ["127.0.0.1:9000"] }
                          v2: { weight: \(weights), \(v2) }
                    routes: [{ name: r, to: \(to) }]
                    """
                var world = try World(text)
                let request = RandomRouting.Request(
                    method: "GET", url: "http://a.test/", target: "/", host: "a.test",
                    isSecure: false)
                let falls = !isUsable && weights == "100%"
                let answer = world.run(request)
                let port: UInt16 = falls || weights == "0%" ? 9_000 : 9_001
                #expect(answer.endpoint?.port == port, "\(text)")
                let json = try world.explain(request).get().json
                guard case .object(let pairs) = json else { return }
                let stands = pairs.contains { $0.0 == "fallback" }
                let label = AgreementTests.text("assign", json)
                if to == "a" {
                    #expect(label == assign && stands == falls, "\(text)")
                } else {
                    #expect(label == (falls ? "fallback" : assign), "\(text)")
                    #expect(AgreementTests.text("version", json) == (falls ? "a/v1" : "a/v2"))
                }
                #expect(world.assigned == (falls ? "fallback" : assign), "\(text)")
            }
        }
    }

    @Test("the root's dot, upper case and a port of a host change no decision")
    func hosts() throws {
        let text = """
            listeners: [{ name: plain, address: "127.0.0.1:8080" }]
            services: { a: { versions: { v1: { endpoints: ["127.0.0.1:9000"] } } } }
            routes:
              - { name: r, match: { hosts: [a.test] }, to: a, \
            headers: { request: { set: { x-route: r } } } }
            """
        for host in ["a.test", "a.test.", "A.Test", "a.test:80", "A.TEST.:80"] {
            var world = try World(text)
            let request = RandomRouting.Request(
                method: "GET", url: "http://\(host)/", target: "/", host: host, isSecure: false)
            let difference = world.difference(request), answer = world.run(request)
            #expect(difference == nil && answer.endpoint != nil, "\(host)")
        }
    }
}
