import Base
import Configuration
import HTTPSemantics
import Rewriting

/// Hands a request that was decided to `RequestHeadWriter`, and keeps what came of it.
enum Forwarding {
    /// Encodes the request's head into the exchange's arena and notes texts for the log there.
    @inline(__always)
    static func encodeRequest(
        _ exchange: inout Exchange, _ turn: inout Turn, service: Int,
        _ snapshot: SharedBox<Snapshot>, _ head: ByteRange
    ) {
        let request = OutgoingRequest(
            snapshot, route: exchange.route, service: service, edits: exchange.edits,
            isSecure: exchange.isSecure, isCopy: exchange.kind == .mirror)
        let written = RequestHeadWriter.write(
            request, turn.requestHead, turn.scratch.span(head), key: turn.key,
            identity: turn.identity.readable, origin: turn.trustedOrigin, random: &turn.random,
            requestID: &turn.requestID, spare: &turn.spare, summary: &exchange.summary,
            to: &exchange.arena)
        exchange.head = written.range
        exchange.upgrade = written.upgrade
        exchange.wantsTunnel = written.wantsTunnel
        exchange.isConnect = turn.requestHead.method == .connect
    }

    /// Notes texts for the log when there is no head for an origin.
    static func keepTexts(
        _ exchange: inout Exchange, _ turn: borrowing Turn, _ head: ByteRange
    ) {
        RequestHeadWriter.keepTexts(
            turn.requestHead, turn.scratch.span(head), summary: &exchange.summary,
            to: &exchange.arena)
    }
}
