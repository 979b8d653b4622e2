import Base

// What a registry has, for pages, and what it lets go of.

extension MetricRegistry {
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
        public var id: Int
        public var labels: RowLabels
        public var slot: Int
    }

    public struct ClusterName: Sendable {
        public var id: Int
        public var labels: RowLabels
    }

    /// Numbers of rows, clusters and listeners.
    public struct Selection: Sendable, Equatable {
        public var rows: Set<Int> = []
        public var clusters: Set<Int> = []
        public var listeners: Set<Int> = []
        public init() {}
    }

    /// Everything that has a slot now.
    public struct Contents: Sendable {
        public var rows: [Row] = []
        public var series: [Series] = []
        public var clusters: [ClusterName] = []
        /// By number.
        public var listeners: [String] = []
    }

    /// Numbers that are looked at while the lock is held: a worker with a new series waits for it.
    private static let sliceCount = 256

    // MARK: Reading

    /// Reads numbers and slots that must stay what they are until the end. Nothing is forgotten
    /// meanwhile.
    public func reading<Result>(_ body: () -> Result) -> Result {
        state.withLock { $0.readers += 1 }
        defer { state.withLock { $0.readers -= 1 } }
        return body()
    }

    /// Everything that has a slot now, but for what is hidden.
    public func contents(hiding hidden: Selection = Selection()) -> Contents {
        var all = Contents()
        all.listeners = state.withLock { $0.listeners }
        collect(\.rows) { id, entry, slots in
            if hidden.rows.contains(id) || entry.slot == MetricRegistry.overflow { return }
            all.rows.append(Row(id: id, labels: entry.labels, slot: entry.slot))
            all.add(entry, slots, hidden)
        }
        collect(\.clusters) { id, entry, slots in
            if hidden.clusters.contains(id) { return }
            all.clusters.append(ClusterName(id: id, labels: entry.labels))
            all.add(entry, slots, hidden)
        }
        let (keys, slots) = state.withLock { state in
            (state.others, state.others.map { state.slots[$0] ?? MetricRegistry.overflow })
        }
        let none = RowLabels(route: "", service: "", version: "")
        for (key, slot) in zip(keys, slots) { all.add(key, slot, none, hidden) }
        return all
    }

    /// Visits entries and the slots of their series, a slice of them for each time that the lock is
    /// taken.
    private func collect(
        _ list: KeyPath<State, NumberedLabels> & Sendable,
        _ body: (Int, NumberedLabels.Entry, [Int]) -> Void
    ) {
        var start = 0
        while true {
            let slice = state.withLock { state in
                let entries = state[keyPath: list].entries
                return (start..<min(start + MetricRegistry.sliceCount, entries.count)).map { id in
                    (
                        entries[id],
                        entries[id]?.keys.map { state.slots[$0] ?? MetricRegistry.overflow } ?? []
                    )
                }
            }
            if slice.isEmpty { return }
            for (i, item) in slice.enumerated() {
                if let entry = item.0 { body(start + i, entry, item.1) }
            }
            start += slice.count
        }
    }

    // MARK: Forgetting

    /// Lets go of rows and clusters that nobody holds, and of their series.
    ///
    /// - Parameters:
    ///   - selection: what has left the page. Its listeners stay.
    ///   - shards: of all workers.
    /// - Returns: what was forgotten. The rest is held, or a page is being written: try later.
    public func forget(_ selection: Selection, _ shards: [CounterShard]) -> Selection {
        var forgotten = Selection()
        for ids in MetricRegistry.slices(selection.rows) {
            forgotten.rows.formUnion(forget(ids, \.rows, runs: RowSlot.count, shards))
        }
        for ids in MetricRegistry.slices(selection.clusters) {
            forgotten.clusters.formUnion(forget(ids, \.clusters, runs: 0, shards))
        }
        return forgotten
    }

    private static func slices(_ ids: Set<Int>) -> [ArraySlice<Int>] {
        let sorted = ids.sorted()
        return stride(from: 0, to: sorted.count, by: sliceCount).map {
            sorted[$0..<min($0 + sliceCount, sorted.count)]
        }
    }

    /// In three steps: out of the lists, where no page finds them any more; to zero, which nobody
    /// else writes or reads now; to those that are free.
    private func forget(
        _ ids: ArraySlice<Int>, _ list: WritableKeyPath<State, NumberedLabels> & Sendable,
        runs length: Int, _ shards: [CounterShard]
    ) -> [Int] {
        let (forgotten, runs, slots) = state.withLock { state -> ([Int], [Int], [Int]) in
            guard state.readers == 0 else { return ([], [], []) }
            var forgotten: [Int] = [], runs: [Int] = [], slots: [Int] = []
            for id in ids {
                guard let entry = state[keyPath: list].forget(id) else { continue }
                forgotten.append(id)
                if length > 0 { runs.append(entry.slot) }
                slots += entry.keys.compactMap { state.slots.removeValue(forKey: $0) }
            }
            return (
                forgotten, runs.filter { $0 != MetricRegistry.overflow },
                slots.filter { $0 != MetricRegistry.overflow }
            )
        }
        if forgotten.isEmpty { return [] }
        for shard in shards {
            for run in runs { for i in 0..<length { shard.clear(run + i) } }
            for slot in slots { shard.clear(slot) }
        }
        noteForgotten()
        state.withLock { state in
            for id in forgotten { state[keyPath: list].free(id) }
            state.freeRuns += runs
            state.freeSlots += slots
        }
        return forgotten
    }
}

extension MetricRegistry.Contents {
    fileprivate mutating func add(
        _ entry: NumberedLabels.Entry, _ slots: [Int], _ hidden: MetricRegistry.Selection
    ) {
        for (key, slot) in zip(entry.keys, slots) { add(key, slot, entry.labels, hidden) }
    }

    fileprivate mutating func add(
        _ key: UInt64, _ slot: Int, _ labels: MetricRegistry.RowLabels,
        _ hidden: MetricRegistry.Selection
    ) {
        guard let kind = MetricRegistry.SeriesKind(rawValue: key >> 60),
            slot != MetricRegistry.overflow
        else { return }
        let listener = MetricRegistry.listener(ofKey: key)
        switch kind {
        case .requests, .errors, .refused: if hidden.listeners.contains(listener) { return }
        case .cluster, .resets, .handshakes, .handshakeFailures, .calls, .filters: break
        }
        series.append(
            MetricRegistry.Series(
                kind: kind, listener: listener < listeners.count ? listeners[listener] : "",
                labels: labels, assign: Assign(rawValue: UInt8(key >> 16 & 0xf)) ?? .none,
                code: UInt16(key & 0xffff), slot: slot, key: key))
    }
}
