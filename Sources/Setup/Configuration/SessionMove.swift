import Routing

/// Users whom a configuration takes from their version although the weights do not ask for it: by
/// the order of the versions in the file, by another stable version, or by another salt.
public struct SessionMove: Sendable, Equatable {
    /// The first route that shows the move.
    public var route: String
    /// The share of all users, such as `10.00 %`.
    public var share: String
    public var cause: String

    /// Finds such moves, one for each cause. Routes whose sessions begin or end are left out.
    public static func all(from old: Document, to new: Document) -> [SessionMove] {
        var before: [String: ConfigurationDiff.Aim] = [:]
        for (route, aim) in ConfigurationDiff.aims(old) { before[route] = aim }
        var moves: [SessionMove] = []
        var seen: Set<String> = []
        for (route, aim) in ConfigurationDiff.aims(new) {
            guard let now = aim, let was = before[route], was.hasSessions, now.hasSessions,
                isAlike(was, now), let move = move(route, was, now),
                seen.insert("\(now.config.name) \(move.share) \(move.cause)").inserted
            else { continue }
            moves.append(move)
        }
        return moves
    }

    /// Whether the route leads to the same service, or to the same by another name.
    private static func isAlike(
        _ was: ConfigurationDiff.Aim, _ now: ConfigurationDiff.Aim
    ) -> Bool {
        was.config.name == now.config.name
            || !now.document.services.contains { $0.name == was.config.name }
    }

    private static func move(
        _ route: String, _ was: ConfigurationDiff.Aim, _ now: ConfigurationDiff.Aim
    ) -> SessionMove? {
        var now = now
        // By another name the versions are still the same ones.
        now.document.services[now.service].name = was.config.name
        let moved = ConfigurationDiff.sessionsMoved(was, now)
        guard moved - leastMove(was, now) > 0.000_1 else { return nil }
        return SessionMove(
            route: route, share: ConfigurationDiff.percent(moved), cause: cause(was, now))
    }

    /// The share of users that any scheme must move for these weights.
    private static func leastMove(
        _ was: ConfigurationDiff.Aim, _ now: ConfigurationDiff.Aim
    ) -> Double {
        var least = 0.0
        for (i, version) in was.config.versions.enumerated() {
            let j = now.config.versions.firstIndex { $0.name == version.name }
            let after = j.map { Double(now.weights.weights[$0]) / Double(now.weights.sum) } ?? 0
            least += max(0, Double(was.weights.weights[i]) / Double(was.weights.sum) - after)
        }
        return least
    }

    private static func cause(
        _ was: ConfigurationDiff.Aim, _ now: ConfigurationDiff.Aim
    ) -> String {
        if let words = ConfigurationDiff.identity(was, now) { return words }
        let stable = (
            was: was.config.versions[was.config.stable].name,
            now: now.config.versions[now.config.stable].name
        )
        if stable.was != stable.now { return "stable is \(stable.now), and was \(stable.was)" }
        for (place, name) in others(now).enumerated() {
            guard let before = others(was).firstIndex(of: name), before != place,
                hasWeight(name, was), hasWeight(name, now)
            else { continue }
            return "\(name) is number \(place + 1) of the versions beside the stable one, and was "
                + "number \(before + 1): keep their order in the file, and a version of weight 0 "
                + "as long as one behind it has weight"
        }
        return "three or more versions beside the stable one have weight: they stand one behind "
            + "the other, and a change of one moves the next"
    }

    private static func others(_ aim: ConfigurationDiff.Aim) -> [String] {
        aim.config.versions.indices.filter { $0 != aim.config.stable }
            .map { aim.config.versions[$0].name }
    }

    private static func hasWeight(_ name: String, _ aim: ConfigurationDiff.Aim) -> Bool {
        zip(aim.config.versions, aim.weights.weights).contains { $0.name == name && $1 > 0 }
    }
}
