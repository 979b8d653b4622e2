import Base

// Bytes of the peer: frames in (RFC 9113 §4 to §6).

extension HTTP2Connection {
    /// Understands at most one slice of what was read, and returns how many bytes it took; 0: the
    /// connection is in error and reads no more. Events tell the rest.
    public mutating func receive(
        _ bytes: Span<UInt8>, text: inout ByteBuffer, now: Instant
    ) -> Int {
        guard isOpen, !isBroken else { return 0 }
        self.now = now
        budget.refill(limits, now: now)
        let count = min(bytes.count, HTTP2Connection.sliceBytes)
        var at = 0
        while at < count, !isBroken { step(bytes, &at, count, &text) }
        return isBroken ? 0 : count
    }

    private mutating func step(
        _ bytes: Span<UInt8>, _ at: inout Int, _ end: Int, _ text: inout ByteBuffer
    ) {
        if reading.prefaceLeft > 0 { return preface(bytes, &at, end) }
        if reading.dataLeft > 0 {
            let count = min(reading.dataLeft, end - at)
            reading.dataLeft -= count
            let piece = bytes.extracting(at..<at + count)
            at += count
            data(piece, &text)
            return endData(&text)
        }
        if reading.paddingLeft > 0 {
            let count = min(reading.paddingLeft, end - at)
            reading.paddingLeft -= count
            at += count
            return endData(&text)
        }
        if partial.isEmpty, end - at >= FrameHeader.byteCount {
            let header = FrameHeader(bytes.extracting(at..<at + FrameHeader.byteCount))
            guard accepts(header) else { return }
            let needed = bytesNeeded(header)
            if end - at >= needed {
                let payload = bytes.extracting(at + FrameHeader.byteCount..<at + needed)
                at += needed
                return frame(header, payload, &text)
            }
        }
        gather(bytes, &at, end, &text)
    }

    /// Collects a frame that comes in pieces.
    private mutating func gather(
        _ bytes: Span<UInt8>, _ at: inout Int, _ end: Int, _ text: inout ByteBuffer
    ) {
        var needed = FrameHeader.byteCount
        if partial.count >= needed { needed = bytesNeeded(FrameHeader(partial.readable)) }
        let count = min(needed - partial.count, end - at)
        partial.append(bytes.extracting(at..<at + count))
        at += count
        guard partial.count == needed else { return }
        let header = FrameHeader(partial.readable)
        if needed == FrameHeader.byteCount {
            guard accepts(header) else { return }
            if bytesNeeded(header) > needed { return }
        }
        let whole = partial.readable
        frame(header, whole.extracting(FrameHeader.byteCount..<whole.count), &text)
        partial.clear(keepingAtMost: 4_096)
    }

    /// Bytes of a frame that are looked at together: all, but of DATA only what tells its padding.
    private func bytesNeeded(_ header: FrameHeader) -> Int {
        if header.type == FrameType.data {
            return FrameHeader.byteCount
                + (header.has(FrameFlag.padded) && header.length > 0 ? 1 : 0)
        }
        return FrameHeader.byteCount + header.length
    }

    private mutating func preface(_ bytes: Span<UInt8>, _ at: inout Int, _ end: Int) {
        while at < end, reading.prefaceLeft > 0 {
            guard
                bytes[at] == HTTP2Preface.byte(HTTP2Preface.byteCount - reading.prefaceLeft)
            else { return fail(.protocolError) }
            at += 1
            reading.prefaceLeft -= 1
        }
    }

    /// Checks the rules that every frame must keep to, before its payload is there.
    private mutating func accepts(_ header: FrameHeader) -> Bool {
        // §4.2; a larger frame is not waited for.
        if header.length > FrameHeader.payloadMax {
            fail(.frameSizeError)
        } else if !peer.hasSettings, header.type != FrameType.settings {
            // §3.4: the first frame is SETTINGS.
            fail(.protocolError)
        } else if reading.blockID != 0,
            header.type != FrameType.continuation || header.id != reading.blockID
        {
            // §6.10: nothing comes between the frames of a header block.
            fail(.protocolError)
        } else if !isFree(header) {
            spend(cost(header))
        }
        return !isBroken
    }

    private mutating func frame(
        _ header: FrameHeader, _ payload: Span<UInt8>, _ text: inout ByteBuffer
    ) {
        switch header.type {
        case FrameType.data: beginData(header, payload, &text)
        case FrameType.headers: headers(header, payload, &text)
        case FrameType.continuation: continuation(header, payload, &text)
        case FrameType.priority: priority(header, payload)
        case FrameType.reset: resetFrame(header, payload)
        case FrameType.settings: settings(header, payload)
        case FrameType.ping: ping(header, payload)
        case FrameType.goAway: goAway(header, payload)
        case FrameType.windowUpdate: windowUpdate(header, payload)
        case FrameType.pushPromise:
            // Clients may not (§8.4), and servers were told not to.
            fail(.protocolError)
        default: break
        }
    }

    // MARK: DATA (§6.1)

    private mutating func beginData(
        _ header: FrameHeader, _ payload: Span<UInt8>, _ text: inout ByteBuffer
    ) {
        guard header.id != 0 else { return fail(.protocolError) }
        var padding = 0
        if header.has(FrameFlag.padded) {
            guard header.length > 0, Int(payload[0]) < header.length else {
                return fail(.protocolError)
            }
            padding = Int(payload[0]) + 1
        }
        // Flow control counts the whole frame, whatever becomes of it (§6.9).
        receiveWindow -= header.length
        guard receiveWindow >= 0 else { return fail(.flowControlError) }
        creditConnection(header.length)
        reading.dataLeft = header.length - padding
        if padding > 0, reading.dataLeft == 0, !header.has(FrameFlag.endStream) {
            // Padding is no content.
            spend(budget.takeEmptyFrame(limits))
        }
        reading.paddingLeft = max(0, padding - 1)
        reading.dataEnds = header.has(FrameFlag.endStream)
        reading.dataSlot = dataStream(header, padding)
        if isBroken { return }
        endData(&text)
    }

    /// The stream that a DATA frame is for; `.none` when its content is dropped.
    private mutating func dataStream(_ header: FrameHeader, _ padding: Int) -> StreamSlot {
        let slot = ids.slot(header.id)
        guard streams.holds(slot) else {
            frameOnClosed(header)
            return .none
        }
        guard !streams[slot].hasEndedThere else {
            streamError(slot, .streamClosed)
            return .none
        }
        if case .head = streams[slot].inbound, !isServer {
            streamError(slot, .protocolError)
            return .none
        }
        streams[slot].receiveWindow -= header.length
        guard streams[slot].receiveWindow >= 0 else {
            streamError(slot, .flowControlError)
            return .none
        }
        if padding > 0 { creditStream(slot, padding) }
        if header.length > padding {
            budget.dataFramesReceived &+= 1
            messageFramesReceived &+= 1
        }
        return slot
    }

    private mutating func data(_ bytes: Span<UInt8>, _ text: inout ByteBuffer) {
        let slot = reading.dataSlot
        guard streams.holds(slot), !streams[slot].isClosed else { return }
        streams[slot].uncredited += bytes.count
        content(slot, bytes, &text)
    }

    /// Ends a DATA frame that is all there.
    private mutating func endData(_ text: inout ByteBuffer) {
        guard reading.dataLeft == 0, reading.paddingLeft == 0 else { return }
        let slot = reading.dataSlot
        reading.dataSlot = .none
        guard reading.dataEnds, streams.holds(slot), !streams[slot].isClosed else { return }
        endMessage(slot, hasTrailers: false, &text)
    }

    // MARK: Header blocks (§6.2, §6.10)

    private mutating func headers(
        _ header: FrameHeader, _ payload: Span<UInt8>, _ text: inout ByteBuffer
    ) {
        guard header.id != 0 else { return fail(.protocolError) }
        messageFramesReceived &+= 1
        var start = 0, end = payload.count
        if header.has(FrameFlag.padded) {
            guard end > 0, Int(payload[0]) < end else { return fail(.protocolError) }
            end -= Int(payload[0])
            start = 1
        }
        if header.has(FrameFlag.priority) {
            guard end - start >= 5 else { return fail(.frameSizeError) }
            if dependency(payload, at: start) == header.id { return fail(.protocolError) }
            start += 5
        }
        guard start <= end else { return fail(.protocolError) }
        guard beginBlock(header) else { return }
        reading.blockID = header.id
        reading.blockEnds = header.has(FrameFlag.endStream)
        reading.continuations = 0
        fragment(payload.extracting(start..<end), header, &text)
    }

    private func dependency(_ payload: Span<UInt8>, at start: Int) -> Int32 {
        Int32(bitPattern: FrameHeader.word(payload, at: start) & 0x7fff_ffff)
    }

    private mutating func continuation(
        _ header: FrameHeader, _ payload: Span<UInt8>, _ text: inout ByteBuffer
    ) {
        guard reading.blockID != 0 else { return fail(.protocolError) }
        reading.continuations += 1
        guard reading.continuations <= limits.continuationsMax else {
            return fail(.enhanceYourCalm, .controlFrames)
        }
        fragment(payload, header, &text)
    }

    private mutating func fragment(
        _ bytes: Span<UInt8>, _ header: FrameHeader, _ text: inout ByteBuffer
    ) {
        let isLast = header.has(FrameFlag.endHeaders)
        guard hpack.inflate(bytes, isLast: isLast, &block, limits) else {
            return fail(.compressionError)
        }
        guard isLast else { return }
        reading.blockID = 0
        if reading.isLate { endLateBlock() }
        endBlock(isEnd: reading.blockEnds, &text)
    }

    /// Decides whose block begins. `false`: the connection is in error.
    private mutating func beginBlock(_ header: FrameHeader) -> Bool {
        let slot = ids.slot(header.id)
        reading.isLate = false
        if streams.holds(slot) {
            guard !streams[slot].hasEndedThere else {
                // Decoded all the same: the tables of both sides must stay alike.
                streamError(slot, .streamClosed)
                block.begin(.trailers, .none)
                return !isBroken
            }
            if !isServer, case .head = streams[slot].inbound {
                block.begin(.response, slot, isWebSocket: streams[slot].isWebSocket)
            } else {
                block.begin(.trailers, slot)
            }
            return true
        }
        guard isServer, header.id & 1 == 1, header.id > lastID else {
            frameOnClosed(header)
            reading.isLate = isServer
            block.begin(.trailers, .none)
            return !isBroken
        }
        return openStream(header.id)
    }

    private mutating func openStream(_ id: Int32) -> Bool {
        lastID = id
        guard hasRoom, let slot = take() else {
            refuse(id)
            block.begin(.request, .none)
            return !isBroken
        }
        streams[slot].id = id
        ids.insert(id, slot)
        block.begin(.request, slot)
        return true
    }

    // MARK: Other frames

    private mutating func priority(_ header: FrameHeader, _ payload: Span<UInt8>) {
        guard header.id != 0 else { return fail(.protocolError) }
        guard payload.count == 5 else { return errorOnStream(header.id, .frameSizeError) }
        if dependency(payload, at: 0) == header.id { errorOnStream(header.id, .protocolError) }
        // Otherwise ignored (§5.3.2).
    }

    private mutating func resetFrame(_ header: FrameHeader, _ payload: Span<UInt8>) {
        guard header.id != 0 else { return fail(.protocolError) }
        guard payload.count == 4 else { return fail(.frameSizeError) }
        let slot = ids.slot(header.id)
        guard streams.holds(slot) else {
            return isIdle(header.id) ? fail(.protocolError) : spend(budget.takeLateFrame(limits))
        }
        let code = FrameHeader.word(payload, at: 0)
        if !isFreeReset(slot) { spend(budget.takeReset(limits)) }
        if isBroken { return }
        // What it sent before lies behind: nothing more of the stream may come.
        streams[slot].hasEndedThere = true
        closed(slot, code: code, isUnprocessed: code == HTTP2Code.refusedStream.rawValue)
    }

    private mutating func ping(_ header: FrameHeader, _ payload: Span<UInt8>) {
        guard header.id == 0 else { return fail(.protocolError) }
        guard payload.count == 8 else { return fail(.frameSizeError) }
        if header.has(FrameFlag.ack) { return pingAcknowledged() }
        spend(budget.takeControlFrames(1, limits))
        answer()
        FrameHeader.append(
            FrameType.ping, flags: FrameFlag.ack, id: 0, length: 8, to: &outgoing)
        outgoing.append(payload)
    }

    private mutating func goAway(_ header: FrameHeader, _ payload: Span<UInt8>) {
        guard header.id == 0 else { return fail(.protocolError) }
        guard payload.count >= 8 else { return fail(.frameSizeError) }
        if FrameHeader.word(payload, at: 4) == HTTP2Code.enhanceYourCalm.rawValue,
            ASCII.equal(payload.extracting(8..<payload.count), "too_many_pings")
        {
            wasToldTooManyPings = true
        }
        hasPeerGoneAway = true
        events.append(.goingAway)
        if isServer { return }
        // Requests behind the last one were not acted on (§6.8, §8.7).
        let last = Int32(bitPattern: FrameHeader.word(payload, at: 0) & 0x7fff_ffff)
        for index in 0..<streams.indexEnd {
            guard let slot = streams.tenant(at: index), streams[slot].id > last,
                !streams[slot].isClosed
            else { continue }
            closed(slot, code: HTTP2Code.refusedStream.rawValue, isUnprocessed: true)
        }
    }

    private mutating func windowUpdate(_ header: FrameHeader, _ payload: Span<UInt8>) {
        guard payload.count == 4 else { return fail(.frameSizeError) }
        let more = Int(FrameHeader.word(payload, at: 0) & 0x7fff_ffff)
        if header.id == 0 {
            guard more > 0 else { return fail(.protocolError) }
            sendWindow += more
            guard sendWindow <= Self.windowBytesMax else { return fail(.flowControlError) }
            return
        }
        let slot = ids.slot(header.id)
        guard streams.holds(slot) else {
            if isIdle(header.id) { fail(.protocolError) }
            // It was written before the end of the stream was read (§5.1).
            return
        }
        guard more > 0 else { return streamError(slot, .protocolError) }
        streams[slot].sendWindow += more
        guard streams[slot].sendWindow <= HTTP2Connection.windowBytesMax else {
            return streamError(slot, .flowControlError)
        }
        list(slot)
    }

    // MARK: SETTINGS (§6.5)

    private mutating func settings(_ header: FrameHeader, _ payload: Span<UInt8>) {
        guard header.id == 0 else { return fail(.protocolError) }
        if header.has(FrameFlag.ack) {
            guard payload.isEmpty, peer.hasSettings else {
                return fail(payload.isEmpty ? .protocolError : .frameSizeError)
            }
            return settingsAcknowledged()
        }
        guard payload.count % 6 == 0 else { return fail(.frameSizeError) }
        // Each may move the windows of all streams. Honest peers have eight to tell at most.
        spend(budget.takeControlFrames(max(1, payload.count / 48), limits))
        if isBroken { return }
        peer.hasSettings = true
        for at in stride(from: 0, to: payload.count, by: 6) {
            let id = UInt16(payload[at]) << 8 | UInt16(payload[at + 1])
            setting(id, FrameHeader.word(payload, at: at + 2))
            if isBroken { return }
        }
        answer()
        FrameHeader.append(
            FrameType.settings, flags: FrameFlag.ack, id: 0, length: 0, to: &outgoing)
        events.append(.settings)
    }

    private mutating func setting(_ id: UInt16, _ value: UInt32) {
        switch id {
        case SettingID.headerTableSize: hpack.setPeerTableSize(Int(value))
        // RFC 9113 §6.5.2: a server has no business enabling it.
        case SettingID.enablePush:
            if value > (isServer ? 1 : 0) { fail(.protocolError) }
        case SettingID.maxConcurrentStreams: peer.streamsMax = Int(value)
        case SettingID.initialWindowSize:
            guard value <= UInt32(HTTP2Connection.windowBytesMax) else {
                return fail(.flowControlError)
            }
            moveWindows(by: Int(value) - peer.initialWindow)
            peer.initialWindow = Int(value)
        case SettingID.maxFrameSize:
            if !(16_384...16_777_215).contains(value) { fail(.protocolError) }
        case SettingID.enableConnectProtocol:
            guard value <= 1 else { return fail(.protocolError) }
            peer.allowsConnectProtocol = value == 1
        default: break
        }
    }

    /// §6.9.2: the difference applies to every stream, and may leave less than nothing.
    private mutating func moveWindows(by difference: Int) {
        for index in 0..<streams.indexEnd {
            guard let slot = streams.tenant(at: index), !streams[slot].isClosed else { continue }
            streams[slot].sendWindow += difference
            guard streams[slot].sendWindow <= HTTP2Connection.windowBytesMax else {
                return fail(.flowControlError)
            }
            if streams[slot].id != 0 { list(slot) }
        }
    }

    /// An answer that the peer makes this side write; so many may wait (CVE-2019-9512, -9515).
    private mutating func answer() {
        answersWaiting += 1
        if answersWaiting > limits.queuedControlFramesMax {
            fail(.enhanceYourCalm, .queuedControlFrames)
        }
    }
}
