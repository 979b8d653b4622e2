import Base

/// Which slot of the shards a series lives in. Outlives every snapshot, so that a reload never
/// resets a counter. Names appear only here and on the page; workers know numbers.
///
/// Any thread may ask; a worker asks once per new series and remembers.
public final class MetricRegistry: Sendable {
    /// Labels of one row: what is counted per (route, service, version).
    public struct RowLabels: Hashable, Sendable {
        public var route: String
        public var service: String
        public var version: String
        /// Whether the row is for copies of requests, which are counted apart.
        public var isMirror: Bool
        public init(route: String, service: String, version: String, isMirror: Bool = false) {
            self.route = route
            self.service = service
            self.version = version
            self.isMirror = isMirror
        }
    }

    /// Places in a row's run of slots.
    public enum RowSlot {
        public static let started = 0, finished = 1, bytesReceived = 2, bytesSent = 3
        public static let durationSum = 4, buckets = 5
        public static let count = 5 + 16
    }

    /// The kinds of keys that name a single series.
    public enum SeriesKind: UInt64, Sendable {
        case requests = 1, errors, refused, cluster
        /// Streams that the peer reset: the side in the row, RFC 9113's code.
        case resets
        /// TLS handshakes: the side in the row, the version's last digit.
        case handshakes
        /// Handshakes that failed: the side in the row, `HandshakeFailure`.
        case handshakeFailures
        /// gRPC calls of a row, by their status.
        case calls
        /// Acts of a route's filters: the route's row, `RouteMetric`.
        case filters
    }

    struct State {
        var rows: [RowLabels] = []
        var rowIDs: [RowLabels: Int] = [:]
        var rowSlots: [Int] = []
        var listeners: [String] = []
        var clusters: [RowLabels] = []
        var clusterIDs: [RowLabels: Int] = [:]
        var slots: [UInt64: Int] = [:]
        var order: [UInt64] = []
        var nextSlot = WorkerMetric.reserved
    }

    private let state = Lock(State())

    public init() {}

    /// The row of a (route, service, version); made when it is new.
    /// - Returns: the row's number and the first of its slots.
    public func row(_ labels: RowLabels) -> (id: Int, slot: Int) {
        state.withLock { state in
            if let id = state.rowIDs[labels] { return (id, state.rowSlots[id]) }
            let id = state.rows.count
            state.rows.append(labels)
            state.rowIDs[labels] = id
            state.rowSlots.append(state.nextSlot)
            state.nextSlot += RowSlot.count
            precondition(state.nextSlot < CounterShard.slotMax, "room for the row's slots")
            return (id, state.rowSlots[id])
        }
    }

    public func listener(_ name: String) -> Int {
        state.withLock { state in
            if let id = state.listeners.firstIndex(of: name) { return id }
            state.listeners.append(name)
            return state.listeners.count - 1
        }
    }

    /// The number of a (service, version), stable for the life of the process.
    public func cluster(service: String, version: String, isMirror: Bool = false) -> Int {
        let labels = RowLabels(
            route: "", service: service, version: version, isMirror: isMirror)
        return state.withLock { state in
            if let id = state.clusterIDs[labels] { return id }
            state.clusters.append(labels)
            state.clusterIDs[labels] = state.clusters.count - 1
            return state.clusters.count - 1
        }
    }

    /// The names behind a cluster's number.
    public func clusterLabels(_ id: Int) -> RowLabels {
        state.withLock { state in
            id >= 0 && id < state.clusters.count
                ? state.clusters[id] : RowLabels(route: "", service: "", version: "")
        }
    }

    /// Kind, listener, row or cluster, assign, and code, cause or metric in one word.
    public static func key(
        _ kind: SeriesKind, listener: Int, row: Int, assign: Assign, code: UInt16
    ) -> UInt64 {
        kind.rawValue << 60 | UInt64(listener & 0xfff) << 48 | UInt64(row & 0xfff_ffff) << 20
            | UInt64(assign.rawValue) << 16 | UInt64(code)
    }

    /// The slot of a series; made when it is new.
    public func slot(forKey key: UInt64) -> Int {
        state.withLock { state in
            if let slot = state.slots[key] { return slot }
            let slot = state.nextSlot
            precondition(slot < CounterShard.slotMax, "room for the series' slot")
            state.nextSlot += 1
            state.slots[key] = slot
            state.order.append(key)
            return slot
        }
    }

    /// One series with its labels, for the page.
    public struct Series: Sendable {
        public var kind: SeriesKind
        public var listener: String
        public var labels: RowLabels
        public var assign: Assign
        public var code: UInt16
        public var slot: Int
        public var key: UInt64
    }

    public struct Row: Sendable {
        public var labels: RowLabels
        public var slot: Int
    }

    /// Numbers of rows, clusters and listeners.
    public struct Selection: Sendable, Equatable {
        public var rows: Set<Int> = []
        public var clusters: Set<Int> = []
        public var listeners: Set<Int> = []
        public init() {}
    }

    /// Everything that has a slot now. Without `hidden` a position in a list is the number.
    public struct Contents: Sendable {
        public var rows: [Row]
        public var series: [Series]
        public var clusters: [RowLabels]
        public var listeners: [String]
    }

    /// The first of a row's slots.
    public func slot(ofRow id: Int) -> Int { state.withLock { $0.rowSlots[id] } }

    /// Whether a series is of something hidden. Rows and listeners are no part of every kind.
    private static func isHidden(_ series: Series, _ hidden: Selection) -> Bool {
        let listener = Int(series.key >> 48 & 0xfff), row = Int(series.key >> 20 & 0xfff_ffff)
        switch series.kind {
        case .requests, .errors:
            return hidden.rows.contains(row) || hidden.listeners.contains(listener)
        case .calls, .filters: return hidden.rows.contains(row)
        case .refused: return hidden.listeners.contains(listener)
        case .cluster: return hidden.clusters.contains(row)
        case .resets, .handshakes, .handshakeFailures: return false
        }
    }

    /// Everything that has a slot now, but for what is hidden.
    public func contents(hiding hidden: Selection = Selection()) -> Contents {
        var all = everything()
        if hidden == Selection() { return all }
        func shown<Element>(_ list: [Element], _ hidden: Set<Int>) -> [Element] {
            list.indices.filter { !hidden.contains($0) }.map { list[$0] }
        }
        all.rows = shown(all.rows, hidden.rows)
        all.series = all.series.filter { !MetricRegistry.isHidden($0, hidden) }
        all.clusters = shown(all.clusters, hidden.clusters)
        all.listeners = shown(all.listeners, hidden.listeners)
        return all
    }

    private func everything() -> Contents {
        state.withLock { state in
            let rows = zip(state.rows, state.rowSlots).map { Row(labels: $0, slot: $1) }
            let series = state.order.compactMap { key -> Series? in
                guard let kind = SeriesKind(rawValue: key >> 60), let slot = state.slots[key] else {
                    return nil
                }
                let listener = Int(key >> 48 & 0xfff), row = Int(key >> 20 & 0xfff_ffff)
                let names = kind == .cluster ? state.clusters : state.rows
                return Series(
                    kind: kind,
                    listener: listener < state.listeners.count ? state.listeners[listener] : "",
                    labels: row < names.count
                        ? names[row] : RowLabels(route: "", service: "", version: ""),
                    assign: Assign(rawValue: UInt8(key >> 16 & 0xf)) ?? .none,
                    code: UInt16(key & 0xffff), slot: slot, key: key)
            }
            return Contents(
                rows: rows, series: series, clusters: state.clusters, listeners: state.listeners)
        }
    }
}
