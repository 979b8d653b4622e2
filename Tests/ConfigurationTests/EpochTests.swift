import Base
import Configuration
import Routing
import Testing

/// Epochs of services: what ends one, and what does not.
@Suite struct EpochTests {
    /// The way in which a split places what it draws, found by asking: shares by name, and the
    /// versions at many positions.
    struct Places: Equatable {
        var shares: [String: Int]
        var positions: [String]

        init(_ snapshot: SharedBox<Snapshot>, split: Int, _ service: Document.Service) {
            let plan = snapshot.value.splits[split]
            shares = [:]
            let weights = plan.draws.value.weights.weights
            for (i, weight) in weights.enumerated() where weight > 0 {
                shares[service.versions[i].name] = weight
            }
            positions = (0..<64).map {
                service.versions[plan.intervals.value.version(at: UInt64($0) << 58 | 77)].name
            }
        }
    }

    /// Each service's splits by the name of their route.
    func places(_ snapshot: SharedBox<Snapshot>) -> [String: [String: Places]] {
        var all: [String: [String: Places]] = [:]
        let document = snapshot.value.document
        for r in 0..<snapshot.value.routes.count where snapshot.value.routes[r].split >= 0 {
            let plan = snapshot.value.routes[r]
            let service = document.services[plan.service]
            let name = ASCII.string(snapshot.value.store.bytes(plan.name))
            all[service.name, default: [:]][name] = Places(
                snapshot, split: plan.split, service)
        }
        return all
    }

    @Test("what is counted under one split and epoch was placed in one way, in random histories")
    func histories() throws {
        for seed in 1...40 as ClosedRange<UInt64> {
            var random = PRNG(seed: seed)
            let process = ReweightingTests.Process()
            // Everything that was ever placed under an epoch of a service.
            var seen: [String: [UInt64: [String: Places]]] = [:]
            var last: (places: [String: [String: Places]], stable: [String: String])?
            var epochs: [String: UInt64] = [:]
            for _ in 0..<12 {
                let text = ReweightingTests.Drawn(
                    shape: seed * 3 + random.below(3), weights: random.below(4)
                ).text
                let document = try ReweightingTests().document(text)
                _ = process.publish(document, shares: random.below(2) == 0)
                let snapshot = try #require(process.basis).snapshot
                let now = places(snapshot)
                var stable: [String: String] = [:]
                for (i, service) in document.services.enumerated() {
                    let name = service.name
                    let epoch = snapshot.value.epochs[i]
                    stable[name] = service.versions[service.stable].name
                    for (route, place) in now[name] ?? [:] {
                        let before = seen[name]?[epoch]?[route]
                        #expect(before == nil || before == place, "seed \(seed), \(name)/\(route)")
                        seen[name, default: [:]][epoch, default: [:]][route] = place
                    }
                    if let last, let known = epochs[name], last.stable[name] != nil {
                        #expect(epoch == known || epoch == known + 1)
                        if last.places[name] == now[name], last.stable[name] == stable[name],
                            text.contains("sticky") == false
                        {
                            #expect(epoch == known, "seed \(seed), \(name)")
                        }
                    } else if let known = epochs[name] {
                        #expect(epoch > known, "a service that comes back begins above its past")
                    } else {
                        #expect(epoch >= 1)
                    }
                    epochs[name] = epoch
                }
                for i in 0..<snapshot.value.splits.count {
                    #expect(snapshot.value.splits[i].epoch >= 1)
                }
                last = (now, stable)
            }
        }
    }

    private static func text(
        _ versions: String = "a: { weight: 95% }, b: { weight: 5% }", stable: String = "a",
        salt: String = "one", ttl: String = "1h", routes: String = "- { name: rest, to: s }"
    ) -> String {
        var list = ""
        for (i, part) in versions.split(separator: "}").enumerated() {
            list += part + ", endpoints: [\"127.0.0.1:\(i + 1)\"] }"
        }
        return """
            listeners: [{ name: http, address: "127.0.0.1:8080" }]
            services:
              other: { versions: { x: { weight: 1, endpoints: ["127.0.0.1:9"] } }, hosts: [o.test] }
              s:
                stable: \(stable)
                sticky: { cookie: c, salt: \(salt), ttl: \(ttl) }
                versions: { \(list) }
            routes:
              \(routes)
            """
    }

    /// The second configuration, and whether it begins an epoch.
    static let steps: [(name: String, text: String, begins: Bool)] = [
        ("nothing", text(), false), ("the life of a cookie", text(ttl: "2h"), false),
        ("weights in other words", text("a: { weight: 19 }, b: { weight: 1 }"), false),
        (
            "a version of weight 0",
            text("a: { weight: 95% }, b: { weight: 5% }, c: { weight: 0% }"), false
        ),
        ("weights", text("a: { weight: 94% }, b: { weight: 6% }"), true),
        ("the stable version", text(stable: "b"), true), ("the salt", text(salt: "two"), true),
        (
            "a route that is new",
            text(
                routes:
                    "- { name: own, match: { path: { exact: /x } }, to: s, split: { a: 1, b: 1 } }\n"
                    + "  - { name: rest, to: s }"), false
        ),
        (
            "a route's own weights",
            text(routes: "- { name: rest, to: s, split: { a: 1, b: 1 } }"), true
        ),
    ]

    @Test(
        "an epoch ends with what moves requests or sessions, and with nothing else",
        arguments: steps)
    func step(name: String, text: String, begins: Bool) throws {
        let process = ReweightingTests.Process()
        _ = process.publish(try ReweightingTests().document(EpochTests.text()), shares: false)
        _ = process.publish(try ReweightingTests().document(text), shares: true)
        let snapshot = try #require(process.basis).snapshot
        #expect(snapshot.value.epochs[1] == (begins ? 2 : 1), "\(name)")
        #expect(snapshot.value.epochs[0] == 1, "the other service has no part in it")
        let split = snapshot.value.routes[snapshot.value.routes.count - 2].split
        #expect(snapshot.value.splits[split].epoch == (begins ? 2 : 1), "\(name)")
    }
}
