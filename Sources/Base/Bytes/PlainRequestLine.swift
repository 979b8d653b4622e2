import CScan

/// A request line that needs no second look: a method of capitals, a path in normal form, perhaps a
/// query, and HTTP/1.1. Nearly every client sends such ones.
public struct PlainRequestLine: BitwiseCopyable, Sendable {
    @usableFromInline let line: cscan_request_line

    /// Reads the line that `bytes` begin with; `nil`: it is another, or not all there.
    @inlinable public init?(_ bytes: Span<UInt8>) {
        var line = cscan_request_line()
        let isPlain = unsafe bytes.withUnsafeBufferPointer { p in
            guard let start = p.baseAddress else { return false }
            return unsafe cscan_request(start, p.count, &line) != 0
        }
        guard isPlain else { return nil }
        self.line = line
    }

    /// Where the method ends; the target starts one byte later.
    @inlinable public var methodEnd: Int { Int(line.method_end) }
    @inlinable public var pathEnd: Int { Int(line.path_end) }
    /// Where the target ends; with a query that is behind `pathEnd`.
    @inlinable public var targetEnd: Int { Int(line.target_end) }
    /// The position past the line's CRLF.
    @inlinable public var end: Int { targetEnd &+ 11 }
}
