import Glibc

/// The buckets of latency histograms: bucket k ends at 250 µs · 2^(k/4), the first takes all that
/// is shorter, the last one is open.
public enum LatencyBuckets {
    /// Buckets of the data plane's histograms: the last one takes all above 55 s.
    @inlinable public static var count: Int { 73 }
    static let firstSeconds = 250e-6
    static let growth = 1.189_207_115_002_721  // 2^(1/4)

    /// The upper end of a bucket, in seconds.
    public static func end(_ bucket: Int) -> Double {
        firstSeconds * pow(growth, Double(bucket))
    }

    /// The bucket of a time in nanoseconds. Without a table and without branches but one, since the
    /// data plane asks this once a request.
    ///
    /// - Parameter nanoseconds: not negative.
    @inlinable @inline(__always)
    public static func bucket(nanoseconds: Int64) -> Int {
        if nanoseconds <= 250_000 { return 0 }
        // In units of the first bucket; a hair less, because a bucket has its upper end.
        let scaled = Double(nanoseconds) * (4e-6 * (1 - 1e-14))
        let bits = scaled.bitPattern
        // Four buckets an octave: the exponent, and how many quarters of an octave lie below.
        let octave = Int(truncatingIfNeeded: bits >> 52) &- 1_023
        let mantissa = bits & 0x000f_ffff_ffff_ffff
        var bucket = octave &* 4 &+ 1
        bucket &+= mantissa >= 0x0003_06fe_0a31_b715 ? 1 : 0  // 2^(1/4)
        bucket &+= mantissa >= 0x0006_a09e_667f_3bcd ? 1 : 0  // 2^(2/4)
        bucket &+= mantissa >= 0x000a_e89f_995a_d3ad ? 1 : 0  // 2^(3/4)
        return min(bucket, count - 1)
    }

    /// The part of a histogram that took longer than a time, interpolated as a quantile is.
    static func part(_ histogram: [Int], slowerThan seconds: Double) -> Double {
        guard seconds < end(histogram.count) else { return 0 }
        let place = log(max(seconds, firstSeconds / growth) / firstSeconds) / log(growth) + 1
        let bucket = Int(place), within = place - Double(bucket)
        var total = 0.0, slower = 0.0
        for (k, count) in histogram.enumerated() {
            total += Double(count)
            if k > bucket { slower += Double(count) }
            if k == bucket { slower += Double(count) * (1 - within) }
        }
        return total > 0 ? slower / total : 0
    }

    /// A quantile of a histogram in seconds, interpolated geometrically within its bucket (19 %
    /// wide); 0 for a histogram without entries.
    ///
    /// - Parameter share: which quantile, 0...1.
    public static func quantile(_ histogram: [Int], _ share: Double) -> Double {
        var total = 0.0
        for count in histogram { total += Double(count) }
        let wanted = share * total
        var seen = 0.0
        for (bucket, count) in histogram.enumerated() {
            let count = Double(count)
            if count > 0, seen + count >= wanted {
                return firstSeconds * pow(growth, Double(bucket) - 1 + (wanted - seen) / count)
            }
            seen += count
        }
        return 0
    }
}
