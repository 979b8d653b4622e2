import Base

/// Numbers as people read them in a verdict.
enum NumberWords {
    /// A number with a fixed count of decimals, rounded; "∞" and "-∞" where it is not finite.
    static func decimals(_ value: Double, _ places: Int) -> String {
        guard value.isFinite else { return value < 0 ? "-∞" : value > 0 ? "∞" : "unknown" }
        var scale = 1.0
        for _ in 0..<places { scale *= 10 }
        let scaled = (abs(value) * scale).rounded()
        guard scaled < 9e15 else { return "\(value)" }
        let whole = Int(scaled) / Int(scale), rest = Int(scaled) % Int(scale)
        let sign = value < 0 && scaled > 0 ? "-" : ""
        if places == 0 { return "\(sign)\(whole)" }
        let digits = String(rest)
        return "\(sign)\(whole)."
            + String(repeating: "0", count: max(0, places - digits.count)) + digits
    }

    /// A part as a percentage: "1.25 %", "0.020 %", "40 %".
    static func percent(_ part: Double) -> String {
        let value = abs(part * 100)
        let places = value == 0 || value >= 10 ? 0 : value >= 0.1 ? 2 : 3
        let text = decimals(part * 100, places)
        return trimmed(text) + " %"
    }

    private static func trimmed(_ text: String) -> String {
        guard text.contains(".") else { return text }
        var text = text
        while text.hasSuffix("0") { text.removeLast() }
        if text.hasSuffix(".") { text.removeLast() }
        return text
    }

    /// A rate: "120 requests a second", "0.3 requests a second", "2 requests an hour".
    static func rate(_ perSecond: Double, _ unit: String) -> String {
        if perSecond <= 0 { return "no \(unit)" }
        if perSecond >= 10 { return "\(decimals(perSecond, 0)) \(unit) a second" }
        if perSecond >= 0.095 { return "\(trimmed(decimals(perSecond, 1))) \(unit) a second" }
        if perSecond >= 1.0 / 60 {
            return "\(trimmed(decimals(perSecond * 60, 1))) \(unit) a minute"
        }
        return "\(trimmed(decimals(perSecond * 3_600, 1))) \(unit) an hour"
    }

    /// A span of time: "45 s", "11 min", "2 h 40 min", "3 d 4 h".
    static func time(_ span: Duration) -> String {
        let seconds = max(0, (span.nanoseconds + 500_000_000) / 1_000_000_000)
        if seconds < 90 { return "\(seconds) s" }
        let minutes = (seconds + 30) / 60
        if minutes < 60 { return "\(minutes) min" }
        if minutes < 48 * 60 {
            let rest = minutes % 60
            return "\(minutes / 60) h" + (rest == 0 ? "" : " \(rest) min")
        }
        let hours = (minutes + 30) / 60
        if hours >= 100 * 24 { return "\(hours / 24) d" }
        return "\(hours / 24) d" + (hours % 24 == 0 ? "" : " \(hours % 24) h")
    }

    /// Seconds of a request: "45 ms", "1.3 s", "0.4 ms".
    static func latency(_ seconds: Double) -> String {
        if seconds >= 1 { return "\(trimmed(decimals(seconds, 2))) s" }
        let milliseconds = seconds * 1_000
        return "\(trimmed(decimals(milliseconds, milliseconds >= 10 ? 0 : 1))) ms"
    }

    static func count(_ count: Int, _ one: String, _ many: String) -> String {
        "\(count) \(count == 1 ? one : many)"
    }
}
