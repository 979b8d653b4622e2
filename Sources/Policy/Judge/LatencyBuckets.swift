import Glibc

/// The buckets of latency histograms: bucket k ends at 250 µs · 2^(k/4), the first takes all that
/// is shorter, the last one is open.
public enum LatencyBuckets {
    /// Buckets of the data plane's histograms: the last one takes all above 55 s.
    public static let count = 73
    static let firstSeconds = 250e-6
    static let growth = 1.189_207_115_002_721  // 2^(1/4)

    /// The upper end of a bucket, in seconds.
    public static func end(_ bucket: Int) -> Double {
        firstSeconds * pow(growth, Double(bucket))
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
