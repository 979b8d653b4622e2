import Base
import Platform

/// Writes the workers' access-log lines to their file, on a thread of its own: a slow disk makes
/// the rings fill, and full rings drop and count.
final class LogWriter: Sendable {
    private struct State {
        var rings: [ByteRing] = []
        var path: String?
        var reopens = false
        var stops = false
    }

    private let state = Lock(State())
    private let wakeup: Wakeup
    private let handle = Lock<Thread.Handle?>(nil)
    private let report: @Sendable (String) -> Void

    /// - Parameter report: called with what went wrong, on the writer's thread.
    init(report: @escaping @Sendable (String) -> Void) throws(SystemError) {
        wakeup = try Wakeup()
        self.report = report
    }

    func start() throws(SystemError) {
        let thread = try Thread.start(name: "access-log") { [self] in run() }
        handle.withLock { $0 = thread }
    }

    func add(_ ring: ByteRing) {
        state.withLock { $0.rings.append(ring) }
        // The thread may sleep already, and this ring does not know it.
        wakeup.wake()
    }

    /// Chooses the file; `nil` closes it.
    func setPath(_ path: String?) {
        state.withLock { state in
            if state.path != path {
                state.path = path
                state.reopens = true
            }
        }
        wakeup.wake()
    }

    /// Opens the file anew, after whoever rotates logs has moved it.
    func reopen() {
        state.withLock { $0.reopens = true }
        wakeup.wake()
    }

    func wake() { wakeup.wake() }

    /// Writes what is there and ends the thread.
    func stop() {
        state.withLock { $0.stops = true }
        wakeup.wake()
        handle.withLock { $0 }?.join()
    }

    // MARK: The thread

    private func run() {
        var file: Int32 = -1
        while true {
            let rings = state.withLock { $0.rings }
            // All must be asleep; one with lines keeps the thread awake. The others are woken by
            // their own lines, or here below.
            if rings.reduce(true, { $1.fallAsleep() && $0 }) { wakeup.wait() }
            for ring in rings { ring.wakeUp() }
            let now = state.withLock { state in
                defer { state.reopens = false }
                return state
            }
            if now.reopens {
                // Lines that are there belong to the file as it was; before the first file is open
                // they wait for it.
                if file >= 0 { drain(now.rings, file) }
                file = open(now.path, instead: file)
            }
            drain(now.rings, file)
            if now.stops { return }
            // A short rest gathers lines of many requests into one write.
            SystemClock.pause(.milliseconds(5))
        }
    }

    /// Writes what the rings hold, straight from their memory.
    private func drain(_ rings: [ByteRing], _ file: Int32) {
        for ring in rings {
            ring.drain { bytes in
                // Without a file lines have nowhere to go.
                guard file >= 0 else { return bytes.count }
                var done = 0
                while done < bytes.count {
                    let written = Files.write(file, bytes.extracting(done..<bytes.count))
                    if written == 0 {
                        report("the access log cannot be written; lines are lost")
                        return bytes.count
                    }
                    done += written
                }
                return done
            }
        }
    }

    private func open(_ path: String?, instead old: Int32) -> Int32 {
        if old > 2 { Socket.close(old) }
        switch path {
        case nil: return -1
        case "/dev/stdout": return 1
        case "/dev/stderr": return 2
        case let path?:
            do throws(SystemError) {
                return try Files.openAppending(path)
            } catch {
                report("the access log \(path) cannot be opened: \(error.message)")
                return -1
            }
        }
    }
}
