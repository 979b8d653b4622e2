import Base
import Routing

/// What a new configuration changes: routes, and the share of sessions that moves to another
/// version.
public struct ConfigurationDiff: Sendable {
    public struct Line: Sendable {
        public var route: String
        /// added, removed, changed or unchanged.
        public var kind: String
        public var details: [String]
        /// Share of sessions whose version changes, 0...1; `nil` without a split on both sides.
        public var moved: Double?
    }

    public let lines: [Line]

    public init(from old: Document, to new: Document) {
        var lines: [Line] = []
        let before = ConfigurationDiff.splits(old), after = ConfigurationDiff.splits(new)
        for entry in after {
            guard let was = before.first(where: { $0.route == entry.route }) else {
                lines.append(
                    Line(route: entry.route, kind: "added", details: [entry.summary], moved: nil))
                continue
            }
            lines.append(ConfigurationDiff.compare(was, entry))
        }
        for entry in before where !after.contains(where: { $0.route == entry.route }) {
            lines.append(
                Line(route: entry.route, kind: "removed", details: [entry.summary], moved: nil))
        }
        self.lines = lines
    }

    private struct Entry {
        var route: String
        var position: Int
        var action: String
        var matches: String
        var service: Document.Service?
        var weights: SplitWeights?

        var summary: String {
            guard let service, let weights else { return action }
            return action + " " + ConfigurationDiff.text(weights, service)
        }
    }

    private static func splits(_ document: Document) -> [Entry] {
        var entries: [Entry] = []
        for (i, route) in document.routes.enumerated() {
            var entry = Entry(
                route: route.name, position: i, action: "", matches: "\(route.matches)",
                service: nil, weights: nil)
            switch route.action {
            case .forward(let index, let version, _):
                let service = document.services[index]
                entry.action =
                    service.name + (version.map { "/" + service.versions[$0].name } ?? "")
                entry.service = service
                if version == nil { entry.weights = document.weights(ofRoute: route) }
            case .redirect(let redirect): entry.action = "redirect \(redirect)"
            case .respond(let status, let body, _): entry.action = "respond \(status) \(body)"
            }
            entries.append(entry)
        }
        for service in document.services where !service.hosts.isEmpty {
            entries.append(
                Entry(
                    route: SnapshotCompiler.implicitName(service.name), position: -1,
                    action: service.name, matches: "\(service.hosts)", service: service,
                    weights: SplitWeights(service.versions.map(\.weight))))
        }
        return entries
    }

    static func text(_ weights: SplitWeights, _ service: Document.Service) -> String {
        zip(service.versions, weights.weights).map { version, weight in
            let hundredths = (weight * 1_000_000 / weights.sum + 50) / 100
            let rest = hundredths % 100
            let decimals = rest == 0 ? "" : ".\(rest / 10)\(rest % 10)"
            return "\(version.name) \(hundredths / 100)\(decimals) %"
        }.joined(separator: ", ")
    }

    private static func compare(_ was: Entry, _ now: Entry) -> Line {
        var details: [String] = []
        if was.action != now.action { details.append("to: \(was.action) → \(now.action)") }
        if was.matches != now.matches { details.append("its match changes") }
        if was.position != now.position {
            details.append("its place changes: \(was.position + 1) → \(now.position + 1)")
        }
        var moved: Double?
        if let a = was.service, let b = now.service, let x = was.weights, let y = now.weights {
            if x != y || a.versions.map(\.name) != b.versions.map(\.name) {
                details.append("split: \(text(x, a)) → \(text(y, b))")
            }
            moved = share(a, x, b, y)
            if let sticky = a.sticky, let next = b.sticky, sticky.salt != next.salt {
                details.append("salt: \(sticky.salt) → \(next.salt)")
            }
        }
        let kind = details.isEmpty ? "unchanged" : "changed"
        return Line(route: now.route, kind: kind, details: details, moved: moved)
    }

    private static func share(
        _ a: Document.Service, _ x: SplitWeights, _ b: Document.Service, _ y: SplitWeights
    ) -> Double {
        let before = SessionIntervals(weights: x, stable: a.stable)
        let after = SessionIntervals(weights: y, stable: b.stable)
        if a.sticky?.salt == b.sticky?.salt {
            return before.moved(
                to: after, name: { a.versions[$0].name }, nextName: { b.versions[$0].name })
        }
        // Another salt shuffles everybody: a session stays only by chance.
        var stays = 0.0
        for (i, version) in a.versions.enumerated() {
            guard let j = b.versions.firstIndex(where: { $0.name == version.name }) else {
                continue
            }
            stays += before.share(of: i) * after.share(of: j)
        }
        return 1 - stays
    }

    private static func percent(_ share: Double) -> String {
        let hundredths = Int((share * 10_000).rounded())
        return "\(hundredths / 100).\(hundredths % 100 / 10)\(hundredths % 10) %"
    }

    public var text: String {
        let shown = lines.filter { $0.kind != "unchanged" }
        if shown.isEmpty { return "no route changes\n" }
        return shown.map { line in
            var text = "\(line.kind)  \(line.route)\n"
            for detail in line.details { text += "    \(detail)\n" }
            if let moved = line.moved {
                text += "    sessions that move: \(ConfigurationDiff.percent(moved))\n"
            }
            return text
        }.joined()
    }

    public var json: JSONText {
        .array(
            lines.map { line in
                .object([
                    ("route", .string(line.route)), ("kind", .string(line.kind)),
                    ("details", .array(line.details.map { .string($0) })),
                    ("sessionsMoved", line.moved.map { .number($0) } ?? .null),
                ])
            })
    }
}
