import Base
import Evidence
import Foundation
import Judge
import Rollout
import Support

/// A service whose requests are drawn second by second, with counters as the data plane keeps them:
/// a request counts when it ends.
struct SyntheticService {
    /// How one version behaves.
    struct Version {
        /// Chance of an error, and the time it takes in seconds.
        var errors = 0.0
        var errorSeconds = 0.05
        /// Chance of a failed first attempt that a retry hides.
        var hiddenErrors = 0.0
        /// Chance of a hang, which ends when the client leaves after three seconds.
        var hangs = 0.0
        /// Chance of an answer after five seconds.
        var tail = 0.0
        var slowness = 1.0
        /// The median of times, in seconds.
        var seconds = 0.05
        /// Times are drawn; otherwise each answer takes the median.
        var hasTimes = true
    }

    private struct End {
        var isCanary: Bool
        var kind: RequestOutcome.End
        var isFirstError: Bool
        var seconds: Double
    }

    var random: PRNG
    var stable: Version
    var canary: Version
    /// The canary's share, 0...1.
    var share: Double
    var requestsPerSecond: Int
    var timeLimit = Duration.seconds(1)
    var epoch: UInt64 = 1
    var route = "all"
    private(set) var age = Duration.zero
    private(set) var now = Instant(nanoseconds: 1_000_000_000_000)
    private(set) var counts: (stable: VersionEvidence, canary: VersionEvidence) = (.init(), .init())
    /// Requests under way, by the second in which they end.
    private var pending: [Int: [End]] = [:]
    private var second = 0

    init(
        seed: UInt64, share: Double, requestsPerSecond: Int, stable: Version = .init(),
        canary: Version = .init()
    ) {
        random = PRNG(seed: seed)
        self.share = share
        self.requestsPerSecond = requestsPerSecond
        self.stable = stable
        self.canary = canary
    }

    /// The weights change: what ends from now on of older requests belongs to the old epoch, and is
    /// forgotten here.
    mutating func beginEpoch(share: Double) {
        self.share = share
        epoch += 1
        age = .zero
        counts = (.init(), .init())
        pending = [:]
    }

    /// A second of traffic, and the evidence behind it.
    mutating func step() -> EvidenceSample {
        for _ in 0..<requestsPerSecond {
            let isCanary = random.chance(share)
            let end = draw(isCanary ? canary : stable, isCanary)
            pending[second + Int(end.seconds), default: []].append(end)
        }
        for end in pending.removeValue(forKey: second) ?? [] { count(end) }
        second += 1
        age = age + .seconds(1)
        now = now + .seconds(1)
        return sample
    }

    var sample: EvidenceSample {
        EvidenceSample(
            stable: "v1", canary: "v2",
            strata: [
                EvidenceSample.Stratum(
                    route: route, epoch: epoch, age: age, timeLimit: timeLimit,
                    stableWeight: 1 - share, canaryWeight: share, stable: counts.stable,
                    canary: counts.canary)
            ])
    }

    private mutating func draw(_ version: Version, _ isCanary: Bool) -> End {
        func end(_ kind: RequestOutcome.End, _ seconds: Double, first: Bool = false) -> End {
            End(isCanary: isCanary, kind: kind, isFirstError: first, seconds: seconds)
        }
        if version.errors > 0, random.chance(version.errors) {
            return end(.failure, version.errorSeconds, first: true)
        }
        if version.hangs > 0, random.chance(version.hangs) { return end(.departure, 3) }
        if version.tail > 0, random.chance(version.tail) { return end(.answer, 5) }
        let isHidden = version.hiddenErrors > 0 && random.chance(version.hiddenErrors)
        let spread = version.hasTimes ? Foundation.exp(0.6 * random.normal()) : 1
        return end(.answer, version.seconds * version.slowness * spread, first: isHidden)
    }

    private mutating func count(_ end: End) {
        let bucket = LatencyBuckets.bucket(nanoseconds: Int64(end.seconds * 1e9))
        func add(_ counts: inout VersionEvidence) {
            counts.requests += 1
            if end.isFirstError { counts.firstErrors += 1 }
            switch end.kind {
            case .answer: counts.latency[bucket] += 1
            case .failure:
                counts.errors += 1
                counts.censored[bucket] += 1
            case .departure:
                counts.left += 1
                counts.censored[bucket] += 1
            }
        }
        if end.isCanary { add(&counts.canary) } else { add(&counts.stable) }
    }
}

/// A judge that follows a synthetic service through one stage.
struct SyntheticStage {
    var service: SyntheticService
    var judge: StageJudge
    var seconds: Int64 = 0
    var tripped: String?
    var external: String?
    var obstacle: String?

    init(_ service: SyntheticService, _ terms: StageTerms) {
        self.service = service
        judge = StageJudge(terms.policy)
        _ = judge.enter(terms, service.sample, now: service.now)
    }

    init(
        _ service: SyntheticService, warmup: Duration = .zero, maxTime: Duration? = nil,
        absolute: RolloutPlan.AbsoluteLimits = .init(), minTime: Duration? = nil
    ) {
        self.init(
            service,
            StageTerms(
                name: "small", share: service.share, absolute: absolute, minTime: minTime,
                maxTime: maxTime, warmup: warmup))
    }

    mutating func step() -> Verdict {
        let sample = service.step()
        seconds += 1
        var look = StageJudge.Look(now: service.now, elapsed: .seconds(seconds))
        look.tripped = tripped
        look.external = external
        look.obstacle = obstacle
        return judge.look(sample, look)
    }

    /// Looks every second until a verdict of a kind, or the time is over.
    ///
    /// - Returns: the last verdict.
    mutating func run(_ most: Int, until kinds: Set<Verdict.Kind>) -> Verdict {
        var verdict = Verdict(.watching, "")
        for _ in 0..<most {
            verdict = step()
            if kinds.contains(verdict.kind) { break }
        }
        return verdict
    }
}

extension Judge {
    /// The judge of a plan that says nothing of tolerances.
    static let ofPlan = Judge(tolerance: RolloutPlan.JudgePolicy.usualTolerance)
}
