import Base

/// Authentication that holds for a connection rather than for a request: the schemes `NTLM` and
/// `Negotiate` (RFC 4559 §6). Who has proved an identity so has every later request on the
/// connection taken for theirs, and a proxy must not lend it to anybody else.
public enum ConnectionAuthentication {
    /// Whether credentials (RFC 9110 §11.4), or one of several challenges (§11.6.1), are of such a
    /// scheme.
    ///
    /// - Parameter value: of `Authorization`, `WWW-Authenticate` or their siblings for proxies.
    public static func isNamed(in value: Span<UInt8>) -> Bool {
        var at = 0
        while at < value.count {
            while at < value.count, isGap(value[at]) { at += 1 }
            let start = at
            var isQuoted = false
            while at < value.count, isQuoted || value[at] != UInt8(ascii: ",") {
                if value[at] == UInt8(ascii: "\"") { isQuoted.toggle() }
                // A backslash quotes the byte behind it (§5.6.4).
                if isQuoted, value[at] == UInt8(ascii: "\\") { at += 1 }
                at += 1
            }
            if begins(value.extracting(min(start, value.count)..<min(at, value.count))) {
                return true
            }
        }
        return false
    }

    private static func isGap(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: ",")
    }

    private static func begins(_ element: Span<UInt8>) -> Bool {
        let length = ASCII.tokenLength(element)
        // `name=value` is a parameter of the challenge in front.
        guard length == element.count || isGap(element[length]) else { return false }
        let scheme = element.extracting(0..<length)
        return ASCII.equalFold(scheme, "ntlm") || ASCII.equalFold(scheme, "negotiate")
    }
}
