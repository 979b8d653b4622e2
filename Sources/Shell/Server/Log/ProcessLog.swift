import Base
import Configuration
import HTTPSemantics
import JSON
import Platform

/// The process's own log, on standard error: logfmt or JSON lines. Not for requests.
final class ProcessLog: Sendable {
    private struct State {
        var level = Document.LogLevel.info
        var isJSON = false
    }
    private let state = Lock(State())

    func configure(level: Document.LogLevel, isJSON: Bool) {
        state.withLock { $0 = State(level: level, isJSON: isJSON) }
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
        let state = state.withLock { $0 }
        let order = Document.LogLevel.allCases
        guard let at = order.firstIndex(of: level), let least = order.firstIndex(of: state.level),
            at >= least
        else { return }
        var time = ByteBuffer(capacity: 32)
        HTTPDate.appendRFC3339(SystemClock.wall(), to: &time)
        let all =
            [("time", ASCII.string(time.readable)), ("level", level.rawValue), ("msg", message)]
            + fields
        let line: String
        if state.isJSON {
            let pairs = all.map { JSONText.quoted($0.0) + ":" + JSONText.quoted($0.1) }
            line = "{" + pairs.joined(separator: ",") + "}\n"
        } else {
            line = all.map { $0.0 + "=" + ProcessLog.logfmt($0.1) }.joined(separator: " ") + "\n"
        }
        Files.write(2, all: line)
    }

    private static func logfmt(_ text: String) -> String {
        let isPlain =
            !text.isEmpty
            && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != 0x22 && $0 != 0x3d }
        return isPlain ? text : JSONText.quoted(text)
    }
}
