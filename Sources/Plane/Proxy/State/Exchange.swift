import Base
import Configuration
import HTTP1
import HTTP2
import HTTPSemantics
import Telemetry
import Upstream

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
    var downstream = DownstreamID.none
    var attempt = AttemptID.none
    var requestPhase = RequestPhase.head
    var responsePhase = ResponsePhase.waiting
    var sink = Sink.none

    /// Into the worker's held snapshots.
    var snapshot = 0
    var route = -1
    /// Into the snapshot's versions, or -1.
    var version = -1
    /// The cluster of the exchange's version, in the exchange's snapshot.
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
    /// Whether the connection to the endpoint is what authenticates here, so that it is this
    /// client's alone.
    var bindsConnection = false
    /// Whether the request goes by a connection that carries its client's identity, and may go by
    /// no other.
    var isBound = false
    var isConnect = false
    var isTunnel = false
    /// The client is owed our session cookie with this position.
    var owesCookie = false
    var cookiePosition: UInt64 = 0
    /// Key for the hashed balancers.
    var hash: UInt64 = 0
    var holdsRequestPermit = false
    /// The cost of interim answers so far (`ResponseRelay.interimBytesMax`).
    var interimBytes: UInt32 = 0
    var retry = RetryState()
    /// Between two attempts, or held back by a fault: `attemptDeadline` is the end of that.
    var isWaiting = false
    /// The answer of a fault, which waits for the fault's delay to end.
    var abort: Faults.Abort?
    /// The exchange of this request's mirrored copy, while that is still fed its body.
    var mirror = ExchangeID.none
    /// The check that the exchange is for, when it is a check's.
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
    /// The deadline of the attempt under way, or of the wait in front of the next.
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
        abort = nil
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
