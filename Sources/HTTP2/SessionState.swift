import Base
import CNGHTTP2
import HTTP1
import HTTPSemantics

/// What nghttp2's callbacks work on: the session's streams, the header block under way, events.
///
/// Lives at one address on the heap, because C keeps a pointer to it. Confined to one worker. The
/// callbacks touch nothing else; whoever drives the session takes the events afterwards.
@safe struct SessionState: ~Copyable {
    let isServer: Bool
    let limits: HTTP2Limits
    var native: OpaquePointer?
    var streams: Slab<HTTP2Stream>
    var block = HeaderBlock()
    var budget: HTTP2Budget
    var events = PlainArray<HTTP2Event>(capacity: 8)
    /// Where text and frames go; lent for one call.
    var text: UnsafeMutablePointer<ByteBuffer>?
    var output: UnsafeMutablePointer<ByteBuffer>?
    /// For the keys of handshakes.
    var random: PRNG
    /// The connection is over; no byte is read any more.
    var isBroken = false
    var isGoingAway = false
    /// Requests of ours carry the scheme https.
    var isSecure = false
    /// Where `output` has grown enough for one flush, and whether DATA waits for the next.
    var outputEnd = 0
    var isOutputFull = false
    /// Streams that nghttp2 knows and that have an owner, or had.
    var streamCount = 0
    /// Received DATA bytes of all streams that were not credited yet.
    var keptBytes = 0
    /// Of them not credited to the connection either.
    var connectionDebt = 0
    /// Bodies wait in the text in pieces of the stream that comes last.
    private var hasOpenText = false

    init(isServer: Bool, limits: HTTP2Limits, seed: UInt64, now: Instant) {
        self.isServer = isServer
        self.limits = limits
        unsafe native = nil
        streams = Slab(countMax: limits.streamsMax * 4 + 1_024) { HTTP2Stream() }
        budget = HTTP2Budget(limits, now: now)
        unsafe text = nil
        unsafe output = nil
        random = PRNG(seed: seed)
    }

    /// The stream's slot as nghttp2 carries it for us.
    static func key(_ slot: SlotID) -> UnsafeMutableRawPointer? {
        unsafe UnsafeMutableRawPointer(
            bitPattern: UInt(slot.index) << 32 | UInt(slot.generation))
    }

    static func slot(_ key: UnsafeMutableRawPointer?) -> SlotID {
        let bits = UInt(bitPattern: key)
        return SlotID(
            index: UInt32(truncatingIfNeeded: bits >> 32),
            generation: UInt32(truncatingIfNeeded: bits))
    }

    func slot(_ id: Int32) -> SlotID {
        unsafe SessionState.slot(nghttp2_session_get_stream_user_data(native, id))
    }

    // MARK: Frames in

    /// A frame's header was read: what costs nothing to send is counted.
    mutating func beganFrame(type: UInt8, flags: UInt8, length: Int) {
        let breach: HTTP2Breach
        switch UInt32(type) {
        case NGHTTP2_DATA.rawValue:
            let isEmpty = length == 0 && flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) == 0
            breach = isEmpty ? budget.takeEmptyFrame() : .none
        case NGHTTP2_HEADERS.rawValue, NGHTTP2_GOAWAY.rawValue: breach = .none
        case NGHTTP2_PRIORITY.rawValue: breach = budget.takePriority(limits)
        case NGHTTP2_RST_STREAM.rawValue: breach = budget.takeReset()
        case NGHTTP2_WINDOW_UPDATE.rawValue: breach = budget.takeWindowUpdate(limits)
        default: breach = budget.takeControlFrame()
        }
        if breach != .none { self.breach(breach) }
    }

    mutating func breach(_ cause: HTTP2Breach) {
        guard !isBroken else { return }
        isBroken = true
        _ = unsafe nghttp2_session_terminate_session(native, NGHTTP2_ENHANCE_YOUR_CALM.rawValue)
        events.append(.breach(cause))
    }

    mutating func beginHeaders(_ category: nghttp2_headers_category, id: Int32) -> Bool {
        if category == NGHTTP2_HCAT_REQUEST {
            guard let slot = streams.take() else { return false }
            streams[slot].reset()
            streams[slot].id = id
            streams[slot].windowBytes = limits.streamWindowBytes
            streamCount += 1
            budget.streamsOpened += 1
            _ = unsafe nghttp2_session_set_stream_user_data(native, id, SessionState.key(slot))
            block.begin(.request, slot)
            return true
        }
        let slot = slot(id)
        guard streams.holds(slot) else {
            block.begin(.trailers, .none)
            return true
        }
        if !isServer, case .head = streams[slot].inbound {
            block.begin(.response, slot, isWebSocket: streams[slot].isWebSocket)
        } else {
            block.begin(.trailers, slot)
        }
        return true
    }

    /// A header block is complete.
    mutating func endHeaders(isEnd: Bool) {
        let slot = block.stream
        guard streams.holds(slot), !streams[slot].isClosed else { return }
        block.finish()
        if block.isMalformed { return refuse(slot) }
        switch block.kind {
        case .request: request(slot, isEnd: isEnd)
        case .response: response(slot, isEnd: isEnd)
        case .trailers:
            // A body without END_STREAM on its trailers is not a message (RFC 9113 §8.1).
            guard isEnd else { return refuse(slot) }
            end(slot, hasTrailers: true)
        }
    }

    /// A stream error: the message is malformed (RFC 9113 §8.1.1).
    mutating func refuse(_ slot: SlotID) {
        _ = unsafe nghttp2_submit_rst_stream(
            native, UInt8(NGHTTP2_FLAG_NONE.rawValue), streams[slot].id,
            NGHTTP2_PROTOCOL_ERROR.rawValue)
        events.append(.malformed(stream: slot))
    }

    private mutating func request(_ slot: SlotID, isEnd: Bool) {
        streams[slot].isOpened = true
        events.append(.opened(stream: slot))
        streams[slot].isHeadRequest = block.isHead
        streams[slot].isTunnelRequest = block.isConnect
        streams[slot].isWebSocket = block.isWebSocket
        begin(slot)
        if block.isTooLarge {
            // The text is longer than any head may be, and has no end: refused as in HTTP/1.1.
            fillHead(slot)
            return
        }
        unsafe text?.pointee.append(block.text.readable)
        if streams[slot].isWebSocket {
            unsafe text?.pointee.append(
                "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ")
            let words = (random.next(), random.next())
            if let text = unsafe text {
                unsafe WebSocketAccept.appendKey(words, to: &text.pointee)
                unsafe text.pointee.append("\r\n")
            }
        }
        if streams[slot].isTunnelRequest {
            streams[slot].inbound = .raw
        } else {
            frame(slot, isEnd: isEnd, isBodyless: false)
        }
        unsafe text?.pointee.append("\r\n")
        finishPiece(slot, credit: 0)
        if isEnd { end(slot, hasTrailers: false) }
    }

    private mutating func fillHead(_ slot: SlotID) {
        unsafe text?.pointee.append("GET / HTTP/1.1\r\nx: ")
        for _ in 0..<(limits.headerListBytesMax / 32 + 1) {
            unsafe text?.pointee.append("................................")
        }
        finishPiece(slot, credit: 0)
        streams[slot].inbound = .ended
    }

    private mutating func response(_ slot: SlotID, isEnd: Bool) {
        begin(slot)
        unsafe text?.pointee.append(block.text.readable)
        let status = block.status
        if block.isTooLarge { return refuse(slot) }
        if status < 200 {
            guard !isEnd else { return refuse(slot) }
            unsafe text?.pointee.append("\r\n")
            return finishPiece(slot, credit: 0)
        }
        if streams[slot].isTunnelRequest, status < 300 {
            streams[slot].inbound = .raw
            if streams[slot].isWebSocket, let text = unsafe text {
                unsafe text.pointee.append("connection: upgrade\r\nupgrade: websocket\r\n")
                unsafe text.pointee.append("sec-websocket-accept: ")
                unsafe streams[slot].webSocketAccept.append(to: &text.pointee)
                unsafe text.pointee.append("\r\n")
            }
        } else {
            let hasNone = streams[slot].isHeadRequest || status == 204 || status == 304
            frame(slot, isEnd: isEnd, isBodyless: hasNone)
        }
        unsafe text?.pointee.append("\r\n")
        finishPiece(slot, credit: 0)
        if isEnd { end(slot, hasTrailers: false) }
    }

    /// One framing decision for the message (RFC 9112 §6.3). A length would forbid the trailers
    /// that carry a gRPC call's status, so it goes no further there.
    private mutating func frame(_ slot: SlotID, isEnd: Bool, isBodyless: Bool) {
        if let length = block.contentLength, isEnd || isBodyless || !block.isGRPC {
            unsafe text?.pointee.append("content-length: ")
            unsafe text?.pointee.appendDecimal(length)
            unsafe text?.pointee.append("\r\n")
            streams[slot].inbound = .length(isBodyless ? 0 : length)
        } else if isBodyless || isEnd && isServer {
            streams[slot].inbound = .length(0)
        } else {
            unsafe text?.pointee.append("transfer-encoding: chunked\r\n")
            streams[slot].inbound = .chunked
        }
    }

    /// A piece of a DATA frame.
    mutating func data(_ slot: SlotID, _ bytes: Span<UInt8>) {
        let count = bytes.count
        let id = streams[slot].id
        keptBytes += count
        streams[slot].uncredited += count
        creditConnection(count)
        begin(slot)
        switch streams[slot].inbound {
        case .length(let left):
            guard UInt64(count) <= left else { return refuse(slot) }
            streams[slot].inbound = .length(left - UInt64(count))
            unsafe text?.pointee.append(bytes)
        case .chunked:
            if let text = unsafe text {
                unsafe MessageEncoder.chunkHead(count, to: &text.pointee)
                unsafe text.pointee.append(bytes)
                unsafe text.pointee.append("\r\n")
            }
        case .raw: unsafe text?.pointee.append(bytes)
        case .head, .ended:
            // DATA before the final header block, or behind a refused one.
            if id != 0 { credit(slot, keeping: 0) }
            return
        }
        finishPiece(slot, credit: count)
    }

    /// END_STREAM: the message has its end.
    mutating func end(_ slot: SlotID, hasTrailers: Bool) {
        guard streams.holds(slot) else { return }
        let inbound = streams[slot].inbound
        streams[slot].inbound = .ended
        switch inbound {
        case .head, .ended: break
        case .length(let left): if left > 0 { return refuse(slot) }
        case .raw: events.append(.ended(stream: slot))
        case .chunked:
            begin(slot)
            unsafe text?.pointee.append("0\r\n")
            if hasTrailers, !block.isTooLarge {
                unsafe text?.pointee.append(block.text.readable)
            }
            unsafe text?.pointee.append("\r\n")
            finishPiece(slot, credit: 0)
        }
    }

    // MARK: Text

    private var pieceStart = 0

    /// A piece of text begins; it may join the one before it.
    private mutating func begin(_ slot: SlotID) {
        pieceStart = unsafe text?.pointee.writerIndex ?? 0
    }

    private mutating func finishPiece(_ slot: SlotID, credit: Int) {
        let end = unsafe text?.pointee.writerIndex ?? 0
        if end == pieceStart { return }
        if events.count > 0,
            case .text(let last, let range, let sum) = events[events.count - 1], last == slot,
            range.upper == pieceStart
        {
            events[events.count - 1] = .text(
                stream: slot, ByteRange(range.lower, end: end), credit: sum + credit)
        } else {
            events.append(.text(stream: slot, ByteRange(pieceStart, end: end), credit: credit))
        }
    }

    // MARK: Credit

    /// The connection's window is for all streams: it is withheld only when much is kept.
    private mutating func creditConnection(_ count: Int) {
        connectionDebt += count
        payConnection()
    }

    private mutating func payConnection() {
        guard connectionDebt > 0, keptBytes < limits.keptBytesMax else { return }
        _ = unsafe nghttp2_session_consume_connection(native, connectionDebt)
        connectionDebt = 0
    }

    /// Bytes of the stream have left: all but `kept` are credited, and a stream whose bytes leave
    /// as they come gets a larger window.
    mutating func credit(_ slot: SlotID, keeping kept: Int) {
        guard streams.holds(slot) else { return }
        let count = streams[slot].uncredited - min(kept, streams[slot].uncredited)
        guard count > 0 else { return }
        streams[slot].uncredited -= count
        keptBytes -= count
        payConnection()
        let id = streams[slot].id
        guard !streams[slot].isClosed, id != 0 else { return }
        streams[slot].sinceGrowth += count
        let window = streams[slot].windowBytes
        if kept == 0, streams[slot].sinceGrowth >= window, window < limits.streamWindowBytesMax {
            streams[slot].sinceGrowth = 0
            streams[slot].windowBytes = min(window * 2, limits.streamWindowBytesMax)
            _ = unsafe nghttp2_session_set_local_window_size(
                native, UInt8(NGHTTP2_FLAG_NONE.rawValue), id,
                Int32(streams[slot].windowBytes))
        }
        _ = unsafe nghttp2_session_consume_stream(native, id, count)
    }

    // MARK: Ends

    mutating func closed(_ slot: SlotID, code: UInt32) {
        guard streams.holds(slot), !streams[slot].isClosed else { return }
        streams[slot].isClosed = true
        if streams[slot].isReleased || !streams[slot].isOpened { return free(slot) }
        events.append(
            .closed(
                stream: slot, code: code,
                isUnprocessed: code == NGHTTP2_REFUSED_STREAM.rawValue))
    }

    mutating func free(_ slot: SlotID) {
        keptBytes -= streams[slot].uncredited
        streams[slot].reset()
        streams.free(slot)
        streamCount -= 1
        payConnection()
    }

    // MARK: Frames out

    /// A frame was handed over for writing.
    mutating func sentFrame(type: UInt8, id: Int32, isEnd: Bool, code: UInt32) {
        switch UInt32(type) {
        case NGHTTP2_DATA.rawValue: budget.dataFramesSent += 1
        case NGHTTP2_RST_STREAM.rawValue:
            // Resets that the peer made this side send (CVE-2025-8671).
            let isProvoked =
                code == NGHTTP2_PROTOCOL_ERROR.rawValue
                || code == NGHTTP2_FLOW_CONTROL_ERROR.rawValue
                || code == NGHTTP2_STREAM_CLOSED.rawValue
                || code == NGHTTP2_FRAME_SIZE_ERROR.rawValue
            if isProvoked {
                let breach = budget.takeReset()
                if breach != .none { self.breach(breach) }
            }
            return
        case NGHTTP2_GOAWAY.rawValue:
            if code != NGHTTP2_NO_ERROR.rawValue, !isBroken {
                isBroken = true
                events.append(.breach(.protocolError))
            }
            return
        default: break
        }
        guard isEnd, isServer else { return }
        let slot = slot(id)
        guard streams.holds(slot), streams[slot].isReleased else { return }
        if case .ended = streams[slot].inbound { return }
        // RFC 9113 §8.1: the whole answer is out, the rest of the request is not wanted.
        _ = unsafe nghttp2_submit_rst_stream(
            native, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, NGHTTP2_NO_ERROR.rawValue)
    }

    /// How much content the stream has for a DATA frame now.
    mutating func offer(_ slot: SlotID, atMost room: Int) -> (count: Int, isEnd: Bool)? {
        let waiting = streams[slot].content.count
        if waiting == 0, !streams[slot].isComplete {
            streams[slot].isDeferred = true
            return nil
        }
        let count = min(room, waiting)
        return (count, streams[slot].isComplete && count == waiting)
    }

    /// Writes a DATA frame: its header, then the content, straight from where it waits.
    /// - Returns: `false` when the flush has written enough; the frame comes again.
    mutating func writeData(_ slot: SlotID, header: Span<UInt8>, count: Int) -> Bool {
        guard let output = unsafe output else { return false }
        if unsafe output.pointee.writerIndex >= outputEnd {
            isOutputFull = true
            return false
        }
        unsafe output.pointee.reserve(header.count + count)
        unsafe output.pointee.append(header)
        guard count > 0 else { return true }
        let content = streams[slot].content.readable
        unsafe output.pointee.append(content.extracting(0..<count))
        streams[slot].content.consume(count)
        let left = streams[slot].content.count
        if left == 0 { streams[slot].content.clear(keepingAtMost: 16_384) }
        if streams[slot].isStalled {
            if left <= HTTP2Session.lowWaterBytes {
                streams[slot].isStalled = false
                events.append(.drained(stream: slot))
            } else {
                events.append(.wrote(stream: slot))
            }
        }
        return true
    }
}
