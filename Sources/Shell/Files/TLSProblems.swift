import Base
import Configuration
import HTTPSemantics
import Platform
import TLS

/// Collects what is wrong with certificates and keys, in words that say what to do, with the place
/// in the configuration where the file is named.
struct TLSProblems {
    private(set) var errors: [ConfigurationError] = []
    private(set) var warnings: [ConfigurationError] = []
    /// For places; let go of when everything is said.
    private var reading: ConfigurationReading?
    /// When certificates are judged.
    let now: WallTime

    /// A certificate that ends sooner is warned of.
    static let noticeSeconds: Int64 = 30 * 86_400

    init(_ reading: ConfigurationReading, now: WallTime) {
        self.reading = reading
        self.now = now
    }

    mutating func close() { reading = nil }

    /// Whether the file gives the value.
    func has(_ path: [String]) -> Bool { reading?.has(path) ?? false }

    private func problem(
        _ message: String, _ path: [String], _ hint: String, _ severity: ConfigurationError.Severity
    ) -> ConfigurationError {
        reading?.problem(message, of: path, hint: hint, severity: severity)
            ?? .ofFile(message, hint: hint)
    }

    mutating func fail(_ message: String, _ path: [String], _ hint: String) {
        errors.append(problem(message, path, hint, .error))
    }

    mutating func warn(_ message: String, _ path: [String], _ hint: String) {
        warnings.append(problem(message, path, hint, .warning))
    }

    // MARK: Files

    mutating func unreadable(_ file: String, _ error: SystemError, _ path: [String]) {
        let hint =
            switch error.cause {
            case .missing:
                "names are relative to the configuration file's own directory"
            case .forbidden: "the user that runs Sluice must be able to read it"
            case .isDirectory: "name the file in it, such as tls.crt"
            case .tooLarge: "at most 1 MiB is read"
            default: ""
            }
        fail("\(file) cannot be read: \(error.message)", path, hint)
    }

    /// - Returns: whether the file may hold certificates.
    mutating func expectsCertificates(_ pem: PEMFile, _ file: String, _ path: [String]) -> Bool {
        if pem.hasCertificate { return true }
        if !isPEM(pem, file, "a certificate", path) { return false }
        if pem.hasRequest {
            fail(
                "\(file) is a request for a certificate, not a certificate", path,
                "name the file that the authority gave back")
        } else {
            fail(
                "\(file) has no certificate but \(TLSProblems.article(pem.labels))", path,
                pem.hasKey ? "it belongs under key:" : "")
        }
        return false
    }

    /// - Returns: whether the file may hold a key that can be used.
    mutating func expectsKey(_ pem: PEMFile, _ file: String, _ path: [String]) -> Bool {
        if !pem.hasKey {
            if !isPEM(pem, file, "a private key", path) { return false }
            fail(
                "\(file) has no private key but \(TLSProblems.article(pem.labels))", path,
                pem.hasCertificate ? "it belongs under certificate:" : "")
            return false
        }
        if pem.isEncrypted {
            fail(
                "the key \(file) is encrypted, and nobody is there to type its passphrase", path,
                "store it without one, readable by Sluice's user alone: "
                    + "openssl pkey -in \(file) -out NEW")
            return false
        }
        return true
    }

    private mutating func isPEM(
        _ pem: PEMFile, _ file: String, _ what: String, _ path: [String]
    ) -> Bool {
        if pem.bytes.isEmpty {
            fail("\(file) is empty, expected \(what) in PEM", path, "")
        } else if pem.isDER {
            fail(
                "\(file) is binary (DER or PKCS #12), expected \(what) in PEM", path,
                "convert it: openssl x509 -inform der -in \(file), openssl pkey -inform der -in "
                    + "\(file), or openssl pkcs12 -nodes -in \(file)")
        } else if pem.labels.isEmpty {
            fail(
                "\(file) is not PEM, expected \(what)", path,
                "a PEM file has a line -----BEGIN …----- before its data")
        } else {
            return true
        }
        return false
    }

    private static func article(_ labels: [String]) -> String {
        labels.isEmpty ? "nothing" : "\"\(labels[0])\""
    }

    mutating func swapped(_ certificate: String, _ key: String, _ path: [String]) {
        fail(
            "certificate: and key: are swapped: \(certificate) has a private key and \(key) a "
                + "certificate", path, "write certificate: \(key) and key: \(certificate)")
    }

    /// OpenSSL would not take the two together.
    mutating func refused(
        _ certificates: PEMFile, _ key: PEMFile, _ names: (certificate: String, key: String),
        _ reason: String, _ path: [String]
    ) {
        switch PEMFile.fit(key: key, certificates: certificates) {
        case .none:
            fail(
                "the key \(names.key) does not belong to the certificate \(names.certificate)",
                path,
                "openssl pkey -pubout -in \(names.key) and openssl x509 -noout -pubkey -in "
                    + "\(names.certificate) must print one key")
        case .certificate(let n) where n > 0:
            fail(
                "the key \(names.key) belongs to certificate \(n + 1) of \(names.certificate), not "
                    + "to the first", path,
                "the server's own certificate stands first, the chain behind it")
        case .unreadable:
            fail(
                "the key \(names.key) cannot be read: OpenSSL says \"\(reason)\"", path,
                "openssl pkey -in \(names.key) -noout must be silent")
        case .certificate:
            fail(
                "the certificate \(names.certificate) is not taken: OpenSSL says \"\(reason)\"",
                path, "openssl x509 -in \(names.certificate) -noout must be silent")
        }
    }

    // MARK: Time

    /// Warns of a certificate that is over, ends soon or has not begun.
    mutating func judge(_ certificate: PEMFile.Certificate, _ file: String, _ path: [String]) {
        let left = certificate.notAfter - now.seconds
        let name = certificate.subject.isEmpty ? "" : " (\(certificate.subject))"
        let file = "the certificate in \(file)\(name)", end = TLSProblems.day(certificate.notAfter)
        let renew = "put a new one in the file's place and reload; --watch does that by itself"
        if left < 0 {
            warn(
                "\(file) expired on \(end), \(TLSProblems.days(-left)) ago: whoever verifies it "
                    + "turns it away", path, renew)
        } else if left < TLSProblems.noticeSeconds {
            warn("\(file) expires on \(end), in \(TLSProblems.days(left))", path, renew)
        }
        if certificate.notBefore > now.seconds {
            warn(
                "\(file) is not valid before \(TLSProblems.day(certificate.notBefore))", path,
                "compare this machine's clock with the authority's")
        }
    }

    private static func days(_ seconds: Int64) -> String {
        let days = seconds / 86_400
        if days == 0 { return "less than a day" }
        return days == 1 ? "1 day" : "\(days) days"
    }

    private static func day(_ seconds: Int64) -> String {
        var days = seconds / 86_400
        if seconds % 86_400 < 0 { days -= 1 }
        let (year, month, day) = HTTPDate.civil(days: days)
        func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(year)-\(two(month))-\(two(day))"
    }
}
