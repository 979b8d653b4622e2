import Glibc
import Synchronization

/// A set of small numbers, a bit each, that any thread may mark and read.
///
/// Memory that nobody has marked is not touched, and the system gives it only when it is.
@safe public struct SharedBits: ~Copyable, @unchecked Sendable {
    @usableFromInline let base: UnsafeMutablePointer<Atomic<UInt64>>
    /// Numbers below it can be marked.
    public let count: Int

    /// - Parameter count: a multiple of 64, above 0.
    public init(count: Int) {
        precondition(count > 0 && count.isMultiple(of: 64), "whole words of bits")
        self.count = count
        // Zeroed memory is a run of atomic zeros.
        guard let memory = unsafe calloc(count / 64, 8) else {
            fatalError("out of memory for \(count) bits")
        }
        unsafe base = memory.assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    deinit { unsafe free(base) }

    /// Marks a number. Nothing is written where the number is marked already.
    /// - Returns: whether this call marked the number.
    @inlinable @inline(__always)
    public func mark(_ number: Int) -> Bool {
        precondition(number >= 0 && number < count, "a number of the set")
        let bit: UInt64 = 1 << UInt64(number & 63)
        if unsafe base[number >> 6].load(ordering: .relaxed) & bit != 0 { return false }
        return unsafe base[number >> 6].bitwiseOr(bit, ordering: .relaxed).oldValue & bit == 0
    }

    public func contains(_ number: Int) -> Bool {
        precondition(number >= 0 && number < count, "a number of the set")
        return unsafe base[number >> 6].load(ordering: .relaxed) >> UInt64(number & 63) & 1 == 1
    }

    /// A copy of all bits, 64 a word, the least number in the lowest bit.
    public func words() -> [UInt64] {
        (0..<count / 64).map { unsafe base[$0].load(ordering: .relaxed) }
    }

    /// The number of marked numbers in a range of the set.
    public func marked(in range: Range<Int>) -> Int {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "a range of the set")
        if range.isEmpty { return 0 }
        let first = range.lowerBound >> 6, last = (range.upperBound - 1) >> 6
        var sum = 0
        for word in first...last {
            var bits = unsafe base[word].load(ordering: .relaxed)
            if word == first { bits &= .max << UInt64(range.lowerBound & 63) }
            if word == last { bits &= .max >> UInt64(63 - (range.upperBound - 1) & 63) }
            sum += bits.nonzeroBitCount
        }
        return sum
    }
}
