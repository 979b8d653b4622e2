import Glibc

/// The judge of one rollout: increments in, evidence against "the canary is no worse" out
/// (docs/judge.md). Pure; the caller hands in counts, never times of a clock.
///
/// `logEvidence` is the logarithm of an e-process: while the canary is no worse, the chance that
/// it ever reaches log(1/α) is at most α, at any number of looks, whatever stops them.
/// The caller adds increments in a fixed order of strata (process, route, epoch), each closed when
/// its units have ended; drops one that a trip or a person cut short; and calls `beginEpoch` when
/// the weights change.
public struct Judge: Sendable, Equatable {
    /// A component is one thing that the canary may be worse in.
    public enum Component: Int, Sendable, CaseIterable {
        /// Errors that clients got.
        case errors
        /// First attempts that failed.
        case first
        /// Units that nobody answered by the edge of the pooled 99.9th percentile.
        case late
        /// Log-rank over times: of those that still wait, how many are answered.
        case forward
        /// Log-rank over times backwards: of those that are answered, how many were slow.
        case reverse

        /// The component's share of the whole; all shares add up to 1.
        var share: Double {
            switch self {
            case .errors: return 0.4
            case .first: return 0.15
            case .late: return 0.1
            case .forward: return 0.2
            case .reverse: return 0.15
            }
        }
    }

    /// Restarts whose own estimates are kept.
    static let recentMax = 3
    package static let odds = Mixture.grid(from: 1.15, to: 40, count: 14)
    package static let hazards = Mixture.grid(from: 1.05, to: 4, count: 8)

    /// The chance that a version that is no worse is ever rolled back by the judge, 0...1.
    public let budget: Double
    /// Increases that are not worth a rollback; a stage may have its own.
    public var tolerance: Tolerance
    package private(set) var mixtures: [Mixture]
    /// Units of the canary so far.
    public private(set) var canaryUnits = 0.0
    /// Answers of both versions that were not errors, by bucket, and their sum.
    package private(set) var pooled: [Int] = []
    private var answers = 0
    /// Estimates over the whole rollout.
    public private(set) var rollout = EffectWindow()
    /// Estimates since the weights last changed.
    public private(set) var epoch = EffectWindow()
    /// Estimates since each of the last restarts, oldest first.
    public private(set) var recent: [EffectWindow] = []

    /// - Parameter budget: α, 0...1; 0.01 is one in a hundred.
    public init(budget: Double = 0.01, tolerance: Tolerance = Tolerance()) {
        self.budget = budget
        self.tolerance = tolerance
        mixtures = Component.allCases.map {
            switch $0 {
            case .errors, .first, .late: return Mixture(ratios: Judge.odds)
            case .forward, .reverse: return Mixture(ratios: Judge.hazards)
            }
        }
    }

    /// Goes on where an earlier run had stopped, to the bit.
    ///
    /// - Parameter windows: of the rollout, of the epoch, and those since the last restarts.
    /// - Returns: `nil` for numbers that no run can have.
    package init?(
        budget: Double, tolerance: Tolerance, mixtures: [Mixture], canaryUnits: Double,
        pooled: [Int], windows: [EffectWindow]
    ) {
        guard budget > 0, budget < 1, mixtures.count == Component.allCases.count,
            canaryUnits.isFinite, canaryUnits >= 0, windows.count >= 2,
            windows.count <= 2 + Judge.recentMax, pooled.allSatisfy({ $0 >= 0 })
        else { return nil }
        self.init(budget: budget, tolerance: tolerance)
        guard zip(self.mixtures, mixtures).allSatisfy({ $0.ratios == $1.ratios }) else {
            return nil
        }
        self.mixtures = mixtures
        self.canaryUnits = canaryUnits
        self.pooled = pooled
        answers = pooled.reduce(0, +)
        rollout = windows[0]
        epoch = windows[1]
        recent = Array(windows[2...])
    }

    // MARK: Evidence in

    /// The weights have changed: estimates of the epoch begin anew. Evidence goes on.
    public mutating func beginEpoch() { epoch = EffectWindow() }

    /// Adds what one stratum brought since the last look.
    public mutating func add(_ increment: Increment) {
        var hasRestarted = false
        for i in mixtures.indices {
            let restarted = mixtures[i].restart(canaryUnits: canaryUnits)
            if i == Component.errors.rawValue { hasRestarted = restarted }
        }
        if hasRestarted {
            recent.append(EffectWindow())
            if recent.count > Judge.recentMax { recent.removeFirst() }
        }
        canaryUnits += Double(increment.progress ?? increment.canary.units)
        let edge = lateEdge
        addEvents(.errors, increment) { $0.errors }
        addEvents(.first, increment) { $0.firstErrors }
        guard increment.hasTimes else { return }
        if let edge {
            addEvents(.late, increment, units: { $0.timedUnits ?? $0.units }) {
                $0.latency[edge...].reduce(0, +) + $0.left
            }
        }
        addForward(increment)
        addReverse(increment)
        pool(increment)
    }

    private mutating func addEvents(
        _ component: Component, _ increment: Increment,
        units count: (VersionCounts) -> Int = { $0.units }, _ events: (VersionCounts) -> Int
    ) {
        let canaryUnits = Double(count(increment.canary))
        let units = Double(count(increment.stable)) + canaryUnits
        let canaryEvents = Double(events(increment.canary))
        let events = Double(events(increment.stable)) + canaryEvents
        let newCanary = increment.canary.newUnits.map(Double.init)
        let newStable = increment.stable.newUnits.map(Double.init)
        mixtures[component.rawValue].add { ratio in
            OddsBound.logFactor(
                units: units, events: events, canaryUnits: canaryUnits,
                canaryEvents: canaryEvents, ratio: ratio)
        }
        eachWindow {
            $0.add(
                component, units: units, canaryUnits: canaryUnits, events: events,
                canaryEvents: canaryEvents, newUnits: newStable.map { $0 + (newCanary ?? 0) },
                newCanaryUnits: newCanary)
        }
    }

    private mutating func eachWindow(_ change: (inout EffectWindow) -> Void) {
        change(&rollout)
        change(&epoch)
        for i in recent.indices { change(&recent[i]) }
    }

    /// The first bucket that is late: past the 99.9th percentile of the answers before this
    /// increment (the 99th until there are 5,000) by what is tolerated;
    /// `nil` before there are any.
    package var lateEdge: Int? {
        guard answers > 0 else { return nil }
        let wanted = (answers >= 5_000 ? 0.999 : 0.99) * Double(answers)
        var seen = 0.0
        for (bucket, count) in pooled.enumerated() {
            seen += Double(count)
            if seen >= wanted { return min(later(than: bucket), pooled.count) }
        }
        return pooled.count
    }

    /// The first bucket whose times are past a bucket's end by what is tolerated.
    private func later(than bucket: Int) -> Int {
        guard tolerance.late > 0 else { return bucket + 1 }
        let seconds = min(LatencyBuckets.end(bucket) + tolerance.late, 1_000)
        return LatencyBuckets.bucket(nanoseconds: Int64(seconds * 1e9)) + 1
    }

    private mutating func pool(_ increment: Increment) {
        let stable = increment.stable.latency, canary = increment.canary.latency
        if pooled.isEmpty { pooled = Array(repeating: 0, count: stable.count) }
        for k in stable.indices {
            pooled[k] += stable[k] + canary[k]
            answers += stable[k] + canary[k]
        }
        eachWindow { $0.addTimes(stable: stable, canary: canary) }
    }

    // MARK: Times

    /// Binned log-rank: those still waiting at a bucket are at risk of being answered in it. A
    /// slower canary is answered later, so its ratios are below 1.
    private mutating func addForward(_ increment: Increment) {
        let stable = increment.stable, canary = increment.canary
        mixtures[Component.forward.rawValue].add { hazard in
            var sum = 0.0, waiting = 0.0, canaryWaiting = 0.0
            for k in stable.latency.indices.reversed() {
                // Who was cut off in a bucket waited in it and in those before it.
                canaryWaiting += Double(canary.latency[k] + canary.censored(in: k))
                waiting +=
                    Double(stable.latency[k] + stable.censored(in: k))
                    + Double(canary.latency[k] + canary.censored(in: k))
                let answered = Double(stable.latency[k] + canary.latency[k])
                guard answered > 0 else { continue }
                sum += OddsBound.logFactor(
                    units: waiting, events: answered, canaryUnits: canaryWaiting,
                    canaryEvents: Double(canary.latency[k]), ratio: 1 / hazard)
            }
            return sum
        }
    }

    /// Binned log-rank backwards: among those answered up to a bucket, a slower canary is
    /// over-represented in the bucket itself.
    private mutating func addReverse(_ increment: Increment) {
        let stable = increment.stable.latency, canary = increment.canary.latency
        mixtures[Component.reverse.rawValue].add { hazard in
            var sum = 0.0, answered = 0.0, canaryAnswered = 0.0
            for k in stable.indices {
                let here = Double(stable[k] + canary[k])
                answered += here
                canaryAnswered += Double(canary[k])
                guard here > 0 else { continue }
                sum += OddsBound.logFactor(
                    units: answered, events: here, canaryUnits: canaryAnswered,
                    canaryEvents: Double(canary[k]), ratio: hazard)
            }
            return sum
        }
    }

    // MARK: Evidence out

    /// The logarithm of a component's evidence.
    public func logEvidence(_ component: Component) -> Double {
        mixtures[component.rawValue].logEvidence
    }

    /// The logarithm of the evidence that the canary is worse in something. A convex combination
    /// of e-processes is one, so looking at several things needs no correction.
    public var logEvidence: Double { logEvidence(of: Component.allCases) }

    /// The logarithm of the summed evidence of some components.
    public func logEvidence(of components: [Component]) -> Double {
        LogSum.of(components.map { log($0.share) + logEvidence($0) })
    }

    /// Components whose own estimated increase is above what is tolerated, over the rollout, the
    /// epoch, or since a recent restart.
    public var worse: [Component] {
        let windows = [rollout, epoch] + recent
        let isLate = windows.contains { $0.late.isWorse(tolerance) }
        let isSlower = isLate || windows.contains { $0.isSlower(tolerance) }
        return Component.allCases.filter { component in
            switch component {
            case .errors: return windows.contains { $0.errors.isWorse(tolerance) }
            case .first: return windows.contains { $0.first.isWorse(tolerance) }
            case .late: return isLate
            case .forward, .reverse: return isSlower
            }
        }
    }

    /// Components of `worse`, without times that are slower than tolerated by an estimate alone:
    /// times count only where the increase itself is certain, or late answers are.
    public var certainlyWorse: [Component] {
        let worse = self.worse
        guard worse.contains(.forward) else { return worse }
        let isLate = worse.contains(.late) && logEvidence(.late) >= log(100)
        let windows = [rollout, epoch] + recent
        if isLate || windows.contains(where: { $0.isCertainlySlower(tolerance) }) {
            return worse
        }
        return worse.filter { $0 != .forward && $0 != .reverse }
    }

    /// Whether the evidence of the components that are worse than tolerated has used the budget up:
    /// the canary is to be taken back. At most `logEvidence`, so the budget holds.
    public var isRegression: Bool {
        let worse = self.worse
        return !worse.isEmpty && logEvidence(of: worse) >= logLimit
    }

    /// log(1/α): the evidence at which the budget is used up.
    public var logLimit: Double { log(1 / budget) }
}
