import Base
import Routing
import YAML

/// Tells the acts of a reload on sockets, connections and counts from the fields that change.
enum ReloadEffects {
    static func of(_ changes: [FieldChange], _ old: Document, _ new: Document) -> [String] {
        var effects: [String] = []
        var said: Set<String> = []
        func say(_ text: String) { if said.insert(text).inserted { effects.append(text) } }
        listeners(changes, old, new, say)
        for change in changes {
            switch change.path.first {
            case "metrics"? where change.path.count > 1 && change.path[1] != "address": break
            case "workers"?, "metrics"?, "admin"?: say("\(change.path[0]) \(atStart)")
            case "defaults"? where change.path.dropFirst() == ["limits", "connections"]:
                say("defaults.limits.connections \(atStart)")
            case "services"? where change.path.count > 2: service(change, say)
            case "routes"? where change.path.count > 2: route(change, say)
            case "rollouts"? where change.path.count > 2 && change.path[1] == "plans":
                say(
                    "a rollout of the plan \(change.path[2]) that is under way follows the plan "
                        + "that it began with")
            default: break
            }
        }
        splits(old, new, say)
        return effects
    }

    private static let atStart = "takes effect at the next start, not at a reload"

    private static func listeners(
        _ changes: [FieldChange], _ old: Document, _ new: Document, _ say: (String) -> Void
    ) {
        for listener in new.listeners {
            let address = UnixPaths.text(listener.address)
            guard let was = old.listeners.first(where: { $0.name == listener.name }) else {
                if let before = old.listeners.first(where: { $0.address == listener.address }) {
                    say("the listener \(listener.name) takes the address of \(before.name)")
                } else {
                    say("the listener \(listener.name) opens \(address)")
                }
                continue
            }
            if was.address != listener.address, was.address.port == listener.address.port,
                was.address.family != .unix, listener.address.family != .unix,
                was.address.isUnspecified || listener.address.isUnspecified
            {
                say(
                    "the listener \(listener.name) goes from \(UnixPaths.text(was.address)) to "
                        + "\(address): a reload refuses to change how wide a socket on one port "
                        + "is; restart, or take another port")
            } else if was.address != listener.address {
                say(
                    "the listener \(listener.name) closes \(UnixPaths.text(was.address)) and opens "
                        + "\(address); connections that are open finish what they have")
            }
            if was.tls != listener.tls || was.protocol != listener.protocol {
                say(
                    "new connections of the listener \(listener.name) use its new settings; open "
                        + "ones keep those they began with")
            }
        }
        for listener in old.listeners
        where !new.listeners.contains(where: {
            $0.name == listener.name || $0.address == listener.address
        }) {
            say(
                "the listener \(listener.name) closes \(UnixPaths.text(listener.address)); its "
                    + "connections finish what they have")
        }
    }

    private static func service(_ change: FieldChange, _ say: (String) -> Void) {
        let service = change.path[1]
        switch change.path[2] {
        case "tls", "protocol":
            say("all connections to endpoints of \(service) are retired and made anew")
        case "versions" where change.path.count == 4 && change.kind == .removed:
            say("connections to endpoints of \(service)/\(change.path[3]) are retired")
        case "versions" where change.path.count > 4 && change.kind != .added:
            if ["endpoints", "dns"].contains(change.path[4]) {
                say("connections to endpoints that \(service)/\(change.path[3]) loses are retired")
            }
        default: break
        }
    }

    private static func route(_ change: FieldChange, _ say: (String) -> Void) {
        guard change.path[2] == "rateLimit", change.kind != .removed else { return }
        if change.path.count > 3, change.path[3] == "by" { return }
        say("the buckets of the rate limit of the route \(change.path[1]) are full again")
    }

    /// Splits whose weights change draw a new sequence.
    private static func splits(_ old: Document, _ new: Document, _ say: (String) -> Void) {
        func weights(_ document: Document, _ route: Document.Route) -> SplitWeights? {
            if case .forward(_, _?, _) = route.action { return nil }
            return document.weights(ofRoute: route)
        }
        var before: [String: SplitWeights] = [:]
        for route in old.routes { before[route.name] = weights(old, route) }
        for route in new.routes {
            guard let now = weights(new, route), let was = before[route.name], was != now else {
                continue
            }
            say("the draws of the route \(route.name) begin anew, exact from there")
        }
    }
}
