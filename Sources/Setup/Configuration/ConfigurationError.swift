import Base
import JSON
import YAML

/// One thing wrong with a configuration file, and where. The operator's to mend.
public struct ConfigurationError: Error, Sendable {
    public enum Severity: String, Sendable { case error, warning }

    public var severity = Severity.error
    public var mark: YAMLMark
    /// Says what is wrong.
    public var message: String
    /// Advice on what to do about the error; empty when the message says it.
    public var hint = ""

    public init(
        _ message: String, at mark: YAMLMark, hint: String = "", severity: Severity = .error
    ) {
        self.message = message
        self.mark = mark
        self.hint = hint
        self.severity = severity
    }

    /// Something about the file as a whole.
    public static func ofFile(_ message: String, hint: String) -> ConfigurationError {
        ConfigurationError(message, at: YAMLMark(line: 1, column: 1), hint: hint)
    }

    /// Sorts problems into the order of the file.
    public static func inOrder(_ problems: [ConfigurationError]) -> [ConfigurationError] {
        problems.sorted { $0.mark < $1.mark }
    }

    /// `file:3:7: error: …`, the line of the file, a caret, and the hint.
    public func text(file: String, lines: [Substring]) -> String {
        var text = "\(file):\(mark.line):\(mark.column): \(severity.rawValue): \(message)"
        if mark.line >= 1, mark.line <= lines.count {
            let number = String(mark.line)
            let margin = String(repeating: " ", count: number.count)
            let line = ConfigurationError.printable(lines[mark.line - 1])
            // Tabs keep their width in the line of the caret.
            let lead = line.unicodeScalars.prefix(max(0, mark.column - 1))
                .map { $0 == "\t" ? "\t" : " " }.joined()
            text += "\n \(number) | \(line)\n \(margin) | \(lead)^"
        }
        if !hint.isEmpty { text += "\n   hint: \(hint)" }
        return text
    }

    /// The lines of a text; a carriage return before the end of a line belongs to the end.
    public static func lines(_ bytes: [UInt8]) -> [Substring] {
        if bytes.isEmpty { return [] }
        return String(decoding: bytes, as: UTF8.self).split(omittingEmptySubsequences: false) {
            $0 == "\n" || $0 == "\r\n"
        }
    }

    /// A line of the file that does nothing to a terminal.
    private static func printable(_ line: Substring) -> String {
        var text = String.UnicodeScalarView()
        for scalar in line.unicodeScalars {
            let isControl = scalar.value < 0x20 && scalar != "\t" || scalar.value == 0x7f
            text.append(isControl ? "\u{fffd}" : scalar)
        }
        return String(text)
    }

    public func json(file: String) -> JSONText {
        .object([
            ("file", .string(file)), ("line", .integer(mark.line)),
            ("column", .integer(mark.column)), ("severity", .string(severity.rawValue)),
            ("message", .string(message)), ("hint", .string(hint)),
        ])
    }
}

/// Advice that is given in several places.
public enum Advice {
    /// How to come by a port that needs a privilege.
    public static let privilegedPort =
        "take a port from 1024, run setcap cap_net_bind_service=+ep on the program, or lower the "
        + "sysctl net.ipv4.ip_unprivileged_port_start"

    /// The text to write instead of one that is no address, with a colon in front; empty where
    /// nothing is known.
    public static func address(_ text: String) -> String { behindColon(SchemaHints.address(text)) }

    /// The text to write instead of one that is no length of time, in the same form.
    public static func duration(_ text: String) -> String {
        behindColon(SchemaHints.duration(text, orWord: nil))
    }

    /// The text to write instead of one that is no percentage, in the same form.
    public static func share(_ text: String) -> String {
        if Int(text).map((0...100).contains) ?? false { return ": did you mean \(text)%?" }
        guard let number = Double(text), number > 0, number < 1 else { return "" }
        return ": shares are percentages, 0.1 is 10%"
    }

    private static func behindColon(_ hint: String) -> String { hint.isEmpty ? "" : ": " + hint }
}

/// Suggests what somebody may have meant.
public enum DidYouMean {
    /// The closest of some words, if it is close enough to be a slip.
    public static func closest(to word: String, among words: [String]) -> String? {
        let limit = max(1, word.count / 3)
        var best: (word: String, distance: Int)?
        for candidate in words {
            let distance = distance(Array(word.lowercased()), Array(candidate.lowercased()))
            if distance <= limit, distance < best?.distance ?? .max { best = (candidate, distance) }
        }
        return best?.word
    }

    /// Levenshtein's distance, with swaps of neighbours counted as one.
    static func distance(_ a: [Character], _ b: [Character]) -> Int {
        var rows = [[Int](0...b.count)]
        for i in 0..<a.count {
            var row = [i + 1]
            for j in 0..<b.count {
                var cost = min(rows[i][j + 1] + 1, row[j] + 1)
                cost = min(cost, rows[i][j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
                    cost = min(cost, rows[i - 1][j - 1] + 1)
                }
                row.append(cost)
            }
            rows.append(row)
        }
        return rows[a.count][b.count]
    }
}
