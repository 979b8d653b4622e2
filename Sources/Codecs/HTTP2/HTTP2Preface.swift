import Base

/// The bytes that a client's HTTP/2 connection begins with (RFC 9113 §3.4).
public enum HTTP2Preface {
    public static var first: UInt8 { UInt8(ascii: "P") }

    static var byteCount: Int { 24 }

    /// `0 <= position < byteCount`.
    static func byte(_ position: Int) -> UInt8 { unsafe text.utf8Start[position] }

    static func append(to out: inout ByteBuffer) { out.append(text) }

    private static var text: StaticString { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" }

    /// Whether bytes begin with the preface; `nil` when they cannot any more, `false` while they
    /// still may.
    public static func match(_ bytes: Span<UInt8>) -> Bool? {
        let count = min(bytes.count, text.utf8CodeUnitCount)
        guard ASCII.equalPrefix(bytes.extracting(0..<count), text) else { return nil }
        return count == text.utf8CodeUnitCount
    }
}
