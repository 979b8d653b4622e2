import Base
import Configuration
import Platform
import TLS

/// A configuration file with everything it names, read from disk.
public struct ConfigurationFile: Sendable {
    public let path: String
    public let document: Document
    public let hash: String
    public let stickyKeys: [String: [SipHash]]
    let tls: TLSFiles
    /// Every other file that the configuration is made of, to be watched with it.
    let files: [String]
    /// Warnings as a person reads them; empty without.
    public let warnings: String

    /// Why a file is not taken; each text says what to do.
    public struct Rejection: Error, Sendable {
        public let text: String
        public let json: JSONText
        /// Files that the configuration names: one of them may be what is wrong.
        var files: [String] = []
    }

    public static let bytesMax = 4 << 20

    /// Reads and checks a file, and those it names.
    public static func load(_ path: String) -> Result<ConfigurationFile, Rejection> {
        load(path, tickets: nil)
    }

    static func load(_ path: String, tickets: TLSTickets?) -> Result<ConfigurationFile, Rejection> {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try Files.read(path, bytesMax: bytesMax)
        } catch {
            return .failure(plain(path, "the file cannot be read: \(error.message)"))
        }
        let reading = ConfigurationReading(bytes)
        guard let document = reading.document else {
            return .failure(
                Rejection(
                    text: reading.text(file: path, bytes: bytes),
                    json: .array(
                        (reading.errors + reading.warnings).map { $0.json(file: path) })))
        }
        let files = names(document).map { resolve($0, beside: path) }
        var keys: [String: [SipHash]] = [:]
        for service in document.services {
            guard let name = service.sticky?.keysPath else { continue }
            switch KeysFile.load(resolve(name, beside: path)) {
            case .success(let list): keys[name] = list
            case .failure(let failure):
                return .failure(
                    plain(path, "services.\(service.name).sticky.keys: \(failure.text)", files))
            }
        }
        let tls: TLSFiles
        do throws(TLSFiles.Rejection) {
            tls = try TLSFiles.load(document, base: path, tickets: tickets)
        } catch {
            return .failure(plain(path, error.text, files))
        }
        return .success(
            ConfigurationFile(
                path: path, document: document, hash: reading.hash, stickyKeys: keys, tls: tls,
                files: files, warnings: reading.text(file: path, bytes: bytes)))
    }

    /// Names of the key and PEM files, as the configuration has them.
    private static func names(_ document: Document) -> [String] {
        var names: [String] = []
        for listener in document.listeners {
            guard let tls = listener.tls else { continue }
            names += tls.certificates.flatMap { [$0.certificate, $0.key] }
            if let authorities = tls.clientCA { names.append(authorities) }
        }
        for service in document.services {
            if let keys = service.sticky?.keysPath { names.append(keys) }
            guard let tls = service.tls else { continue }
            if let authorities = tls.ca { names.append(authorities) }
            if let pair = tls.certificate { names += [pair.certificate, pair.key] }
        }
        return names
    }

    private static func plain(
        _ path: String, _ message: String, _ files: [String] = []
    ) -> Rejection {
        Rejection(
            text: "\(path): error: \(message)",
            json: .array([
                .object([
                    ("file", .string(path)), ("line", .integer(0)), ("column", .integer(0)),
                    ("severity", .string("error")), ("message", .string(message)),
                    ("hint", .string("")),
                ])
            ]), files: files)
    }

    /// Why the access log cannot be opened, and what to do.
    func accessLogFailure(_ error: SystemError) -> String {
        "accessLog.path: \(accessLogPath ?? "") cannot be opened to be written: \(error.message); "
            + "names without a leading / are beside the configuration file"
    }

    /// Where the access log is; `nil` without one.
    var accessLogPath: String? {
        document.accessLog.map { ConfigurationFile.resolve($0.path, beside: path) }
    }

    /// Names in the file are relative to the file's own directory.
    static func resolve(_ name: String, beside path: String) -> String {
        if name.hasPrefix("/") { return name }
        guard let slash = path.lastIndex(of: "/") else { return name }
        return String(path[...slash]) + name
    }
}

/// A file of sticky keys: 32 hex digits a line, `#` starts a comment. Never shown anywhere.
enum KeysFile {
    struct Failure: Error { let text: String }

    static func load(_ path: String) -> Result<[SipHash], Failure> {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try Files.read(path, bytesMax: 65_536)
        } catch {
            return .failure(Failure(text: "\(path) cannot be read: \(error.message)"))
        }
        var keys: [SipHash] = []
        let lines = String(decoding: bytes, as: UTF8.self).split(
            separator: "\n", omittingEmptySubsequences: false)
        for (i, line) in lines.enumerated() {
            let text = line.prefix { $0 != "#" }.filter { !$0.isWhitespace }
            if text.isEmpty { continue }
            guard text.utf8.count == 32, let high = UInt64(text.prefix(16), radix: 16),
                let low = UInt64(text.suffix(16), radix: 16)
            else {
                return .failure(
                    Failure(
                        text: "\(path):\(i + 1) is not a key; expected 32 hex digits, "
                            + "as `openssl rand -hex 16` prints them"))
            }
            keys.append(SipHash(k0: high.byteSwapped, k1: low.byteSwapped))
        }
        if keys.isEmpty { return .failure(Failure(text: "\(path) has no key")) }
        return .success(keys)
    }
}
