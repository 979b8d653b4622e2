import Base
import Configuration
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
