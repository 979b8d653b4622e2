import Base
import Configuration
import HTTP1
import HTTPSemantics
import Telemetry

/// The fields that tell the origin of the client (`x-forwarded-*`, `x-real-ip`), and the request's
/// id.
///
/// With `trustedHops` 0 nothing that a client says about itself is passed on. With n, the n proxies
/// in front are believed (`RequestOrigin`): their last n addresses are kept, with this hop's peer
/// behind them, and scheme, host and port are written as they say. Whatever stands further left
/// could be anybody's word and is dropped.
enum ForwardedFields {
    @inline(__always)
    static func append(
        _ exchange: inout Exchange, _ turn: borrowing Turn, trustedHops: Int, _ head: ByteRange
    ) {
        if trustedHops > 0 { return appendTrusted(&exchange, turn, trustedHops, head) }
        exchange.arena.append("x-forwarded-for: ")
        let start = exchange.arena.writerIndex
        exchange.summary.peer.appendHost(to: &exchange.arena)
        exchange.summary.forwardedFor = ByteRange(start, end: exchange.arena.writerIndex)
        let authority = turn.requestHead.authority
        if !authority.isEmpty {
            exchange.arena.append(
                exchange.isSecure
                    ? "\r\nx-forwarded-proto: https\r\nx-forwarded-host: "
                    : "\r\nx-forwarded-proto: http\r\nx-forwarded-host: ")
            exchange.arena.append(turn.scratch.span(authority.shifted(by: head.lower)))
            exchange.arena.append("\r\n")
        } else {
            exchange.arena.append(
                exchange.isSecure
                    ? "\r\nx-forwarded-proto: https\r\n" : "\r\nx-forwarded-proto: http\r\n")
        }
    }

    /// The proxies in front know better how the client came.
    @inline(never)
    private static func appendTrusted(
        _ exchange: inout Exchange, _ turn: borrowing Turn, _ hops: Int, _ head: ByteRange
    ) {
        let bytes = turn.scratch.span(head)
        let origin = turn.trustedOrigin
        exchange.arena.append("x-forwarded-for: ")
        let start = exchange.arena.writerIndex
        appendNodes(&exchange.arena, turn, origin.source, hops, bytes)
        exchange.summary.peer.appendHost(to: &exchange.arena)
        exchange.summary.forwardedFor = ByteRange(start, end: exchange.arena.writerIndex)
        exchange.arena.append(
            origin.isSecure
                ? "\r\nx-forwarded-proto: https\r\n" : "\r\nx-forwarded-proto: http\r\n")
        if !origin.authority.isEmpty {
            MessageEncoder.field(
                "x-forwarded-host", bytes.extracting(origin.authority.range), to: &exchange.arena)
        }
        if origin.forwardedPort != 0 {
            exchange.arena.append("x-forwarded-port: ")
            exchange.arena.appendDecimal(UInt64(origin.forwardedPort))
            exchange.arena.append("\r\n")
        }
        // Hops that do not write this field pass on what the client wrote, so it is written anew.
        if turn.requestHead.fields.seen.contains(.realIP) {
            exchange.arena.append("x-real-ip: ")
            origin.client.appendHost(to: &exchange.arena)
            exchange.arena.append("\r\n")
        }
    }

    /// The nodes that trusted hops have named, each with a comma behind.
    private static func appendNodes(
        _ arena: inout ByteBuffer, _ turn: borrowing Turn, _ source: RequestOrigin.Source,
        _ hops: Int, _ bytes: Span<UInt8>
    ) {
        if source == .connection { return }
        let isForwarded = source == .forwarded
        let nodes = ListElements(
            of: isForwarded ? .forwarded : .forwardedFor, turn.requestHead, bytes, last: hops)
        for i in 0..<nodes.count {
            if isForwarded {
                appendNode(of: nodes[i], bytes, to: &arena)
            } else {
                arena.append(bytes.extracting(nodes[i].range))
            }
            arena.append(", ")
        }
    }

    /// The `for` of an element of `Forwarded`, as `X-Forwarded-For` has it: an address without
    /// brackets and port, or what stands in its place.
    private static func appendNode(
        of element: ByteRange, _ bytes: Span<UInt8>, to arena: inout ByteBuffer
    ) {
        let node = ForwardedElement.value("for", in: element, bytes) ?? .empty
        let text = bytes.extracting(node.range)
        if let address = Address(node: text) {
            address.appendHost(to: &arena)
        } else if !text.isEmpty, ASCII.tokenLength(text) == text.count {
            arena.append(text)
        } else {
            arena.append("unknown")
        }
    }

    /// A random UUID, version 4 (RFC 9562 §5.4), in two words.
    @inline(__always)
    static func drawRequestID(_ random: inout PRNG) -> (high: UInt64, low: UInt64) {
        let a = random.next()
        let b = random.next()
        let high = a & 0xffff_ffff_ffff_0fff | 0x4000
        let low = b & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000
        return (high, low)
    }
}
