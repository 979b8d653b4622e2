/// An array of one fixed length in memory of its own, reached without reference counting.
///
/// Elements are plain values. Every access is checked against `count`.
@safe public struct FixedArray<Element: BitwiseCopyable>: ~Copyable, @unchecked Sendable {
    @usableFromInline let base: UnsafeMutablePointer<Element>
    public let count: Int

    /// Allocates `count` elements, all equal to `value`.
    public init(repeating value: Element, count: Int) {
        precondition(count >= 0, "an array has no negative length")
        unsafe base = UnsafeMutablePointer<Element>.allocate(capacity: max(count, 1))
        unsafe base.initialize(repeating: value, count: count)
        self.count = count
    }

    /// Copies the elements of a Swift array.
    public init(_ elements: [Element]) {
        unsafe base = UnsafeMutablePointer<Element>.allocate(capacity: max(elements.count, 1))
        for (i, element) in elements.enumerated() {
            unsafe (base + i).initialize(to: element)
        }
        count = elements.count
    }

    deinit { unsafe base.deallocate() }

    @inlinable public subscript(index: Int) -> Element {
        @inline(__always) get {
            precondition(
                UInt(bitPattern: index) < UInt(bitPattern: count), "index within the array")
            return unsafe base[index]
        }
        @inline(__always) nonmutating _modify {
            precondition(
                UInt(bitPattern: index) < UInt(bitPattern: count), "index within the array")
            yield unsafe &base[index]
        }
    }

    /// Lets a C function fill the elements; the pointer must not be kept.
    @unsafe @inlinable
    public func withPointer<Result>(_ body: (UnsafeMutablePointer<Element>) -> Result) -> Result {
        unsafe body(base)
    }

    /// The elements as a span that lives as long as this array.
    public var span: Span<Element> {
        @_lifetime(borrow self)
        @inlinable @inline(__always) get {
            let view = unsafe Span(_unsafeStart: UnsafePointer(base), count: count)
            return unsafe _overrideLifetime(view, borrowing: self)
        }
    }
}
