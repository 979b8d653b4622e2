import Base
import Platform
import Synchronization

/// Writes the workers' access-log lines to their file, on a thread of its own: a slow disk makes
/// the rings fill, and full rings drop and count.
final class LogWriter: Sendable {
    private struct State {
        var rings: [ByteRing] = []
        var path: String?
        /// A file that the thread is to take over; -1: none from now on.
        var next: Int32?
        /// The last file that was opened is in use, or will be.
        var isOpen = false
        var reopens = false
        var stops = false
    }

    /// A file that could be opened, for `use`.
    enum Prepared {
        case same
        case none
        case opened(path: String, descriptor: Int32)
    }

    private let state = Lock(State())
    private let wakeup: Wakeup
    private let log: ProcessLog
    private let ended = Atomic<Bool>(false)
    private let lost = Atomic<UInt64>(0)

    /// - Parameter log: is told what goes wrong, and when it goes well again.
    init(log: ProcessLog) throws(SystemError) {
        wakeup = try Wakeup()
        self.log = log
    }

    func start() throws(SystemError) {
        _ = try Thread.start(name: "access-log") { [self] in run() }
    }

    func add(_ ring: ByteRing) {
        state.withLock { $0.rings.append(ring) }
        // The thread may sleep already, and this ring does not know it.
        wakeup.wake()
    }

    /// Opens the file that lines are to go to, and changes nothing yet: a log that cannot be opened
    /// is the operator's mistake, and a reload that names it is rejected.
    func prepare(_ path: String?) throws(SystemError) -> Prepared {
        guard let path else { return .none }
        let isSame = state.withLock { $0.isOpen && $0.path == path }
        if isSame { return .same }
        return .opened(path: path, descriptor: try LogWriter.open(path))
    }

    /// Lines go to what was prepared from now on.
    func use(_ prepared: Prepared) {
        state.withLock { state in
            var next: Int32 = -1
            switch prepared {
            case .same: return
            case .none: (state.path, state.isOpen) = (nil, false)
            case .opened(let path, let descriptor):
                (state.path, state.isOpen) = (path, true)
                next = descriptor
            }
            // What the thread has not taken yet is nobody's any more.
            if let unused = state.next { LogWriter.close(unused) }
            state.next = next
        }
        wakeup.wake()
    }

    /// Closes what was prepared and is not used.
    static func discard(_ prepared: Prepared) {
        if case .opened(_, let descriptor) = prepared { close(descriptor) }
    }

    /// Opens the file anew, after whoever rotates logs has moved it.
    func reopen() {
        state.withLock { $0.reopens = true }
        wakeup.wake()
    }

    func wake() { wakeup.wake() }

    /// Makes the thread write what is there and end. It may never, where nobody reads its pipe: see
    /// `hasEnded`.
    func stop() {
        state.withLock { $0.stops = true }
        wakeup.wake()
    }

    /// Lines that the file did not take.
    var linesLost: UInt64 { lost.load(ordering: .relaxed) }

    /// The thread has written all there was.
    var hasEnded: Bool { ended.load(ordering: .acquiring) }

    // MARK: The thread

    private func run() {
        var file: Int32 = -1
        var losses = LogLosses()
        defer { ended.store(true, ordering: .releasing) }
        while true {
            let rings = state.withLock { $0.rings }
            // All must be asleep; one with lines keeps the thread awake. The others are woken by
            // their own lines, or here below.
            if rings.reduce(true, { $1.fallAsleep() && $0 }) { wakeup.wait() }
            for ring in rings { ring.wakeUp() }
            let now = state.withLock { state in
                defer { (state.reopens, state.next) = (false, nil) }
                return state
            }
            if let next = now.next {
                // Lines that are there belong to the file as it was; before the first file is open
                // they wait for it.
                if file >= 0 { drain(now.rings, file, &losses) }
                LogWriter.close(file)
                file = next
            }
            if now.reopens, let path = now.path {
                drain(now.rings, file, &losses)
                file = reopen(path, instead: file)
            }
            drain(now.rings, file, &losses)
            if now.stops { return tell(losses.end()) }
            // A short rest gathers lines of many requests into one write.
            SystemClock.pause(.milliseconds(5))
        }
    }

    /// Writes what the rings hold, straight from their memory.
    private func drain(_ rings: [ByteRing], _ file: Int32, _ losses: inout LogLosses) {
        for ring in rings {
            ring.drain { bytes in
                // Without a file lines have nowhere to go.
                guard file >= 0 else { return bytes.count }
                let (count, failure) = Files.append(file, bytes)
                let now = SystemClock.now()
                if let failure {
                    let lines = LogWriter.lines(bytes.extracting(count..<bytes.count))
                    lost.wrappingAdd(UInt64(lines), ordering: .relaxed)
                    tell(losses.lose(lines, why: failure.message, now: now))
                } else {
                    tell(losses.wrote(now: now))
                }
                return bytes.count
            }
        }
    }

    private static func lines(_ bytes: Span<UInt8>) -> Int {
        var count = 0
        for i in 0..<bytes.count where bytes[i] == 0x0a { count += 1 }
        return count
    }

    private func tell(_ report: LogLosses.Report?) {
        switch report {
        case .none: break
        case .failing(let why):
            log.error("the access log cannot be written; lines are lost", [("error", why)])
        case .writtenAgain(let lost):
            log.info("the access log is written again", [("linesLost", "\(lost)")])
        case .ended(let lost):
            log.error(
                "the access log ends and cannot be written", [("linesLost", "\(lost)")])
        }
    }

    /// The file by that name as it is now; the old one goes on where that fails.
    private func reopen(_ path: String, instead old: Int32) -> Int32 {
        do throws(SystemError) {
            let file = try LogWriter.open(path)
            LogWriter.close(old)
            return file
        } catch {
            log.error(
                "the access log \(path) cannot be opened anew: \(error.message); lines go on to "
                    + "the file that was open")
            return old
        }
    }

    private static func open(_ path: String) throws(SystemError) -> Int32 {
        switch path {
        case "/dev/stdout": return 1
        case "/dev/stderr": return 2
        default: return try Files.openAppending(path)
        }
    }

    /// Standard output and error stay open.
    private static func close(_ file: Int32) {
        if file > 2 { Socket.close(file) }
    }
}
