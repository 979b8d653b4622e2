import Base
import Configuration
import Platform
import Proxy
import Synchronization
import Telemetry

/// The part of a worker that other threads share. ARCHITECTURE.md lists it in full.
final class Worker: Sendable {
    let index: Int
    let mailbox: Mailbox
    let shard: CounterShard
    let logRing: ByteRing
    /// The snapshot generation this worker uses.
    let generation = Atomic<UInt64>(0)
    /// Listening sockets it has let go of since start.
    let listenersRemoved = Atomic<Int>(0)
    let hasStopped = Atomic<Bool>(false)

    init(index: Int, shard: CounterShard) throws(SystemError) {
        self.index = index
        self.shard = shard
        mailbox = try Mailbox()
        // A hundredth of a second at 100,000 lines a second is 600 KB. Pages that are not used take
        // no memory.
        logRing = ByteRing(capacity: 1 << 22)
    }
}

/// The state that all workers share.
final class WorkerGroup: Sendable {
    let cell: SnapshotCell
    /// Client connections of each worker, to spread new ones.
    let loads: Loads
    let logWriter: LogWriter
    let admission: Admission
    /// Wakes the control thread when a split needs its next pages, an endpoint has news, or a
    /// worker has taken over what it was told.
    let controlWanted: Wakeup
    let log: ProcessLog
    private let news = Lock<[EndpointNews]>([])
    private let members = Lock<[Worker]>([])
    private let contexts = Lock(TLSDirectory.none)

    init(
        cell: SnapshotCell, count: Int, logWriter: LogWriter, admission: Admission, log: ProcessLog
    ) throws(SystemError) {
        self.admission = admission
        self.log = log
        self.cell = cell
        loads = Loads(count: count)
        self.logWriter = logWriter
        controlWanted = try Wakeup()
    }

    /// The most news that is kept while nobody takes it.
    private static let newsMax = 1_000

    /// Wakes the control thread, with news for the process's log, which a worker must not wait for.
    func tell(_ items: [EndpointNews]) {
        if !items.isEmpty { news.withLock { if $0.count < WorkerGroup.newsMax { $0 += items } } }
        controlWanted.wake()
    }

    func takeNews() -> [EndpointNews] {
        news.withLock { news in
            defer { news = [] }
            return news
        }
    }

    /// The TLS contexts in force; put there before the snapshot that goes with them.
    var directory: TLSDirectory {
        get { contexts.withLock { $0 } }
        set { contexts.withLock { $0 = newValue } }
    }

    var workers: [Worker] { members.withLock { $0 } }

    func add(_ worker: Worker) { members.withLock { $0.append(worker) } }

    var shards: [CounterShard] { workers.map(\.shard) }

    func tellAll(_ mail: Mail) {
        for worker in workers { worker.mailbox.put(mail) }
    }
}

/// Asks the counters of all workers about rows.
struct RowActivity: Sendable {
    let metrics: MetricRegistry
    let shards: [CounterShard]

    /// Whether requests of a row are in flight.
    func isBusy(_ row: Int) -> Bool {
        guard let slot = metrics.slot(ofRow: row) else { return false }
        // In this order: what ends in between is then not taken for a request that runs.
        let finished = sum(slot + MetricRegistry.RowSlot.finished)
        return sum(slot + MetricRegistry.RowSlot.started) > finished
    }

    /// Whether a row has counted a request.
    func hasCounted(_ row: Int) -> Bool {
        guard let slot = metrics.slot(ofRow: row) else { return false }
        return sum(slot + MetricRegistry.RowSlot.started) > 0
    }

    private func sum(_ slot: Int) -> UInt64 { shards.reduce(0) { $0 &+ $1.value(slot) } }
}

/// Open client connections of each worker.
final class Loads: Sendable {
    private let counters: SharedCounters
    private let sum = Atomic<Int>(0)

    init(count: Int) { counters = SharedCounters(count: count) }

    /// Counts a new connection for the least loaded worker; of equals `preferred`.
    func take(preferring preferred: Int) -> Int {
        sum.add(1, ordering: .relaxed)
        return counters.takeLeast(preferring: preferred)
    }

    func giveBack(_ worker: Int) {
        sum.subtract(1, ordering: .relaxed)
        counters.giveBack(worker)
    }

    /// The number of all workers' open client connections.
    var total: Int { sum.load(ordering: .relaxed) }
    subscript(worker: Int) -> Int { Int(counters[worker]) }
}
