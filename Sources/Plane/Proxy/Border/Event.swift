import Base
import Telemetry
import Upstream

/// Which side of the proxy a connection is on.
public enum Side: UInt8, Sendable, BitwiseCopyable { case downstream, upstream }

/// A client's connection, or a stream of one, in this worker's tables.
public typealias DownstreamID = SlotID<DownstreamConnection>
/// A connection to an endpoint, or a stream of one, in this worker's tables.
public typealias UpstreamID = SlotID<UpstreamConnection>
/// A request and its response in this worker's tables.
typealias ExchangeID = SlotID<Exchange>
/// One try of an exchange at an endpoint.
typealias AttemptID = SlotID<Attempt>
/// A connection of HTTP/2.
typealias HTTP2LinkID = SlotID<HTTP2Link>

/// A connection of one worker: its side and its slot there. A stale id misses.
public struct ConnectionID: Hashable, Sendable, BitwiseCopyable {
    public let side: Side
    public let index: UInt32
    public let generation: UInt32

    public init(downstream id: DownstreamID) {
        side = .downstream
        index = id.index
        generation = id.generation
    }

    public init(upstream id: UpstreamID) {
        side = .upstream
        index = id.index
        generation = id.generation
    }

    /// The slot of a client's connection. The side must have been asked.
    public var downstream: DownstreamID {
        precondition(side == .downstream, "a connection is looked for on its own side")
        return DownstreamID(index: index, generation: generation)
    }

    /// The slot of a connection to an endpoint. The side must have been asked.
    public var upstream: UpstreamID {
        precondition(side == .upstream, "a connection is looked for on its own side")
        return UpstreamID(index: index, generation: generation)
    }

    /// One word for the poller: side, index (31 bits), generation (32 bits).
    public var token: UInt64 {
        UInt64(side.rawValue) << 63 | UInt64(index & 0x7fff_ffff) << 32 | UInt64(generation)
    }

    public init(token: UInt64) {
        side = token >> 63 == 0 ? .downstream : .upstream
        index = UInt32(truncatingIfNeeded: token >> 32) & 0x7fff_ffff
        generation = UInt32(truncatingIfNeeded: token)
    }
}

/// An event is what happened to a connection. What else the data plane learns comes by methods of
/// `DataPlane`: `accept`, `secured`, `expireTimers`, `adopt`, `keepUnsent` and others.
public enum Event: Sendable, BitwiseCopyable {
    /// A connect that an effect asked for succeeded.
    /// `isSecure`: over TLS, whose handshake is done; `isHTTP2`: it agreed on that (ALPN).
    case connected(UpstreamID, isHTTP2: Bool, isSecure: Bool)
    /// A connect that an effect asked for failed.
    case connectFailed(UpstreamID, Failure)
    /// A connect was not even tried: descriptors or memory have run out here.
    case connectImpossible(UpstreamID)
    /// The count of bytes that were read into `Turn.scratch`; 0 when only kept bytes are to be
    /// looked at again.
    case received(ConnectionID, Int)
    /// The peer will send no more.
    case ended(ConnectionID)
    /// A client will send no more, behind bytes that are not wanted yet.
    case hungUp(ConnectionID)
    /// The connection broke: reset, or an error of the socket.
    case failed(ConnectionID)
    /// All kept bytes of the connection have been written.
    case drained(ConnectionID)
    /// Nothing of the peer's waits to be read.
    case quiet(ConnectionID)
    /// Another worker waits for a connection to the cluster: give up an idle one.
    case connectionWanted(cluster: Int)
    /// Another worker freed a connection to the cluster: somebody here waits for one.
    case connectionFreed(cluster: Int)
}

/// An effect is what the driver is asked to do; effects are performed in their order.
public enum Effect: Sendable, BitwiseCopyable {
    public enum Source: UInt8, Sendable, BitwiseCopyable {
        /// `Turn.scratch`: bytes just received, perhaps with a head placed in front.
        case scratch
        /// `Turn.output`: bytes composed in this event.
        case output
    }

    /// Connect to an endpoint, with the TLS of its cluster (`DataPlane.cluster`) if it has any.
    case connect(UpstreamID, Address)
    /// Write bytes now; what does not go out at once comes back through `keepUnsent`.
    case send(ConnectionID, Source, ByteRange)
    /// Reading was paused or bytes were kept: read again, and show kept bytes again.
    case resume(ConnectionID)
    case shutdownWrite(ConnectionID)
    /// When nothing waits to be written behind this event's sends, say so with `.drained`.
    case checkDrained(ConnectionID)
    /// When nothing waits to be read, say so with `.quiet`.
    case checkQuiet(ConnectionID)
    /// Close; with `reset` so that the peer sees a broken message as broken.
    case close(ConnectionID, reset: Bool)
    /// Ask all other workers to give up a connection to a cluster.
    case askForConnection(cluster: Int)
    /// Tell these workers (bit n is worker n) that a place in a cluster is free.
    case tellFreed(workers: UInt64, cluster: Int)
    /// Wake the control thread: a split has begun a new page and the next ones are to be laid out,
    /// or there is news of an endpoint (`DataPlane.takeNews`).
    case wakeControl
    /// An access-log line in `Turn.logLine`.
    case log(ByteRange)
}

/// News of one endpoint, for the process log.
public struct EndpointNews: Sendable, BitwiseCopyable {
    public enum Kind: Sendable, BitwiseCopyable {
        case ejected(OutlierEjection.Cause)
        case becameHealthy
        case becameUnhealthy(Failure)
        /// The endpoint ended an HTTP/2 connection because of PINGs (GOAWAY, "too_many_pings").
        case toldTooManyPings
        /// A WebSocket was refused: the endpoint has none over HTTP/2, and is not asked for
        /// HTTP/1.1.
        case lacksWebSockets
        /// The endpoint answers with HTTP/1.1 where HTTP/2 is spoken to it.
        case speaksHTTP1
        /// The endpoint answers with frames of HTTP/2 where HTTP/1.1 is spoken to it.
        case speaksHTTP2
    }

    public var kind: Kind
    /// The number of the endpoint's cluster.
    public var cluster: Int
    public var endpoint: Address
}
