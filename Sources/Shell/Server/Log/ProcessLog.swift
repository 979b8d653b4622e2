import Base
import Configuration
import HTTPSemantics
import JSON
import Platform

/// The process's own log, on standard error: logfmt or JSON lines. Not for requests.
///
/// Nobody who logs waits for whoever reads: lines go into a queue, which a thread writes. What does
/// not fit is dropped and counted, and the count is written once there is room.
final class ProcessLog: Sendable {
    private struct State {
        var level = Document.LogLevel.info
        var isJSON = false
        var queue = LogQueue()
        /// There is a thread that writes the queue.
        var hasThread = false
    }
    private let state = Lock(State())
    /// Wakes the thread.
    private let lines: Wakeup
    /// Wakes whoever waits for the queue to be empty.
    private let emptied: Wakeup

    /// How long the end of the process waits for lines that are not written yet.
    static let flushLimit = Duration.seconds(1)

    init() throws(SystemError) {
        lines = try Wakeup()
        emptied = try Wakeup()
    }

    /// Has lines written by a thread from now on; those before wait for it.
    func start() throws(SystemError) {
        _ = try Thread.start(name: "process-log") { [self] in run() }
        state.withLock { $0.hasThread = true }
    }

    /// Waits until the lines so far are written, but not longer than the limit: a pipe that nobody
    /// reads keeps no process from its end.
    func flush(limit: Duration) {
        guard state.withLock({ $0.hasThread }) else { return writeAll() }
        let deadline = SystemClock.now() + limit
        while !state.withLock({ $0.queue.isWritten }) {
            let left = (deadline - SystemClock.now()).millisecondsUp
            if left <= 0 { return }
            emptied.wait(milliseconds: Int32(clamping: left))
        }
    }

    func configure(level: Document.LogLevel, isJSON: Bool) {
        state.withLock { ($0.level, $0.isJSON) = (level, isJSON) }
    }

    var level: Document.LogLevel {
        get { state.withLock { $0.level } }
        set { state.withLock { $0.level = newValue } }
    }

    func debug(_ message: String, _ fields: [(String, String)] = []) {
        write(.debug, message, fields)
    }
    func info(_ message: String, _ fields: [(String, String)] = []) {
        write(.info, message, fields)
    }
    func warning(_ message: String, _ fields: [(String, String)] = []) {
        write(.warning, message, fields)
    }
    func error(_ message: String, _ fields: [(String, String)] = []) {
        write(.error, message, fields)
    }

    private func write(
        _ level: Document.LogLevel, _ message: String, _ fields: [(String, String)]
    ) {
        let (least, isJSON) = state.withLock { ($0.level, $0.isJSON) }
        let order = Document.LogLevel.allCases
        guard let at = order.firstIndex(of: level), let from = order.firstIndex(of: least),
            at >= from
        else { return }
        plain(ProcessLog.line(level, message, fields, isJSON: isJSON))
    }

    private static func line(
        _ level: Document.LogLevel, _ message: String, _ fields: [(String, String)], isJSON: Bool
    ) -> String {
        var time = ByteBuffer(capacity: 32)
        HTTPDate.appendRFC3339(SystemClock.wall(), to: &time)
        let all =
            [("time", ASCII.string(time.readable)), ("level", level.rawValue), ("msg", message)]
            + fields
        if isJSON {
            let pairs = all.map { JSONText.quoted($0.0) + ":" + JSONText.quoted($0.1) }
            return "{" + pairs.joined(separator: ",") + "}\n"
        }
        return all.map { $0.0 + "=" + ProcessLog.logfmt($0.1) }.joined(separator: " ") + "\n"
    }

    /// Writes text as it is.
    func plain(_ text: String) {
        state.withLock { $0.queue.put(Array(text.utf8)) }
        lines.wake()
    }

    // MARK: The thread

    private func run() {
        while true {
            writeAll()
            emptied.wake()
            lines.wait()
        }
    }

    private func writeAll() {
        while true {
            let (isJSON, batch) = state.withLock { ($0.isJSON, $0.queue.take()) }
            guard let batch else { return }
            var bytes = batch.bytes
            if batch.droppedCount > 0 {
                let text = ProcessLog.line(
                    .warning, "lines of this log were dropped: nobody took them in time",
                    [("count", "\(batch.droppedCount)")], isJSON: isJSON)
                bytes += Array(text.utf8)
            }
            let failed = Files.append(2, bytes.span).failure != nil
            state.withLock { $0.queue.written(batch, isLost: failed) }
        }
    }

    private static func logfmt(_ text: String) -> String {
        let isPlain =
            !text.isEmpty
            && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != 0x22 && $0 != 0x3d }
        return isPlain ? text : JSONText.quoted(text)
    }
}
