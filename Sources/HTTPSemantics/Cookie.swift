import Base

/// Reading of `Cookie` fields (RFC 6265 §4.2): pairs apart by ";", read without decoding.
public enum Cookie {
    /// The value of the first pair with that name, as a range of `field`. Names are case-sensitive.
    /// A value in double quotes is given without them.
    public static func value(named name: Span<UInt8>, in field: Span<UInt8>) -> ByteRange? {
        var at = 0
        let count = field.count
        while at < count {
            while at < count, field[at] == 0x20 || field[at] == 0x09 || field[at] == 0x3b {
                at += 1
            }
            let start = at
            while at < count, field[at] != 0x3d, field[at] != 0x3b { at += 1 }
            guard at < count else { return nil }
            if field[at] == 0x3b { continue }
            let nameEnd = at
            at += 1
            let valueStart = at
            while at < count, field[at] != 0x3b { at += 1 }
            if nameEnd - start == name.count,
                ASCII.equal(field.extracting(start..<nameEnd), name)
            {
                return trimmed(field, valueStart, at)
            }
        }
        return nil
    }

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
