import CPlatform

/// Wakes a thread that waits in its poller; any thread may call `wake`.
public final class Wakeup: Sendable {
    public let descriptor: Int32

    public init() throws(SystemError) {
        descriptor = eventfd(0, Int32(EFD_NONBLOCK) | Int32(EFD_CLOEXEC))
        guard descriptor >= 0 else { throw SystemError("eventfd") }
    }

    deinit { Socket.close(descriptor) }

    public func wake() { _ = eventfd_write(descriptor, 1) }

    /// Waits for a wake for at most so long (-1: for ever), and takes all wakes. For a thread that
    /// waits for nothing else; it needs no descriptor more, and so cannot fail.
    public func wait(milliseconds: Int32 = -1) {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        _ = unsafe poll(&entry, 1, milliseconds)
        clear()
    }

    /// Takes all wakes so far.
    public func clear() {
        var value: eventfd_t = 0
        _ = unsafe eventfd_read(descriptor, &value)
    }
}
