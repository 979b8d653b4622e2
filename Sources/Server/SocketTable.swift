import Base
import Platform
import Proxy

/// Descriptors of one worker's connections, by side and slot. Confined to its worker.
struct SocketTable: ~Copyable {
    struct Entry: BitwiseCopyable {
        var descriptor: Int32 = -1
        var generation: UInt32 = 0
        var isConnecting = false
    }

    private var downstream = PlainArray<Entry>()
    private var upstream = PlainArray<Entry>()

    /// The connection's descriptor; `nil` when the id is stale.
    func descriptor(_ id: ConnectionID) -> Int32? {
        let index = Int(id.slot.index)
        switch id.side {
        case .downstream:
            guard index < downstream.count, downstream[index].generation == id.slot.generation
            else { return nil }
            return downstream[index].descriptor
        case .upstream:
            guard index < upstream.count, upstream[index].generation == id.slot.generation
            else { return nil }
            return upstream[index].descriptor
        }
    }

    func isConnecting(_ id: ConnectionID) -> Bool {
        let index = Int(id.slot.index)
        return id.side == .upstream && index < upstream.count
            && upstream[index].generation == id.slot.generation && upstream[index].isConnecting
    }

    mutating func insert(_ id: ConnectionID, _ descriptor: Int32, isConnecting: Bool) {
        let entry = Entry(
            descriptor: descriptor, generation: id.slot.generation, isConnecting: isConnecting)
        let index = Int(id.slot.index)
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
        upstream[Int(id.slot.index)].isConnecting = false
    }

    /// Forgets the connection and returns its descriptor, for the caller to close.
    mutating func remove(_ id: ConnectionID) -> Int32? {
        guard let found = descriptor(id) else { return nil }
        switch id.side {
        case .downstream: downstream[Int(id.slot.index)] = Entry()
        case .upstream: upstream[Int(id.slot.index)] = Entry()
        }
        return found
    }
}
