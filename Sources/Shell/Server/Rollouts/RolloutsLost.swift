import Admin
import Base
import Configuration
import Files
import JSON
import Platform
import Rollout

/// A rollout that the overlay says to run, and that no journal knows: the journal was lost or
/// emptied, or is older than the overlay. The weights hold, nobody judges them, and a person ends
/// it.
struct LostRollout {
    var name: String
    var service: String
    var entry: Overlay.Entry
    /// The version that has its share from the rollout; `nil` where the overlay does not tell.
    var canary: String?

    /// The state and the way out, for the log, the status and refused commands.
    var text: String {
        "the overlay has weights of a rollout of \(name) (\(entry.text)), and no journal knows "
            + "that rollout: its journal was lost or emptied. The weights hold, and nobody judges "
            + "them; sluice rollout abort \(name) takes them back"
    }
}

extension ControlLoop {
    /// The rollout of a plan that the overlay alone knows; `nil`: there is none, or the journal has
    /// not been read.
    func lostRollout(_ driver: RolloutDriver) -> LostRollout? {
        guard case .open = driver.journal, !driver.isActive else { return nil }
        return overlayRollout(driver.name).flatMap {
            $0.entry.rollout?.isRunning == true ? $0 : nil
        }
    }

    /// The weights that a plan's rollout has put into the overlay.
    func overlayRollout(_ name: String) -> LostRollout? {
        let found = overlays.overlay.services.first { $0.value.rollout?.name == name }
        guard let (service, entry) = found else { return nil }
        let plan = file.document.rollouts?.plans.first { $0.name == name }
        let others = entry.shares.map(\.version).filter { $0 != entry.stable }
        let canary =
            [plan?.canary, entry.rules?.version, others.count == 1 ? others.first : nil]
            .compactMap { $0 }.first(where: others.contains)
        return LostRollout(name: name, service: service, entry: entry, canary: canary)
    }

    /// Says that the overlay has a rollout which no journal knows. One whose end the journal has,
    /// and the overlay not yet, ends here too.
    func settleLostRollout(_ driver: RolloutDriver) {
        guard let lost = lostRollout(driver) else { return }
        var text = lost.text
        if let state = driver.machine?.state, state.phase.goesBack, !state.run.isDryRun {
            text =
                "\(state.run.id) was \(state.phase.words), and the overlay did not have that yet: "
                + (takeBack(lost).map { "\($0) has weight 0" } ?? "the file's weights hold")
            log.warning(text, [("plan", driver.name)])
        } else {
            log.error(text, [("plan", driver.name)])
        }
        driver.note(text, at: SystemClock.wall())
    }

    /// Ends a rollout that no journal knows, because a person wants it.
    func takeBack(
        _ lost: LostRollout, _ driver: RolloutDriver, _ request: RolloutRequest
    ) -> AdminResponse {
        if let stable = lost.entry.stable, endpointCount(lost.service, stable) == 0,
            !request.isForced
        {
            return .error(
                409,
                "\(stable), which would take all users, has no endpoint in rotation; sluice "
                    + "rollout abort \(lost.name) --force does it all the same")
        }
        let text =
            "no journal knows the rollout of \(lost.name) that the overlay had; it has ended, and "
            + (takeBack(lost).map { "\($0) has weight 0" }
                ?? "the file's weights of \(lost.service) hold")
        log.warning(text, [("plan", lost.name), ("by", request.by ?? "a person")])
        driver.note(text, at: SystemClock.wall())
        return .json(.object([("result", .string("done")), ("text", .string(text))]))
    }

    /// Gives the share that a plan's rollout has put in force back to the stable version.
    /// - Returns: the version that has lost it; `nil` where the overlay has none.
    func takeBack(rolloutOf name: String) -> String? {
        overlayRollout(name).flatMap { takeBack($0) }
    }

    /// - Returns: the version that has weight 0 now; `nil`: none is known, and where the rollout
    ///   was running the file's weights hold.
    private func takeBack(_ lost: LostRollout) -> String? {
        var entry = lost.entry
        let wasRunning = entry.rollout?.isRunning == true
        entry.rollout = nil
        entry.rules = nil
        var next: Overlay.Entry? = entry
        var taken: String?
        if let canary = lost.canary,
            let c = entry.shares.firstIndex(where: { $0.version == canary }),
            let s = entry.shares.firstIndex(where: { $0.version == entry.stable })
        {
            entry.shares[s].weight += entry.shares[c].weight
            entry.shares[c].weight = 0
            next = entry
            taken = canary
        } else if wasRunning {
            next = nil
        }
        perform(
            overlays.goBack(
                .init([OverlayChange(service: lost.service, entry: next)], ask: nil),
                now: SystemClock.now()))
        return taken
    }
}
