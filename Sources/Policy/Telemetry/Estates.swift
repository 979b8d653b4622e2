/// Sums that rows leave behind which are forgotten before what they count for. The families of
/// other vocabularies have no route: a version's requests of a route that is gone are still its
/// requests, and a counter that falls reads as if a process had begun anew.
struct Estates: Sendable {
    /// Keys of what was counted, without row and assign.
    struct Estate: Sendable {
        var requests: [UInt64: UInt64] = [:]
        /// Runs of ends and of sizes.
        var runs: [UInt64: [UInt64]] = [:]

        mutating func add(_ key: UInt64, _ values: [UInt64]) {
            guard var held = runs[key] else {
                runs[key] = values
                return
            }
            for (i, value) in values.enumerated() { held[i] &+= value }
            runs[key] = held
        }
    }

    /// By service and version; without either what no version answered.
    private(set) var versions: [MetricRegistry.RowLabels: Estate] = [:]
    /// Runs of ends of versions that are gone themselves, by their kind alone.
    private(set) var others = Estate()

    /// Row and assign in a key.
    private static let ownBits: UInt64 = 0xff_ffff << 24
    private static let listenerBits: UInt64 = 0xfff << 48

    /// Whose sums those of a row are part of.
    static func owner(_ labels: MetricRegistry.RowLabels) -> MetricRegistry.RowLabels {
        labels.version.isEmpty
            ? .init(route: "", service: "", version: "")
            : .init(route: "", service: labels.service, version: labels.version)
    }

    /// Takes over what a row has counted under a key.
    /// - Parameter isNamed: whether the row's version has a cluster still.
    mutating func inherit(
        _ labels: MetricRegistry.RowLabels, _ key: UInt64, _ values: [UInt64], isNamed: Bool
    ) {
        guard !labels.isMirror, let kind = MetricRegistry.SeriesKind(rawValue: key >> 60) else {
            return
        }
        let plain = key & ~Estates.ownBits
        let owner = Estates.owner(labels)
        switch kind {
        case .requests where isNamed:
            versions[owner, default: Estate()].requests[plain, default: 0] &+= values[0]
        case .ends where isNamed, .sizes where isNamed:
            versions[owner, default: Estate()].add(plain, values)
        case .ends: others.add(plain & ~Estates.listenerBits, values)
        case .requests, .errors, .refused, .cluster, .resets, .handshakes, .handshakeFailures,
            .filters, .sizes:
            break
        }
    }

    /// A version is gone, and what it inherited with it, but for sums that are nobody's.
    mutating func close(_ labels: MetricRegistry.RowLabels) {
        guard !labels.isMirror, let estate = versions.removeValue(forKey: Estates.owner(labels))
        else { return }
        for (key, values) in estate.runs
        where MetricRegistry.SeriesKind(rawValue: key >> 60) == .ends {
            others.add(key & ~Estates.listenerBits, values)
        }
    }
}
