import Base
import Platform
import Proxy

/// Descriptors of one worker's connections, by side and slot. Confined to its worker.
struct SocketTable: ~Copyable {
    struct Entry: BitwiseCopyable {
        var descriptor: Int32 = -1
        var generation: UInt32 = 0
        var isConnecting = false
        /// The data plane was given bytes back that the socket did not take.
        var hasUnsent = false
        /// The peer has sent its last byte, read or not.
        var hasHungUp = false
        /// A send told that the peer has reset the connection; no later call on the socket will.
        var wasReset = false
        /// The connection's TLS; none for a plain socket.
        var secure = SecureLinkID.none
    }

    private let addressOnly = AddressOnly()
    private var downstream = PlainArray<Entry>()
    private var upstream = PlainArray<Entry>()

    /// The entry of the connection; `nil` when the id is stale.
    @inline(__always)
    func entry(_ id: ConnectionID) -> Entry? {
        let index = Int(id.index)
        let entry: Entry
        if id.side == .downstream {
            guard index < downstream.count else { return nil }
            entry = downstream[index]
        } else {
            guard index < upstream.count else { return nil }
            entry = upstream[index]
        }
        return entry.generation == id.generation ? entry : nil
    }

    /// The number of places of a side; some may be empty.
    func count(_ side: Side) -> Int { side == .downstream ? downstream.count : upstream.count }

    /// The connection at a place, with its descriptor.
    func connection(_ side: Side, at index: Int) -> (id: ConnectionID, descriptor: Int32)? {
        let entry = side == .downstream ? downstream[index] : upstream[index]
        guard entry.descriptor >= 0 else { return nil }
        let slot = UInt32(index)
        let id =
            side == .downstream
            ? ConnectionID(downstream: DownstreamID(index: slot, generation: entry.generation))
            : ConnectionID(upstream: UpstreamID(index: slot, generation: entry.generation))
        return (id, entry.descriptor)
    }

    /// The connection's descriptor; `nil` when the id is stale.
    func descriptor(_ id: ConnectionID) -> Int32? { entry(id)?.descriptor }

    mutating func setUnsent(_ id: ConnectionID, _ hasUnsent: Bool) {
        guard entry(id) != nil else { return }
        if id.side == .downstream {
            downstream[Int(id.index)].hasUnsent = hasUnsent
        } else {
            upstream[Int(id.index)].hasUnsent = hasUnsent
        }
    }

    mutating func setHungUp(_ id: ConnectionID) {
        guard entry(id) != nil else { return }
        if id.side == .downstream {
            downstream[Int(id.index)].hasHungUp = true
        } else {
            upstream[Int(id.index)].hasHungUp = true
        }
    }

    /// A send has failed. EPIPE stands for a peer that had ended its side properly before it reset
    /// the connection: all that it sent is whole.
    mutating func noteFailure(_ id: ConnectionID, code: Int32) {
        guard entry(id) != nil, id.side == .upstream, !Socket.isPipeBroken(code) else { return }
        upstream[Int(id.index)].wasReset = true
    }

    mutating func setSecure(_ id: ConnectionID, _ link: SecureLinkID) {
        guard entry(id) != nil else { return }
        if id.side == .downstream {
            downstream[Int(id.index)].secure = link
        } else {
            upstream[Int(id.index)].secure = link
        }
    }

    mutating func insert(_ id: ConnectionID, _ descriptor: Int32, isConnecting: Bool) {
        let entry = Entry(
            descriptor: descriptor, generation: id.generation, isConnecting: isConnecting)
        let index = Int(id.index)
        switch id.side {
        case .downstream:
            while downstream.count <= index { downstream.append(Entry()) }
            downstream[index] = entry
        case .upstream:
            while upstream.count <= index { upstream.append(Entry()) }
            upstream[index] = entry
        }
    }

    mutating func hasConnected(_ id: ConnectionID) {
        upstream[Int(id.index)].isConnecting = false
    }

    /// Forgets the connection and returns what was known of it, for the caller to close.
    mutating func remove(_ id: ConnectionID) -> Entry? {
        guard let found = entry(id) else { return nil }
        switch id.side {
        case .downstream: downstream[Int(id.index)] = Entry()
        case .upstream: upstream[Int(id.index)] = Entry()
        }
        return found
    }
}
