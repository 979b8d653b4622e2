import Base
import Platform
import Rollout
import TLS

/// The part of a call that needs the disk, and is done on a helper's thread before it begins.
enum Preparation {
    /// A request that can be sent.
    struct Message: Sendable {
        var bytes: [UInt8]
        /// For https alone.
        var context: TLSContext?
    }

    enum Made: Sendable {
        case message(Message)
        case child(ChildProcess)
    }

    private static let fileBytesMax = 1 << 20

    static func make(
        _ call: OutgoingCall, agent: String, programs: ProgramDirectory?, system: SystemTrust
    ) -> Result<Made, CallFailure> {
        do throws(CallFailure) {
            switch call.work {
            case .request(let request):
                return .success(.message(try message(request, agent, system)))
            case .program(let program): return .success(.child(try start(program, programs)))
            }
        } catch {
            return .failure(error)
        }
    }

    // MARK: Requests

    private static func message(
        _ request: CallRequest, _ agent: String, _ system: SystemTrust
    ) throws(CallFailure) -> Message {
        var text = "GET"
        var content: [UInt8] = []
        var fields = [
            ("host", try host(request)), ("user-agent", agent), ("accept", "*/*"),
            ("accept-encoding", "identity"), ("connection", "close"),
        ]
        if let plan = request.probedFor { fields.append(("x-sluice-synthetic", plan)) }
        if case .body(let body, let type) = request.content {
            text = "POST"
            content = body
            fields += [("content-type", type), ("content-length", "\(body.count)")]
        }
        text += " \(request.url.target) HTTP/1.1\r\n"
        let headers = try headers(request.settings)
        let own = Set(headers.map(\.name))
        for (name, value) in fields where !own.contains(name) { text += "\(name): \(value)\r\n" }
        var bytes = Array(text.utf8)
        for (name, value) in headers {
            bytes += Array("\(name): ".utf8)
            bytes += value
            bytes += [0x0d, 0x0a]
        }
        if let file = request.signingKeyFile {
            bytes += try signature(keyFile: file, content)
        }
        bytes += [0x0d, 0x0a]
        let context = request.url.isSecure ? try context(request.settings, system) : nil
        return Message(bytes: bytes + content, context: context)
    }

    private static func host(_ request: CallRequest) throws(CallFailure) -> String {
        guard let host = request.host else { return request.url.authority }
        guard !host.isEmpty, host.utf8.count <= 255, host.utf8.allSatisfy({ (0x21...0x7e) ~= $0 })
        else {
            throw CallFailure(.file, "\(CallText.shown(host)) is no host that can be sent")
        }
        return host
    }

    private static func headers(
        _ settings: CallSettings
    ) throws(CallFailure) -> [(name: String, value: [UInt8])] {
        var headers: [(name: String, value: [UInt8])] = []
        for header in settings.headers.prefix(CallSettings.headersMax) {
            headers.append((header.name.lowercased(), try value(header)))
        }
        guard let file = settings.headersFile else { return headers }
        let bytes = try read(file, use: "the headers")
        do throws(CallProblem) {
            return headers + (try CallSettings.lines(bytes)).map { ($0.lowercased(), $1) }
        } catch {
            throw CallFailure(.file, "\(file): \(error.message)")
        }
    }

    private static func value(_ header: CallSettings.Header) throws(CallFailure) -> [UInt8] {
        if let problem = CallSettings.problem(header: header.name) {
            throw CallFailure(.file, problem.message)
        }
        let bytes: [UInt8]
        switch header.value {
        case .text(let text): bytes = Array(text.utf8)
        case .file(let path): bytes = try secret(path, use: "the header \(header.name)")
        }
        guard CallSettings.isHeaderValue(bytes) else {
            throw CallFailure(
                .file,
                "the value of the header \(header.name) has a line break or a control character, "
                    + "or more than \(CallSettings.headerBytesMax) bytes")
        }
        return bytes
    }

    private static func signature(
        keyFile: String, _ body: [UInt8]
    ) throws(CallFailure) -> [UInt8] {
        // The first line, as of every file of keys.
        let lines = try secret(keyFile, use: "the webhook's signature").split(separator: 0x0a)
        let key = Array(lines[0].last == 0x0d ? lines[0].dropLast() : lines[0])
        guard key.count >= HookSignature.keyBytesMin else {
            throw CallFailure(
                .file,
                "\(keyFile) has a key of \(key.count) bytes, at least "
                    + "\(HookSignature.keyBytesMin) are wanted; make one by: openssl rand -hex 32")
        }
        let seconds = SystemClock.wall().seconds
        let value = HookSignature.value(key: key, seconds: seconds, body: body) {
            HMAC.sha256(key: $0, $1)
        }
        guard value.utf8.count == 71 else { throw CallFailure(.file, "no memory to sign with") }
        return Array(
            ("\(HookSignature.timeHeader): \(seconds)\r\n"
                + "\(HookSignature.header): \(value)\r\n").utf8)
    }

    /// The contents of a file without blanks and line breaks at its ends.
    private static func secret(_ path: String, use: String) throws(CallFailure) -> [UInt8] {
        let bytes = try read(path, use: use)
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0d).contains(byte) }
        guard let first = bytes.firstIndex(where: { !isBlank($0) }),
            let last = bytes.lastIndex(where: { !isBlank($0) })
        else { throw CallFailure(.file, "\(path), for \(use), is empty") }
        return Array(bytes[first...last])
    }

    private static func read(_ path: String, use: String) throws(CallFailure) -> [UInt8] {
        do throws(SystemError) {
            return try Files.readPlain(path, bytesMax: fileBytesMax)
        } catch {
            throw CallFailure(.file, "\(path), for \(use), cannot be read: \(error.message)")
        }
    }

    private static func context(
        _ settings: CallSettings, _ system: SystemTrust
    ) throws(CallFailure) -> TLSContext {
        if settings.authorityFile == nil, settings.certificateFile == nil, settings.verifies {
            return try system.context()
        }
        do {
            let context = try TLSContext.client(.http1, verifies: settings.verifies)
            if let file = settings.authorityFile {
                try context.trust(try read(file, use: "the authorities to trust"))
            } else if settings.verifies {
                try context.trustSystem()
            }
            if let file = settings.certificateFile {
                let chain = try read(file, use: "the client's certificate")
                let key = try read(settings.keyFile ?? file, use: "the client certificate's key")
                try context.add(TLSCertificate(chain: chain, key: key))
            }
            return context
        } catch let failure as CallFailure {
            throw failure
        } catch let failure as TLSFailure {
            let files = [settings.authorityFile, settings.certificateFile].compactMap { $0 }
            throw CallFailure(
                .file,
                "\(files.joined(separator: ", ")) cannot be used for TLS: \(failure.reason)")
        } catch {
            throw CallFailure(.file, "TLS cannot be prepared")
        }
    }

    // MARK: Programs

    private static func start(
        _ program: CallProgram, _ directory: ProgramDirectory?
    ) throws(CallFailure) -> ChildProcess {
        guard let directory else {
            throw CallFailure(
                .program,
                "\(program.name) is not run: start Sluice with --allow-commands DIR, where DIR "
                    + "has the programs that a rollout may run")
        }
        do {
            let path = try directory.program(program.name)
            let environment = program.environment.map { "\($0.name)=\($0.value)" }
            return try ChildProcess.start(
                path, arguments: program.arguments,
                environment: ["PATH=/usr/local/bin:/usr/bin:/bin"] + environment)
        } catch let problem as ProgramProblem {
            throw CallFailure(.program, problem.message)
        } catch let error as SystemError {
            throw CallFailure(
                .program,
                "\(program.name) could not be started: \(error.message); a script begins with "
                    + "#! and the path of its interpreter")
        } catch {
            throw CallFailure(.program, "\(program.name) could not be started")
        }
    }
}

/// The authorities that the system trusts, read again every ten minutes: there are over a hundred,
/// and they take a while.
final class SystemTrust: Sendable {
    private struct State {
        var context: TLSContext?
        var madeAt = Instant(nanoseconds: 0)
    }

    private let state = Lock(State())
    private static let life = Duration.seconds(600)

    func context() throws(CallFailure) -> TLSContext {
        let now = SystemClock.now()
        let held = state.withLock { state in
            now - state.madeAt < SystemTrust.life ? state.context : nil
        }
        if let held { return held }
        do throws(TLSFailure) {
            let made = try TLSContext.client(.http1, verifies: true)
            try made.trustSystem()
            state.withLock { state in
                state.context = made
                state.madeAt = now
            }
            return made
        } catch {
            throw CallFailure(
                .file, "the system's authorities cannot be read: \(error.reason)")
        }
    }
}
