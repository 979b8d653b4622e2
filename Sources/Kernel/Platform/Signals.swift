import CPlatform

/// Signals as input of a poller. Must be made on the main thread before any other thread starts,
/// so that all of them inherit the mask.
public final class Signals: Sendable {
    public enum Signal: Sendable { case hangup, terminate, interrupt, user1 }

    public let descriptor: Int32

    /// Keeps back the signals that would end a process which does not expect them yet: SIGHUP and
    /// SIGUSR1, which ask a process that runs for something. `next` gives them, once there are
    /// signals to ask. SIGTERM and SIGINT end the process until then. To be called first of all.
    public static func holdBack() {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for signal in [SIGHUP, SIGUSR1] { unsafe sigaddset(&set, signal) }
        _ = unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    public init() throws(SystemError) {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for signal in [SIGHUP, SIGTERM, SIGINT, SIGUSR1] { unsafe sigaddset(&set, signal) }
        guard unsafe pthread_sigmask(SIG_BLOCK, &set, nil) == 0 else {
            throw SystemError("pthread_sigmask")
        }
        descriptor = unsafe signalfd(
            -1, &set, Int32(SFD_NONBLOCK) | Int32(SFD_CLOEXEC))
        guard descriptor >= 0 else { throw SystemError("signalfd") }
        cplatform_ignore_write_signals()
    }

    deinit { Socket.close(descriptor) }

    /// The next signal that has come; `nil` when there is none.
    public func next() -> Signal? {
        while true {
            var info = signalfd_siginfo()
            let size = MemoryLayout<signalfd_siginfo>.size
            guard unsafe read(descriptor, &info, size) == size else { return nil }
            switch Int32(info.ssi_signo) {
            case SIGHUP: return .hangup
            case SIGTERM: return .terminate
            case SIGINT: return .interrupt
            case SIGUSR1: return .user1
            default: continue
            }
        }
    }
}
