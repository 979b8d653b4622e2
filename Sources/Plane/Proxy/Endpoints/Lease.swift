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
        /// A limit of the version, or of the process, is reached.
        case overflow
        /// No endpoint may be chosen.
        case noEndpoint
        /// The endpoint speaks HTTP/2 without WebSockets.
        case noWebSockets
        /// The endpoint wanted HTTP/1.1, and took no connection of that.
        case noHTTP1

        /// The answer to a request that is refused so.
        var answer: LocalAnswer {
            switch self {
            case .overflow:
                return LocalAnswer(status: 503, flags: .upstreamOverflow, cause: .local)
            case .noEndpoint:
                return LocalAnswer(status: 503, flags: .noHealthyUpstream, cause: .local)
            case .noWebSockets:
                return LocalAnswer(
                    status: 502, flags: .upstreamProtocolError, cause: .local,
                    content: .text(Upgrades.noWebSockets))
            case .noHTTP1:
                return LocalAnswer(status: 502, flags: .upstreamProtocolError, cause: .reset)
            }
        }
    }
}
