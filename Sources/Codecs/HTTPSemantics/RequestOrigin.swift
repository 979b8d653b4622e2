import Base

/// Where a request comes from, as far as that can be believed: the client's address, and the
/// scheme, host and port that the client used. Every decision that asks for one of these asks here.
///
/// Without trusted hops the connection says all of it, and nothing that the client says about
/// itself counts but its `Host`. With n trusted hops the n proxies in front are believed: each has
/// added what it saw to a list, so the last n elements of `X-Forwarded-For`, `-Proto`, `-Host` and
/// `-Port` are theirs, and the first of those describes the client. A list with fewer elements is
/// believed whole. A node that is no address ends the walk: the client is then the nearest hop
/// whose address is known. `Forwarded` (RFC 7239) is read the same way where the request has no
/// `X-Forwarded-For`, `-Proto` and `-Host`; where it has, nobody vouches for `Forwarded`.
public struct RequestOrigin: BitwiseCopyable, Sendable {
    /// Which fields the description is from.
    public enum Source: UInt8, BitwiseCopyable, Sendable { case connection, xForwarded, forwarded }

    /// The client's address; its port is 0 when a hop named the client.
    public var client: Address
    /// Whether the client's scheme is https.
    public var isSecure: Bool
    /// `host[:port]` as the client named it, by position in the head's bytes; empty for none.
    public var authority: ByteRange
    /// Bytes of the authority's host, without the port.
    public var hostLength: Int
    /// `X-Forwarded-Port` of a trusted hop; 0 for none.
    public var forwardedPort: UInt16
    public var source: Source

    /// Takes the origin from the connection alone, which is all there is without trusted hops.
    public init(_ head: borrowing RequestHead, peer: Address, isSecure: Bool) {
        client = peer
        self.isSecure = isSecure
        authority = head.authority
        hostLength = head.hostLength
        forwardedPort = 0
        source = .connection
    }

    /// - Parameters:
    ///   - bytes: the head's bytes, to which positions refer.
    ///   - peer: who the connection is from.
    ///   - isSecure: whether the connection is TLS.
    ///   - trustedHops: proxies in front that are believed, 0...16.
    public init(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, peer: Address, isSecure: Bool,
        trustedHops: Int
    ) {
        self.init(head, peer: peer, isSecure: isSecure)
        guard trustedHops > 0 else { return }
        let described = KnownFields(.forwardedFor).with(.forwardedProto).with(.forwardedHost)
        if !head.fields.seen.isDisjoint(with: described) {
            source = .xForwarded
            readXForwarded(head, bytes, trustedHops)
        } else if head.fields.seen.contains(.forwarded) {
            source = .forwarded
            readForwarded(head, bytes, trustedHops)
        }
        readPort(head, bytes, trustedHops)
    }

    /// The port that the client used.
    ///
    /// A port in the authority is the client's own word. `bytes` as in `init`.
    public func port(_ bytes: Span<UInt8>) -> UInt16 {
        let text = bytes.extracting(authority.range)
        if hostLength + 1 < text.count,
            let port = ASCII.decimal(text.extracting((hostLength + 1)..<text.count)),
            (1...65_535).contains(port)
        {
            return UInt16(port)
        }
        return forwardedPort != 0 ? forwardedPort : RequestOrigin.defaultPort(isSecure: isSecure)
    }

    /// The port that a URI of the scheme has when it names none (RFC 9110 §4.2).
    public static func defaultPort(isSecure: Bool) -> UInt16 { isSecure ? 443 : 80 }

    private mutating func readXForwarded(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ hops: Int
    ) {
        let nodes = ListElements(of: .forwardedFor, head, bytes, last: hops)
        var i = nodes.count - 1
        while i >= 0, let address = Address(node: bytes.extracting(nodes[i].range)) {
            client = address
            i -= 1
        }
        let schemes = ListElements(of: .forwardedProto, head, bytes, last: hops)
        if !schemes.isEmpty { readScheme(bytes.extracting(schemes[0].range)) }
        let hosts = ListElements(of: .forwardedHost, head, bytes, last: hops)
        if !hosts.isEmpty { readHost(hosts[0], bytes) }
    }

    private mutating func readForwarded(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ hops: Int
    ) {
        let elements = ListElements(of: .forwarded, head, bytes, last: hops)
        var i = elements.count - 1
        while i >= 0, let node = ForwardedElement.value("for", in: elements[i], bytes),
            let address = Address(node: bytes.extracting(node.range))
        {
            client = address
            i -= 1
        }
        // The outermost hop that says something about it knows best.
        for i in 0..<elements.count {
            guard let value = ForwardedElement.value("proto", in: elements[i], bytes) else {
                continue
            }
            readScheme(bytes.extracting(value.range))
            break
        }
        for i in 0..<elements.count {
            guard let value = ForwardedElement.value("host", in: elements[i], bytes) else {
                continue
            }
            readHost(value, bytes)
            break
        }
    }

    private mutating func readScheme(_ text: Span<UInt8>) {
        // Some proxies name the scheme of a WebSocket.
        if ASCII.equalFold(text, "https") || ASCII.equalFold(text, "wss") {
            isSecure = true
        } else if ASCII.equalFold(text, "http") || ASCII.equalFold(text, "ws") {
            isSecure = false
        }
    }

    private mutating func readHost(_ range: ByteRange, _ bytes: Span<UInt8>) {
        guard let length = Authority.hostLength(bytes.extracting(range.range)) else { return }
        authority = range
        hostLength = length
    }

    private mutating func readPort(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ hops: Int
    ) {
        let ports = ListElements(of: .forwardedPort, head, bytes, last: hops)
        guard !ports.isEmpty, let port = ASCII.decimal(bytes.extracting(ports[0].range)),
            (1...65_535).contains(port)
        else { return }
        forwardedPort = UInt16(port)
    }
}
