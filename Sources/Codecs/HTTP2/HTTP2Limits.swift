/// The demands that one HTTP/2 connection may make of this process. Counts are per connection.
///
/// Frames that cost their sender nothing are bounded by the work that they could belong to, and by
/// time (`HTTP2Budget`). The numbers are a client's; an endpoint has ten times as much.
public struct HTTP2Limits: Sendable, BitwiseCopyable, Equatable {
    /// Streams that the peer may have open (RFC 9113 §5.1.2).
    public var streamsMax = 100
    /// Bytes of a header list, each field with 32 more (RFC 9113 §6.5.2).
    public var headerListBytesMax = 65_536
    public var fieldCountMax = 100
    /// Frames that continue one header block.
    public var continuationsMax = 16
    /// Bytes that a stream may send before any of it left here; the window grows while bytes leave
    /// at once.
    public var streamWindowBytes = 65_536
    /// The largest that it grows to: 1 Gbit/s at 50 ms are 6.25 MB.
    public var streamWindowBytesMax = 8 << 20
    /// Streams reset by a client before they were answered, and such as it made this side reset, a
    /// second beyond those that answers pay for; twice as many at once. As many frames on closed
    /// streams.
    public var resetsPerSecond = 100
    /// PING, SETTINGS, GOAWAY and frames without meaning a second, beyond those that content and
    /// answers pay for; twice as many at once.
    public var controlFramesPerSecond = 100
    /// Empty DATA frames a second, beyond those that content pays for; twice as many at once.
    public var emptyFramesPerSecond = 100
    /// PRIORITY frames for each stream that was opened.
    public var priorityFramesPerStream = 100
    /// WINDOW_UPDATE frames for each DATA frame that was sent.
    public var windowUpdatesPerDataFrame = 10
    /// Frames that answer the peer and wait to be written.
    public var queuedControlFramesMax = 1_000
    /// Nanoseconds that a byte that is taken buys whoever waits for the rest; 0: any byte buys all
    /// the time there is.
    public var nanosecondsPerByte: Int64 = 0

    public init() {}

    /// How much more of everything an endpoint may do than a client: it was chosen by the operator,
    /// and all clients share its connections. It is bounded all the same.
    public static let endpointFactor = 10

    /// The limits of a connection to an endpoint.
    var ofEndpoint: HTTP2Limits {
        var limits = self
        limits.resetsPerSecond *= HTTP2Limits.endpointFactor
        limits.controlFramesPerSecond *= HTTP2Limits.endpointFactor
        limits.emptyFramesPerSecond *= HTTP2Limits.endpointFactor
        return limits
    }
}

/// Which rule a connection broke so often that it was ended.
public enum HTTP2Breach: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    case none, resets, controlFrames, emptyFrames, priorities, windowUpdates, queuedControlFrames
    case closedStreams
    /// Bytes that are not RFC 9113's; the connection is in error (§5.4.1).
    case protocolError

    public var label: StaticString {
        switch self {
        case .none: return "none"
        case .resets: return "h2-resets"
        case .controlFrames: return "h2-control-frames"
        case .emptyFrames: return "h2-empty-frames"
        case .priorities: return "h2-priorities"
        case .windowUpdates: return "h2-window-updates"
        case .queuedControlFrames: return "h2-queued-control-frames"
        case .closedStreams: return "h2-closed-streams"
        case .protocolError: return "h2-protocol-error"
        }
    }
}
