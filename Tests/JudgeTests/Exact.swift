import Foundation

/// Slow and obvious: the hypergeometric law, term by term.
enum Exact {
    static func exp(_ value: Double) -> Double { Foundation.exp(value) }

    private static func logChoose(_ n: Int, _ k: Int) -> Double {
        (0..<k).reduce(0.0) { $0 + log(Double(n - $1)) - log(Double($1 + 1)) }
    }

    /// log E[r^X] where X of x events, among n units, fall on nc units of the canary.
    static func logMean(n: Int, x: Int, nc: Int, r: Double) -> Double {
        let terms = (max(0, x - (n - nc))...min(x, nc)).map { k in
            logChoose(nc, k) + logChoose(n - nc, x - k) - logChoose(n, x) + Double(k) * log(r)
        }
        // The largest is taken out, since e^710 is no number any more.
        let largest = terms.max() ?? 0
        return largest + log(terms.reduce(0) { $0 + exp($1 - largest) })
    }
}
