import COpenSSL

/// The bytes of a PEM file, and what they are: said before OpenSSL is asked to use them, so that a
/// message can name what was put in a file by mistake.
@safe public struct PEMFile: Sendable {
    public let bytes: [UInt8]
    /// The labels of all `-----BEGIN …-----` lines of the file, in order.
    public let labels: [String]

    public init(_ bytes: [UInt8]) {
        self.bytes = bytes
        labels = PEMFile.labels(bytes)
    }

    /// The facts that a certificate states about itself.
    public struct Certificate: Sendable, Equatable {
        /// The subject's common name, perhaps empty.
        public var subject: String
        /// When the certificate begins to be valid, in seconds since 1970.
        public var notBefore: Int64
        public var notAfter: Int64
    }

    public var hasCertificate: Bool { labels.contains { $0.hasSuffix("CERTIFICATE") } }
    public var hasRequest: Bool { labels.contains { $0.hasSuffix("CERTIFICATE REQUEST") } }
    public var hasKey: Bool { labels.contains { $0.hasSuffix("PRIVATE KEY") } }

    /// Whether the file's key needs a passphrase (RFC 5958, or the older form of OpenSSL).
    public var isEncrypted: Bool {
        labels.contains("ENCRYPTED PRIVATE KEY") || contains("Proc-Type: 4,ENCRYPTED")
    }

    /// The bytes begin as DER does: a certificate, a key or a PKCS #12 store in binary.
    public var isDER: Bool { labels.isEmpty && bytes.first == 0x30 }

    /// The file's certificates, at most 1,000, up to one that cannot be read.
    public var certificates: [Certificate] {
        var all: [Certificate] = []
        var subject = [CChar](repeating: 0, count: 256)
        while all.count < 1_000 {
            var before: Int64 = 0, after: Int64 = 0
            let found = unsafe bytes.withUnsafeBytes { pem in
                unsafe subject.withUnsafeMutableBufferPointer { name in
                    unsafe ctls_certificate_facts(
                        pem.baseAddress?.assumingMemoryBound(to: CChar.self), pem.count,
                        Int32(all.count), &before, &after, name.baseAddress, name.count)
                }
            }
            if found == 0 { break }
            let end = subject.firstIndex(of: 0) ?? 0
            let text = String(
                decoding: subject[..<end].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            all.append(Certificate(subject: text, notBefore: before, notAfter: after))
        }
        return all
    }

    /// How a key and a certificate file go together.
    public enum Fit: Sendable, Equatable {
        /// The place of the certificate that it belongs to, from 0.
        case certificate(Int)
        case none
        case unreadable
    }

    public static func fit(key: PEMFile, certificates: PEMFile) -> Fit {
        let found = unsafe certificates.bytes.withUnsafeBytes { pem in
            unsafe key.bytes.withUnsafeBytes { key in
                unsafe ctls_certificate_of_key(
                    pem.baseAddress?.assumingMemoryBound(to: CChar.self), pem.count,
                    key.baseAddress?.assumingMemoryBound(to: CChar.self), key.count)
            }
        }
        return found >= 0 ? .certificate(Int(found)) : found == -1 ? .none : .unreadable
    }

    private func contains(_ text: String) -> Bool {
        let wanted = Array(text.utf8)
        guard bytes.count >= wanted.count else { return false }
        return (0...(bytes.count - wanted.count)).contains { start in
            bytes[start] == wanted[0] && bytes[start..<(start + wanted.count)].elementsEqual(wanted)
        }
    }

    private static func labels(_ bytes: [UInt8]) -> [String] {
        let begin = Array("-----BEGIN ".utf8)
        return bytes.split(separator: 0x0a).compactMap { line in
            guard line.starts(with: begin) else { return nil }
            let rest = line.dropFirst(begin.count)
            return String(decoding: rest.prefix { $0 != 0x2d }, as: UTF8.self)
        }
    }
}
