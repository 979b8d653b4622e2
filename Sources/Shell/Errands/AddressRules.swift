import Base

/// Addresses that no call goes to, whatever name led there: a name server, or whoever may write a
/// configuration, must not make Sluice ask the cloud's metadata service or its own admin endpoint.
package enum AddressRules {
    /// Why an address must not be called; `nil` when it may. Asked at each connect, with what the
    /// name resolved to.
    ///
    /// - Parameters:
    ///   - admin: the addresses at which this process's admin endpoint listens.
    ///   - local: this side's address of the connection, once there is one: for an admin endpoint
    ///     that listens on all addresses, the machine's own tell themselves by it.
    package static func problem(
        _ address: Address, admin: [Address], local: Address? = nil
    ) -> String? {
        let plain = embedded(address) ?? address
        if isLinkLocal(plain) {
            return "\(address.host) is a link-local address, which must not be called"
        }
        for own in admin where own.family != .unix && own.port == address.port {
            let isOwn =
                plain.host == (embedded(own) ?? own).host || plain.isUnspecified
                || plain.isLoopback && (own.isLoopback || own.isUnspecified)
                || own.isUnspecified && local.map { $0.host == plain.host } == true
            if isOwn {
                return
                    "\(address.description) is Sluice's own admin address, which must not be called"
            }
        }
        return nil
    }

    private static func isLinkLocal(_ address: Address) -> Bool {
        switch address.family {
        case .ipv4: return address.low >> 16 == 0xa9fe
        case .ipv6: return address.high >> 54 == 0xfe80 >> 6
        case .unix: return true
        }
    }

    /// The IPv4 address that one of IPv6 stands for: mapped (RFC 4291 §2.5.5.2), compatible
    /// (§2.5.5.1), or reached by NAT64 (RFC 6052 §2.1).
    private static func embedded(_ address: Address) -> Address? {
        guard address.family == .ipv6 else { return nil }
        let isMapped = address.high == 0 && address.low >> 32 == 0xffff
        let isCompatible = address.high == 0 && address.low >> 32 == 0 && address.low > 1
        let isNAT64 = address.high == 0x0064_ff9b_0000_0000 && address.low >> 32 == 0
        guard isMapped || isCompatible || isNAT64 else { return nil }
        return Address(
            family: .ipv4, port: address.port, high: 0, low: address.low & 0xffff_ffff)
    }
}
