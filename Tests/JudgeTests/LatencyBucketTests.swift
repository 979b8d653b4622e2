import Base
import Judge
import Testing

@Suite struct LatencyBucketTests {
    /// Slow and obvious: the first bucket whose end is not below the time.
    private static func slow(_ nanoseconds: Int64) -> Int {
        var bucket = 0
        // A nanosecond more or less than an end is never lost to rounding.
        while bucket < LatencyBuckets.count - 1,
            Double(nanoseconds) > LatencyBuckets.end(bucket) * 1e9 + 1e-4
        {
            bucket += 1
        }
        return bucket
    }

    @Test("a time falls into the first bucket that does not end before it")
    func ends() {
        for bucket in 0..<LatencyBuckets.count {
            let end = Int64(LatencyBuckets.end(bucket) * 1e9 + 1e-4)
            #expect(LatencyBuckets.bucket(nanoseconds: end) == bucket)
            let next = min(bucket + 1, LatencyBuckets.count - 1)
            #expect(LatencyBuckets.bucket(nanoseconds: end + 1) == next)
        }
    }

    @Test("any time falls where a search finds it")
    func random() {
        var random = PRNG(seed: 17)
        for _ in 0..<20_000 {
            let time = Int64(random.next() >> (20 + random.below(43)))
            #expect(LatencyBuckets.bucket(nanoseconds: time) == LatencyBucketTests.slow(time))
        }
        #expect(LatencyBuckets.bucket(nanoseconds: 0) == 0)
        #expect(LatencyBuckets.bucket(nanoseconds: .max) == LatencyBuckets.count - 1)
    }
}
