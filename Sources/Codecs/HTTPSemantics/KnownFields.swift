/// A set of known field names, a bit each.
public struct KnownFields: Equatable, Sendable, BitwiseCopyable {
    @usableFromInline var bits: UInt64 = 0

    @inlinable public init() {}

    @inlinable init(bits: UInt64) { self.bits = bits }

    @inlinable @inline(__always) public init(_ field: KnownField) { insert(field) }

    /// The set with one field more. Sets that are written as a chain of these cost nothing.
    @inlinable @inline(__always) public func with(_ field: KnownField) -> KnownFields {
        var set = self
        set.insert(field)
        return set
    }

    @inlinable @inline(__always) public func contains(_ field: KnownField) -> Bool {
        bits & KnownFields.bit(field) != 0
    }

    @inlinable @inline(__always) public mutating func insert(_ field: KnownField) {
        bits |= KnownFields.bit(field)
    }

    @inlinable @inline(__always) public func isDisjoint(with other: KnownFields) -> Bool {
        bits & other.bits == 0
    }

    @inlinable @inline(__always) static func bit(_ field: KnownField) -> UInt64 {
        1 << (UInt64(field.rawValue) & 63)
    }
}
