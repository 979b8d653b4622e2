import Base

// What a frame costs its sender, and what becomes of frames on streams that are not there
// (RFC 9113 §5.1, §5.4, §10.5). A stream is ended where a stream is to blame; the connection ends
// when its budget is used up (`HTTP2Budget`).

extension HTTP2Connection {
    /// A stream that was open for so long is taken back free of charge. The limit of streams then
    /// bounds what a client can start: a hundred streams that live 10 ms each are as much as a
    /// client that cancels nothing may ask for. Deadlines of 20 ms that pass while an endpoint
    /// stands still look just like that.
    static let longLife = Duration.milliseconds(10)

    mutating func spend(_ breach: HTTP2Breach) {
        if breach != .none { fail(.enhanceYourCalm, breach) }
    }

    /// Takes the cost of a frame as soon as its header is there. PING, SETTINGS and RST_STREAM are
    /// counted where they are read, because acknowledgements and awaited frames are free.
    @inline(__always)
    func isFree(_ header: FrameHeader) -> Bool {
        switch header.type {
        case FrameType.data: return header.length > 0 || header.has(FrameFlag.endStream)
        case FrameType.headers, FrameType.continuation, FrameType.reset, FrameType.settings,
            FrameType.ping:
            return true
        default: return false
        }
    }

    @inline(never)
    mutating func cost(_ header: FrameHeader) -> HTTP2Breach {
        switch header.type {
        case FrameType.data: return budget.takeEmptyFrame(limits)
        case FrameType.priority, FrameType.priorityUpdate: return budget.takePriority(limits)
        case FrameType.windowUpdate: return budget.takeWindowUpdate(limits)
        default: return budget.takeControlFrames(1, limits)
        }
    }

    /// A PING of this side's was acknowledged: free, where there was one.
    mutating func pingAcknowledged() {
        if pingsWaiting == 0 { return spend(budget.takeControlFrames(1, limits)) }
        pingsWaiting -= 1
    }

    mutating func settingsAcknowledged() {
        if settingsWaiting == 0 { return spend(budget.takeControlFrames(1, limits)) }
        settingsWaiting -= 1
    }

    // MARK: Streams that end before their time

    /// Whether the peer's reset of an open stream costs nothing. An endpoint's are free: each is
    /// the answer to a request of ours. So is a client's behind the whole answer (§8.1).
    func isFreeReset(_ slot: StreamSlot) -> Bool {
        !isServer || streams[slot].hasEndedHere
            || now - streams[slot].openedAt >= HTTP2Connection.longLife
    }

    /// A reset that the peer provoked. A client's is counted as its own are (CVE-2025-8671); an
    /// endpoint can provoke one for each request of ours.
    mutating func spendProvoked() {
        if isServer { spend(budget.takeReset(limits)) }
    }

    /// Whether another stream of the peer's may begin. One that was reset is closed and makes room
    /// at once (§5.1.2), but as long as its work here is not undone only so many more are taken.
    var hasRoom: Bool {
        !hasGoneAway && ids.count < limits.streamsMax && streamCount < 2 * limits.streamsMax
    }

    /// More streams than were allowed (§5.1.2), or none are taken any more (§6.8).
    @inline(never)
    mutating func refuse(_ id: Int32) {
        writeReset(id, .refusedStream)
        // Frames that belong to it are on their way.
        budget.streamsOpened &+= 1
        expectLate(limits.streamWindowBytes)
        let isPardonable = hasGoneAway || settingsWaiting > 0
        spend(budget.takeRefusal(limits, isPardonable: isPardonable))
    }

    /// Resets one stream, because of an error of that stream alone (§5.4.2).
    mutating func streamError(_ slot: StreamSlot, _ code: HTTP2Code) {
        guard streams.holds(slot), !streams[slot].isClosed else { return }
        var hasHead = true
        if case .head = streams[slot].inbound { hasHead = false }
        events.append(.malformed(stream: slot, hasHead: hasHead))
        reset(slot, code)
        spendProvoked()
    }

    @inline(never)
    mutating func errorOnStream(_ id: Int32, _ code: HTTP2Code) {
        let slot = ids.slot(id)
        if streams.holds(slot) { return streamError(slot, code) }
        writeReset(id, code)
        spend(isServer ? budget.takeReset(limits) : budget.takeLateFrame(limits))
    }

    mutating func writeReset(_ id: Int32, _ code: HTTP2Code) {
        FrameHeader.append(FrameType.reset, id: id, length: 4, to: &outgoing)
        FrameHeader.append(code.rawValue, to: &outgoing)
    }

    // MARK: Streams that are closed (§5.1)

    /// DATA or HEADERS on a stream that is not there. Numbers tell what it was: below the highest
    /// that was opened it is closed. Where its end was not the peer's, the frame was on its way;
    /// its compression state and its flow control count, and nothing else.
    @inline(never)
    mutating func frameOnClosed(_ header: FrameHeader) {
        if isIdle(header.id) { return fail(.protocolError) }
        if hasPeerEnded(header.id) {
            if header.type == FrameType.headers, isServer { return fail(.streamClosed) }
            return errorOnStream(header.id, .streamClosed)
        }
        let isContent = header.type == FrameType.data && header.length > 0
        spend(
            isContent
                ? budget.takeLateData(header.length, limits) : budget.takeLateFrame(limits))
    }

    /// A header block on a closed stream is complete. Trailers may have been on their way, but a
    /// request's number that goes back is an error (§5.1.1).
    mutating func endLateBlock() {
        if reading.isLate, block.hasPseudo { fail(.streamClosed) }
    }

    /// A stream was reset or refused here: so much of it may still come, within what the peer may
    /// have under way on the connection.
    mutating func expectLate(_ window: Int) {
        budget.expectLate(window, most: connectionWindow)
    }

    /// Whether a stream was never opened.
    func isIdle(_ id: Int32) -> Bool {
        let isPeers = (id & 1 == 1) == isServer
        return isPeers ? !isServer || id > lastID : isServer || id >= nextID
    }

    /// Whether the peer itself has ended a stream, of those that were closed last.
    private func hasPeerEnded(_ id: Int32) -> Bool {
        for i in 0..<32 where recentlyEnded[i] == id { return true }
        return false
    }
}
