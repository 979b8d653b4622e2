import Base
import HTTPSemantics

/// Re-serialises a head's lines, neighbours in one copy.
///
/// A line that was sent as `name: value CRLF`, with one space and nothing behind the value, is byte
/// for byte what serialising its parsed parts gives. Such lines that stand together are copied
/// together; any other line is written from its parts.
public struct FieldRun {
    @usableFromInline var start = 0
    @usableFromInline var stop = 0

    /// Takes the head's first line, which needs no change. `past`: where the field lines start.
    @inlinable public init(firstLine start: Int, past end: Int) {
        self.start = start
        stop = end
    }

    @inlinable public init() {}

    /// Takes the next line that stays.
    ///
    /// - Parameter bytes: the head's bytes, to which the field's positions refer; the same with
    ///   every call.
    /// - Returns: where its value will lie in `out`.
    @inlinable @inline(__always)
    public mutating func add(
        _ field: Field, _ bytes: Span<UInt8>, to out: inout ByteBuffer
    ) -> ByteRange {
        let name = field.name, value = field.value
        guard field.isCanonical else { return write(field, bytes, to: &out) }
        if name.lower != stop {
            flush(bytes, to: &out)
            start = name.lower
        }
        stop = value.upper + 2
        return ByteRange(start: out.writerIndex + value.lower - start, count: value.length)
    }

    @usableFromInline @inline(never)
    mutating func write(
        _ field: Field, _ bytes: Span<UInt8>, to out: inout ByteBuffer
    ) -> ByteRange {
        flush(bytes, to: &out)
        out.append(bytes.extracting(field.name.range))
        out.append(": ")
        let at = out.writerIndex
        out.append(bytes.extracting(field.value.range))
        out.append("\r\n")
        return ByteRange(start: at, count: field.value.length)
    }

    /// Writes what is still held; call before anything else is appended to `out`.
    @inlinable @inline(__always)
    public mutating func end(_ bytes: Span<UInt8>, to out: inout ByteBuffer) {
        flush(bytes, to: &out)
    }

    @usableFromInline @inline(never)
    mutating func flush(_ bytes: Span<UInt8>, to out: inout ByteBuffer) {
        if stop > start { out.append(bytes.extracting(start..<stop)) }
        start = 0
        stop = 0
    }
}
