import Base
import HTTP1
import HTTPSemantics

/// The name of a stream's slot in its connection.
public typealias StreamSlot = SlotID<HTTP2Stream>

/// One stream of a connection: how its frames and its HTTP/1.1 text correspond.
///
///     inbound   head ──▶ length | chunked | raw ──END_STREAM──▶ ended
///     outbound  head ──▶ body ──last byte──▶ ended
public struct HTTP2Stream: ~Copyable {
    enum Inbound: BitwiseCopyable {
        /// The final header block is still to come.
        case head
        /// A body of a stated length; bytes that must still come.
        case length(UInt64)
        case chunked
        /// The bytes are a tunnel's.
        case raw
        case ended
    }

    enum Outbound: BitwiseCopyable { case head, body, ended }

    private let addressOnly = AddressOnly()
    /// RFC 9113 §5.1.1; 0 before a request of ours is submitted.
    var id: Int32 = 0
    /// The owner's name for the stream, opaque here.
    var owner: UInt64 = 0
    var inbound = Inbound.head
    var outbound = Outbound.head
    /// Finds the end of the body in the text that is handed in.
    var decoder = BodyDecoder(.none)
    /// Content that waits for the peer's window, or for the next flush.
    var content = ByteBuffer()
    /// Field lines of the trailer section that goes out behind the content.
    var trailers = ByteBuffer()
    var isHeadRequest = false
    /// The request asks for a tunnel: CONNECT, or the extended form of RFC 8441.
    var isTunnelRequest = false
    var isWebSocket = false
    /// The value that proves a WebSocket handshake (RFC 6455 §4.2.2), for a client that spoke
    /// HTTP/1.1.
    var webSocketAccept = WebSocketAccept()
    /// Whether nothing more will be added to `content`.
    var isComplete = false
    /// Whether our head is written.
    var isSubmitted = false
    /// Whether END_STREAM was sent, and whether it was received.
    var hasEndedHere = false
    var hasEndedThere = false
    /// Bytes that the peer lets us send on the stream; below 0 after the peer took some back (RFC
    /// 9113 §6.9.2).
    var sendWindow = 0
    /// Bytes that the peer may still send.
    var receiveWindow = 0
    /// Bytes that were received and have gone on, and of which the peer has not been told yet.
    var creditDue = 0
    /// The time since which the peer takes nothing: when the owner let go, moved on by what has
    /// gone out since and never past now. Whoever takes a byte now and then falls behind all the
    /// same.
    var progressedAt = Instant(nanoseconds: 0)
    /// When the peer opened it.
    var openedAt = Instant(nanoseconds: 0)
    /// How long the peer may take nothing, counted from `progressedAt`.
    var patience = Duration.unlimited
    /// Whether the stream is in the list of streams with something to send.
    var isListed = false
    var nextListed = StreamSlot.none
    /// Whether the owner was told that too much waits.
    var isStalled = false
    /// Whether the stream is over on the wire.
    var isClosed = false
    /// Whether the owner has let go of the stream.
    var isReleased = false
    /// Received DATA bytes that were not credited yet.
    var uncredited = 0
    /// The number of DATA bytes since the window last grew.
    var sinceGrowth = 0
    var windowBytes = 0

    init() {}

    mutating func progressed(by byteCount: Int, now: Instant, _ limits: HTTP2Limits) {
        let (time, overflow) = Int64(byteCount).multipliedReportingOverflow(
            by: limits.nanosecondsPerByte)
        progressedAt =
            overflow || limits.nanosecondsPerByte == 0
            ? now : min(now, progressedAt + .nanoseconds(time))
    }

    mutating func reset() {
        id = 0
        owner = 0
        inbound = .head
        outbound = .head
        decoder = BodyDecoder(.none)
        content.clear(keepingAtMost: 2_048)
        trailers.clear(keepingAtMost: 1_024)
        isHeadRequest = false
        isTunnelRequest = false
        isWebSocket = false
        isComplete = false
        isSubmitted = false
        hasEndedHere = false
        hasEndedThere = false
        sendWindow = 0
        receiveWindow = 0
        creditDue = 0
        patience = .unlimited
        isListed = false
        nextListed = .none
        isStalled = false
        isClosed = false
        isReleased = false
        uncredited = 0
        sinceGrowth = 0
        windowBytes = 0
    }
}
