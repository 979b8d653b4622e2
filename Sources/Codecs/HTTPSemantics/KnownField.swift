import Base

/// Field names that the proxy itself has a use for, interned to a byte; the rest is `other`.
/// At most 64 with it, for `KnownFields`.
public enum KnownField: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    case other
    case host, connection, contentLength, transferEncoding, te, trailer, upgrade, keepAlive
    case proxyConnection, expect, cookie, setCookie, date, via, http2Settings
    case forwardedFor, forwardedProto, forwardedHost, requestID, traceparent
    case userAgent, referer, contentType, mirror, authorization, proxyAuthorization
    case forwardedClientCert, grpcStatus, grpcMessage, grpcTimeout
    case retryAfter, requestTimeout
    case forwarded, forwardedPort, forwardedPrefix, realIP

    /// The table that the scan of field lines looks names up in.
    static let names = FieldNames(
        allCases.filter { $0 != .other }.map { ($0.name, $0.rawValue) })

    /// Names are compared without case (RFC 9110 §5.1).
    public static func intern(_ name: Span<UInt8>) -> KnownField {
        KnownField(rawValue: names.number(name)) ?? .other
    }

    /// The field's name in lower case; empty for `other`.
    public var name: StaticString {
        switch self {
        case .other: return ""
        case .host: return "host"
        case .connection: return "connection"
        case .contentLength: return "content-length"
        case .transferEncoding: return "transfer-encoding"
        case .te: return "te"
        case .trailer: return "trailer"
        case .upgrade: return "upgrade"
        case .keepAlive: return "keep-alive"
        case .proxyConnection: return "proxy-connection"
        case .expect: return "expect"
        case .cookie: return "cookie"
        case .setCookie: return "set-cookie"
        case .date: return "date"
        case .via: return "via"
        case .http2Settings: return "http2-settings"
        case .forwardedFor: return "x-forwarded-for"
        case .forwardedProto: return "x-forwarded-proto"
        case .forwardedHost: return "x-forwarded-host"
        case .requestID: return "x-request-id"
        case .traceparent: return "traceparent"
        case .userAgent: return "user-agent"
        case .referer: return "referer"
        case .contentType: return "content-type"
        case .mirror: return "x-sluice-mirror"
        case .authorization: return "authorization"
        case .proxyAuthorization: return "proxy-authorization"
        case .forwardedClientCert: return "x-forwarded-client-cert"
        case .grpcStatus: return "grpc-status"
        case .grpcMessage: return "grpc-message"
        case .grpcTimeout: return "grpc-timeout"
        case .retryAfter: return "retry-after"
        case .requestTimeout: return "x-request-timeout-ms"
        case .forwarded: return "forwarded"
        case .forwardedPort: return "x-forwarded-port"
        case .forwardedPrefix: return "x-forwarded-prefix"
        case .realIP: return "x-real-ip"
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
            .forwardedFor, .forwardedProto, .forwardedHost, .forwardedClientCert, .requestID,
            .traceparent, .date, .grpcStatus, .grpcMessage, .grpcTimeout, .forwarded,
            .forwardedPort, .forwardedPrefix, .realIP:
            return true
        default: return false
        }
    }

    /// Fields that may not stand in a trailer section (RFC 9110 §6.5.1).
    @inlinable public var isForbiddenInTrailers: Bool {
        switch self {
        case .host, .contentLength, .cookie, .setCookie, .expect, .authorization,
            .proxyAuthorization, .contentType:
            return true
        // Where gRPC puts them.
        case .grpcStatus, .grpcMessage: return false
        default: return isHopByHop || isProtectedFromNomination
        }
    }
}
