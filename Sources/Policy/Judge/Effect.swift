import Glibc

/// How much more often the canary has an event than the stable version, estimated over increments
/// (Mantel and Haenszel): the difference of the two rates, and their ratio. Sums over strata would
/// mistake a common outage for a fault of the version that had more traffic at that time.
public struct RateEffect: Sendable, Equatable {
    package private(set) var differenceSum = 0.0
    package private(set) var weight = 0.0
    package private(set) var canaryPart = 0.0
    package private(set) var stablePart = 0.0
    /// Events of the canary.
    public private(set) var canaryEvents = 0.0

    init() {}

    /// Goes on where an earlier run had stopped; `nil` for numbers that no run can have.
    package init?(
        differenceSum: Double, weight: Double, canaryPart: Double, stablePart: Double,
        canaryEvents: Double
    ) {
        guard differenceSum.isFinite, weight.isFinite, weight >= 0, canaryPart.isFinite,
            canaryPart >= 0, stablePart.isFinite, stablePart >= 0, canaryEvents.isFinite,
            canaryEvents >= 0
        else { return nil }
        self.differenceSum = differenceSum
        self.weight = weight
        self.canaryPart = canaryPart
        self.stablePart = stablePart
        self.canaryEvents = canaryEvents
    }

    /// - Parameters:
    ///   - newUnits: units that no increment had before, of both versions and of the canary; `nil`:
    ///     all. A difference is one of users, who are at risk in many increments.
    mutating func add(
        units: Double, canaryUnits: Double, events: Double, canaryEvents xc: Double,
        newUnits: Double? = nil, newCanaryUnits: Double? = nil
    ) {
        guard units > 0 else { return }
        let stableUnits = units - canaryUnits
        let stableEvents = events - xc
        differenceSum += (xc * stableUnits - stableEvents * canaryUnits) / units
        let all = newUnits ?? units, canary = newCanaryUnits ?? canaryUnits
        if all > 0 { weight += canary * (all - canary) / all }
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
public struct Tolerance: Sendable, Equatable, Codable {
    /// Least difference of two rates that matters; 0.001 is a tenth of a percent of the requests.
    public var points = 0.001
    /// Least ratio of two rates that matters.
    public var ratio = 1.1
    /// Least ratio of two medians, or 95th percentiles, of times that matters.
    public var latency = 1.1
    /// Least difference of two medians, or 95th percentiles, of times that matters, in seconds: far
    /// below a millisecond a scheduler's whim is a multiple.
    public var time = 0.0
    /// Seconds past the edge of late answers that do not matter: `late` looks for hangs and thin
    /// tails, and one busy core beside an endpoint makes many answers that are late by a little.
    public var late = 0.0

    public init() {}

    /// The time from which on a quantile is slower than is tolerated beside the stable version's.
    public func limit(_ stable: Double) -> Double { max(latency * stable, stable + time) }
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

    /// Goes on where an earlier run had stopped; `nil` unless both histograms have as many buckets.
    package init?(
        errors: RateEffect, first: RateEffect, late: RateEffect, stableTimes: [Int],
        canaryTimes: [Int]
    ) {
        guard stableTimes.count == canaryTimes.count else { return nil }
        self.errors = errors
        self.first = first
        self.late = late
        self.stableTimes = stableTimes
        self.canaryTimes = canaryTimes
    }

    mutating func add(
        _ component: Judge.Component, units: Double, canaryUnits: Double, events: Double,
        canaryEvents: Double, newUnits: Double? = nil, newCanaryUnits: Double? = nil
    ) {
        func add(to rate: inout RateEffect) {
            rate.add(
                units: units, canaryUnits: canaryUnits, events: events,
                canaryEvents: canaryEvents, newUnits: newUnits, newCanaryUnits: newCanaryUnits)
        }
        switch component {
        case .errors: add(to: &errors)
        case .first: add(to: &first)
        case .late: add(to: &late)
        case .forward, .reverse: preconditionFailure("times are added as histograms")
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

    /// Standard errors that an increase of times must be above what is tolerated, and the canary's
    /// answers from which on it must be more: many looks make noise pass any fixed number.
    private static let certainty = 2.8
    private static let certaintyCount = 400.0

    /// Whether more of the canary's answers than chance explains are slower than the stable
    /// version's median, or 95th percentile, times what is tolerated.
    ///
    /// Evidence of times says that the canary is slower, and not by how much: an estimate of few
    /// answers would call a version that is 9 % slower intolerable sooner or later.
    func isCertainlySlower(_ tolerance: Tolerance) -> Bool {
        let stable = Double(stableTimes.reduce(0, +)), canary = Double(canaryTimes.reduce(0, +))
        guard stable > 0, canary > 0 else { return false }
        let wanted =
            EffectWindow.certainty * EffectWindow.certainty
            + max(0, log(canary / EffectWindow.certaintyCount))
        return [0.5, 0.95].contains { share in
            let limit = tolerance.limit(LatencyBuckets.quantile(stableTimes, share))
            let slower = LatencyBuckets.part(canaryTimes, slowerThan: limit)
            let noise = share * (1 - share) * (1 / canary + 1 / stable)
            return slower > 1 - share + (wanted * noise).squareRoot()
        }
    }

    /// Whether the canary's median or 95th percentile is above what is tolerated.
    func isSlower(_ tolerance: Tolerance) -> Bool {
        guard stableTimes.contains(where: { $0 > 0 }), canaryTimes.contains(where: { $0 > 0 })
        else { return false }
        return [0.5, 0.95].contains {
            LatencyBuckets.quantile(canaryTimes, $0)
                >= tolerance.limit(LatencyBuckets.quantile(stableTimes, $0))
        }
    }
}
