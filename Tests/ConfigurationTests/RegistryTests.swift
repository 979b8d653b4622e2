import Base
import Configuration
import Telemetry
import Testing

/// State that outlives snapshots: the state of endpoints, by service, version and address.
@Suite struct RegistryTests {
    private let registry = SharedRegistry(metrics: .init(), seed: 1)

    func compile(_ endpoints: [Int], _ generation: UInt64) throws -> SharedBox<Snapshot> {
        let list = endpoints.map { "\"127.0.0.1:\($0)\"" }.joined(separator: ", ")
        let text = Text.replacing(
            BadConfigurationTests.base, "endpoints: [\"127.0.0.1:2\"]", with: "endpoints: [\(list)]"
        )
        let document = try #require(ConfigurationReading(Array(text.utf8)).document)
        return SnapshotCompiler.compile(
            document, .init(generation: generation, hash: ""), registry: registry)
    }

    /// Numbers of the second version's endpoints.
    func numbers(_ snapshot: SharedBox<Snapshot>) -> [Int] {
        let cluster = snapshot.value.versions[1].cluster
        return (0..<cluster.value.endpoints.count).map { cluster.value.endpoints[$0].id }
    }

    @Test("an endpoint keeps its number and what is held against it as long as it is named")
    func kept() throws {
        let first = try compile([10, 11], 1)
        let state = first.value.versions[1].cluster.value.endpoints[1].state
        let isTaken = state.value.takeOut()
        #expect(isTaken)
        let second = try compile([11, 12], 2)
        #expect(numbers(second)[0] == numbers(first)[1])
        let later = second.value.versions[1].cluster.value.endpoints[0].state
        let condition = later.value.condition
        #expect(condition == .refused)
        first.release()
        second.release()
    }

    @Test("a number that nobody knows any more goes to the next; one in use does not")
    func reused() throws {
        let first = try compile([10], 1)
        let gone = numbers(first)[0]
        // The first snapshot still serves requests.
        let second = try compile([11], 2)
        #expect(numbers(second)[0] != gone)
        first.release()
        let third = try compile([11], 3)
        second.release()
        let fourth = try compile([11, 12, 13], 4)
        #expect(numbers(fourth)[1] == gone)
        #expect(numbers(fourth)[0] == numbers(third)[0])
        #expect(Set(numbers(fourth)).count == 3)
        // A namesake of the first that came back begins without a past.
        let condition = fourth.value.versions[1].cluster.value.endpoints[1].state.value.condition
        #expect(condition == [])
        third.release()
        fourth.release()
    }

    @Test("reloads that rename everything leave no trail of rows, clusters and slots")
    func renames() throws {
        let metrics = MetricRegistry(), shards = [CounterShard(), CounterShard()]
        let registry = SharedRegistry(metrics: metrics, seed: 1)
        var held: SharedBox<Snapshot>?
        var retention = SeriesRetention()
        var extent = metrics.extent
        for generation in 1...200 {
            let now = Instant(nanoseconds: UInt64(generation) * 1_000_000_000)
            let name = "n\(generation)"
            let text = """
                listeners: [{ name: http, address: "127.0.0.1:8080" }]
                services:
                  \(name):
                    stable: \(name)
                    versions:
                      \(name): { weight: 1, endpoints: ["127.0.0.1:9000"] }
                      other: { weight: 0, endpoints: ["127.0.0.1:9001"] }
                routes:
                  - { name: \(name), to: \(name), mirror: { to: \(name)/other } }
                """
            let document = try #require(ConfigurationReading(Array(text.utf8)).document)
            let next = SnapshotCompiler.compile(
                document, .init(generation: UInt64(generation), hash: ""), registry: registry)
            var named = MetricRegistry.Selection()
            for i in 0..<next.value.rows.count { named.rows.insert(next.value.rows[i].id) }
            for i in 0..<next.value.mirrors.count {
                named.rows.insert(next.value.mirrors[i].row.id)
                named.clusters.insert(next.value.mirrors[i].cluster.value.id)
            }
            for i in 0..<next.value.versions.count {
                named.clusters.insert(next.value.versions[i].cluster.value.id)
            }
            // Requests count in each of them; the row of requests without a route stays.
            let common = metrics.contents().rows.filter { $0.labels.route.isEmpty }.map(\.id)
            #expect(common.count == 1)
            for id in named.rows.subtracting(common) {
                let slot = try #require(metrics.slot(ofRow: id))
                #expect(shards.allSatisfy { $0.value(slot) == 0 }, "a number begins at zero")
                shards[0].add(1, to: slot)
            }
            retention.apply(.init(named, metrics), now: now)
            let hidden = retention.hidden(retention: .seconds(3), now: now) { _ in false }
            // The old snapshot is in use still: nothing of it is let go of.
            let early = registry.forget(hidden, shards)
            #expect(early.rows.isDisjoint(with: named.rows))
            retention.forget(early)
            held?.release()
            held = next
            if generation == 20 { extent = metrics.extent }
        }
        held?.release()
        #expect(metrics.extent == extent, "twenty are as many as there ever are")
        #expect(extent.rows < 50 && extent.clusters < 30)
    }

    @Test("a number of a cluster that requests, connections or waiters use is not another's")
    func clusters() throws {
        let metrics = registry.metrics
        let first = try compile([10], 1)
        let cluster = first.value.versions[1].cluster.value.id
        let state = first.value.versions[1].cluster.value.state
        let isTaken = state.value.takeConnection(max: 1)
        #expect(isTaken)
        var hidden = MetricRegistry.Selection()
        hidden.clusters = [cluster]
        #expect(registry.forget(hidden, []).clusters == [])
        first.release()
        #expect(registry.forget(hidden, []).clusters == [], "its endpoints are known")
        let text = Text.replacing(BadConfigurationTests.base, "v2", with: "v3")
        let document = try #require(ConfigurationReading(Array(text.utf8)).document)
        let second = SnapshotCompiler.compile(
            document, .init(generation: 2, hash: ""), registry: registry)
        #expect(registry.forget(hidden, []).clusters == [], "a connection is open")
        state.value.freeConnection()
        #expect(registry.forget(hidden, []).clusters == [cluster])
        #expect(metrics.cluster(service: "new", version: "v") == cluster)
        second.release()
    }

    @Test("pods that come and go leave no trail of numbers")
    func churn() throws {
        var held = try compile([1], 1), largest = 0
        for generation in 2..<1_000 {
            let ports = [generation, generation + 1, generation + 2]
            let next = try compile(ports, UInt64(generation))
            held.release()
            held = next
            largest = max(largest, numbers(next).max() ?? 0)
        }
        #expect(largest < 12)
        held.release()
    }
}
