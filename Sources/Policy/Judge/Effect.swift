/// How much more often the canary has an event than the stable version, estimated over increments
/// (Mantel and Haenszel): the difference of the two rates, and their ratio. Sums over strata would
/// mistake a common outage for a fault of the version that had more traffic at that time.
public struct RateEffect: Sendable, Equatable {
    private var differenceSum = 0.0
    private var weight = 0.0
    private var canaryPart = 0.0
    private var stablePart = 0.0
    /// Events of the canary.
    public private(set) var canaryEvents = 0.0

    init() {}

    mutating func add(units: Double, canaryUnits: Double, events: Double, canaryEvents xc: Double) {
        guard units > 0 else { return }
        let stableUnits = units - canaryUnits
        let stableEvents = events - xc
        differenceSum += (xc * stableUnits - stableEvents * canaryUnits) / units
        weight += canaryUnits * stableUnits / units
        canaryPart += xc * stableUnits / units
        stablePart += stableEvents * canaryUnits / units
        canaryEvents += xc
    }

    /// The canary's rate minus the stable version's, -1...1; 0 before both had units in one
    /// increment.
    public var difference: Double { weight > 0 ? differenceSum / weight : 0 }

    /// The canary's rate over the stable version's; 1 without events, ∞ where only the canary had
    /// some.
    public var ratio: Double {
        if stablePart > 0 { return canaryPart / stablePart }
        return canaryPart > 0 ? .infinity : 1
    }

    /// Whether the increase is worth a rollback.
    func isWorse(_ tolerance: Tolerance) -> Bool {
        ratio >= tolerance.ratio
            && (difference >= tolerance.points || ratio >= 2 && canaryEvents >= 10)
    }
}

/// Increases that are not worth a rollback, however certain they are.
public struct Tolerance: Sendable, Equatable {
    /// Least difference of two rates that matters; 0.001 is a tenth of a percent of the requests.
    public var points = 0.001
    /// Least ratio of two rates that matters.
    public var ratio = 1.1
    /// Least ratio of two medians, or 95th percentiles, of times that matters.
    public var latency = 1.1

    public init() {}
}

/// The estimates over one span of increments: the whole rollout, an epoch, or since a restart.
public struct EffectWindow: Sendable, Equatable {
    public private(set) var errors = RateEffect()
    public private(set) var first = RateEffect()
    public private(set) var late = RateEffect()
    /// Answers that are not errors, by bucket.
    public private(set) var stableTimes: [Int] = []
    public private(set) var canaryTimes: [Int] = []

    init() {}

    mutating func add(
        _ component: Judge.Component, units: Double, canaryUnits: Double, events: Double,
        canaryEvents: Double
    ) {
        switch component {
        case .errors:
            errors.add(
                units: units, canaryUnits: canaryUnits, events: events, canaryEvents: canaryEvents)
        case .first:
            first.add(
                units: units, canaryUnits: canaryUnits, events: events, canaryEvents: canaryEvents)
        case .late:
            late.add(
                units: units, canaryUnits: canaryUnits, events: events, canaryEvents: canaryEvents)
        case .forward, .reverse:
            preconditionFailure("times are added as histograms")
        }
    }

    mutating func addTimes(stable: [Int], canary: [Int]) {
        if stableTimes.isEmpty {
            stableTimes = Array(repeating: 0, count: stable.count)
            canaryTimes = stableTimes
        }
        for k in stable.indices {
            stableTimes[k] += stable[k]
            canaryTimes[k] += canary[k]
        }
    }

    /// Whether the canary's median or 95th percentile is above what is tolerated.
    func isSlower(_ tolerance: Tolerance) -> Bool {
        guard stableTimes.contains(where: { $0 > 0 }), canaryTimes.contains(where: { $0 > 0 })
        else { return false }
        return [0.5, 0.95].contains {
            LatencyBuckets.quantile(canaryTimes, $0)
                >= tolerance.latency * LatencyBuckets.quantile(stableTimes, $0)
        }
    }
}
