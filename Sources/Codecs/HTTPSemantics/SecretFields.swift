import Base

/// Fields whose values may be secret, told by their names.
public enum SecretFields {
    /// Parts of the names of such fields: `Authorization`, `Cookie`, `X-API-Key`,
    /// `X-Forwarded-Client-Cert` and whatever else follows the custom.
    private static let words: InlineArray<8, StaticString> = [
        "auth", "cookie", "token", "secret", "key", "cert", "session", "pass",
    ]

    /// Stands where a value was that is not shown.
    public static let redacted = "(not shown)"

    /// Whether the values of fields by this name are to be kept from pages, logs and reflections.
    public static func contains(_ name: Span<UInt8>) -> Bool {
        for i in 0..<words.count {
            let count = words[i].utf8CodeUnitCount
            guard name.count >= count else { continue }
            for at in 0...(name.count - count)
            where ASCII.equalFold(name.extracting(at..<(at + count)), words[i]) {
                return true
            }
        }
        return false
    }

    /// The value of a field as a page may show it.
    public static func shown(_ value: String, of name: String) -> String {
        contains(Array(name.utf8).span) ? redacted : value
    }
}
