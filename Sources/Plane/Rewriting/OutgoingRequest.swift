import Base
import Configuration

/// A request that was decided, as `RequestHeadWriter` needs it beside the parsed head: where it
/// goes, and what is known of the way it came.
public struct OutgoingRequest: BitwiseCopyable {
    /// The configuration that the request is decided by.
    @usableFromInline let snapshot: SharedBox<Snapshot>
    /// Into the snapshot's routes.
    @usableFromInline let route: Int32
    /// Into the snapshot's services.
    @usableFromInline let service: Int32
    /// Into the snapshot's edits; 0 for none.
    @usableFromInline let edits: Int32
    /// The client's connection is TLS.
    @usableFromInline let isSecure: Bool
    /// A copy of a client's request (`mirror`), which keeps the id of its original.
    @usableFromInline let isCopy: Bool

    @inlinable @inline(__always)
    public init(
        _ snapshot: SharedBox<Snapshot>, route: Int, service: Int, edits: Int, isSecure: Bool,
        isCopy: Bool
    ) {
        self.snapshot = snapshot
        self.route = Int32(truncatingIfNeeded: route)
        self.service = Int32(truncatingIfNeeded: service)
        self.edits = Int32(truncatingIfNeeded: edits)
        self.isSecure = isSecure
        self.isCopy = isCopy
    }

    @inlinable var plan: Snapshot.RoutePlan {
        @inline(__always) get { snapshot.value.routes[Int(route)] }
    }
}

/// The head that was written for an origin; positions count from the start of the buffer's memory.
public struct WrittenHead: BitwiseCopyable, Sendable {
    /// The head with its empty line.
    public var range = ByteRange.empty
    /// The protocol that the client asked to upgrade to (RFC 9110 §7.8); empty for none.
    public var upgrade = ByteRange.empty
    /// The client asked for another protocol, or for a tunnel by CONNECT.
    public var wantsTunnel = false

    @inlinable public init() {}
}
