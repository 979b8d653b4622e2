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
        page.family(MetricCatalog.rolloutState)
        for (view, labels) in rows {
            for state in rolloutStates {
                page.sample(labels + [("state", state)], state == view.state ? 1 : 0)
            }
        }
        page.family(MetricCatalog.rolloutWeight)
        for (view, labels) in rows {
            page.sample(labels, number: Double(view.weightInForce) / 10_000)
        }
        page.family(MetricCatalog.rolloutEvidence)
        for (view, labels) in rows where view.verdict != nil {
            page.sample(labels, number: max(0, view.verdict?.logEvidence ?? 0))
        }
        page.family(MetricCatalog.rolloutEvidenceLimit)
        for (view, labels) in rows where view.verdict != nil {
            page.sample(labels, number: view.verdict?.logLimit ?? 0)
        }
        page.family(MetricCatalog.rolloutVerdicts)
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
