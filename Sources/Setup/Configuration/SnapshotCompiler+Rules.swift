import Base
import Evidence
import Routing

/// Rules of stages: routes in front of those that split.
extension SnapshotCompiler {
    /// All routes' matches in the order in which they are tried, each by its route's number. In
    /// front of a route that splits stands a copy of it for each service with rules, which takes
    /// what both match and names the version outright. Copies have the numbers behind all others.
    ///
    /// - Parameter matches: of each listed and implicit route, in their order.
    /// - Returns: besides the matches, the routes that copies are of, by their numbers.
    mutating func withRules(
        _ matches: [[MatchRule]]
    ) -> (numbered: [(route: Int, matches: [MatchRule])], originals: [Int]) {
        var numbered: [(route: Int, matches: [MatchRule])] = []
        var originals: [Int] = []
        for (number, own) in matches.enumerated() {
            if let both = ruled(number, own), !both.isEmpty,
                let rules = document.services[routes[number].service].stageRules
            {
                var copy = routes[number]
                copy.pinned = rules.version
                copy.split = -1
                // Decided on the way of what is rare, where its evidence is told apart.
                copy.isSpecial = true
                numbered.append((routes.count, both))
                originals.append(number)
                routes.append(copy)
            }
            numbered.append((number, own))
        }
        return (numbered, originals)
    }

    /// Matches that both a route and a rule of its service ask for; `nil` for a route without
    /// rules.
    private func ruled(_ number: Int, _ own: [MatchRule]) -> [MatchRule]? {
        let plan = routes[number]
        guard plan.kind == .forward, plan.pinned < 0, plan.service >= 0,
            let rules = document.services[plan.service].stageRules
        else { return nil }
        let all = own.isEmpty ? [MatchRule()] : own
        return all.flatMap { match in rules.rules.compactMap { match.and($0) } }
    }

    /// The evidence of each service's requests that go by rules, each with a reference.
    func matchedPlans() -> [SnapshotPlans.MatchedPlan] {
        document.services.map { service in
            SnapshotPlans.MatchedPlan(
                evidence: service.stageRules == nil ? nil : registry.matched(service))
        }
    }
}

extension Snapshot {
    /// The route that a route with a stage's rule is a copy of; `nil` for any other route.
    public func original(ofRuleRoute route: Int) -> Int? {
        let place = route - plans.value.firstRuleRoute
        guard place >= 0, place < plans.value.ruleOriginals.count else { return nil }
        return plans.value.ruleOriginals[place]
    }

    /// Where requests are counted that a stage's rule took; `nil` for a route without one.
    public func matchedEvidence(ofRoute route: Int) -> SharedBox<EpochEvidence>? {
        guard original(ofRuleRoute: route) != nil else { return nil }
        return plans.value.matched[plans.value.routes[route].service].evidence
    }
}
