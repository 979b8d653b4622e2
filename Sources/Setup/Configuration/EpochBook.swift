import Routing

/// Numbers the epochs of services. An epoch is the time during which a service places the requests
/// and sessions of its splits in one way; what is counted in it may be added up.
///
/// A new epoch begins when a split gets other shares, and when the stable version, or what a
/// session is known by, becomes another. Versions without weight, and the order of weights in the
/// file as long as sessions keep their places, make no difference. A split that is new begins no
/// epoch, because nothing was counted under its name; only when some split has left since the epoch
/// began, and the new one may be the same with other shares, it does.
///
/// A value without threads: `SharedRegistry` keeps the process's under its lock.
struct EpochBook {
    /// All that decides where a service's requests and sessions go, besides weights.
    struct Ground: Equatable {
        /// In the order of the file.
        var versions: [String]
        /// Into `versions`.
        var stable: Int
        /// Names what a session is known by and shifted by; empty: no sessions.
        var session: [String]

        /// The stable version's name.
        var name: String { versions[stable] }

        init(versions: [String], stable: Int, session: [String] = []) {
            self.versions = versions
            self.stable = stable
            self.session = session
        }

        init(_ service: Document.Service) {
            self.init(
                versions: service.versions.map(\.name), stable: service.stable,
                session: service.sticky.map {
                    ["\($0.source)", $0.name, $0.issue ?? "", $0.salt]
                } ?? [])
        }
    }

    private struct Split {
        var service: String
        var weights: SplitWeights
    }

    private struct Service {
        var ground: Ground
        /// As it was before the snapshot under way.
        var before: Ground
        var number: UInt64
        /// A split of the service has left since the epoch began, and had before this snapshot.
        var hasLost = false
        var hadLost = false
        /// Brought by the snapshot under way.
        var hasChanged = false
        var hasNew = false
        var isNamed = true
    }

    private var services: [String: Service] = [:]
    private var splits: [String: Split] = [:]
    /// Splits that the snapshot under way names.
    private var named: Set<String> = []
    /// The highest number of a service that has left: one that comes back begins above it.
    private var floor: UInt64 = 0

    init() {}

    /// A snapshot is compiled from here on, which will name all of its services and splits.
    mutating func begin() {
        for name in services.keys { services[name]?.isNamed = false }
    }

    /// The snapshot has this service; to be called before its splits are noted.
    mutating func note(service name: String, _ ground: Ground) {
        guard var known = services[name] else {
            services[name] = Service(ground: ground, before: ground, number: floor + 1)
            return
        }
        known.isNamed = true
        (known.before, known.ground) = (known.ground, ground)
        if known.before.session != ground.session || known.before.name != ground.name {
            known.hasChanged = true
        }
        services[name] = known
    }

    /// The snapshot has this split of a service that was noted.
    mutating func note(split name: String, of service: String, _ weights: SplitWeights) {
        // Each host of a service has a split of one name.
        guard named.insert(name).inserted else { return }
        let known = splits.updateValue(Split(service: service, weights: weights), forKey: name)
        guard let owner = services[service] else { return }
        guard let known, known.service == service else {
            if let known { services[known.service]?.hasLost = true }
            services[service]?.hasNew = true
            return
        }
        if known.weights == weights, owner.before == owner.ground { return }
        let before = EpochBook.places(known.weights, owner.before)
        if !before.elementsEqual(EpochBook.places(weights, owner.ground), by: ==) {
            services[service]?.hasChanged = true
        }
    }

    /// The versions that have weight, in the order of sessions' positions.
    private static func places(
        _ weights: SplitWeights, _ ground: Ground
    ) -> [(version: String, weight: Int)] {
        SessionIntervals.order(count: ground.versions.count, stable: ground.stable)
            .compactMap { i in
                weights.weights[i] > 0 ? (ground.versions[i], weights.weights[i]) : nil
            }
    }

    /// Everything that differs was noted: services whose places differ get a new number.
    ///
    /// - Parameter isWhole: whether the snapshot named all it has, after `begin`; the services and
    ///   splits that it did not name have left.
    mutating func end(isWhole: Bool) {
        if isWhole {
            for (name, split) in splits where !named.contains(name) {
                services[split.service]?.hasLost = true
                splits[name] = nil
            }
            for (name, service) in services where !service.isNamed {
                floor = max(floor, service.number)
                services[name] = nil
            }
        }
        for (name, service) in services {
            var next = service
            if service.hasChanged || service.hasNew && service.hadLost {
                next.number += 1
                next.hasLost = false
            }
            next.hadLost = next.hasLost
            next.hasChanged = false
            next.hasNew = false
            next.before = next.ground
            services[name] = next
        }
        named = []
    }

    /// The number of a service's epoch, from 1; 0 for a service that no snapshot has.
    func number(of service: String) -> UInt64 { services[service]?.number ?? 0 }
}
