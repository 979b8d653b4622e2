/// Many immutable byte strings in one piece of memory, named by range. Built once, then only read.
public struct ByteStore: ~Copyable, Sendable {
    @usableFromInline var buffer = ByteBuffer()

    public init() {}

    /// Keeps a copy of the bytes and returns its name.
    public mutating func intern(_ bytes: [UInt8]) -> ByteRange {
        let start = buffer.writerIndex
        buffer.append(bytes.span)
        return ByteRange(start: start, count: bytes.count)
    }

    public mutating func intern(_ text: String) -> ByteRange { intern(Array(text.utf8)) }

    /// The bytes of a name that this store gave; valid as long as the store.
    @_lifetime(immortal)
    @inlinable public func bytes(_ range: ByteRange) -> Span<UInt8> { buffer.span(range) }

    public var byteCount: Int { buffer.count }
}
