import Base

/// The last elements of the list that all lines of a field make (RFC 9110 §5.3): those that the
/// trusted hops have written, the outermost hop's first.
public struct ListElements {
    /// The largest number of hops that can be configured.
    public static let countMax = 16

    private var ring = InlineArray<16, ByteRange>(repeating: .empty)
    private var total = 0
    private let most: Int

    /// - Parameters:
    ///   - bytes: the head's bytes, to which positions refer.
    ///   - last: how many elements are wanted, 1...16; elements further left are left out.
    public init(
        of known: KnownField, _ head: borrowing RequestHead, _ bytes: Span<UInt8>, last: Int
    ) {
        most = min(max(1, last), ListElements.countMax)
        guard head.fields.seen.contains(known) else { return }
        for i in 0..<head.fields.count where head.fields[i].is(known) {
            add(bytes, head.fields[i].value)
        }
    }

    public var count: Int { min(total, most) }
    public var isEmpty: Bool { total == 0 }

    /// The position of an element among the head's bytes; `0 <= index < count`.
    public subscript(index: Int) -> ByteRange {
        ring[(total - count + index) % most]
    }

    /// Elements are apart by commas that stand in no quotes; empty ones are none.
    private mutating func add(_ bytes: Span<UInt8>, _ value: ByteRange) {
        var at = value.lower
        while at < value.upper {
            while at < value.upper, ASCII.isBlank(bytes[at]) || bytes[at] == 0x2c { at += 1 }
            let start = at
            var isQuoted = false
            while at < value.upper, isQuoted || bytes[at] != 0x2c {
                if bytes[at] == 0x22 { isQuoted.toggle() }
                // A quoted pair (RFC 9110 §5.6.4).
                if isQuoted, bytes[at] == 0x5c, at + 1 < value.upper { at += 1 }
                at += 1
            }
            var end = at
            while end > start, ASCII.isBlank(bytes[end - 1]) { end -= 1 }
            if end > start {
                ring[total % most] = ByteRange(start, end: end)
                total += 1
            }
        }
    }
}

/// An element of a `Forwarded` field (RFC 7239 §4): pairs apart by ";".
public enum ForwardedElement {
    /// The value of a parameter without its quotes, by position; `nil` where the element has none.
    /// - Parameter name: in lower case.
    public static func value(
        _ name: StaticString, in element: ByteRange, _ bytes: Span<UInt8>
    ) -> ByteRange? {
        var at = element.lower
        while at < element.upper {
            while at < element.upper, ASCII.isBlank(bytes[at]) || bytes[at] == 0x3b { at += 1 }
            let start = at
            while at < element.upper, bytes[at] != 0x3d, bytes[at] != 0x3b { at += 1 }
            let key = ByteRange(start, end: at)
            guard at < element.upper, bytes[at] == 0x3d else { continue }
            at += 1
            let value: ByteRange
            if at < element.upper, bytes[at] == 0x22 {
                let from = at + 1
                at = from
                while at < element.upper, bytes[at] != 0x22 {
                    at += bytes[at] == 0x5c && at + 1 < element.upper ? 2 : 1
                }
                value = ByteRange(from, end: at)
                at += 1
            } else {
                let from = at
                while at < element.upper, bytes[at] != 0x3b { at += 1 }
                var end = at
                while end > from, ASCII.isBlank(bytes[end - 1]) { end -= 1 }
                value = ByteRange(from, end: end)
            }
            if ASCII.equalFold(bytes.extracting(key.range), name) { return value }
        }
        return nil
    }
}
