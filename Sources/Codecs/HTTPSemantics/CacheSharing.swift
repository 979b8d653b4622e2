import Base

/// Whether an answer may be kept by caches that serve it to others than who asked (RFC 9111 §3).
public enum CacheSharing: UInt8, BitwiseCopyable, Sendable, Comparable {
    /// The answer says nothing that would make a shared cache keep it.
    case unsaid
    /// A lifetime is given, and nothing forbids a shared cache to keep the answer.
    case allowed
    /// The answer is meant for shared caches: `public` or `s-maxage`.
    case meant
    /// `private` or `no-store`: no shared cache keeps it.
    case forbidden

    public static func < (a: CacheSharing, b: CacheSharing) -> Bool { a.rawValue < b.rawValue }

    /// Reads one `Cache-Control` value. Of several lines the greatest counts.
    public init(_ value: Span<UInt8>) {
        self = .unsaid
        var at = 0
        while at < value.count {
            while at < value.count, ASCII.isBlank(value[at]) || value[at] == 0x2c { at += 1 }
            let start = at
            var isQuoted = false
            while at < value.count, isQuoted || value[at] != 0x2c {
                if value[at] == 0x22 { isQuoted.toggle() }
                at += 1
            }
            self = max(self, CacheSharing.of(value.extracting(start..<at)))
        }
    }

    private static func of(_ directive: Span<UInt8>) -> CacheSharing {
        let name = directive.extracting(0..<ASCII.tokenLength(directive))
        if ASCII.equalFold(name, "private") || ASCII.equalFold(name, "no-store") {
            return .forbidden
        }
        if ASCII.equalFold(name, "public") || ASCII.equalFold(name, "s-maxage") { return .meant }
        guard ASCII.equalFold(name, "max-age"), name.count < directive.count else {
            return .unsaid
        }
        // Only a lifetime of 0 is none.
        for i in (name.count + 1)..<directive.count
        where ASCII.isDigit(directive[i]) && directive[i] != 0x30 {
            return .allowed
        }
        return .unsaid
    }

    /// Reads a head's text: its `Cache-Control` lines, and `Expires` where no line gives a lifetime
    /// or forbids anything.
    /// - Parameter lines: whole field lines, each `name: value CRLF`.
    public init(lines: Span<UInt8>) {
        self = .unsaid
        FieldText.forEach(lines) { name, value, _ in
            if ASCII.equalFold(lines.extracting(name.range), "cache-control") {
                self = max(self, CacheSharing(lines.extracting(value.range)))
            } else if ASCII.equalFold(lines.extracting(name.range), "expires") {
                // A time in the past, such as "0", does no harm here.
                self = max(self, .allowed)
            }
        }
    }
}

/// Field lines as text that this process has written: each `name: value CRLF`, without folding.
public enum FieldText {
    /// Calls `body` with the positions of each line's name and value, and of the line with its
    /// CRLF, in their order.
    public static func forEach(
        _ lines: Span<UInt8>,
        _ body: (_ name: ByteRange, _ value: ByteRange, _ line: ByteRange) -> Void
    ) {
        var at = 0
        while at < lines.count {
            let rest = lines.extracting(at..<lines.count)
            guard let lf = ASCII.index(of: ASCII.lf, in: rest), lf > 0,
                let colon = ASCII.index(of: 0x3a, in: rest.extracting(0..<lf))
            else { return }
            // Behind the colon stands one space, and in front of the line feed its return.
            body(
                ByteRange(start: at, count: colon),
                ByteRange(start: at + colon + 2, count: max(0, lf - colon - 3)),
                ByteRange(start: at, count: lf + 1))
            at += lf + 1
        }
    }
}
