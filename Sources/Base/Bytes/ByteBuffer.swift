import CScan

/// Bytes in memory of their own: written at one end, read at the other, with room to write in
/// front.
///
/// `0 <= readerIndex <= writerIndex <= capacity`. Positions count from the start of the memory and
/// stay true when the buffer grows; `consume` and `clear` are the only ways to lose bytes.
/// A buffer without bytes may hold no memory at all.
@safe public struct ByteBuffer: ~Copyable, @unchecked Sendable {
    /// The first byte of the memory; `nowhere` while the capacity is 0.
    @usableFromInline var base: UnsafeMutablePointer<UInt8>
    public private(set) var capacity: Int
    @usableFromInline var reader = 0
    @usableFromInline var writer = 0

    /// - Parameter capacity: bytes to allocate now; 0 allocates with the first write.
    public init(capacity: Int = 0) {
        unsafe base = capacity == 0 ? ByteBuffer.nowhere : .allocate(capacity: capacity)
        self.capacity = capacity
        if capacity > 0 { BufferMemory.take(capacity) }
    }

    deinit {
        if capacity > 0 {
            unsafe base.deallocate()
            BufferMemory.giveBack(capacity)
        }
    }

    @inlinable public var readerIndex: Int { reader }
    @inlinable public var writerIndex: Int { writer }
    @inlinable public var count: Int { writer &- reader }
    @inlinable public var isEmpty: Bool { writer == reader }

    /// The bytes not yet consumed.
    ///
    /// The view is for the call it is passed to: it must not be kept while this buffer is written
    /// or released, and the compiler does not watch that
    /// (docs/decisions/2026-11-23-views-of-buffers.md).
    @inlinable public var readable: Span<UInt8> {
        @_lifetime(immortal)
        @inline(__always) get {
            let view = unsafe Span(_unsafeStart: UnsafePointer(base + reader), count: count)
            return unsafe _overrideLifetime(view, copying: ())
        }
    }

    /// Bytes by position; the range must lie in memory that was written. A view as `readable`
    /// gives.
    @_lifetime(immortal)
    @inlinable @inline(__always)
    public func span(_ range: ByteRange) -> Span<UInt8> {
        precondition(range.upper <= capacity, "a range within the buffer")
        let view = unsafe Span(
            _unsafeStart: UnsafePointer(base + range.lower), count: range.length)
        return unsafe _overrideLifetime(view, copying: ())
    }

    @usableFromInline static var nowhere: UnsafeMutablePointer<UInt8> {
        unsafe UnsafeMutablePointer(bitPattern: 8)!
    }

    // MARK: Writing

    /// Makes room for `more` bytes behind the writer.
    @inlinable @inline(__always) public mutating func reserve(_ more: Int) {
        if capacity &- writer < more { grow(more) }
    }

    @usableFromInline mutating func grow(_ more: Int) {
        let next = max(writer + more, capacity * 2, 256)
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: next)
        if capacity > 0 {
            unsafe cscan_copy(memory + reader, base + reader, writer - reader)
            unsafe base.deallocate()
        }
        unsafe base = memory
        BufferMemory.take(next - capacity)
        capacity = next
    }

    @inlinable @inline(__always) public mutating func append(_ bytes: Span<UInt8>) {
        let more = bytes.count
        if more == 0 { return }
        reserve(more)
        unsafe bytes.withUnsafeBufferPointer { source in
            unsafe cscan_copy(base + writer, source.baseAddress!, more)
        }
        writer &+= more
    }

    @inlinable @inline(__always) public mutating func append(_ text: StaticString) {
        let more = text.utf8CodeUnitCount
        reserve(more)
        unsafe cscan_copy(base + writer, text.utf8Start, more)
        writer &+= more
    }

    @inlinable @inline(__always) public mutating func append(_ byte: UInt8) {
        reserve(1)
        unsafe base[writer] = byte
        writer &+= 1
    }

    /// Appends text that was made at run time; for cold places, since hot ones append spans and
    /// literals. Named, because an overload on `String` would take every literal.
    public mutating func append(text: String) {
        var text = text
        text.withUTF8 { utf8 in
            guard !utf8.isEmpty else { return }
            reserve(utf8.count)
            unsafe cscan_copy(base + writer, utf8.baseAddress!, utf8.count)
            writer += utf8.count
        }
    }

    public mutating func append(_ bytes: [UInt8]) { append(bytes.span) }

    /// A copy of what there is to read, for others to keep.
    public var bytes: [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: count) { room, length in
            if count > 0 { unsafe cscan_copy(room.baseAddress!, base + reader, count) }
            length = count
        }
    }

    public mutating func appendDecimal(_ value: UInt64) {
        reserve(20)
        writer &+= unsafe cscan_decimal(value, base + writer)
    }

    /// Appends two decimal digits; `0 <= value < 100`.
    @inlinable public mutating func appendTwoDigits(_ value: UInt8) {
        precondition(value < 100, "two digits")
        reserve(2)
        unsafe base[writer] = 0x30 &+ value / 10
        unsafe base[writer &+ 1] = 0x30 &+ value % 10
        writer &+= 2
    }

    /// Appends an IPv4 address in dotted decimals.
    public mutating func appendIPv4(_ address: UInt32) {
        reserve(16)
        writer &+= unsafe cscan_ipv4(address, base + writer)
    }

    /// The 36 characters of a UUID (RFC 9562 §4).
    public mutating func appendUUID(high: UInt64, low: UInt64) {
        reserve(36)
        unsafe cscan_uuid(high, low, base + writer)
        writer &+= 36
    }

    /// Appends ASCII with its letters in lower case.
    public mutating func appendLower(_ bytes: Span<UInt8>) {
        if bytes.isEmpty { return }
        reserve(bytes.count)
        unsafe bytes.withUnsafeBufferPointer { source in
            unsafe cscan_lower(source.baseAddress!, source.count, base + writer)
        }
        writer &+= bytes.count
    }

    /// Lower-case hex without leading zeros, at least `width` digits.
    public mutating func appendHex(_ value: UInt64, width: Int = 1) {
        var digits = max(1, (67 - value.leadingZeroBitCount) / 4)
        if value == 0 { digits = 1 }
        digits = max(digits, width)
        reserve(digits)
        for i in stride(from: digits - 1, through: 0, by: -1) {
            let nibble = i >= 16 ? 0 : UInt8(truncatingIfNeeded: (value >> UInt64(4 * i)) & 15)
            append(nibble < 10 ? 0x30 &+ nibble : 0x57 &+ nibble)
        }
    }

    /// Overwrites bytes already written, from a position on.
    public mutating func overwrite(at position: Int, with bytes: Span<UInt8>) {
        precondition(position >= 0 && position + bytes.count <= writer, "bytes already written")
        unsafe bytes.withUnsafeBufferPointer { source in
            if let start = source.baseAddress {
                unsafe (base + position).update(from: start, count: source.count)
            }
        }
    }

    /// Puts one byte in the place of another, from a position on.
    public mutating func replace(_ old: UInt8, with new: UInt8, from position: Int) {
        precondition(position >= reader && position <= writer, "a position among the bytes")
        for i in position..<writer where unsafe base[i] == old { unsafe base[i] = new }
    }

    /// Takes back the bytes behind a position.
    public mutating func truncate(to position: Int) {
        precondition(position >= reader && position <= writer, "a position among the bytes")
        writer = position
    }

    /// Copies bytes into the memory that ends at `position`, without moving reader or writer, and
    /// returns where they start. The memory in front must be free for it: `bytes.count <=
    /// position`.
    @inlinable public mutating func place(_ bytes: Span<UInt8>, endingAt position: Int) -> Int {
        let start = position &- bytes.count
        precondition(start >= 0 && position <= capacity, "room in front for what is placed there")
        unsafe bytes.withUnsafeBufferPointer { source in
            if let from = source.baseAddress {
                unsafe (base + start).update(from: from, count: source.count)
            }
        }
        return start
    }

    /// Lets a writer fill the memory behind the writer index; it returns the bytes it wrote.
    ///
    /// The driver's way in: `body` is called at once and must not keep the pointer.
    @inlinable
    public mutating func write<Failure: Error>(
        atMost room: Int, _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Int
    ) throws(Failure) -> Int {
        reserve(room)
        let written = try unsafe body(
            UnsafeMutableRawBufferPointer(start: base + writer, count: room))
        precondition(written >= 0 && written <= room, "a writer stays within its room")
        writer &+= written
        return written
    }

    // MARK: Reading

    @inlinable public mutating func consume(_ bytes: Int) {
        precondition(bytes >= 0 && bytes <= count, "only bytes that are there are consumed")
        reader &+= bytes
        if reader == writer {
            reader = 0
            writer = 0
        }
    }

    /// Forgets all bytes, keeps the memory, and leaves `headroom` bytes free in front.
    @inlinable public mutating func clear(headroom: Int = 0) {
        precondition(headroom <= capacity, "headroom within the memory")
        reader = headroom
        writer = headroom
    }

    /// Forgets all bytes and gives the memory back.
    public mutating func release() {
        if capacity == 0 { return clear() }
        BufferMemory.giveBack(capacity)
        unsafe base.deallocate()
        unsafe base = ByteBuffer.nowhere
        capacity = 0
        reader = 0
        writer = 0
    }

    /// Gives the memory back if it has grown past `bytes`, else keeps it warm.
    @inlinable @inline(__always) public mutating func clear(keepingAtMost bytes: Int) {
        if capacity > bytes { release() } else { clear() }
    }
}
