import Base
import Configuration
import Rollout
import Telemetry

extension MetricsPage {
    /// States of a rollout as `sluice_rollout_state` names them: those of the machine, and those of
    /// a process that has none.
    static let rolloutStates =
        ["not started", "standby", RolloutView.unread] + RolloutPhase.allCases.map(\.words)

    /// Rollouts of the file's plans; nothing where it has none.
    static func rollouts(_ process: some ProcessView, _ page: inout PrometheusText) {
        let rows = process.rollouts().map { ($0, labels($0)) }
        if rows.isEmpty { return }
        func family(_ name: String, _ kind: MetricCatalog.Kind, _ help: String) {
            page.family(MetricCatalog.Family(name: name, kind: kind, help: help))
        }
        family("sluice_rollout_state", .gauge, "1 for the state that the rollout is in, else 0.")
        for (view, labels) in rows {
            for state in rolloutStates {
                page.sample(labels + [("state", state)], state == view.state ? 1 : 0)
            }
        }
        family(
            "sluice_rollout_weight", .gauge,
            "The canary's share that is in force in this process, 0 to 1, whoever set it.")
        for (view, labels) in rows {
            page.sample(labels, number: Double(view.weightInForce) / 10_000)
        }
        family(
            "sluice_rollout_evidence", .gauge,
            "Logarithm of the evidence E that the canary is worse than tolerated.")
        for (view, labels) in rows where view.verdict != nil {
            page.sample(labels, number: max(0, view.verdict?.logEvidence ?? 0))
        }
        family(
            "sluice_rollout_evidence_limit", .gauge,
            "The evidence at which the rollout goes back, as a logarithm.")
        for (view, labels) in rows where view.verdict != nil {
            page.sample(labels, number: view.verdict?.logLimit ?? 0)
        }
        family(
            "sluice_rollout_verdicts_total", .counter, "Looks of the judge, by their verdict.")
        for (view, labels) in rows {
            for kind in Verdict.Kind.allCases {
                page.sample(
                    labels + [("verdict", kind.rawValue)], view.verdictCounts[kind] ?? 0)
            }
        }
    }

    /// The plan's name, service and canary; then the plan's own labels as `label_NAME`, in which
    /// all but letters, digits and _ is _.
    private static func labels(_ view: RolloutView) -> [(String, String)] {
        var labels = [
            ("rollout", view.name), ("service", view.service), ("version", view.canary),
        ]
        for label in view.labels {
            let name =
                "label_"
                + String(
                    label.name.unicodeScalars.map { scalar -> Character in
                        let isPlain =
                            scalar.isASCII
                            && (ASCII.isAlpha(UInt8(scalar.value))
                                || ASCII.isDigit(UInt8(scalar.value)))
                        return isPlain ? Character(scalar) : "_"
                    })
            if !labels.contains(where: { $0.0 == name }) { labels.append((name, label.value)) }
        }
        return labels
    }
}
