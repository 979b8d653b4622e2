import Base
import Evidence
import Judge
import Rollout
import Testing

@Suite("Sessions as evidence") struct SessionTests {
    static let half = SessionPlaces.count / 2

    static func sample(
        epoch: UInt64 = 1, age: Int64 = 20, seen: Set<Int>, failed: Set<Int>,
        boundary: Int = SessionTests.half
    ) -> EvidenceSample.Sessions {
        EvidenceSample.Sessions(
            epoch: epoch, age: .seconds(age), timeLimit: .seconds(5), seen: set(seen),
            failed: set(failed), stablePlaces: boundary..<SessionPlaces.count,
            canaryPlaces: 0..<boundary)
    }

    static func set(_ places: Set<Int>) -> PlaceSet {
        var set = PlaceSet()
        for place in places { set.insert(place) }
        return set
    }

    static func increment(
        stable: (units: Int, errors: Int, new: Int), canary: (units: Int, errors: Int, new: Int),
        progress: Int
    ) -> Increment {
        func counts(_ version: (units: Int, errors: Int, new: Int)) -> VersionCounts {
            var counts = VersionCounts(units: version.units, errors: version.errors)
            counts.newUnits = version.new
            return counts
        }
        var increment = Increment(stable: counts(stable), canary: counts(canary))
        increment.progress = progress
        return increment
    }

    @Test("at risk is who was seen in this epoch and had not failed in this rollout")
    func atRisk() {
        var watch = IncrementTests.Watch()
        let canary = Set(0..<30), stable = Set(SessionTests.half..<SessionTests.half + 50)
        // Two have failed while the epoch settled: no events, and not at risk any more.
        watch.look(
            [],
            sessions: SessionTests.sample(
                seen: canary.union(stable), failed: [0, SessionTests.half]))
        watch.look(
            [],
            sessions: SessionTests.sample(
                seen: canary.union(stable), failed: [0, 1, 2, SessionTests.half]))
        var expected = Judge.ofPlan
        expected.add(
            SessionTests.increment(stable: (49, 0, 49), canary: (29, 2, 29), progress: 0))
        #expect(watch.judge.judge == expected)
        // A user who fails again, and again, is one user; who is seen again is not new.
        watch.look(
            [],
            sessions: SessionTests.sample(
                seen: canary.union(stable).union([30]), failed: [0, 1, 2, SessionTests.half]))
        expected.add(
            SessionTests.increment(stable: (49, 0, 0), canary: (28, 0, 1), progress: 0))
        #expect(watch.judge.judge == expected)
        #expect(watch.judge.totals.canary.units == 30)
        #expect(watch.judge.totals.canary.errors == 2)
        // With new weights some users of the stable version are the canary's. Who failed there
        // before is not at risk here.
        watch.look(
            [],
            sessions: SessionTests.sample(
                epoch: 2, seen: canary.union(stable), failed: [], boundary: SessionTests.half + 10))
        watch.look(
            [],
            sessions: SessionTests.sample(
                epoch: 2, seen: canary.union(stable), failed: [5, SessionTests.half],
                boundary: SessionTests.half + 10))
        expected.add(
            SessionTests.increment(stable: (40, 0, 40), canary: (36, 1, 36), progress: 0))
        #expect(watch.judge.judge == expected)
    }

    @Test("requests of a sticky service tell of times, and move restarts on; errors go by place")
    func timesAlone() {
        var watch = IncrementTests.Watch()
        let everybody = Set(0..<100).union(SessionTests.half..<SessionTests.half + 100)
        func look(_ requests: Int, _ failed: Set<Int>) {
            watch.look(
                [
                    IncrementTests.stratum(
                        age: 20, stable: IncrementTests.counts(requests),
                        canary: IncrementTests.counts(requests, errors: requests / 2))
                ], sessions: SessionTests.sample(seen: everybody, failed: failed))
        }
        look(1_000, [])
        look(1_100, [4])
        var times = IncrementTests.increment(100, 0, 100, 50)
        for version in [\Increment.stable, \Increment.canary] {
            times[keyPath: version].units = 0
            times[keyPath: version].errors = 0
            times[keyPath: version].firstErrors = 0
            times[keyPath: version].timedUnits = 100
        }
        var expected = Judge.ofPlan
        expected.add(times)
        expected.add(
            SessionTests.increment(stable: (100, 0, 100), canary: (100, 1, 100), progress: 100))
        #expect(watch.judge.judge == expected)
        #expect(watch.judge.totals.canary.units == 100 && watch.judge.totals.canary.errors == 1)
    }

    @Test("one user who fails a thousand times is no regression")
    func oneUser() {
        var watch = IncrementTests.Watch(), verdicts: Set<Verdict.Kind> = []
        let everybody = Set(0..<500).union(SessionTests.half..<SessionTests.half + 500)
        for second in 0..<40 {
            watch.look(
                [
                    IncrementTests.stratum(
                        age: 20, stable: IncrementTests.counts(1_000 * second),
                        canary: IncrementTests.counts(1_000 * second, errors: 100 * second))
                ], sessions: SessionTests.sample(seen: everybody, failed: second > 3 ? [17] : []))
            verdicts.insert(watch.judge.judge.isRegression ? .regression : .watching)
        }
        #expect(verdicts == [.watching])
    }

    @Test("sessions over ten processes are joined, and a healthy canary stays")
    func tenProcesses() {
        var regressions = 0
        for seed in 0..<2 as Range<UInt64> {
            var random = PRNG(seed: seed), watch = IncrementTests.Watch()
            // Every process sees some users of all; 4 % of the users fail wherever they are.
            var seen = Array(repeating: PlaceSet(), count: 10), failed = seen
            let boundary = SessionPlaces.count / 20
            for _ in 0..<6 {
                for _ in 0..<600 {
                    // Places lie close together, so that users come back.
                    let user = Int(random.below(4_000)) * 262
                    let process = Int(random.below(10))
                    seen[process].insert(user)
                    if user / 262 % 25 == 3, random.below(3) == 0 { failed[process].insert(user) }
                }
                var sessions = EvidenceSample.Sessions(
                    epoch: 1, age: .seconds(20), timeLimit: .zero, seen: seen[0],
                    failed: failed[0], stablePlaces: boundary..<SessionPlaces.count,
                    canaryPlaces: 0..<boundary)
                for process in 1..<10 {
                    sessions.seen.formUnion(seen[process])
                    sessions.failed.formUnion(failed[process])
                }
                watch.look([], sessions: sessions)
            }
            if watch.judge.judge.isRegression { regressions += 1 }
        }
        #expect(regressions == 0)
    }

    @Test("sets of places: members, unions, differences and counts")
    func sets() {
        var random = PRNG(seed: 8)
        func draw() -> Set<Int> {
            Set((0..<300).map { _ in Int(random.below(2_000)) })
        }
        for _ in 0..<20 {
            let a = draw(), b = draw()
            let setA = SessionTests.set(a), setB = SessionTests.set(b)
            #expect(setA.union(setB) == SessionTests.set(a.union(b)))
            #expect(setA.subtracting(setB) == SessionTests.set(a.subtracting(b)))
            let low = Int(random.below(2_000)), high = low + Int(random.below(500))
            #expect(setA.count(in: low..<high) == a.filter { (low..<high).contains($0) }.count)
            #expect(setA.count == a.count)
            #expect(a.allSatisfy(setA.contains) && !setA.contains(2_001))
        }
        #expect(SessionTests.set([5]).subtracting(SessionTests.set([5])).isEmpty)
        #expect(PlaceSet(words: [0, 0]) == PlaceSet())
    }
}
