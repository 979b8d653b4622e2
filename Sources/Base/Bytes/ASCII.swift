import CScan

/// A run of bytes inside some buffer, by position. 8 bytes; says nothing of which buffer.
public struct ByteRange: Hashable, Sendable, BitwiseCopyable {
    public var start: UInt32
    public var count: UInt32

    @inlinable public init(start: Int, count: Int) {
        self.start = UInt32(truncatingIfNeeded: start)
        self.count = UInt32(truncatingIfNeeded: count)
    }
    @inlinable public init(start: UInt32, count: UInt32) {
        self.start = start
        self.count = count
    }
    @inlinable public init(_ start: Int, end: Int) { self.init(start: start, count: end - start) }

    public static var empty: ByteRange { ByteRange(start: 0, count: 0) }

    @inlinable public var lower: Int { Int(start) }
    @inlinable public var upper: Int { Int(start) + Int(count) }
    @inlinable public var range: Range<Int> { lower..<upper }
    @inlinable public var isEmpty: Bool { count == 0 }
    @inlinable public var length: Int { Int(count) }

    /// This run, after its buffer's origin has moved `distance` bytes towards the buffer's end.
    @inlinable public func shifted(by distance: Int) -> ByteRange {
        ByteRange(start: lower + distance, count: length)
    }
}

/// Byte classes, numbers and comparisons of the protocols' ASCII.
public enum ASCII {
    public static let cr: UInt8 = 0x0d
    public static let lf: UInt8 = 0x0a

    @inlinable public static func isDigit(_ b: UInt8) -> Bool { b &- 0x30 < 10 }
    @inlinable public static func isAlpha(_ b: UInt8) -> Bool { (b | 0x20) &- 0x61 < 26 }
    @inlinable public static func isBlank(_ b: UInt8) -> Bool { b == 0x20 || b == 0x09 }
    @inlinable public static func lower(_ b: UInt8) -> UInt8 {
        b &- 0x41 < 26 ? b | 0x20 : b
    }

    /// The value of a hex digit, or `nil`.
    @inlinable public static func hex(_ b: UInt8) -> UInt8? {
        if isDigit(b) { return b &- 0x30 }
        let c = (b | 0x20) &- 0x61
        return c < 6 ? c &+ 10 : nil
    }

    /// A decimal number of digits only; `nil` when empty, signed, or above `UInt64.max / 2`.
    public static func decimal(_ bytes: Span<UInt8>) -> UInt64? {
        guard !bytes.isEmpty, bytes.count <= 19 else { return nil }
        var value: UInt64 = 0
        for i in 0..<bytes.count {
            guard isDigit(bytes[i]) else { return nil }
            value = value &* 10 &+ UInt64(bytes[i] &- 0x30)
        }
        return value <= UInt64(Int64.max) ? value : nil
    }

    /// Bytes from the start that may stand in a field value (RFC 9110 §5.5).
    @inlinable @inline(__always)
    public static func valueLength(_ bytes: Span<UInt8>) -> Int {
        unsafe bytes.withUnsafeBufferPointer { p in
            unsafe p.isEmpty ? 0 : cscan_value(p.baseAddress!, p.count)
        }
    }

    /// Bytes from the start that may stand in a path, and whether they are in normal form already:
    /// no "%", "//" or "/." among them, and nothing that RFC 3986 §3.3 wants escaped.
    @inlinable @inline(__always)
    public static func pathLength(_ bytes: Span<UInt8>) -> (count: Int, plain: Bool) {
        let scanned = scanPath(bytes)
        return (scanned.count, scanned.form == 0)
    }

    /// Whether all of the bytes are what RFC 3986 §3.3 allows in a path.
    public static func isStrictPath(_ bytes: Span<UInt8>) -> Bool {
        let scanned = scanPath(bytes)
        return scanned.count == bytes.count && scanned.form & CSCAN_PATH_RAW == 0
    }

    @inlinable @inline(__always)
    static func scanPath(_ bytes: Span<UInt8>) -> (count: Int, form: Int32) {
        unsafe bytes.withUnsafeBufferPointer { p in
            guard let start = p.baseAddress else { return (0, 0) }
            var form: Int32 = 0
            let count = unsafe cscan_path(start, p.count, &form)
            return (count, form)
        }
    }

    /// Bytes from the start that are letters, digits, "-", "_" and single "/".
    @inlinable @inline(__always)
    public static func plainPathLength(_ bytes: Span<UInt8>) -> Int {
        unsafe bytes.withUnsafeBufferPointer { p in
            unsafe p.isEmpty ? 0 : cscan_plain_path(p.baseAddress!, p.count)
        }
    }

    /// Bytes from the start of a run that are letters, digits, "-", "." and "_".
    @inlinable @inline(__always)
    public static func plainHostLength(_ bytes: Span<UInt8>, in range: ByteRange) -> Int {
        precondition(range.upper <= bytes.count, "a run of the bytes")
        return unsafe bytes.withUnsafeBufferPointer { p in
            guard let start = p.baseAddress else { return 0 }
            return unsafe cscan_host(start + range.lower, range.length, p.count - range.lower)
        }
    }

    /// Bytes from the start that may stand in a query: RFC 3986 §3.4, and what clients leave
    /// unescaped there.
    @inlinable @inline(__always)
    public static func queryLength(_ bytes: Span<UInt8>) -> Int {
        unsafe bytes.withUnsafeBufferPointer { p in
            unsafe p.isEmpty ? 0 : cscan_query(p.baseAddress!, p.count)
        }
    }

    /// Bytes from the start that are token characters (RFC 9110 §5.6.2).
    @inlinable @inline(__always)
    public static func tokenLength(_ bytes: Span<UInt8>) -> Int {
        unsafe bytes.withUnsafeBufferPointer { p in
            unsafe p.isEmpty ? 0 : cscan_token(p.baseAddress!, p.count)
        }
    }

    /// The scalar scan, which other machines than x86_64 run; here for the test that compares them.
    public static func scalarValueLength(_ bytes: Span<UInt8>) -> Int {
        unsafe bytes.withUnsafeBufferPointer { p in
            unsafe p.isEmpty ? 0 : cscan_value_scalar(p.baseAddress!, p.count)
        }
    }

    /// Equality with ASCII letters compared without case.
    @inlinable public static func equalFold(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
        guard a.count == b.count else { return false }
        return unsafe a.withUnsafeBufferPointer { p in
            unsafe b.withUnsafeBufferPointer { q in
                unsafe p.isEmpty || cscan_equal_fold(p.baseAddress!, q.baseAddress!, p.count) != 0
            }
        }
    }

    @inlinable public static func equalFold(_ a: Span<UInt8>, _ b: StaticString) -> Bool {
        guard a.count == b.utf8CodeUnitCount else { return false }
        return unsafe a.withUnsafeBufferPointer { p in
            unsafe p.isEmpty || cscan_equal_fold(p.baseAddress!, b.utf8Start, p.count) != 0
        }
    }

    /// Equality of a token with a name of lower-case letters, digits and "-", without case.
    @inlinable @inline(__always)
    public static func equalName(_ token: Span<UInt8>, _ name: StaticString) -> Bool {
        guard token.count == name.utf8CodeUnitCount else { return false }
        return unsafe token.withUnsafeBufferPointer { p in
            unsafe p.isEmpty || cscan_equal_name(p.baseAddress!, name.utf8Start, p.count) != 0
        }
    }

    /// Whether two runs of bytes are equal, byte for byte.
    @inlinable public static func equal(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
        guard a.count == b.count else { return false }
        return unsafe a.withUnsafeBufferPointer { p in
            unsafe b.withUnsafeBufferPointer { q in
                unsafe p.isEmpty || cscan_equal(p.baseAddress!, q.baseAddress!, p.count) != 0
            }
        }
    }

    @inlinable public static func equal(_ a: Span<UInt8>, _ b: StaticString) -> Bool {
        guard a.count == b.utf8CodeUnitCount else { return false }
        for i in 0..<a.count where unsafe a[i] != b.utf8Start[i] { return false }
        return true
    }

    public static func equal(_ a: StaticString, _ b: StaticString) -> Bool {
        guard a.utf8CodeUnitCount == b.utf8CodeUnitCount else { return false }
        for i in 0..<a.utf8CodeUnitCount where unsafe a.utf8Start[i] != b.utf8Start[i] {
            return false
        }
        return true
    }

    /// Whether the bytes are a prefix of the text: what has come of it so far.
    public static func equalPrefix(_ a: Span<UInt8>, _ b: StaticString) -> Bool {
        guard a.count <= b.utf8CodeUnitCount else { return false }
        for i in 0..<a.count where unsafe a[i] != b.utf8Start[i] { return false }
        return true
    }

    /// Bytes from the start that stand in a JSON string as they are: 0x20...0x7e but the quote and
    /// the backslash.
    @inlinable public static func plainTextLength(_ bytes: Span<UInt8>) -> Int {
        unsafe bytes.withUnsafeBufferPointer { p in
            unsafe p.isEmpty ? 0 : cscan_plain_text(p.baseAddress!, p.count)
        }
    }

    /// The position of a byte, or `nil`.
    @inlinable public static func index(of byte: UInt8, in bytes: Span<UInt8>) -> Int? {
        let found = unsafe bytes.withUnsafeBufferPointer { p in
            unsafe p.isEmpty ? 0 : cscan_find(p.baseAddress!, p.count, byte)
        }
        return found < bytes.count ? found : nil
    }

    /// Eight bytes from a position on in one word, the first the lowest.
    @inlinable @inline(__always)
    public static func word(_ bytes: Span<UInt8>, at position: Int) -> UInt64 {
        precondition(position >= 0 && position &+ 8 <= bytes.count, "eight bytes are there")
        return unsafe bytes.withUnsafeBufferPointer { p in
            unsafe UInt64(
                littleEndian: UnsafeRawPointer(p.baseAddress! + position).loadUnaligned(
                    as: UInt64.self))
        }
    }

    /// Packs at most eight characters of a literal into one word, as `word(_:at:)` gives them.
    @inlinable @inline(__always)
    public static func word(_ text: StaticString) -> UInt64 {
        var word: UInt64 = 0
        for i in 0..<min(8, text.utf8CodeUnitCount) {
            word |= unsafe UInt64(text.utf8Start[i]) << UInt64(truncatingIfNeeded: i * 8)
        }
        return word
    }

    /// The bytes as text, for messages and other cold places; invalid UTF-8 is replaced.
    public static func string(_ bytes: Span<UInt8>) -> String {
        var copy: [UInt8] = []
        copy.reserveCapacity(bytes.count)
        for i in 0..<bytes.count { copy.append(bytes[i]) }
        return String(decoding: copy, as: UTF8.self)
    }
}
