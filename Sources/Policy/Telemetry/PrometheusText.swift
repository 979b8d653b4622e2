import Base
import HTTPSemantics

/// Writes Prometheus' text format 0.0.4, or OpenMetrics 1.0. Families must be written one after
/// another, each opened once.
public struct PrometheusText: ~Copyable {
    public enum Format: Sendable { case prometheus, openMetrics }

    public private(set) var buffer = ByteBuffer(capacity: 65_536)
    public let format: Format
    private var name = ""
    private var isCounter = false

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
    /// Of OpenMetrics 0.0.1 and 1.0.0 are understood; other parameters, such as `escaping`, change
    /// nothing.
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

    /// Opens a family. Counters' names end in `_total`, which OpenMetrics leaves off here.
    public mutating func family(_ family: MetricCatalog.Family) {
        name = family.name
        isCounter = family.kind == .counter
        var title = name
        if format == .openMetrics, isCounter, title.hasSuffix("_total") { title.removeLast(6) }
        buffer.append(text: "# HELP \(title) \(family.help)\n")
        buffer.append(text: "# TYPE \(title) \(family.kind.rawValue)\n")
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
    public static func seconds(_ micros: UInt64) -> String {
        let whole = micros / 1_000_000
        var rest = micros % 1_000_000
        if rest == 0 { return "\(whole)" }
        var digits = 6
        while rest % 10 == 0 {
            rest /= 10
            digits -= 1
        }
        let text = String(rest)
        return "\(whole)." + String(repeating: "0", count: digits - text.count) + text
    }
}
