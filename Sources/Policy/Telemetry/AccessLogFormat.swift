import Base
import HTTPSemantics

/// The forms of an access-log line. What came from the network is escaped, always.
public enum AccessLogFormat: UInt8, Sendable, BitwiseCopyable {
    case json, envoy, combined

    /// Names that a line needs beside the summary; ranges of the same text.
    public struct Names: BitwiseCopyable, Sendable {
        public var route = ByteRange.empty
        public var service = ByteRange.empty
        public var version = ByteRange.empty
        public init() {}
    }

    /// Appends one line with its newline.
    ///
    /// - Parameters:
    ///   - second: the line's time up to its fraction (`HTTPDate.appendRFC3339(second:to:)`).
    ///   - text: what the summary's ranges refer to.
    ///   - names: what `labels`' ranges refer to.
    public func append(
        _ summary: borrowing ExchangeSummary, second: Span<UInt8>, text: Span<UInt8>, labels: Names,
        names: Span<UInt8>, to out: inout ByteBuffer
    ) {
        switch self {
        case .json: AccessLogFormat.json(summary, second, text, labels, names, &out)
        case .envoy: AccessLogFormat.envoy(summary, second, text, &out)
        case .combined: AccessLogFormat.combined(summary, text, &out)
        }
        out.append(UInt8(ascii: "\n"))
    }

    // MARK: JSON

    private static func json(
        _ s: borrowing ExchangeSummary, _ second: Span<UInt8>, _ text: Span<UInt8>, _ labels: Names,
        _ names: Span<UInt8>, _ out: inout ByteBuffer
    ) {
        out.reserve(1_024)
        out.append("{\"time\":\"")
        out.append(second)
        HTTPDate.appendRFC3339(fraction: s.arrival, to: &out)
        // A method is a token, and names of the configuration are letters, digits, "-_./".
        out.append("\",\"method\":\"")
        out.append(text.extracting(s.method.range))
        out.append("\",\"authority\":")
        quoted(text.extracting(s.authority.range), &out)
        out.append(",\"path\":")
        quoted(text.extracting(s.target.range), &out)
        out.append(",\"protocol\":\"")
        out.append(s.protocol.label)
        if s.tlsVersion != 0 {
            out.append("\",\"tls\":\"1.")
            out.append(0x30 &+ s.tlsVersion)
        }
        out.append("\",\"status\":")
        out.appendDecimal(UInt64(s.status))
        out.append(",\"flags\":\"")
        s.flags.append(to: &out)
        out.append("\",\"route\":\"")
        out.append(names.extracting(labels.route.range))
        out.append("\",\"service\":\"")
        out.append(names.extracting(labels.service.range))
        out.append("\",\"version\":\"")
        out.append(names.extracting(labels.version.range))
        out.append("\",\"assign\":\"")
        out.append(s.assign.label)
        out.append("\",\"draw\":")
        if s.draw == .max { out.append("null") } else { out.appendDecimal(s.draw) }
        out.append(",\"attempts\":")
        out.appendDecimal(UInt64(s.attempts))
        out.append(",\"endpoint\":")
        appendEndpoint(s, &out)
        out.append(",\"peer\":\"")
        s.peer.appendHost(to: &out)
        out.append("\",\"client\":\"")
        s.client.appendHost(to: &out)
        out.append("\",\"bytesReceived\":")
        out.appendDecimal(s.bytesReceived)
        out.append(",\"bytesSent\":")
        out.appendDecimal(s.bytesSent)
        out.append(",\"durationMicros\":")
        out.appendDecimal(UInt64(max(0, s.duration.microseconds)))
        out.append(",\"firstByteMicros\":")
        if s.firstByte.nanoseconds < 0 {
            out.append("null")
        } else {
            out.appendDecimal(UInt64(s.firstByte.microseconds))
        }
        if s.grpcStatus >= 0 {
            out.append(",\"grpcStatus\":")
            out.appendDecimal(UInt64(s.grpcStatus))
        }
        if s.cause != .none {
            out.append(",\"error\":\"")
            out.append(s.cause.label)
            out.append("\"")
        }
        optional(",\"requestId\":", s.requestID, text, &out)
        optional(",\"userAgent\":", s.userAgent, text, &out)
        optional(",\"referer\":", s.referer, text, &out)
        optional(",\"forwardedFor\":", s.forwardedFor, text, &out)
        optional(",\"traceparent\":", s.traceparent, text, &out)
        out.append(UInt8(ascii: "}"))
    }

    private static func optional(
        _ key: StaticString, _ range: ByteRange, _ text: Span<UInt8>, _ out: inout ByteBuffer
    ) {
        if range.isEmpty { return }
        out.append(key)
        quoted(text.extracting(range.range), &out)
    }

    private static func appendEndpoint(_ s: borrowing ExchangeSummary, _ out: inout ByteBuffer) {
        guard let endpoint = s.endpoint else { return out.append("null") }
        out.append(UInt8(ascii: "\""))
        appendAddress(endpoint, &out)
        out.append(UInt8(ascii: "\""))
    }

    private static func appendAddress(_ address: Address, _ out: inout ByteBuffer) {
        if address.family == .ipv6 { out.append(UInt8(ascii: "[")) }
        address.appendHost(to: &out)
        if address.family == .ipv6 { out.append(UInt8(ascii: "]")) }
        if address.family != .unix {
            out.append(UInt8(ascii: ":"))
            out.appendDecimal(UInt64(address.port))
        }
    }

    /// A JSON string (RFC 8259 §7). Bytes above 127 are escaped one by one, as if Latin-1: a log
    /// line is ASCII whatever the client sent.
    public static func quoted(_ bytes: Span<UInt8>, _ out: inout ByteBuffer) {
        out.append(UInt8(ascii: "\""))
        var start = 0
        while true {
            let i = start + ASCII.plainTextLength(bytes.extracting(start..<bytes.count))
            out.append(bytes.extracting(start..<i))
            if i == bytes.count { break }
            let b = bytes[i]
            start = i + 1
            if b == 0x22 || b == 0x5c {
                out.append(UInt8(0x5c))
                out.append(b)
            } else {
                out.append("\\u00")
                out.appendHex(UInt64(b), width: 2)
            }
        }
        out.append(UInt8(ascii: "\""))
    }

    // MARK: Text

    /// Escapes text for quoted fields of text lines: control bytes, quotes and backslashes as \xHH.
    private static func escaped(_ range: ByteRange, _ text: Span<UInt8>, _ out: inout ByteBuffer) {
        if range.isEmpty { return out.append(UInt8(ascii: "-")) }
        var start = range.lower
        while true {
            let rest = text.extracting(start..<range.upper)
            let i = start + ASCII.plainTextLength(rest)
            out.append(text.extracting(start..<i))
            if i == range.upper { break }
            out.append("\\x")
            out.appendHex(UInt64(text[i]), width: 2)
            start = i + 1
        }
    }

    /// Envoy's default format (its `access_log` documentation, "Default format string").
    private static func envoy(
        _ s: borrowing ExchangeSummary, _ second: Span<UInt8>, _ text: Span<UInt8>,
        _ out: inout ByteBuffer
    ) {
        out.append("[")
        out.append(second)
        HTTPDate.appendRFC3339(fraction: s.arrival, to: &out)
        out.append("] \"")
        requestLine(s, text, &out)
        out.append("\" ")
        out.appendDecimal(UInt64(s.status))
        out.append(UInt8(0x20))
        s.flags.append(to: &out)
        out.append(UInt8(0x20))
        out.appendDecimal(s.bytesReceived)
        out.append(UInt8(0x20))
        out.appendDecimal(s.bytesSent)
        out.append(UInt8(0x20))
        out.appendDecimal(UInt64(max(0, s.duration.microseconds)) / 1_000)
        out.append(UInt8(0x20))
        if s.firstByte.nanoseconds < 0 {
            out.append(UInt8(ascii: "-"))
        } else {
            out.appendDecimal(UInt64(s.firstByte.microseconds) / 1_000)
        }
        let quoted: InlineArray<4, ByteRange> = [
            s.forwardedFor, s.userAgent, s.requestID, s.authority,
        ]
        for i in 0..<4 {
            let range = quoted[i]
            out.append(" \"")
            escaped(range, text, &out)
            out.append(UInt8(ascii: "\""))
        }
        out.append(" \"")
        if let endpoint = s.endpoint { appendAddress(endpoint, &out) } else { out.append("-") }
        out.append(UInt8(ascii: "\""))
    }

    private static func requestLine(
        _ s: borrowing ExchangeSummary, _ text: Span<UInt8>, _ out: inout ByteBuffer
    ) {
        escaped(s.method, text, &out)
        out.append(UInt8(0x20))
        escaped(s.target, text, &out)
        out.append(UInt8(0x20))
        out.append(s.protocol.label)
    }

    /// Apache's combined log format.
    private static func combined(
        _ s: borrowing ExchangeSummary, _ text: Span<UInt8>, _ out: inout ByteBuffer
    ) {
        s.client.appendHost(to: &out)
        out.append(" - - [")
        HTTPDate.appendCommonLog(s.arrival, to: &out)
        out.append("] \"")
        requestLine(s, text, &out)
        out.append("\" ")
        out.appendDecimal(UInt64(s.status))
        out.append(UInt8(0x20))
        out.appendDecimal(s.bytesSent)
        out.append(" \"")
        escaped(s.referer, text, &out)
        out.append("\" \"")
        escaped(s.userAgent, text, &out)
        out.append(UInt8(ascii: "\""))
    }
}
