import CRE2

/// A compiled RE2 pattern: linear time on every input, no back-references.
///
/// Immutable and shared between threads; RE2 guards its own lazily built automaton.
@safe public final class RegularExpression: @unchecked Sendable {
    private let compiled: UnsafeMutableRawPointer
    public let pattern: String

    /// Why a pattern was refused, in RE2's words.
    public struct Failure: Error, Sendable { public let reason: String }

    /// Memory that one pattern's program and automaton may take.
    public static let memoryBytesMax: Int64 = 1 << 20

    public init(_ pattern: String) throws(Failure) {
        var reason = [CChar](repeating: 0, count: 256)
        let bytes = pattern.utf8.map { CChar(bitPattern: $0) }
        let result = unsafe cre2_compile(
            bytes, bytes.count, RegularExpression.memoryBytesMax, &reason, reason.count)
        guard let result = unsafe result else {
            let text = reason.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            throw Failure(reason: String(decoding: text, as: UTF8.self))
        }
        unsafe compiled = result
        self.pattern = pattern
    }

    deinit { unsafe cre2_free(compiled) }

    /// Whether the whole text matches, byte by byte.
    public func matches(_ text: Span<UInt8>) -> Bool {
        unsafe text.withUnsafeBufferPointer { p in
            guard let start = p.baseAddress else {
                var nothing: UInt8 = 0
                return unsafe cre2_full_match(compiled, &nothing, 0) != 0
            }
            return unsafe cre2_full_match(compiled, start, p.count) != 0
        }
    }
}

/// Two expressions are equal when their patterns are, letter by letter.
extension RegularExpression: Equatable {
    public static func == (a: RegularExpression, b: RegularExpression) -> Bool {
        a.pattern == b.pattern
    }
}
