import Foundation

/// Slow and obvious: the hypergeometric law, term by term.
enum Exact {
    static func exp(_ value: Double) -> Double { Foundation.exp(value) }

    private static func logChoose(_ n: Int, _ k: Int) -> Double {
        (0..<k).reduce(0.0) { $0 + log(Double(n - $1)) - log(Double($1 + 1)) }
    }

    /// log E[r^X] where X of x events, among n units, fall on nc units of the canary.
    static func logMean(n: Int, x: Int, nc: Int, r: Double) -> Double {
        var sum = 0.0
        for k in max(0, x - (n - nc))...min(x, nc) {
            let chance = logChoose(nc, k) + logChoose(n - nc, x - k) - logChoose(n, x)
            sum += exp(chance + Double(k) * log(r))
        }
        return log(sum)
    }
}
