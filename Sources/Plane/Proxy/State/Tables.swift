import Base
import Configuration
import HTTP1
import HTTPSemantics
import Telemetry
import Upstream

/// The slabs of one worker. Slots point to each other by `SlotID`, never by reference.
struct Tables: ~Copyable {
    private let addressOnly = AddressOnly()
    var downstream: Slab<DownstreamConnection>
    var exchanges: Slab<Exchange>
    var attempts: Slab<Attempt>
    var upstream: Slab<UpstreamConnection>
    var sessions: Slab<SessionLink>

    init(connectionsMax: Int) {
        // Streams are connections too; slots cost nothing until they are used.
        let slotsMax = connectionsMax * 2 + 100_000
        downstream = Slab(countMax: slotsMax) { DownstreamConnection() }
        exchanges = Slab(countMax: slotsMax) { Exchange() }
        attempts = Slab(countMax: slotsMax) { Attempt() }
        upstream = Slab(countMax: slotsMax) { UpstreamConnection() }
        sessions = Slab(countMax: connectionsMax * 2) { SessionLink() }
    }
}

/// A client's connection.
///
///     idle ──bytes──▶ head ──complete──▶ exchange ──response done──▶ idle
///                      │                  │   └──101 or CONNECT──▶ tunnel
///                      └──refused──▶ lingering ◀──┘ close announced
struct DownstreamConnection: ~Copyable {
    enum Phase: UInt8, BitwiseCopyable {
        /// Between requests.
        case idle
        /// Part of a head is there.
        case head
        /// A request is under way; its body may still be arriving.
        case exchange
        case tunnel
        /// The last response is out; input is read and dropped until the peer closes.
        case lingering
        /// A socket that carries streams.
        case session
        /// A stream that is over; its slot goes with the effects that still name it.
        case closed
    }

    var phase = Phase.idle
    var listener = 0
    var peer = Address(family: .ipv4, port: 0, high: 0, low: 0)
    /// Of TLS, by its last digit: 3 for TLS 1.3. 0: not encrypted.
    var tlsVersion: UInt8 = 0
    var exchange = SlotID.none
    var parser = RequestHeadParser()
    /// Finds the request body's end.
    var body = BodyDecoder(.none)
    /// Bytes read and not understood yet, or not wanted yet.
    var inbound = ByteBuffer()
    /// Bytes to be written that the socket did not take.
    var outbound = ByteBuffer()
    /// The client's certificate as an element of `x-forwarded-client-cert`.
    var identity = ByteBuffer()
    /// A TLS handshake is under way.
    var isSecuring = false
    var isReadPaused = false
    /// The peer has sent its last byte.
    var hasEnded = false
    /// The session that the socket carries, or that the stream belongs to.
    var session = SlotID.none
    /// Of a stream: its slot in the session.
    var stream = SlotID.none
    /// Of a stream: so much waits for its window that the source must wait.
    var isStalled = false
    /// Of a stream: its end comes behind the kept bytes.
    var endsBehindKept = false
    /// A request was read from it.
    var hasServed = false
    /// Nothing more will be written once `outbound` is empty.
    var closesAfterFlush = false
    /// Half of a tunnel has ended: pass it on once `outbound` is empty.
    var shutsDownAfterFlush = false
    var timer = LazyTimer()

    /// When it takes no new request any more.
    var expires = Instant.never
    /// The peer has not taken everything for a while; the timer is the time that it has for it.
    var isBlocked = false
    /// How long it may take nothing of what waits: `timeouts.write` of its last request's route.
    var patience = Duration.unlimited
    /// Newest of the connections to endpoints that carry this client's identity and are not in use
    /// (`PrivateConnections`).
    var firstPrivate = SlotID.none

    /// Not a socket: a stream of HTTP/2, or nobody's end of an inner request.
    var isStream: Bool { !stream.isNone }
    var isInner: Bool { stream == .inner }
    var isSecure: Bool { tlsVersion != 0 }
    /// Bytes wait that the peer does not take now.
    var hasUnsent: Bool { !outbound.isEmpty || isStalled }
    /// Whether more may be read: it is wanted, and what is kept is a part of a head at most.
    @inline(__always)
    func takes(atMost headBytes: Int) -> Bool {
        !isReadPaused && !hasEnded && inbound.count <= headBytes
    }

    /// In place of a time that is over: the connection's listener is gone, or everything ends.
    static var left: Instant { Instant(nanoseconds: 0) }
    /// In place of a time that is over: it waits for a last request, but not for long.
    static var called: Instant { Instant(nanoseconds: 1) }

    mutating func reset() {
        session = .none
        stream = .none
        isStalled = false
        endsBehindKept = false
        hasServed = false
        tlsVersion = 0
        identity.release()
        isSecuring = false
        phase = .idle
        exchange = .none
        parser = RequestHeadParser()
        body = BodyDecoder(.none)
        inbound.release()
        outbound.release()
        isReadPaused = false
        hasEnded = false
        closesAfterFlush = false
        shutsDownAfterFlush = false
        expires = .never
        isBlocked = false
        firstPrivate = .none
        timer.clear()
    }

    init() {}
}

extension SlotID {
    /// In place of a stream: nobody's end of a request that Sluice makes itself.
    static var inner: SlotID { SlotID(index: .max, generation: 1) }
}

/// A connection to an endpoint.
///
///     connecting ──▶ idle ⇄ busy ──101 or CONNECT──▶ tunnel
struct UpstreamConnection: ~Copyable {
    enum Phase: UInt8, BitwiseCopyable {
        case connecting, idle, busy, tunnel
        /// A socket that carries streams.
        case session
        /// A stream that is over; its slot goes with the effects that still name it.
        case closed
    }

    var phase = Phase.connecting
    /// Of the endpoint and cluster in this process.
    var endpoint = 0
    var cluster = 0
    /// Encrypted by TLS.
    var isSecure = false
    /// The way it was made; others may be in force since.
    var transport: UInt64 = 0
    /// Of a socket: where it leads.
    var address = Address(family: .ipv4, port: 0, high: 0, low: 0)
    var attempt = SlotID.none
    var parser = ResponseHeadParser()
    var body = BodyDecoder(.none)
    var inbound = ByteBuffer()
    var outbound = ByteBuffer()
    var isReadPaused = false
    var hasEnded = false
    var shutsDownAfterFlush = false
    var requestCount = 0
    /// The response under way leaves the connection usable.
    var keepsAlive = false
    /// Opened only to see whether a refused endpoint is back.
    var isProbe = false
    /// Opened for a health check, and for that alone: no place in the pool, no limit.
    var isCheck = false
    var check = 0
    /// When it serves no new request any more.
    var expires = Instant.never
    /// Its endpoint is named no more, or reached in another way: it serves no new request.
    var isRetired = false
    /// The session that the socket carries, or that the stream belongs to.
    var session = SlotID.none
    /// Of a stream: its slot in the session.
    var stream = SlotID.none
    /// Of a stream: so much waits for its window that the source must wait.
    var isStalled = false
    /// Of a stream: its end comes behind the kept bytes.
    var endsBehindKept = false
    /// The peer said that it has not acted on the request (RFC 9113 §8.7).
    var isUnprocessed = false
    /// The peer wants the request by HTTP/1.1 (RFC 9113 §7, HTTP_1_1_REQUIRED).
    var wantsHTTP1 = false
    /// It was one of more than the peer's settings allow by now.
    var isBeyondLimit = false
    /// Of a stream: it was reset here, because of what its frames say.
    var isMalformed = false
    /// Made for a request that HTTP/2 cannot carry: ALPN offers HTTP/1.1 alone, and no other
    /// request gets it.
    var onlyHTTP1 = false
    /// Of a stream: its session is gone, and its whole answer is still on its way to the client.
    var outlivesSession = false
    /// Whose identity it carries while it waits for that client's next request.
    var client = SlotID.none
    /// Neighbours in the endpoint's list of idle connections, or in the client's, newest first.
    var nextIdle = SlotID.none
    var previousIdle = SlotID.none
    var timer = LazyTimer()

    /// A connection of HTTP/1.1 that is a stream of HTTP/2.
    var isStream: Bool { !stream.isNone }
    /// Bytes wait that the peer does not take now.
    var hasUnsent: Bool { !outbound.isEmpty || isStalled }
    /// Whether more may be read: it is wanted, and what is kept is a part of a head at most.
    @inline(__always)
    func takes(atMost headBytes: Int) -> Bool {
        !isReadPaused && !hasEnded && phase != .connecting && inbound.count <= headBytes
    }

    mutating func reset() {
        session = .none
        stream = .none
        isStalled = false
        endsBehindKept = false
        isUnprocessed = false
        wantsHTTP1 = false
        isBeyondLimit = false
        isMalformed = false
        onlyHTTP1 = false
        outlivesSession = false
        isSecure = false
        phase = .connecting
        attempt = .none
        parser = ResponseHeadParser()
        body = BodyDecoder(.none)
        inbound.release()
        outbound.release()
        isReadPaused = false
        hasEnded = false
        shutsDownAfterFlush = false
        requestCount = 0
        isProbe = false
        isCheck = false
        isRetired = false
        expires = .never
        client = .none
        nextIdle = .none
        previousIdle = .none
        timer.clear()
    }

    init() {}
}

/// One try of an exchange at one endpoint. An exchange has one, and another after a safe failure.
struct Attempt: ~Copyable {
    enum Phase: UInt8, BitwiseCopyable {
        /// In the cluster's queue.
        case pending
        /// Its connection is being made.
        case connecting
        /// It has its connection.
        case sent
    }

    var phase = Phase.pending
    var exchange = SlotID.none
    var connection = SlotID.none
    /// Position among the cluster's endpoints.
    var position = -1
    var endpoint = -1
    /// It was sent on a connection that had served before.
    var isReused = false
    /// Sessions that were begun for it and did not serve it.
    var sessionCount: UInt8 = 0
    var nextPending = SlotID.none
    var previousPending = SlotID.none

    mutating func reset() {
        phase = .pending
        exchange = .none
        connection = .none
        position = -1
        endpoint = -1
        isReused = false
        sessionCount = 0
        nextPending = .none
        previousPending = .none
    }

    init() {}
}

/// One request and its response.
///
/// Request and response move on their own; the exchange ends when both have, or when one breaks.
struct Exchange: ~Copyable {
    /// Whose request it is.
    enum Kind: UInt8, BitwiseCopyable {
        case client
        /// A copy of a client's, whose answer is dropped.
        case mirror
        /// A health check's.
        case check
    }

    enum RequestPhase: UInt8, BitwiseCopyable {
        /// The head waits in the arena for a connection.
        case head
        /// The head is sent, the body is being passed on.
        case body
        case complete
        /// The rest of the body is read and dropped: the response did not wait for it.
        case discarding
    }

    enum ResponsePhase: UInt8, BitwiseCopyable {
        case waiting
        case body
        case complete
    }

    /// How the response body's end is shown to the client.
    enum Sink: UInt8, BitwiseCopyable { case none, length, chunked, untilClose }

    private let addressOnly = AddressOnly()
    var kind = Kind.client
    var downstream = SlotID.none
    var attempt = SlotID.none
    var requestPhase = RequestPhase.head
    var responsePhase = ResponsePhase.waiting
    var sink = Sink.none

    /// Into the worker's held snapshots.
    var snapshot = 0
    var route = -1
    /// Into the snapshot's versions, or -1.
    var version = -1
    /// Of the version, in the exchange's snapshot.
    var cluster: SharedBox<Cluster>?
    var rowSlot = 0
    /// Counted as started in its row.
    var isCounted = false

    var method = Method.get
    var isHTTP10 = false
    /// The client's connection is TLS.
    var isSecure = false
    /// The client's scheme is https, by the connection or by the word of a trusted hop.
    var cameByHTTPS = false
    /// Into the snapshot's edits, as the exchange's row says.
    var edits = 0
    /// The content is gRPC's: errors are told in its trailers.
    var isGRPC = false
    var keepsAlive = false
    var isChunkedRequest = false
    var hasRequestBody = false
    /// The client asked for another protocol; or it is CONNECT.
    var wantsTunnel = false
    /// The client waits for `100 Continue` before it sends its body (RFC 9110 §10.1.1).
    var awaitsContinue = false
    /// What authenticates here is the connection to the endpoint: it is this client's alone.
    var bindsConnection = false
    /// It goes by a connection that carries its client's identity, and may go by no other.
    var isBound = false
    var isConnect = false
    var isTunnel = false
    /// The client is owed our session cookie with this position.
    var owesCookie = false
    var cookiePosition: UInt64 = 0
    /// Key for the hashed balancers.
    var hash: UInt64 = 0
    var holdsRequestPermit = false
    /// What interim answers have cost so far (`ResponseRelay.interimBytesMax`).
    var interimBytes: UInt32 = 0
    var retry = RetryState()
    /// Between two attempts, or held back by a fault: `attemptDeadline` is the end of that.
    var isWaiting = false
    /// What a fault answers behind its delay; 0: nothing.
    var abortStatus: UInt16 = 0
    /// What a local reply to a call says; -1: what its HTTP status means.
    var replyGRPC: Int16 = -1
    /// The exchange of its copy.
    var mirror = SlotID.none
    /// Of a check: which.
    var check = 0
    /// The body's text as it went to an endpoint, for another attempt. Of a body larger than the
    /// policy allows nothing is kept.
    var replay = ByteBuffer()

    /// Whether, and how, the request may be sent once more.
    struct RetryState: BitwiseCopyable {
        /// Attempts that may still follow, by the route's policy, and those that did.
        var left: UInt8 = 0
        var count: UInt8 = 0
        var holdsPermit = false
        /// An answer's status may be a reason for another attempt.
        var looksAtAnswers = false
        /// Somebody looks at heads of answers: this, the endpoint's ejection, or a call's status.
        var watchesAnswers = false
        /// Another attempt may need the body, and all of it was kept so far.
        var keepsBody = false
        var isReplayable = true
        /// The next connection gets the kept body too; the whole of it, if `replaysAll`.
        var replays = false
        var replaysAll = false
        /// A reused connection died under the request, or an endpoint refused it, and it was sent
        /// again: not a second time for that.
        var isRepaired = false
        var isRefused = false
        /// An endpoint wants it by HTTP/1.1.
        var onlyHTTP1 = false
        /// Endpoints that have had an attempt.
        var tried = Cluster.Tried()
    }

    /// The head for the origin, and behind it texts for the log. Kept for the whole exchange.
    var arena = ByteBuffer()
    var head = ByteRange.empty
    /// The protocol that the client asked to upgrade to, in the arena.
    var upgrade = ByteRange.empty
    var summary = ExchangeSummary()
    var arrival = Instant(nanoseconds: 0)
    var requestDeadline = Instant.never
    /// When a gRPC client gives its call up, as it told (`grpc-timeout`).
    var callDeadline = Instant.never
    var firstByteDeadline = Instant.never
    var idleDeadline = Instant.never
    /// Of the attempt under way, or of the wait in front of the next.
    var attemptDeadline = Instant.never
    var timer = LazyTimer()

    @inline(__always)
    mutating func reset() {
        kind = .client
        downstream = .none
        attempt = .none
        requestPhase = .head
        responsePhase = .waiting
        sink = .none
        snapshot = 0
        route = -1
        version = -1
        cluster = nil
        rowSlot = 0
        isCounted = false
        isHTTP10 = false
        isSecure = false
        cameByHTTPS = false
        edits = 0
        isGRPC = false
        keepsAlive = false
        isChunkedRequest = false
        hasRequestBody = false
        wantsTunnel = false
        awaitsContinue = false
        bindsConnection = false
        isBound = false
        isConnect = false
        isTunnel = false
        owesCookie = false
        hash = 0
        holdsRequestPermit = false
        interimBytes = 0
        retry = RetryState()
        isWaiting = false
        abortStatus = 0
        replyGRPC = -1
        mirror = .none
        if replay.capacity > 0 { replay.release() }
        arena.clear(keepingAtMost: 4_096)
        head = .empty
        upgrade = .empty
        summary.reset()
        requestDeadline = .never
        callDeadline = .never
        firstByteDeadline = .never
        idleDeadline = .never
        attemptDeadline = .never
        timer.clear()
    }

    init() {}
}
