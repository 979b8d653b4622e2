import Base
import Configuration
import JSON
import Platform
import TLS
import Telemetry

/// A configuration file with everything it names, read from disk.
public struct ConfigurationFile: Sendable {
    public let path: String
    /// As the file has it.
    public let own: Document
    /// The document that is to be in force: the file's, under the overlay.
    public private(set) var document: Document
    /// Where each service's weights come from, in the document's order.
    public private(set) var sources: [OverlayMerge.Source] = []
    /// Entries of the overlay that have no force any more.
    package private(set) var dropped:
        [(service: String, entry: Overlay.Entry, why: OverlayMerge.Dropping)] = []
    /// The place of the overlay; `nil` where the file has no `rollouts:`.
    public let overlayFile: OverlayFile?
    /// The overlay as it was read beside the file.
    package let overlayReading: OverlayFile.Reading
    public let hash: String
    public let stickyKeys: [String: [SipHash]]
    /// Tokens of the admin endpoint, that of `admin.token` first; empty where the file names none.
    public let adminTokens: [NamedToken]
    /// The rules of the time zones that windows of plans name, by their names.
    public let zones: PlanZones
    /// Who the process is to monitoring: what the file says, and what Kubernetes tells besides.
    public let identity: ProcessIdentity
    package let tls: TLSFiles
    /// Every other file that the configuration is made of, to be watched with it.
    package let files: [String]
    /// Warnings as a person reads them; empty without.
    public let warnings: String
    public let warningsJSON: JSONText

    /// The token that the admin pages ask for: one that may do everything; `nil` where the file
    /// names none. Never shown.
    public var adminToken: String? { adminTokens.first { $0.may(.all) }?.token }

    /// Why a file is not taken; each text says what to do.
    public struct Rejection: Error, Sendable {
        public let text: String
        public let json: JSONText
        /// Files that the configuration names: one of them may be what is wrong.
        package let files: [String]

        /// - Parameters:
        ///   - bytes: the file's, whose lines are shown.
        ///   - files: that the configuration names.
        init(
            _ problems: [ConfigurationError], _ path: String, _ bytes: [UInt8],
            files: [String] = []
        ) {
            let lines = ConfigurationError.lines(bytes)
            text = problems.map { $0.text(file: path, lines: lines) }.joined(separator: "\n")
            json = .array(problems.map { $0.json(file: path) })
            self.files = files
        }
    }

    public static let bytesMax = 4 << 20

    /// Reads and checks a file, and those it names.
    ///
    /// - Parameter warnsOfPorts: whether ports that this process may not listen on are warned of.
    public static func load(
        _ path: String, warnsOfPorts: Bool = false
    ) -> Result<ConfigurationFile, Rejection> {
        load(path, tickets: nil, warnsOfPorts: warnsOfPorts)
    }

    /// Reads and checks the file alone, without those that it names.
    /// - Parameter whenRead: called when its bytes are there, before they are checked.
    public static func read(
        _ path: String, whenRead: () -> Void = {}
    ) -> Result<ConfigurationReading, Rejection> {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try Files.read(path, bytesMax: bytesMax)
        } catch {
            return .failure(unreadable(path, error))
        }
        whenRead()
        let reading = ConfigurationReading(bytes)
        if reading.document == nil {
            return .failure(Rejection(reading.errors + reading.warnings, path, bytes))
        }
        return .success(reading)
    }

    /// Reads and checks a file, and those it names.
    ///
    /// - Parameters:
    ///   - tickets: keys of TLS sessions that are kept over reloads; `nil` makes new ones.
    ///   - whenRead: called when the bytes are there, before they are checked.
    ///   - warnsOfPorts: whether ports that this process may not listen on are warned of.
    package static func load(
        _ path: String, tickets: TLSTickets?, warnsOfPorts: Bool = false,
        whenRead: () -> Void = {}
    ) -> Result<ConfigurationFile, Rejection> {
        let reading: ConfigurationReading
        switch read(path, whenRead: whenRead) {
        case .success(let read): reading = read
        case .failure(let rejection): return .failure(rejection)
        }
        guard let document = reading.document else {
            return .failure(Rejection(reading.errors, path, reading.bytes))
        }
        let files = names(document).map { resolve($0, beside: path) }
        var errors: [ConfigurationError] = []
        var keys: [String: [SipHash]] = [:]
        for service in document.services {
            guard let name = service.sticky?.keysPath else { continue }
            switch KeysFile.load(resolve(name, beside: path)) {
            case .success(let list): keys[name] = list
            case .failure(let failure):
                errors.append(
                    reading.problem(
                        failure.text, of: ["services", service.name, "sticky", "keys"],
                        hint: failure.hint))
            }
        }
        let tokens = AdminTokens.load(document, reading, beside: path, &errors)
        let zones = ZoneFile.load(document, &errors)
        errors += planFileProblems(document, beside: path)
        let tls = TLSFiles.load(document, reading, base: path, tickets: tickets)
        errors += tls.errors
        var more: [ConfigurationError] = []
        if let problem = accessLogProblem(reading, document, beside: path) {
            if problem.severity == .error { errors.append(problem) } else { more.append(problem) }
        }
        if let problem = directoryProblem(reading, document, beside: path) { more.append(problem) }
        if warnsOfPorts { more += portProblems(reading, document) }
        let warnings = ConfigurationError.inOrder(reading.warnings + tls.warnings + more)
        if !errors.isEmpty {
            return .failure(
                Rejection(
                    ConfigurationError.inOrder(errors) + warnings, path, reading.bytes,
                    files: files))
        }
        let shown = Rejection(warnings, path, reading.bytes)
        let place = document.rollouts.map { OverlayFile($0, beside: path) }
        let file = ConfigurationFile(
            path: path, own: document, document: document, overlayFile: place,
            overlayReading: place?.read() ?? .overlay(Overlay()), hash: reading.hash,
            stickyKeys: keys, adminTokens: tokens, zones: zones,
            identity: ProcessIdentity(document.identity, Surroundings.read()), tls: tls,
            files: files + (place.map { [$0.path] } ?? []),
            warnings: shown.text, warningsJSON: shown.json)
        return .success(file.overlaid(by: file.overlayRead))
    }

    /// The overlay that was read; an empty one where the file was not believed.
    package var overlayRead: Overlay {
        if case .overlay(let overlay) = overlayReading { return overlay }
        return Overlay()
    }

    /// Why the overlay's file is not believed, and what to do; `nil` when it is.
    public var overlayProblem: String? {
        if case .bad(let text) = overlayReading { return text }
        return nil
    }

    /// This file under another overlay; where it has no `rollouts:`, under none.
    package func overlaid(by overlay: Overlay) -> ConfigurationFile {
        let merge = OverlayMerge(own, under: overlayFile == nil ? Overlay() : overlay)
        var file = self
        file.document = merge.document
        file.sources = merge.sources
        file.dropped = merge.dropped
        return file
    }

    /// Names of the token, key and PEM files, as the configuration has them.
    private static func names(_ document: Document) -> [String] {
        var names: [String] = []
        if let token = document.adminTokenPath { names.append(token) }
        names += document.adminTokens.map(\.path)
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

    /// The configuration file itself cannot be read.
    private static func unreadable(_ path: String, _ error: SystemError) -> Rejection {
        let hint =
            switch error.cause {
            case .missing: "give another file with -c"
            case .forbidden: "this user may not read it"
            case .isDirectory: "name the file in it"
            case .tooLarge: "at most 4 MiB are read"
            default: ""
            }
        let problem = ConfigurationError.ofFile(
            "the file cannot be read: \(error.message)", hint: hint)
        return Rejection([problem], path, [])
    }

    /// Says what speaks against the access log's file. That another user may not write the file is
    /// a warning: the one that runs Sluice may.
    private static func accessLogProblem(
        _ reading: ConfigurationReading, _ document: Document, beside path: String
    ) -> ConfigurationError? {
        guard let log = document.accessLog else { return nil }
        let full = resolve(log.path, beside: path)
        // What stands there depends on how the process is started.
        if full.hasPrefix("/dev/") || full.hasPrefix("/proc/") { return nil }
        guard let obstacle = Files.obstacle(toAppending: full) else { return nil }
        let hint: String
        switch obstacle.cause {
        case .missing:
            let parent = full.lastIndex(of: "/").map { String(full[..<$0]) } ?? "."
            hint = "make the directory: mkdir -p \(parent)"
        case .isDirectory: hint = "name a file in it: \(log.path)/access.log"
        case .forbidden: hint = "the user that runs Sluice must be able to write there"
        default: hint = "write path: /dev/stdout, or name a file that can be appended to"
        }
        return reading.problem(
            "accessLog.path: \(full) cannot be opened to be written: \(obstacle.message)",
            of: ["accessLog", "path"],
            hint: hint + "; names without a leading / are beside the configuration file",
            severity: obstacle.cause == .forbidden ? .warning : .error)
    }

    /// Files that plans name and that cannot be read. They are read anew at each use, so only their
    /// being there is looked at.
    private static func planFileProblems(
        _ document: Document, beside path: String
    ) -> [ConfigurationError] {
        (document.rollouts?.files ?? []).compactMap { place in
            let full = resolve(place.text, beside: path)
            do throws(SystemError) {
                _ = try Files.readPlain(full, bytesMax: 1 << 20)
                return nil
            } catch {
                return ConfigurationError(
                    "\(full) cannot be read: \(error.message)", at: place.mark,
                    hint: "names without a leading / are beside the configuration file")
            }
        }
    }

    /// The directory of rollouts is made by Sluice, the one above it is not.
    private static func directoryProblem(
        _ reading: ConfigurationReading, _ document: Document, beside path: String
    ) -> ConfigurationError? {
        guard let rollouts = document.rollouts else { return nil }
        let directory = OverlayFile(rollouts, beside: path).directory
        let parent = directory.lastIndex(of: "/").map { String(directory[..<$0]) } ?? ""
        guard !parent.isEmpty, Files.stamp(directory) == nil, Files.stamp(parent) == nil else {
            return nil
        }
        return reading.problem(
            "rollouts.directory: \(directory) cannot be made, because there is no \(parent)",
            of: ["rollouts", "directory"],
            hint: "make it: mkdir -p \(parent); names without a leading / are beside the "
                + "configuration file", severity: .warning)
    }

    /// Listeners on ports that this process may not have.
    private static func portProblems(
        _ reading: ConfigurationReading, _ document: Document
    ) -> [ConfigurationError] {
        document.listeners.enumerated().compactMap { i, listener in
            let address = listener.address
            guard address.family != .unix, !Machine.mayListen(onPort: address.port) else {
                return nil
            }
            return reading.problem(
                "the listener \"\(listener.name)\" needs a privilege that this user does not have: "
                    + "its port is below \(Machine.lowestFreePort())",
                of: ["listeners", "\(i)", "address"], hint: Advice.privilegedPort,
                severity: .warning)
        }
    }

    /// Why the access log cannot be opened, and what to do.
    package func accessLogFailure(_ error: SystemError) -> String {
        "accessLog.path: \(accessLogPath ?? "") cannot be opened to be written: \(error.message); "
            + "names without a leading / are beside the configuration file"
    }

    /// Where the access log is; `nil` without one.
    package var accessLogPath: String? {
        document.accessLog.map { ConfigurationFile.resolve($0.path, beside: path) }
    }

    /// Names in the file are relative to the file's own directory.
    package static func resolve(_ name: String, beside path: String) -> String {
        if name.hasPrefix("/") { return name }
        guard let slash = path.lastIndex(of: "/") else { return name }
        return String(path[...slash]) + name
    }
}

/// A file of sticky keys: 32 hex digits a line, `#` starts a comment. Never shown anywhere.
enum KeysFile {
    struct Failure: Error {
        let text: String
        var hint = ""
    }

    static func load(_ path: String) -> Result<[SipHash], Failure> {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try Files.readPlain(path, bytesMax: 65_536)
        } catch {
            return .failure(
                Failure(
                    text: "\(path) cannot be read: \(error.message)",
                    hint: error.cause == .missing
                        ? "make it: openssl rand -hex 16 > FILE, readable by Sluice's user alone"
                        : ""))
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
                        text: "\(path):\(i + 1) is not a key; expected 32 hex digits",
                        hint: "openssl rand -hex 16 prints such a key"))
            }
            keys.append(SipHash(k0: high.byteSwapped, k1: low.byteSwapped))
        }
        if keys.isEmpty {
            return .failure(
                Failure(text: "\(path) has no key", hint: "openssl rand -hex 16 prints one"))
        }
        return .success(keys)
    }
}
