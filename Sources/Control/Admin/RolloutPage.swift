import Base
import Configuration
import HTTPSemantics
import JSON
import Judge
import Rollout

/// The pages about rollouts, as JSON and for people.
public enum RolloutPage {
    static func answer(
        _ name: String?, _ kind: RolloutPageKind, asText: Bool, _ process: some ProcessView
    ) -> AdminResponse {
        let all = process.rollouts()
        var chosen = all
        if let name {
            chosen = all.filter { $0.name == name }
            if chosen.isEmpty { return .error(404, unknown(name, among: all.map(\.name))) }
        }
        if kind == .history || kind == .verify, let view = chosen.first {
            let history = process.history(of: view.name)
            return kind == .history
                ? RolloutHistoryPage.answer(view, history, asText: asText)
                : RolloutHistoryPage.verify(view, history, asText: asText)
        }
        guard asText else {
            return .json(.object([("rollouts", .array(chosen.map { json($0, kind) }))]))
        }
        var text = chosen.map { view in
            switch kind {
            case .status, .history, .verify: return status(view, process)
            case .explain: return explain(view)
            case .plan: return view.forecast.map { $0 + "\n" }.joined()
            }
        }.joined(separator: "\n")
        if chosen.isEmpty {
            text =
                "this process has no plan of a rollout; sluice rollout init SERVICE prints one to "
                + "add to the file\n"
        }
        return .text(text)
    }

    /// A sentence about a name that no plan has.
    public static func unknown(_ name: String, among names: [String]) -> String {
        if names.isEmpty {
            return "there is no plan \"\(name)\": the file in force has no rollouts: plans:; "
                + "sluice rollout init SERVICE prints one"
        }
        let meant = name.utf8.count <= 63 ? DidYouMean.closest(to: name, among: names) : nil
        return "there is no plan \"\(name)\" in force; "
            + (meant.map { "did you mean \"\($0)\"?" }
                ?? "there are: \(names.joined(separator: ", "))")
    }

    // MARK: JSON

    private static func json(_ view: RolloutView, _ kind: RolloutPageKind) -> JSONText {
        func text(_ text: String?) -> JSONText { text.map { .string($0) } ?? .null }
        var members: [(String, JSONText)] = [
            ("name", .string(view.name)), ("service", .string(view.service)),
            ("canary", .string(view.canary)), ("stable", .string(view.stable)),
            ("id", text(view.id)), ("revision", text(view.revision)),
            ("state", .string(view.state)), ("reason", .string(view.reason)),
            ("notes", .array(view.notes.map { .string($0) })),
            ("stage", text(view.stageIndex.map { view.stages[$0].name })),
            ("stageIndex", view.stageIndex.map { .integer($0) } ?? .null),
            ("stageEntered", .bool(view.isStageEntered)),
            ("dryRun", .bool(view.isDryRun)),
            ("weightPercent", .number(Double(view.weightInForce) / 100)),
            ("wantedPercent", .number(Double(view.weightWanted) / 100)),
            ("weightCause", text(view.weightCause)),
            ("unwritten", text(view.unwritten)),
            (
                "labels",
                .object(view.labels.map { ($0.name, .string($0.value)) })
            ),
            ("verdict", view.verdict.map(verdict) ?? .null),
            ("stages", .array(view.stages.map(stage))),
            ("unit", .string(view.hasSessions ? "session" : "request")),
            ("versions", .array(view.versions.map(version))),
            ("matched", view.matched.map(version) ?? .null),
            ("metrics", .array(view.metrics.map(metric))),
        ]
        if kind == .status {
            members.append(
                (
                    "events",
                    .array(
                        view.events.suffix(10).map {
                            .object([
                                ("atMicros", .integer(Int($0.at.microseconds))),
                                ("text", .string($0.text)),
                            ])
                        })
                ))
        }
        if kind == .plan {
            members.append(("forecast", .array(view.forecast.map { .string($0) })))
        }
        return .object(members)
    }

    private static func stage(_ stage: RolloutView.Stage) -> JSONText {
        .object([
            ("name", .string(stage.name)),
            ("weightPercent", .number(Double(stage.weight) / 100)),
            ("approval", .bool(stage.needsApproval)),
            ("progress", .string(stage.progress.rawValue)),
        ])
    }

    private static func metric(_ machine: MetricMachine) -> JSONText {
        func number(_ value: Double?) -> JSONText { value.map { .number($0) } ?? .null }
        let state =
            switch machine.word {
            case .passes: "passes"
            case .waits: "waits"
            case .fails: "fails"
            }
        return .object([
            ("name", .string(machine.metric.name)), ("state", .string(state)),
            ("value", number(machine.facts.value)),
            ("stableValue", number(machine.facts.stableValue)),
            ("noValue", machine.facts.noValue.map { .string($0) } ?? .null),
            ("failuresInARow", .integer(machine.facts.failuresInARow)),
            ("failures", .integer(machine.facts.failureCount)),
            ("text", .string(machine.line)),
        ])
    }

    private static func version(_ version: RolloutView.Version) -> JSONText {
        .object([
            ("version", .string(version.version)), ("units", .integer(version.units)),
            ("errors", .integer(version.errors)), ("low", .number(version.low)),
            ("high", .number(version.high)),
            ("p50Seconds", .number(LatencyBuckets.quantile(version.latency, 0.5))),
            ("p95Seconds", .number(LatencyBuckets.quantile(version.latency, 0.95))),
        ])
    }

    private static func verdict(_ verdict: Verdict) -> JSONText {
        .object([
            ("kind", .string(verdict.kind.rawValue)), ("reason", .string(verdict.reason)),
            ("logEvidence", .number(verdict.logEvidence)),
            ("logLimit", .number(verdict.logLimit)),
            (
                "secondsToConclude",
                verdict.timeToConclude.map { .number(Double($0.nanoseconds) / 1e9) } ?? .null
            ),
        ])
    }

    // MARK: For people

    private static func status(_ view: RolloutView, _ process: some ProcessView) -> String {
        var out = "\(view.name): \(view.state)"
        if let stage = view.stageIndex { out += ", stage \(view.stages[stage].name)" }
        if view.isDryRun { out += " (dry run: no weight changes)" }
        out += "\n  \(view.service): \(view.canary) over \(view.stable)"
        out += view.revision.map { ", revision \($0)" } ?? ""
        out += view.id.map { ", rollout \($0)\n" } ?? "\n"
        // The reason of a rollout that is watched is the judge's, which stands below.
        if !view.reason.isEmpty, view.reason != view.verdict?.reason {
            out += "  \(view.reason)\n"
        }
        for note in view.notes { out += "  \(note)\n" }
        if !view.stages.isEmpty { out += "  " + stages(view) + "\n" }
        out += share(view)
        if let verdict = view.verdict {
            // A verdict that is not the judge's, such as a trip's, has no evidence.
            if verdict.logLimit > 0 {
                out += "  worse? " + bar(min(1, max(0, verdict.logEvidence) / verdict.logLimit))
                out += " log E \(PageText.decimals(max(0, verdict.logEvidence), 2)) of "
                out += "\(PageText.decimals(verdict.logLimit, 2))\n"
            }
            out += "  \(verdict.kind.rawValue): \(verdict.reason)\n"
        }
        out += table(view)
        out += metrics(view)
        if let unwritten = view.unwritten {
            out += "  STATE NOT WRITTEN: \(unwritten)\n"
        }
        for event in view.events.suffix(5) { out += "  " + line(event) + "\n" }
        return out
    }

    /// The canary's share in force, and the one that is wanted where it is another.
    private static func share(_ view: RolloutView) -> String {
        let inForce = Double(view.weightInForce) / 10_000
        let wanted = PageText.percent(Double(view.weightWanted) / 10_000)
        var out = "  share  \(bar(inForce)) \(PageText.percent(inForce))"
        if view.isDryRun {
            out += " in force; without --dry-run it would be \(wanted)"
        } else if let cause = view.weightCause {
            out += " in force, wanted \(wanted): \(cause)"
        } else if view.weightWanted != view.weightInForce {
            out += ", becoming \(wanted)"
        }
        return out + "\n"
    }

    private static func metrics(_ view: RolloutView) -> String {
        view.metrics.map { "  metric \($0.line)\n" }.joined()
    }

    private static func stages(_ view: RolloutView) -> String {
        view.stages.map { stage in
            let share = PageText.percent(Double(stage.weight) / 10_000)
            let text = "\(stage.name) \(share)" + (stage.needsApproval ? " (approval)" : "")
            switch stage.progress {
            case .done: return "✓ " + text
            case .passedOver: return text + " (passed over)"
            case .now: return "▶ " + text
            case .next: return text
            }
        }.joined(separator: "  ·  ")
    }

    private static func table(_ view: RolloutView) -> String {
        var versions = view.versions
        if var matched = view.matched {
            matched.version += " by rule"
            versions.append(matched)
        }
        guard !versions.isEmpty else { return "" }
        let unit = view.hasSessions ? "sessions" : "requests"
        var rows = [["version", unit, "errors", "rate", "between", "p50", "p95"]]
        for version in versions {
            let rate = Double(version.errors) / Double(max(1, version.units))
            rows.append([
                version.version, "\(version.units)", "\(version.errors)",
                version.units > 0 ? PageText.percent(rate) : "-",
                version.units > 0
                    ? PageText.percent(version.low) + " – " + PageText.percent(version.high)
                    : "-",
                PageText.time(version.latency, 0.5), PageText.time(version.latency, 0.95),
            ])
        }
        return PageText.table(rows)
    }

    private static func explain(_ view: RolloutView) -> String {
        guard let verdict = view.verdict else {
            return "\(view.name): \(view.state); the judge has not looked yet\n" + metrics(view)
        }
        let evidence = PageText.decimals(max(0, verdict.logEvidence), 4)
        let limit = PageText.decimals(verdict.logLimit, 4)
        var out = "\(view.name): \(verdict.kind.rawValue)\n  \(verdict.reason)\n"
        out += "  log E that \(view.canary) is worse: \(evidence); a rollback at \(limit) "
        out += "= ln(1 / falseRollbacks)\n"
        return out + table(view) + metrics(view)
    }

    private static func line(_ event: RolloutView.Event) -> String {
        time(event.at) + "  " + event.text
    }

    /// A time of day in UTC (RFC 3339).
    static func time(_ wall: WallTime) -> String {
        var out = ByteBuffer()
        HTTPDate.appendRFC3339(wall, to: &out)
        return ASCII.string(out.readable)
    }

    private static func bar(_ part: Double) -> String {
        let full = Int((part * 30).rounded())
        return String(repeating: "█", count: full) + String(repeating: "░", count: 30 - full)
    }
}
