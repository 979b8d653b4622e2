import Base
import CNGHTTP2
import HTTP1

/// One HTTP/2 connection (RFC 9113) through nghttp2's memory interface: bytes in, events and
/// HTTP/1.1 text out; text in, bytes out. No socket, no clock. Confined to one worker.
///
///     closed ──open──▶ open ──GOAWAY either way──▶ finishing ──no stream left──▶ finished
///
/// A stream is to its owner a connection that carries one HTTP/1.1 message each way. That keeps one
/// strict parser and one set of rules behind both versions (ARCHITECTURE.md, "Streams are
/// connections").
@safe public struct HTTP2Session: ~Copyable {
    /// Content of one stream above which its owner is told to wait, and below which to go on.
    public static let highWaterBytes = 65_536
    static let lowWaterBytes = 32_768
    /// Bytes fed to nghttp2 at a time: bounds what their fields may expand to before it is handled.
    static let sliceBytes = 16_384

    private var state: UnsafeMutablePointer<SessionState>?

    public init() { unsafe state = nil }

    deinit { unsafe HTTP2Session.destroy(state) }

    private static func destroy(_ state: UnsafeMutablePointer<SessionState>?) {
        guard let state = unsafe state else { return }
        unsafe nghttp2_session_del(state.pointee.native)
        unsafe state.deinitialize(count: 1)
        unsafe state.deallocate()
    }

    public var isOpen: Bool { unsafe state != nil }

    /// Begins a connection; its preface and settings wait to be written.
    ///
    /// - Parameters:
    ///   - isSecure: requests of ours carry the scheme https.
    ///   - seed: for the keys of WebSocket handshakes.
    public mutating func open(
        isServer: Bool, isSecure: Bool, limits: HTTP2Limits, seed: UInt64, now: Instant
    ) {
        close()
        let state = UnsafeMutablePointer<SessionState>.allocate(capacity: 1)
        unsafe state.initialize(
            to: SessionState(isServer: isServer, limits: limits, seed: seed, now: now))
        unsafe state.pointee.isSecure = isSecure
        let table = SessionCallbacks.table
        var native: OpaquePointer?
        let result = unsafe SessionCallbacks.withOptions(limits) { options in
            isServer
                ? unsafe nghttp2_session_server_new2(&native, table.native, state, options)
                : unsafe nghttp2_session_client_new2(&native, table.native, state, options)
        }
        precondition(result == 0, "memory for a session")
        unsafe state.pointee.native = native
        unsafe self.state = state
        submitSettings(limits, isServer: isServer)
    }

    private func submitSettings(_ limits: HTTP2Limits, isServer: Bool) {
        guard let state = unsafe state else { return }
        let native = unsafe state.pointee.native
        func entry(_ id: nghttp2_settings_id, _ value: Int) -> nghttp2_settings_entry {
            nghttp2_settings_entry(
                settings_id: Int32(id.rawValue), value: UInt32(clamping: value))
        }
        var entries = [
            entry(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.streamWindowBytes),
            entry(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.headerListBytesMax),
        ]
        if isServer {
            entries.append(entry(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.streamsMax))
            entries.append(entry(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1))
        } else {
            entries.append(entry(NGHTTP2_SETTINGS_ENABLE_PUSH, 0))
        }
        _ = unsafe nghttp2_submit_settings(native, 0, entries, entries.count)
        _ = unsafe nghttp2_session_set_local_window_size(
            native, 0, 0, Int32(clamping: limits.streamWindowBytesMax * 2))
    }

    /// Forgets everything at once.
    public mutating func close() {
        unsafe HTTP2Session.destroy(state)
        unsafe state = nil
    }

    // MARK: Bytes

    /// Understands at most one slice of what was read, and returns how many bytes it took; 0: the
    /// connection is in error and reads no more. Events tell the rest.
    public mutating func receive(
        _ bytes: Span<UInt8>, text: inout ByteBuffer, now: Instant
    ) -> Int {
        guard let state = unsafe state, unsafe !state.pointee.isBroken else { return 0 }
        let limits = unsafe state.pointee.limits
        unsafe state.pointee.budget.refill(limits, now: now)
        let count = min(bytes.count, HTTP2Session.sliceBytes)
        let native = unsafe state.pointee.native
        let taken = unsafe withUnsafeMutablePointer(to: &text) { text in
            unsafe state.pointee.text = text
            let taken = unsafe bytes.withUnsafeBufferPointer {
                unsafe nghttp2_session_mem_recv(native, $0.baseAddress, count)
            }
            unsafe state.pointee.text = nil
            return taken
        }
        if unsafe state.pointee.isBroken { return 0 }
        if taken < 0 {
            let isFlood = taken == Int(NGHTTP2_ERR_FLOODED.rawValue)
            unsafe state.pointee.breach(isFlood ? .queuedControlFrames : .protocolError)
            return 0
        }
        if unsafe nghttp2_session_get_outbound_queue_size(native) > limits.queuedControlFramesMax {
            unsafe state.pointee.breach(.queuedControlFrames)
            return 0
        }
        return taken
    }

    /// Appends frames that may go out now, until there are none or `output` has grown by `room`.
    /// - Returns: whether more wait.
    public mutating func send(into output: inout ByteBuffer, atMost room: Int) -> Bool {
        guard let state = unsafe state else { return false }
        let native = unsafe state.pointee.native
        let end = output.writerIndex + room
        return unsafe withUnsafeMutablePointer(to: &output) { output in
            unsafe state.pointee.output = output
            unsafe state.pointee.outputEnd = end
            unsafe state.pointee.isOutputFull = false
            defer { unsafe state.pointee.output = nil }
            while unsafe output.pointee.writerIndex < end {
                var data: UnsafePointer<UInt8>?
                let count = unsafe nghttp2_session_mem_send(native, &data)
                if count <= 0 { return unsafe state.pointee.isOutputFull }
                let bytes = unsafe Span(
                    _unsafeElements: UnsafeBufferPointer(start: data, count: count))
                unsafe output.pointee.append(bytes)
            }
            return true
        }
    }

    /// Whether frames wait to be written.
    public var wantsWrite: Bool {
        guard let state = unsafe state else { return false }
        return unsafe nghttp2_session_want_write(state.pointee.native) != 0
    }

    /// Nothing is read or written any more: the connection may be closed.
    public var isFinished: Bool {
        guard let state = unsafe state else { return true }
        return unsafe nghttp2_session_want_write(state.pointee.native) == 0
            && (nghttp2_session_want_read(state.pointee.native) == 0 || state.pointee.isBroken)
    }

    /// Events in their order; the caller handles all and then calls `forgetEvents`.
    public var eventCount: Int { unsafe state?.pointee.events.count ?? 0 }

    public func event(_ index: Int) -> HTTP2Event {
        guard let state = unsafe state else { preconditionFailure("an open session") }
        return unsafe state.pointee.events[index]
    }

    public mutating func forgetEvents() { unsafe state?.pointee.events.removeAll() }

    // MARK: Streams

    public var streamCount: Int { unsafe state?.pointee.streamCount ?? 0 }

    /// The peer has said that it takes no new streams, or the connection is in error.
    public var isGoingAway: Bool {
        guard let state = unsafe state else { return true }
        return unsafe state.pointee.isGoingAway || state.pointee.isBroken
    }

    /// Streams that the peer lets this side have open.
    public var streamsAllowed: Int {
        guard let state = unsafe state else { return 0 }
        return Int(
            unsafe nghttp2_session_get_remote_settings(
                state.pointee.native, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
    }

    /// Whether the peer takes WebSockets over HTTP/2 (RFC 8441 §3).
    public var allowsWebSockets: Bool {
        guard let state = unsafe state else { return false }
        return unsafe nghttp2_session_get_remote_settings(
            state.pointee.native, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1
    }

    /// The owner's name for a stream; 0 when the stream is gone.
    public func owner(_ stream: SlotID) -> UInt64 {
        guard let state = unsafe state, unsafe state.pointee.streams.holds(stream) else { return 0 }
        return unsafe state.pointee.streams[stream].owner
    }

    public mutating func setOwner(_ stream: SlotID, _ owner: UInt64) {
        guard let state = unsafe state, unsafe state.pointee.streams.holds(stream) else { return }
        unsafe state.pointee.streams[stream].owner = owner
    }

    /// A new stream of this side's; it is opened with its first text. Clients only.
    public mutating func makeStream(owner: UInt64) -> SlotID? {
        guard let state = unsafe state, unsafe !state.pointee.isServer,
            let slot = unsafe state.pointee.streams.take()
        else { return nil }
        unsafe state.pointee.streams[slot].reset()
        unsafe state.pointee.streams[slot].owner = owner
        unsafe state.pointee.streams[slot].isOpened = true
        unsafe state.pointee.streams[slot].windowBytes = state.pointee.limits.streamWindowBytes
        unsafe state.pointee.streamCount += 1
        unsafe state.pointee.budget.streamsOpened += 1
        return slot
    }

    /// Takes HTTP/1.1 text for a stream: heads whole, bodies in any pieces.
    /// - Returns: `true` when so much waits now that the source must wait for `.drained`.
    public mutating func take(
        _ stream: SlotID, _ text: Span<UInt8>, _ workspace: inout HTTP2Workspace
    ) -> Bool {
        guard let state = unsafe state, unsafe state.pointee.streams.holds(stream),
            unsafe !state.pointee.streams[stream].isClosed
        else { return false }
        unsafe OutboundMessage.take(&state.pointee, stream, text, &workspace)
        let isMuch =
            unsafe state.pointee.streams[stream].content.count > HTTP2Session.highWaterBytes
        if isMuch { unsafe state.pointee.streams[stream].isStalled = true }
        return isMuch
    }

    /// Our side of a tunnel is over.
    public mutating func end(_ stream: SlotID) {
        guard let state = unsafe state, unsafe state.pointee.streams.holds(stream) else { return }
        unsafe state.pointee.streams[stream].isComplete = true
        unsafe state.pointee.streams[stream].outbound = .ended
        unsafe OutboundMessage.resume(&state.pointee, stream)
    }

    /// Whether what was handed in for the stream waits beyond the next write.
    public func isStalled(_ stream: SlotID) -> Bool {
        guard let state = unsafe state, unsafe state.pointee.streams.holds(stream) else {
            return false
        }
        return unsafe state.pointee.streams[stream].isStalled
    }

    /// The peer's message on the stream is complete.
    public func hasEnded(_ stream: SlotID) -> Bool {
        guard let state = unsafe state, unsafe state.pointee.streams.holds(stream) else {
            return true
        }
        if case .ended = unsafe state.pointee.streams[stream].inbound { return true }
        return false
    }

    /// All received bytes of the stream but `kept` have left.
    public mutating func credit(_ stream: SlotID, keeping kept: Int) {
        unsafe state?.pointee.credit(stream, keeping: kept)
    }

    /// The owner lets go of the stream. What was handed in still goes out, unless it is `broken`:
    /// then the peer sees a reset with that code.
    public mutating func release(_ stream: SlotID, broken code: HTTP2Code?) {
        guard let state = unsafe state, unsafe state.pointee.streams.holds(stream) else { return }
        if unsafe state.pointee.streams[stream].isClosed || state.pointee.streams[stream].id <= 0 {
            return unsafe state.pointee.free(stream)
        }
        unsafe state.pointee.streams[stream].isReleased = true
        unsafe state.pointee.credit(stream, keeping: 0)
        let isComplete = unsafe state.pointee.streams[stream].isComplete
        let isServer = unsafe state.pointee.isServer
        if isComplete, code == nil {
            // A server's answer is complete; so is a client's request, but for the answer.
            if isServer || hasEnded(stream) { return }
        }
        _ = unsafe nghttp2_submit_rst_stream(
            state.pointee.native, 0, state.pointee.streams[stream].id,
            (code ?? (isServer ? .internalError : .cancel)).rawValue)
    }

    /// Slots of streams, occupied or not, to go through them all.
    public var streamIndexEnd: UInt32 {
        unsafe state?.pointee.streams.indexEnd ?? 0
    }

    /// The owner's name for the stream in a slot; 0 for a vacant one, and one that was let go.
    public func owner(at index: UInt32) -> UInt64 {
        guard let state = unsafe state, let slot = unsafe state.pointee.streams.tenant(at: index),
            unsafe !state.pointee.streams[slot].isReleased
        else { return 0 }
        return unsafe state.pointee.streams[slot].owner
    }

    // MARK: Ends

    /// Says that no new streams will be taken soon; those on their way still are (§6.8).
    public mutating func announceShutdown() {
        guard let state = unsafe state else { return }
        _ = unsafe nghttp2_submit_shutdown_notice(state.pointee.native)
    }

    /// Takes no new streams from now on; those under way finish.
    public mutating func shutDown() {
        guard let state = unsafe state else { return }
        let last = unsafe nghttp2_session_get_last_proc_stream_id(state.pointee.native)
        _ = unsafe nghttp2_submit_goaway(state.pointee.native, 0, last, 0, nil, 0)
    }

    public mutating func ping() {
        guard let state = unsafe state else { return }
        _ = unsafe nghttp2_submit_ping(state.pointee.native, 0, nil)
    }
}

/// Codes of RFC 9113 §7 that this side sends.
public enum HTTP2Code: UInt32, Sendable, BitwiseCopyable {
    case none = 0, protocolError = 1, internalError = 2, refusedStream = 7, cancel = 8
}
