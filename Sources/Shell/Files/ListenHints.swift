import Base
import Configuration
import Platform

/// Advice for an address that cannot be listened on.
package enum ListenHints {
    /// The advice, with a semicolon in front; empty where the error says all there is.
    ///
    /// - Parameter own: the addresses on which this process listens, or is about to.
    package static func text(
        _ error: SystemError, _ address: Address, own: [Address] = []
    ) -> String {
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
            return "; ports below 1024 need a privilege: \(Advice.privilegedPort)"
        case .missing where isUnix: return "; the socket's directory is not there"
        case .exists where isUnix:
            return "; what stands there is no socket: remove it, or give another path"
        case .noSuchFamily where address.family == .ipv6:
            let plain = address.isLoopback ? "127.0.0.1" : "0.0.0.0"
            return "; this machine has no IPv6: write \(plain):\(address.port), which takes IPv4"
        case .inUse:
            return "; another process listens there" + (isUnix ? "" : ", ss -ltnp shows which")
        case .noSuchAddress:
            return "; this machine has no such address, ip address shows those that it has"
        default: return ""
        }
    }
}
