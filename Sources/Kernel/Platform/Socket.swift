import Base
import CPlatform

/// The outcome of one attempt to move bytes.
public enum Transfer: Sendable, BitwiseCopyable {
    case bytes(Int)
    case wouldBlock
    case endOfStream
    case failed(Int32)
}

/// Thin, typed calls on non-blocking stream sockets. A socket is its descriptor's number; whoever
/// opened it closes it, once.
public enum Socket {
    /// Opens a listening socket whose port a wider or narrower address of this process has still,
    /// as `0.0.0.0:80` beside `127.0.0.1:80`. The kernel allows that where every socket of the port
    /// is one with SO_REUSEPORT, so all are for the moment in which the new one is bound. Clients
    /// come to the narrower address until that is closed.
    ///
    /// - Parameter siblings: the listening sockets of this process on the port.
    public static func listen(
        _ address: Address, isDual: Bool, beside siblings: [Int32]
    ) throws(SystemError) -> Int32 {
        for fd in siblings { setReusePort(fd, true) }
        defer { for fd in siblings { setReusePort(fd, false) } }
        let fd = try listen(address, isDual: isDual, sharesPort: true)
        setReusePort(fd, false)
        return fd
    }

    private static func setReusePort(_ fd: Int32, _ isOn: Bool) {
        var value: Int32 = isOn ? 1 : 0
        _ = unsafe setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &value, socklen_t(4))
    }

    /// Opens a listening socket. Without SO_REUSEPORT: a second instance on the address is refused.
    ///
    /// - Parameter isDual: whether `[::]` takes IPv4 clients too, whose addresses are then IPv4's.
    ///   On a machine without IPv6 such a socket is `0.0.0.0`.
    public static func listen(
        _ address: Address, isDual: Bool, backlog: Int32 = 4096
    ) throws(SystemError) -> Int32 {
        try listen(address, isDual: isDual, sharesPort: false, backlog: backlog)
    }

    private static func listen(
        _ address: Address, isDual: Bool, sharesPort: Bool, backlog: Int32 = 4096
    ) throws(SystemError) -> Int32 {
        guard isDual, address.family == .ipv6, address.isUnspecified else {
            return try listen(address, isIPv6Only: true, sharesPort, backlog)
        }
        do throws(SystemError) {
            return try listen(address, isIPv6Only: false, sharesPort, backlog)
        } catch {
            guard error.code == EAFNOSUPPORT || error.code == EADDRNOTAVAIL else { throw error }
            return try listen(
                .ipv4(0, 0, 0, 0, port: address.port), isIPv6Only: true, sharesPort, backlog)
        }
    }

    private static func listen(
        _ address: Address, isIPv6Only: Bool, _ sharesPort: Bool, _ backlog: Int32
    ) throws(SystemError) -> Int32 {
        let fd = try open(address.family)
        var on: Int32 = 1
        if address.family != .unix {
            _ = unsafe setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(4))
        }
        if address.family == .ipv6 {
            var only: Int32 = isIPv6Only ? 1 : 0
            _ = unsafe setsockopt(fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &only, socklen_t(4))
        }
        if sharesPort { setReusePort(fd, true) }
        if let path = UnixPaths.path(address) { try replaceDeadSocket(path, address) }
        let bound = unsafe SocketAddress.with(address) { unsafe CPlatform.bind(fd, $0, $1) }
        guard bound == 0 else { throw closing(fd, "bind") }
        guard CPlatform.listen(fd, backlog) == 0 else { throw closing(fd, "listen") }
        return fd
    }

    /// A unix socket's file outlives its owner: remove it when nobody answers there.
    private static func replaceDeadSocket(_ path: String, _ address: Address) throws(SystemError) {
        var info = stat()
        guard unsafe lstat(path, &info) == 0 else { return }
        guard info.st_mode & mode_t(S_IFMT) == mode_t(S_IFSOCK) else {
            throw SystemError("bind", code: EEXIST)
        }
        let probe = try open(.unix)
        let answer = unsafe SocketAddress.with(address) { unsafe CPlatform.connect(probe, $0, $1) }
        close(probe)
        if answer == 0 { throw SystemError("bind", code: EADDRINUSE) }
        _ = unsafe unlink(path)
    }

    private static func open(_ family: Address.Family) throws(SystemError) -> Int32 {
        let domain: Int32
        switch family {
        case .ipv4: domain = AF_INET
        case .ipv6: domain = AF_INET6
        case .unix: domain = AF_UNIX
        }
        let type =
            Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
            | Int32(SOCK_CLOEXEC.rawValue)
        let fd = socket(domain, type, 0)
        guard fd >= 0 else { throw SystemError("socket") }
        return fd
    }

    private static func closing(_ fd: Int32, _ call: StaticString) -> SystemError {
        let error = SystemError(call)
        close(fd)
        return error
    }

    /// The next waiting connection, non-blocking.
    public static func accept(_ listener: Int32) -> Result<(Int32, Address), SystemError> {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let flags = Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let fd = unsafe withUnsafeMutablePointer(to: &storage) { p in
            unsafe p.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe cplatform_accept4(listener, address, &length, flags)
            }
        }
        guard fd >= 0 else { return .failure(SystemError("accept")) }
        return .success((fd, SocketAddress.read(storage)))
    }

    /// Starts to connect. `isConnected` is true when the peer answered at once.
    public static func connect(_ address: Address) throws(SystemError) -> (
        fd: Int32, isConnected: Bool
    ) {
        let fd = try open(address.family)
        if address.family != .unix { setNoDelay(fd) }
        let result = unsafe SocketAddress.with(address) { unsafe CPlatform.connect(fd, $0, $1) }
        if result == 0 { return (fd, true) }
        guard cplatform_errno() == EINPROGRESS else { throw closing(fd, "connect") }
        return (fd, false)
    }

    /// Makes small writes go out at once.
    public static func setNoDelay(_ fd: Int32) {
        var on: Int32 = 1
        _ = unsafe setsockopt(fd, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(4))
    }

    /// A silent connection is probed by TCP after 30 seconds, and every 10; the third probe without
    /// an answer ends it with an error. The peer's program does not see the probes.
    public static func setKeepAlive(_ fd: Int32) {
        func set(_ level: Int32, _ option: Int32, _ value: Int32) {
            var value = value
            _ = unsafe setsockopt(fd, level, option, &value, socklen_t(4))
        }
        set(SOL_SOCKET, SO_KEEPALIVE, 1)
        set(Int32(IPPROTO_TCP), TCP_KEEPIDLE, 30)
        set(Int32(IPPROTO_TCP), TCP_KEEPINTVL, 10)
        set(Int32(IPPROTO_TCP), TCP_KEEPCNT, 3)
    }

    /// Makes the coming close a reset: what was sent must not look complete.
    public static func setResetOnClose(_ fd: Int32) {
        var linger = linger(l_onoff: 1, l_linger: 0)
        _ = unsafe setsockopt(
            fd, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<CPlatform.linger>.size))
    }

    /// The pending error of a connect in progress; 0 when it succeeded.
    public static func takeError(_ fd: Int32) -> Int32 {
        var code: Int32 = 0
        var length = socklen_t(4)
        guard unsafe getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length) == 0 else { return EIO }
        return code
    }

    /// The address a socket is bound to: the port that port 0 became.
    public static func boundAddress(_ fd: Int32) -> Address? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = unsafe withUnsafeMutablePointer(to: &storage) { p in
            unsafe p.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe getsockname(fd, address, &length)
            }
        }
        return result == 0 ? SocketAddress.read(storage) : nil
    }

    /// Reads at most `room` bytes to the end of `buffer`.
    @inline(__always)
    public static func receive(
        _ fd: Int32, into buffer: inout ByteBuffer, atMost room: Int
    ) -> Transfer {
        while true {
            var outcome = 0
            _ = unsafe buffer.write(atMost: room) { memory in
                outcome = unsafe cplatform_recv(fd, memory.baseAddress, memory.count)
                return max(0, outcome)
            }
            if outcome > 0 { return .bytes(outcome) }
            if outcome == 0 { return .endOfStream }
            let code = cplatform_errno()
            if code == EAGAIN { return .wouldBlock }
            if code != EINTR { return .failed(code) }
        }
    }

    /// Whether bytes, or the peer's end, wait to be read.
    public static func hasInput(_ fd: Int32) -> Bool {
        var byte: UInt8 = 0
        return unsafe recv(fd, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT)) >= 0
    }

    /// Errors of `accept` and `connect` that mean: no descriptor, no memory, try later.
    public static func isExhaustion(_ code: Int32) -> Bool {
        code == EMFILE || code == ENFILE || code == ENOBUFS || code == ENOMEM
    }

    /// Whether an error says that nobody listens at the address.
    public static func isRefusal(_ code: Int32) -> Bool { code == ECONNREFUSED || code == ENOENT }

    /// The kinds of errors of a connect.
    public enum ConnectError: Sendable {
        case refused, noSocket, unreachable, forbidden, timedOut, other
    }

    public static func connectError(_ code: Int32) -> ConnectError {
        switch code {
        case ECONNREFUSED: return .refused
        case ENOENT: return .noSocket
        case EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN, EADDRNOTAVAIL: return .unreachable
        case EACCES, EPERM: return .forbidden
        case ETIMEDOUT: return .timedOut
        default: return .other
        }
    }

    /// The error of a connect that nobody answered.
    public static var timedOut: Int32 { ETIMEDOUT }

    /// A send to a peer that takes no more bytes.
    public static func isPipeBroken(_ code: Int32) -> Bool { code == EPIPE }

    public static func isWouldBlock(_ code: Int32) -> Bool { code == EAGAIN }

    @inline(__always)
    public static func send(_ fd: Int32, _ bytes: Span<UInt8>) -> Transfer {
        unsafe bytes.withUnsafeBufferPointer { p in
            while true {
                let n = unsafe cplatform_send(fd, p.baseAddress, p.count)
                if n >= 0 { return .bytes(n) }
                let code = cplatform_errno()
                if code == EAGAIN { return .wouldBlock }
                if code != EINTR { return .failed(code) }
            }
        }
    }

    /// Tells the peer that no more bytes will come.
    public static func shutdownWrite(_ fd: Int32) { _ = CPlatform.shutdown(fd, Int32(SHUT_WR)) }

    public static func close(_ fd: Int32) { _ = CPlatform.close(fd) }
}
