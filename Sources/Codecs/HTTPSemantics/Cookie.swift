import Base

/// Reading of `Cookie` fields (RFC 6265 §4.2): pairs apart by ";", read without decoding.
public enum Cookie {
    /// The value of the first pair with that name, as a range of `field`. Names are case-sensitive.
    /// A value in double quotes is given without them.
    public static func value(named name: Span<UInt8>, in field: Span<UInt8>) -> ByteRange? {
        var at = 0
        return next(named: name, in: field, from: &at)
    }

    /// The value of the next pair with that name at or behind `at`, which moves behind the pair: a
    /// client may send several of one name (RFC 6265 §5.4), and which is first says nothing.
    public static func next(
        named name: Span<UInt8>, in field: Span<UInt8>, from at: inout Int
    ) -> ByteRange? {
        let count = field.count
        while at < count {
            while at < count, field[at] == 0x20 || field[at] == 0x09 || field[at] == 0x3b {
                at += 1
            }
            let pair = field.extracting(at..<count)
            let length = ASCII.index(of: 0x3b, in: pair) ?? pair.count
            // The name of a pair has no "=", nor has the one that is looked for.
            if name.count < length, pair[name.count] == 0x3d,
                ASCII.equal(pair.extracting(0..<name.count), name)
            {
                let start = at
                at += length
                return trimmed(field, start + name.count + 1, start + length)
            }
            at += length
        }
        return nil
    }

    @inline(__always)
    private static func trimmed(_ field: Span<UInt8>, _ from: Int, _ to: Int) -> ByteRange {
        var start = from
        var end = to
        while end > start, field[end - 1] == 0x20 || field[end - 1] == 0x09 { end -= 1 }
        if end - start >= 2, field[start] == 0x22, field[end - 1] == 0x22 {
            start += 1
            end -= 1
        }
        return ByteRange(start, end: end)
    }
}
