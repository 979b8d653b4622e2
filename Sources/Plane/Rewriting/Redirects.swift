import Base
import Configuration
import HTTPSemantics

/// Where a redirect sends a client.
public enum Redirects {
    /// Appends the value of `Location` (RFC 9110 §10.2.2): what the redirect leaves out stays as
    /// the client asked.
    ///
    /// A redirect that changes neither scheme nor host nor port gives a path, which is right behind
    /// any number of proxies. Another one gives an absolute URI: scheme and host are those that
    /// `origin` says, a changed scheme or host does not keep the client's port, and the scheme's
    /// default port is left out. The client's query stays unless the redirect's path has its own.
    /// Bytes of the client are escaped where a URI wants that.
    ///
    /// - Parameters:
    ///   - plan: of a route that redirects.
    ///   - bytes: the head's bytes, to which positions refer.
    ///   - path: the request's path in normal form.
    /// - Returns: `false` when an absolute URI is needed and nothing says which host is meant, as
    ///   in HTTP/1.0 without `Host`; what was appended is then worth nothing.
    public static func appendLocation(
        _ plan: Snapshot.RoutePlan, _ store: borrowing ByteStore, _ head: borrowing RequestHead,
        _ bytes: Span<UInt8>, origin: RequestOrigin, path: Span<UInt8>, to out: inout ByteBuffer
    ) -> Bool {
        let start = out.writerIndex
        if !plan.scheme.isEmpty || !plan.host.isEmpty || plan.port != 0 {
            guard appendBase(plan, store, bytes, origin, to: &out) else { return false }
        }
        let base = out.writerIndex
        appendPath(plan, store, head, bytes, path, to: &out)
        let written = out.span(ByteRange(base, end: out.writerIndex))
        if base == start, written.count > 1, written[1] == 0x2f {
            // Alone, a path that begins with "//" names a host (RFC 3986 §4.2).
            out.truncate(to: start)
            out.append("/.")
            appendPath(plan, store, head, bytes, path, to: &out)
        }
        let hasOwnQuery =
            ASCII.index(of: UInt8(ascii: "?"), in: store.bytes(plan.pathText)) != nil
        if head.hasQuery, !hasOwnQuery {
            out.append(UInt8(ascii: "?"))
            URIText.append(bytes.extracting(head.query.range), to: &out)
        }
        return true
    }

    /// Scheme, host and port.
    private static func appendBase(
        _ plan: Snapshot.RoutePlan, _ store: borrowing ByteStore, _ bytes: Span<UInt8>,
        _ origin: RequestOrigin, to out: inout ByteBuffer
    ) -> Bool {
        var isSecure = origin.isSecure
        if !plan.scheme.isEmpty {
            isSecure = ASCII.equalFold(store.bytes(plan.scheme), "https")
        }
        out.append(isSecure ? "https://" : "http://")
        var port = RequestOrigin.defaultPort(isSecure: isSecure)
        if !plan.host.isEmpty {
            let host = store.bytes(plan.host)
            let length = Authority.hostLength(host) ?? host.count
            out.append(host.extracting(0..<length))
            if length + 1 < host.count,
                let own = ASCII.decimal(host.extracting((length + 1)..<host.count))
            {
                port = UInt16(clamping: own)
            }
        } else {
            guard origin.hostLength > 0 else { return false }
            let from = origin.authority.lower
            out.append(bytes.extracting(from..<(from + origin.hostLength)))
            // Under another scheme the client's port is another server's.
            if isSecure == origin.isSecure { port = origin.port(bytes) }
        }
        if plan.port != 0 { port = plan.port }
        if port != RequestOrigin.defaultPort(isSecure: isSecure) {
            out.append(UInt8(ascii: ":"))
            out.appendDecimal(UInt64(port))
        }
        return true
    }

    private static func appendPath(
        _ plan: Snapshot.RoutePlan, _ store: borrowing ByteStore, _ head: borrowing RequestHead,
        _ bytes: Span<UInt8>, _ path: Span<UInt8>, to out: inout ByteBuffer
    ) {
        switch plan.pathEdit {
        case .none:
            if head.path.isEmpty || head.form == .asterisk {
                out.append(UInt8(ascii: "/"))
            } else {
                URIText.append(bytes.extracting(head.path.range), to: &out)
            }
        case .path: out.append(store.bytes(plan.pathText))
        case .prefix:
            Rewrites.replacePrefix(
                store.bytes(plan.pathText), plan.prefixLength, of: path, to: &out,
                escapes: true)
        }
    }
}
