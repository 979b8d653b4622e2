import Base

/// `uri-host [":" port]` (RFC 9110 §7.2), checked byte by byte.
public enum Authority {
    /// Where the host ends, or `nil` when the authority is not valid: empty, with user information,
    /// with a byte that no host name or address has, or with a port that is no number.
    public static func hostLength(_ bytes: Span<UInt8>) -> Int? {
        hostLength(bytes, in: ByteRange(start: 0, count: bytes.count))
    }

    /// Finds the length of the host in a run of a head's bytes; the scan may look past the run.
    public static func hostLength(_ head: Span<UInt8>, in range: ByteRange) -> Int? {
        guard !range.isEmpty else { return nil }
        let bytes = head.extracting(range.range)
        var at = 0
        if bytes[0] == UInt8(ascii: "[") {
            at = 1
            while at < bytes.count,
                ASCII.hex(bytes[at]) != nil || bytes[at] == 0x3a || bytes[at] == 0x2e
            {
                at += 1
            }
            guard at > 2, at < bytes.count, bytes[at] == UInt8(ascii: "]") else { return nil }
            at += 1
        } else {
            at = ASCII.plainHostLength(head, in: range)
            while at < bytes.count, isHostByte(bytes[at]) { at += 1 }
            guard at > 0 else { return nil }
        }
        let host = at
        if at == bytes.count { return host }
        guard bytes[at] == UInt8(ascii: ":") else { return nil }
        at += 1
        guard bytes.count - at <= 5 else { return nil }
        while at < bytes.count {
            guard ASCII.isDigit(bytes[at]) else { return nil }
            at += 1
        }
        return host
    }

    /// Appends a host in the form in which it is matched: lower case, without the root's dot.
    ///
    /// - Parameter host: without port, as `hostLength` measured it.
    @inline(__always)
    public static func appendNormal(_ host: Span<UInt8>, to out: inout ByteBuffer) {
        out.appendLower(host)
        if host.count > 1, host[host.count - 1] == UInt8(ascii: ".") {
            out.truncate(to: out.writerIndex - 1)
        }
    }

    /// reg-name of RFC 3986 §3.2.2 without percent-encoding, which no DNS name needs.
    @inlinable static func isHostByte(_ b: UInt8) -> Bool {
        if ASCII.isAlpha(b) || ASCII.isDigit(b) { return true }
        switch b {
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"),
            UInt8(ascii: "!"), UInt8(ascii: "$"), UInt8(ascii: "&"), UInt8(ascii: "'"),
            UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "*"), UInt8(ascii: "+"),
            UInt8(ascii: ";"), UInt8(ascii: "="):
            return true
        // A comma (RFC 3986 would allow it) is what joining two Host lines leaves.
        default: return false
        }
    }
}
