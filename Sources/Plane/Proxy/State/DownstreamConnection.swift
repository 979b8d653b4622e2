import Base
import Configuration
import HTTP1
import HTTP2
import HTTPSemantics
import Telemetry
import Upstream

/// A client's connection.
///
///     idle ──bytes──▶ head ──complete──▶ exchange ──response done──▶ idle
///                      │                  │   └──101 or CONNECT──▶ tunnel
///                      └──refused──▶ lingering ◀──┘ close announced
public struct DownstreamConnection: ~Copyable {
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
        case http2
        /// A stream that is over; its slot goes with the effects that still name it.
        case closed
    }

    var phase = Phase.idle
    var listener = 0
    var peer = Address(family: .ipv4, port: 0, high: 0, low: 0)
    /// The version of TLS by its last digit: 3 for TLS 1.3. 0: not encrypted.
    var tlsVersion: UInt8 = 0
    var exchange = ExchangeID.none
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
    /// The HTTP/2 connection that the socket carries, or that the stream belongs to.
    var h2 = HTTP2LinkID.none
    /// The stream's slot in its HTTP/2 connection; none for a socket.
    var stream = StreamSlot.none
    /// Whether so much waits for the stream's window that the source must wait.
    var isStalled = false
    /// Whether the stream's end comes behind the kept bytes.
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
    var firstPrivate = UpstreamID.none

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
        h2 = .none
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

extension StreamSlot {
    /// In place of a stream: nobody's end of a request that Sluice makes itself.
    static var inner: StreamSlot { StreamSlot(index: .max, generation: 1) }
}
