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

    /// Takes all wakes so far.
    public func clear() {
        var value: eventfd_t = 0
        _ = unsafe eventfd_read(descriptor, &value)
    }
}
