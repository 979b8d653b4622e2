import Admin
import Configuration
import Files
import Rollout

extension ControlLoop {
    /// Each plan and its rollout, for the admin pages.
    var rolloutViews: [RolloutView] {
        let plans = file.document.rollouts?.plans ?? []
        let gone = rollouts.keys.filter { name in !plans.contains { $0.name == name } }.sorted()
        return (plans.map(\.name) + gone).compactMap { name in
            guard let driver = rollouts[name] else { return nil }
            let plan = plans.first { $0.name == name }
            let service = file.document.services.first { $0.name == plan?.service }
            var view = driver.view(
                plan, stable: service.map { $0.versions[$0.stable].name } ?? "")
            if let plan { view.forecast = forecast(plan, driver, stable: view.stable) }
            return view
        }
    }

    /// How long each stage of a plan would take at the traffic of now, in lines for people.
    private func forecast(
        _ plan: RolloutPlan, _ driver: RolloutDriver, stable: String
    ) -> [String] {
        let sample = sample(plan.service, plan.canary, plan.routes)
        var lines = ["\(plan.name): \(plan.canary) over \(stable), at the traffic of now"]
        for i in plan.stages.indices {
            let row = driver.judge.forecast(StageTerms(plan, stage: i), sample)
            lines.append("  " + RolloutWords.line(row))
        }
        return lines
    }
}
