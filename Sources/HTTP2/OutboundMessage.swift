import Base
import CNGHTTP2
import HTTP1
import HTTPSemantics

/// What one worker needs to turn heads into header blocks; shared by its sessions.
@safe public struct HTTP2Workspace: ~Copyable {
    private let addressOnly = AddressOnly()
    var requestHead: RequestHead
    var responseHead: ResponseHead
    let fields: FixedArray<nghttp2_nv>
    let limits: HeadLimits

    /// - Parameter limits: of heads as they are read; what is sent may be larger by edits.
    public init(limits: HeadLimits) {
        let count = limits.fieldCountMax + 256
        requestHead = RequestHead(fieldCountMax: count)
        responseHead = ResponseHead(fieldCountMax: count)
        unsafe fields = FixedArray(repeating: nghttp2_nv(), count: count + 8)
        self.limits = HeadLimits(
            headBytesMax: limits.headBytesMax * 2 + 65_536, fieldCountMax: count)
    }
}

/// HTTP/1.1 text on its way to frames (RFC 9113 §8.3): the other half of `HeaderBlock`.
///
/// A head is always handed in whole; bodies come in any pieces.
enum OutboundMessage {
    /// Takes text for a stream.
    static func take(
        _ state: inout SessionState, _ slot: SlotID, _ text: Span<UInt8>,
        _ work: inout HTTP2Workspace
    ) {
        var at = 0
        var headEnd = 0
        while case .head = state.streams[slot].outbound, at < text.count {
            let rest = text.extracting(at..<text.count)
            guard let length = head(&state, slot, rest, &work) else {
                // Nothing here writes a head that its own parser refuses.
                preconditionFailure("a head that is handed in is whole and well-formed")
            }
            headEnd = at
            at += length
        }
        if case .body = state.streams[slot].outbound { body(&state, slot, text, &at, work.limits) }
        guard state.streams[slot].id >= 0 else { return }
        if !state.streams[slot].isSubmitted, case .head = state.streams[slot].outbound {
            return
        }
        if !state.streams[slot].isSubmitted {
            submit(&state, slot, text.extracting(headEnd..<text.count), &work)
        } else {
            resume(&state, slot)
        }
    }

    /// Content was added, or its end is known: frames may go out.
    static func resume(_ state: inout SessionState, _ slot: SlotID) {
        guard state.streams[slot].isDeferred else { return }
        state.streams[slot].isDeferred = false
        _ = unsafe nghttp2_session_resume_data(state.native, state.streams[slot].id)
    }

    // MARK: Heads

    /// Reads one head; a final one decides how the body ends.
    /// - Returns: its length.
    private static func head(
        _ state: inout SessionState, _ slot: SlotID, _ text: Span<UInt8>,
        _ work: inout HTTP2Workspace
    ) -> Int? {
        if state.isServer {
            var parser = ResponseHeadParser()
            guard
                case .complete(let length)? = try? parser.parse(
                    text, into: &work.responseHead, limits: work.limits)
            else { return nil }
            let status = work.responseHead.status
            if status < 200, status != 101 {
                interim(&state, slot, text, &work)
                return length
            }
            state.streams[slot].outbound = .body
            state.streams[slot].decoder = BodyDecoder(
                responseFraming(state.streams[slot], work.responseHead))
            return length
        }
        var parser = RequestHeadParser()
        guard
            case .complete(let length)? = try? parser.parse(
                text, into: &work.requestHead, limits: work.limits)
        else { return nil }
        state.streams[slot].outbound = .body
        state.streams[slot].isHeadRequest = work.requestHead.method == .head
        let isWebSocket = work.requestHead.options.upgrade
        state.streams[slot].isWebSocket = isWebSocket
        state.streams[slot].isTunnelRequest = isWebSocket || work.requestHead.method == .connect
        let isTunnel = state.streams[slot].isTunnelRequest
        state.streams[slot].decoder = BodyDecoder(
            isTunnel ? .untilClose : work.requestHead.framing)
        return length
    }

    private static func responseFraming(
        _ stream: borrowing HTTP2Stream, _ head: borrowing ResponseHead
    ) -> BodyFraming {
        if stream.isTunnelRequest, head.status == 101 || head.status < 300 { return .untilClose }
        if stream.isHeadRequest || Status.hasNoBody(head.status) { return .none }
        return head.framing
    }

    private static func interim(
        _ state: inout SessionState, _ slot: SlotID, _ text: Span<UInt8>,
        _ work: inout HTTP2Workspace
    ) {
        let id = state.streams[slot].id
        let native = unsafe state.native
        unsafe withResponseFields(text, &work, status: work.responseHead.status) { fields, count in
            _ = unsafe nghttp2_submit_headers(
                native, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, nil, fields, count, nil)
        }
    }

    // MARK: Bodies

    private static func body(
        _ state: inout SessionState, _ slot: SlotID, _ text: Span<UInt8>, _ at: inout Int,
        _ limits: HeadLimits
    ) {
        while true {
            guard
                let step = try? state.streams[slot].decoder.next(text, at: &at, limits: limits)
            else { preconditionFailure("a body that is handed in is well-formed") }
            switch step {
            case .content(let range):
                state.streams[slot].content.append(text.extracting(range.range))
                continue
            case .trailers(let section):
                state.streams[slot].trailers.append(text.extracting(section.range))
            case .complete: break
            case .incomplete:
                precondition(at == text.count, "pieces of a coding are handed in whole")
                return
            }
            state.streams[slot].isComplete = true
            state.streams[slot].outbound = .ended
            return
        }
    }

    // MARK: Submitting

    private static func submit(
        _ state: inout SessionState, _ slot: SlotID, _ head: Span<UInt8>,
        _ work: inout HTTP2Workspace
    ) {
        state.streams[slot].isSubmitted = true
        let isBodyless =
            state.streams[slot].isComplete && state.streams[slot].content.isEmpty
            && state.streams[slot].trailers.isEmpty
        var provider = unsafe nghttp2_data_provider()
        unsafe provider.source.ptr = SessionState.key(slot)
        unsafe provider.read_callback = onReadData
        let native = unsafe state.native
        guard state.isServer else {
            return unsafe request(&state, slot, head, &work, isBodyless: isBodyless, provider)
        }
        let id = state.streams[slot].id
        let status = work.responseHead.status == 101 ? 200 : work.responseHead.status
        unsafe withResponseFields(head, &work, status: status) { fields, count in
            if isBodyless {
                _ = unsafe nghttp2_submit_response(native, id, fields, count, nil)
            } else {
                _ = unsafe withUnsafePointer(to: provider) {
                    unsafe nghttp2_submit_response(native, id, fields, count, $0)
                }
            }
        }
    }

    private static func request(
        _ state: inout SessionState, _ slot: SlotID, _ head: Span<UInt8>,
        _ work: inout HTTP2Workspace, isBodyless: Bool, _ provider: nghttp2_data_provider
    ) {
        let native = unsafe state.native
        let key = unsafe SessionState.key(slot)
        if state.streams[slot].isWebSocket, let field = work.requestHead.webSocketKey(head) {
            state.streams[slot].webSocketAccept = WebSocketAccept(
                key: head.extracting(field.range))
        }
        var id: Int32 = -1
        unsafe withRequestFields(head, &work, state.streams[slot].isWebSocket, state.isSecure) {
            fields, count in
            if isBodyless {
                id = unsafe nghttp2_submit_request(native, nil, fields, count, nil, key)
            } else {
                id = unsafe withUnsafePointer(to: provider) {
                    unsafe nghttp2_submit_request(native, nil, fields, count, $0, key)
                }
            }
        }
        state.streams[slot].id = id
        if id < 0 {
            // No stream numbers are left: as good as refused.
            state.streams[slot].isClosed = true
            state.events.append(.closed(stream: slot, code: 7, isUnprocessed: true))
        }
    }

    static func submitTrailers(_ state: inout SessionState, _ slot: SlotID) {
        let section = state.streams[slot].trailers.readable
        let fields = unsafe FixedArray(repeating: nghttp2_nv(), count: 256)
        var count = 0
        var at = 0
        unsafe section.withUnsafeBufferPointer { bytes in
            while at < section.count, count < 256,
                case .field(let field, let next)? = try? FieldLineParser.line(section, at: at)
            {
                if !field.known.isHopByHop {
                    unsafe put(bytes, field.name, field.value, fields, &count)
                }
                at = next
            }
            _ = unsafe fields.withPointer {
                unsafe nghttp2_submit_trailer(state.native, state.streams[slot].id, $0, count)
            }
        }
    }

    // MARK: Fields

    private static func put(
        _ bytes: UnsafeBufferPointer<UInt8>, _ name: ByteRange, _ value: ByteRange,
        _ fields: borrowing FixedArray<nghttp2_nv>, _ count: inout Int
    ) {
        guard let base = bytes.baseAddress, unsafe count < fields.count else { return }
        unsafe fields[count] = nghttp2_nv(
            name: UnsafeMutablePointer(mutating: base + name.lower),
            value: UnsafeMutablePointer(mutating: base + value.lower),
            namelen: name.length, valuelen: value.length, flags: 0)
        count += 1
    }

    private static func put(
        _ name: StaticString, _ bytes: UnsafeBufferPointer<UInt8>, _ value: ByteRange,
        _ fields: borrowing FixedArray<nghttp2_nv>, _ count: inout Int
    ) {
        guard let base = bytes.baseAddress, unsafe count < fields.count else { return }
        unsafe fields[count] = nghttp2_nv(
            name: UnsafeMutablePointer(mutating: name.utf8Start),
            value: UnsafeMutablePointer(mutating: base + value.lower),
            namelen: name.utf8CodeUnitCount, valuelen: value.length, flags: 0)
        count += 1
    }

    private static func put(
        _ name: StaticString, _ value: StaticString,
        _ fields: borrowing FixedArray<nghttp2_nv>, _ count: inout Int
    ) {
        unsafe fields[count] = nghttp2_nv(
            name: UnsafeMutablePointer(mutating: name.utf8Start),
            value: UnsafeMutablePointer(mutating: value.utf8Start),
            namelen: name.utf8CodeUnitCount, valuelen: value.utf8CodeUnitCount, flags: 0)
        count += 1
    }

    private static func withResponseFields(
        _ text: Span<UInt8>, _ work: inout HTTP2Workspace, status: UInt16,
        _ body: (UnsafePointer<nghttp2_nv>, Int) -> Void
    ) {
        let digits: InlineArray<3, UInt8> = [
            UInt8(truncatingIfNeeded: 0x30 + status / 100),
            UInt8(truncatingIfNeeded: 0x30 + status / 10 % 10),
            UInt8(truncatingIfNeeded: 0x30 + status % 10),
        ]
        var count = 0
        let all = work.responseHead.fields.count
        unsafe text.withUnsafeBufferPointer { bytes in
            unsafe digits.span.withUnsafeBufferPointer { digits in
                unsafe put(
                    ":status", digits, ByteRange(start: 0, count: 3),
                    work.fields, &count)
                for i in 0..<all {
                    let field = work.responseHead.fields[i]
                    // Another version's framing and connection have no meaning here (§8.2.2).
                    if field.known.isHopByHop { continue }
                    if status == 200, work.responseHead.status == 101,
                        field.value.length == 28,
                        ASCII.equalFold(
                            text.extracting(field.name.range), "sec-websocket-accept")
                    {
                        continue
                    }
                    unsafe put(bytes, field.name, field.value, work.fields, &count)
                }
                unsafe work.fields.withPointer { unsafe body(UnsafePointer($0), count) }
            }
        }
    }

    private static func withRequestFields(
        _ text: Span<UInt8>, _ work: inout HTTP2Workspace, _ isWebSocket: Bool, _ isSecure: Bool,
        _ body: (UnsafePointer<nghttp2_nv>, Int) -> Void
    ) {
        var count = 0
        let isConnect = work.requestHead.method == .connect
        let all = work.requestHead.fields.count
        unsafe text.withUnsafeBufferPointer { bytes in
            if isWebSocket {
                unsafe put(":method", "CONNECT", work.fields, &count)
                unsafe put(":protocol", "websocket", work.fields, &count)
            } else {
                unsafe put(":method", bytes, work.requestHead.methodName, work.fields, &count)
            }
            if !isConnect {
                unsafe put(":scheme", isSecure ? "https" : "http", work.fields, &count)
                unsafe put(":path", bytes, work.requestHead.target, work.fields, &count)
            }
            unsafe put(":authority", bytes, work.requestHead.authority, work.fields, &count)
            var isGRPC = false
            for i in 0..<all {
                let field = work.requestHead.fields[i]
                if field.known == .host || field.known.isHopByHop { continue }
                let name = text.extracting(field.name.range)
                if isWebSocket, ASCII.equalFold(name, "sec-websocket-key") { continue }
                if field.known == .contentType {
                    isGRPC = GRPC.isContentType(text.extracting(field.value.range))
                }
                unsafe put(bytes, field.name, field.value, work.fields, &count)
            }
            // Trailers are passed on here, and gRPC servers ask to be told so.
            if isGRPC { unsafe put("te", "trailers", work.fields, &count) }
            unsafe work.fields.withPointer { unsafe body(UnsafePointer($0), count) }
        }
    }
}

extension RequestHead {
    /// The value of `Sec-WebSocket-Key`, if there is one.
    borrowing func webSocketKey(_ text: Span<UInt8>) -> ByteRange? {
        for i in 0..<fields.count
        where ASCII.equalFold(text.extracting(fields[i].name.range), "sec-websocket-key") {
            return fields[i].value
        }
        return nil
    }
}
