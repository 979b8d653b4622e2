import Base
import Resolver
import Testing

/// Which name is looked up next, under a clock of the test's own.
@Suite struct NameScheduleTests {
    static func name(_ host: String) -> Resolver.Name { .init(host: host, port: 80) }

    static func at(_ seconds: Double) -> Instant {
        Instant(nanoseconds: UInt64(seconds * 1_000_000_000) + 1)
    }

    /// A resolver in virtual time: so many threads, names of which some take long and fail.
    struct World {
        var schedule: NameSchedule
        var running: [(name: Resolver.Name, since: Instant, until: Instant)] = []
        var begun: [Resolver.Name: [Instant]] = [:]
        var most = 0

        init(threads: Int, _ names: [Resolver.Name: Duration]) {
            schedule = NameSchedule(threadsMax: threads, seed: 1)
            schedule.watch(names)
        }

        /// Runs until a time; `takes` says how long a lookup takes, and `fails` whether it fails.
        mutating func run(
            to end: Instant, takes: (Resolver.Name) -> Duration, fails: (Resolver.Name) -> Bool
        ) {
            var now = NameScheduleTests.at(0)
            while now < end {
                for done in running where done.until <= now {
                    schedule.finish(
                        done.name, hasFailed: fails(done.name), took: done.until - done.since,
                        now: now)
                }
                running.removeAll { $0.until <= now }
                var due = Instant.never
                while running.count < schedule.threadsMax {
                    guard case .lookUp(let name) = schedule.next(now: now) else { break }
                    running.append((name, now, now + takes(name)))
                    begun[name, default: []].append(now)
                    most = max(most, running.count)
                }
                if running.count < schedule.threadsMax,
                    case .wait(let until) = schedule.next(now: now)
                {
                    due = until
                }
                let next = min(due, running.map(\.until).min() ?? .never)
                guard next < end else { return }
                now = max(next, now + .nanoseconds(1))
            }
        }
    }

    @Test("names that time out hold up no others, however many there are")
    func starvation() {
        let good = (0..<5).map { NameScheduleTests.name("z\($0)") }
        let bad = (0..<20).map { NameScheduleTests.name("a\($0)") }
        var names: [Resolver.Name: Duration] = [:]
        for name in good + bad { names[name] = .seconds(5) }
        var world = World(threads: 4, names)
        world.run(
            to: NameScheduleTests.at(600),
            takes: { $0.host.hasPrefix("a") ? .seconds(10) : .milliseconds(2) },
            fails: { $0.host.hasPrefix("a") })
        for name in good {
            let times = world.begun[name] ?? []
            // All twenty have had their first try by then, four at a time.
            #expect((times.first ?? .never) <= NameScheduleTests.at(50.1))
            let gaps = zip(times, times.dropFirst()).map { $1 - $0 }
            #expect((gaps.max() ?? .unlimited) <= .milliseconds(5_100))
            #expect(times.count >= 110)
        }
        // Two threads, ten seconds each: twenty names take turns of a hundred.
        for name in bad {
            #expect((world.begun[name] ?? []).count >= 5, "\(name.host) is never tried")
        }
        #expect(world.most == 4)
    }

    @Test("a name that fails is tried again soon, then at its refresh; one that answers at that")
    func retries() {
        let bad = NameScheduleTests.name("bad"), good = NameScheduleTests.name("good")
        var world = World(threads: 4, [bad: .seconds(4), good: .seconds(4)])
        world.run(
            to: NameScheduleTests.at(60), takes: { _ in .milliseconds(1) }, fails: { $0 == bad })
        let times = world.begun[bad] ?? []
        let gaps = zip(times, times.dropFirst()).map { $1 - $0 }
        for (gap, most) in zip(gaps, [251, 501, 1_001, 2_001, 4_001, 4_001] as [Int64]) {
            #expect(gap <= .milliseconds(most))
            #expect(gap >= .milliseconds(most * 4 / 5 - 1))
        }
        #expect((14...20).contains((world.begun[good] ?? []).count))
    }

    @Test("a name that is no longer watched is looked up no more, a new one at once")
    func watching() {
        let old = NameScheduleTests.name("old"), new = NameScheduleTests.name("new")
        var schedule = NameSchedule(threadsMax: 2, seed: 1)
        schedule.watch([old: .seconds(5)])
        let now = NameScheduleTests.at(1)
        #expect(schedule.next(now: now) == .lookUp(old))
        schedule.watch([new: .seconds(5)])
        #expect(schedule.next(now: now) == .lookUp(new))
        schedule.finish(old, hasFailed: true, took: .seconds(9), now: now)
        #expect(!schedule.holds(old))
        #expect(schedule.next(now: now) == .wait(until: .never))
        schedule.finish(new, hasFailed: false, took: .milliseconds(1), now: now)
        guard case .wait(let until) = schedule.next(now: now) else {
            Issue.record("nothing is due")
            return
        }
        #expect(until > now + .seconds(3) && until <= now + .seconds(5))
    }
}
