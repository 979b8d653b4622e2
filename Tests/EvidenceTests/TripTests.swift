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
        func errorCount(version: Int) -> Int { split.errorCount(version: version) }
    }

    private final class Latch: Sendable {
        private let latch = VersionLatch()
        var isTripped: Bool { latch.isTripped }
        var tripCount: Int { latch.tripCount }
        var lastTrip: (number: Int, trip: Trip)? { latch.lastTrip }
        func trip(_ trip: Trip) -> Bool { latch.trip(trip) }
        func reset() -> Bool { latch.reset() }
    }

    @Test("a canary that alone fails has reached its limit at its sixth error")
    func alone() {
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
        #expect(latch.reset())
        #expect(!latch.reset() && !latch.isTripped)
        #expect(latch.tripCount == 1)
        #expect(latch.trip(trip))
        #expect(latch.lastTrip?.number == 2)
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
