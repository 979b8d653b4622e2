import Base
import Configuration
import HTTP1
import HTTPSemantics
import Telemetry

/// `x-forwarded-*` and the request's id.
///
/// With `trustedHops` 0 nothing that a client says about itself is passed on. With n, the n proxies
/// in front are believed: each added the address that it saw, so the last n addresses are theirs to
/// vouch for and are kept, with this hop's peer behind them; whatever stands further left could be
/// anybody's word and is dropped.
enum ForwardedFields {
    @inline(__always)
    static func append(
        _ exchange: inout Exchange, _ turn: borrowing Turn, trustedHops: Int, _ head: ByteRange
    ) {
        exchange.arena.append("x-forwarded-for: ")
        let start = exchange.arena.writerIndex
        if trustedHops > 0 { appendAddresses(last: trustedHops, &exchange.arena, turn, head) }
        exchange.summary.peer.appendHost(to: &exchange.arena)
        exchange.summary.forwardedFor = ByteRange(start, end: exchange.arena.writerIndex)
        let authority = turn.requestHead.authority
        if trustedHops > 0 {
            appendTrusted(&exchange.arena, turn, head, isSecure: exchange.isSecure)
        } else if !authority.isEmpty {
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

    /// The proxy in front knows better how the client came.
    private static func appendTrusted(
        _ arena: inout ByteBuffer, _ turn: borrowing Turn, _ head: ByteRange, isSecure: Bool
    ) {
        arena.append("\r\nx-forwarded-proto: ")
        let proto = turn.requestHead.fields.value(.forwardedProto)
        if proto.isEmpty {
            arena.append(isSecure ? "https" : "http")
        } else {
            arena.append(turn.scratch.span(proto.shifted(by: head.lower)))
        }
        arena.append("\r\n")
        var host = turn.requestHead.fields.value(.forwardedHost)
        if host.isEmpty { host = turn.requestHead.authority }
        if host.isEmpty { return }
        arena.append("x-forwarded-host: ")
        arena.append(turn.scratch.span(host.shifted(by: head.lower)))
        arena.append("\r\n")
    }

    /// The last addresses of the list that all lines of the field make, each with a comma behind.
    private static func appendAddresses(
        last count: Int, _ arena: inout ByteBuffer, _ turn: borrowing Turn, _ head: ByteRange
    ) {
        let bytes = turn.scratch.span(head)
        var all = 0
        forEachAddress(bytes, turn.requestHead) { _ in all += 1 }
        var position = 0
        // The arena grows in the closure's caller, so ranges are taken first.
        var kept = InlineArray<16, ByteRange>(repeating: .empty)
        forEachAddress(bytes, turn.requestHead) { range in
            let place = position - max(0, all - count)
            if place >= 0, place < 16 { kept[place] = range }
            position += 1
        }
        for i in 0..<min(all, count, 16) {
            arena.append(bytes.extracting(kept[i].range))
            arena.append(", ")
        }
    }

    private static func forEachAddress(
        _ bytes: Span<UInt8>, _ head: borrowing RequestHead, _ body: (ByteRange) -> Void
    ) {
        for i in 0..<head.fields.count where head.fields[i].known == .forwardedFor {
            _ = FieldLineParser.list(bytes, in: head.fields[i].value) { range in
                body(range)
                return true
            }
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
