import Base

/// Field names that the proxy itself has a use for, interned to a byte; the rest is `other`.
/// At most 32 with it, for `KnownFields`.
public enum KnownField: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    case other
    case host, connection, contentLength, transferEncoding, te, trailer, upgrade, keepAlive
    case proxyConnection, expect, cookie, setCookie, date, via, http2Settings
    case forwardedFor, forwardedProto, forwardedHost, requestID, traceparent
    case userAgent, referer, contentType, server, authorization

    /// Names are compared without case (RFC 9110 §5.1). By length first: most names of a request
    /// differ there already.
    public static func intern(_ name: Span<UInt8>) -> KnownField {
        name.count <= 10 ? short(name) : long(name)
    }

    @inline(__always)
    private static func match(
        _ name: Span<UInt8>, _ text: StaticString, _ field: KnownField
    ) -> KnownField {
        ASCII.equalName(name, text) ? field : .other
    }

    private static func short(_ name: Span<UInt8>) -> KnownField {
        switch name.count {
        case 2: return match(name, "te", .te)
        case 3: return match(name, "via", .via)
        case 4:
            switch name[0] | 0x20 {
            case 0x68: return match(name, "host", .host)
            case 0x64: return match(name, "date", .date)
            default: return .other
            }
        case 6:
            switch name[0] | 0x20 {
            case 0x63: return match(name, "cookie", .cookie)
            case 0x65: return match(name, "expect", .expect)
            case 0x73: return match(name, "server", .server)
            default: return .other
            }
        case 7:
            switch name[0] | 0x20 {
            case 0x74: return match(name, "trailer", .trailer)
            case 0x75: return match(name, "upgrade", .upgrade)
            case 0x72: return match(name, "referer", .referer)
            default: return .other
            }
        case 10:
            switch name[0] | 0x20 {
            case 0x63: return match(name, "connection", .connection)
            case 0x6b: return match(name, "keep-alive", .keepAlive)
            case 0x75: return match(name, "user-agent", .userAgent)
            case 0x73: return match(name, "set-cookie", .setCookie)
            default: return .other
            }
        default: return .other
        }
    }

    private static func long(_ name: Span<UInt8>) -> KnownField {
        switch name.count {
        case 11: return match(name, "traceparent", .traceparent)
        case 12:
            switch name[0] | 0x20 {
            case 0x63: return match(name, "content-type", .contentType)
            case 0x78: return match(name, "x-request-id", .requestID)
            default: return .other
            }
        case 13: return match(name, "authorization", .authorization)
        case 14:
            switch name[0] | 0x20 {
            case 0x63: return match(name, "content-length", .contentLength)
            case 0x68: return match(name, "http2-settings", .http2Settings)
            default: return .other
            }
        case 15: return match(name, "x-forwarded-for", .forwardedFor)
        case 16:
            switch name[0] | 0x20 {
            case 0x70: return match(name, "proxy-connection", .proxyConnection)
            case 0x78: return match(name, "x-forwarded-host", .forwardedHost)
            default: return .other
            }
        case 17:
            switch name[0] | 0x20 {
            case 0x74: return match(name, "transfer-encoding", .transferEncoding)
            case 0x78: return match(name, "x-forwarded-proto", .forwardedProto)
            default: return .other
            }
        default: return .other
        }
    }

    /// The same from a name's key; `nil` when the key cannot tell. A switch on the length leaves a
    /// word or two to compare.
    @inlinable @inline(__always)
    public static func intern(_ key: NameKey) -> KnownField? {
        switch key.length {
        case 2: return key.names("te") ? .te : .other
        case 3: return key.names("via") ? .via : .other
        case 4:
            if key.names("host") { return .host }
            return key.names("date") ? .date : .other
        case 6:
            if key.names("cookie") { return .cookie }
            if key.names("server") { return .server }
            return key.names("expect") ? .expect : .other
        case 7:
            if key.names("referer") { return .referer }
            if key.names("upgrade") { return .upgrade }
            return key.names("trailer") ? .trailer : .other
        case 10:
            if key.names("user-agent") { return .userAgent }
            if key.names("connection") { return .connection }
            if key.names("set-cookie") { return .setCookie }
            return key.names("keep-alive") ? .keepAlive : .other
        case 11: return key.names("traceparent") ? .traceparent : .other
        case 12:
            if key.names("content-type") { return .contentType }
            return key.names("x-request-id") ? .requestID : .other
        case 13: return key.names("authorization") ? .authorization : .other
        case 14:
            if key.names("content-length") { return .contentLength }
            return key.names("http2-settings") ? .http2Settings : .other
        case 15: return key.names("x-forwarded-for") ? .forwardedFor : .other
        case 16:
            if key.names("x-forwarded-host") { return .forwardedHost }
            return key.names("proxy-connection") ? .proxyConnection : .other
        // Longer than a key can tell apart.
        case 17...: return nil
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
