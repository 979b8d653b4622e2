import Base
import Configuration
import HTTP1
import HTTP2
import HTTPSemantics
import Telemetry
import Upstream

/// A client's connection.
///
/// A connection begins as `idle`. A socket's may end in any phase; a stream's, and that of an inner
/// request, ends as `closed`.
///
///     idle      ──a part of a head came──────────────────────▶ head
///     idle      ──a whole head came, or an inner request─────▶ exchange
///     idle      ──HTTP/2's preface came, or ALPN chose it────▶ http2
///     idle      ──no request is accepted any more────────────▶ lingering
///     idle      ──the stream was reset───────────────────────▶ closed
///     head      ──the rest of the head came──────────────────▶ exchange
///     head      ──the rest of HTTP/2's preface came──────────▶ http2
///     head      ──refused, or its client sends no more───────▶ lingering
///     head      ──the stream was reset───────────────────────▶ closed
///     exchange  ──the answer is out, and the next may come───▶ idle
///     exchange  ──101, or CONNECT was accepted───────────────▶ tunnel
///     exchange  ──the answer is out, and was the last────────▶ lingering
///     exchange  ──the stream, or the inner request, is over──▶ closed
///     tunnel    ──the stream is over─────────────────────────▶ closed
///     http2     ──the last stream has ended──────────────────▶ lingering
///     lingering ──its client sends no more───────────────────▶ lingering
///     lingering ──the stream is over─────────────────────────▶ closed
public struct DownstreamConnection: ~Copyable {
    enum Phase: UInt8, MachinePhase {
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

        @inline(__always)
        static func allows(_ phase: Phase, _ next: Phase) -> Bool {
            switch (phase, next) {
            case (.idle, .head), (.idle, .exchange), (.idle, .http2): return true
            case (.idle, .lingering), (.idle, .closed): return true
            // After a reload that lets a listener speak HTTP/2 in the middle of a preface.
            case (.head, .http2): return true
            case (.head, .exchange), (.head, .lingering), (.head, .closed): return true
            case (.exchange, .idle), (.exchange, .tunnel): return true
            case (.exchange, .lingering), (.exchange, .closed): return true
            case (.tunnel, .closed): return true
            case (.http2, .lingering): return true
            case (.lingering, .lingering), (.lingering, .closed): return true
            default: return false
            }
        }
    }

    /// How the connection stands to the requests that may still come.
    enum Term: UInt8, BitwiseCopyable {
        /// Requests are welcome until the connection is as old as it may become.
        case open
        /// The connection's listener is gone, or everything ends: the next request is the last.
        case leaving
        /// A last request may come now, for a short time.
        case lastCall
    }

    /// The step that follows when all bytes that wait are out.
    enum AfterFlush: UInt8, BitwiseCopyable {
        case nothing
        /// Half of a tunnel has ended: its end is passed on.
        case shutDown
        /// Nothing more will be written.
        case close
    }

    private(set) var machine = Machine(Phase.idle)
    var phase: Phase { machine.phase }
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
    /// The number of the client's connection in this process, from 1; 0: the slot is a stream's.
    var number: UInt64 = 0
    /// The address that the client connected to, where the access log's format shows it.
    var local: Address?
    /// The name that the client asked for in TLS, where the access log's format shows it.
    var serverName = ByteBuffer()
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
    var afterFlush = AfterFlush.nothing
    var timer = LazyTimer()

    var term = Term.open
    /// From when on a request that begins is the connection's last.
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

    /// Becomes a fresh slot, for its next tenant: without memory, but with its place on the timers'
    /// wheel. A list, and no fresh value in the place of this one: that would be made elsewhere and
    /// copied, with each connection and each stream. `Tests/TidyTests` finds what the list forgets.
    mutating func reset() {
        machine.restart(at: .idle)
        listener = 0
        peer = Address(family: .ipv4, port: 0, high: 0, low: 0)
        tlsVersion = 0
        exchange = .none
        parser = RequestHeadParser()
        body = BodyDecoder(.none)
        inbound.release()
        outbound.release()
        identity.release()
        number = 0
        local = nil
        serverName.release()
        isSecuring = false
        isReadPaused = false
        hasEnded = false
        h2 = .none
        stream = .none
        isStalled = false
        endsBehindKept = false
        hasServed = false
        afterFlush = .nothing
        timer.clear()
        term = .open
        expires = .never
        isBlocked = false
        patience = .unlimited
        firstPrivate = .none
    }

    init() {}

    @inline(__always)
    mutating func enter(_ next: Phase) { machine.enter(next) }
    @inline(__always)
    mutating func enterOften(_ next: Phase) { machine.enterOften(next) }
}

extension StreamSlot {
    /// In place of a stream: nobody's end of a request that Sluice makes itself.
    static var inner: StreamSlot { StreamSlot(index: .max, generation: 1) }
}
