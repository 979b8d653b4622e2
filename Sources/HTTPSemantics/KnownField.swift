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
        // By length first: most names of a request differ there already.
        switch name.count {
        case 2:
            switch name[0] | 0x20 {
            case 0x74: return match("te", .te) ?? .other
            default: return .other
            }
        case 3:
            switch name[0] | 0x20 {
            case 0x76: return match("via", .via) ?? .other
            default: return .other
            }
        case 4:
            switch name[0] | 0x20 {
            case 0x68: return match("host", .host) ?? .other
            case 0x64: return match("date", .date) ?? .other
            default: return .other
            }
        case 6:
            switch name[0] | 0x20 {
            case 0x63: return match("cookie", .cookie) ?? .other
            case 0x65: return match("expect", .expect) ?? .other
            case 0x73: return match("server", .server) ?? .other
            default: return .other
            }
        case 7:
            switch name[0] | 0x20 {
            case 0x74: return match("trailer", .trailer) ?? .other
            case 0x75: return match("upgrade", .upgrade) ?? .other
            case 0x72: return match("referer", .referer) ?? .other
            default: return .other
            }
        case 10:
            switch name[0] | 0x20 {
            case 0x63: return match("connection", .connection) ?? .other
            case 0x6b: return match("keep-alive", .keepAlive) ?? .other
            case 0x75: return match("user-agent", .userAgent) ?? .other
            case 0x73: return match("set-cookie", .setCookie) ?? .other
            default: return .other
            }
        case 11:
            switch name[0] | 0x20 {
            case 0x74: return match("traceparent", .traceparent) ?? .other
            default: return .other
            }
        case 12:
            switch name[0] | 0x20 {
            case 0x63: return match("content-type", .contentType) ?? .other
            case 0x78: return match("x-request-id", .requestID) ?? .other
            default: return .other
            }
        case 13:
            switch name[0] | 0x20 {
            case 0x61: return match("authorization", .authorization) ?? .other
            default: return .other
            }
        case 14:
            switch name[0] | 0x20 {
            case 0x63: return match("content-length", .contentLength) ?? .other
            case 0x68: return match("http2-settings", .http2Settings) ?? .other
            default: return .other
            }
        case 15:
            switch name[0] | 0x20 {
            case 0x78: return match("x-forwarded-for", .forwardedFor) ?? .other
            default: return .other
            }
        case 16:
            switch name[0] | 0x20 {
            case 0x70: return match("proxy-connection", .proxyConnection) ?? .other
            case 0x78: return match("x-forwarded-host", .forwardedHost) ?? .other
            default: return .other
            }
        case 17:
            switch name[0] | 0x20 {
            case 0x74: return match("transfer-encoding", .transferEncoding) ?? .other
            case 0x78: return match("x-forwarded-proto", .forwardedProto) ?? .other
            default: return .other
            }
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
