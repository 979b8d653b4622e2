import Routing

/// Rules of a rollout's stages as they are in force over a service: a request that would have been
/// split by the service's weights, and that matches one of them, goes to a version outright.
///
/// The document keeps its routes as the file has them. `SnapshotCompiler` puts a copy in front of
/// each route that splits, which takes what both the route and a rule match: so a rule takes
/// nothing from a route that stands before, from one that names its version, or from another
/// service.
public struct StageRules: Sendable, Equatable {
    /// The name of the rollout's plan.
    public var rollout: String
    /// Into the service's versions.
    public var version: Int
    /// A request that matches one of them goes to the version.
    public var rules: [MatchRule]
    /// Why texts among the rules are of no force over this file, such as one that names a listener
    /// which is gone; in words.
    public var problems: [String]
}

extension Document {
    /// The rules of an entry over a service; `nil` where the entry has none.
    func stageRules(_ entry: Overlay.Entry, _ service: Service) -> StageRules? {
        guard let rules = entry.rules, let rollout = entry.rollout,
            let version = service.versions.firstIndex(where: { $0.name == rules.version })
        else { return nil }
        var found = StageRules(
            rollout: rollout.name, version: version, rules: [], problems: [])
        for text in rules.matches {
            switch StageMatch.rules(text, self) {
            case .success(let read): found.rules += read
            case .failure(let failure): found.problems.append("\(text): \(failure.message)")
            }
        }
        return found
    }
}
