import Admin
import Configuration
import Files
import Rollout

extension ControlLoop {
    /// Each plan and its rollout, for the admin pages.
    ///
    /// - Parameter withForecast: with the expected course of each stage, which takes longest.
    func rolloutViews(withForecast: Bool) -> [RolloutView] {
        let plans = file.document.rollouts?.plans ?? []
        let gone = rollouts.keys.filter { name in !plans.contains { $0.name == name } }.sorted()
        return (plans.map(\.name) + gone).compactMap { name in
            guard let driver = rollouts[name] else { return nil }
            let plan = plans.first { $0.name == name }
            let service = file.document.services.first { $0.name == plan?.service }
            let stable = service.map { $0.versions[$0.stable].name } ?? ""
            var view = driver.view(plan, stable: stable)
            stateShare(&view, driver)
            notice(&view, driver)
            if withForecast, let plan {
                // An ended rollout names the stable version that it began over.
                view.forecast = forecast(
                    plan, driver, stable: driver.isActive ? view.stable : stable)
            }
            return view
        }
    }

    /// Adds to the machine's own state whatever the overlay tells.
    private func notice(_ view: inout RolloutView, _ driver: RolloutDriver) {
        if let lost = lostRollout(driver) {
            view.state = "paused"
            view.reason = lost.text
            view.service = lost.service
            view.canary = lost.canary ?? view.canary
            return
        }
        guard let entry = overlays.overlay.services[view.service], let rollout = entry.rollout,
            rollout.name == view.name
        else { return }
        if view.state == RolloutView.unread, rollout.isRunning {
            view.state = "paused"
            view.reason =
                "the journal cannot be read, and the overlay's weights hold: \(entry.text); sluice "
                + "rollout abort \(view.name) --discard-journal takes them back"
        }
        if view.state == "succeeded", !view.isDryRun {
            view.notes.append(
                "promoted, file not yet updated: sluice weights export \(view.service) prints "
                    + "the lines to commit")
        }
    }

    /// How long each stage of a plan would take at the traffic of now, in lines for people.
    private func forecast(
        _ plan: RolloutPlan, _ driver: RolloutDriver, stable: String
    ) -> [String] {
        guard plan.canary != stable else {
            return [
                "\(plan.name): \(stable) is the stable version already; name the next version in "
                    + "canary:"
            ]
        }
        let sample = sample(plan.service, plan.canary, plan.routes)
        var lines = ["\(plan.name): \(plan.canary) over \(stable), at the traffic of now"]
        for i in plan.stages.indices {
            let row = driver.judge.forecast(StageTerms(plan, stage: i), sample)
            lines.append("  " + RolloutWords.line(row))
        }
        return lines
    }
}
