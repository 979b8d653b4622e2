import Base
import HTTPSemantics

/// The forms of an access-log line that are written by hand. What came from the network is escaped,
/// always.
public enum AccessLogFormat {
    /// Names that a line needs beside the summary; ranges of the same text.
    public struct Names: BitwiseCopyable, Sendable {
        public var route = ByteRange.empty
        public var service = ByteRange.empty
        public var version = ByteRange.empty
        public init() {}
    }

    // MARK: JSON

    static func json(
        _ s: borrowing ExchangeSummary, _ source: LogSource, _ labels: Names,
        violation: StaticString, _ out: inout ByteBuffer
    ) {
        let text = source.text
        out.reserve(1_024)
        out.append("{\"time\":\"")
        out.append(source.second)
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
        out.append(source.names.extracting(labels.route.range))
        out.append("\",\"service\":\"")
        out.append(source.names.extracting(labels.service.range))
        out.append("\",\"version\":\"")
        out.append(source.names.extracting(labels.version.range))
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
        optionals(s, text, violation, &out)
        out.append(UInt8(ascii: "}"))
    }

    /// Keys that are left out where nothing is there.
    private static func optionals(
        _ s: borrowing ExchangeSummary, _ text: Span<UInt8>, _ violation: StaticString,
        _ out: inout ByteBuffer
    ) {
        if s.grpcStatus >= 0 {
            out.append(",\"grpcStatus\":")
            out.appendDecimal(UInt64(s.grpcStatus))
        }
        if s.cause != .none {
            out.append(",\"error\":\"")
            out.append(s.cause.label)
            out.append("\"")
        }
        if s.failure.reason != .none {
            out.append(",\"cause\":\"")
            s.failure.append(violation: violation, to: &out)
            out.append("\"")
        }
        optional(",\"requestId\":", s.requestID, text, &out)
        optional(",\"userAgent\":", s.userAgent, text, &out)
        optional(",\"referer\":", s.referer, text, &out)
        optional(",\"forwardedFor\":", s.forwardedFor, text, &out)
        optional(",\"traceparent\":", s.traceparent, text, &out)
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
        LogText.append(endpoint, to: &out)
        out.append(UInt8(ascii: "\""))
    }

    /// A JSON string (RFC 8259 §7). Bytes above 127 are escaped one by one, as if Latin-1: a log
    /// line is ASCII whatever the client sent.
    private static func quoted(_ bytes: Span<UInt8>, _ out: inout ByteBuffer) {
        out.append(UInt8(ascii: "\""))
        LogText.append(bytes, .inString, to: &out)
        out.append(UInt8(ascii: "\""))
    }

    // MARK: Text

    /// Apache's combined log format.
    static func combined(
        _ s: borrowing ExchangeSummary, _ source: LogSource, _ out: inout ByteBuffer
    ) {
        out.reserve(1_024)
        s.client.appendHost(to: &out)
        out.append(" - - [")
        HTTPDate.appendCommonLog(s.arrival, to: &out)
        out.append("] \"")
        escaped(s.method, source.text, &out)
        out.append(UInt8(0x20))
        escaped(s.target, source.text, &out)
        out.append(UInt8(0x20))
        out.append(s.protocol.label)
        out.append("\" ")
        out.appendDecimal(UInt64(s.status))
        out.append(UInt8(0x20))
        out.appendDecimal(s.bytesSent)
        out.append(" \"")
        escaped(s.referer, source.text, &out)
        out.append("\" \"")
        escaped(s.userAgent, source.text, &out)
        out.append(UInt8(ascii: "\""))
    }

    /// A text within quotes; "-" for none.
    private static func escaped(_ range: ByteRange, _ text: Span<UInt8>, _ out: inout ByteBuffer) {
        if range.isEmpty { return out.append(UInt8(ascii: "-")) }
        LogText.append(text.extracting(range.range), .text, to: &out)
    }
}
