import Base

/// Steps over a header block that comes in several frames, representation by representation (RFC
/// 7541 §6), and finds the strings that are longer than libnghttp2 decodes: 64 KiB each.
///
/// The library takes such a string for an error of compression, which would end every stream of the
/// connection. Found here, the string costs its own message at most. A block of one frame has no
/// room for one, and never comes here.
struct LongLiterals: ~Copyable {
    /// The longest string that libnghttp2 decodes, as it is on the wire.
    static let libraryBytesMax = 65_536

    /// A field whose name or value the library does not decode.
    struct Literal: BitwiseCopyable {
        /// The field goes into the table, which it empties: no table has room for one so long.
        var isIndexed: Bool
        /// Where the name is in the tables; 0 when the literal says it.
        var nameIndex = 0
        var name = Text()
        var value = Text()
        /// The length of the whole representation.
        var byteCount = 0
    }

    /// A string literal (RFC 7541 §5.2), as positions in the bytes held.
    struct Text: BitwiseCopyable {
        var range = ByteRange.empty
        var isHuffman = false
    }

    enum Step: BitwiseCopyable {
        /// The next bytes, so many, are whole representations for the library.
        case plain(Int)
        /// The next representation is a long one, and all there.
        case literal(Literal)
        /// A representation went by that is longer than any header list may be.
        case dropped(isIndexed: Bool)
        /// The bytes held are no whole representation.
        case more
        case malformed
    }

    private enum Found: BitwiseCopyable {
        case whole(Int), literal(Literal), tooLong(Literal, isName: Bool), incomplete, malformed
    }

    private enum Number: BitwiseCopyable { case value(Int, next: Int), incomplete, malformed }

    /// The beginning of the block was here: the rest must come the same way.
    private(set) var isMidway = false
    private var held = ByteBuffer()
    /// Bytes of a dropped string that must still come; whether a value follows them.
    private var dropLeft = 0
    private var valueFollows = false
    private var isDropping = false
    private var dropsIndexed = false

    init() {}

    mutating func reset() {
        isMidway = false
        held.release()
        dropLeft = 0
        valueFollows = false
        isDropping = false
        dropsIndexed = false
    }

    mutating func append(_ fragment: Span<UInt8>) {
        isMidway = true
        held.append(fragment)
    }

    /// Whether the block may end here.
    var isAtBoundary: Bool { held.isEmpty && !isDropping }

    /// A view for one call, as `ByteBuffer.readable`.
    @_lifetime(immortal)
    func bytes(_ range: ByteRange) -> Span<UInt8> { held.readable.extracting(range.range) }

    mutating func consume(_ count: Int) { held.consume(count) }

    /// - Parameter listBytesMax: a longer string is dropped as it comes, and not held.
    mutating func next(listBytesMax: Int) -> Step {
        if isDropping { return drop() }
        let longest = max(listBytesMax, LongLiterals.libraryBytesMax)
        var end = 0
        while true {
            let found = LongLiterals.representation(held.readable, at: end, longest)
            if case .whole(let next) = found {
                end = next
                continue
            }
            // What the library takes goes first.
            if end > 0 { return .plain(end) }
            switch found {
            case .whole, .incomplete: return .more
            case .malformed: return .malformed
            case .literal(let literal): return .literal(literal)
            case .tooLong(let literal, let isName):
                let text = isName ? literal.name : literal.value
                held.consume(text.range.lower)
                isDropping = true
                dropsIndexed = literal.isIndexed
                dropLeft = text.range.length
                valueFollows = isName
                return drop()
            }
        }
    }

    private mutating func drop() -> Step {
        while true {
            let count = min(dropLeft, held.count)
            held.consume(count)
            dropLeft -= count
            if dropLeft > 0 { return .more }
            guard valueFollows else { break }
            switch LongLiterals.number(held.readable, at: 0, prefix: 7) {
            case .incomplete: return .more
            case .malformed: return .malformed
            case .value(let length, let next):
                held.consume(next)
                dropLeft = length
                valueFollows = false
            }
        }
        isDropping = false
        return .dropped(isIndexed: dropsIndexed)
    }

    // MARK: Representations

    private static func representation(
        _ bytes: Span<UInt8>, at start: Int, _ longest: Int
    ) -> Found {
        guard start < bytes.count else { return .incomplete }
        let first = bytes[start]
        // An indexed field, or a change of the table's size (§6.1, §6.3).
        if first & 0x80 != 0 { return alone(bytes, at: start, prefix: 7) }
        if first & 0xe0 == 0x20 { return alone(bytes, at: start, prefix: 5) }
        var literal = Literal(isIndexed: first & 0x40 != 0)
        var at = start
        switch number(bytes, at: start, prefix: literal.isIndexed ? 6 : 4) {
        case .incomplete: return .incomplete
        case .malformed: return .malformed
        case .value(let index, let next):
            literal.nameIndex = index
            at = next
        }
        var isLong = false
        if literal.nameIndex == 0 {
            switch text(bytes, &at, into: &literal.name, longest) {
            case .tooLong: return .tooLong(literal, isName: true)
            case .whole: isLong = literal.name.range.length > libraryBytesMax
            case .incomplete: return .incomplete
            case .malformed, .literal: return .malformed
            }
        }
        switch text(bytes, &at, into: &literal.value, longest) {
        case .tooLong: return .tooLong(literal, isName: false)
        case .whole: isLong = isLong || literal.value.range.length > libraryBytesMax
        case .incomplete: return .incomplete
        case .malformed, .literal: return .malformed
        }
        guard isLong else { return .whole(at) }
        literal.byteCount = at - start
        return .literal(literal)
    }

    private static func alone(_ bytes: Span<UInt8>, at start: Int, prefix: Int) -> Found {
        switch number(bytes, at: start, prefix: prefix) {
        case .incomplete: return .incomplete
        case .malformed: return .malformed
        case .value(_, let next): return .whole(next)
        }
    }

    /// Reads the length of a string, and moves behind the string when that is all there.
    private static func text(
        _ bytes: Span<UInt8>, _ at: inout Int, into text: inout Text, _ longest: Int
    ) -> Found {
        switch number(bytes, at: at, prefix: 7) {
        case .incomplete: return .incomplete
        case .malformed: return .malformed
        case .value(let length, let next):
            text.isHuffman = bytes[at] & 0x80 != 0
            text.range = ByteRange(start: next, count: length)
            if length > longest { return .tooLong(Literal(isIndexed: false), isName: false) }
            guard bytes.count - next >= length else { return .incomplete }
            at = next + length
            return .whole(at)
        }
    }

    /// An integer (§5.1); none that means anything here is larger than 2^31.
    private static func number(_ bytes: Span<UInt8>, at start: Int, prefix: Int) -> Number {
        guard start < bytes.count else { return .incomplete }
        let most = 1 << prefix - 1
        var value = Int(bytes[start]) & most
        if value < most { return .value(value, next: start + 1) }
        var at = start + 1, shift = 0
        while at < bytes.count {
            value += Int(bytes[at] & 0x7f) << shift
            guard value <= 1 << 31 else { return .malformed }
            if bytes[at] & 0x80 == 0 { return .value(value, next: at + 1) }
            shift += 7
            at += 1
            guard shift <= 28 else { return .malformed }
        }
        return .incomplete
    }
}

/// The Huffman code of RFC 7541 Appendix B, for strings that libnghttp2 does not decode.
///
/// The code is canonical: codes of one length follow each other in the order of their symbols, so
/// that the lengths say all.
enum HuffmanCode {
    /// The length of each symbol's code and of the end's: `A` is 5 bits.
    private static var lengths: StaticString {
        """
        ISXXXXXXXTZXXZXXXXXXXXZXXXXXXXXXBFFHIBDGFFDGDBBBAAABBBBBBBCDKBHFIBCCCCCCCCCCCCCC\
        CCCCCCCCDCDIOIJBKABABABBBACCBBBABCBAABCCCCCKGJIXPRPPRRRSRSSSSSTSTTRSTSSSSQRSRSST\
        RQPRRSSQSRRTQRSSQQRQSRSSPRRRSRRSVVPORSRUVVVWWVTUOQVWWVWTQQVVXWWWPTPQRQQSRRUUTTVS\
        VWVVWWWWWXWWWWWVZ
        """
    }

    /// - Returns: `false`: it is no string in this code (§5.2).
    static func decode(_ bytes: Span<UInt8>, to out: inout ByteBuffer) -> Bool {
        var symbols: [UInt8] = []
        // Of the codes of each length: the first, and its place among the symbols.
        var first = [Int](repeating: 0, count: 32), place = [Int](repeating: 0, count: 32)
        var counts = [Int](repeating: 0, count: 32)
        var code = 0
        for length in 5...30 {
            first[length] = code
            place[length] = symbols.count
            for symbol in 0..<256 where unsafe lengths.utf8Start[symbol] == UInt8(60 + length) {
                symbols.append(UInt8(symbol))
            }
            counts[length] = symbols.count - place[length]
            code = (code + counts[length]) << 1
        }
        var length = 0
        code = 0
        for i in 0..<bytes.count {
            for bit in stride(from: 7, through: 0, by: -1) {
                code = code << 1 | Int(bytes[i] >> UInt8(bit)) & 1
                length += 1
                let offset = code - first[length]
                if offset >= 0, offset < counts[length] {
                    out.append(symbols[place[length] + offset])
                    code = 0
                    length = 0
                } else if length == 30 {
                    return false
                }
            }
        }
        // What is left over is less than a byte, of ones.
        return length < 8 && code == 1 << length - 1
    }
}
