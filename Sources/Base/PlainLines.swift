import CScan

/// Field lines that need no second look: `name: value CRLF` with one space, no blank at either end
/// of the value, and a name of at most 28 letters, digits and "-". Nearly every line that
/// clients and origins send is one, and they are scanned in one go, sixteen at a time.
@safe public struct PlainLines: ~Copyable {
    /// Lines that one `read` finds at most.
    public static var batch: Int { 16 }

    @usableFromInline let lines = FixedArray<cscan_line>(repeating: cscan_line(), count: batch)
    /// Lines that the last `read` found.
    public private(set) var count = 0

    public init() {}

    /// Reads lines from a position on, until one is of another kind, or not all there, or very near
    /// the end of the bytes. `0 <= start <= bytes.count`.
    public mutating func read(_ bytes: Span<UInt8>, from start: Int) {
        precondition(start >= 0 && start <= bytes.count, "a position among the bytes")
        count = unsafe bytes.withUnsafeBufferPointer { p in
            guard let base = p.baseAddress else { return 0 }
            return unsafe lines.withPointer { unsafe cscan_lines(base, p.count, start, $0, 16) }
        }
    }

    @inlinable public subscript(index: Int) -> PlainLine {
        @inline(__always) get { PlainLine(line: lines[index]) }
    }
}

/// One line of `PlainLines`, by positions in the bytes that were read.
public struct PlainLine: BitwiseCopyable, Sendable {
    @usableFromInline let line: cscan_line
    @usableFromInline init(line: cscan_line) { self.line = line }

    @inlinable public var name: ByteRange {
        ByteRange(start: line.start, count: line.name_length)
    }
    @inlinable public var value: ByteRange {
        ByteRange(start: line.start &+ line.name_length &+ 2, count: line.value_length)
    }
    /// Past the line's CRLF.
    @inlinable public var end: Int { value.upper &+ 2 }
    @inlinable public var key: NameKey {
        NameKey(first: line.first, last: line.last, length: line.name_length)
    }
}

/// A name of letters, digits and "-" without case, in words: its first eight bytes and its
/// last eight, bit 5 set in each byte. Two names of one length up to 16 have equal keys only when
/// they are equal but for case.
public struct NameKey: BitwiseCopyable, Sendable {
    public let first: UInt64
    /// 0 for names shorter than 8.
    public let last: UInt64
    public let length: UInt32

    @inlinable public init(first: UInt64, last: UInt64, length: UInt32) {
        self.first = first
        self.last = last
        self.length = length
    }

    /// Whether this is the key of `name`: lower-case letters, digits and "-", at most 16 bytes. The
    /// length is taken as equal already.
    @inlinable @inline(__always) public func names(_ name: StaticString) -> Bool {
        let count = name.utf8CodeUnitCount
        return first == NameKey.word(name, 0, min(count, 8))
            && (count <= 8 || last == NameKey.word(name, count - 8, 8))
    }

    /// Folded by the compiler: the text is a literal at every call.
    @inlinable @inline(__always)
    static func word(_ name: StaticString, _ start: Int, _ count: Int) -> UInt64 {
        var word: UInt64 = 0
        for i in 0..<count {
            word |= unsafe UInt64(name.utf8Start[start + i]) << UInt64(truncatingIfNeeded: i * 8)
        }
        return word
    }
}
