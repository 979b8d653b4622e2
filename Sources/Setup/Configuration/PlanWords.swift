import Base
import Rollout

/// The rules of the time zones that windows of plans name, by their names.
public struct PlanZones: Sendable {
    public var rules: [String: ZoneRules]

    public init(_ rules: [String: ZoneRules] = [:]) { self.rules = rules }
}

extension Document {
    /// The plans of a service in words, for people: a line for each plan, and behind it a line for
    /// each condition of its stages.
    ///
    /// - Parameters:
    ///   - now: the time at which windows are asked whether they are open.
    ///   - zones: windows whose zone is not among them are told without that.
    public func planLines(
        ofService index: Int, at now: WallTime, zones: PlanZones
    ) -> [String] {
        let service = services[index]
        return plans(ofService: service.name).flatMap { plan in
            let revision = service.versions.first { $0.name == plan.canary }?.revision
            return [PlanWords.head(plan, revision: revision)]
                + plan.stages.flatMap { PlanWords.conditions($0, now, zones) }
        }
    }
}

/// Plans in words.
enum PlanWords {
    /// `shop: v2 (revision 1.4.2) by 1 %, 5 %, 100 % (2 % held back); starts by hand`.
    static func head(_ plan: RolloutPlan, revision: String?) -> String {
        let shares = plan.stages.enumerated().compactMap { i, stage -> String? in
            guard let weight = stage.weight else { return nil }
            var text = percent(weight)
            if weight == 0, stage.match != nil { text = "a rule of its own" }
            if stage.holdBack > 0 { text += " (\(percent(stage.holdBack)) held back)" }
            return text
        }
        let start =
            plan.start == .manual
            ? "starts by hand" : "starts when the revision of \(plan.canary) changes"
        return "\(plan.name): \(plan.canary)" + (revision.map { " (revision \($0))" } ?? "")
            + " by " + shares.joined(separator: ", ") + "; " + start
    }

    private static func percent(_ hundredths: Int) -> String {
        Units.percent(hundredths).dropLast() + " %"
    }

    /// Conditions to enter a stage and to leave it, a line each.
    static func conditions(
        _ stage: RolloutPlan.Stage, _ now: WallTime, _ zones: PlanZones
    ) -> [String] {
        var lines: [String] = []
        if let match = stage.match {
            lines.append("from here on requests of \(match) go to the canary, and are not judged")
        }
        if let when = stage.when {
            let otherwise =
                switch stage.onFalse {
                case .hold: "held"
                case .skip: "skipped"
                case .rollback: "rolled back"
                }
            lines.append("entered only when \(when), \(otherwise) when not")
        }
        if !stage.windows.isEmpty {
            lines.append(
                "entered only " + stage.windows.joined(separator: ", or ")
                    + state(stage.windows, now, zones))
        }
        if let approval = stage.approval { lines.append(words(approval)) }
        if let watch = stage.watch { lines.append("watched for \(Units.text(watch))") }
        return lines.map { "  stage \(stage.name): \($0)" }
    }

    private static func words(_ approval: RolloutPlan.Approval) -> String {
        let who = approval.by.isEmpty ? "somebody" : approval.by.joined(separator: " or ")
        var text =
            (approval.isBefore ? "entered" : "left") + " only with the approval of \(who)"
            + (approval.notStarter ? " who has not started it" : "")
        if let timeout = approval.timeout {
            text +=
                ", " + (approval.onTimeout == .hold ? "held" : "rolled back")
                + " without it after \(Units.text(timeout))"
        }
        return text
    }

    /// `: open now`, or when a window opens next; empty where no zone is known.
    private static func state(_ texts: [String], _ now: WallTime, _ zones: PlanZones) -> String {
        var next: (time: WallTime, rules: ZoneRules, zone: String)?
        for text in texts {
            guard let window = try? TimeWindow(text),
                let rules = window.zone == "UTC" ? .utc : zones.rules[window.zone]
            else { return "" }
            if window.isOpen(at: now, in: rules) { return ": open now" }
            guard let opening = window.nextOpening(from: now, in: rules) else { continue }
            if opening.microseconds < next?.time.microseconds ?? .max {
                next = (opening, rules, window.zone)
            }
        }
        guard let next else { return ": never open" }
        return ": closed, opens \(TimeWindow.text(of: next.time, in: next.rules)) \(next.zone)"
    }
}
