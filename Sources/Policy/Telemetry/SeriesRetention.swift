import Base

/// Decides which series leave the metrics page because the configuration no longer names them.
/// Versions that carry a build's name would otherwise stay for ever, thousands in a year.
///
/// Of each service the version that went last stays for the retention time. A version that went
/// before it leaves after `grace`, in which every collector has read it, or at once if it has
/// counted no request. A version with requests in flight stays, and for `grace` behind their end.
/// Nothing is reset: a version that comes back goes on counting where it was.
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

    /// Whether `look` has still something to find: what is gone and idle for `grace` does nothing
    /// any more.
    public func isWaiting(now: Instant) -> Bool {
        rows.values.contains { now - $0.busyUntil < SeriesRetention.grace }
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
        for (id, row) in rows where isBusy(id) {
            rows[id]?.busyUntil = now
            // What a version is doing concerns all of its series.
            for (cluster, item) in clusters
            where item.group == row.group && item.version == row.version {
                clusters[cluster]?.busyUntil = now
            }
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
        for (id, row) in rows where hasCounted(id) {
            counted.insert(SeriesRetention.name(row.group, row.version))
        }
        // Of what is in flight the end is still to come.
        seen.look(now: .never, isBusy: isBusy)
        var hidden = MetricRegistry.Selection()
        hidden.rows = left(seen.rows, counted, retention, now)
        hidden.clusters = left(seen.clusters, counted, retention, now)
        hidden.listeners = left(seen.listeners, counted, retention, now)
        return hidden
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
