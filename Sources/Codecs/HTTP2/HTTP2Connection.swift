import Base
import HTTP1

/// One HTTP/2 connection (RFC 9113): bytes in, events and HTTP/1.1 text out; text in, bytes out. No
/// socket, no clock. Header compression is libnghttp2's. Confined to one worker.
///
///     closed ──open──▶ open ──GOAWAY either way──▶ finishing ──no stream left──▶ finished
///
/// A stream is to its owner a connection that carries one HTTP/1.1 message each way. That keeps one
/// strict parser and one set of rules behind both protocols
/// (docs/decisions/2026-11-25-streams-are-connections.md).
public struct HTTP2Connection: ~Copyable {
    /// Content of one stream above which its owner is told to wait, and below which to go on.
    public static let highWaterBytes = 65_536
    static let lowWaterBytes = 32_768
    /// Bytes understood at a time: bounds what their fields may expand to before it is handled.
    static let sliceBytes = 16_384
    /// Bytes that every connection may send at first (RFC 9113 §6.9.2).
    static let initialWindowBytes = 65_535
    static let windowBytesMax = 0x7fff_ffff
    /// Bytes that the text of a head may have beyond the header list that it stands for: a reason,
    /// framing, the fields of a WebSocket's handshake. Limits for such text are so much wider.
    public static let textBytesAdded = 256
    public static let textFieldsAdded = 4

    /// The settings that the peer has told.
    struct Peer: BitwiseCopyable {
        var initialWindow = HTTP2Connection.initialWindowBytes
        /// RFC 9113 §5.1.2: no limit, unless the settings name one.
        var streamsMax = Int.max
        var allowsConnectProtocol = false
        var hasSettings = false
    }

    /// The frame that is being read.
    struct Reading: BitwiseCopyable {
        var prefaceLeft = 0
        /// Content and padding of the DATA frame under way that must still come, in bytes.
        var dataLeft = 0
        var paddingLeft = 0
        var dataSlot = StreamSlot.none
        var dataEnds = false
        /// The stream of the header block under way; 0 when there is none.
        var blockID: Int32 = 0
        var blockEnds = false
        /// Whether the stream of the block is closed.
        var isLate = false
        var continuations = 0
    }

    private let addressOnly = AddressOnly()
    public private(set) var isOpen = false
    var isServer = false
    /// Whether requests of ours carry the scheme https.
    var isSecure = false
    var limits = HTTP2Limits()
    var hpack = HPACK()
    var streams = Slab<HTTP2Stream>(countMax: 1 << 20) { HTTP2Stream() }
    var ids = StreamTable()
    var block = HeaderBlock()
    var budget = HTTP2Budget(HTTP2Limits(), now: Instant(nanoseconds: 0))
    var events = PlainArray<HTTP2Event>(capacity: 8)
    /// The source of the keys of WebSocket handshakes.
    var random = PRNG(seed: 0)
    var peer = Peer()
    var reading = Reading()
    /// The beginning of a frame that is not all there.
    var partial = ByteBuffer()
    /// Frames that wait to be written, but for DATA.
    var outgoing = ByteBuffer()
    /// The number of waiting frames that answer the peer.
    var answersWaiting = 0
    var firstListed = StreamSlot.none
    var lastListed = StreamSlot.none
    /// Bytes that the peer lets us send, and may still send, on all streams together.
    var sendWindow = 0
    var receiveWindow = 0
    var creditDue = 0
    /// Bytes by which the windows of all streams together have grown.
    var grownBytes = 0
    /// The highest number of a stream that the peer opened, and the next of ours.
    var lastID: Int32 = 0
    var nextID: Int32 = 1
    /// Streams that the peer ended last: nothing of theirs can be on its way any more.
    var recentlyEnded = InlineArray<32, Int32>(repeating: 0)
    var recentlyEndedCount = 0
    /// PING and SETTINGS frames of this side's that the peer has not acknowledged.
    var pingsWaiting = 0
    var settingsWaiting = 0
    /// The time at which the bytes that are being read came.
    var now = Instant(nanoseconds: 0)
    /// HEADERS and DATA frames of the peer's, of any stream.
    public internal(set) var messageFramesReceived = 0
    /// The peer ended the connection because of this side's PINGs (gRPC's proposal A8).
    public internal(set) var wasToldTooManyPings = false
    /// Streams that have an owner, or had.
    public internal(set) var streamCount = 0
    /// Whether the peer broke the protocol of the connection; no byte is read any more.
    public internal(set) var isBroken = false
    var hasPeerGoneAway = false
    var hasGoneAway = false

    public init() {}

    /// Begins a connection; its preface and settings wait to be written.
    ///
    /// - Parameters:
    ///   - isSecure: requests of ours carry the scheme https.
    ///   - seed: for the keys of WebSocket handshakes.
    public mutating func open(
        isServer: Bool, isSecure: Bool, limits: HTTP2Limits, seed: UInt64, now: Instant
    ) {
        close()
        isOpen = true
        self.isServer = isServer
        self.isSecure = isSecure
        self.limits = isServer ? limits : limits.ofEndpoint
        self.now = now
        hpack.open()
        budget = HTTP2Budget(self.limits, now: now)
        random = PRNG(seed: seed)
        sendWindow = HTTP2Connection.initialWindowBytes
        receiveWindow = HTTP2Connection.initialWindowBytes
        if isServer { reading.prefaceLeft = HTTP2Preface.byteCount }
        writeOpening()
    }

    /// Forgets everything at once.
    public mutating func close() {
        guard isOpen else { return }
        isOpen = false
        hpack.close()
        for index in 0..<streams.indexEnd {
            guard let slot = streams.tenant(at: index) else { continue }
            streams[slot].reset()
            streams.free(slot)
        }
        ids.removeAll()
        events.removeAll()
        peer = Peer()
        reading = Reading()
        partial.release()
        outgoing.release()
        answersWaiting = 0
        firstListed = .none
        lastListed = .none
        creditDue = 0
        grownBytes = 0
        lastID = 0
        nextID = 1
        recentlyEnded = InlineArray(repeating: 0)
        recentlyEndedCount = 0
        pingsWaiting = 0
        settingsWaiting = 0
        messageFramesReceived = 0
        wasToldTooManyPings = false
        streamCount = 0
        isBroken = false
        hasPeerGoneAway = false
        hasGoneAway = false
    }

    // MARK: State

    /// Nothing is read or written any more: the connection may be closed.
    public var isFinished: Bool {
        guard isOpen else { return true }
        guard outgoing.isEmpty else { return false }
        if isBroken { return true }
        return (hasGoneAway || hasPeerGoneAway && !isServer) && streamCount == 0
    }

    /// The peer has said that it takes no new streams, the connection is in error, or the numbers
    /// of streams are used up: no request may begin here.
    public var isGoingAway: Bool {
        !isOpen || isBroken || hasPeerGoneAway || hasGoneAway || isUsedUp
    }

    /// Requests and content that were written since the connection began.
    public var messageFramesSent: Int { budget.streamsOpened + budget.dataFramesSent }

    /// Numbers grow by two and are never used again (RFC 9113 §5.1.1). The streams that have been
    /// made and not submitted still need theirs.
    private var isUsedUp: Bool { Int(nextID) + 2 * streamCount > Int(Int32.max) - 2 }

    /// Streams that the peer lets this side have open. Until the peer has said so, one: of more
    /// it might refuse some.
    public var streamsAllowed: Int { peer.hasSettings ? peer.streamsMax : 1 }

    /// Whether the peer's settings are known.
    public var hasSettings: Bool { peer.hasSettings }

    /// Whether the peer takes WebSockets over HTTP/2 (RFC 8441 §3).
    public var allowsWebSockets: Bool { peer.allowsConnectProtocol }

    /// Events in their order; the caller handles all and then calls `forgetEvents`.
    public var eventCount: Int { events.count }

    public func event(_ index: Int) -> HTTP2Event { events[index] }

    public mutating func forgetEvents() { events.removeAll() }

    // MARK: Streams

    /// The owner's name for a stream; 0 when the stream is gone.
    public func owner(_ stream: StreamSlot) -> UInt64 {
        streams.holds(stream) && !streams[stream].isReleased ? streams[stream].owner : 0
    }

    public mutating func setOwner(_ stream: StreamSlot, _ owner: UInt64) {
        if streams.holds(stream) { streams[stream].owner = owner }
    }

    /// Slots of streams, occupied or not, to go through them all.
    public var streamIndexEnd: UInt32 { streams.indexEnd }

    /// The owner's name for the stream in a slot; 0 for a vacant one, and one that was let go.
    public func owner(at index: UInt32) -> UInt64 {
        guard let slot = streams.tenant(at: index), !streams[slot].isReleased else { return 0 }
        return streams[slot].owner
    }

    /// A new stream of this side's; it is opened with its first text. Clients only.
    public mutating func makeStream(owner: UInt64) -> StreamSlot? {
        guard !isServer, !isGoingAway, let slot = take() else { return nil }
        streams[slot].owner = owner
        return slot
    }

    /// The numbers below are used up: what a billion requests do, for tests.
    package mutating func skipNumbers(to id: Int32) { nextID = id }

    mutating func take() -> StreamSlot? {
        guard let slot = streams.take() else { return nil }
        streams[slot].reset()
        streams[slot].windowBytes = limits.streamWindowBytes
        streams[slot].receiveWindow = limits.streamWindowBytes
        streams[slot].sendWindow = peer.initialWindow
        streams[slot].openedAt = now
        streamCount += 1
        budget.streamsOpened += 1
        return slot
    }

    /// Takes HTTP/1.1 text for a stream: heads whole, bodies in any pieces.
    /// - Returns: `true` when so much waits now that the source must wait for `.drained`.
    public mutating func take(
        _ stream: StreamSlot, _ text: Span<UInt8>, _ workspace: inout HTTP2Workspace
    ) -> Bool {
        guard streams.holds(stream), !streams[stream].isClosed else { return false }
        takeText(stream, text, &workspace)
        let isMuch = streams[stream].content.count > HTTP2Connection.highWaterBytes
        if isMuch { streams[stream].isStalled = true }
        return isMuch
    }

    /// Ends our side of a tunnel.
    public mutating func end(_ stream: StreamSlot) {
        guard streams.holds(stream), !streams[stream].isClosed else { return }
        streams[stream].isComplete = true
        streams[stream].outbound = .ended
        list(stream)
    }

    /// Whether what was handed in for the stream waits beyond the next write.
    public func isStalled(_ stream: StreamSlot) -> Bool {
        streams.holds(stream) && streams[stream].isStalled
    }

    /// The peer's message on the stream is complete.
    public func hasEnded(_ stream: StreamSlot) -> Bool {
        guard streams.holds(stream) else { return true }
        if case .ended = streams[stream].inbound { return true }
        return false
    }

    /// The owner lets go of the stream. What was handed in still goes out, unless it is `broken`:
    /// then the peer sees a reset with that code.
    ///
    /// - Parameter patience: how long the peer may take nothing of what waits.
    /// - Returns: whether it lives on until the peer takes what waits (`resetStalled`).
    @discardableResult
    public mutating func release(
        _ stream: StreamSlot, broken code: HTTP2Code?, now: Instant, patience: Duration = .unlimited
    ) -> Bool {
        guard streams.holds(stream) else { return false }
        streams[stream].progressedAt = now
        streams[stream].patience = patience
        letGo(stream, broken: code)
        return streams.holds(stream)
    }

    private mutating func letGo(_ stream: StreamSlot, broken code: HTTP2Code?) {
        streams[stream].isReleased = true
        credit(stream, keeping: 0)
        if streams[stream].isClosed || streams[stream].id == 0 { return free(stream) }
        if code == nil, streams[stream].isComplete {
            // A server's answer still goes out whole; a client's request is of no use without it.
            if isServer { return streams[stream].hasEndedHere ? reset(stream, .none) : () }
            if !isServer, hasEnded(stream) {
                // Complete both ways; the end of the request may still wait to be written.
                return
            }
        }
        reset(stream, code ?? (isServer ? .internalError : .cancel))
    }

    /// Resets streams that were let go and whose peer has taken nothing for their time.
    public mutating func resetStalled(now: Instant) {
        for index in 0..<streams.indexEnd {
            guard let slot = waiting(at: index) else { continue }
            if now - streams[slot].progressedAt >= streams[slot].patience { reset(slot, .cancel) }
        }
    }

    /// When the first of those streams has had its time, if its peer goes on taking nothing.
    public var nextStall: Instant {
        var next = Instant.never
        for index in 0..<streams.indexEnd {
            guard let slot = waiting(at: index) else { continue }
            next = min(next, streams[slot].progressedAt + streams[slot].patience)
        }
        return next
    }

    /// A stream that was let go and still has something to send.
    private func waiting(at index: UInt32) -> StreamSlot? {
        guard let slot = streams.tenant(at: index), streams[slot].isReleased,
            !streams[slot].isClosed
        else { return nil }
        return slot
    }

    // MARK: Ends of streams

    /// Ends a stream with RST_STREAM.
    mutating func reset(_ slot: StreamSlot, _ code: HTTP2Code) {
        let id = streams[slot].id
        if !streams[slot].hasEndedThere { expectLate(streams[slot].receiveWindow) }
        writeReset(id, code)
        closed(slot, code: code.rawValue, isUnprocessed: false)
    }

    /// END_STREAM has gone both ways, or the stream was reset.
    mutating func closed(_ slot: StreamSlot, code: UInt32, isUnprocessed: Bool) {
        guard !streams[slot].isClosed else { return }
        streams[slot].isClosed = true
        if streams[slot].hasEndedThere {
            recentlyEnded[recentlyEndedCount & 31] = streams[slot].id
            recentlyEndedCount &+= 1
        }
        ids.remove(streams[slot].id)
        if streams[slot].isReleased { return free(slot) }
        events.append(.closed(stream: slot, code: code, isUnprocessed: isUnprocessed))
    }

    mutating func closeIfDone(_ slot: StreamSlot) {
        if streams[slot].hasEndedHere, streams[slot].hasEndedThere {
            closed(slot, code: 0, isUnprocessed: false)
        }
    }

    private mutating func free(_ slot: StreamSlot) {
        if streams[slot].isListed { unlist(slot) }
        giveBackWindow(slot)
        streams[slot].reset()
        streams.free(slot)
        streamCount -= 1
    }

    // MARK: Ends of the connection

    /// Says that no new streams will be taken soon; those on their way still are (§6.8).
    public mutating func announceShutdown() {
        guard isOpen, !isBroken else { return }
        writeGoAway(last: Int32.max, .none)
    }

    /// Takes no new streams from now on; those under way finish.
    public mutating func shutDown() {
        guard isOpen, !isBroken, !hasGoneAway else { return }
        hasGoneAway = true
        writeGoAway(last: lastID, .none)
    }

    /// An error of the connection: it says so and ends (§5.4.1).
    mutating func fail(_ code: HTTP2Code, _ breach: HTTP2Breach = .protocolError) {
        guard !isBroken else { return }
        isBroken = true
        // Whatever else waits is for a peer that cannot be trusted to read it.
        writeGoAway(last: lastID, code)
        events.append(.breach(breach))
    }
}
