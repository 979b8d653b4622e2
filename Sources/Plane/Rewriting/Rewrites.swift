import Base
import Configuration
import HTTPSemantics

/// Rewrites of the target and host that an origin is asked for instead of what the client asked
/// for.
public enum Rewrites {
    /// Appends the path that goes to the origin, without query.
    ///
    /// - Parameters:
    ///   - plan: of a route that forwards.
    ///   - bytes: the head's bytes, to which positions refer.
    ///   - path: the request's path in normal form.
    public static func appendPath(
        _ plan: Snapshot.RoutePlan, _ store: borrowing ByteStore, _ head: borrowing RequestHead,
        _ bytes: Span<UInt8>, path: Span<UInt8>, to out: inout ByteBuffer
    ) {
        switch plan.pathEdit {
        case .none:
            if head.path.isEmpty {
                // RFC 9112 §3.2.4: OPTIONS of an absolute form without a path asks for "*".
                out.append(head.method == .options ? UInt8(0x2a) : UInt8(0x2f))
            } else {
                out.append(bytes.extracting(head.path.range))
            }
        case .path: out.append(store.bytes(plan.pathText))
        case .prefix:
            replacePrefix(
                store.bytes(plan.pathText), plan.prefixLength, of: path, to: &out)
        }
    }

    /// The path as it was matched, with its matched prefix replaced; exactly one slash at the seam.
    /// - Parameter escapes: what goes on becomes part of a URI, where every byte must be allowed.
    static func replacePrefix(
        _ text: Span<UInt8>, _ length: Int, of path: Span<UInt8>, to out: inout ByteBuffer,
        escapes: Bool = false
    ) {
        let rest = path.extracting(min(length, path.count)..<path.count)
        var count = text.count
        if !rest.isEmpty, rest[0] == 0x2f, text[count - 1] == 0x2f { count -= 1 }
        out.append(text.extracting(0..<count))
        if escapes { URIText.append(rest, to: &out) } else { out.append(rest) }
    }
}
