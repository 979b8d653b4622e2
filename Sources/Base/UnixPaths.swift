/// Paths of unix sockets, each known by a number so that an `Address` stays a plain value.
/// Append-only, process-wide, and only touched when configuration is read or a socket is made.
public enum UnixPaths {
    private static let table = Lock<[String]>([])

    /// Bytes that fit in `sockaddr_un` with its NUL.
    public static let pathBytesMax = 107

    public static func address(_ path: String) -> Address {
        let index = table.withLock { paths in
            if let known = paths.firstIndex(of: path) { return known }
            paths.append(path)
            return paths.count - 1
        }
        return Address(family: .unix, port: 0, high: 0, low: UInt64(index))
    }

    public static func path(_ address: Address) -> String? {
        guard address.family == .unix else { return nil }
        return table.withLock { address.low < UInt64($0.count) ? $0[Int(address.low)] : nil }
    }

    /// The address as a configuration file writes it.
    public static func text(_ address: Address) -> String {
        path(address).map { "unix:" + $0 } ?? address.description
    }
}
