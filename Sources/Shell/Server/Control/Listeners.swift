import Base
import Configuration
import Files
import Platform

/// The listening sockets of the process: opened once, shared by all workers, never reopened while
/// their address stays. A listener's name may change under its socket.
struct Listeners {
    struct Open {
        var name: String
        /// As configured; port 0 stays 0 here.
        var configured: Address
        var bound: Address
        var descriptor: Int32
        /// The listener's number in the metrics.
        var id: Int
        /// `[::]` that takes IPv4 too.
        var isDual: Bool
        /// The stamp of a unix socket's file, from when it was bound.
        var stamp: Files.Stamp?

        /// Closes the socket, and removes the file of a unix socket unless another has its place.
        func close() {
            Socket.close(descriptor)
            if let stamp, let path = UnixPaths.path(configured) {
                Files.removeSocket(path, ifStill: stamp)
            }
        }
    }

    private(set) var open: [Open] = []

    struct Change {
        var added: [Open] = []
        var removed: [Open] = []
        /// Sockets that stay and get another name, or names that change places: clients that wait
        /// in their queues and connections that are open belong to the new name.
        var renamed: [Open] = []
        /// Sockets whose part in IPv4 changes only with the next start.
        var fixed: [Open] = []

        /// Whether the same sockets stay open by the same names.
        var isEmpty: Bool { added.isEmpty && removed.isEmpty && renamed.isEmpty }
    }

    struct Failure: Error { let text: String }

    /// Opens what is new; nothing changes when one cannot be opened.
    ///
    /// - Parameter number: a listener's number in the metrics, by its name.
    func prepare(_ document: Document, number: (String) -> Int) throws(Failure) -> Change {
        var change = Change()
        var free = open
        var left: [Document.Listener] = []
        func take(_ listener: Document.Listener, where isIt: (Open) -> Bool) -> Open? {
            guard let i = free.firstIndex(where: { $0.configured == listener.address && isIt($0) })
            else { return nil }
            return free.remove(at: i)
        }
        func keep(_ held: Open, _ change: inout Change) {
            if held.isDual != document.isDual(held.configured) { change.fixed.append(held) }
        }
        // Those that keep their name first: port 0 may be the address of several.
        for listener in document.listeners {
            if let held = take(listener, where: { $0.name == listener.name }) {
                keep(held, &change)
            } else {
                left.append(listener)
            }
        }
        for listener in left {
            guard var held = take(listener, where: { _ in true }) else {
                try add(listener, document, number, &change)
                continue
            }
            keep(held, &change)
            held.name = listener.name
            held.id = number(listener.name)
            change.renamed.append(held)
        }
        change.removed = free
        return change
    }

    private func add(
        _ listener: Document.Listener, _ document: Document, _ number: (String) -> Int,
        _ change: inout Change
    ) throws(Failure) {
        let isDual = document.isDual(listener.address)
        do throws(SystemError) {
            let descriptor = try bind(listener.address, isDual: isDual, change)
            change.added.append(
                Open(
                    name: listener.name, configured: listener.address,
                    bound: Socket.boundAddress(descriptor) ?? listener.address,
                    descriptor: descriptor, id: number(listener.name), isDual: isDual,
                    stamp: UnixPaths.path(listener.address).flatMap(Files.stamp)))
        } catch {
            let own = (open + change.added).map(\.bound)
            Listeners.discard(change)
            throw Failure(
                text: "the listener \"\(listener.name)\" cannot listen on "
                    + "\(UnixPaths.text(listener.address)): \(error.message)"
                    + ListenHints.text(error, listener.address, own: own))
        }
    }

    /// Opens a socket; where sockets of this process have the port with a wider or narrower
    /// address, beside them.
    private func bind(
        _ address: Address, isDual: Bool, _ change: Change
    ) throws(SystemError) -> Int32 {
        do throws(SystemError) {
            return try Socket.listen(address, isDual: isDual)
        } catch {
            let siblings = (open + change.added).filter {
                address.family != .unix && address.port != 0 && $0.bound.family != .unix
                    && $0.bound.port == address.port && $0.bound != address
            }
            guard error.cause == .inUse, !siblings.isEmpty else { throw error }
            return try Socket.listen(
                address, isDual: isDual, beside: siblings.map(\.descriptor))
        }
    }

    /// Closes what `prepare` opened, for a change that is not made.
    static func discard(_ change: Change) {
        for opened in change.added { opened.close() }
    }

    /// The sockets that will be open after a change, removed ones included until they are closed.
    func numbers(after change: Change) -> [Int32: Int] {
        var numbers: [Int32: Int] = [:]
        for listener in open + change.added + change.renamed {
            numbers[listener.descriptor] = listener.id
        }
        return numbers
    }

    mutating func commit(_ change: Change) {
        let gone = Set((change.removed + change.renamed).map(\.descriptor))
        open = open.filter { !gone.contains($0.descriptor) } + change.renamed + change.added
    }

    /// The address as text, with the port that port 0 became.
    static func text(_ listener: Open) -> String {
        listener.configured.family == .unix
            ? UnixPaths.text(listener.configured) : listener.bound.description
    }
}
