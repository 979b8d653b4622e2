import Base

/// The counters of one worker: its shard, and which slot each series has, remembered.
///
/// Confined to its worker, but for the shard, which any thread may read.
public struct WorkerCounters: ~Copyable {
    public let shard: CounterShard
    private let registry: MetricRegistry

    // Not private: see RouteIndex.Bucket.
    struct Entry: BitwiseCopyable {
        var key: UInt64
        var slot: UInt32
        /// The run of the kind of end, where the entry is a request's.
        var run: UInt32
    }
    private var known: FixedArray<Entry>
    private var knownCount = 0
    /// Sets of flags by their number, less one.
    private var flagSets: [ResponseFlags] = []
    /// `MetricRegistry.forgetCount` when what is known was known to be true.
    private var forgetCount: UInt64 = 0

    public init(registry: MetricRegistry, shard: CounterShard) {
        self.registry = registry
        self.shard = shard
        known = FixedArray(repeating: Entry(key: 0, slot: 0, run: 0), count: 256)
    }

    /// A newer snapshot is about to be used, whose numbers may have been others' before: forgets
    /// which slots their series had.
    public mutating func refresh() {
        let count = registry.forgetCount
        if count == forgetCount { return }
        forgetCount = count
        known = FixedArray(repeating: Entry(key: 0, slot: 0, run: 0), count: 256)
        knownCount = 0
    }

    @inline(__always) public func count(_ metric: WorkerMetric, _ amount: UInt64 = 1) {
        shard.add(amount, to: metric.rawValue)
    }

    public mutating func count(_ metric: ClusterMetric, cluster: Int) {
        add(
            MetricRegistry.key(
                .cluster, listener: 0, row: cluster, assign: .none, code: metric.rawValue))
    }

    public mutating func count(_ metric: RouteMetric, row: Int) {
        add(
            MetricRegistry.key(
                .filters, listener: 0, row: row, assign: .none, code: metric.rawValue))
    }

    /// Counts a request that was refused for what it did against HTTP, or asked beyond a limit.
    public mutating func countRefused(listener: Int, cause: UInt8) {
        add(
            MetricRegistry.key(
                .refused, listener: listener, row: 0, assign: .none, code: UInt16(cause)))
    }

    /// A stream that the peer reset; `code` is RFC 9113 §7's.
    public mutating func countReset(_ code: UInt32, isDownstream: Bool) {
        add(
            MetricRegistry.key(
                .resets, listener: 0, row: isDownstream ? 0 : 1, assign: .none,
                code: UInt16(min(code, 0xff))))
    }

    /// A TLS handshake that succeeded; `version` is TLS 1.x's last digit.
    public mutating func countHandshake(version: UInt8, isDownstream: Bool) {
        add(
            MetricRegistry.key(
                .handshakes, listener: 0, row: isDownstream ? 0 : 1, assign: .none,
                code: UInt16(version)))
    }

    public mutating func countHandshakeFailure(_ failure: HandshakeFailure, isDownstream: Bool) {
        add(
            MetricRegistry.key(
                .handshakeFailures, listener: 0, row: isDownstream ? 0 : 1, assign: .none,
                code: UInt16(failure.rawValue)))
    }

    /// Counts a request as started, because it has its row now.
    @inlinable @inline(__always)
    public func started(rowSlot: Int) {
        shard.add(1, to: rowSlot + MetricRegistry.RowSlot.started)
        shard.add(1, to: WorkerMetric.requestsStarted.rawValue)
    }

    /// A copy of a request ended: counted by its outcome and its time alone, since it is nobody's
    /// request.
    public mutating func mirrored(_ summary: borrowing ExchangeSummary) {
        outcome(summary)
    }

    /// Counts a request of a row that ended.
    public mutating func finished(_ summary: borrowing ExchangeSummary, rowSlot: Int) {
        shard.add(1, to: rowSlot + MetricRegistry.RowSlot.finished)
        shard.add(1, to: WorkerMetric.requestsFinished.rawValue)
        shard.add(1, to: summary.protocol.metric.rawValue)
        outcome(summary)
    }

    @inline(__always)
    private mutating func outcome(_ summary: borrowing ExchangeSummary) {
        let code = RequestCode(
            status: summary.status, isGRPC: summary.isGRPC, call: summary.grpcStatus)
        let entry = entry(
            MetricRegistry.key(
                .requests, listener: summary.listener, row: summary.row, assign: summary.assign,
                flags: summary.flags.isEmpty ? 0 : number(summary.flags), code: code.rawValue))
        shard.add(1, to: Int(entry.slot))
        let run = Int(entry.run)
        if summary.bytesReceived > 0 {
            shard.add(summary.bytesReceived, to: run + MetricRegistry.EndSlot.bytesReceived)
        }
        if summary.bytesSent > 0 {
            shard.add(summary.bytesSent, to: run + MetricRegistry.EndSlot.bytesSent)
        }
        let micros = UInt64(max(0, summary.duration.microseconds))
        shard.add(micros, to: run + MetricRegistry.EndSlot.durationSum)
        shard.add(
            1,
            to: run + MetricRegistry.EndSlot.buckets
                + MetricCatalog.durationBucket(microseconds: micros))
        if summary.cause != .none {
            add(
                MetricRegistry.key(
                    .errors, listener: summary.listener, row: summary.row, assign: summary.assign,
                    code: UInt16(summary.cause.rawValue)))
        }
    }

    /// Counts the sizes of an ended request's bodies, where histograms of them are wanted.
    @inline(never)
    public mutating func sizes(_ summary: borrowing ExchangeSummary) {
        let run = Int(
            entry(
                MetricRegistry.key(
                    .sizes, listener: summary.listener, row: summary.row, assign: .none, code: 0)
            ).slot)
        shard.add(
            1,
            to: run + MetricRegistry.SizeSlot.received
                + MetricCatalog.sizeBucket(summary.bytesReceived))
        shard.add(
            1, to: run + MetricRegistry.SizeSlot.sent + MetricCatalog.sizeBucket(summary.bytesSent))
    }

    /// The number of a set of flags that is not empty. Sets are few, and the list of them is asked
    /// for again only when one is new.
    @inline(never)
    private mutating func number(_ flags: ResponseFlags) -> UInt8 {
        if let i = flagSets.firstIndex(of: flags) { return UInt8(i + 1) }
        if flagSets.count < Int(MetricRegistry.otherFlags) - 1 {
            flagSets = registry.number(flags: flags)
        }
        return flagSets.firstIndex(of: flags).map { UInt8($0 + 1) } ?? MetricRegistry.otherFlags
    }

    @inline(__always)
    private mutating func add(_ key: UInt64) {
        // First, or the shard would be retained while the place is looked up.
        let slot = Int(entry(key).slot)
        shard.add(1, to: slot)
    }

    @inline(__always)
    private mutating func entry(_ key: UInt64) -> Entry {
        let mask = known.count - 1
        var place = WorkerCounters.place(key) & mask
        while known[place].key != 0 {
            if known[place].key == key { return known[place] }
            place = (place + 1) & mask
        }
        return learn(key, at: place)
    }

    /// Asks where a series is that is new to the worker.
    @inline(never)
    private mutating func learn(_ key: UInt64, at place: Int) -> Entry {
        var entry = Entry(key: key, slot: 0, run: 0)
        if key >> 60 == MetricRegistry.SeriesKind.requests.rawValue {
            let places = registry.places(forRequest: key)
            entry.slot = UInt32(places.slot)
            entry.run = UInt32(places.run)
        } else {
            entry.slot = UInt32(registry.slot(forKey: key))
        }
        known[place] = entry
        knownCount += 1
        if knownCount * 2 > known.count { grow() }
        return entry
    }

    @inline(__always)
    private static func place(_ key: UInt64) -> Int {
        Int(truncatingIfNeeded: (key &* 0x9e37_79b9_7f4a_7c15) >> 32)
    }

    private mutating func grow() {
        let mask = known.count * 2 - 1
        let next = FixedArray(repeating: Entry(key: 0, slot: 0, run: 0), count: known.count * 2)
        for i in 0..<known.count where known[i].key != 0 {
            var place = WorkerCounters.place(known[i].key) & mask
            while next[place].key != 0 { place = (place + 1) & mask }
            next[place] = known[i]
        }
        known = next
    }
}
