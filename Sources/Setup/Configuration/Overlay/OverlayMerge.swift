import Base
import Rollout
import Routing

/// A configuration file's document under an overlay: the document to be in force, and where each
/// service's weights come from. A pure function of the two, so that a restart decides as a reload
/// does.
///
/// An entry of the overlay meets the service's section as it is in the file now:
///
///     section as it was (fingerprint) ────────────────────────────▶ the entry holds
///     changed ─┬─ a version of the entry is gone ─────────────────▶ the file holds, entry dropped
///              ├─ the entry's rollout runs ───────────────────────▶ the entry holds: drift
///              ├─ says what the entry says ───────────────────────▶ the file holds, entry retired
///              ├─ would move at most 1 % of the users ────────────▶ the file holds, entry dropped
///              └─ would move more, or onto a version without
///                 endpoints ─────────────────────────────────────▶ the entry holds: drift, until
///                                                                   `sluice weights follow`
public struct OverlayMerge: Sendable {
    /// Why a section that changed under its entry is not applied.
    public enum Obstacle: Sendable, Equatable {
        /// The file's weights would move this part of the users, 0...1.
        case moves(Double)
        /// The file gives a share to a version that has no endpoints.
        case noEndpoints(version: String)
        /// A rollout of this name runs, and has the weights until its end.
        case rolloutRuns(name: String)
    }

    /// Where the weights of a service come from.
    public enum Source: Sendable, Equatable {
        case file
        case overlay(Overlay.Entry)
        /// The file's section has changed since the entry was made, and is not applied.
        case drift(Overlay.Entry, file: [Overlay.Share], Obstacle)

        /// Who says the weights: `file`, `overlay by hand` or `rollout NAME`.
        public var author: String {
            guard let entry else { return "file" }
            return entry.rollout == nil ? "overlay by hand" : entry.author
        }

        /// The entry that holds.
        public var entry: Overlay.Entry? {
            switch self {
            case .file: nil
            case .overlay(let entry), .drift(let entry, _, _): entry
            }
        }
    }

    /// Why an entry has no force any more.
    public enum Dropping: Sendable, Equatable {
        case serviceIsGone
        case versionIsGone(String)
        /// The file says what the entry said.
        case retired
        /// The file says something else, which moves this part of the users at most.
        case fileWins(moved: Double)
    }

    public let document: Document
    /// In the document's order of services.
    public let sources: [Source]
    /// By service, sorted by name.
    public let dropped: [(service: String, entry: Overlay.Entry, why: Dropping)]

    /// The part of the users that a file may move without being asked, 0...1.
    public static let movedMax = 0.01
    /// Shares are multiples of 1/10,000. Their differences, as fractions, may be a hair more.
    private static let rounding = 1e-6

    /// - Parameters:
    ///   - file: the document as the file has it.
    ///   - overlay: entries that are well-formed each, as the codec gives them.
    public init(_ file: Document, under overlay: Overlay) {
        var next = file
        var sources: [Source] = []
        var dropped: [(service: String, entry: Overlay.Entry, why: Dropping)] = []
        for (i, service) in file.services.enumerated() {
            guard let entry = overlay.services[service.name] else {
                sources.append(.file)
                continue
            }
            if let gone = OverlayMerge.missing(entry, service) {
                dropped.append((service.name, entry, .versionIsGone(gone)))
                sources.append(.file)
                continue
            }
            switch OverlayMerge.verdict(file, i, entry) {
            case .dropped(let why):
                dropped.append((service.name, entry, why))
                sources.append(.file)
            case .holds(let source):
                next.put(entry, over: i)
                sources.append(source)
            }
        }
        let names = Set(file.services.map(\.name))
        for (name, entry) in overlay.services where !names.contains(name) {
            dropped.append((name, entry, .serviceIsGone))
        }
        document = next
        self.sources = sources
        self.dropped = dropped.sorted { $0.service < $1.service }
    }

    private enum Verdict {
        case holds(Source)
        case dropped(Dropping)
    }

    private static func verdict(
        _ file: Document, _ index: Int, _ entry: Overlay.Entry
    ) -> Verdict {
        if file.fingerprint(ofService: index) == entry.fingerprint {
            return .holds(.overlay(entry))
        }
        let service = file.services[index]
        let shares = service.versions.map { Overlay.Share($0.name, $0.weight) }
        if let rollout = entry.rollout, rollout.isRunning {
            return .holds(.drift(entry, file: shares, .rolloutRuns(name: rollout.name)))
        }
        var under = file
        under.put(entry, over: index)
        if under.fingerprint(ofService: index) == file.fingerprint(ofService: index) {
            return .dropped(.retired)
        }
        if let empty = file.emptyVersion(ofService: index, besides: entry) {
            return .holds(.drift(entry, file: shares, .noEndpoints(version: empty)))
        }
        let moved = under.moved(to: file, ofService: index)
        return moved <= movedMax + rounding
            ? .dropped(.fileWins(moved: moved))
            : .holds(.drift(entry, file: shares, .moves(moved)))
    }

    /// A version that the entry needs and the service does not have.
    private static func missing(_ entry: Overlay.Entry, _ service: Document.Service) -> String? {
        let names =
            entry.shares.filter { $0.weight > 0 }.map(\.version)
            + (entry.stable.map { [$0] } ?? []) + (entry.rules.map { [$0.version] } ?? [])
        return names.first { name in !service.versions.contains { $0.name == name } }
    }
}

extension Document {
    /// Gives a service, and every `split:` of its routes, the shares of an entry whose versions it
    /// has.
    mutating func put(_ entry: Overlay.Entry, over index: Int) {
        let weights = services[index].versions.map { entry.weight(of: $0.name) }
        for (v, weight) in weights.enumerated() { services[index].versions[v].weight = weight }
        services[index].isPercent = false
        // While a rollout's weights hold, the guard looks at its canary as the plan says.
        if let name = entry.rollout?.name, services[index].guardRatio == nil {
            services[index].guardRatio = planGuardRatio(name)
        }
        services[index].stageRules = stageRules(entry, services[index])
        if let name = entry.stable,
            let stable = services[index].versions.firstIndex(where: { $0.name == name })
        {
            services[index].stable = stable
        }
        for i in routes.indices {
            if case .forward(index, nil, _?) = routes[i].action {
                routes[i].action = .forward(service: index, version: nil, split: weights)
            }
        }
    }

    /// The ratio that the guard looks for under a rollout of a plan; `nil`: no guard.
    private func planGuardRatio(_ name: String) -> Int? {
        guard let plans = rollouts?.plans else { return nil }
        for plan in plans where plan.name == name {
            return plan.guardRatio.map { Int($0.rounded()) }
        }
        return nil
    }

    /// The largest part of the users of one route, 0...1, that would come to another version if
    /// another document were in force, which differs from this one in a service's weights and
    /// stable version alone.
    func moved(to next: Document, ofService index: Int) -> Double {
        var largest = 0.0
        func compare(_ mine: [Int], _ other: [Int]) {
            guard mine != other || services[index].stable != next.services[index].stable,
                let a = SplitWeights(mine), let b = SplitWeights(other)
            else { return }
            largest = max(largest, moved(from: a, to: b, index, next))
        }
        let own = services[index].versions.map(\.weight)
        let nextOwn = next.services[index].versions.map(\.weight)
        if !services[index].hosts.isEmpty { compare(own, nextOwn) }
        for (route, other) in zip(routes, next.routes) {
            guard case .forward(index, nil, let split) = route.action,
                case .forward(index, nil, let nextSplit) = other.action
            else { continue }
            compare(split ?? own, nextSplit ?? nextOwn)
        }
        return largest
    }

    private func moved(
        from a: SplitWeights, to b: SplitWeights, _ index: Int, _ next: Document
    ) -> Double {
        let service = services[index]
        if service.sticky != nil {
            let before = SessionIntervals(weights: a, stable: service.stable)
            let after = SessionIntervals(weights: b, stable: next.services[index].stable)
            return before.moved(
                to: after, name: { service.versions[$0].name },
                nextName: { service.versions[$0].name })
        }
        return zip(a.weights, b.weights).reduce(0.0) { sum, pair in
            sum + max(0, Double(pair.1) / Double(b.sum) - Double(pair.0) / Double(a.sum))
        }
    }

    /// A version without any endpoint that the file gives more than the entry does.
    fileprivate func emptyVersion(ofService index: Int, besides entry: Overlay.Entry) -> String? {
        let service = services[index]
        let sum = entry.shares.reduce(0) { $0 + $1.weight }
        func gains(_ weights: [Int]) -> String? {
            guard let weights = SplitWeights(weights) else { return nil }
            for (v, version) in service.versions.enumerated()
            where version.dns == nil && version.endpoints.isEmpty {
                let now = Double(entry.weight(of: version.name)) / Double(max(1, sum))
                if Double(weights.weights[v]) / Double(weights.sum) > now { return version.name }
            }
            return nil
        }
        return gains(service.versions.map(\.weight))
            ?? ownSplits(ofService: index).lazy.compactMap { gains($0.weights) }.first
    }
}
