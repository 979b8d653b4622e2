import Base

/// How a request came to its version (splitting.md's `assign`). Only `sticky` and `weighted`
/// requests are a fair sample of a version.
public enum Assign: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    /// Answered without a version.
    case none
    /// The route names the version outright.
    case header
    case sticky
    case weighted
    /// Its version was not available and the stable one took it.
    case fallback

    public var label: StaticString {
        switch self {
        case .none: return "none"
        case .header: return "header"
        case .sticky: return "sticky"
        case .weighted: return "weighted"
        case .fallback: return "fallback"
        }
    }
}

/// What made a request count as an error.
public enum ErrorCause: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    case none
    /// The application answered 5xx.
    case response
    /// No connection to the endpoint.
    case connect
    /// The connection ended before the response did.
    case reset
    case timeout
    /// The origin's answer was not HTTP.
    case invalid
    /// Sluice itself refused: no route, no endpoint, a limit.
    case local

    public var label: StaticString {
        switch self {
        case .none: return "none"
        case .response: return "response"
        case .connect: return "connect"
        case .reset: return "reset"
        case .timeout: return "timeout"
        case .invalid: return "invalid"
        case .local: return "local"
        }
    }
}

/// All facts about one finished exchange, made once; counters, access log and later spans read it.
///
/// Texts are ranges of the exchange's arena, valid only while the summary is read.
public struct ExchangeSummary: Sendable, BitwiseCopyable {
    public var listener: Int = 0
    /// Row of (route, service, version) in the metric registry.
    public var row: Int = 0
    public var cluster: Int = -1
    public var assign = Assign.none
    /// What the client was sent; 0 when it left first.
    public var status: UInt16 = 0
    public var flags = ResponseFlags()
    public var cause = ErrorCause.none
    /// Bodies, in bytes.
    public var bytesReceived: UInt64 = 0
    public var bytesSent: UInt64 = 0
    public var arrival = WallTime(microseconds: 0)
    /// From the head's arrival to the last byte handed to the client.
    public var duration = Duration.zero
    /// From the head's arrival to the first byte of the response head; negative: there was none.
    public var firstByte = Duration(nanoseconds: -1)
    public var attempts: UInt8 = 0
    /// The draw that chose the version; `UInt64.max` when none was taken.
    public var draw = UInt64.max
    public var isHTTP10 = false
    public var peer = Address(family: .ipv4, port: 0, high: 0, low: 0)
    public var endpoint: Address?
    public var method = ByteRange.empty
    public var target = ByteRange.empty
    public var authority = ByteRange.empty
    public var userAgent = ByteRange.empty
    public var referer = ByteRange.empty
    public var requestID = ByteRange.empty
    public var forwardedFor = ByteRange.empty
    public var traceparent = ByteRange.empty

    public init() {}
}
