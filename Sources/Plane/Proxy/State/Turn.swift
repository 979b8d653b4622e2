import Base
import Configuration
import HTTP1
import HTTP2
import HTTPSemantics
import Routing
import Telemetry
import Upstream

/// Everything of one worker that is not a slab: the time, the buffers of the event under way,
/// timers, pools, counters, and the effects that the driver is asked for. Confined to one worker.
struct Turn: ~Copyable {
    private let addressOnly = AddressOnly()
    var now: Instant
    var wall: WallTime
    /// The bytes that were read, behind `headroom` bytes in which kept bytes and new heads are
    /// placed.
    var scratch: ByteBuffer
    var headroom: Int
    /// The bytes that were composed.
    var output = ByteBuffer(capacity: 16_384)
    var logLine = ByteBuffer(capacity: 1_024)
    /// The name and the certificate of the client whose line is being written.
    var logClient = ByteBuffer()
    /// Facts that the access log's newest format shows.
    var logNeeds: LogNeeds = []
    var effects = PlainArray<Effect>(capacity: 64)
    var news: [EndpointNews] = []
    /// Clusters whose queues are to be looked after.
    var dueQueues = PlainArray<Int>()
    /// Effects that the driver has taken.
    var effectsTaken = 0

    var requestHead: RequestHead
    var responseHead: ResponseHead
    /// The response head on its way to the client.
    var headOut = ByteBuffer(capacity: 2_048)
    /// Host and path of the request being decided, as they are matched.
    var key = MatchKey()
    /// `date: …` with its CRLF for the second `dateSecond`.
    private var dateLine = ByteBuffer(capacity: 64)
    private var dateSecond: Int64 = -1
    /// A log line's time up to its fraction, for one second.
    private var logTime = ByteBuffer(capacity: 32)
    private var logTimeSecond: Int64 = -1
    var limits: HeadLimits
    /// The limits of the text of streams: as `limits`, with room for the lines that HTTP/2 adds.
    var streamLimits: HeadLimits

    var timers: TimerWheel
    var fired: [UInt64] = []
    var counters: WorkerCounters
    var random: PRNG
    var snapshots: HeldSnapshots
    var endpointPools = PlainArray<EndpointPool>()
    var clusterPools = PlainArray<ClusterPool>()
    var probes: [Probe] = []
    /// The generation of the snapshot in force.
    var generation: UInt64 = 0
    /// Work that one worker does for all: health checks, comparisons of success rates.
    var rounds = Rounds()
    /// The number of this worker, 0...63.
    let worker: Int
    /// The bytes that were read of an HTTP/2 connection while its text is in the scratch. No memory
    /// before the first.
    var raw = ByteBuffer()
    var work = HTTP2Work()
    var workspace = HTTP2Workspace(limits: HeadLimits(headBytesMax: 1_024, fieldCountMax: 1))
    /// An HTTP/2 connection, an inner request or a stream without its connection is there. Else
    /// every effect is a socket's.
    var hasStreams = false
    /// Inner requests whose end has not been performed yet.
    var innerCount = 0
    /// Streams that outlive their HTTP/2 connections.
    var orphanCount = 0
    /// Clients' connections so far.
    var connectionCount: UInt64 = 0
    /// Sockets of clients; streams are not counted.
    var socketCount = 0
    let socketsMax: Int
    var isDraining = false
    /// The process drains, or room for connections is short: each answer is the last of its
    /// connection.
    var endsConnections = false
    /// Where the search for idle connections goes on.
    var evictionHand: UInt32 = 0
    /// Memory is short: new requests are refused.
    var refusesRequests = false
    /// Memory in which a head's text is edited.
    var spare = ByteBuffer()

    /// Bytes that one read may bring.
    static let readBytesMax = 65_536

    init(_ setup: DataPlane.Setup, shard: CounterShard, now: Instant, wall: WallTime) {
        self.now = now
        self.wall = wall
        headroom = 0
        scratch = ByteBuffer()
        let settings = setup.snapshot.value.settings
        limits = HeadLimits()
        streamLimits = HeadLimits()
        requestHead = RequestHead(fieldCountMax: 1)
        responseHead = ResponseHead(fieldCountMax: 1)
        timers = TimerWheel(now: now)
        counters = WorkerCounters(registry: setup.metrics, shard: shard)
        random = PRNG(seed: setup.seed)
        snapshots = HeldSnapshots(setup.snapshot)
        worker = setup.worker
        socketsMax = setup.connectionsMax
        logNeeds = setup.snapshot.value.logNeeds
        apply(settings.limits)
    }

    /// Sizes the buffers for the limits in force.
    mutating func apply(_ new: Document.Limits) {
        limits = HeadLimits(headBytesMax: new.headBytes, fieldCountMax: new.fields)
        streamLimits = HeadLimits(
            headBytesMax: new.headBytes + HTTP2Connection.textBytesAdded,
            fieldCountMax: new.fields + HTTP2Connection.textFieldsAdded)
        // Kept bytes (a head and one read at most), and a head that is placed in front of them.
        // What was kept under wider limits must still fit.
        headroom = max(headroom, new.headBytes * 2 + Turn.readBytesMax + 16_384)
        scratch = ByteBuffer(capacity: headroom + Turn.readBytesMax)
        scratch.clear(headroom: headroom)
        if requestHead.fields.capacity != streamLimits.fieldCountMax {
            requestHead = RequestHead(fieldCountMax: streamLimits.fieldCountMax)
            responseHead = ResponseHead(fieldCountMax: streamLimits.fieldCountMax)
        }
        // HTTP/2 connections that are open go on under the new limits.
        raw.release()
        if hasStreams { prepareForHTTP2() }
    }

    /// Kept bytes of a stream that are shown again at once: all of a trailer section must be there.
    var shownBytesMax: Int {
        max(Turn.readBytesMax, limits.headBytesMax + 2 * HTTP2Connection.textBytesAdded)
    }

    /// Memory that only HTTP/2 connections need, made with the first.
    mutating func prepareForHTTP2() {
        hasStreams = true
        guard raw.capacity == 0 else { return }
        raw = ByteBuffer(capacity: headroom + Turn.readBytesMax)
        workspace = HTTP2Workspace(limits: limits)
    }

    /// The Date field line of now, composed once a second.
    @_lifetime(immortal)
    mutating func date() -> Span<UInt8> {
        if wall.seconds != dateSecond {
            dateSecond = wall.seconds
            dateLine.clear()
            dateLine.append("date: ")
            HTTPDate.append(wall, to: &dateLine)
            dateLine.append("\r\n")
        }
        return dateLine.readable
    }

    /// A log line's time up to its fraction, composed once a second.
    @_lifetime(immortal)
    mutating func logSecond(_ time: WallTime) -> Span<UInt8> {
        if time.seconds != logTimeSecond {
            logTimeSecond = time.seconds
            logTime.clear()
            HTTPDate.appendRFC3339(second: time, to: &logTime)
        }
        return logTime.readable
    }

    /// The bytes that a connection has to understand now: those it kept, moved in front of those
    /// that were just read. What is still not understood must be kept again.
    @inline(__always)
    mutating func gather(_ kept: inout ByteBuffer, read count: Int) -> Range<Int> {
        let end = headroom + count
        if kept.isEmpty { return headroom..<end }
        let start = scratch.place(kept.readable, endingAt: headroom)
        kept.release()
        return start..<end
    }

    /// Tells whoever runs the process what happened to an endpoint.
    mutating func tell(
        _ kind: EndpointNews.Kind, _ cluster: SharedBox<Cluster>, _ endpoint: Address
    ) {
        tell(kind, cluster: cluster.value.id, endpoint)
    }

    mutating func tell(_ kind: EndpointNews.Kind, cluster: Int, _ endpoint: Address) {
        news.append(EndpointNews(kind: kind, cluster: cluster, endpoint: endpoint))
        effects.append(.wakeControl)
    }

    /// A request of the cluster's queue may have a connection now: looked after when the effects so
    /// far are performed (`DataPlane.advance`).
    ///
    /// - Parameter asks: what waits on is told to the other workers.
    @inline(never)
    mutating func queueIsDue(_ cluster: Int, asks: Bool = false) {
        guard cluster < clusterPools.count else { return }
        if asks { clusterPools[cluster].asksOthers = true }
        guard !clusterPools[cluster].isDue else { return }
        clusterPools[cluster].isDue = true
        dueQueues.append(cluster)
    }

    mutating func send(_ id: ConnectionID, _ source: Effect.Source, _ range: ByteRange) {
        if !range.isEmpty { effects.append(.send(id, source, range)) }
    }
}

/// Snapshots in use by one worker: the newest, and older ones with exchanges still under way.
struct HeldSnapshots: ~Copyable {
    // Not private: see RouteIndex.Bucket.
    struct Entry: BitwiseCopyable {
        var box: SharedBox<Snapshot>
        /// Exchanges that began with it; -1 for a vacant entry.
        var users: Int
    }

    private var entries = PlainArray<Entry>(capacity: 4)
    private(set) var current = 0

    /// Takes over the caller's reference.
    init(_ first: SharedBox<Snapshot>) { entries.append(Entry(box: first, users: 0)) }

    deinit {
        for i in 0..<entries.count where entries[i].users >= 0 { entries[i].box.release() }
    }

    var newest: SharedBox<Snapshot> { entries[current].box }

    subscript(index: Int) -> SharedBox<Snapshot> { entries[index].box }

    /// Puts a snapshot in force here and takes over the caller's reference.
    mutating func adopt(_ next: SharedBox<Snapshot>) {
        let previous = current
        current = entries.count
        for i in 0..<entries.count where entries[i].users < 0 {
            current = i
            break
        }
        if current == entries.count {
            entries.append(Entry(box: next, users: 0))
        } else {
            entries[current] = Entry(box: next, users: 0)
        }
        if entries[previous].users == 0 { drop(previous) }
    }

    /// An exchange begins with the newest snapshot; returns its index.
    mutating func pin() -> Int {
        entries[current].users += 1
        return current
    }

    mutating func unpin(_ index: Int) {
        entries[index].users -= 1
        if entries[index].users == 0, index != current { drop(index) }
    }

    private mutating func drop(_ index: Int) {
        entries[index].box.release()
        entries[index].users = -1
    }
}

/// One endpoint as this worker uses it.
struct EndpointPool: BitwiseCopyable {
    /// Newest idle connection.
    var idle = UpstreamID.none
    var idleCount = 0
    /// Newest HTTP/2 connection that takes streams.
    var links = HTTP2LinkID.none
    /// Connections that are being made.
    var connectingCount = 0
    /// Whether the endpoint chose HTTP/2 when it was asked (ALPN).
    var speaksHTTP2 = false
    /// Whether the endpoint ended an HTTP/2 connection because of PINGs.
    var wasToldTooManyPings = false
    /// Whether the endpoint's settings do not offer WebSockets over HTTP/2 (RFC 8441 §3), and
    /// whether that was logged.
    var lacksWebSockets = false
    var hasToldOfWebSockets = false
    /// Whether it was logged that the endpoint speaks another version of HTTP than is configured.
    var hasToldOfProtocol = false
    /// Requests in flight from this worker.
    var load = 0
    var probe = -1
    /// The last snapshot that named it.
    var generation: UInt64 = 0
}

/// One cluster as this worker uses it.
struct ClusterPool: BitwiseCopyable {
    var state: SharedBox<ClusterState>?
    var limits = PoolLimits()
    var firstPending = AttemptID.none
    var lastPending = AttemptID.none
    var pendingCount = 0
    /// The queue is to be looked after, and whether other workers are to be asked then.
    var isDue = false
    var asksOthers = false
    var idleCount = 0
    /// The transport of connections that may serve.
    var transport: UInt64 = 0
    /// Prior knowledge: every connection is one of HTTP/2.
    var speaksHTTP2 = false
    /// Choices so far, for round robin.
    var turn: UInt32 = 0
}

/// Looks for an endpoint that refused a connect until it is back.
struct Probe: BitwiseCopyable {
    var endpoint: SharedBox<EndpointState>
    var cluster: SharedBox<ClusterState>
    var connectTimeout: Duration
    var warmup: Warmup?
    var backoff = ProbeBackoff()
    var timer = LazyTimer()
    var isActive = false
}
