import Base
import Platform

/// A letter from another thread to a worker. The only way in, besides the newest snapshot.
enum Mail: Sendable {
    /// A connection that another worker accepted for this one; its load is counted already. The
    /// listening socket says which listener's the connection is: the two workers may know the
    /// socket by different names for a moment. The number is for a socket that is not known.
    case connection(descriptor: Int32, socket: Int32, listener: Int, peer: Address)
    case connectionWanted(cluster: Int)
    case connectionFreed(cluster: Int)
    case addListener(descriptor: Int32, listener: Int)
    /// Take what still waits there, then let go; `removed` counts workers that have.
    case removeListener(descriptor: Int32)
    /// Close connections between requests, announce the end on the others.
    case drain
    /// End everything and return.
    case stop
}

/// A worker's letters: many threads put, one takes.
final class Mailbox: Sendable {
    private let letters = Lock<[Mail]>([])
    private let wakeup: Wakeup

    init() throws(SystemError) { wakeup = try Wakeup() }

    var descriptor: Int32 { wakeup.descriptor }

    func put(_ mail: Mail) {
        let wasEmpty = letters.withLock { letters in
            defer { letters.append(mail) }
            return letters.isEmpty
        }
        if wasEmpty { wakeup.wake() }
    }

    /// Wakes the worker without a letter: it looks at the newest snapshot.
    func wake() { wakeup.wake() }

    func takeAll() -> [Mail] {
        wakeup.clear()
        return letters.withLock { letters in
            defer { letters = [] }
            return letters
        }
    }
}
