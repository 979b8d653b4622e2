import Base
import HTTP1

// Frames out: what waits in `outgoing` first, then DATA of the streams in turn.

extension HTTP2Connection {
    /// Appends frames that may go out now, until there are none or `output` has grown by `room`.
    /// - Returns: whether more wait.
    public mutating func send(
        into output: inout ByteBuffer, atMost room: Int, now: Instant,
        _ workspace: inout HTTP2Workspace
    ) -> Bool {
        guard isOpen else { return false }
        flush(to: &output)
        let end = output.writerIndex + room
        // An end and trailers need no window (§5.2); who has nothing else to say is at the front.
        while !isBroken, !firstListed.isNone,
            sendWindow > 0 || streams[firstListed].content.isEmpty
        {
            if output.writerIndex >= end { return true }
            writeData(nextListed(), to: &output, now: now, &workspace)
        }
        // What the writing of DATA made this side say.
        flush(to: &output)
        return false
    }

    private mutating func flush(to output: inout ByteBuffer) {
        if outgoing.isEmpty { return }
        output.append(outgoing.readable)
        outgoing.clear(keepingAtMost: 16_384)
        answersWaiting = 0
    }

    // MARK: DATA (RFC 9113 §6.1)

    private mutating func writeData(
        _ slot: StreamSlot, to output: inout ByteBuffer, now: Instant,
        _ workspace: inout HTTP2Workspace
    ) {
        let waiting = streams[slot].content.count
        let room = min(sendWindow, streams[slot].sendWindow, FrameHeader.payloadMax)
        let count = max(0, min(waiting, room))
        let isLast = streams[slot].isComplete && count == waiting
        // Nothing to say, or nothing that the stream's window lets through.
        if count == 0, !isLast { return }
        let ends = isLast && streams[slot].trailers.isEmpty
        if count > 0 || ends {
            FrameHeader.append(
                FrameType.data, flags: ends ? FrameFlag.endStream : 0, id: streams[slot].id,
                length: count, to: &output)
            if count > 0 {
                output.append(streams[slot].content.readable.extracting(0..<count))
                streams[slot].content.consume(count)
            }
            streams[slot].progressed(by: count, now: now, limits)
            sendWindow -= count
            streams[slot].sendWindow -= count
            if count > 0 { budget.dataFramesSent &+= 1 }
            budget.dataBytesSent &+= count
        }
        if isLast, !ends { writeTrailers(slot, to: &output, &workspace) }
        if isLast { return endedHere(slot, wrote: count) }
        progressed(slot, by: count)
        if waiting > count { list(slot) }
    }

    private mutating func progressed(_ slot: StreamSlot, by byteCount: Int) {
        guard streams[slot].isStalled else { return }
        if streams[slot].content.count <= HTTP2Connection.lowWaterBytes {
            streams[slot].isStalled = false
            events.append(.drained(stream: slot))
        } else {
            events.append(.wrote(stream: slot, byteCount: byteCount))
        }
    }

    /// Notes that END_STREAM was written.
    mutating func endedHere(_ slot: StreamSlot, wrote byteCount: Int = 0) {
        streams[slot].hasEndedHere = true
        progressed(slot, by: byteCount)
        if streams[slot].hasEndedThere { return closeIfDone(slot) }
        // §8.1: the whole answer is out, the rest of the request is not wanted.
        if isServer, streams[slot].isReleased { reset(slot, .none) }
    }

    // MARK: Streams with something to say

    /// Puts a stream in the list if it has something to say: at its end, or at the front when that
    /// needs no window. While it is there `content` does not become empty.
    mutating func list(_ slot: StreamSlot) {
        guard !streams[slot].isListed, streams[slot].isSubmitted, !streams[slot].hasEndedHere
        else { return }
        if streams[slot].content.isEmpty {
            guard streams[slot].isComplete else { return }
            streams[slot].isListed = true
            streams[slot].nextListed = firstListed
            firstListed = slot
            if lastListed.isNone { lastListed = slot }
            return
        }
        streams[slot].isListed = true
        streams[slot].nextListed = .none
        if lastListed.isNone {
            firstListed = slot
        } else {
            streams[lastListed].nextListed = slot
        }
        lastListed = slot
    }

    private mutating func nextListed() -> StreamSlot {
        let slot = firstListed
        firstListed = streams[slot].nextListed
        if firstListed.isNone { lastListed = .none }
        streams[slot].isListed = false
        return slot
    }

    mutating func unlist(_ slot: StreamSlot) {
        var previous = StreamSlot.none
        var at = firstListed
        while !at.isNone, at != slot {
            previous = at
            at = streams[at].nextListed
        }
        guard !at.isNone else { return }
        let next = streams[slot].nextListed
        if previous.isNone { firstListed = next } else { streams[previous].nextListed = next }
        if lastListed == slot { lastListed = previous }
        streams[slot].isListed = false
    }

    // MARK: Other frames

    /// Writes the preface and the settings (§3.4).
    mutating func writeOpening() {
        if !isServer { HTTP2Preface.append(to: &outgoing) }
        settingsWaiting += 1
        let start = outgoing.writerIndex
        FrameHeader.append(FrameType.settings, id: 0, length: 0, to: &outgoing)
        writeSetting(SettingID.initialWindowSize, limits.streamWindowBytes)
        writeSetting(SettingID.maxHeaderListSize, limits.headerListBytesMax)
        if isServer {
            writeSetting(SettingID.maxConcurrentStreams, limits.streamsMax)
            writeSetting(SettingID.enableConnectProtocol, 1)
        } else {
            writeSetting(SettingID.enablePush, 0)
        }
        FrameHeader.finish(at: start, flags: 0, in: &outgoing)
        writeWindowUpdate(0, connectionWindow - receiveWindow)
        receiveWindow = connectionWindow
    }

    private mutating func writeSetting(_ id: UInt16, _ value: Int) {
        outgoing.append(UInt8(truncatingIfNeeded: id >> 8))
        outgoing.append(UInt8(truncatingIfNeeded: id))
        FrameHeader.append(UInt32(clamping: value), to: &outgoing)
    }

    mutating func writeWindowUpdate(_ id: Int32, _ count: Int) {
        guard count > 0 else { return }
        FrameHeader.append(FrameType.windowUpdate, id: id, length: 4, to: &outgoing)
        FrameHeader.append(UInt32(clamping: min(count, Self.windowBytesMax)), to: &outgoing)
    }

    mutating func writeGoAway(last: Int32, _ code: HTTP2Code) {
        FrameHeader.append(FrameType.goAway, id: 0, length: 8, to: &outgoing)
        FrameHeader.append(UInt32(bitPattern: last), to: &outgoing)
        FrameHeader.append(code.rawValue, to: &outgoing)
    }

    mutating func writeOutgoing(_ id: Int32, _ fields: borrowing FieldList, isEnd: Bool) {
        // Lent out, so that the connection can write into it.
        var out = ByteBuffer()
        swap(&out, &outgoing)
        writeHeaders(id, fields, isEnd: isEnd, to: &out)
        swap(&out, &outgoing)
    }

    /// Writes a header block, in as many frames as it needs (§6.10).
    mutating func writeHeaders(
        _ id: Int32, _ fields: borrowing FieldList, isEnd: Bool, to out: inout ByteBuffer
    ) {
        let flags = isEnd ? FrameFlag.endStream : 0
        let start = out.writerIndex
        FrameHeader.append(FrameType.headers, flags: flags, id: id, length: 0, to: &out)
        hpack.deflate(fields, to: &out)
        let length = out.writerIndex - start - FrameHeader.byteCount
        if length <= FrameHeader.payloadMax {
            return FrameHeader.finish(at: start, flags: flags | FrameFlag.endHeaders, in: &out)
        }
        var whole = ByteBuffer()
        whole.append(
            out.span(ByteRange(start + FrameHeader.byteCount, end: out.writerIndex)))
        out.truncate(to: start)
        var type = FrameType.headers, at = 0
        while at < length {
            let count = min(FrameHeader.payloadMax, length - at)
            let last = at + count == length ? FrameFlag.endHeaders : 0
            FrameHeader.append(
                type, flags: last | (at == 0 ? flags : 0), id: id, length: count, to: &out)
            out.append(whole.readable.extracting(at..<at + count))
            type = FrameType.continuation
            at += count
        }
    }

    /// A ping of this side's, to see whether the peer is there.
    public mutating func ping() {
        guard isOpen, !isBroken else { return }
        FrameHeader.append(FrameType.ping, id: 0, length: 8, to: &outgoing)
        for _ in 0..<8 { outgoing.append(UInt8(0)) }
        pingsWaiting += 1
    }
}
