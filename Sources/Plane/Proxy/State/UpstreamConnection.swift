import Base
import Configuration
import HTTP1
import HTTP2
import HTTPSemantics
import Telemetry
import Upstream

/// A connection to an endpoint.
///
///     connecting ──▶ idle ⇄ busy ──101 or CONNECT──▶ tunnel
public struct UpstreamConnection: ~Copyable {
    enum Phase: UInt8, BitwiseCopyable {
        case connecting, idle, busy, tunnel
        /// A socket that carries streams.
        case http2
        /// A stream that is over; its slot goes with the effects that still name it.
        case closed
    }

    var phase = Phase.connecting
    /// The numbers of the endpoint and the cluster in this process.
    var endpoint = 0
    var cluster = 0
    /// Encrypted by TLS.
    var isSecure = false
    /// The way it was made; others may be in force since.
    var transport: UInt64 = 0
    /// The address that the socket leads to.
    var address = Address(family: .ipv4, port: 0, high: 0, low: 0)
    var attempt = AttemptID.none
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
    /// Whether the connection serves no new request, because its endpoint is named no more or is
    /// reached in another way.
    var isRetired = false
    /// The HTTP/2 connection that the socket carries, or that the stream belongs to.
    var h2 = HTTP2LinkID.none
    /// The stream's slot in its HTTP/2 connection; none for a socket.
    var stream = StreamSlot.none
    /// Whether so much waits for the stream's window that the source must wait.
    var isStalled = false
    /// Whether the stream's end comes behind the kept bytes.
    var endsBehindKept = false
    /// The peer said that it has not acted on the request (RFC 9113 §8.7).
    var isUnprocessed = false
    /// The peer wants the request by HTTP/1.1 (RFC 9113 §7, HTTP_1_1_REQUIRED).
    var wantsHTTP1 = false
    /// Whether the stream was one of more than the peer's settings allow by now.
    var isBeyondLimit = false
    /// Whether the stream was reset here, because of what its frames say.
    var isMalformed = false
    /// Made for a request that HTTP/2 cannot carry: ALPN offers HTTP/1.1 alone, and no other
    /// request gets it.
    var onlyHTTP1 = false
    /// Whether the stream's HTTP/2 connection is gone while its whole answer is still on its way to
    /// the client.
    var outlivesLink = false
    /// Whose identity it carries while it waits for that client's next request.
    var client = DownstreamID.none
    /// Neighbours in the endpoint's list of idle connections, or in the client's, newest first.
    var nextIdle = UpstreamID.none
    var previousIdle = UpstreamID.none
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
        h2 = .none
        stream = .none
        isStalled = false
        endsBehindKept = false
        isUnprocessed = false
        wantsHTTP1 = false
        isBeyondLimit = false
        isMalformed = false
        onlyHTTP1 = false
        outlivesLink = false
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
