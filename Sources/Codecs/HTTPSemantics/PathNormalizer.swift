import Base

/// The form of a path that is matched: unreserved characters decoded, all other bytes that RFC 3986
/// §3.3 does not allow in a path escaped, `.` and `..` resolved, runs of slashes made one (RFC 3986
/// §6.2.2). The bytes that are forwarded stay the client's.
///
/// So a raw `|` is `%7C`, and a "%" without two hex digits behind it stands for itself, `%25`: of
/// two paths with one normal form, an origin that decodes once reads the same. `%2F`, `%5C` and a
/// raw backslash are escaped in the normal form: they are never separators.
public enum PathNormalizer {
    public enum Failure: Error, Sendable { case encodedNUL, leavesRoot }

    /// Appends the normal form to `output`.
    /// - Throws: the client's fault; the answer is 400.
    public static func normalize(
        _ path: Span<UInt8>, into output: inout ByteBuffer
    ) throws(Failure) {
        let root = output.writerIndex
        var at = 0
        while at < path.count {
            // One segment: from its slash to the next.
            let segment = output.writerIndex
            if path[at] == 0x2f {
                while at < path.count, path[at] == 0x2f { at += 1 }
                output.append(UInt8(0x2f))
            }
            let start = output.writerIndex
            while at < path.count, path[at] != 0x2f { at = try append(path, at, &output) }
            let length = output.writerIndex - start
            let dots = dotCount(output.span(ByteRange(start: start, count: length)))
            if dots > 0 {
                let isLast = at == path.count
                output.truncate(to: segment)
                if dots == 2 {
                    guard segment > root else { throw .leavesRoot }
                    removeLastSegment(&output, root: root)
                }
                // "/a/." is "/a/": the last segment's slash stays.
                if isLast { output.append(UInt8(0x2f)) }
            }
        }
        if output.writerIndex == root { output.append(UInt8(0x2f)) }
    }

    /// 1 for ".", 2 for "..", 0 for every other segment.
    private static func dotCount(_ segment: Span<UInt8>) -> Int {
        guard segment.count == 1 || segment.count == 2 else { return 0 }
        for i in 0..<segment.count where segment[i] != 0x2e { return 0 }
        return segment.count
    }

    private static func removeLastSegment(_ output: inout ByteBuffer, root: Int) {
        var end = output.writerIndex
        while end > root {
            end -= 1
            let byte = output.span(ByteRange(start: end, count: 1))[0]
            if byte == 0x2f { break }
        }
        output.truncate(to: end)
    }

    /// Appends the byte at `at`: decoded if it is an encoded unreserved character, encoded if it
    /// should have been.
    private static func append(
        _ path: Span<UInt8>, _ at: Int, _ output: inout ByteBuffer
    ) throws(Failure) -> Int {
        let first = path[at]
        guard first == 0x25 else {
            if URIText.isAllowed(first) { output.append(first) } else { escape(first, &output) }
            return at + 1
        }
        guard let byte = URIText.escape(path, at) else {
            escape(first, &output)
            return at + 1
        }
        if byte == 0 { throw .encodedNUL }
        // RFC 3986 §6.2.2.1: hex digits of an encoding compare in upper case.
        if isUnreserved(byte) { output.append(byte) } else { escape(byte, &output) }
        return at + 3
    }

    private static func escape(_ byte: UInt8, _ output: inout ByteBuffer) {
        URIText.appendEscape(byte, to: &output)
    }

    private static func isUnreserved(_ b: UInt8) -> Bool {
        ASCII.isAlpha(b) || ASCII.isDigit(b) || b == 0x2d || b == 0x2e || b == 0x5f || b == 0x7e
    }
}
