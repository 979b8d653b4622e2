import Base
import HTTPSemantics

/// Writes Prometheus' text format 0.0.4, or OpenMetrics 1.0. Families must be written one after
/// another, each opened once.
public struct PrometheusText: ~Copyable {
    public enum Format: Sendable { case prometheus, openMetrics }

    public private(set) var buffer = ByteBuffer(capacity: 65_536)
    public let format: Format
    private var name = ""

    public init(format: Format) { self.format = format }

    public static func contentType(_ format: Format) -> String {
        switch format {
        case .prometheus: return "text/plain; version=0.0.4; charset=utf-8"
        case .openMetrics:
            return "application/openmetrics-text; version=1.0.0; charset=utf-8"
        }
    }

    /// Chooses the format that an Accept field prefers (RFC 9110 §12.5.1): OpenMetrics where its
    /// quality is above 0 and at least that of plain text, and text for whatever else is asked for.
    /// The versions 0.0.1 and 1.0.0 of OpenMetrics are understood; other parameters, such as
    /// `escaping`, change nothing.
    public static func format(accept: String) -> Format {
        let ranges = Preferences(accept)
        let open = ranges.quality(ofType: "application", "openmetrics-text") { range in
            guard let version = range.parameter("version") else { return true }
            return version == "1.0.0" || version == "0.0.1"
        }
        let text = ranges.quality(ofType: "text", "plain") { _ in true }
        // A client that takes anything gets what every reader understands.
        guard open.quality > 0, open.isNamed || open.quality > text.quality else {
            return .prometheus
        }
        return open.quality >= text.quality ? .openMetrics : .prometheus
    }

    /// Opens a family. Counters' names end in `_total`, which OpenMetrics leaves off here; the unit
    /// is OpenMetrics' alone.
    public mutating func family(_ family: MetricCatalog.Family) {
        name = family.name
        let title = format == .openMetrics ? family.openMetricsName : name
        buffer.append(text: "# TYPE \(title) \(family.kind.rawValue)\n")
        if format == .openMetrics, let unit = family.unit {
            buffer.append(text: "# UNIT \(title) \(unit)\n")
        }
        buffer.append(text: "# HELP \(title) \(family.help)\n")
    }

    /// One sample of the open family.
    public mutating func sample(
        _ labels: [(String, String)], _ value: UInt64, suffix: String = ""
    ) {
        line(labels, suffix: suffix)
        buffer.appendDecimal(value)
        buffer.append(UInt8(ascii: "\n"))
    }

    /// A sample with a fraction, to the microsecond.
    public mutating func sample(
        _ labels: [(String, String)], microseconds: UInt64, suffix: String = ""
    ) {
        line(labels, suffix: suffix)
        buffer.append(text: PrometheusText.seconds(microseconds))
        buffer.append(UInt8(ascii: "\n"))
    }

    /// A sample of a number that may have a fraction.
    public mutating func sample(
        _ labels: [(String, String)], number: Double, suffix: String = ""
    ) {
        line(labels, suffix: suffix)
        let text =
            number.isFinite ? "\(number)" : number.isNaN ? "NaN" : number > 0 ? "+Inf" : "-Inf"
        buffer.append(text: text)
        buffer.append(UInt8(ascii: "\n"))
    }

    // MARK: Labels made once

    /// The text of labels, without braces, for lines that have many of them in common.
    public static func text(_ labels: [(String, String)]) -> String {
        labels.map { "\($0)=\"\(escaped($1))\"" }.joined(separator: ",")
    }

    /// A sample whose labels are text already, with one label more where a bound is given.
    public mutating func sample(
        text labels: String, bound: String? = nil, _ value: UInt64, suffix: String = ""
    ) {
        line(text: labels, bound: bound, suffix: suffix)
        buffer.appendDecimal(value)
        buffer.append(UInt8(ascii: "\n"))
    }

    /// A sample of a sum of microseconds, in seconds or milliseconds.
    public mutating func sample(
        text labels: String, microseconds: UInt64, inMilliseconds: Bool = false, suffix: String
    ) {
        line(text: labels, bound: nil, suffix: suffix)
        buffer.append(
            text: PrometheusText.decimal(microseconds, digits: inMilliseconds ? 3 : 6))
        buffer.append(UInt8(ascii: "\n"))
    }

    private mutating func line(text labels: String, bound: String?, suffix: String) {
        buffer.append(text: name)
        buffer.append(text: suffix)
        buffer.append(UInt8(ascii: "{"))
        buffer.append(text: labels)
        if let bound {
            buffer.append(",le=\"")
            buffer.append(text: bound)
            buffer.append(UInt8(ascii: "\""))
        }
        buffer.append("} ")
    }

    private mutating func line(_ labels: [(String, String)], suffix: String) {
        buffer.append(text: name)
        buffer.append(text: suffix)
        if !labels.isEmpty {
            buffer.append(UInt8(ascii: "{"))
            for (i, label) in labels.enumerated() {
                if i > 0 { buffer.append(UInt8(ascii: ",")) }
                buffer.append(text: label.0)
                buffer.append("=\"")
                buffer.append(text: PrometheusText.escaped(label.1))
                buffer.append(UInt8(ascii: "\""))
            }
            buffer.append(UInt8(ascii: "}"))
        }
        buffer.append(UInt8(ascii: " "))
    }

    /// Ends the page.
    public mutating func finish() {
        if format == .openMetrics { buffer.append("# EOF\n") }
    }

    /// Ends the use of the page: its bytes.
    public consuming func take() -> ByteBuffer { buffer }

    static func escaped(_ text: String) -> String {
        var out = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": out += "\\\\"
            case "\"": out += "\\\""
            case "\n": out += "\\n"
            default: out.unicodeScalars.append(character)
            }
        }
        return out
    }

    /// Microseconds as a decimal number of seconds without trailing zeros.
    public static func seconds(_ micros: UInt64) -> String { decimal(micros, digits: 6) }

    /// A number divided by a power of ten, without trailing zeros.
    static func decimal(_ number: UInt64, digits: Int) -> String {
        let power = (0..<digits).reduce(UInt64(1)) { power, _ in power * 10 }
        let whole = number / power
        var rest = number % power
        if rest == 0 { return "\(whole)" }
        var digits = digits
        while rest % 10 == 0 {
            rest /= 10
            digits -= 1
        }
        let text = String(rest)
        return "\(whole)." + String(repeating: "0", count: digits - text.count) + text
    }
}
