import Base
import Evidence
import JSON
import Judge

extension JudgeCodec {
    /// Strata of a judge that was written: more than any fleet has.
    private static let strataMax = 100_000

    /// The state that was written as text.
    ///
    /// - Throws: for everything that `text` would not have made.
    public static func state(_ text: String) throws(JSONError) -> StageJudge {
        var limits = JSONReader.Limits()
        limits.bytesMax = bytesMax
        limits.nodesMax = 1_000_000
        return try decode(JSONReader.read(Array(text.utf8), limits: limits))
    }

    /// The state that was written.
    ///
    /// - Throws: for everything that `encode` would not have made.
    public static func decode(_ node: JSONNode) throws(JSONError) -> StageJudge {
        let reader = StateReader(node)
        guard try reader.count("version") == version else {
            throw reader.error("the judge was written by another version of Sluice")
        }
        var state = StageJudge()
        state.judge = try judge(reader.member("judge"))
        state.terms = try reader.optional("terms", TermsCodec.decode)
        state.maxTime = try reader.time("maxTime")
        state.totals = try totals(reader.member("totals"))
        state.differ = EvidenceDiffer(
            open: try strata(reader), sessions: try sessions(reader.member("sessions")))
        state.recent = try recent(reader)
        state.times = try times(reader)
        state.clock = try reader.time("clock")
        state.lastLook = try reader.optional("lastLook", StateReader.word).map {
            Instant(nanoseconds: $0)
        }
        guard !state.clock.isUnlimited else { throw reader.error("no clock runs so long") }
        return state
    }

    // MARK: The judge of the target Judge

    private static func judge(_ node: JSONNode) throws(JSONError) -> Judge {
        let reader = StateReader(node)
        let budget = try reader.bits("budget")
        let tolerance = try TermsCodec.tolerance(reader.member("tolerance"))
        let fresh = Judge().mixtures
        let written = try reader.list("mixtures", max: fresh.count)
        guard written.count == fresh.count else {
            throw reader.error("there are \(fresh.count) mixtures")
        }
        var mixtures: [Mixture] = []
        for (mixture, node) in zip(fresh, written) {
            mixtures.append(try self.mixture(node, mixture))
        }
        var windows: [EffectWindow] = []
        for node in try reader.list("windows", max: 5) { windows.append(try window(node)) }
        guard
            let judge = Judge(
                budget: budget, tolerance: tolerance, mixtures: mixtures,
                canaryUnits: try reader.bits("canaryUnits"),
                pooled: try reader.histogram("pooled", mayBeMissing: true), windows: windows)
        else { throw reader.error("numbers that no judge has") }
        return judge
    }

    private static func mixture(
        _ node: JSONNode, _ fresh: Mixture
    ) throws(JSONError) -> Mixture {
        let reader = StateReader(node)
        let mixture = fresh.resumed(
            running: try StateReader.bitsList(
                reader.member("running"), count: fresh.ratios.count),
            waiting: try reader.bits("waiting"), nextRestart: try reader.bits("nextRestart"),
            restartCount: try reader.count("restarts"))
        guard let mixture else { throw reader.error("numbers that no mixture has") }
        return mixture
    }

    private static func window(_ node: JSONNode) throws(JSONError) -> EffectWindow {
        let reader = StateReader(node)
        let window = EffectWindow(
            errors: try effect(reader.member("errors")),
            first: try effect(reader.member("first")), late: try effect(reader.member("late")),
            stableTimes: try reader.histogram("stableTimes", mayBeMissing: true),
            canaryTimes: try reader.histogram("canaryTimes", mayBeMissing: true))
        guard let window else { throw reader.error("histograms of unlike length") }
        return window
    }

    private static func effect(_ node: JSONNode) throws(JSONError) -> RateEffect {
        let sums = try StateReader.bitsList(node, count: 5)
        let effect = RateEffect(
            differenceSum: sums[0], weight: sums[1], canaryPart: sums[2], stablePart: sums[3],
            canaryEvents: sums[4])
        guard let effect else { throw JSONError("sums that no estimate has", at: node.mark) }
        return effect
    }

    // MARK: Counts

    private static func totals(_ node: JSONNode) throws(JSONError) -> StageTotals {
        func version(_ node: JSONNode) throws(JSONError) -> StageTotals.Version {
            let reader = StateReader(node)
            var version = StageTotals.Version()
            version.units = try reader.count("units")
            version.errors = try reader.count("errors")
            version.firstErrors = try reader.count("firstErrors")
            version.latency = try reader.histogram("latency")
            version.censored = try reader.histogram("censored")
            return version
        }
        let reader = StateReader(node)
        var totals = StageTotals()
        totals.stable = try version(reader.member("stable"))
        totals.canary = try version(reader.member("canary"))
        return totals
    }

    private static func pair(_ node: JSONNode) throws(JSONError) -> EvidencePair {
        let reader = StateReader(node)
        return EvidencePair(
            stable: try evidence(reader.member("stable")),
            canary: try evidence(reader.member("canary")))
    }

    private static func evidence(_ node: JSONNode) throws(JSONError) -> VersionEvidence {
        let reader = StateReader(node)
        var evidence = VersionEvidence()
        let counts = try reader.counts("counts", 5)
        evidence.requests = counts[0]
        evidence.errors = counts[1]
        evidence.clientErrors = counts[2]
        evidence.firstErrors = counts[3]
        evidence.left = counts[4]
        evidence.latency = try reader.histogram("latency")
        evidence.censored = try reader.histogram("censored")
        return evidence
    }

    private static func strata(
        _ reader: StateReader
    ) throws(JSONError) -> [EvidenceDiffer.Key: EvidenceDiffer.Open] {
        var strata: [EvidenceDiffer.Key: EvidenceDiffer.Open] = [:]
        for node in try reader.list("strata", max: strataMax) {
            let reader = StateReader(node)
            let key = EvidenceDiffer.Key(
                process: try reader.text("process"), route: try reader.text("route"),
                epoch: try reader.word("epoch"))
            let last = try pair(reader.member("last"))
            let open = EvidenceDiffer.Open(
                startedAt: Int64(try reader.integer("startedAt")),
                baseline: try reader.optional("baseline", pair), last: last,
                begun: try reader.time("begun"),
                leavesTimesOut: try reader.bool("leavesTimesOut"))
            if let baseline = open.baseline, last.wentBack(from: baseline) {
                throw reader.error("counters that went back")
            }
            guard strata.updateValue(open, forKey: key) == nil else {
                throw reader.error("a stratum is given twice")
            }
        }
        return strata
    }

    private static func sessions(_ node: JSONNode) throws(JSONError) -> SessionDiffer {
        let reader = StateReader(node)
        guard let failed = HexWords.places(try reader.text("failed")),
            let seen = HexWords.places(try reader.text("seen"))
        else { throw reader.error("places that are none") }
        return SessionDiffer(
            failed: failed, seen: seen, epoch: try reader.optional("epoch", StateReader.word),
            startedAt: Int64(try reader.integer("startedAt")),
            isOpen: try reader.bool("isOpen"), begun: try reader.time("begun"),
            requests: try reader.count("requests"), counted: try reader.count("counted"))
    }

    // MARK: The last minutes

    private static func recent(_ reader: StateReader) throws(JSONError) -> RecentCounts {
        var slices: [RecentCounts.Slice] = []
        for node in try reader.list("slices", max: RecentCounts.slicesMax) {
            let reader = StateReader(node)
            let counts = try reader.counts("counts", 5)
            var slice = RecentCounts.Slice(begun: try reader.time("begun"))
            slice.covered = try reader.time("covered")
            slice.span = try reader.count("span")
            slice.stable.requests = counts[0]
            slice.stable.errors = counts[1]
            slice.canary.requests = counts[2]
            slice.canary.errors = counts[3]
            slice.units = counts[4]
            slice.logEvidence = try reader.bits("logEvidence")
            guard slice.covered <= .seconds(86_400) else {
                throw reader.error("no slice is so long")
            }
            slices.append(slice)
        }
        return RecentCounts(slices: slices, span: try reader.count("span"))
    }

    private static func times(_ reader: StateReader) throws(JSONError) -> RecentTimes {
        var slices: [RecentTimes.Slice] = []
        for node in try reader.list("times", max: RecentTimes.slicesMax) {
            let reader = StateReader(node)
            slices.append(
                RecentTimes.Slice(
                    begun: try reader.time("begun"),
                    counts: try pair(reader.member("counts"))))
        }
        return RecentTimes(slices: slices)
    }
}
