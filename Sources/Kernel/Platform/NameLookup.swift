import Base
import CPlatform

/// The system's name resolution. Blocks: for a thread that has nothing else to do.
public enum NameLookup {
    public struct Failure: Error, Sendable {
        public let reason: String
        public init(reason: String) { self.reason = reason }
    }

    /// Every address of a host, sorted, without duplicates, each with the port.
    public static func addresses(host: String, port: UInt16) -> Result<[Address], Failure> {
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = unsafe getaddrinfo(host, nil, &hints, &list)
        if code == EAI_SYSTEM {
            // The resolver's own words would be "System error".
            return .failure(Failure(reason: SystemError("getaddrinfo").message))
        }
        guard code == 0 else {
            return .failure(Failure(reason: unsafe String(cString: gai_strerror(code))))
        }
        defer { unsafe freeaddrinfo(list) }
        var addresses: Set<Address> = []
        var next = unsafe list
        while let entry = unsafe next {
            var storage = sockaddr_storage()
            let length = unsafe min(
                Int(entry.pointee.ai_addrlen), MemoryLayout<sockaddr_storage>.size)
            unsafe withUnsafeMutableBytes(of: &storage) { target in
                unsafe target.copyMemory(
                    from: UnsafeRawBufferPointer(start: entry.pointee.ai_addr, count: length))
            }
            var address = SocketAddress.read(storage)
            address.port = port
            if address.family != .unix { addresses.insert(address) }
            unsafe next = entry.pointee.ai_next
        }
        return .success(addresses.sorted { ($0.high, $0.low) < ($1.high, $1.low) })
    }
}
