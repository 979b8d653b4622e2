import Base
import Evidence
import Judge
import Testing

@Suite struct TripTests {
    /// A guard, and a latch, that a test's expectations can hold.
    private final class Guarded: Sendable {
        private let split: SplitGuard

        init(_ weights: [Int] = [95, 5], epoch: UInt64 = 1) {
            split = SplitGuard(versions: (1...weights.count).map { "v\($0)" }, stable: 0)
            begin(epoch: epoch, weights: weights)
        }

        func begin(epoch: UInt64, weights: [Int], ratio: Double? = Guard.ratio) {
            split.begin(epoch: epoch, weights: weights, ratio: ratio)
        }
        func failed(version: Int, epoch: UInt64) -> GuardSum? {
            split.failed(version: version, epoch: epoch)
        }
        func sum(version: Int) -> GuardSum? { split.sum(version: version) }
        func failedByItself(
            version: Int, epoch: UInt64, _ tallies: [(requests: Int, errors: Int)]
        ) -> AbsoluteSum? {
            split.failedByItself(version: version, epoch: epoch) { tallies[$0] }
        }
        func errorCount(version: Int) -> Int { split.errorCount(version: version) }
    }

    private final class Latch: Sendable {
        private let latch = VersionLatch()
        var isTripped: Bool { latch.isTripped }
        var tripCount: Int { latch.tripCount }
        var lastTrip: (number: Int, trip: Trip)? { latch.lastTrip }
        func trip(_ trip: Trip) -> Bool { latch.trip(trip) }
        func reset(ifTripCount count: Int) -> Bool { latch.reset(ifTripCount: count) }
        func restore(_ trip: Trip, number: Int) { latch.restore(trip, number: number) }
    }

    @Test("a canary that alone fails has reached its limit at its sixth error")
    func sixth() {
        let split = Guarded()
        for _ in 0..<5 { #expect(split.failed(version: 1, epoch: 1) == nil) }
        let sum = split.failed(version: 1, epoch: 1)
        #expect(sum?.errors == 6)
        #expect(split.errorCount(version: 1) == 6)
    }

    @Test("errors of the stable version count against all others, whatever their epoch")
    func stable() {
        let split = Guarded([80, 10, 10], epoch: 4)
        for _ in 0..<3 {
            _ = split.failed(version: 1, epoch: 4)
            _ = split.failed(version: 2, epoch: 4)
        }
        let before = split.sum(version: 1)?.value ?? 0
        #expect(split.failed(version: 0, epoch: 2) == nil)
        #expect((split.sum(version: 1)?.value ?? 9) < before)
        #expect(split.sum(version: 1) == split.sum(version: 2))
        #expect(split.sum(version: 0) == nil)
    }

    @Test("an error of a canary from an older epoch does not count: its share was another")
    func stragglers() {
        let split = Guarded(epoch: 2)
        for _ in 0..<50 { #expect(split.failed(version: 1, epoch: 1) == nil) }
        #expect(split.sum(version: 1) == GuardSum())
    }

    @Test("a change of weights keeps the sums; switching the guard off forgets them")
    func changes() {
        let split = Guarded()
        for _ in 0..<5 { _ = split.failed(version: 1, epoch: 1) }
        let sum = split.sum(version: 1)
        split.begin(epoch: 2, weights: [3, 1])
        #expect(split.sum(version: 1) == sum)
        split.begin(epoch: 3, weights: [3, 1], ratio: nil)
        #expect(split.sum(version: 1) == nil)
        split.begin(epoch: 4, weights: [3, 1])
        #expect(split.sum(version: 1) == GuardSum())
    }

    @Test("above 90 % the errors of the stable version are too few to tell by")
    func large() {
        #expect(Guarded([5, 95]).sum(version: 1) == nil)
        #expect(Guarded([10, 90]).sum(version: 1) != nil)
        #expect(Guarded([0, 1]).sum(version: 1) == nil)
        #expect(Guarded([1, 0]).sum(version: 1) == nil)
    }

    /// Requests in a world of two versions, the second with 95 % of them; ends at a trip.
    ///
    /// - Returns: how many requests there were until the trip; `nil` for none.
    private static func requests(
        _ count: Int, failing: (stable: Double, canary: Double), seed: UInt64
    ) -> Int? {
        var random = PRNG(seed: seed)
        let split = Guarded([5, 95])
        var tallies = [(requests: 0, errors: 0), (requests: 0, errors: 0)]
        for i in 1...count {
            let version = random.below(100) < 95 ? 1 : 0
            let rate = version == 1 ? failing.canary : failing.stable
            tallies[version].requests += 1
            guard Double(random.next() >> 11) / 0x1p53 < rate else { continue }
            tallies[version].errors += 1
            if split.failedByItself(version: version, epoch: 1, tallies) != nil { return i }
        }
        return nil
    }

    @Test("above 90 % a version that fails while the stable one is well is taken out")
    func absolute() {
        for seed in 1...20 as ClosedRange<UInt64> {
            let all = TripTests.requests(5_000, failing: (0.01, 1), seed: seed)
            #expect((all ?? .max) < 1_000, "seed \(seed)")
            let half = TripTests.requests(10_000, failing: (0.01, 0.5), seed: seed)
            #expect((half ?? .max) < 2_500, "seed \(seed)")
        }
    }

    @Test("above 90 % healthy versions, and versions that fail together, are left alone")
    func absoluteHealthy() {
        for seed in 1...20 as ClosedRange<UInt64> {
            #expect(TripTests.requests(30_000, failing: (0.01, 0.02), seed: seed) == nil)
            for rate in [0.1, 0.3, 0.5, 1] {
                let trip = TripTests.requests(5_000, failing: (rate, rate), seed: seed)
                #expect(trip == nil, "an outage of both at \(rate), seed \(seed)")
            }
        }
    }

    @Test("without requests of the stable version nothing can be told")
    func alone() {
        let split = Guarded([5, 95])
        for i in 1...500 {
            let tallies = [(requests: 10, errors: 0), (requests: i, errors: i)]
            #expect(split.failedByItself(version: 1, epoch: 1, tallies) == nil)
        }
        // Below 90 % and without weight of the stable version there is no absolute rule.
        for weights in [[10, 90], [0, 100]] {
            let other = Guarded(weights)
            for i in 1...100 {
                let tallies = [(requests: 100 + i, errors: 0), (requests: i, errors: i)]
                #expect(other.failedByItself(version: 1, epoch: 1, tallies) == nil)
            }
        }
    }

    @Test("the words of a trip say what the guard has counted: errors, or endpoints out of reach")
    func words() {
        var trip = Trip()
        trip.errors = 9
        trip.versionErrors = 7
        #expect(trip.words(of: "v2") == "the guard took v2 out: 7 of 9 errors are its own")
        trip = Trip()
        trip.cause = .unreachable
        trip.sum = 5
        #expect(
            trip.words(of: "v2")
                == "the guard took v2 out: 5 requests in a row reached none of its endpoints, "
                + "because connections were refused or not answered")
    }

    @Test("a latch falls once, keeps its numbers, and counts its trips")
    func latch() {
        let latch = Latch()
        #expect(!latch.isTripped && latch.lastTrip == nil)
        var trip = Trip()
        trip.sum = 12.5
        trip.limit = 11.5
        trip.errors = 9
        trip.versionErrors = 7
        trip.at = Instant(nanoseconds: 77)
        #expect(latch.trip(trip))
        #expect(!latch.trip(Trip()))
        #expect(latch.isTripped)
        #expect(latch.lastTrip?.trip == trip)
        #expect(latch.reset(ifTripCount: 1))
        #expect(!latch.reset(ifTripCount: 1) && !latch.isTripped)
        #expect(latch.tripCount == 1)
        #expect(latch.trip(trip))
        #expect(latch.lastTrip?.number == 2)
    }

    @Test("a reset that was decided before a trip does not end that trip")
    func raced() {
        let latch = Latch()
        let count = latch.tripCount
        #expect(latch.trip(Trip()))
        #expect(!latch.reset(ifTripCount: count) && latch.isTripped)
        #expect(latch.reset(ifTripCount: 1))
        #expect(latch.trip(Trip()))
        #expect(!latch.reset(ifTripCount: 1) && latch.isTripped, "of the trip before")
        #expect(latch.reset(ifTripCount: 2) && !latch.isTripped)
    }

    @Test("a latch goes on where that of the process before stopped")
    func restored() {
        let latch = Latch()
        var trip = Trip()
        trip.cause = .unreachable
        trip.sum = 5
        trip.earlierMicros = 1_790_000_000_000_000
        latch.restore(trip, number: 3)
        #expect(latch.isTripped && latch.tripCount == 3)
        #expect(latch.lastTrip?.number == 3 && latch.lastTrip?.trip == trip)
        #expect(latch.reset(ifTripCount: 3))
        #expect(latch.trip(Trip()))
        #expect(latch.tripCount == 4 && latch.lastTrip?.trip.earlierMicros == 0)
    }

    @Test("of resets and trips at one time, a reset ends no trip that it did not know")
    func resetRace() async {
        let latch = Latch()
        let resets = await withTaskGroup(of: Int.self) { group in
            for worker in 0..<4 {
                group.addTask {
                    var count = 0
                    for _ in 0..<2_000 {
                        if worker < 2 {
                            _ = latch.trip(Trip())
                        } else {
                            let known = latch.tripCount
                            if latch.reset(ifTripCount: known) { count += 1 }
                        }
                    }
                    return count
                }
            }
            return await group.reduce(0, +)
        }
        #expect(resets == latch.tripCount - (latch.isTripped ? 1 : 0), "each trip ends once")
    }

    @Test("of many threads that trip a latch one does, and no error of a sum is lost")
    func threads() async {
        let split = Guarded([5, 5])
        let latch = Latch()
        let tripped = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    var count = 0
                    for i in 0..<2_000 {
                        _ = split.failed(version: i & 1, epoch: 1)
                        if latch.trip(Trip()) { count += 1 }
                    }
                    return count
                }
            }
            return await group.reduce(0, +)
        }
        #expect(tripped == 1)
        #expect(split.sum(version: 1)?.errors == 16_000)
    }
}
