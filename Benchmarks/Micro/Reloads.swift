import Base
import Configuration
import Telemetry

extension Micro {
    /// Times a reload of 10,000 routes where only weights differ, and where all is compiled.
    /// The weights are the service's, so that each split begins anew.
    static func reloads() {
        let count = 10_000
        var text =
            "listeners: [{ name: http, address: \"127.0.0.1:80\" }]\nservices:\n"
            + "  s: { versions: { a: { weight: 9, endpoints: [\"127.0.0.1:1\"] }, "
            + "b: { weight: 1, endpoints: [\"127.0.0.1:2\"] } } }\nroutes:\n"
        for i in 0..<count {
            text += "  - { name: r\(i), to: s, match: { path: { prefix: /api/\(i) } } }\n"
        }
        guard let document = ConfigurationReading(Array(text.utf8)).document,
            let other = try? document.reweighted([Reweighting(.service("s"), ["a": 8, "b": 1])])
        else { preconditionFailure("the configuration is good") }
        let registry = SharedRegistry(metrics: MetricRegistry(), seed: 1)
        var generation: UInt64 = 1
        func inputs() -> SnapshotCompiler.Inputs { .init(generation: generation, hash: "") }
        var newest = SnapshotCompiler.compile(document, inputs(), registry: registry)
        func publish(_ next: SharedBox<Snapshot>) {
            newest.release()
            newest = next
            generation += 1
        }
        report("10,000 routes: compile") { rounds in
            for _ in 0..<rounds {
                publish(SnapshotCompiler.compile(document, inputs(), registry: registry))
            }
        }
        report("10,000 routes: reweight all of them by their service") { rounds in
            for round in 0..<rounds {
                let next = round.isMultiple(of: 2) ? other : document
                guard
                    let snapshot = newest.value.reweighted(
                        to: next, generation: generation, hash: "", registry: registry)
                else { preconditionFailure("each route has a split") }
                publish(snapshot)
            }
        }
        report("10,000 routes: reweight one of them") { rounds in
            for round in 0..<rounds {
                let change = Reweighting(.route("r5000"), ["a": round % 2 + 1, "b": 1])
                guard let next = try? newest.value.document.reweighted([change]),
                    let snapshot = newest.value.reweighted(
                        to: next, generation: generation, hash: "", registry: registry)
                else { preconditionFailure("the route has a split") }
                publish(snapshot)
            }
        }
        report("10,000 routes: compare, and reweight all of them") { rounds in
            for round in 0..<rounds {
                let (snapshot, _) = SnapshotCompiler.compile(
                    round.isMultiple(of: 2) ? other : document, inputs(), registry: registry,
                    after: .init(snapshot: newest, inputs: inputs()))
                publish(snapshot)
            }
        }
        newest.release()
    }
}
