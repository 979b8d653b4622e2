import Base
import Routing

/// New weights of one split, by the names of versions. A version that is not named gets none.
public struct Reweighting: Sendable, Equatable {
    /// Whose weights are set.
    public enum Split: Sendable, Equatable {
        /// A service's own, which hold for all of its routes that have no weights of their own.
        case service(String)
        /// A route's, from now on its own.
        case route(String)
    }

    public var split: Split
    /// Not negative.
    public var weights: [String: Int]

    public init(_ split: Split, _ weights: [String: Int]) {
        self.split = split
        self.weights = weights
    }
}

/// Why weights are not taken; the document stays as it was.
public enum ReweightingError: Error, Equatable, CustomStringConvertible {
    case noService(String)
    case noRoute(String)
    /// The route redirects, responds, or names its version outright.
    case noSplit(route: String)
    case noVersion(service: String, version: String)
    case negative(version: String)
    /// All weights are zero.
    case noWeight
    /// The weights, divided by what they have in common, have a larger sum than a split may have.
    case tooFine(sum: Int)

    public var description: String {
        switch self {
        case .noService(let name): "there is no service \"\(name)\" in force"
        case .noRoute(let name): "there is no route \"\(name)\" in force"
        case .noSplit(let route):
            "the route \"\(route)\" does not split its requests; name one that forwards to a "
                + "service"
        case .noVersion(let service, let version):
            "the service \"\(service)\" has no version \"\(version)\""
        case .negative(let version): "the weight of \"\(version)\" is negative"
        case .noWeight: "all weights are 0; give one version a weight"
        case .tooFine(let sum):
            "the reduced weights have the sum \(sum); at most \(SplitWeights.sumMax) is possible, "
                + "which is percents with two decimals"
        }
    }
}

extension Document {
    /// The document with other weights; nothing else differs.
    public func reweighted(_ changes: [Reweighting]) throws(ReweightingError) -> Document {
        var next = self
        for change in changes { try next.take(change) }
        return next
    }

    private mutating func take(_ change: Reweighting) throws(ReweightingError) {
        switch change.split {
        case .service(let name):
            guard let i = services.firstIndex(where: { $0.name == name }) else {
                throw .noService(name)
            }
            let weights = try weights(change, ofService: i)
            for (v, weight) in weights.enumerated() { services[i].versions[v].weight = weight }
        case .route(let name):
            guard let i = routes.firstIndex(where: { $0.name == name }) else {
                throw .noRoute(name)
            }
            guard case .forward(let service, nil, _) = routes[i].action else {
                throw .noSplit(route: name)
            }
            let weights = try weights(change, ofService: service)
            routes[i].action = .forward(service: service, version: nil, split: weights)
        }
    }

    /// The weights in the service's order of versions.
    private func weights(
        _ change: Reweighting, ofService index: Int
    ) throws(ReweightingError) -> [Int] {
        let versions = services[index].versions
        for (name, weight) in change.weights.sorted(by: { $0.key < $1.key }) {
            guard versions.contains(where: { $0.name == name }) else {
                throw .noVersion(service: services[index].name, version: name)
            }
            if weight < 0 { throw .negative(version: name) }
        }
        let weights = versions.map { change.weights[$0.name] ?? 0 }
        guard let reduced = SplitWeights(weights) else { throw .noWeight }
        guard reduced.sum <= SplitWeights.sumMax else { throw .tooFine(sum: reduced.sum) }
        return weights
    }

    /// The name under which a split is counted and drawn.
    func splitName(_ owner: SnapshotPlans.SplitOwner) -> String {
        owner.route >= 0
            ? routes[owner.route].name
            : SnapshotCompiler.implicitName(services[owner.service].name)
    }

    /// The names of a service's versions that have weight in some split.
    func weightedVersions(ofService index: Int) -> Set<String> {
        let versions = services[index].versions
        var names = Set(versions.filter { $0.weight > 0 }.map(\.name))
        for route in routes {
            guard case .forward(index, nil, let split?) = route.action else { continue }
            for (i, weight) in split.enumerated() where weight > 0 {
                names.insert(versions[i].name)
            }
        }
        return names
    }

    /// Whether this document says the same as another but for weights.
    package func isSameButForWeights(as other: Document) -> Bool {
        guard services.count == other.services.count, routes.count == other.routes.count else {
            return false
        }
        var levelled = self
        for i in services.indices {
            let theirs = other.services[i].versions
            guard services[i].versions.count == theirs.count else { return false }
            levelled.services[i].isPercent = other.services[i].isPercent
            for v in theirs.indices { levelled.services[i].versions[v].weight = theirs[v].weight }
        }
        for i in routes.indices {
            guard case .forward(let service, nil, let mine) = routes[i].action,
                case .forward(service, nil, let theirs) = other.routes[i].action, mine != theirs
            else { continue }
            levelled.routes[i].action = .forward(service: service, version: nil, split: theirs)
        }
        return levelled == other
    }
}

extension Snapshot {
    /// The snapshot of a document that differs from this one's in weights alone. Everything but the
    /// splits is shared with this one, and so are the splits whose weights stay; the others begin
    /// their draws anew, as at a full compilation.
    ///
    /// - Parameters:
    ///   - document: equal to this snapshot's but for weights; names that differ would be lost.
    ///   - registry: the one that this snapshot, the newest, was compiled with. To be called on the
    ///     thread that compiles.
    /// - Returns: a box with one reference, the caller's; `nil` when a split begins or ceases to
    ///   be, because weights were or become all zero: then all is to be compiled.
    public borrowing func reweighted(
        to document: Document, generation: UInt64, hash: String, registry: SharedRegistry
    ) -> SharedBox<Snapshot>? {
        if plans.value.lacksSplits { return nil }
        var own = [SplitWeights?](repeating: nil, count: document.services.count)
        for (i, service) in document.services.enumerated() {
            own[i] = SplitWeights(service.versions.map(\.weight))
        }
        var wanted: [SplitWeights] = []
        wanted.reserveCapacity(splits.count)
        for i in 0..<splits.count {
            let owner = plans.value.splitOwners[i]
            var weights = own[owner.service]
            if owner.route >= 0,
                case .forward(_, _, let split?) = document.routes[owner.route].action
            {
                weights = SplitWeights(split)
            }
            guard let weights else { return nil }
            wanted.append(weights)
        }
        var next = splitPlans(wanted, document, registry)
        let epochs = registry.epochs(of: document.services, isWhole: false)
        let owners = (0..<splits.count).map { plans.value.splitOwners[$0] }
        SnapshotCompiler.attach(&next, owners, document, epochs, registry)
        plans.retain()
        return SharedBox(
            Snapshot(
                generation: generation, hash: hash, document: document, settings: settings,
                splits: next, epochs: epochs, plans: plans))
    }

    /// The splits with these weights, each with a reference to its draws and to its intervals.
    private borrowing func splitPlans(
        _ wanted: [SplitWeights], _ document: Document, _ registry: SharedRegistry
    ) -> [SplitPlan] {
        var next: [SplitPlan] = []
        next.reserveCapacity(wanted.count)
        // Splits of one service nearly always have the same weights: the last intervals of each.
        var last = [Int](repeating: -1, count: document.services.count)
        for (i, weights) in wanted.enumerated() {
            if splits[i].draws.value.weights == weights {
                splits[i].draws.retain()
                splits[i].intervals.retain()
                next.append(splits[i])
                continue
            }
            let owner = plans.value.splitOwners[i]
            let service = document.services[owner.service]
            let name = document.splitName(owner)
            let intervals: SharedBox<SessionIntervals>
            let twin = last[owner.service]
            if twin >= 0, wanted[twin] == weights {
                intervals = next[twin].intervals
                intervals.retain()
            } else {
                intervals = SharedBox(SessionIntervals(weights: weights, stable: service.stable))
            }
            last[owner.service] = i
            next.append(
                SplitPlan(
                    draws: registry.draws(split: name, of: service.name, weights: weights),
                    intervals: intervals))
        }
        return next
    }
}

extension SnapshotCompiler {
    /// A snapshot, and what it was made from besides its document.
    public struct Basis: Sendable {
        /// Not retained here: whoever keeps a basis keeps a reference too.
        public var snapshot: SharedBox<Snapshot>
        public var inputs: Inputs

        public init(snapshot: SharedBox<Snapshot>, inputs: Inputs) {
            self.snapshot = snapshot
            self.inputs = inputs
        }
    }

    /// Compiles what comes behind a snapshot: the splits alone where only weights differ, and
    /// everything elsewhere. The result decides every request in the same way.
    ///
    /// - Parameter basis: the newest snapshot, compiled with the same registry.
    /// - Returns: the snapshot with one reference, the caller's, and whether it shares the plans of
    ///   the one before.
    public static func compile(
        _ document: Document, _ inputs: Inputs, registry: SharedRegistry, after basis: Basis
    ) -> (snapshot: SharedBox<Snapshot>, isReweighted: Bool) {
        let before = basis.inputs
        registry.note(now: inputs.now)
        if inputs.addresses == before.addresses, inputs.stickyKeys == before.stickyKeys,
            inputs.transports == before.transports,
            document.isSameButForWeights(as: basis.snapshot.value.document),
            let snapshot = basis.snapshot.value.reweighted(
                to: document, generation: inputs.generation, hash: inputs.hash,
                registry: registry)
        {
            return (snapshot, true)
        }
        return (compile(document, inputs, registry: registry), false)
    }
}
