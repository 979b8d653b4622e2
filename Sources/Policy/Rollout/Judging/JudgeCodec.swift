import Base
import Evidence
import JSON
import Judge

/// Writes down the whole state of a judge for the journal, and reads it back to the bit: numbers
/// with a fraction as the sixteen hexadecimal digits of their bits, histograms as runs, sets of
/// places as words. Whatever is read is checked: text that no judge wrote is an error.
public enum JudgeCodec {
    /// Grows when the form changes in a way that older readers do not understand.
    static let version = 1

    /// Bytes that a state may have: all places of a sticky service, and a hundred routes.
    static let bytesMax = 8 << 20

    /// The state as one line of text.
    public static func text(_ state: StageJudge) -> String { encode(state).line() }

    /// The state as an object of JSON.
    public static func encode(_ state: StageJudge) -> JSONText {
        .object([
            ("version", .integer(version)),
            ("judge", judge(state.judge)),
            ("terms", state.terms.map(TermsCodec.encode) ?? .null),
            ("maxTime", time(state.maxTime)),
            ("totals", totals(state.totals)),
            ("strata", .array(strata(state.differ))),
            ("sessions", sessions(state.differ.sessions)),
            ("span", .integer(state.recent.span)),
            ("slices", .array(state.recent.slices.map(slice))),
            (
                "times",
                .array(
                    state.times.slices.map {
                        .object([("begun", time($0.begun)), ("counts", pair($0.counts))])
                    })
            ),
            ("clock", time(state.clock)),
            (
                "lastLook",
                state.lastLook.map { .string(HexWords.word($0.nanoseconds)) } ?? .null
            ),
        ])
    }

    static func bits(_ value: Double) -> JSONText { .string(HexWords.word(value.bitPattern)) }

    static func time(_ span: Duration) -> JSONText { .integer(Int(span.nanoseconds)) }

    // MARK: The judge of the target Judge

    private static func judge(_ judge: Judge) -> JSONText {
        .object([
            ("budget", bits(judge.budget)),
            ("tolerance", TermsCodec.tolerance(judge.tolerance)),
            ("mixtures", .array(judge.mixtures.map(mixture))),
            ("canaryUnits", bits(judge.canaryUnits)),
            ("pooled", histogram(judge.pooled)),
            ("windows", .array(([judge.rollout, judge.epoch] + judge.recent).map(window))),
        ])
    }

    private static func mixture(_ mixture: Mixture) -> JSONText {
        .object([
            ("running", .array(mixture.running.map(bits))),
            ("waiting", bits(mixture.waiting)),
            ("nextRestart", bits(mixture.nextRestart)),
            ("restarts", .integer(mixture.restartCount)),
        ])
    }

    private static func window(_ window: EffectWindow) -> JSONText {
        .object([
            ("errors", effect(window.errors)),
            ("first", effect(window.first)),
            ("late", effect(window.late)),
            ("stableTimes", histogram(window.stableTimes)),
            ("canaryTimes", histogram(window.canaryTimes)),
        ])
    }

    private static func effect(_ effect: RateEffect) -> JSONText {
        .array(
            [
                effect.differenceSum, effect.weight, effect.canaryPart, effect.stablePart,
                effect.canaryEvents,
            ].map(bits))
    }

    /// The number of buckets, then pairs of a bucket that is not empty and its count.
    static func histogram(_ counts: [Int]) -> JSONText {
        var runs: [JSONText] = [.integer(counts.count)]
        for (bucket, count) in counts.enumerated() where count != 0 {
            runs += [.integer(bucket), .integer(count)]
        }
        return .array(runs)
    }

    // MARK: Counts

    private static func totals(_ totals: StageTotals) -> JSONText {
        func version(_ version: StageTotals.Version) -> JSONText {
            .object([
                ("units", .integer(version.units)),
                ("errors", .integer(version.errors)),
                ("firstErrors", .integer(version.firstErrors)),
                ("latency", histogram(version.latency)),
                ("censored", histogram(version.censored)),
            ])
        }
        return .object([("stable", version(totals.stable)), ("canary", version(totals.canary))])
    }

    private static func pair(_ pair: EvidencePair) -> JSONText {
        .object([("stable", evidence(pair.stable)), ("canary", evidence(pair.canary))])
    }

    private static func evidence(_ counts: VersionEvidence) -> JSONText {
        .object([
            (
                "counts",
                .array(
                    [
                        counts.requests, counts.errors, counts.clientErrors, counts.firstErrors,
                        counts.left,
                    ].map { .integer($0) })
            ),
            ("latency", histogram(counts.latency)),
            ("censored", histogram(counts.censored)),
        ])
    }

    private static func strata(_ differ: EvidenceDiffer) -> [JSONText] {
        differ.open.sorted { $0.key < $1.key }.map { key, open in
            .object([
                ("process", .string(key.process)),
                ("route", .string(key.route)),
                ("epoch", .string(HexWords.word(key.epoch))),
                ("startedAt", .integer(Int(open.startedAt))),
                ("baseline", open.baseline.map(pair) ?? .null),
                ("last", pair(open.last)),
                ("begun", time(open.begun)),
                ("leavesTimesOut", .bool(open.leavesTimesOut)),
            ])
        }
    }

    private static func sessions(_ differ: SessionDiffer) -> JSONText {
        .object([
            ("failed", .string(HexWords.text(differ.failed))),
            ("seen", .string(HexWords.text(differ.seen))),
            ("epoch", differ.epoch.map { .string(HexWords.word($0)) } ?? .null),
            ("startedAt", .integer(Int(differ.startedAt))),
            ("isOpen", .bool(differ.isOpen)),
            ("begun", time(differ.begun)),
            ("requests", .integer(differ.requests)),
            ("counted", .integer(differ.counted)),
        ])
    }

    private static func slice(_ slice: RecentCounts.Slice) -> JSONText {
        .object([
            ("begun", time(slice.begun)),
            ("covered", time(slice.covered)),
            ("span", .integer(slice.span)),
            (
                "counts",
                .array(
                    [
                        slice.stable.requests, slice.stable.errors, slice.canary.requests,
                        slice.canary.errors, slice.units,
                    ].map { .integer($0) })
            ),
            ("logEvidence", bits(slice.logEvidence)),
        ])
    }
}
