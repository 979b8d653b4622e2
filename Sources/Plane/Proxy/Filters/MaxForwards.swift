import Base
import Configuration
import HTTP1
import HTTPSemantics
import Telemetry

/// `Max-Forwards` (RFC 9110 §7.6.2): how many more times a TRACE or OPTIONS may be passed on. With
/// 0 it is answered here, as if Sluice were the origin; else the next hop gets one less.
enum MaxForwards {
    /// The largest number that is passed on; a greater one becomes this.
    private static let valueMax: UInt64 = 1_000_000_000

    /// Looks for the field in the request of a route that forwards.
    /// - Returns: what answers the request, if it ends here; `nil`: it goes on.
    @inline(never)
    static func apply(_ turn: inout Turn, _ head: ByteRange) -> Decision? {
        var found = -1
        for i in 0..<turn.requestHead.fields.count {
            let field = turn.requestHead.fields[i]
            guard field.known == .other, !field.isNominated,
                ASCII.equalFold(
                    turn.scratch.span(field.name.shifted(by: head.lower)), "max-forwards")
            else { continue }
            guard found < 0 else { return refusal }
            found = i
        }
        guard found >= 0 else { return nil }
        let value = turn.requestHead.fields[found].value.shifted(by: head.lower)
        guard let left = number(turn.scratch.span(value)) else {
            return refusal
        }
        guard left > 0 else {
            let content =
                turn.requestHead.method == .trace
                ? LocalAnswer.Content.trace(head: head) : .methods
            return .answer(LocalAnswer(status: 200, content: content))
        }
        // The line that came ends here, and `Forwarding` writes another: the head is not copied.
        turn.requestHead.fields.nominate(found)
        turn.requestHead.isLinePlain = false
        turn.requestHead.maxForwards = Int32(left - 1)
        return nil
    }

    /// `1*DIGIT`, at most `valueMax`; `nil` for anything else.
    private static func number(_ value: Span<UInt8>) -> UInt64? {
        guard !value.isEmpty else { return nil }
        var number: UInt64 = 0
        for i in 0..<value.count {
            guard ASCII.isDigit(value[i]) else { return nil }
            number = min(valueMax, number * 10 + UInt64(value[i] &- 0x30))
        }
        return number
    }

    private static var refusal: Decision {
        .answer(.refusal(400, RefusalCause.badMaxForwards))
    }

    // MARK: TRACE

    /// Writes the head that came, without what may be secret.
    static func collect(
        _ turn: borrowing Turn, _ head: ByteRange, to content: inout ByteBuffer
    ) {
        content.append("TRACE ")
        content.append(turn.scratch.span(turn.requestHead.target.shifted(by: head.lower)))
        content.append(turn.requestHead.isHTTP10 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n")
        for i in 0..<turn.requestHead.fields.count {
            let field = turn.requestHead.fields[i]
            let name = turn.scratch.span(field.name.shifted(by: head.lower))
            if SecretFields.contains(name) { continue }
            MessageEncoder.field(
                name, turn.scratch.span(field.value.shifted(by: head.lower)), to: &content)
        }
        content.append("\r\n")
    }
}
