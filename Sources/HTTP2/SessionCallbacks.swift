import Base
import CNGHTTP2

/// nghttp2's callbacks: C's words on one side, `SessionState` on the other. They only note down.
enum SessionCallbacks {
    /// The table of callbacks, made once; every session copies it.
    @safe final class Table: @unchecked Sendable {
        let native: OpaquePointer

        init() {
            var made: OpaquePointer?
            precondition(unsafe nghttp2_session_callbacks_new(&made) == 0, "memory")
            guard let made = unsafe made else { preconditionFailure("memory") }
            unsafe native = made
            unsafe nghttp2_session_callbacks_set_on_begin_frame_callback(native, onBeginFrame)
            unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(native, onBeginHeaders)
            unsafe nghttp2_session_callbacks_set_on_header_callback(native, onHeader)
            unsafe nghttp2_session_callbacks_set_on_invalid_header_callback(
                native, onInvalidHeader)
            unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(native, onFrame)
            unsafe nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(
                native, onInvalidFrame)
            unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(native, onData)
            unsafe nghttp2_session_callbacks_set_on_stream_close_callback(native, onClose)
            unsafe nghttp2_session_callbacks_set_on_frame_send_callback(native, onFrameSent)
            unsafe nghttp2_session_callbacks_set_send_data_callback(native, onSendData)
        }
    }

    static let table = Table()

    /// Lets a session be made with the options that limits ask for.
    static func withOptions<Result>(
        _ limits: HTTP2Limits, _ body: (OpaquePointer) -> Result
    ) -> Result {
        var made: OpaquePointer?
        precondition(unsafe nghttp2_option_new(&made) == 0, "memory")
        guard let options = unsafe made else { preconditionFailure("memory") }
        defer { unsafe nghttp2_option_del(options) }
        // Windows are credited as bytes leave.
        unsafe nghttp2_option_set_no_auto_window_update(options, 1)
        unsafe nghttp2_option_set_no_closed_streams(options, 1)
        unsafe nghttp2_option_set_max_continuations(options, limits.continuationsMax)
        unsafe nghttp2_option_set_max_outbound_ack(options, limits.queuedControlFramesMax)
        unsafe nghttp2_option_set_max_settings(options, 32)
        // Ours counts, and says why.
        unsafe nghttp2_option_set_stream_reset_rate_limit(options, 1 << 40, 1 << 40)
        unsafe nghttp2_option_set_peer_max_concurrent_streams(options, 100)
        return unsafe body(options)
    }
}

private func state(_ user: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<SessionState> {
    guard let user = unsafe user else { preconditionFailure("a session has its state") }
    return unsafe user.assumingMemoryBound(to: SessionState.self)
}

private let onBeginFrame: nghttp2_on_begin_frame_callback = { _, header, user in
    guard let header = unsafe header else { return 0 }
    unsafe state(user).pointee.beganFrame(
        type: header.pointee.type, flags: header.pointee.flags, length: header.pointee.length)
    return 0
}

private let onBeginHeaders: nghttp2_on_begin_headers_callback = { _, frame, user in
    guard let frame = unsafe frame else { return 0 }
    let isTaken = unsafe state(user).pointee.beginHeaders(
        frame.pointee.headers.cat, id: frame.pointee.hd.stream_id)
    return isTaken ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
}

private let onHeader: nghttp2_on_header_callback = {
    _, frame, name, nameCount, value, valueCount, _, user in
    let name = unsafe Span(
        _unsafeElements: UnsafeBufferPointer(start: name, count: nameCount))
    let value = unsafe Span(
        _unsafeElements: UnsafeBufferPointer(start: value, count: valueCount))
    let state = unsafe state(user)
    let limits = unsafe state.pointee.limits
    unsafe state.pointee.block.add(name, value, limits: limits)
    return 0
}

/// A field that nghttp2 itself finds invalid makes the message malformed (RFC 9113 §8.2.1).
private let onInvalidHeader: nghttp2_on_invalid_header_callback = {
    _, _, _, _, _, _, _, user in
    unsafe state(user).pointee.block.spoil()
    return 0
}

private let onFrame: nghttp2_on_frame_recv_callback = { _, frame, user in
    guard let frame = unsafe frame else { return 0 }
    let header = unsafe frame.pointee.hd
    let isEnd = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    let state = unsafe state(user)
    switch UInt32(header.type) {
    case NGHTTP2_HEADERS.rawValue: unsafe state.pointee.endHeaders(isEnd: isEnd)
    case NGHTTP2_DATA.rawValue:
        if isEnd {
            let slot = unsafe state.pointee.slot(header.stream_id)
            unsafe state.pointee.end(slot, hasTrailers: false)
        }
    case NGHTTP2_GOAWAY.rawValue:
        unsafe state.pointee.isGoingAway = true
        unsafe state.pointee.events.append(.goingAway)
    case NGHTTP2_SETTINGS.rawValue:
        if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0 {
            unsafe state.pointee.events.append(.settings)
        }
    default: break
    }
    return 0
}

/// A frame that the library refuses, and answers with a reset or the connection's end.
private let onInvalidFrame: nghttp2_on_invalid_frame_recv_callback = { _, frame, _, user in
    guard let frame = unsafe frame else { return 0 }
    let state = unsafe state(user)
    let slot = unsafe state.pointee.slot(frame.pointee.hd.stream_id)
    unsafe state.pointee.events.append(.malformed(stream: slot))
    return 0
}

private let onData: nghttp2_on_data_chunk_recv_callback = { _, _, id, data, count, user in
    let state = unsafe state(user)
    let slot = unsafe state.pointee.slot(id)
    guard unsafe state.pointee.streams.holds(slot) else { return 0 }
    let bytes = unsafe Span(_unsafeElements: UnsafeBufferPointer(start: data, count: count))
    unsafe state.pointee.data(slot, bytes)
    return 0
}

private let onClose: nghttp2_on_stream_close_callback = { _, id, code, user in
    let state = unsafe state(user)
    let slot = unsafe state.pointee.slot(id)
    unsafe state.pointee.closed(slot, code: code)
    return 0
}

private let onFrameSent: nghttp2_on_frame_send_callback = { _, frame, user in
    guard let frame = unsafe frame else { return 0 }
    let header = unsafe frame.pointee.hd
    var code: UInt32 = 0
    if UInt32(header.type) == NGHTTP2_RST_STREAM.rawValue {
        code = unsafe frame.pointee.rst_stream.error_code
    } else if UInt32(header.type) == NGHTTP2_GOAWAY.rawValue {
        code = unsafe frame.pointee.goaway.error_code
    }
    unsafe state(user).pointee.sentFrame(
        type: header.type, id: header.stream_id,
        isEnd: header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0, code: code)
    return 0
}

/// Where a stream's DATA comes from: how much there is; `onSendData` takes it.
let onReadData: nghttp2_data_source_read_callback = { _, _, _, room, flags, source, user in
    let state = unsafe state(user)
    guard let source = unsafe source, let flags = unsafe flags else { return 0 }
    let slot = unsafe SessionState.slot(source.pointee.ptr)
    guard unsafe state.pointee.streams.holds(slot),
        let offer = unsafe state.pointee.offer(slot, atMost: room)
    else { return Int(NGHTTP2_ERR_DEFERRED.rawValue) }
    var bits = NGHTTP2_DATA_FLAG_NO_COPY.rawValue
    if offer.isEnd {
        bits |= NGHTTP2_DATA_FLAG_EOF.rawValue
        if unsafe !state.pointee.streams[slot].trailers.isEmpty {
            bits |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
            unsafe OutboundMessage.submitTrailers(&state.pointee, slot)
        }
    }
    unsafe flags.pointee = bits
    return offer.count
}

private let onSendData: nghttp2_send_data_callback = { _, _, header, count, source, user in
    let state = unsafe state(user)
    guard let source = unsafe source, let header = unsafe header else { return 0 }
    let slot = unsafe SessionState.slot(source.pointee.ptr)
    guard unsafe state.pointee.streams.holds(slot) else {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
    }
    let bytes = unsafe Span(_unsafeElements: UnsafeBufferPointer(start: header, count: 9))
    let isWritten = unsafe state.pointee.writeData(slot, header: bytes, count: count)
    return isWritten ? 0 : NGHTTP2_ERR_WOULDBLOCK.rawValue
}
