import Admin
import Configuration
import Files
import Rollout

/// The shares of canaries that are in force in this process, beside those that rollouts want.
extension ControlLoop {
    /// Gives a view of a plan the canary's share that is in force, whoever put it there; and, where
    /// that is not the one that the rollout wants, the reason.
    func stateShare(_ view: inout RolloutView, _ driver: RolloutDriver) {
        guard
            let index = file.document.services.firstIndex(where: { $0.name == view.service })
        else { return }
        let isOut = versionsOut(of: view.service).contains(view.canary)
        let inForce =
            isOut ? 0 : ControlLoop.share(of: view.canary, file.document.services[index])
        view.weightInForce = inForce
        guard let status = driver.machine?.status, status.run.plan.canary == view.canary else {
            view.weightWanted = inForce
            return
        }
        view.weightWanted = status.shareWanted
        // A hundredth of a percent is the rounding of weights.
        if status.run.isDryRun || abs(inForce - status.shareWanted) <= 1 { return }
        let cause =
            isOut ? "the guard has taken \(view.canary) out" : author(index, view.name)
        if status.phase.hasEnded {
            // It wants nothing any more.
            view.weightWanted = inForce
            view.notes.append(
                "the rollout ended with "
                    + "\(Overlay.percent(Double(status.shareWanted) / 10_000)) for \(view.canary), "
                    + "and \(Overlay.percent(Double(inForce) / 10_000)) are in force: \(cause)")
        } else if driver.machine?.isApplied == true {
            view.weightCause = cause
        }
    }

    /// Who says the weights of a service, where they are not the ones that a plan's rollout wants.
    private func author(_ index: Int, _ plan: String) -> String {
        guard let entry = file.sources[index].entry else { return "the file's weights hold" }
        guard let rollout = entry.rollout else { return "set by hand" }
        if rollout.name != plan { return "the rollout of \(rollout.name) has set it" }
        let names = [entry.stable] + [rollouts[plan]?.machine?.state.run.plan.canary]
        let hasOthers = entry.shares.contains { $0.weight > 0 && !names.contains($0.version) }
        return hasOthers ? "other versions keep their part" : "the overlay has it so"
    }

    /// A version's share of a service's requests, in hundredths of a percent.
    static func share(of version: String, _ service: Document.Service) -> Int {
        let sum = service.versions.reduce(0) { $0 + $1.weight }
        let weight = service.versions.first { $0.name == version }?.weight ?? 0
        return sum > 0 ? (weight * 10_000 + sum / 2) / sum : 0
    }

    /// The file's weights of a service are in force, as a person wanted: a rollout that stood still
    /// because they had changed may go on.
    func settleDrift(_ service: String) {
        guard let driver = activeRollout(of: service), driver.isDrifting,
            overlays.overlay.services[service] == nil, let print = fingerprint(of: service)
        else { return }
        driver.fingerprint = print
        tell(driver, .driftEnded)
    }
}

extension RolloutDriver {
    /// Whether the rollout stands still because the file's own weights changed.
    var isDrifting: Bool {
        machine.map { $0.state.phase == .paused && $0.state.drift != nil } ?? false
    }
}
