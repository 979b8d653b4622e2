import Base

/// Which series leave the metrics page because what they count is gone from the configuration:
/// versions that carry a build's name would otherwise stay for ever, thousands in a year.
///
/// What is gone stays for the retention time, and of each service only what went last: a version
/// that went before it leaves as soon as it was read once. Whatever is still in flight stays, and
/// is shown once more after its end. Nothing is reset: a version that comes back goes on counting
/// where it was.
public struct SeriesRetention: Sendable {
    private struct Gone {
        var since: Instant
        /// Pages that had been begun when it was last busy.
        var pages: UInt64
        var group: String
        var version: String
    }

    private var rows: [Int: Gone] = [:]
    private var clusters: [Int: Gone] = [:]
    private var listeners: [Int: Gone] = [:]
    private var pages: UInt64 = 0

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
            rows = Census.absent(
                all.rows.map { ($0.labels.service, $0.labels.version) }, named.rows)
            clusters = Census.absent(all.clusters.map { ($0.service, $0.version) }, named.clusters)
            listeners = Census.absent(all.listeners.map { _ in ("", "") }, named.listeners)
        }

        private static func absent(
            _ labels: [(group: String, version: String)], _ named: Set<Int>
        ) -> [Absent] {
            labels.enumerated().compactMap { id, label in
                named.contains(id)
                    ? nil : Absent(id: id, group: label.group, version: label.version)
            }
        }
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
                since: now, pages: pages, group: item.group, version: item.version)
        }
    }

    /// Begins a page.
    /// - Parameter isBusy: whether requests of a row are in flight.
    /// - Returns: what is not on it.
    public mutating func beginPage(
        retention: Duration, now: Instant, isBusy: (Int) -> Bool
    ) -> MetricRegistry.Selection {
        for (id, row) in rows where isBusy(id) {
            rows[id]?.pages = pages + 1
            // What a version is doing concerns all of its series.
            for (cluster, item) in clusters
            where item.group == row.group && item.version == row.version {
                clusters[cluster]?.pages = pages + 1
            }
        }
        var hidden = MetricRegistry.Selection()
        hidden.rows = left(rows, retention, now)
        hidden.clusters = left(clusters, retention, now)
        hidden.listeners = left(listeners, retention, now)
        pages += 1
        return hidden
    }

    private func left(_ gone: [Int: Gone], _ retention: Duration, _ now: Instant) -> Set<Int> {
        var newest: [String: Instant] = [:]
        for item in gone.values {
            newest[item.group] = max(newest[item.group] ?? item.since, item.since)
        }
        var left: Set<Int> = []
        for (id, item) in gone where pages > item.pages {
            if now - item.since >= retention || item.since < newest[item.group] ?? item.since {
                left.insert(id)
            }
        }
        return left
    }
}
