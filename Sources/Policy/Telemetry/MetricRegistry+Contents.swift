import Base

// What a registry has, for pages, and what it lets go of.

extension MetricRegistry {
    /// One series, or run of slots, with its labels, for the page.
    public struct Series: Sendable {
        public var kind: SeriesKind
        public var listener: String
        /// Clients of the listener must show a certificate.
        public var isMutual: Bool
        /// The number of the row or cluster.
        public var row: Int
        public var labels: RowLabels
        public var assign: Assign
        /// The number of the set of response flags.
        public var flags: UInt8
        public var code: UInt16
        public var slot: Int
        /// The row, or the listener, has left the page: the series is part of sums alone.
        public var isRowHidden: Bool
        public var isListenerHidden: Bool
    }

    public struct Row: Sendable {
        public var id: Int
        public var labels: RowLabels
        public var slot: Int
    }

    public struct ClusterName: Sendable {
        public var id: Int
        public var labels: RowLabels
        /// The version's names in monitoring; `nil` for a mirror's cluster.
        public var identity: VersionIdentity?
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
        /// Whether clients must show a certificate, by the listener's number.
        var isMutual: [Bool] = []
        /// Sets of response flags by their number; the first is empty.
        var flagSets: [ResponseFlags] = []
        var estates = Estates()
    }

    /// Numbers that are looked at while the lock is held: a worker with a new series waits for it.
    private static let sliceCount = 256

    // MARK: Reading

    /// Reads numbers and slots that must stay what they are until the end. Nothing is forgotten
    /// meanwhile.
    public func reading<Result: ~Copyable>(_ body: () -> Result) -> Result {
        state.withLock { $0.readers += 1 }
        defer { state.withLock { $0.readers -= 1 } }
        return body()
    }

    /// Everything that has a slot now, but for what is hidden: of that only series that are parts
    /// of sums.
    public func contents(hiding hidden: Selection = Selection()) -> Contents {
        var all = Contents()
        let identities = state.withLock { state in
            all.listeners = state.listeners.map(\.name)
            all.isMutual = state.listeners.map(\.isMutual)
            all.flagSets = [[]] + state.flagSets
            all.estates = state.estates
            return state.identities
        }
        collect(\.rows) { id, entry, slots in
            if entry.slot == MetricRegistry.overflow { return }
            let isHidden = hidden.rows.contains(id)
            if !isHidden { all.rows.append(Row(id: id, labels: entry.labels, slot: entry.slot)) }
            all.add(entry, slots, hidden, isHidden: isHidden)
        }
        collect(\.clusters) { id, entry, slots in
            if hidden.clusters.contains(id) { return }
            all.clusters.append(
                ClusterName(id: id, labels: entry.labels, identity: identities[id]))
            all.add(entry, slots, hidden, isHidden: false)
        }
        let (keys, slots) = state.withLock { state in
            (state.others, state.others.map { state.slots[$0] ?? MetricRegistry.overflow })
        }
        let none = RowLabels(route: "", service: "", version: "")
        for (key, slot) in zip(keys, slots) { all.add(key, slot, none, hidden, isHidden: false) }
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
            forgotten.rows.formUnion(forget(ids, \.rows, shards))
        }
        for ids in MetricRegistry.slices(selection.clusters) {
            forgotten.clusters.formUnion(forget(ids, \.clusters, shards))
        }
        return forgotten
    }

    private static func slices(_ ids: Set<Int>) -> [ArraySlice<Int>] {
        let sorted = ids.sorted()
        return stride(from: 0, to: sorted.count, by: sliceCount).map {
            sorted[$0..<min($0 + sliceCount, sorted.count)]
        }
    }

    /// In three steps: out of the lists, where no page finds them any more, and into the sums that
    /// stay; to zero, which nobody else writes or reads now; to those that are free.
    private func forget(
        _ ids: ArraySlice<Int>, _ list: WritableKeyPath<State, NumberedLabels> & Sendable,
        _ shards: [CounterShard]
    ) -> [Int] {
        let (forgotten, runs) = state.withLock { state -> ([Int], [Run]) in
            guard state.readers == 0 else { return ([], []) }
            var forgotten: [Int] = [], runs: [Run] = []
            for id in ids {
                guard let entry = state[keyPath: list].forget(id) else { continue }
                forgotten.append(id)
                if entry.slot >= 0 { runs.append(Run(slot: entry.slot, count: RowSlot.count)) }
                runs += state.bequeath(entry, id, shards)
            }
            return (forgotten, runs.filter { $0.slot != MetricRegistry.overflow })
        }
        if forgotten.isEmpty { return [] }
        for shard in shards {
            for run in runs { for i in 0..<run.count { shard.clear(run.slot + i) } }
        }
        noteForgotten()
        state.withLock { state in
            for id in forgotten { state[keyPath: list].free(id) }
            for run in runs { state.giveBack(run.slot, run.count) }
        }
        return forgotten
    }

    /// Consecutive slots.
    struct Run: Sendable {
        var slot: Int
        var count: Int
    }
}

extension MetricRegistry.State {
    /// Takes the series of forgotten labels out of the lists, and what they have counted into the
    /// sums that stay.
    /// - Returns: where they were.
    fileprivate mutating func bequeath(
        _ entry: NumberedLabels.Entry, _ id: Int, _ shards: [CounterShard]
    ) -> [MetricRegistry.Run] {
        let isRow = entry.slot >= 0
        let isNamed =
            entry.labels.version.isEmpty || clusters.number(Estates.owner(entry.labels)) != nil
        var runs: [MetricRegistry.Run] = []
        for key in entry.keys {
            guard let slot = slots.removeValue(forKey: key), slot != MetricRegistry.overflow,
                let kind = MetricRegistry.SeriesKind(rawValue: key >> 60)
            else { continue }
            let run = MetricRegistry.Run(slot: slot, count: kind.slotCount)
            runs.append(run)
            guard isRow else { continue }
            let values = (0..<run.count).map { i in
                shards.reduce(UInt64(0)) { $0 &+ $1.value(slot + i) }
            }
            estates.inherit(entry.labels, key, values, isNamed: isNamed)
        }
        if !isRow {
            identities[id] = nil
            estates.close(entry.labels)
        }
        return runs
    }
}

extension MetricRegistry.Contents {
    fileprivate mutating func add(
        _ entry: NumberedLabels.Entry, _ slots: [Int], _ hidden: MetricRegistry.Selection,
        isHidden: Bool
    ) {
        for (key, slot) in zip(entry.keys, slots) {
            add(key, slot, entry.labels, hidden, isHidden: isHidden)
        }
    }

    fileprivate mutating func add(
        _ key: UInt64, _ slot: Int, _ labels: MetricRegistry.RowLabels,
        _ hidden: MetricRegistry.Selection, isHidden: Bool
    ) {
        guard let kind = MetricRegistry.SeriesKind(rawValue: key >> 60),
            slot != MetricRegistry.overflow
        else { return }
        let listener = MetricRegistry.listener(ofKey: key)
        let isListenerHidden: Bool
        switch kind {
        case .requests, .ends, .sizes: isListenerHidden = hidden.listeners.contains(listener)
        case .errors, .refused:
            if isHidden || hidden.listeners.contains(listener) { return }
            isListenerHidden = false
        case .cluster, .resets, .handshakes, .handshakeFailures, .filters:
            if isHidden { return }
            isListenerHidden = false
        }
        series.append(
            MetricRegistry.Series(
                kind: kind, listener: listener < listeners.count ? listeners[listener] : "",
                isMutual: listener < isMutual.count && isMutual[listener],
                row: MetricRegistry.row(ofKey: key), labels: labels,
                assign: MetricRegistry.assign(ofKey: key),
                flags: MetricRegistry.flags(ofKey: key), code: UInt16(key & 0xffff), slot: slot,
                isRowHidden: isHidden, isListenerHidden: isListenerHidden))
    }
}
