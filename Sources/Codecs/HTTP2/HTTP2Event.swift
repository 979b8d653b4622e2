import Base

/// An event is one thing that bytes of an HTTP/2 connection meant; events come in order. `stream`
/// names a slot of the connection.
public enum HTTP2Event: Sendable, BitwiseCopyable {
    /// The peer opened a stream; its message follows as text.
    case opened(stream: StreamSlot)
    /// The HTTP/1.1 bytes that the stream's frames stand for; what was in DATA frames is to be
    /// credited when it has left (`HTTP2Connection.credit`).
    case text(stream: StreamSlot, ByteRange)
    /// The peer ended its side of a stream that is a tunnel.
    case ended(stream: StreamSlot)
    /// The stream is over in both directions; `code` is RFC 9113 §7's. `isUnprocessed`: the peer
    /// says that it has not acted on the request (§8.7).
    case closed(stream: StreamSlot, code: UInt32, isUnprocessed: Bool)
    /// All that was handed in for the stream and had to wait has been written.
    case drained(stream: StreamSlot)
    /// Some of what waits for the stream's window was written.
    case wrote(stream: StreamSlot, byteCount: Int)
    /// The peer takes no new streams.
    case goingAway
    /// The peer's settings are known.
    case settings
    /// The peer broke a limit or the protocol; the connection says so and ends.
    case breach(HTTP2Breach)
    /// Trailers came behind a message whose length was stated, where they have no place.
    case droppedTrailers(stream: StreamSlot)
    /// A stream was refused because of what its frames said; `hasHead` when the head of its message
    /// was whole before, and was told of.
    case malformed(stream: StreamSlot, hasHead: Bool)
}
