import Base
import HTTP1
import HTTPSemantics
import Rollout

/// Reads the one answer of a call from bytes that arrive in any pieces. Pure; the peer is hostile.
package struct AnswerReader: ~Copyable {
    /// The bytes that have come and are not read yet; whoever has a socket appends to them.
    package var inbound = ByteBuffer()
    private let party: String
    private let bytesMax: Int
    private var parser = ResponseHeadParser()
    private var head = ResponseHead(fieldCountMax: 100)
    private var answer: CallAnswer?
    private var body = BodyDecoder(.none)
    private var interimCount = 0

    /// Interim answers (RFC 9110 §15.2) that are passed over.
    private static let interimMax = 16

    /// - Parameters:
    ///   - party: who is asked, for messages.
    ///   - bytesMax: of the answer's content.
    package init(party: String, bytesMax: Int) {
        self.party = party
        self.bytesMax = bytesMax
    }

    /// Whether the answer has begun.
    package var hasBegun: Bool { answer != nil || !inbound.isEmpty }

    /// Reads what is there. `nil`: more is wanted.
    package mutating func read() -> CallOutcome? {
        do throws(HTTP1Violation) {
            while answer == nil {
                guard try readHead() else { return nil }
            }
            return try readBody()
        } catch {
            return .failed(
                CallFailure(.notHTTP, "\(party) sent no proper HTTP/1.1 (\(error.cause))"))
        }
    }

    /// The peer sends no more.
    ///
    /// - Parameter isClean: the end was said, and is not a connection that broke; what TLS does not
    ///   end may have been cut off (RFC 8446 §6.1).
    package mutating func end(isClean: Bool) -> CallOutcome {
        if let whole = read() { return whole }
        if isClean, answer != nil, body.close(), let answer { return .answered(answer) }
        guard let answer else {
            return .failed(
                CallFailure(
                    .cut,
                    "\(party) closed the connection "
                        + (inbound.isEmpty ? "without an answer" : "within the answer's head")))
        }
        let missing = body.remaining.map { ", \($0) more were announced" } ?? ""
        return .failed(
            CallFailure(
                .cut,
                "\(party) closed the connection after \(answer.body.count) bytes of the "
                    + "answer\(missing)"))
    }

    private mutating func readHead() throws(HTTP1Violation) -> Bool {
        let bytes = inbound.readable
        guard
            case .complete(let count) = try parser.parse(bytes, into: &head, limits: HeadLimits())
        else { return false }
        parser = ResponseHeadParser()
        if head.status < 200 {
            interimCount += 1
            guard head.status != 101, interimCount <= AnswerReader.interimMax else {
                throw .badStatusLine
            }
            inbound.consume(count)
            return true
        }
        var found = CallAnswer(status: head.status)
        for i in 0..<head.fields.count {
            let field = head.fields[i]
            let name = bytes.extracting(field.name.range)
            let value = ASCII.string(bytes.extracting(field.value.range)).prefix(256)
            if ASCII.equalFold(name, "content-type") { found.contentType = String(value) }
            if ASCII.equalFold(name, "content-encoding") { found.contentEncoding = String(value) }
            if ASCII.equalFold(name, "location") { found.location = String(value) }
        }
        let hasNone = head.status == 204 || head.status == 304
        body = BodyDecoder(hasNone ? .none : head.framing, isResponse: true)
        answer = found
        inbound.consume(count)
        return true
    }

    private mutating func readBody() throws(HTTP1Violation) -> CallOutcome? {
        if let remaining = body.remaining, remaining > UInt64(bytesMax) { return tooLarge() }
        var at = 0
        var isWhole = body.isComplete
        let bytes = inbound.readable
        steps: while !isWhole {
            switch try body.next(bytes, at: &at, limits: HeadLimits()) {
            case .content(let range):
                let count = (answer?.body.count ?? 0) + range.length
                guard count <= bytesMax else { return tooLarge() }
                let piece = bytes.extracting(range.range)
                for i in 0..<piece.count { answer?.body.append(piece[i]) }
            case .trailers, .complete: isWhole = true
            case .incomplete: break steps
            }
            isWhole = isWhole || body.isComplete
        }
        inbound.consume(at)
        guard isWhole, let answer else { return nil }
        return .answered(answer)
    }

    private func tooLarge() -> CallOutcome {
        .failed(
            CallFailure(.tooLarge, "\(party) answers with more than \(bytesMax) bytes, the most"))
    }
}
