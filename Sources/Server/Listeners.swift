import Base
import Configuration
import Platform

/// The listening sockets of the process: opened once, shared by all workers, never reopened while
/// their address stays.
struct Listeners {
    struct Open {
        var name: String
        /// As configured; port 0 stays 0 here.
        var configured: Address
        var bound: Address
        var descriptor: Int32
        /// The listener's number in the metrics.
        var id: Int
    }

    private(set) var open: [Open] = []

    struct Change {
        var added: [Open] = []
        var removed: [Open] = []
    }

    struct Failure: Error { let text: String }

    /// Opens what is new; nothing changes when one cannot be opened.
    mutating func prepare(
        _ wanted: [Document.Listener], number: (String) -> Int
    ) throws(Failure) -> Change {
        var change = Change()
        for listener in wanted
        where !open.contains(where: {
            $0.name == listener.name && $0.configured == listener.address
        }) {
            do throws(SystemError) {
                let descriptor = try Socket.listen(listener.address)
                change.added.append(
                    Open(
                        name: listener.name, configured: listener.address,
                        bound: Socket.boundAddress(descriptor) ?? listener.address,
                        descriptor: descriptor, id: number(listener.name)))
            } catch {
                for opened in change.added { Socket.close(opened.descriptor) }
                let address = UnixPaths.text(listener.address)
                throw Failure(
                    text: "the listener \"\(listener.name)\" cannot listen on \(address): "
                        + error.message)
            }
        }
        change.removed = open.filter { held in
            !wanted.contains { $0.name == held.name && $0.address == held.configured }
        }
        return change
    }

    mutating func commit(_ change: Change) {
        let gone = Set(change.removed.map(\.descriptor))
        open = open.filter { !gone.contains($0.descriptor) } + change.added
    }

    /// The address as text, with the port that port 0 became.
    static func text(_ listener: Open) -> String {
        listener.configured.family == .unix
            ? UnixPaths.text(listener.configured) : listener.bound.description
    }
}
