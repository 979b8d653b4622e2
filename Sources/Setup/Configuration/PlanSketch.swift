import Base
import Rollout

/// The shortest plan of a service, as lines for a file, with what holds without being written.
public enum PlanSketch {
    /// Why there is no plan to be written; the text says what to do.
    public struct Failure: Error, Sendable { public var text: String }

    /// - Parameter canary: the version that is to grow; `nil`: the last one that is not stable,
    ///   without weight where there is such a one.
    public static func text(
        _ document: Document, service name: String, canary: String?
    ) -> Result<String, Failure> {
        guard let service = document.services.first(where: { $0.name == name }) else {
            let names = document.services.map(\.name)
            let meant = DidYouMean.closest(to: name, among: names)
            return .failure(
                Failure(
                    text: "there is no service named \"\(name)\"; "
                        + (meant.map { "did you mean \"\($0)\"?" }
                            ?? "services: " + names.joined(separator: ", "))))
        }
        let stable = service.versions[service.stable].name
        let others = service.versions.filter { $0.name != stable }
        let chosen: Document.Version
        switch canary {
        case nil:
            guard let last = others.last(where: { $0.weight == 0 }) ?? others.last else {
                return .failure(
                    Failure(
                        text: "the service \"\(name)\" has one version; add the new one: v2: "
                            + "{ weight: 0, endpoints: [\"127.0.0.1:9082\"] }"))
            }
            chosen = last
        case let canary?:
            guard let found = others.first(where: { $0.name == canary }) else {
                let why =
                    canary == stable
                    ? "is the stable version of \"\(name)\"" : "is no version of \"\(name)\""
                return .failure(
                    Failure(
                        text: "\"\(canary)\" \(why); versions that may grow: "
                            + others.map(\.name).joined(separator: ", ")))
            }
            chosen = found
        }
        return .success(lines(document, service, chosen, stable).joined(separator: "\n") + "\n")
    }

    private static func lines(
        _ document: Document, _ service: Document.Service, _ canary: Document.Version,
        _ stable: String
    ) -> [String] {
        let plans = document.rollouts?.plans ?? []
        var lines: [String] = []
        /// Notes stand in one column.
        func say(_ text: String, _ note: String = "") {
            let gap = String(repeating: " ", count: max(1, 35 - text.count))
            lines.append(note.isEmpty ? text : text + gap + "# " + note)
        }
        let isOverTCP = document.admin.contains { $0.family != .unix }
        if isOverTCP, document.adminTokenPath == nil, document.adminTokens.isEmpty {
            say("# The admin address is TCP and has no token: sluice rollout start is refused.")
            say("# Write admin: unix:/run/sluice.sock, or admin: { address: …, token: FILE }.")
        }
        say("# A plan for \"\(service.name)\": \(canary.name) grows, \(stable) gives.")
        if canary.weight > 0 {
            say("# \(canary.name) has a weight in the file already: give it 0, so that the plan")
            say("# alone gives it its share.")
        }
        switch document.rollouts {
        case nil:
            say("# Put these lines into the configuration file.")
            say("rollouts:")
            say("  directory: /var/lib/sluice", "Sluice's own, of mode 0700")
            say("  plans:")
        case _? where plans.isEmpty:
            say("# Put these lines under rollouts: of the configuration file.")
            say("  plans:")
        default: say("# Put these lines behind the other plans of the configuration file.")
        }
        say("    - service: \(service.name)")
        say("      canary: \(canary.name)")
        if plans.contains(where: { $0.name == service.name }) {
            var number = 2
            while plans.contains(where: { $0.name == "\(service.name)-\(number)" }) { number += 1 }
            say("      name: \(service.name)-\(number)", "another plan has the service's name")
        }
        say("      # All that follows holds without being written: change it, or take it out.")
        say("      stages:", "each is judged beside \(stable) before the next")
        for stage in RolloutPlan.defaultStages {
            let weight = Units.percent(stage.weight ?? 0)
            guard stage.holdBack > 0, let watch = stage.watch else {
                say("        - weight: \(weight)")
                continue
            }
            say("        - weight: \(weight)")
            say(
                "          holdBack: \(Units.percent(stage.holdBack))",
                "stays with \(stable), to compare with")
            say("          watch: \(Units.text(watch))", "then all go to \(canary.name)")
        }
        say("      judge:")
        say("        falseRollbacks: 1%", "the chance that a version that is no worse goes back")
        say("        minRequests: 100", "fewer say nothing")
        say("      guard: on", "takes \(canary.name) out at once when it alone has the errors")
        say("      start: manual", "or onRevision: when revision: of \(canary.name) changes")
        return lines
    }
}
