import Base
import HTTPSemantics

/// Re-serialises a head's lines, neighbours in one copy.
///
/// A line that was sent as `name: value CRLF`, with one space and nothing behind the value, is byte
/// for byte what serialising its parsed parts gives. Such lines that stand together are copied
/// together; any other line is written from its parts.
struct FieldRun {
    private var start = 0
    private var end = 0

    /// Takes the head's first line, which needs no change. `past`: where the field lines start.
    init(firstLine start: Int, past end: Int) {
        self.start = start
        self.end = end
    }

    init() {}

    /// Takes the next line that stays.
    /// - Returns: where its value will lie in `out`.
    @inline(__always)
    mutating func add(
        _ field: Field, _ scratch: borrowing ByteBuffer, _ head: ByteRange,
        to out: inout ByteBuffer
    ) -> ByteRange {
        let name = field.name, value = field.value
        guard field.isCanonical else { return write(field, scratch, head, to: &out) }
        if name.lower != end {
            flush(scratch, head, to: &out)
            start = name.lower
        }
        end = value.upper + 2
        return ByteRange(start: out.writerIndex + value.lower - start, count: value.length)
    }

    @inline(never)
    private mutating func write(
        _ field: Field, _ scratch: borrowing ByteBuffer, _ head: ByteRange,
        to out: inout ByteBuffer
    ) -> ByteRange {
        flush(scratch, head, to: &out)
        out.append(scratch.span(field.name.shifted(by: head.lower)))
        out.append(": ")
        let at = out.writerIndex
        out.append(scratch.span(field.value.shifted(by: head.lower)))
        out.append("\r\n")
        return ByteRange(start: at, count: field.value.length)
    }

    /// Writes what is still held; call before anything else is appended to `out`.
    @inline(__always)
    mutating func end(_ scratch: borrowing ByteBuffer, _ head: ByteRange, to out: inout ByteBuffer)
    {
        flush(scratch, head, to: &out)
    }

    @inline(never)
    private mutating func flush(
        _ scratch: borrowing ByteBuffer, _ head: ByteRange, to out: inout ByteBuffer
    ) {
        if end > start {
            out.append(scratch.span(ByteRange(start + head.lower, end: end + head.lower)))
        }
        start = 0
        end = 0
    }
}
