import Base

// Windows for what the peer sends (RFC 9113 §5.2 and §6.9).
//
// Memory is bounded by the windows of streams alone: the connection's is credited as bytes arrive,
// so that a stream whose bytes stay here takes nothing from the others. The sum of the streams'
// windows is bounded: each has the initial one, and what they have grown by comes from one pool of
// the connection, of which a stream takes half of the rest at most.

extension HTTP2Connection {
    /// All received bytes of the stream but `kept` have left: the peer may send as many more. A
    /// stream whose bytes leave as they come gets a larger window, and one that keeps more than
    /// half of its window here a smaller one.
    ///
    /// - Parameter mayGrow: memory is not short.
    public mutating func credit(_ slot: StreamSlot, keeping kept: Int, mayGrow: Bool = true) {
        guard streams.holds(slot) else { return }
        let count = streams[slot].uncredited - min(kept, streams[slot].uncredited)
        guard count > 0 else { return }
        streams[slot].uncredited -= count
        guard !streams[slot].isClosed, !streams[slot].hasEndedThere else { return }
        if kept == 0 {
            creditStream(slot, count + (mayGrow ? growth(slot, count) : 0))
        } else if kept * 2 > streams[slot].windowBytes || !mayGrow {
            creditStream(slot, count - shrink(slot, count))
        } else {
            creditStream(slot, count)
        }
    }

    /// - Returns: how much the window grows now that `count` bytes have left at once.
    private mutating func growth(_ slot: StreamSlot, _ count: Int) -> Int {
        streams[slot].sinceGrowth += count
        let window = streams[slot].windowBytes
        guard streams[slot].sinceGrowth >= window, window < limits.streamWindowBytesMax else {
            return 0
        }
        streams[slot].sinceGrowth = 0
        let more = min(window, limits.streamWindowBytesMax - window)
        guard more <= (growthBytesMax - grownBytes) / 2 else { return 0 }
        grownBytes += more
        streams[slot].windowBytes += more
        return more
    }

    /// - Returns: how many of the bytes that have left the peer may not send again.
    private mutating func shrink(_ slot: StreamSlot, _ count: Int) -> Int {
        let less = min(count, streams[slot].windowBytes - limits.streamWindowBytes)
        grownBytes -= less
        streams[slot].windowBytes -= less
        return less
    }

    /// Gives back the part of the connection's pool that a stream held which is gone.
    mutating func giveBackWindow(_ slot: StreamSlot) {
        grownBytes -= streams[slot].windowBytes - limits.streamWindowBytes
    }

    mutating func creditStream(_ slot: StreamSlot, _ count: Int) {
        streams[slot].creditDue += count
        let due = streams[slot].creditDue
        guard due * 2 >= streams[slot].windowBytes else { return }
        streams[slot].creditDue = 0
        streams[slot].receiveWindow += due
        writeWindowUpdate(streams[slot].id, due)
    }

    /// Flow-controlled bytes arrived, whatever becomes of them.
    mutating func creditConnection(_ count: Int) {
        creditDue += count
        guard creditDue * 2 >= connectionWindow else { return }
        receiveWindow += creditDue
        writeWindowUpdate(0, creditDue)
        creditDue = 0
    }

    /// Bytes by which the windows of all streams together may have grown.
    var growthBytesMax: Int { limits.streamWindowBytesMax * 2 }

    /// Bytes that the peer may have under way in all: as much as all streams that the peer may
    /// open.
    var connectionWindow: Int {
        min(
            growthBytesMax + limits.streamWindowBytes * limits.streamsMax,
            HTTP2Connection.windowBytesMax)
    }
}
