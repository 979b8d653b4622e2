import Base
import HTTP1
import HTTPSemantics

/// The buffers that one worker needs to turn heads into header blocks; shared by its HTTP/2
/// connections.
public struct HTTP2Workspace: ~Copyable {
    private let addressOnly = AddressOnly()
    var requestHead: RequestHead
    var responseHead: ResponseHead
    var fields: FieldList
    private(set) var limits: HeadLimits

    /// - Parameter limits: of heads as they are read; what is sent may be larger by edits, and for
    ///   that the room grows.
    public init(limits: HeadLimits) {
        let count = limits.fieldCountMax + 256
        requestHead = RequestHead(fieldCountMax: count)
        responseHead = ResponseHead(fieldCountMax: count)
        fields = FieldList(capacity: count + 8)
        self.limits = HeadLimits(
            headBytesMax: limits.headBytesMax * 2 + 65_536, fieldCountMax: count)
    }

    /// Makes room for a message of our own that is larger than any so far: edits may add what they
    /// like, and limits may have been wider when it was composed.
    /// - Returns: `false` when there is room for `text` already: something else is wrong with it.
    @inline(never)
    mutating func grow(for text: Span<UInt8>) -> Bool {
        // No line is shorter than four bytes.
        let count = text.count / 4 + 1
        if limits.headBytesMax > text.count, limits.fieldCountMax >= count { return false }
        let fieldCount = min(limits.fieldCountMax * 2, max(count, limits.fieldCountMax))
        limits = HeadLimits(
            headBytesMax: max(limits.headBytesMax, text.count * 2 + 65_536),
            fieldCountMax: fieldCount)
        requestHead = RequestHead(fieldCountMax: fieldCount)
        responseHead = ResponseHead(fieldCountMax: fieldCount)
        return true
    }
}

// Messages out: HTTP/1.1 text on its way to frames, the other half of `MessageText`. A head is
// always handed in whole; bodies come in any pieces of their coding that are whole.

extension HTTP2Connection {
    mutating func takeText(
        _ slot: StreamSlot, _ text: Span<UInt8>, _ work: inout HTTP2Workspace
    ) {
        var at = 0
        var headStart = 0
        while case .head = streams[slot].outbound, at < text.count {
            let rest = text.extracting(at..<text.count)
            guard let length = head(slot, rest, &work) else {
                if work.grow(for: rest) { continue }
                return refuseText(slot)
            }
            headStart = at
            at += length
        }
        if case .body = streams[slot].outbound {
            while !body(slot, text, &at, work.limits) {
                let rest = text.extracting(at..<text.count)
                guard work.grow(for: rest) else { return refuseText(slot) }
            }
        }
        if case .head = streams[slot].outbound { return }
        if !streams[slot].isSubmitted {
            submit(slot, text.extracting(headStart..<text.count), &work)
        } else {
            list(slot)
        }
    }

    /// Nothing here writes what its own parser refuses; should it, one stream ends, not the worker.
    @inline(never)
    private mutating func refuseText(_ slot: StreamSlot) {
        if streams[slot].id != 0 { return reset(slot, .internalError) }
        streams[slot].isClosed = true
        events.append(
            .closed(
                stream: slot, code: HTTP2Code.internalError.rawValue, isUnprocessed: false))
    }

    // MARK: Heads

    /// Reads one head; a final one decides how the body ends.
    /// - Returns: its length.
    private mutating func head(
        _ slot: StreamSlot, _ text: Span<UInt8>, _ work: inout HTTP2Workspace
    ) -> Int? {
        if isServer {
            var parser = ResponseHeadParser()
            guard
                case .complete(let length)? = try? parser.parse(
                    text, into: &work.responseHead, limits: work.limits)
            else { return nil }
            let status = work.responseHead.status
            if status < 200, status != 101 {
                collectResponse(text, &work, status: status)
                writeOutgoing(streams[slot].id, work.fields, isEnd: false)
                return length
            }
            streams[slot].outbound = .body
            let framing = HTTP2Connection.responseFraming(streams[slot], work.responseHead)
            streams[slot].decoder = BodyDecoder(framing)
            return length
        }
        var parser = RequestHeadParser()
        guard
            case .complete(let length)? = try? parser.parse(
                text, into: &work.requestHead, limits: work.limits)
        else { return nil }
        let isWebSocket =
            work.requestHead.options.upgrade && work.requestHead.isWebSocketUpgrade(text)
        let isTunnel = isWebSocket || work.requestHead.method == .connect
        streams[slot].outbound = .body
        streams[slot].isHeadRequest = work.requestHead.method == .head
        streams[slot].isWebSocket = isWebSocket
        streams[slot].isTunnelRequest = isTunnel
        streams[slot].decoder = BodyDecoder(isTunnel ? .untilClose : work.requestHead.framing)
        return length
    }

    private static func responseFraming(
        _ stream: borrowing HTTP2Stream, _ head: borrowing ResponseHead
    ) -> BodyFraming {
        if stream.isTunnelRequest, head.status == 101 || (200..<300).contains(head.status) {
            return .untilClose
        }
        if stream.isHeadRequest || Status.hasNoBody(head.status) { return .none }
        return head.framing
    }

    // MARK: Bodies

    /// - Returns: `false` when what follows is not taken; it begins at `at`.
    private mutating func body(
        _ slot: StreamSlot, _ text: Span<UInt8>, _ at: inout Int, _ limits: HeadLimits
    ) -> Bool {
        while true {
            guard let step = try? streams[slot].decoder.next(text, at: &at, limits: limits) else {
                return false
            }
            switch step {
            case .content(let range):
                streams[slot].content.append(text.extracting(range.range))
                continue
            case .trailers(let section):
                streams[slot].trailers.append(text.extracting(section.range))
            case .complete: break
            case .incomplete:
                precondition(at == text.count, "pieces of a coding are handed in whole")
                return true
            }
            streams[slot].isComplete = true
            streams[slot].outbound = .ended
            return true
        }
    }

    // MARK: Header blocks

    private mutating func submit(
        _ slot: StreamSlot, _ head: Span<UInt8>, _ work: inout HTTP2Workspace
    ) {
        let isBodyless =
            streams[slot].isComplete && streams[slot].content.isEmpty
            && streams[slot].trailers.isEmpty
        if isServer {
            let status = work.responseHead.status == 101 ? 200 : work.responseHead.status
            budget.answers &+= 1
            collectResponse(head, &work, status: status)
        } else {
            guard takesWebSocket(slot), assignNumber(slot) else { return }
            if streams[slot].isWebSocket, let field = work.requestHead.webSocketKey(head) {
                streams[slot].webSocketAccept = WebSocketAccept(
                    key: head.extracting(field.range))
            }
            collectRequest(head, &work, isWebSocket: streams[slot].isWebSocket)
        }
        streams[slot].isSubmitted = true
        let id = streams[slot].id
        writeOutgoing(id, work.fields, isEnd: isBodyless)
        if isBodyless { endedHere(slot) } else { list(slot) }
    }

    /// A peer that has not said so takes no extended CONNECT (RFC 8441 §3); the owner waits for its
    /// settings.
    private mutating func takesWebSocket(_ slot: StreamSlot) -> Bool {
        if !streams[slot].isWebSocket || peer.allowsConnectProtocol { return true }
        streams[slot].isClosed = true
        events.append(
            .closed(stream: slot, code: HTTP2Code.none.rawValue, isUnprocessed: false))
        return false
    }

    /// `makeStream` has seen to it that there is a number.
    private mutating func assignNumber(_ slot: StreamSlot) -> Bool {
        guard nextID <= Int32.max - 2, !hasPeerGoneAway else {
            // As good as refused: nothing was sent.
            streams[slot].isClosed = true
            events.append(
                .closed(
                    stream: slot, code: HTTP2Code.refusedStream.rawValue, isUnprocessed: true))
            return false
        }
        streams[slot].id = nextID
        ids.insert(nextID, slot)
        nextID += 2
        return true
    }

    /// Writes the trailers of a message whose content is all out.
    mutating func writeTrailers(
        _ slot: StreamSlot, to out: inout ByteBuffer, _ work: inout HTTP2Workspace
    ) {
        let section = streams[slot].trailers.readable
        work.fields.removeAll()
        var at = 0
        while at < section.count,
            case .field(let field, let next)? = try? FieldLineParser.line(section, at: at)
        {
            if !field.known.isHopByHop {
                work.fields.add(
                    section.extracting(field.name.range), section.extracting(field.value.range))
            }
            at = next
        }
        writeHeaders(streams[slot].id, work.fields, isEnd: true, to: &out)
    }

    private func collectResponse(
        _ text: Span<UInt8>, _ work: inout HTTP2Workspace, status: UInt16
    ) {
        work.fields.removeAll()
        work.fields.addStatus(status)
        let isTunnel = work.responseHead.status == 101
        for i in 0..<work.responseHead.fields.count {
            let field = work.responseHead.fields[i]
            // Another version's framing and connection have no meaning here (§8.2.2).
            if field.known.isHopByHop { continue }
            let name = text.extracting(field.name.range)
            if isTunnel, ASCII.equalFold(name, "sec-websocket-accept") { continue }
            work.fields.add(name, text.extracting(field.value.range))
        }
    }

    private func collectRequest(
        _ text: Span<UInt8>, _ work: inout HTTP2Workspace, isWebSocket: Bool
    ) {
        work.fields.removeAll()
        if isWebSocket {
            work.fields.add(":method", "CONNECT")
            work.fields.add(":protocol", "websocket")
        } else {
            work.fields.add(":method", text.extracting(work.requestHead.methodName.range))
        }
        if work.requestHead.method != .connect {
            work.fields.add(":scheme", isSecure ? "https" : "http")
            work.fields.add(":path", text.extracting(work.requestHead.target.range))
        }
        work.fields.add(":authority", text.extracting(work.requestHead.authority.range))
        var isGRPC = false
        for i in 0..<work.requestHead.fields.count {
            let field = work.requestHead.fields[i]
            if field.known == .host || field.known.isHopByHop { continue }
            let name = text.extracting(field.name.range)
            let value = text.extracting(field.value.range)
            if isWebSocket, ASCII.equalFold(name, "sec-websocket-key") { continue }
            if field.known == .contentType { isGRPC = GRPC.isContentType(value) }
            work.fields.add(
                name, value, isUnique: field.known == .requestID || field.known == .traceparent)
        }
        // Trailers are passed on here, and gRPC servers ask to be told so.
        if isGRPC { work.fields.add("te", "trailers") }
    }
}

extension RequestHead {
    /// Whether the upgrade that is asked for is to a WebSocket: the only one that HTTP/2 has
    /// (RFC 8441). Another is left out, and the request is an ordinary one (RFC 9110 §7.8).
    borrowing func isWebSocketUpgrade(_ text: Span<UInt8>) -> Bool {
        guard let field = fields.first(.upgrade) else { return false }
        return ASCII.equalFold(text.extracting(field.value.range), "websocket")
    }

    /// The value of `Sec-WebSocket-Key`, if there is one.
    borrowing func webSocketKey(_ text: Span<UInt8>) -> ByteRange? {
        for i in 0..<fields.count
        where ASCII.equalFold(text.extracting(fields[i].name.range), "sec-websocket-key") {
            return fields[i].value
        }
        return nil
    }
}
