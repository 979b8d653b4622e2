import Base

/// One try of an exchange at one endpoint. An exchange has one, and another after a safe failure.
struct Attempt: ~Copyable {
    enum Phase: UInt8, BitwiseCopyable {
        /// In the cluster's queue.
        case pending
        /// The attempt's connection is being made.
        case connecting
        /// The attempt has its connection.
        case sent
    }

    var phase = Phase.pending
    var exchange = ExchangeID.none
    var connection = UpstreamID.none
    /// Position among the cluster's endpoints.
    var position = -1
    var endpoint = -1
    /// Whether the attempt was sent on a connection that had served before.
    var isReused = false
    /// HTTP/2 connections that were begun for it and did not serve it.
    var linkCount: UInt8 = 0
    var nextPending = AttemptID.none
    var previousPending = AttemptID.none

    mutating func reset() {
        phase = .pending
        exchange = .none
        connection = .none
        position = -1
        endpoint = -1
        isReused = false
        linkCount = 0
        nextPending = .none
        previousPending = .none
    }

    init() {}
}
