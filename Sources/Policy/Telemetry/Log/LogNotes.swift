import Base

/// Facts that only some formats of the access log want.
public struct LogNeeds: OptionSet, Sendable, BitwiseCopyable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Lines of the request's head, also where there is no head for an endpoint.
    public static var requestLines: LogNeeds { .init(rawValue: 1 << 0) }
    /// Lines of the answer's head.
    public static var responseLines: LogNeeds { .init(rawValue: 1 << 1) }
    public static var trailerLines: LogNeeds { .init(rawValue: 1 << 2) }
    /// The connection to the endpoint: the protocol, and this side's address.
    public static var connection: LogNeeds { .init(rawValue: 1 << 3) }
    /// Every endpoint that was tried.
    public static var hosts: LogNeeds { .init(rawValue: 1 << 4) }
    /// When the request was whole.
    public static var requestTime: LogNeeds { .init(rawValue: 1 << 5) }
    /// The client's connection.
    public static var client: LogNeeds { .init(rawValue: 1 << 6) }
    /// This side's address of connections: one question to the kernel for each connection.
    public static var localAddresses: LogNeeds { .init(rawValue: 1 << 7) }
    /// The name that a client asked for in TLS.
    public static var serverName: LogNeeds { .init(rawValue: 1 << 8) }

    /// Facts that are noted while a request is under way.
    public static var noted: LogNeeds {
        [.responseLines, .trailerLines, .connection, .hosts, .requestTime]
    }
}

/// Facts for a line of the access log beside the summary. Ranges are of the exchange's text unless
/// said otherwise.
public struct LogNotes: BitwiseCopyable, Sendable {
    /// Whether the line will be written, as far as that has been decided.
    public enum Choice: UInt8, Sendable, BitwiseCopyable { case open, written, dropped }

    public var choice = Choice.open
    /// Whether some fact has been noted.
    public var isUsed: Bool { choice != .open }
    public var requestLines = ByteRange.empty
    public var responseLines = ByteRange.empty
    public var trailerLines = ByteRange.empty
    /// The target as the endpoint got it.
    public var sentTarget = ByteRange.empty
    /// Endpoints that were tried, as text.
    public var hosts = ByteRange.empty
    public var upstreamProtocol: HTTPProtocol?
    public var upstreamLocal: Address?
    /// From the head to the request's last byte; negative: that has not come.
    public var requestTime = Duration(nanoseconds: -1)

    // The client's connection.
    public var local: Address?
    public var connection: UInt64 = 0
    public var isSecure = false
    /// Ranges of the client's text.
    public var serverName = ByteRange.empty
    public var identity = ByteRange.empty

    public init() {}
}

/// Texts that a line of the access log is made of.
public struct LogSource: ~Escapable {
    /// The time up to its fraction (`HTTPDate.appendRFC3339(second:to:)`).
    public let second: Span<UInt8>
    /// Ranges of the summary and of `LogNotes` refer to these bytes.
    public let text: Span<UInt8>
    /// Ranges of `AccessLogFormat.Names` refer to these.
    public let names: Span<UInt8>
    /// The name that the client asked for in TLS, and its certificate.
    public let client: Span<UInt8>

    @_lifetime(copy second, copy text, copy names, copy client)
    public init(
        second: Span<UInt8>, text: Span<UInt8>, names: Span<UInt8>, client: Span<UInt8>
    ) {
        self.second = second
        self.text = text
        self.names = names
        self.client = client
    }
}
