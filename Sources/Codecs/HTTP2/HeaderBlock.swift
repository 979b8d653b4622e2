import Base
import HTTPSemantics

/// A header block on its way from HTTP/2 fields to HTTP/1.1 text (RFC 9113 §8.2 and §8.3).
///
/// A connection has one block at a time (§4.3), and so one of these. The text is canonical: `name:
/// value CRLF`, nothing that could end a line early, one authority, one length. The HTTP/1.1 parser
/// reads all of it once more, so that no message means two things.
package struct HeaderBlock: ~Copyable {
    package enum Kind: BitwiseCopyable { case request, response, trailers }

    private(set) var kind = Kind.request
    private(set) var stream = StreamSlot.none
    package private(set) var isMalformed = false
    private(set) var isTooLarge = false
    private(set) var contentLength: UInt64?
    private(set) var isGRPC = false
    /// Whether the message says that trailers follow.
    private(set) var announcesTrailers = false
    private(set) var method = ByteRange.empty
    private(set) var scheme = ByteRange.empty
    private(set) var authority = ByteRange.empty
    private(set) var path = ByteRange.empty
    private(set) var `protocol` = ByteRange.empty
    /// The status, 100...999 once `:status` was read.
    private(set) var status: UInt16 = 0
    private var answersWebSocket = false
    private var hasFirstLine = false
    private var hasHost = false
    /// Whether a pseudo-field was seen.
    private(set) var hasPseudo = false
    private var fieldCount = 0
    private var listBytes = 0
    /// Pseudo-header values until the first line can be written.
    var pseudo = ByteBuffer()
    /// The crumbs of the Cookie field, joined (§8.2.3).
    private var cookies = ByteBuffer()
    /// The text so far. Kept here, because a block may come in several reads.
    private(set) var text = ByteBuffer()

    package init() {}

    /// - Parameter isWebSocket: a response to the extended CONNECT of RFC 8441.
    package mutating func begin(_ kind: Kind, _ stream: StreamSlot, isWebSocket: Bool = false) {
        self.kind = kind
        answersWebSocket = isWebSocket
        self.stream = stream
        text.clear(keepingAtMost: 16_384)
        isMalformed = false
        isTooLarge = false
        contentLength = nil
        isGRPC = false
        announcesTrailers = false
        method = .empty
        scheme = .empty
        authority = .empty
        path = .empty
        `protocol` = .empty
        status = 0
        hasFirstLine = kind == .trailers
        hasHost = false
        hasPseudo = false
        fieldCount = 0
        listBytes = 0
        pseudo.clear(keepingAtMost: 4_096)
        cookies.clear(keepingAtMost: 4_096)
    }

    /// Whether the response accepts a WebSocket: 2xx here, written as 101.
    var isTunnelAccepted: Bool { answersWebSocket && (200..<300).contains(status) }

    var isConnect: Bool { method.length == 7 && ASCII.equal(pseudo.span(method), "CONNECT") }
    var isHead: Bool { method.length == 4 && ASCII.equal(pseudo.span(method), "HEAD") }
    var isWebSocket: Bool { isConnect && ASCII.equal(pseudo.span(`protocol`), "websocket") }

    /// Whether the method is POST, PUT or PATCH: without content such a request gets
    /// `content-length: 0` (RFC 9110 §8.6).
    var anticipatesContent: Bool {
        let name = pseudo.span(method)
        return !name.isEmpty && name[0] == UInt8(ascii: "P")
            && (ASCII.equal(name, "POST") || ASCII.equal(name, "PUT")
                || ASCII.equal(name, "PATCH"))
    }

    /// Whether the trailers are more than nothing.
    var hasText: Bool { isTooLarge || !text.isEmpty }

    // MARK: Fields

    /// Refuses the block: its list is longer than our settings allow. Its fields are still decoded,
    /// so that the HPACK tables of both sides agree.
    mutating func refuse() { isTooLarge = true }

    mutating func add(
        _ name: Span<UInt8>, _ value: Span<UInt8>, limits: HTTP2Limits
    ) {
        if isMalformed { return }
        listBytes &+= name.count &+ value.count &+ 32
        if listBytes > limits.headerListBytesMax { isTooLarge = true }
        if isTooLarge { return noteType(name, value) }
        guard !name.isEmpty else { return isMalformed = true }
        // Field values: no control bytes, no blanks around them (§8.2.1).
        guard ASCII.valueLength(value) == value.count, !HeaderBlock.hasOuterBlank(value) else {
            return isMalformed = true
        }
        if name[0] == UInt8(ascii: ":") { return addPseudo(name, value) }
        guard HeaderBlock.isLowerToken(name) else { return isMalformed = true }
        if !hasFirstLine { writeFirstLine() }
        if isMalformed { return }
        addField(name, value, limits)
    }

    /// Notes whether the list is a gRPC call's, of a refused list too: that refusal is told in
    /// trailers.
    @inline(never)
    private mutating func noteType(_ name: Span<UInt8>, _ value: Span<UInt8>) {
        if ASCII.equal(name, "content-type") { isGRPC = GRPC.isContentType(value) }
    }

    private static func hasOuterBlank(_ value: Span<UInt8>) -> Bool {
        let count = value.count
        return count > 0 && (ASCII.isBlank(value[0]) || ASCII.isBlank(value[count &- 1]))
    }

    @inline(__always)
    private static func isLowerToken(_ name: Span<UInt8>) -> Bool {
        guard ASCII.tokenLength(name) == name.count else { return false }
        for i in 0..<name.count where name[i] &- 0x41 < 26 { return false }
        return true
    }

    @inline(__always)
    private mutating func addField(
        _ name: Span<UInt8>, _ value: Span<UInt8>, _ limits: HTTP2Limits
    ) {
        let known = KnownField.intern(name)
        // Crumbs are one field (§8.2.3).
        if known != .cookie || kind != .request || cookies.isEmpty {
            fieldCount &+= 1
            if fieldCount > limits.fieldCountMax { return isTooLarge = true }
        }
        switch known {
        // Connection-specific fields have no meaning here (§8.2.2).
        case .connection, .transferEncoding, .upgrade, .keepAlive, .proxyConnection:
            return isMalformed = true
        case .te:
            if !ASCII.equalFold(value, "trailers") { isMalformed = true }
            return
        case .http2Settings: return
        case .host where kind == .request: return addHost(value)
        case .cookie where kind == .request:
            if !cookies.isEmpty { cookies.append("; ") }
            return cookies.append(value)
        case .contentLength where kind != .trailers:
            guard contentLength == nil, let length = ASCII.decimal(value) else {
                return isMalformed = true
            }
            // Written at the end, when it is known how the body is framed.
            return contentLength = length
        case .trailer: announcesTrailers = true
        case .contentType:
            isGRPC = GRPC.isContentType(value)
        case .expect where kind == .request && !ASCII.equalFold(value, "100-continue"):
            return isMalformed = true
        default: break
        }
        text.reserve(name.count &+ value.count &+ 4)
        text.append(name)
        text.append(": ")
        text.append(value)
        text.append("\r\n")
    }

    private mutating func addPseudo(_ name: Span<UInt8>, _ value: Span<UInt8>) {
        hasPseudo = true
        guard !hasFirstLine, kind != .trailers else { return isMalformed = true }
        let start = pseudo.writerIndex
        pseudo.append(value)
        let range = ByteRange(start, end: pseudo.writerIndex)
        if kind == .response {
            guard ASCII.equal(name, ":status"), status == 0, value.count == 3,
                let code = ASCII.decimal(value), code >= 100
            else { return isMalformed = true }
            return status = UInt16(code)
        }
        guard !value.isEmpty, HeaderBlock.isVisible(value) else { return isMalformed = true }
        // Each at most once.
        switch (name.count, name[name.count - 1]) {
        case (7, UInt8(ascii: "d")) where ASCII.equal(name, ":method") && method.isEmpty:
            method = range
        case (5, UInt8(ascii: "h")) where ASCII.equal(name, ":path") && path.isEmpty:
            path = range
        case (10, UInt8(ascii: "y")) where ASCII.equal(name, ":authority") && authority.isEmpty:
            authority = range
            // What `host` is in HTTP/1.1.
            fieldCount &+= 1
        case (7, UInt8(ascii: "e")) where ASCII.equal(name, ":scheme") && scheme.isEmpty:
            scheme = range
        case (9, UInt8(ascii: "l")) where ASCII.equal(name, ":protocol") && `protocol`.isEmpty:
            `protocol` = range
        default: isMalformed = true
        }
    }

    /// Nothing but bytes that show: no blank, and no control byte, which the value's check refuses.
    private static func isVisible(_ value: Span<UInt8>) -> Bool {
        ASCII.index(of: 0x20, in: value) == nil && ASCII.index(of: 0x09, in: value) == nil
    }

    // MARK: Lines

    private mutating func writeFirstLine() {
        hasFirstLine = true
        if kind == .response {
            // 101 has no place in HTTP/2 (§8.6).
            guard status != 0, status != 101 else { return isMalformed = true }
            let code = isTunnelAccepted ? 101 : status
            text.append("HTTP/1.1 ")
            text.appendDecimal(UInt64(code))
            text.append(UInt8(0x20))
            text.append(Status.reason(code))
            text.append("\r\n")
            return
        }
        guard isValidTarget else { return isMalformed = true }
        if isWebSocket {
            // RFC 8441 §5, as the HTTP/1.1 handshake that it stands for.
            text.append("GET")
        } else {
            text.append(pseudo.span(method))
        }
        text.append(UInt8(0x20))
        text.append(pseudo.span(isConnect && !isWebSocket ? authority : path))
        text.append(" HTTP/1.1\r\n")
        if !authority.isEmpty {
            text.append("host: ")
            text.append(pseudo.span(authority))
            text.append("\r\n")
            hasHost = true
        }
    }

    /// Whether the pseudo-fields of a request go together (RFC 9113 §8.3.1 and §8.5, RFC 8441 §4).
    private var isValidTarget: Bool {
        let name = pseudo.span(method)
        guard !name.isEmpty, ASCII.tokenLength(name) == name.count else { return false }
        if isConnect, `protocol`.isEmpty {
            return !authority.isEmpty && path.isEmpty && scheme.isEmpty
        }
        if !`protocol`.isEmpty, !isWebSocket { return false }
        guard !path.isEmpty, !scheme.isEmpty else { return false }
        let target = pseudo.span(path)
        if target[0] == UInt8(ascii: "/") { return true }
        return target.count == 1 && target[0] == UInt8(ascii: "*")
            && ASCII.equal(name, "OPTIONS")
    }

    /// One authority: a Host beside `:authority` must say the same (§8.3.1).
    private mutating func addHost(_ value: Span<UInt8>) {
        if hasHost {
            guard !authority.isEmpty, ASCII.equalFold(value, pseudo.span(authority)) else {
                return isMalformed = true
            }
            fieldCount &-= 1
            return
        }
        hasHost = true
        text.append("host: ")
        text.append(value)
        text.append("\r\n")
    }

    /// The block is all there: completes its text but for framing and the empty line.
    mutating func finish() {
        if isMalformed || isTooLarge { return }
        if !hasFirstLine { writeFirstLine() }
        if kind == .request, !hasHost { isMalformed = true }
        if isMalformed { return }
        if !cookies.isEmpty {
            text.append("cookie: ")
            text.append(cookies.readable)
            text.append("\r\n")
        }
    }
}
