import Base
import Configuration
import HTTP1
import HTTPSemantics
import Telemetry

/// Tells the origin about the client (`x-forwarded-*`, `x-real-ip`), and makes the request's id.
///
/// With `trustedHops` 0 nothing that a client says about itself is passed on. With n, the n proxies
/// in front are believed (`RequestOrigin`): their last n addresses are kept, with this hop's peer
/// behind them, and scheme, host and port are written as they say. Whatever stands further left
/// could be anybody's word and is dropped.
public enum ForwardedFields {
    /// Writes what the connection alone says.
    @inlinable @inline(__always)
    static func append(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, isSecure: Bool,
        _ summary: inout ExchangeSummary, to out: inout ByteBuffer
    ) {
        out.append("x-forwarded-for: ")
        let start = out.writerIndex
        summary.peer.appendNode(to: &out)
        summary.forwardedFor = ByteRange(start, end: out.writerIndex)
        if !head.authority.isEmpty {
            out.append(
                isSecure
                    ? "\r\nx-forwarded-proto: https\r\nx-forwarded-host: "
                    : "\r\nx-forwarded-proto: http\r\nx-forwarded-host: ")
            out.append(bytes.extracting(head.authority.range))
            out.append("\r\n")
        } else {
            out.append(
                isSecure
                    ? "\r\nx-forwarded-proto: https\r\n" : "\r\nx-forwarded-proto: http\r\n")
        }
    }

    /// Writes what the proxies in front say, who know better how the client came.
    @usableFromInline @inline(never)
    static func appendTrusted(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, origin: borrowing RequestOrigin,
        hops: Int, _ summary: inout ExchangeSummary, to out: inout ByteBuffer
    ) {
        out.append("x-forwarded-for: ")
        let start = out.writerIndex
        appendNodes(&out, head, origin.source, hops, bytes)
        summary.peer.appendNode(to: &out)
        summary.forwardedFor = ByteRange(start, end: out.writerIndex)
        out.append(
            origin.isSecure
                ? "\r\nx-forwarded-proto: https\r\n" : "\r\nx-forwarded-proto: http\r\n")
        if !origin.authority.isEmpty {
            MessageEncoder.field(
                "x-forwarded-host", bytes.extracting(origin.authority.range), to: &out)
        }
        if origin.forwardedPort != 0 {
            out.append("x-forwarded-port: ")
            out.appendDecimal(UInt64(origin.forwardedPort))
            out.append("\r\n")
        }
        // Hops that do not write this field pass on what the client wrote, so it is written anew.
        if head.fields.seen.contains(.realIP) {
            out.append("x-real-ip: ")
            origin.client.appendNode(to: &out)
            out.append("\r\n")
        }
    }

    /// The nodes that trusted hops have named, each with a comma behind.
    private static func appendNodes(
        _ out: inout ByteBuffer, _ head: borrowing RequestHead, _ source: RequestOrigin.Source,
        _ hops: Int, _ bytes: Span<UInt8>
    ) {
        if source == .connection { return }
        let isForwarded = source == .forwarded
        let nodes = ListElements(
            of: isForwarded ? .forwarded : .forwardedFor, head, bytes, last: hops)
        for i in 0..<nodes.count {
            if isForwarded {
                appendNode(of: nodes[i], bytes, to: &out)
            } else {
                out.append(bytes.extracting(nodes[i].range))
            }
            out.append(", ")
        }
    }

    /// The `for` of an element of `Forwarded`, as `X-Forwarded-For` has it: an address without
    /// brackets and port, or what stands in its place.
    private static func appendNode(
        of element: ByteRange, _ bytes: Span<UInt8>, to out: inout ByteBuffer
    ) {
        let node = ForwardedElement.value("for", in: element, bytes) ?? .empty
        let text = bytes.extracting(node.range)
        if let address = Address(node: text) {
            address.appendNode(to: &out)
        } else if !text.isEmpty, ASCII.tokenLength(text) == text.count {
            out.append(text)
        } else {
            out.append("unknown")
        }
    }

    /// A random UUID, version 4 (RFC 9562 §5.4), in two words.
    @inlinable @inline(__always)
    static func drawRequestID(_ random: inout PRNG) -> (high: UInt64, low: UInt64) {
        let a = random.next()
        let b = random.next()
        let high = a & 0xffff_ffff_ffff_0fff | 0x4000
        let low = b & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000
        return (high, low)
    }
}
