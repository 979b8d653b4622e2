import Base
import Configuration
import HTTP1
import HTTP2
import HTTPSemantics
import Telemetry
import Upstream

/// A connection to an endpoint.
///
/// A connection begins as `connecting`. A socket's may end in any phase; a stream's ends as
/// `closed`.
///
///     connecting ──the socket is connected, or the stream is open──▶ open
///     open       ──an attempt waits for it─────────────────────────▶ busy
///     open       ──nobody waits for it any more────────────────────▶ idle
///     open       ──HTTP/2 was chosen───────────────────────────────▶ http2
///     idle       ──an attempt takes it─────────────────────────────▶ busy
///     busy       ──the answer is whole, and another may come───────▶ idle
///     busy       ──101, or CONNECT was accepted────────────────────▶ tunnel
///     busy       ──the stream is over──────────────────────────────▶ closed
///     tunnel     ──the stream is over──────────────────────────────▶ closed
public struct UpstreamConnection: ~Copyable {
    enum Phase: UInt8, MachinePhase {
        case connecting
        /// Made, within the step that says for whom.
        case open
        case idle, busy, tunnel
        /// A socket that carries streams.
        case http2
        /// A stream that is over; its slot goes with the effects that still name it.
        case closed

        @inline(__always)
        static func allows(_ phase: Phase, _ next: Phase) -> Bool {
            switch (phase, next) {
            case (.connecting, .open): return true
            case (.open, .busy), (.open, .idle), (.open, .http2): return true
            case (.idle, .busy): return true
            case (.busy, .idle), (.busy, .tunnel), (.busy, .closed): return true
            case (.tunnel, .closed): return true
            default: return false
            }
        }
    }

    /// The requests that a connection is for.
    enum Purpose: BitwiseCopyable, Equatable {
        /// Any of the cluster's.
        case requests
        /// One that HTTP/2 cannot carry: ALPN offers HTTP/1.1 alone, and no other request gets the
        /// connection.
        case oneOverHTTP1
        /// None before it is known whether an endpoint that refused is back.
        case probe
        /// A health check, by its number, and that alone: no place in the pool, no limit.
        case check(Int)
    }

    /// The word of a peer's frames about a stream that ends before its answer is whole.
    enum Verdict: UInt8, BitwiseCopyable {
        case none
        /// The peer has not acted on the request (RFC 9113 §8.7).
        case unprocessed
        /// Nor has it, because the stream was one of more than its settings allow by now.
        case beyondLimit
        /// The peer wants the request by HTTP/1.1 (RFC 9113 §7, HTTP_1_1_REQUIRED).
        case wantsHTTP1
        /// The frames were no HTTP: the stream was reset here.
        case malformed
    }

    private(set) var machine = Machine(Phase.connecting)
    var phase: Phase { machine.phase }
    /// The numbers of the endpoint and the cluster in this process.
    var endpoint = 0
    var cluster = 0
    /// Encrypted by TLS.
    var isSecure = false
    /// The way it was made; others may be in force since.
    var transport: UInt64 = 0
    /// Why the connection ended too early, as far as that is known.
    var failure = Failure.none
    /// The address that the socket leads to.
    var address = Address(family: .ipv4, port: 0, high: 0, low: 0)
    /// This side's address, where the access log's format shows it.
    var local: Address?
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
    var purpose = Purpose.requests
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
    var verdict = Verdict.none
    /// Whether the stream's HTTP/2 connection is gone while its whole answer is still on its way to
    /// the client.
    var outlivesLink = false
    /// Whose identity it carries while it waits for that client's next request.
    var client = DownstreamID.none
    /// Neighbours in the endpoint's list of idle connections, or in the client's, newest first.
    var nextIdle = UpstreamID.none
    var previousIdle = UpstreamID.none
    var timer = LazyTimer()

    var isCheck: Bool {
        if case .check = purpose { return true }
        return false
    }
    /// A connection of HTTP/1.1 that is a stream of HTTP/2.
    var isStream: Bool { !stream.isNone }
    /// Bytes wait that the peer does not take now.
    var hasUnsent: Bool { !outbound.isEmpty || isStalled }
    /// Whether more may be read: it is wanted, and what is kept is a part of a head at most.
    @inline(__always)
    func takes(atMost headBytes: Int) -> Bool {
        !isReadPaused && !hasEnded && phase != .connecting && inbound.count <= headBytes
    }

    /// Becomes a fresh slot, for its next tenant: without memory, but with its place on the timers'
    /// wheel. A list, for the reason that `DownstreamConnection.reset` has.
    mutating func reset() {
        machine.restart(at: .connecting)
        endpoint = 0
        cluster = 0
        isSecure = false
        transport = 0
        failure = .none
        address = Address(family: .ipv4, port: 0, high: 0, low: 0)
        local = nil
        attempt = .none
        parser = ResponseHeadParser()
        body = BodyDecoder(.none)
        inbound.release()
        outbound.release()
        isReadPaused = false
        hasEnded = false
        shutsDownAfterFlush = false
        requestCount = 0
        keepsAlive = false
        purpose = .requests
        expires = .never
        isRetired = false
        h2 = .none
        stream = .none
        isStalled = false
        endsBehindKept = false
        verdict = .none
        outlivesLink = false
        client = .none
        nextIdle = .none
        previousIdle = .none
        timer.clear()
    }

    init() {}

    @inline(__always)
    mutating func enter(_ next: Phase) { machine.enter(next) }
    @inline(__always)
    mutating func enterOften(_ next: Phase) { machine.enterOften(next) }
}
