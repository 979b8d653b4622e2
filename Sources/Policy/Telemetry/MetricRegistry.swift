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
        public static let started = 0, finished = 1
        public static let count = 2
    }

    /// Places in the run of slots of one kind of end (`EndKind`) that requests of a row had which
    /// came by one listener: the time and the bytes of all of them.
    public enum EndSlot {
        public static let durationSum = 0, bytesReceived = 1, bytesSent = 2, buckets = 3
        public static let count = 3 + MetricCatalog.durationBounds.count + 1
    }

    /// Places in the run of slots for the sizes of a row's bodies by one listener: two histograms.
    public enum SizeSlot {
        public static let received = 0
        public static let sent = MetricCatalog.sizeBounds.count + 1
        public static let count = 2 * sent
    }

    /// The kinds of keys that name a single series, or a run of slots.
    public enum SeriesKind: UInt64, Sendable {
        case requests = 1, errors, refused, cluster
        /// Streams that the peer reset: the side in the row, RFC 9113's code.
        case resets
        /// TLS handshakes: the side in the row, the version's last digit.
        case handshakes
        /// Handshakes that failed: the side in the row, `HandshakeFailure`.
        case handshakeFailures
        /// The run of a row's requests of one kind of end, which is the code.
        case ends
        /// Acts of a route's filters: the route's row, `RouteMetric`.
        case filters
        /// The run of the sizes of a row's bodies.
        case sizes

        /// Slots that the key stands for.
        var slotCount: Int {
            switch self {
            case .ends: EndSlot.count
            case .sizes: SizeSlot.count
            case .requests, .errors, .refused, .cluster, .resets, .handshakes,
                .handshakeFailures, .filters:
                1
            }
        }
    }

    /// A listener, as it was when a snapshot named it last.
    struct Listener: Sendable {
        var name: String
        /// Clients must show a certificate.
        var isMutual = false
    }

    struct State {
        var rows = NumberedLabels()
        var clusters = NumberedLabels()
        var listeners: [Listener] = []
        var slots: [UInt64: Int] = [:]
        /// Keys of series that belong to neither a row nor a cluster.
        var others: [UInt64] = []
        /// First slots of runs that are free again, by their length.
        var free: [Int: [Int]] = [:]
        /// Behind the run that is everybody's when there is no room.
        var nextSlot = WorkerMetric.reserved + SizeSlot.count
        /// Pages that are being written.
        var readers = 0
        /// Sets of response flags by their number, less one.
        var flagSets: [ResponseFlags] = []
        /// The names of versions in monitoring, by the number of their cluster.
        var identities: [Int: VersionIdentity] = [:]
        var estates = Estates()

        /// - Returns: the first of so many slots; `overflow` when there is no room for more.
        mutating func take(_ count: Int) -> Int {
            if let slot = free[count]?.popLast() { return slot }
            guard nextSlot + count <= CounterShard.slotMax else { return overflow }
            nextSlot += count
            return nextSlot - count
        }

        mutating func giveBack(_ slot: Int, _ count: Int) {
            if slot != overflow { free[count, default: []].append(slot) }
        }
    }

    /// The slots where everything is counted that has no room of its own, and that no page shows.
    static var overflow: Int { WorkerMetric.reserved }

    let state = Lock(State())
    private let forgets = Atomic<UInt64>(0)

    private let rowsMax: Int

    public init() { rowsMax = MetricRegistry.rowMax }

    /// - Parameter rowsMax: rows that may have a number of their own, fewer than a key has room
    ///   for.
    package init(rowsMax: Int) { self.rowsMax = min(rowsMax, MetricRegistry.rowMax) }

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
                guard state.rows.hasRoom(rowsMax) else {
                    return (MetricRegistry.rowMax, MetricRegistry.overflow)
                }
                id = state.rows.add(labels, slot: state.take(RowSlot.count))
            }
            state.rows.hold(id)
            return (id, state.rows.entry(id)?.slot ?? MetricRegistry.overflow)
        }
    }

    public func listener(_ name: String) -> Int {
        state.withLock { state in
            if let id = state.listeners.firstIndex(where: { $0.name == name }) { return id }
            state.listeners.append(Listener(name: name))
            return state.listeners.count - 1
        }
    }

    /// Says of a listener whether its clients must show a certificate.
    public func describe(listener id: Int, isMutual: Bool) {
        state.withLock { $0.listeners[id].isMutual = isMutual }
    }

    /// Says what a version is to monitoring, by the number of its cluster.
    public func describe(cluster id: Int, _ identity: VersionIdentity) {
        state.withLock { $0.identities[id] = identity }
    }

    /// The number of a (service, version); made when it is new. It is theirs for as long as
    /// somebody holds it.
    public func cluster(service: String, version: String, isMirror: Bool = false) -> Int {
        let labels = RowLabels(
            route: "", service: service, version: version, isMirror: isMirror)
        return state.withLock { state in
            MetricRegistry.cluster(labels, &state)
        }
    }

    private static func cluster(_ labels: RowLabels, _ state: inout State) -> Int {
        if let number = state.clusters.number(labels) { return number }
        return state.clusters.hasRoom(rowMax) ? state.clusters.add(labels, slot: -1) : rowMax
    }

    /// The number of a (service, version), held until `release`.
    /// - Returns: also whether it is new, and may have been another's before.
    public func hold(
        service: String, version: String, isMirror: Bool
    ) -> (id: Int, isNew: Bool) {
        let labels = RowLabels(
            route: "", service: service, version: version, isMirror: isMirror)
        return state.withLock { state in
            let isNew = state.clusters.number(labels) == nil
            let id = MetricRegistry.cluster(labels, &state)
            state.clusters.hold(id)
            return (id, isNew)
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

    /// The largest number of a row or a cluster in a key. The number is nobody's: what has no
    /// number left of its own gets it, and is counted where no page shows it.
    static let rowMax = 0xf_ffff

    /// Kind, listener (12 bits), row or cluster (20), assign (4), number of a set of flags (8), and
    /// code, cause or metric (16) in one word.
    @inlinable @inline(__always)
    public static func key(
        _ kind: SeriesKind, listener: Int, row: Int, assign: Assign, flags: UInt8 = 0, code: UInt16
    ) -> UInt64 {
        kind.rawValue << 60 | UInt64(truncatingIfNeeded: listener & 0xfff) << 48
            | UInt64(truncatingIfNeeded: row & 0xf_ffff) << 28 | UInt64(assign.rawValue) << 24
            | UInt64(flags) << 16 | UInt64(code)
    }

    /// The slot of a series, or the first of a run; made when it is new.
    public func slot(forKey key: UInt64) -> Int {
        state.withLock { MetricRegistry.slot(forKey: key, &$0) }
    }

    /// Where a request is counted that has ended: the slot of its series, and the run of its kind
    /// of end. Both are made when they are new.
    public func places(forRequest key: UInt64) -> (slot: Int, run: Int) {
        let kind = EndKind(RequestCode(rawValue: UInt16(truncatingIfNeeded: key)))
        let ends = MetricRegistry.key(
            .ends, listener: MetricRegistry.listener(ofKey: key),
            row: MetricRegistry.row(ofKey: key), assign: .none, code: UInt16(kind.rawValue))
        return state.withLock { state in
            (
                MetricRegistry.slot(forKey: key, &state),
                MetricRegistry.slot(forKey: ends, &state)
            )
        }
    }

    private static func slot(forKey key: UInt64, _ state: inout State) -> Int {
        if let slot = state.slots[key] { return slot }
        let number = row(ofKey: key)
        guard let kind = SeriesKind(rawValue: key >> 60), number != rowMax else { return overflow }
        let slot = state.take(kind.slotCount)
        state.slots[key] = slot
        switch kind {
        case .requests, .errors, .ends, .filters, .sizes: state.rows.note(key: key, of: number)
        case .cluster: state.clusters.note(key: key, of: number)
        case .refused, .resets, .handshakes, .handshakeFailures: state.others.append(key)
        }
        return slot
    }

    static func listener(ofKey key: UInt64) -> Int { Int(key >> 48 & 0xfff) }
    static func row(ofKey key: UInt64) -> Int { Int(key >> 28 & 0xf_ffff) }
    static func assign(ofKey key: UInt64) -> Assign {
        Assign(rawValue: UInt8(key >> 24 & 0xf)) ?? .none
    }
    static func flags(ofKey key: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: key >> 16) }

    // MARK: Flags

    /// The number of all sets of flags that have none of their own.
    public static let otherFlags: UInt8 = 255

    /// Gives a set of flags a number where it has none and one is left.
    /// - Returns: all sets that have a number, in order: the first has number 1.
    public func number(flags: ResponseFlags) -> [ResponseFlags] {
        state.withLock { state in
            let isKnown = flags.isEmpty || state.flagSets.contains(flags)
            if !isKnown, state.flagSets.count < Int(MetricRegistry.otherFlags) - 1 {
                state.flagSets.append(flags)
            }
            return state.flagSets
        }
    }

    /// The first of a row's slots; `nil` when the row was forgotten.
    public func slot(ofRow id: Int) -> Int? { state.withLock { $0.rows.entry(id)?.slot } }

    func noteForgotten() { forgets.add(1, ordering: .releasing) }

    /// How much memory there is for series: rows, clusters, and slots of each shard.
    public var extent: (rows: Int, clusters: Int, slots: Int) {
        state.withLock { ($0.rows.entries.count, $0.clusters.entries.count, $0.nextSlot) }
    }
}
