import Base
import CPlatform

/// A program that this process has started. Its end is read once; until then the number of the
/// process stays its own, so that nobody else can be hit by `killAll`.
public struct ChildProcess: Sendable {
    public let pid: Int32
    /// Readable once the program has ended. The owner's to close, as is `output`.
    public let descriptor: Int32
    /// The reading end of the pipe that is the program's standard output and error; it never waits.
    public let output: Int32

    public enum End: Sendable, Equatable {
        case exit(Int32)
        case signal(Int32)
        /// Somebody else has read the end.
        case unknown
    }

    /// Starts a program, without a shell, in a session of its own, with `/` as its directory.
    /// Waits until the program's file is loaded.
    ///
    /// - Parameters:
    ///   - arguments: behind the program's own name.
    ///   - environment: `NAME=value` each; nothing else is there.
    public static func start(
        _ path: String, arguments: [String], environment: [String]
    ) throws(SystemError) -> ChildProcess {
        cplatform_keep_children()
        var ends: [Int32] = [-1, -1]
        guard unsafe cplatform_pipe(&ends) == 0 else { throw SystemError("pipe") }
        // Programs expect an output that waits.
        _ = cplatform_set_blocking(ends[1])
        defer { Socket.close(ends[1]) }
        var pid: pid_t = 0
        let code = unsafe withStrings([path] + arguments) { arguments in
            unsafe withStrings(environment) { environment in
                unsafe cplatform_spawn(path, arguments, environment, ends[1], &pid)
            }
        }
        guard code == 0 else {
            Socket.close(ends[0])
            throw SystemError("posix_spawn", code: code)
        }
        let descriptor = cplatform_pidfd(pid)
        guard descriptor >= 0 else {
            let error = SystemError("pidfd_open")
            Socket.close(ends[0])
            _ = kill(-pid, SIGKILL)
            var status: Int32 = 0
            _ = unsafe waitpid(pid, &status, 0)
            throw error
        }
        return ChildProcess(pid: pid, descriptor: descriptor, output: ends[0])
    }

    /// Ends the program and whatever it started and did not put into a group of its own. Not after
    /// `takeEnd` has brought an end.
    public func killAll() { _ = kill(-pid, SIGKILL) }

    /// How the program ended; `nil` while it runs. An end is there once.
    public func takeEnd() -> End? {
        var status: Int32 = 0
        let found = unsafe waitpid(pid, &status, WNOHANG)
        if found == 0 { return nil }
        guard found == pid else { return .unknown }
        let code = cplatform_exit_code(status)
        return code >= 0 ? .exit(code) : .signal(cplatform_signal(status))
    }

    /// Reads some of what a program has printed: empty once all of it was read and nobody can print
    /// more, `nil` while there is nothing.
    public static func read(_ output: Int32, bytesMax: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: bytesMax)
        let count = unsafe CPlatform.read(output, &bytes, bytesMax)
        let code = cplatform_errno()
        if count < 0 { return code == EAGAIN || code == EINTR ? nil : [] }
        return Array(bytes[..<count])
    }

    /// Texts as C has them for the time of a call: an array of pointers that ends with NULL.
    private static func withStrings<R>(
        _ texts: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> R
    ) -> R {
        var pointers = unsafe texts.map { text in unsafe strdup(text) }
        unsafe pointers.append(nil)
        defer { for i in unsafe pointers.indices { unsafe free(pointers[i]) } }
        return unsafe pointers.withUnsafeBufferPointer { unsafe body($0.baseAddress!) }
    }
}
