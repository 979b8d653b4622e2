import Base

/// Decides which series leave the metrics page because the configuration no longer names them.
/// Versions that carry a build's name would otherwise stay for ever, thousands in a year.
///
/// The version of a service that went last stays for the retention time. A version that went before
/// it leaves after `grace`, in which every collector has read it. A version that has counted no
/// request leaves at once: there is nothing to read. At most `goneMax` rows and as many clusters
/// stay, those that went last. A version with requests in flight stays, and for `grace` behind
/// their end.
///
/// A series that has left the page is forgotten (`MetricRegistry.forget`): a version that comes
/// back later counts from zero, which a collector takes for what it is, a reset; one that comes
/// back before goes on counting where it was.
///
/// Reading a page changes nothing. The control loop tells what is in force (`apply`) and looks now
/// and then whether what is gone is still busy (`look`).
public struct SeriesRetention: Sendable {
    private struct Gone {
        var since: Instant
        /// When it was last seen busy.
        var busyUntil: Instant
        var group: String
        var version: String
    }

    private var rows: [Int: Gone] = [:]
    private var clusters: [Int: Gone] = [:]
    private var listeners: [Int: Gone] = [:]

    /// How long what has gone, or has become idle, is there to be read, where the retention is not
    /// shorter: a Prometheus server forgets a series after five minutes, so that nobody reads more
    /// seldom.
    public static let grace = Duration.seconds(300)
    /// Rows, and clusters, that are gone and stay to be read, however many are replaced in the
    /// time.
    public static let goneMax = 50_000
    /// How often `look` is to be called while something is gone.
    public static let interval = Duration.seconds(60)

    public init() {}

    /// Says which of all the series a configuration names, and which are gone. A census is made
    /// from thousands of labels, on whichever thread compiles.
    public struct Census: Sendable {
        struct Absent: Sendable {
            var id: Int
            var group: String
            var version: String
        }

        let named: MetricRegistry.Selection
        let rows: [Absent]
        let clusters: [Absent]
        let listeners: [Absent]

        /// - Parameter named: what the configuration names.
        public init(_ named: MetricRegistry.Selection, _ registry: MetricRegistry) {
            self.named = named
            let all = registry.contents()
            rows = Census.absent(all.rows.map { ($0.id, $0.labels) }, named.rows)
            clusters = Census.absent(all.clusters.map { ($0.id, $0.labels) }, named.clusters)
            let none = MetricRegistry.RowLabels(route: "", service: "", version: "")
            listeners = Census.absent(all.listeners.indices.map { ($0, none) }, named.listeners)
        }

        private static func absent(
            _ all: [(id: Int, labels: MetricRegistry.RowLabels)], _ named: Set<Int>
        ) -> [Absent] {
            all.compactMap { id, labels in
                named.contains(id)
                    ? nil : Absent(id: id, group: labels.service, version: labels.version)
            }
        }
    }

    /// Whether something is gone and not forgotten, so that `look` and `hidden` have something to
    /// find. Listeners are never forgotten.
    public var isWaiting: Bool { !rows.isEmpty || !clusters.isEmpty }

    /// The registry has forgotten rows and clusters; their numbers may be others' from now on.
    public mutating func forget(_ forgotten: MetricRegistry.Selection) {
        for id in forgotten.rows { rows[id] = nil }
        for id in forgotten.clusters { clusters[id] = nil }
    }

    /// A configuration is in force: whatever it does not name is gone.
    public mutating func apply(_ census: Census, now: Instant) {
        note(&rows, census.rows, census.named.rows, now)
        note(&clusters, census.clusters, census.named.clusters, now)
        note(&listeners, census.listeners, census.named.listeners, now)
    }

    private func note(
        _ gone: inout [Int: Gone], _ absent: [Census.Absent], _ named: Set<Int>, _ now: Instant
    ) {
        for id in gone.keys where named.contains(id) { gone[id] = nil }
        for item in absent where gone[item.id] == nil {
            gone[item.id] = Gone(
                since: now, busyUntil: now, group: item.group, version: item.version)
        }
    }

    /// Notes what of that which is gone is in flight.
    /// - Parameter isBusy: whether requests of a row are.
    public mutating func look(now: Instant, isBusy: (Int) -> Bool) {
        var busy: Set<String> = []
        for (id, row) in rows where isBusy(id) {
            rows[id]?.busyUntil = now
            busy.insert(SeriesRetention.name(row.group, row.version))
        }
        if busy.isEmpty { return }
        // What a version is doing concerns all of its series.
        for (id, cluster) in clusters
        where busy.contains(SeriesRetention.name(cluster.group, cluster.version)) {
            clusters[id]?.busyUntil = now
        }
    }

    /// The series that are not on a page that is read now.
    ///
    /// - Parameters:
    ///   - isBusy: whether requests of a row are in flight.
    ///   - hasCounted: whether a row has counted a request, so that there is something to read.
    public func hidden(
        retention: Duration, now: Instant, isBusy: (Int) -> Bool,
        hasCounted: (Int) -> Bool = { _ in true }
    ) -> MetricRegistry.Selection {
        var seen = self
        // Listeners have no rows of their own.
        var counted: Set<String> = [SeriesRetention.name("", "")]
        var silent: Set<Int> = []
        for (id, row) in rows {
            if hasCounted(id) {
                counted.insert(SeriesRetention.name(row.group, row.version))
            } else {
                silent.insert(id)
            }
        }
        // Of what is in flight the end is still to come.
        seen.look(now: .never, isBusy: isBusy)
        var hidden = MetricRegistry.Selection()
        hidden.rows = left(seen.rows, counted, retention, now).union(silent)
        hidden.rows.formUnion(surplus(seen.rows, hidden.rows))
        hidden.clusters = left(seen.clusters, counted, retention, now)
        for (id, cluster) in seen.clusters
        where !counted.contains(SeriesRetention.name(cluster.group, cluster.version)) {
            hidden.clusters.insert(id)
        }
        hidden.clusters.formUnion(surplus(seen.clusters, hidden.clusters))
        hidden.listeners = left(seen.listeners, counted, retention, now)
        return hidden
    }

    /// Those that went first, of more than may stay; those in flight stay.
    private func surplus(_ gone: [Int: Gone], _ hidden: Set<Int>) -> [Int] {
        let more = gone.count - hidden.count - SeriesRetention.goneMax
        guard more > 0 else { return [] }
        let staying = gone.filter { !hidden.contains($0.key) && !$0.value.busyUntil.isNever }
        return staying.sorted { ($0.value.since, $0.key) < ($1.value.since, $1.key) }
            .prefix(more).map(\.key)
    }

    private static func name(_ group: String, _ version: String) -> String {
        "\(group)/\(version)"
    }

    private func left(
        _ gone: [Int: Gone], _ counted: Set<String>, _ retention: Duration, _ now: Instant
    ) -> Set<Int> {
        let grace = min(SeriesRetention.grace, retention)
        var newest: [String: Instant] = [:]
        for item in gone.values {
            newest[item.group] = max(newest[item.group] ?? item.since, item.since)
        }
        var left: Set<Int> = []
        for (id, item) in gone where !item.busyUntil.isNever {
            let isRead =
                now - item.busyUntil >= grace
                || !counted.contains(SeriesRetention.name(item.group, item.version))
            guard isRead else { continue }
            if now - item.since >= retention || item.since < newest[item.group] ?? item.since {
                left.insert(id)
            }
        }
        return left
    }
}
