import Routing

/// A change of one service's weights between two documents that differ in nothing else.
public struct WeightChange: Sendable, Equatable {
    /// Versions that some split, or a stage's rule, gives more than before, by their place in the
    /// service.
    public let gaining: [Int]
    /// Whether no version but the stable one gains: less risk than before, whatever happens.
    public let goesBack: Bool

    public init(from old: Document, to new: Document, service index: Int) {
        let stable = old.services[index].stable
        var gaining: Set<Int> = []
        func compare(_ before: [Int], _ after: [Int]) {
            guard let a = SplitWeights(before), let b = SplitWeights(after) else { return }
            for v in a.weights.indices where v < b.weights.count {
                // Shares are compared as fractions, without rounding.
                if b.weights[v] * a.sum > a.weights[v] * b.sum { gaining.insert(v) }
            }
        }
        let own = old.services[index].versions.map(\.weight)
        let next = new.services[index].versions.map(\.weight)
        compare(own, next)
        for (route, other) in zip(old.routes, new.routes) {
            guard case .forward(index, nil, let split) = route.action,
                case .forward(index, nil, let nextSplit) = other.action,
                split != nil || nextSplit != nil
            else { continue }
            compare(split ?? own, nextSplit ?? next)
        }
        // A rule that is new gives its version requests besides all shares.
        if let rules = new.services[index].stageRules {
            let before = old.services[index].stageRules
            let isKnown =
                before?.version == rules.version
                && rules.rules.allSatisfy { before?.rules.contains($0) ?? false }
            if !isKnown { gaining.insert(rules.version) }
        }
        self.gaining = gaining.sorted()
        goesBack =
            gaining.subtracting([stable]).isEmpty
            && new.services[index].stable == stable
    }
}

extension OverlayMerge.Obstacle {
    /// Words for the log and the pages.
    public var text: String {
        switch self {
        case .moves(let part): "they would move \(Overlay.percent(part)) of the users"
        case .noEndpoints(let version): "\(version) would get users and has no endpoints"
        case .rolloutRuns(let name): "the rollout \(name) runs, and has the weights until its end"
        }
    }
}

extension OverlayMerge.Dropping {
    /// Words for the log.
    public var text: String {
        switch self {
        case .serviceIsGone: "the file does not have the service any more"
        case .versionIsGone(let version): "the file does not have its version \(version) any more"
        case .retired: "the file says the same by now"
        case .fileWins(let moved):
            "the file's weights hold, which move \(Overlay.percent(moved)) of the users"
        }
    }
}
