import Glibc

/// Evidence over a grid of ratios, with restarts.
///
///     waiting ──restart k takes the share εₖ──▶ running, spread evenly over the grid
///
/// A ratio that fits the truth grows fastest, so nobody has to choose one before. Restarts are a
/// prior over the time at which the canary turned bad: a version that turns bad after a healthy
/// hour is found in about twice the requests of one that began bad. Any shares in (0, 1) keep the
/// mean of the whole at most 1.
public struct Mixture: Sendable, Equatable {
    /// The ratios of the grid, each above 0.
    public let ratios: [Double]
    /// Logarithm of the running mass of each ratio.
    package private(set) var running: [Double]
    /// Logarithm of the mass that no restart has taken yet.
    package private(set) var waiting = 0.0
    /// Canary units at which the next restart is due.
    package private(set) var nextRestart = 0.0
    package private(set) var restartCount = 0

    init(ratios: [Double]) {
        self.ratios = ratios
        running = Array(repeating: -.infinity, count: ratios.count)
    }

    /// Goes on where an earlier run had stopped.
    ///
    /// - Returns: `nil` for numbers that no run can have: not one for each ratio, or no numbers.
    package func resumed(
        running: [Double], waiting: Double, nextRestart: Double, restartCount: Int
    ) -> Mixture? {
        guard running.count == ratios.count,
            running.allSatisfy({ !$0.isNaN && $0 < .infinity }),
            waiting.isFinite, waiting <= 0, nextRestart.isFinite, nextRestart >= 0,
            (0...1_000_000_000).contains(restartCount)
        else { return nil }
        var mixture = self
        mixture.running = running
        mixture.waiting = waiting
        mixture.nextRestart = nextRestart
        mixture.restartCount = restartCount
        return mixture
    }

    /// Restarts where one is due; to be asked before an increment is added.
    ///
    /// - Parameter canaryUnits: units of the canary in all increments before this one.
    /// - Returns: whether a restart took place.
    mutating func restart(canaryUnits: Double) -> Bool {
        guard canaryUnits >= nextRestart else { return false }
        let share = restartCount < 6 ? 0.15 : 1.5 / Double(restartCount + 4)
        let taken = waiting + log(share) - log(Double(ratios.count))
        for j in running.indices { running[j] = LogSum.of(running[j], taken) }
        waiting += log1p(-share)
        restartCount += 1
        let base = max(canaryUnits, 8)
        nextRestart = min(base * 1.25, base + 500)
        return true
    }

    /// Multiplies each ratio's mass with its factor of an increment.
    /// - Parameter logFactor: the logarithm of the factor of a ratio; has mean at most 1 where the
    ///   canary is no worse.
    mutating func add(_ logFactor: (_ ratio: Double) -> Double) {
        for j in running.indices { running[j] += logFactor(ratios[j]) }
    }

    /// The logarithm of the evidence so far; 0 at the start, and its exponential has mean at most 1
    /// while the canary is no worse.
    public var logEvidence: Double { LogSum.of(LogSum.of(running), waiting) }

    /// `count` ratios from `first` to `last`, evenly spaced by their logarithms.
    static func grid(from first: Double, to last: Double, count: Int) -> [Double] {
        let step = (log(last) - log(first)) / Double(count - 1)
        return (0..<count).map { exp(log(first) + step * Double($0)) }
    }
}
