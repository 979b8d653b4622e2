/// How the end of a message's body is found (RFC 9112 §6.3). One decision per message.
public enum BodyFraming: Hashable, Sendable, BitwiseCopyable {
    /// There is no body, whatever the fields say.
    case none
    /// The body has exactly so many bytes.
    case length(UInt64)
    case chunked
    /// The body goes on until the peer closes; responses only.
    case untilClose

    @inlinable public var hasBody: Bool {
        switch self {
        case .none: return false
        case .length(let bytes): return bytes > 0
        case .chunked, .untilClose: return true
        }
    }
}

/// The requests that a head's `Connection`, `Upgrade` and `Expect` fields make.
public struct ConnectionOptions: Sendable, BitwiseCopyable {
    public var close = false
    public var keepAlive = false
    public var upgrade = false
    /// Whether `Connection` nominates other fields.
    public var nominates = false
    public init() {}
}
