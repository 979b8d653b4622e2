import Telemetry

/// The outcome of an exchange's wish for a connection to its version; `Exchanges.perform` takes the
/// step that follows. Small, so that each request's fits in registers.
enum Lease: BitwiseCopyable {
    /// The attempt has its connection, and the request goes out.
    case assigned(UpstreamID)
    /// A connection is being made, or the attempt stands in the queue.
    case waits
    /// There is no way to the version now.
    case refused(Refusal)

    /// Why there is no way.
    enum Refusal: UInt8, BitwiseCopyable {
        /// As many requests of the version are under way as may be.
        case requestLimit
        /// As many requests wait for a connection to the version as may.
        case pendingLimit
        /// The process has no room for another connection.
        case exhausted
        /// No endpoint may be chosen.
        case noEndpoint
        /// The version has no endpoint, because its name has no address.
        case noAddress
        /// The endpoint speaks HTTP/2 without WebSockets.
        case noWebSockets
        /// The endpoint wanted HTTP/1.1, and took no connection of that.
        case noHTTP1

        /// The answer to a request that is refused so.
        var answer: LocalAnswer {
            switch self {
            case .requestLimit: return Refusal.overflow(.requestLimit)
            case .pendingLimit: return Refusal.overflow(.pendingLimit)
            case .exhausted: return Refusal.overflow(.exhausted)
            case .noEndpoint:
                return LocalAnswer(
                    status: 503, flags: .noHealthyUpstream, cause: .local,
                    failure: Failure(.noEndpoint))
            case .noAddress:
                return LocalAnswer(
                    status: 503, flags: .noHealthyUpstream, cause: .local,
                    failure: Failure(.noAddress))
            case .noWebSockets:
                return LocalAnswer(
                    status: 502, flags: .upstreamProtocolError, cause: .local,
                    failure: Failure(.noWebSockets), content: .text(Upgrades.noWebSockets))
            case .noHTTP1:
                return LocalAnswer(
                    status: 502, flags: .upstreamProtocolError, cause: .reset,
                    failure: Failure(.noHTTP1))
            }
        }

        private static func overflow(_ reason: Failure.Reason) -> LocalAnswer {
            LocalAnswer(
                status: 503, flags: .upstreamOverflow, cause: .local, failure: Failure(reason))
        }
    }
}
