import Base
import Evidence
import Judge

/// Requests of Sluice's own to both versions of a rollout, for a stage that has too few of users.
///
///     due ──▶ a pair is sent, one request to each version ──▶ both have ended ──▶ both count
///
/// A pair counts when both of its requests have ended, and not at all when one of them told nothing
/// of its version: so a version that fails fast is not ahead of one that times out, and an epoch of
/// such requests needs no time to settle. The two go out together, in a drawn order.
///
/// Pure: time is an argument, and whoever performs the requests reports their ends.
public struct SyntheticProbe: Sendable {
    public enum Side: Sendable, Equatable { case stable, canary }

    /// One request to be sent.
    public struct Ask: Sendable, Equatable {
        /// The number of its pair, from 1.
        public var pair: Int
        public var side: Side
    }

    private struct Pair {
        var ends: [(side: Side, outcome: RequestOutcome?)] = []
    }

    /// The name of the stratum's process in samples: no process has it.
    static let process = "(synthetic)"

    /// The number of this run of requests among those of its rollout, from 1.
    public let number: Int
    public let begun: Instant
    private let interval: Duration
    private var next: Instant
    private var pairCount = 0
    private var pending: [Int: Pair] = [:]
    private var random: PRNG
    public private(set) var stable = VersionEvidence()
    public private(set) var canary = VersionEvidence()
    /// Pairs of which at least one request told nothing.
    public private(set) var droppedCount = 0

    /// Pairs that may be under way at one time.
    static let pendingMax = 100

    /// - Parameter rate: requests a second to both versions together, above 0.
    public init(number: Int, rate: Double, now: Instant, seed: UInt64) {
        self.number = number
        begun = now
        next = now
        interval = Duration(nanoseconds: Int64(2e9 / min(1_000, max(0.01, rate))))
        random = PRNG(seed: seed)
    }

    /// When the next pair is due.
    public var nextDeadline: Instant { next }

    /// The requests to be sent now. Whatever could not be sent in time is left out, not made up
    /// for: after a pause there is no burst.
    public mutating func due(now: Instant) -> [Ask] {
        var asks: [Ask] = []
        if now - next > .seconds(1) { next = now }
        while next <= now {
            next = next + interval
            guard pending.count < SyntheticProbe.pendingMax else { continue }
            pairCount += 1
            pending[pairCount] = Pair()
            let order: [Side] =
                random.below(2) == 0 ? [.stable, .canary] : [.canary, .stable]
            asks += order.map { Ask(pair: pairCount, side: $0) }
        }
        return asks
    }

    /// A request has ended.
    ///
    /// - Parameter outcome: `nil` where the end says nothing of the version, such as a call that
    ///   could not be made.
    public mutating func end(_ ask: Ask, _ outcome: RequestOutcome?) {
        guard var pair = pending[ask.pair], !pair.ends.contains(where: { $0.side == ask.side })
        else { return }
        pair.ends.append((ask.side, outcome))
        guard pair.ends.count == 2 else {
            pending[ask.pair] = pair
            return
        }
        pending[ask.pair] = nil
        guard pair.ends.allSatisfy({ $0.outcome != nil }) else {
            droppedCount += 1
            return
        }
        for (side, outcome) in pair.ends {
            guard let outcome else { continue }
            switch side {
            case .stable: stable.add(outcome)
            case .canary: canary.add(outcome)
            }
        }
    }

    /// The evidence of now, as a stratum of its own.
    ///
    /// - Parameter startedAt: when the process began, in microseconds since 1970.
    public func stratum(now: Instant, startedAt: Int64) -> EvidenceSample.Stratum {
        var stratum = EvidenceSample.Stratum(
            route: "", epoch: UInt64(number), age: max(.zero, now - begun), timeLimit: .zero,
            stableWeight: 1, canaryWeight: 1, stable: stable, canary: canary)
        stratum.process = SyntheticProbe.process
        stratum.startedAt = startedAt
        return stratum
    }
}

extension VersionEvidence {
    /// Counts one request that has ended.
    fileprivate mutating func add(_ outcome: RequestOutcome) {
        let bucket = LatencyBuckets.bucket(nanoseconds: max(0, outcome.time.nanoseconds))
        requests += 1
        if outcome.isClientError { clientErrors += 1 }
        if outcome.isFirstError { firstErrors += 1 }
        if outcome.isTimeout { left += 1 }
        switch outcome.end {
        case .answer: latency[bucket] += 1
        case .failure:
            errors += 1
            censored[bucket] += 1
        case .departure:
            left += 1
            censored[bucket] += 1
        }
    }
}

extension EvidenceSample {
    /// Whether the stage goes by requests of Sluice's own.
    public var isSynthetic: Bool { strata.contains { $0.process == SyntheticProbe.process } }
}
