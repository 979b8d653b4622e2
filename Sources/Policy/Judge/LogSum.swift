import Glibc

/// Sums of numbers that are kept as natural logarithms, so that neither 10^400 nor 10^-400 leaves
/// the range of a `Double`.
enum LogSum {
    /// The logarithm of the sum of `exp(value)` over all values; -∞ where there is none, or where
    /// all are -∞.
    static func of(_ values: some Sequence<Double>) -> Double {
        var top = -Double.infinity
        for value in values { top = max(top, value) }
        guard top > -.infinity else { return top }
        var sum = 0.0
        for value in values { sum += exp(value - top) }
        return top + log(sum)
    }

    /// The logarithm of the sum of two values that are given by their logarithms.
    static func of(_ a: Double, _ b: Double) -> Double {
        let top = max(a, b)
        guard top > -.infinity else { return top }
        return top + log(exp(a - top) + exp(b - top))
    }
}
