import Base

/// The signature of a webhook, by which its receiver knows that Sluice sent it, and when.
///
/// The header `x-sluice-time` has the time at which this attempt was sent, in whole seconds since
/// 1970; `x-sluice-signature` has `sha256=` and the HMAC-SHA-256 (RFC 2104) of that text, a full
/// stop, and the body, in lower-case hexadecimal. A receiver that refuses times of more than five
/// minutes ago cannot be shown an old message again.
public enum HookSignature {
    /// Makes the HMAC-SHA-256 of data under a key; 32 bytes.
    public typealias Authenticator = @Sendable (_ key: [UInt8], _ data: [UInt8]) -> [UInt8]

    public static let timeHeader = "x-sluice-time"
    public static let header = "x-sluice-signature"
    /// The least length of a key; shorter ones can be guessed.
    public static let keyBytesMin = 16

    /// The bytes that are signed.
    public static func payload(seconds: Int64, body: [UInt8]) -> [UInt8] {
        Array("\(seconds).".utf8) + body
    }

    /// The value of the header.
    public static func value(
        key: [UInt8], seconds: Int64, body: [UInt8], by authenticate: Authenticator
    ) -> String {
        "sha256=" + hex(authenticate(key, payload(seconds: seconds, body: body)))
    }

    private static func hex(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(
            decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] },
            as: UTF8.self)
    }
}
