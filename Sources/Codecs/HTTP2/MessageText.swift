import Base
import HTTP1
import HTTPSemantics

// Messages in: header blocks and content as the HTTP/1.1 text that they stand for.

extension HTTP2Connection {
    /// Writes the text of a header block that is complete.
    mutating func endBlock(isEnd: Bool, _ text: inout ByteBuffer) {
        let slot = block.stream
        guard streams.holds(slot), !streams[slot].isClosed else { return }
        block.finish()
        if block.isMalformed { return streamError(slot, .protocolError) }
        switch block.kind {
        case .request: request(slot, isEnd: isEnd, &text)
        case .response: response(slot, isEnd: isEnd, &text)
        case .trailers:
            // Trailers end the message (RFC 9113 §8.1).
            guard isEnd else { return streamError(slot, .protocolError) }
            endMessage(slot, hasTrailers: true, &text)
        }
    }

    private mutating func request(_ slot: StreamSlot, isEnd: Bool, _ text: inout ByteBuffer) {
        events.append(.opened(stream: slot))
        streams[slot].isHeadRequest = block.isHead
        streams[slot].isTunnelRequest = block.isConnect
        streams[slot].isWebSocket = block.isWebSocket
        let start = text.writerIndex
        if block.isTooLarge {
            // The real head is dropped. This stand-in never ends, so the parser of HTTP/1.1 refuses
            // it with 431.
            text.append("GET / HTTP/1.1\r\n")
            if block.isGRPC { text.append("content-type: application/grpc\r\n") }
            appendEndlessField(to: &text)
            streams[slot].inbound = .ended
            streams[slot].hasEndedThere = isEnd
            return piece(slot, from: start, text)
        }
        text.append(block.text.readable)
        if streams[slot].isWebSocket {
            text.append("connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ")
            WebSocketAccept.appendKey((random.next(), random.next()), to: &text)
            text.append("\r\n")
        }
        if streams[slot].isTunnelRequest {
            streams[slot].inbound = .raw
        } else {
            frame(slot, isEnd: isEnd, isBodyless: false, &text)
        }
        text.append("\r\n")
        piece(slot, from: start, text)
        if isEnd { endMessage(slot, hasTrailers: false, &text) }
    }

    /// A field that is longer than all may be, and has no end: the HTTP/1.1 parser refuses it as it
    /// would one of an HTTP/1.1 peer.
    @inline(never)
    private func appendEndlessField(to text: inout ByteBuffer) {
        text.append("x: ")
        for _ in 0..<(limits.headerListBytesMax + HTTP2Connection.textBytesAdded) / 32 + 1 {
            text.append("................................")
        }
    }

    private mutating func response(_ slot: StreamSlot, isEnd: Bool, _ text: inout ByteBuffer) {
        let start = text.writerIndex
        if block.isTooLarge {
            // This answer alone is refused; its owner resets the stream.
            text.append("HTTP/1.1 200 OK\r\n")
            appendEndlessField(to: &text)
            streams[slot].inbound = .ended
            streams[slot].hasEndedThere = isEnd
            piece(slot, from: start, text)
            return closeIfDone(slot)
        }
        let status = block.status
        text.append(block.text.readable)
        if status < 200 {
            if isEnd {
                text.truncate(to: start)
                return streamError(slot, .protocolError)
            }
            text.append("\r\n")
            return piece(slot, from: start, text)
        }
        budget.answers &+= 1
        if streams[slot].isTunnelRequest, status < 300 {
            streams[slot].inbound = .raw
            if streams[slot].isWebSocket {
                text.append("connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ")
                streams[slot].webSocketAccept.append(to: &text)
                text.append("\r\n")
            }
        } else {
            let isBodyless =
                streams[slot].isHeadRequest || status == 204 || status == 304
            frame(slot, isEnd: isEnd, isBodyless: isBodyless, &text)
        }
        if isEnd, case .length(let left) = streams[slot].inbound, left > 0 {
            // Nothing of it goes on: the client can still be told.
            text.truncate(to: start)
            return streamError(slot, .protocolError)
        }
        text.append("\r\n")
        piece(slot, from: start, text)
        if isEnd { endMessage(slot, hasTrailers: false, &text) }
    }

    /// One framing decision for the message (RFC 9112 §6.3). A length would forbid trailers, so it
    /// goes no further where a message announces some, and where they carry a gRPC call's status.
    private mutating func frame(
        _ slot: StreamSlot, isEnd: Bool, isBodyless: Bool, _ text: inout ByteBuffer
    ) {
        if let length = block.contentLength,
            isEnd || isBodyless || !block.isGRPC && !block.announcesTrailers
        {
            text.append("content-length: ")
            text.appendDecimal(length)
            text.append("\r\n")
            streams[slot].inbound = .length(isBodyless ? 0 : length)
        } else if isBodyless || isEnd && isServer {
            streams[slot].inbound = .length(0)
            if isServer, block.anticipatesContent { text.append("content-length: 0\r\n") }
        } else {
            text.append("transfer-encoding: chunked\r\n")
            streams[slot].inbound = .chunked
        }
    }

    /// Writes the text of a piece of a DATA frame.
    mutating func content(_ slot: StreamSlot, _ bytes: Span<UInt8>, _ text: inout ByteBuffer) {
        let start = text.writerIndex
        switch streams[slot].inbound {
        case .length(let left):
            // RFC 9113 §8.1.1: the length and the DATA frames agree.
            guard UInt64(bytes.count) <= left else { return streamError(slot, .protocolError) }
            streams[slot].inbound = .length(left - UInt64(bytes.count))
            text.append(bytes)
        case .chunked:
            MessageEncoder.chunkHead(bytes.count, to: &text)
            text.append(bytes)
            text.append("\r\n")
        case .raw: text.append(bytes)
        // Behind a head that was too large.
        case .head, .ended: return streams[slot].uncredited = 0
        }
        piece(slot, from: start, text)
    }

    /// Writes the end of the message, because END_STREAM came.
    mutating func endMessage(_ slot: StreamSlot, hasTrailers: Bool, _ text: inout ByteBuffer) {
        let inbound = streams[slot].inbound
        streams[slot].hasEndedThere = true
        switch inbound {
        case .head: return streamError(slot, .protocolError)
        case .ended: break
        case .length(let left):
            if left > 0 { return streamError(slot, .protocolError) }
            // HTTP/1.1 has no place for them behind a length
            // (docs/decisions/2026-11-25-lengths-yield-to-trailers.md).
            if hasTrailers, block.hasText { events.append(.droppedTrailers(stream: slot)) }
        case .raw: events.append(.ended(stream: slot))
        case .chunked:
            let start = text.writerIndex
            text.append("0\r\n")
            if hasTrailers, block.isTooLarge {
                // The message must not end as if it were whole (a gRPC call's status is lost).
                appendEndlessField(to: &text)
            } else {
                if hasTrailers { text.append(block.text.readable) }
                text.append("\r\n")
            }
            piece(slot, from: start, text)
        }
        streams[slot].inbound = .ended
        closeIfDone(slot)
    }

    /// Adds an event for the text from `start` on, or lengthens the last event where the text
    /// continues it.
    private mutating func piece(
        _ slot: StreamSlot, from start: Int, _ text: borrowing ByteBuffer
    ) {
        let end = text.writerIndex
        if end == start { return }
        if events.count > 0,
            case .text(let last, let range) = events[events.count - 1], last == slot,
            range.upper == start
        {
            events[events.count - 1] = .text(stream: slot, ByteRange(range.lower, end: end))
        } else {
            events.append(.text(stream: slot, ByteRange(start, end: end)))
        }
    }
}
