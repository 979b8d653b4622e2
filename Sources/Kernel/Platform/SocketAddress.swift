import Base
import CPlatform

/// `Address` to and from the kernel's socket addresses.
enum SocketAddress {
    static func with<R>(
        _ address: Address, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R
    ) -> R {
        switch address.family {
        case .ipv4:
            var raw = sockaddr_in()
            raw.sin_family = sa_family_t(AF_INET)
            raw.sin_port = address.port.bigEndian
            raw.sin_addr.s_addr = UInt32(truncatingIfNeeded: address.low).bigEndian
            return unsafe call(&raw, MemoryLayout<sockaddr_in>.size, body)
        case .ipv6:
            var raw = sockaddr_in6()
            raw.sin6_family = sa_family_t(AF_INET6)
            raw.sin6_port = address.port.bigEndian
            unsafe withUnsafeMutableBytes(of: &raw.sin6_addr) { p in
                unsafe p.storeBytes(of: address.high.bigEndian, as: UInt64.self)
                unsafe p.storeBytes(of: address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
            }
            return unsafe call(&raw, MemoryLayout<sockaddr_in6>.size, body)
        case .unix:
            var raw = sockaddr_un()
            raw.sun_family = sa_family_t(AF_UNIX)
            let path = Array((UnixPaths.path(address) ?? "").utf8.prefix(UnixPaths.pathBytesMax))
            unsafe withUnsafeMutableBytes(of: &raw.sun_path) { p in
                for (i, byte) in path.enumerated() { unsafe p[i] = byte }
            }
            return unsafe call(&raw, MemoryLayout<sockaddr_un>.size, body)
        }
    }

    private static func call<Raw, R>(
        _ raw: inout Raw, _ size: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R
    ) -> R {
        unsafe withUnsafePointer(to: &raw) { p in
            unsafe p.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe body(address, socklen_t(size))
            }
        }
    }

    static func read(_ storage: sockaddr_storage) -> Address {
        unsafe withUnsafeBytes(of: storage) { p in
            switch Int32(storage.ss_family) {
            case AF_INET:
                let raw = unsafe p.loadUnaligned(as: sockaddr_in.self)
                return Address(
                    family: .ipv4, port: UInt16(bigEndian: raw.sin_port), high: 0,
                    low: UInt64(UInt32(bigEndian: raw.sin_addr.s_addr)))
            case AF_INET6:
                let raw = unsafe p.loadUnaligned(as: sockaddr_in6.self)
                let offset = MemoryLayout<sockaddr_in6>.offset(of: \.sin6_addr) ?? 8
                let high = unsafe UInt64(
                    bigEndian: p.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
                let low = unsafe UInt64(
                    bigEndian: p.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self))
                // An IPv4 peer of a dual-stack socket.
                if high == 0, low >> 32 == 0xffff {
                    return Address(
                        family: .ipv4, port: UInt16(bigEndian: raw.sin6_port), high: 0,
                        low: low & 0xffff_ffff)
                }
                return Address(
                    family: .ipv6, port: UInt16(bigEndian: raw.sin6_port), high: high, low: low)
            default: return Address(family: .unix, port: 0, high: 0, low: .max)
            }
        }
    }
}
