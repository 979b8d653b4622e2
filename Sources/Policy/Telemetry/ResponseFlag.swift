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
    /// UT: the endpoint, or the whole request, took longer than a time limit allows.
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

    /// How many flags there are.
    public static let count = 17

    /// A flag with its letters and its long name, by its place in a line, 0..<count: an injected
    /// delay comes before what became of the request, and used-up retries before how the last of
    /// them ended, as in Envoy.
    public static func entry(
        _ place: Int
    ) -> (flag: ResponseFlags, letters: StaticString, long: StaticString) {
        switch place {
        case 0: return (.delayInjected, "DI", "DelayInjected")
        case 1: return (.faultInjected, "FI", "FaultInjected")
        case 2: return (.rateLimited, "RL", "RateLimited")
        case 3: return (.overload, "OM", "OverloadManagerTerminated")
        case 4: return (.noRoute, "NR", "NoRouteFound")
        case 5: return (.retryLimit, "URX", "UpstreamRetryLimitExceeded")
        case 6: return (.noHealthyUpstream, "UH", "NoHealthyUpstream")
        case 7: return (.upstreamConnectFailure, "UF", "UpstreamConnectionFailure")
        case 8: return (.upstreamOverflow, "UO", "UpstreamOverflow")
        case 9: return (.upstreamTimeout, "UT", "UpstreamRequestTimeout")
        case 10: return (.upstreamTermination, "UC", "UpstreamConnectionTermination")
        case 11: return (.upstreamProtocolError, "UPE", "UpstreamProtocolError")
        case 12: return (.downstreamTermination, "DC", "DownstreamConnectionTermination")
        case 13: return (.downstreamProtocolError, "DPE", "DownstreamProtocolError")
        case 14: return (.streamIdle, "SI", "StreamIdleTimeout")
        case 15: return (.drained, "DR", "ProcessDrained")
        default: return (.guarded, "GT", "GuardTripped")
        }
    }

    /// Appends the letters, comma-separated; "-" for none.
    public func append(to out: inout ByteBuffer) { append(long: false, to: &out) }

    /// Appends the long names, comma-separated; "-" for none.
    public func appendLong(to out: inout ByteBuffer) { append(long: true, to: &out) }

    private func append(long: Bool, to out: inout ByteBuffer) {
        if isEmpty { return out.append(UInt8(ascii: "-")) }
        var isFirst = true
        for place in 0..<ResponseFlags.count {
            let entry = ResponseFlags.entry(place)
            guard contains(entry.flag) else { continue }
            if !isFirst { out.append(UInt8(ascii: ",")) }
            out.append(long ? entry.long : entry.letters)
            isFirst = false
        }
    }
}
