import Base

/// Field names that the proxy itself has a use for, interned to a byte; the rest is `other`.
public enum KnownField: UInt8, Sendable, BitwiseCopyable {
    case other
    case host, connection, contentLength, transferEncoding, te, trailer, upgrade, keepAlive
    case proxyConnection, expect, cookie, setCookie, date, via, http2Settings
    case forwardedFor, forwardedProto, forwardedHost, requestID, traceparent
    case userAgent, referer, contentType, server, authorization

    /// Names are compared without case (RFC 9110 §5.1).
    public static func intern(_ name: Span<UInt8>) -> KnownField {
        func match(_ text: StaticString, _ field: KnownField) -> KnownField? {
            ASCII.equalName(name, text) ? field : nil
        }
        guard name.count > 1 else { return .other }
        switch (name.count, name[0] | 0x20) {
        case (2, 0x74): return match("te", .te) ?? .other
        case (3, 0x76): return match("via", .via) ?? .other
        case (4, 0x68): return match("host", .host) ?? .other
        case (4, 0x64): return match("date", .date) ?? .other
        case (6, 0x63): return match("cookie", .cookie) ?? .other
        case (6, 0x65): return match("expect", .expect) ?? .other
        case (6, 0x73): return match("server", .server) ?? .other
        case (7, 0x74): return match("trailer", .trailer) ?? .other
        case (7, 0x75): return match("upgrade", .upgrade) ?? .other
        case (7, 0x72): return match("referer", .referer) ?? .other
        case (10, 0x63): return match("connection", .connection) ?? .other
        case (10, 0x6b): return match("keep-alive", .keepAlive) ?? .other
        case (10, 0x75): return match("user-agent", .userAgent) ?? .other
        case (10, 0x73): return match("set-cookie", .setCookie) ?? .other
        case (11, 0x74): return match("traceparent", .traceparent) ?? .other
        case (12, 0x63): return match("content-type", .contentType) ?? .other
        case (12, 0x78): return match("x-request-id", .requestID) ?? .other
        case (13, 0x61): return match("authorization", .authorization) ?? .other
        case (14, 0x63): return match("content-length", .contentLength) ?? .other
        case (14, 0x68): return match("http2-settings", .http2Settings) ?? .other
        case (15, 0x78): return match("x-forwarded-for", .forwardedFor) ?? .other
        case (16, 0x70): return match("proxy-connection", .proxyConnection) ?? .other
        case (16, 0x78): return match("x-forwarded-host", .forwardedHost) ?? .other
        case (17, 0x74): return match("transfer-encoding", .transferEncoding) ?? .other
        case (17, 0x78): return match("x-forwarded-proto", .forwardedProto) ?? .other
        default: return .other
        }
    }

    /// Fields that end at this hop whatever the message says (RFC 9110 §7.6.1).
    @inlinable public var isHopByHop: Bool {
        switch self {
        case .connection, .transferEncoding, .te, .trailer, .upgrade, .keepAlive, .proxyConnection,
            .http2Settings:
            return true
        default: return false
        }
    }

    /// Fields that a `Connection` nomination must not remove: the message would change its meaning.
    @inlinable public var isProtectedFromNomination: Bool {
        switch self {
        case .host, .contentLength, .transferEncoding, .cookie, .setCookie, .authorization,
            .forwardedFor, .forwardedProto, .forwardedHost, .requestID, .traceparent, .date:
            return true
        default: return false
        }
    }

    /// Fields that may not stand in a trailer section (RFC 9110 §6.5.1).
    @inlinable public var isForbiddenInTrailers: Bool {
        switch self {
        case .host, .contentLength, .cookie, .setCookie, .expect, .authorization, .contentType:
            return true
        default: return isHopByHop || isProtectedFromNomination
        }
    }
}
