import Base

/// How a request came to its version (`assign` in splitting.md §1). Only `sticky` and `weighted`
/// requests are a fair sample of a version.
public enum Assign: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    /// The request was answered without a version.
    case none
    /// The route names the version outright.
    case header
    case sticky
    case weighted
    /// The request's version was not available, and the stable one took the request.
    case fallback
    /// The request is a copy, whose answer is nobody's.
    case mirror

    public var label: StaticString {
        switch self {
        case .none: return "none"
        case .header: return "header"
        case .sticky: return "sticky"
        case .weighted: return "weighted"
        case .fallback: return "fallback"
        case .mirror: return "mirror"
        }
    }
}

/// The cause that made a request count as an error.
public enum ErrorCause: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    case none
    /// The application answered 5xx.
    case response
    /// No connection to the endpoint could be made.
    case connect
    /// The connection ended before the response did.
    case reset
    case timeout
    /// The origin's answer was not HTTP.
    case invalid
    /// Sluice itself refused: no route, no endpoint, a limit.
    case local
    /// The process ended under it: its time to drain was over.
    case drain

    public var label: StaticString {
        switch self {
        case .none: return "none"
        case .response: return "response"
        case .connect: return "connect"
        case .reset: return "reset"
        case .timeout: return "timeout"
        case .invalid: return "invalid"
        case .local: return "local"
        case .drain: return "drain"
        }
    }
}

/// The protocol that a client speaks.
public enum HTTPProtocol: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    case http10, http11, http2

    public var label: StaticString {
        switch self {
        case .http10: return "HTTP/1.0"
        case .http11: return "HTTP/1.1"
        case .http2: return "HTTP/2"
        }
    }

    /// The counter of requests that came by the protocol.
    @inlinable public var metric: WorkerMetric {
        switch self {
        case .http10: return .requestsHTTP10
        case .http11: return .requestsHTTP11
        case .http2: return .requestsHTTP2
        }
    }
}

/// Why a TLS handshake failed.
public enum HandshakeFailure: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    case other
    /// The peer showed no certificate, and must.
    case noCertificate
    /// The peer's certificate was signed by nobody that is trusted here.
    case unknownAuthority
    case expired
    /// The certificate is for another name.
    case wrongName
    /// The peer refused this side's certificate.
    case refusedByPeer
    /// The two sides have no version or cipher in common.
    case noneInCommon
    /// The peer's bytes are not TLS at all.
    case notTLS
    /// The connection ended or broke before the handshake did.
    case closed
    case timeout

    public var label: StaticString {
        switch self {
        case .other: return "other"
        case .noCertificate: return "no-certificate"
        case .unknownAuthority: return "unknown-authority"
        case .expired: return "expired"
        case .wrongName: return "wrong-name"
        case .refusedByPeer: return "refused-by-peer"
        case .noneInCommon: return "none-in-common"
        case .notTLS: return "not-tls"
        case .closed: return "closed"
        case .timeout: return "timeout"
        }
    }
}

/// All facts about one finished exchange, made once; counters, access log and later spans read it.
///
/// Texts are ranges of the exchange's arena, valid only while the summary is read.
public struct ExchangeSummary: ~Copyable, Sendable {
    private let addressOnly = AddressOnly()
    public var listener: Int = 0
    /// Row of (route, service, version) in the metric registry.
    public var row: Int = 0
    public var cluster: Int = -1
    public var assign = Assign.none
    /// The status that the client was sent; 0 when the client left first.
    public var status: UInt16 = 0
    public var flags = ResponseFlags()
    public var cause = ErrorCause.none
    /// Why the request ended in another way than by a whole answer.
    public var failure = Failure.none
    /// The bytes of the request's body that were read, and of the response's body that were handed
    /// over.
    public var bytesReceived: UInt64 = 0
    public var bytesSent: UInt64 = 0
    public var arrival = WallTime(microseconds: 0)
    /// Time from the head's arrival to the last byte handed to the client.
    public var duration = Duration.zero
    /// Time from the head's arrival to the first byte of the response head; negative: there was
    /// none.
    public var firstByte = Duration(nanoseconds: -1)
    public var attempts: UInt8 = 0
    /// The draw that chose the version; `UInt64.max` when none was taken.
    public var draw = UInt64.max
    public var `protocol` = HTTPProtocol.http11
    /// The last digit of the client's TLS 1.x; 0 without TLS.
    public var tlsVersion: UInt8 = 0
    /// The request's content is gRPC's: errors are told in its trailers.
    public var isGRPC = false
    /// A gRPC call's status; -1 when none was seen.
    public var grpcStatus: Int8 = -1
    /// The address that the connection is from.
    public var peer = Address(family: .ipv4, port: 0, high: 0, low: 0)
    /// Who the request is from: the peer, or who trusted hops say.
    public var client = Address(family: .ipv4, port: 0, high: 0, low: 0)
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

    /// Begins the summary of the next exchange in the same place.
    @inlinable @inline(__always)
    public mutating func reset() {
        listener = 0
        row = 0
        cluster = -1
        assign = .none
        status = 0
        flags = ResponseFlags()
        cause = .none
        failure = .none
        bytesReceived = 0
        bytesSent = 0
        arrival = WallTime(microseconds: 0)
        duration = .zero
        firstByte = Duration(nanoseconds: -1)
        attempts = 0
        draw = .max
        `protocol` = .http11
        tlsVersion = 0
        isGRPC = false
        grpcStatus = -1
        endpoint = nil
        method = .empty
        target = .empty
        authority = .empty
        userAgent = .empty
        referer = .empty
        requestID = .empty
        forwardedFor = .empty
        traceparent = .empty
    }
}
