import Base
import Platform

/// Advice for an address that cannot be listened on.
enum ListenHints {
    /// The advice, with a semicolon in front; empty where the error says all there is.
    ///
    /// - Parameter own: the addresses on which this process listens, or is about to.
    static func text(_ error: SystemError, _ address: Address, own: [Address] = []) -> String {
        let isUnix = address.family == .unix
        if error.cause == .inUse, !isUnix,
            let mine = own.first(where: { $0.family != .unix && $0.port == address.port })
        {
            return "; this process itself listens on \(UnixPaths.text(mine)): a socket cannot be "
                + "made wider or narrower on its port while it is open, so take another port, or "
                + "restart"
        }
        switch error.cause {
        case .forbidden where isUnix: return "; this user may not write to the socket's directory"
        case .forbidden where address.port > 0 && address.port < 1_024:
            return "; ports below 1024 need a privilege: take a port from 1024, run setcap "
                + "cap_net_bind_service=+ep on the program, or lower the sysctl "
                + "net.ipv4.ip_unprivileged_port_start"
        case .missing where isUnix: return "; the socket's directory is not there"
        case .inUse:
            return "; another process listens there" + (isUnix ? "" : ", ss -ltnp shows which")
        case .noSuchAddress:
            return "; this machine has no such address, ip address shows those that it has"
        default: return ""
        }
    }
}
