import COpenSSL

/// The hash function SHA-256 (FIPS 180-4), by OpenSSL.
public enum SHA256 {
    /// The hash of some bytes: 32 bytes. Ends the process where memory is short.
    public static func hash(_ bytes: [UInt8]) -> [UInt8] {
        var hash = [UInt8](repeating: 0, count: 32)
        let done = unsafe bytes.withUnsafeBufferPointer { bytes in
            unsafe hash.withUnsafeMutableBufferPointer { out in
                unsafe ctls_sha256(bytes.baseAddress, bytes.count, out.baseAddress)
            }
        }
        precondition(done == 1, "memory for a hash")
        return hash
    }
}
