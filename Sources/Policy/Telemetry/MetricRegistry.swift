import Base
import Synchronization

/// Which slot of the shards a series lives in. Outlives every snapshot, so that a reload never
/// resets a counter. Names appear only here and on the page; workers know numbers.
///
/// Any thread may ask; a worker asks once per new series and remembers.
///
/// Memory of what is gone is used again. A row or cluster is held by each snapshot that names it
/// (`row`, `cluster`, `release`), and so by every request that counts there, because a request
/// keeps the snapshot that it began with. `forget` lets go of those that nobody holds: their slots
/// are set to zero and, like their numbers, given to others. Two parties might still take one for
/// the other: a page that is being written, so nothing is forgotten meanwhile (`reading`); and a
/// worker that remembers the slot of a number's series, which forgets all that it remembers before
/// it counts for a newer snapshot (`WorkerCounters.refresh`, `forgetCount`).
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
        var rows = NumberedLabels()
        var clusters = NumberedLabels()
        var listeners: [String] = []
        var slots: [UInt64: Int] = [:]
        /// Keys of series that belong to neither a row nor a cluster.
        var others: [UInt64] = []
        /// Slots of series, and first slots of rows, that are free again.
        var freeSlots: [Int] = []
        var freeRuns: [Int] = []
        /// Behind the run that is everybody's when there is no room.
        var nextSlot = WorkerMetric.reserved + RowSlot.count
        /// Pages that are being written.
        var readers = 0

        /// - Returns: `overflow` when there is no room for more.
        mutating func takeSlot() -> Int {
            if let slot = freeSlots.popLast() { return slot }
            guard nextSlot < CounterShard.slotMax else { return overflow }
            nextSlot += 1
            return nextSlot - 1
        }

        mutating func takeRun() -> Int {
            if let slot = freeRuns.popLast() { return slot }
            guard nextSlot + RowSlot.count <= CounterShard.slotMax else { return overflow }
            nextSlot += RowSlot.count
            return nextSlot - RowSlot.count
        }
    }

    /// The slots where everything is counted that has no room of its own, and that no page shows.
    static var overflow: Int { WorkerMetric.reserved }

    let state = Lock(State())
    private let forgets = Atomic<UInt64>(0)

    public init() {}

    /// How often something was forgotten: what was remembered of numbers before is not true any
    /// more for snapshots that come after.
    public var forgetCount: UInt64 { forgets.load(ordering: .acquiring) }

    /// The row of a (route, service, version), made when it is new, and held until `release`.
    /// - Returns: the row's number and the first of its slots.
    public func row(_ labels: RowLabels) -> (id: Int, slot: Int) {
        state.withLock { state in
            let id: Int
            if let number = state.rows.number(labels) {
                id = number
            } else {
                id = state.rows.add(labels, slot: state.takeRun())
            }
            state.rows.hold(id)
            return (id, state.rows.entry(id)?.slot ?? MetricRegistry.overflow)
        }
    }

    public func listener(_ name: String) -> Int {
        state.withLock { state in
            if let id = state.listeners.firstIndex(of: name) { return id }
            state.listeners.append(name)
            return state.listeners.count - 1
        }
    }

    /// The number of a (service, version); made when it is new. It is theirs for as long as
    /// somebody holds it.
    public func cluster(service: String, version: String, isMirror: Bool = false) -> Int {
        let labels = RowLabels(
            route: "", service: service, version: version, isMirror: isMirror)
        return state.withLock { state in
            state.clusters.number(labels) ?? state.clusters.add(labels, slot: -1)
        }
    }

    /// The number of a (service, version), held until `release`.
    /// - Returns: also whether it is new, and may have been another's before.
    public func hold(
        service: String, version: String, isMirror: Bool
    ) -> (id: Int, isNew: Bool) {
        let labels = RowLabels(
            route: "", service: service, version: version, isMirror: isMirror)
        return state.withLock { state in
            let held = state.clusters.number(labels)
            let id = held ?? state.clusters.add(labels, slot: -1)
            state.clusters.hold(id)
            return (id, held == nil)
        }
    }

    /// A snapshot is gone that held rows and clusters: once for every time that each was held.
    public func release(rows: [Int], clusters: [Int]) {
        state.withLock { state in
            for id in rows { state.rows.release(id) }
            for id in clusters { state.clusters.release(id) }
        }
    }

    /// The names behind a cluster's number.
    public func clusterLabels(_ id: Int) -> RowLabels {
        state.withLock { $0.clusters.entry(id)?.labels }
            ?? RowLabels(route: "", service: "", version: "")
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
            let slot = state.takeSlot()
            state.slots[key] = slot
            let number = MetricRegistry.row(ofKey: key)
            switch SeriesKind(rawValue: key >> 60) {
            case .requests, .errors, .calls, .filters: state.rows.note(key: key, of: number)
            case .cluster: state.clusters.note(key: key, of: number)
            case .refused, .resets, .handshakes, .handshakeFailures, nil: state.others.append(key)
            }
            return slot
        }
    }

    static func listener(ofKey key: UInt64) -> Int { Int(key >> 48 & 0xfff) }
    static func row(ofKey key: UInt64) -> Int { Int(key >> 20 & 0xfff_ffff) }

    /// The first of a row's slots; `nil` when the row was forgotten.
    public func slot(ofRow id: Int) -> Int? { state.withLock { $0.rows.entry(id)?.slot } }

    func noteForgotten() { forgets.add(1, ordering: .releasing) }

    /// How much memory there is for series: rows, clusters, and slots of each shard.
    public var extent: (rows: Int, clusters: Int, slots: Int) {
        state.withLock { ($0.rows.entries.count, $0.clusters.entries.count, $0.nextSlot) }
    }
}
