import Base
import Configuration
import HTTPSemantics
import Telemetry

/// `x-forwarded-*` and the request's id.
///
/// With `trustedHops` 0 nothing that a client says about itself is passed on. Above 0 the proxies
/// in front are believed: their values are kept and this hop's peer is added behind them.
enum ForwardedFields {
    @inline(__always)
    static func append(
        _ exchange: inout Exchange, _ turn: borrowing Turn, trusts: Bool, _ head: ByteRange
    ) {
        exchange.arena.append("x-forwarded-for: ")
        let start = exchange.arena.writerIndex
        if trusts { appendValues(.forwardedFor, &exchange.arena, turn, head) }
        exchange.summary.peer.appendHost(to: &exchange.arena)
        exchange.summary.forwardedFor = ByteRange(start, end: exchange.arena.writerIndex)
        if !trusts, !turn.requestHead.authority.isEmpty {
            exchange.arena.append("\r\nx-forwarded-proto: http\r\nx-forwarded-host: ")
            exchange.arena.append(
                turn.scratch.span(turn.requestHead.authority.shifted(by: head.lower)))
            exchange.arena.append("\r\n")
            return
        }
        exchange.arena.append("\r\nx-forwarded-proto: ")
        if trusts, let field = turn.requestHead.fields.first(.forwardedProto), !field.value.isEmpty
        {
            exchange.arena.append(turn.scratch.span(field.value.shifted(by: head.lower)))
        } else {
            exchange.arena.append("http")
        }
        exchange.arena.append("\r\n")
        if trusts, let field = turn.requestHead.fields.first(.forwardedHost), !field.value.isEmpty {
            exchange.arena.append("x-forwarded-host: ")
            exchange.arena.append(turn.scratch.span(field.value.shifted(by: head.lower)))
            exchange.arena.append("\r\n")
        } else if !turn.requestHead.authority.isEmpty {
            exchange.arena.append("x-forwarded-host: ")
            exchange.arena.append(
                turn.scratch.span(turn.requestHead.authority.shifted(by: head.lower)))
            exchange.arena.append("\r\n")
        }
    }

    /// The values of every line of a field, each with a comma behind it.
    private static func appendValues(
        _ known: KnownField, _ arena: inout ByteBuffer, _ turn: borrowing Turn, _ head: ByteRange
    ) {
        for i in 0..<turn.requestHead.fields.count
        where turn.requestHead.fields[i].known == known {
            let value = turn.requestHead.fields[i].value
            if value.isEmpty { continue }
            arena.append(turn.scratch.span(value.shifted(by: head.lower)))
            arena.append(", ")
        }
    }

    /// A random UUID, version 4 (RFC 9562 §5.4).
    static func appendRequestID(_ random: inout PRNG, to out: inout ByteBuffer) {
        let a = random.next()
        let b = random.next()
        let high = a & 0xffff_ffff_ffff_0fff | 0x4000
        let low = b & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000
        out.appendUUID(high: high, low: low)
    }
}
