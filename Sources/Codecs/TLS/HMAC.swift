import COpenSSL

/// Message authentication codes (RFC 2104), by OpenSSL.
public enum HMAC {
    /// The HMAC-SHA-256 of some data: 32 bytes; none where memory is short.
    public static func sha256(key: [UInt8], _ data: [UInt8]) -> [UInt8] {
        var code = [UInt8](repeating: 0, count: 32)
        let done = unsafe key.withUnsafeBufferPointer { key in
            unsafe data.withUnsafeBufferPointer { data in
                unsafe code.withUnsafeMutableBufferPointer { out in
                    unsafe ctls_hmac_sha256(
                        key.baseAddress, key.count, data.baseAddress, data.count, out.baseAddress)
                }
            }
        }
        return done == 1 ? code : []
    }
}
