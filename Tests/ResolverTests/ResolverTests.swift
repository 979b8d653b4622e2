import Base
import Platform
import Resolver
import Synchronization
import Testing

/// The resolver's threads, with lookups that the test answers.
@Suite struct ResolverTests {
    /// Lookups of some names wait until the test lets them go.
    final class Directory: Sendable {
        let hanging = Atomic<Bool>(true)
        let fails = Atomic<Bool>(false)

        func lookUp(_ name: Resolver.Name) -> Result<[Address], NameLookup.Failure> {
            if name.host.hasPrefix("a-") {
                while hanging.load(ordering: .acquiring) { SystemClock.pause(.milliseconds(1)) }
                return .failure(NameLookup.Failure(reason: "timed out"))
            }
            if fails.load(ordering: .acquiring) {
                return .failure(NameLookup.Failure(reason: "no such name"))
            }
            return .success([.ipv4(10, 0, 0, 1, port: name.port)])
        }
    }

    func until(_ holds: () -> Bool) -> Bool {
        let end = SystemClock.now() + .seconds(20)
        while SystemClock.now() < end {
            if holds() { return true }
            SystemClock.pause(.milliseconds(1))
        }
        return false
    }

    @Test("two names that hang starve no other, at the first lookup and later")
    func starvation() throws {
        let directory = Directory()
        let resolver = Resolver(
            seed: 1, lookUp: { directory.lookUp($0) }, notify: {})
        defer {
            directory.hanging.store(false, ordering: .releasing)
            resolver.stop()
        }
        let good = Resolver.Name(host: "z", port: 1)
        var names: [Resolver.Name: Duration] = [good: .milliseconds(100)]
        for i in 0..<2 { names[Resolver.Name(host: "a-\(i)", port: 1)] = .milliseconds(100) }
        try resolver.watch(names)
        #expect(until { (resolver.answers[good]?.attempts ?? 0) >= 5 })
        #expect(resolver.answers.count == 1)
    }

    @Test("a change of state is told once, and the last good answer is kept")
    func changes() throws {
        let directory = Directory()
        let told = Wakeups()
        let resolver = Resolver(
            seed: 1, lookUp: { directory.lookUp($0) }, notify: { told.add() })
        defer { resolver.stop() }
        let name = Resolver.Name(host: "z", port: 7)
        try resolver.watch([name: .milliseconds(100)])
        resolver.waitForFirstAnswers(limit: .seconds(20))
        #expect(resolver.takeChanges().hasNewAddresses)
        directory.fails.store(true, ordering: .releasing)
        #expect(until { (resolver.answers[name]?.failures ?? 0) >= 4 })
        let changes = resolver.takeChanges()
        #expect(changes.failed == [name: "no such name"])
        #expect(!changes.hasNewAddresses)
        #expect(resolver.answers[name]?.addresses == [.ipv4(10, 0, 0, 1, port: 7)])
        #expect(resolver.takeChanges().failed.isEmpty)
        directory.fails.store(false, ordering: .releasing)
        #expect(until { resolver.answers[name]?.failure == "" })
        #expect(resolver.takeChanges().recovered == [name])
        #expect(told.count == 3)
    }

    /// Counts calls of any thread.
    final class Wakeups: Sendable {
        private let calls = Atomic<Int>(0)
        func add() { calls.add(1, ordering: .relaxed) }
        var count: Int { calls.load(ordering: .relaxed) }
    }
}
