import Base

/// Chunk extensions may stand between a chunk's size and its CRLF (RFC 9112 §7.1.1):
///
///     chunk-ext = *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )
///
/// Nobody has a use for extensions, and a reader that finds a line's end elsewhere finds another
/// message: so each rule is kept, and what goes on has none.
enum ChunkExtensions {
    /// Checks what lies behind the size.
    ///
    /// - Parameter takesBlanks: blanks in front of the CRLF are no fault. RFC 9112 has no place for
    ///   them, but origins on small devices and old balancers pad sizes so, and nginx, HAProxy and
    ///   Go take them; what goes on to the client is without them.
    /// - Returns: the position of the CR, or `nil` when the line is not all there.
    static func end(
        _ bytes: Span<UInt8>, from start: Int, takesBlanks: Bool
    ) throws(HTTP1Violation) -> Int? {
        var at = start
        while true {
            let next = skipBlanks(bytes, at)
            guard next < bytes.count else { return nil }
            if bytes[next] == ASCII.cr {
                guard next == at || takesBlanks else { throw .badChunkSize }
                return next
            }
            guard bytes[next] == UInt8(ascii: ";") else {
                throw at == start ? .badChunkSize : .badChunkExtension
            }
            guard let end = try one(bytes, skipBlanks(bytes, next + 1)) else { return nil }
            at = end
        }
    }

    private static func skipBlanks(_ bytes: Span<UInt8>, _ start: Int) -> Int {
        var at = start
        while at < bytes.count, ASCII.isBlank(bytes[at]) { at += 1 }
        return at
    }

    /// A name, perhaps with a value.
    /// - Returns: the position behind it, or `nil` when it may go on in bytes that are not there.
    private static func one(_ bytes: Span<UInt8>, _ start: Int) throws(HTTP1Violation) -> Int? {
        guard let name = try token(bytes, start) else { return nil }
        let equals = skipBlanks(bytes, name)
        guard equals < bytes.count else { return nil }
        guard bytes[equals] == UInt8(ascii: "=") else { return name }
        let value = skipBlanks(bytes, equals + 1)
        guard value < bytes.count else { return nil }
        if bytes[value] == UInt8(ascii: "\"") { return try quoted(bytes, value + 1) }
        return try token(bytes, value)
    }

    private static func token(_ bytes: Span<UInt8>, _ start: Int) throws(HTTP1Violation) -> Int? {
        let end = start + ASCII.tokenLength(bytes.extracting(start..<bytes.count))
        guard end < bytes.count else { return nil }
        guard end > start else { throw .badChunkExtension }
        return end
    }

    /// A quoted-string behind its first quote (RFC 9110 §5.6.4): text, and pairs of a backslash and
    /// a byte that a value may have.
    private static func quoted(_ bytes: Span<UInt8>, _ start: Int) throws(HTTP1Violation) -> Int? {
        let end = start + ASCII.valueLength(bytes.extracting(start..<bytes.count))
        var at = start
        while at < end, bytes[at] != UInt8(ascii: "\"") {
            at += bytes[at] == UInt8(ascii: "\\") ? 2 : 1
        }
        if at < end { return at + 1 }
        // A control character inside of it, or its rest is not there yet.
        guard end == bytes.count else { throw .badChunkExtension }
        return nil
    }
}
