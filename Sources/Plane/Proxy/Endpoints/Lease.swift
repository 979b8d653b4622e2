import Telemetry

/// The outcome of an exchange's wish for a connection to its version; `Exchanges.perform` takes the
/// step that follows.
enum Lease {
    /// The attempt has its connection, and the request goes out.
    case assigned(UpstreamID)
    /// A connection is being made, or the attempt stands in the queue.
    case waits
    /// There is no way to the version now.
    case refused(LocalAnswer)

    static var overflow: Lease {
        .refused(LocalAnswer(status: 503, flags: .upstreamOverflow, cause: .local))
    }
}
