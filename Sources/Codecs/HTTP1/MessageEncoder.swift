import Base
import HTTPSemantics

/// Writes the pieces of HTTP/1.1 messages; what is written always parses back to what was meant.
public enum MessageEncoder {
    /// Writes one field line from its parsed parts.
    @inlinable @inline(__always)
    public static func field(
        _ name: Span<UInt8>, _ value: Span<UInt8>, to out: inout ByteBuffer
    ) {
        out.reserve(name.count &+ value.count &+ 4)
        out.append(name)
        out.append(": ")
        out.append(value)
        out.append("\r\n")
    }

    public static func field(
        _ name: StaticString, _ value: Span<UInt8>, to out: inout ByteBuffer
    ) {
        out.append(name)
        out.append(": ")
        out.append(value)
        out.append("\r\n")
    }

    /// Writes a status line, `HTTP/1.1 200 OK` with CRLF.
    public static func statusLine(
        _ status: UInt16, reason: Span<UInt8>, to out: inout ByteBuffer
    ) {
        out.append("HTTP/1.1 ")
        out.appendDecimal(UInt64(status))
        out.append(UInt8(0x20))
        out.append(reason)
        out.append("\r\n")
    }

    public static func statusLine(_ status: UInt16, to out: inout ByteBuffer) {
        out.append("HTTP/1.1 ")
        out.appendDecimal(UInt64(status))
        out.append(UInt8(0x20))
        out.append(Status.reason(status))
        out.append("\r\n")
    }

    /// `chunk-size CRLF` (RFC 9112 §7.1); the chunk's data and a CRLF must follow.
    public static func chunkHead(_ count: Int, to out: inout ByteBuffer) {
        out.appendHex(UInt64(count))
        out.append("\r\n")
    }

    /// The last chunk with the trailer fields that may be passed on, from a section of field lines
    /// that the body decoder has checked.
    public static func lastChunk(
        trailers section: ByteRange, of bytes: Span<UInt8>, to out: inout ByteBuffer
    ) {
        out.append("0\r\n")
        var at = section.lower
        let lines = bytes.extracting(0..<section.upper)
        while at < section.upper {
            guard case .field(let field, let next)? = try? FieldLineParser.line(lines, at: at)
            else {
                break
            }
            if !field.known.isForbiddenInTrailers {
                MessageEncoder.field(
                    bytes.extracting(field.name.range), bytes.extracting(field.value.range),
                    to: &out)
            }
            at = next
        }
        out.append("\r\n")
    }
}
