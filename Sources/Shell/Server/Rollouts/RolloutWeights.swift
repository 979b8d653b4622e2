import Configuration
import Rollout
import Routing

/// The overlay that a rollout's order of weights is.
enum RolloutWeights {
    /// The entry that gives a service the order's shares.
    ///
    /// Versions besides the two keep their part of the weights; the stable version has the
    /// rest. The shares are whole numbers, so that 1 % is 1 % and nothing is rounded. Rules of the
    /// order's stages stand beside the shares.
    ///
    /// - Parameters:
    ///   - service: as it is in force.
    ///   - isRunning: the rollout goes on behind this order.
    static func entry(
        _ order: WeightsOrder, _ run: RolloutRun, _ service: Document.Service, isRunning: Bool,
        fingerprint: String
    ) -> Overlay.Entry {
        let sum = service.versions.reduce(0) { $0 + $1.weight }
        let names = [run.stable, run.plan.canary]
        let others = service.versions.filter { !names.contains($0.name) && $0.weight > 0 }
        let kept = others.reduce(0) { $0 + $1.weight }
        // In units of a ten-thousandth of the sum.
        let both = max(1, sum - kept) * 10_000
        let canary = min(both, order.share * max(1, sum))
        var shares = [
            Overlay.Share(run.stable, both - canary), Overlay.Share(run.plan.canary, canary),
        ]
        shares += others.map { Overlay.Share($0.name, $0.weight * 10_000) }
        if let reduced = SplitWeights(shares.map(\.weight)) {
            for (i, weight) in reduced.weights.enumerated() { shares[i].weight = weight }
        }
        let rules =
            order.rules.isEmpty
            ? nil : Overlay.Rules(version: run.plan.canary, matches: order.rules)
        let rollout = Overlay.Rollout(
            name: run.plan.name, epoch: order.epoch, isRunning: isRunning)
        return Overlay.Entry(
            shares: shares, stable: order.movesStable ? run.plan.canary : run.stable,
            rollout: rollout, rules: rules, fingerprint: fingerprint)
    }

    /// The words of `sluice weights set` by which everybody is as before the rollout, where the
    /// service has more versions with a share than the two: what is not named there gets nothing.
    /// - Returns: `nil` without such versions.
    static func sharesBack(_ run: RolloutRun, _ service: Document.Service) -> String? {
        let names = [run.stable, run.plan.canary]
        let others = service.versions.filter { !names.contains($0.name) && $0.weight > 0 }
        guard !others.isEmpty else { return nil }
        let sum = service.versions.reduce(0) { $0 + $1.weight }
        let own = sum - others.reduce(0) { $0 + $1.weight }
        let shares =
            [(run.stable, own), (run.plan.canary, 0)] + others.map { ($0.name, $0.weight) }
        // Percents have two decimals; whole numbers say everything.
        let arePercents = shares.allSatisfy { $0.1 * 10_000 % sum == 0 }
        return shares.map { name, weight in
            "\(name)=" + (arePercents ? Units.percent(weight * 10_000 / sum) : "\(weight)")
        }.joined(separator: " ")
    }
}
