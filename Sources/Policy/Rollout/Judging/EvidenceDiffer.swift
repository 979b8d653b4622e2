import Base
import Evidence
import Judge

/// Makes increments of counters that only grow: what each stratum brought since the last look.
///
///     unknown ──first look──▶ settling ──epoch is old enough──▶ open ──rule──▶ closed, open anew
///                                                                │
///                          a newer epoch, or a stratum that is gone: closed as last seen
///
/// An increment is closed when a second has passed and its units times the canary's share are at
/// least 10, or when the stage ends. When a newer epoch begins, the open increment of the older one
/// ends with what was seen before: what ends later is the slow part of its requests alone, as the
/// fast part alone is what ends in the beginning of an epoch.
struct EvidenceDiffer: Sendable, Equatable {
    /// The expected units of the canary that close an increment.
    static let unitsMin = 10.0
    static let ageMin = Duration.seconds(1)

    struct Key: Hashable, Comparable, Sendable {
        var process: String
        var route: String
        var epoch: UInt64

        var isSynthetic: Bool { process == SyntheticProbe.process }

        static func < (a: Key, b: Key) -> Bool {
            (a.process, a.route, a.epoch) < (b.process, b.route, b.epoch)
        }
    }

    struct Open: Sendable, Equatable {
        var startedAt: Int64
        /// The counts at which the increment began; `nil` while the epoch settles.
        var baseline: EvidencePair?
        /// The counts of the last look.
        var last: EvidencePair
        /// The judge's clock when the increment began.
        var begun = Duration.zero
        /// The increment began while times were not judged.
        var leavesTimesOut = false
    }

    /// The terms of one look.
    struct Terms {
        /// The judge's clock.
        var clock: Duration
        /// Times are not judged now.
        var leavesTimesOut = false
        /// The stage ends: whatever is open is closed.
        var closesAll = false
    }

    /// The yield of one look.
    struct Yield {
        /// In the order of their strata; `isPresent`: of an epoch that is in force, and, while
        /// requests of Sluice's own are sent, one of theirs.
        var increments: [(increment: Increment, isPresent: Bool)] = []
        /// All that settled strata counted since the last look, summed: of users, or of requests
        /// of Sluice's own while these are sent. Not for the judge.
        var recent = EvidencePair()
        /// Units of both versions that are new as evidence: requests, or places of sessions.
        var newUnits = 0
        /// Some stratum is old enough to be counted.
        var isSettled = false
        /// A newer epoch has taken the place of one that was known.
        var hasNewEpoch = false
    }

    private(set) var open: [Key: Open] = [:]
    private(set) var sessions = SessionDiffer()

    init() {}

    init(open: [Key: Open], sessions: SessionDiffer) {
        self.open = open
        self.sessions = sessions
    }

    /// Forgets all increments that are open, of which nothing will be judged.
    mutating func drop() {
        open = [:]
        sessions.drop()
    }

    mutating func look(_ sample: EvidenceSample, _ terms: Terms) -> Yield {
        var yield = Yield()
        var closed: [(key: Key, increment: Increment, isPresent: Bool)] = []
        let isSynthetic = sample.isSynthetic
        let strata = EvidenceDiffer.present(sample)
        for (key, state) in open where strata[key] == nil {
            let hasSessions = sample.sessions != nil && !key.isSynthetic
            if let increment = EvidenceDiffer.close(state, hasSessions) {
                closed.append((key, increment, false))
            }
            yield.hasNewEpoch = true
            open[key] = nil
        }
        for (key, stratum) in strata {
            let hasSessions = sample.sessions != nil && !key.isSynthetic
            var own = Yield()
            if let increment = look(key, stratum, hasSessions, terms, &own) {
                closed.append((key, increment, key.isSynthetic == isSynthetic))
            }
            guard key.isSynthetic == isSynthetic else { continue }
            yield.recent.add(own.recent)
            yield.isSettled = yield.isSettled || own.isSettled
        }
        closed.sort { $0.key < $1.key }
        yield.increments = closed.map { ($0.increment, $0.isPresent) }
        if let sessions = sample.sessions, !isSynthetic {
            look(sessions, terms, &yield)
        } else {
            if let sessions = sample.sessions {
                var users = Yield()
                look(sessions, terms, &users)
                yield.increments += users.increments.map { ($0.increment, false) }
            }
            yield.newUnits = yield.recent.stable.requests + yield.recent.canary.requests
        }
        return yield
    }

    /// Whether requests of Sluice's own were among those of the last look.
    var isSynthetic: Bool { open.keys.contains { $0.isSynthetic } }

    private mutating func look(
        _ sample: EvidenceSample.Sessions, _ terms: Terms, _ yield: inout Yield
    ) {
        let isSettled = sample.age >= EvidenceSample.settleTime(sample.timeLimit)
        let found = sessions.look(
            sample, isSettled: isSettled, requests: yield.recent.canary.requests, terms)
        yield.newUnits = found.newUnits
        yield.isSettled = yield.isSettled || isSettled
        if let increment = found.increment { yield.increments.append((increment, true)) }
    }

    /// Strata of the newest epoch of each process and route.
    static func present(_ sample: EvidenceSample) -> [Key: EvidenceSample.Stratum] {
        var newest: [Key: EvidenceSample.Stratum] = [:]
        for stratum in sample.strata {
            let place = Key(process: stratum.process, route: stratum.route, epoch: 0)
            if let known = newest[place], known.epoch >= stratum.epoch { continue }
            newest[place] = stratum
        }
        var present: [Key: EvidenceSample.Stratum] = [:]
        for (place, stratum) in newest {
            let key = Key(process: place.process, route: place.route, epoch: stratum.epoch)
            present[key] = stratum
        }
        return present
    }

    /// - Returns: the increment that this look closes.
    private mutating func look(
        _ key: Key, _ stratum: EvidenceSample.Stratum, _ hasSessions: Bool, _ terms: Terms,
        _ yield: inout Yield
    ) -> Increment? {
        let now = EvidencePair(stable: stratum.stable, canary: stratum.canary)
        let isSettled = stratum.age >= EvidenceSample.settleTime(stratum.timeLimit)
        var state = open[key] ?? Open(startedAt: stratum.startedAt, last: now)
        defer { open[key] = state }
        if state.startedAt != stratum.startedAt || now.wentBack(from: state.last) {
            // What the process had counted since the last look is gone with it.
            state = Open(
                startedAt: stratum.startedAt, baseline: isSettled ? EvidencePair() : nil,
                last: EvidencePair(), begun: terms.clock, leavesTimesOut: terms.leavesTimesOut)
        }
        let last = state.last
        state.last = now
        guard isSettled else { return nil }
        yield.isSettled = true
        guard let baseline = state.baseline else {
            EvidenceDiffer.begin(&state, terms)
            return nil
        }
        yield.recent.add(now.since(last))
        let gained = now.since(baseline)
        let units = EvidenceDiffer.units(gained, hasSessions)
        let isDue =
            terms.clock.nanoseconds - state.begun.nanoseconds >= ageMinNanoseconds
            && Double(units) * stratum.share >= EvidenceDiffer.unitsMin
        guard isDue || terms.closesAll && units > 0 else { return nil }
        let increment = gained.increment(
            hasSessions: hasSessions,
            leavesTimesOut: state.leavesTimesOut || terms.leavesTimesOut)
        EvidenceDiffer.begin(&state, terms)
        return increment
    }

    private var ageMinNanoseconds: Int64 { EvidenceDiffer.ageMin.nanoseconds }

    private static func units(_ gained: EvidencePair, _ hasSessions: Bool) -> Int {
        hasSessions
            ? gained.stable.timed + gained.canary.timed
            : gained.stable.requests + gained.canary.requests
    }

    private static func begin(_ state: inout Open, _ terms: Terms) {
        state.baseline = state.last
        state.begun = terms.clock
        state.leavesTimesOut = terms.leavesTimesOut
    }

    /// The last increment of a stratum that is over.
    private static func close(_ state: Open, _ hasSessions: Bool) -> Increment? {
        guard let baseline = state.baseline else { return nil }
        let gained = state.last.since(baseline)
        guard units(gained, hasSessions) > 0 else { return nil }
        return gained.increment(
            hasSessions: hasSessions, leavesTimesOut: state.leavesTimesOut)
    }
}
