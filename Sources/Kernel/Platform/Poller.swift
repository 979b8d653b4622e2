import Base
import CPlatform

/// One epoll instance and the batch of events of its last wait. Confined to one thread.
@safe public struct Poller: ~Copyable {
    public struct Ready: Sendable, BitwiseCopyable {
        /// The token that was given at registration.
        public var token: UInt64
        public var isReadable: Bool
        public var isWritable: Bool
        /// The peer will send no more, or the connection is broken: read until the end shows.
        public var isHungUp: Bool
        /// The connection is broken: reset, or a connect that failed.
        public var hasError: Bool
    }

    private let fd: Int32
    private let events: UnsafeMutablePointer<epoll_event>
    private static let batch = 256

    public init() throws(SystemError) {
        fd = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard fd >= 0 else { throw SystemError("epoll_create1") }
        unsafe events = .allocate(capacity: Poller.batch)
    }

    deinit {
        Socket.close(fd)
        unsafe events.deallocate()
    }

    /// Registers a connection once, edge-triggered, for everything it can report.
    public func addConnection(_ descriptor: Int32, token: UInt64) throws(SystemError) {
        try control(EPOLL_CTL_ADD, descriptor, cplatform_epoll_edge(), token)
    }

    /// Registers a listening socket, level-triggered; one waiting thread of several is woken.
    public func addListener(_ descriptor: Int32, token: UInt64) throws(SystemError) {
        try control(EPOLL_CTL_ADD, descriptor, cplatform_epoll_listen(), token)
    }

    /// Registers a descriptor for input, level-triggered.
    public func addInput(_ descriptor: Int32, token: UInt64) throws(SystemError) {
        try control(EPOLL_CTL_ADD, descriptor, EPOLLIN.rawValue, token)
    }

    public func remove(_ descriptor: Int32) {
        _ = cplatform_epoll_ctl(fd, Int32(EPOLL_CTL_DEL), descriptor, 0, 0)
    }

    private func control(
        _ operation: Int32, _ descriptor: Int32, _ interest: UInt32, _ token: UInt64
    ) throws(SystemError) {
        guard cplatform_epoll_ctl(fd, operation, descriptor, interest, token) == 0 else {
            throw SystemError("epoll_ctl")
        }
    }

    /// Waits until something is ready or `milliseconds` have passed (-1: for ever).
    /// - Returns: how many events `ready(_:)` can be asked for.
    public mutating func wait(milliseconds: Int32) throws(SystemError) -> Int {
        let n = unsafe epoll_wait(fd, events, Int32(Poller.batch), milliseconds)
        if n >= 0 { return Int(n) }
        if cplatform_errno() == EINTR { return 0 }
        throw SystemError("epoll_wait")
    }

    public func ready(_ index: Int) -> Ready {
        precondition(index >= 0 && index < Poller.batch, "an event of the batch")
        let event = unsafe events[index]
        let bits = unsafe event.events
        let broken = bits & (EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0
        let token = unsafe cplatform_event_data(events + index)
        return Ready(
            token: token, isReadable: bits & EPOLLIN.rawValue != 0 || broken,
            isWritable: bits & EPOLLOUT.rawValue != 0 || broken,
            isHungUp: bits & EPOLLRDHUP.rawValue != 0 || broken,
            hasError: bits & EPOLLERR.rawValue != 0)
    }
}
