import Base

/// Who ended a request and why, in Envoy's letters (its access log's `%RESPONSE_FLAGS%`).
public struct ResponseFlags: OptionSet, Sendable, BitwiseCopyable, Hashable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// NR: no route took the request.
    public static var noRoute: ResponseFlags { .init(rawValue: 1 << 0) }
    /// UH: no endpoint of the version may be used.
    public static var noHealthyUpstream: ResponseFlags { .init(rawValue: 1 << 1) }
    /// UF: the connect to the endpoint failed.
    public static var upstreamConnectFailure: ResponseFlags { .init(rawValue: 1 << 2) }
    /// UO: a limit of the connection pool was reached.
    public static var upstreamOverflow: ResponseFlags { .init(rawValue: 1 << 3) }
    /// UT: the origin took longer than a timeout allows.
    public static var upstreamTimeout: ResponseFlags { .init(rawValue: 1 << 4) }
    /// UC: the origin ended the connection.
    public static var upstreamTermination: ResponseFlags { .init(rawValue: 1 << 5) }
    /// UPE: the origin broke the protocol.
    public static var upstreamProtocolError: ResponseFlags { .init(rawValue: 1 << 6) }
    /// DC: the client ended the connection.
    public static var downstreamTermination: ResponseFlags { .init(rawValue: 1 << 7) }
    /// DPE: the client broke the protocol.
    public static var downstreamProtocolError: ResponseFlags { .init(rawValue: 1 << 8) }
    /// SI: no byte moved for longer than the idle timeout.
    public static var streamIdle: ResponseFlags { .init(rawValue: 1 << 9) }
    /// DT: the whole request took longer than allowed.
    public static var durationTimeout: ResponseFlags { .init(rawValue: 1 << 10) }
    /// URX: another attempt was owed and none was left.
    public static var retryLimit: ResponseFlags { .init(rawValue: 1 << 11) }

    /// DI: held back by fault injection.
    public static var delayInjected: ResponseFlags { .init(rawValue: 1 << 12) }
    /// FI: answered by fault injection.
    public static var faultInjected: ResponseFlags { .init(rawValue: 1 << 13) }
    /// RL: refused by the route's rate limit.
    public static var rateLimited: ResponseFlags { .init(rawValue: 1 << 14) }
    /// OM: refused because memory is short.
    public static var overload: ResponseFlags { .init(rawValue: 1 << 15) }

    /// DR: cut by this process's own end, when its time to drain was over. Not one of Envoy's.
    public static var drained: ResponseFlags { .init(rawValue: 1 << 16) }

    /// GT: the guard has taken the request's version out, and the stable one took the request. Not
    /// one of Envoy's.
    public static var guarded: ResponseFlags { .init(rawValue: 1 << 17) }

    /// Appends the letters, comma-separated; "-" for none.
    public func append(to out: inout ByteBuffer) {
        if isEmpty { return out.append(UInt8(ascii: "-")) }
        var isFirst = true
        func put(_ flag: ResponseFlags, _ letters: StaticString) {
            guard contains(flag) else { return }
            if !isFirst { out.append(UInt8(ascii: ",")) }
            out.append(letters)
            isFirst = false
        }
        put(.noRoute, "NR")
        put(.noHealthyUpstream, "UH")
        put(.upstreamConnectFailure, "UF")
        put(.upstreamOverflow, "UO")
        put(.upstreamTimeout, "UT")
        put(.upstreamTermination, "UC")
        put(.upstreamProtocolError, "UPE")
        put(.downstreamTermination, "DC")
        put(.downstreamProtocolError, "DPE")
        put(.streamIdle, "SI")
        put(.durationTimeout, "DT")
        put(.retryLimit, "URX")
        put(.delayInjected, "DI")
        put(.faultInjected, "FI")
        put(.rateLimited, "RL")
        put(.overload, "OM")
        put(.drained, "DR")
        put(.guarded, "GT")
    }
}
