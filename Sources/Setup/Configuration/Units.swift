import Base

/// The scalar notations of the configuration file. Each returns `nil` for text that is not exactly
/// in its form.
public enum Units {
    /// GEP-2257: one or more of hours, minutes, seconds, milliseconds, in this order: `1m30s`,
    /// `250ms`.
    public static func duration(_ text: String) -> Duration? {
        let bytes = Array(text.utf8)
        let units: [(name: String, nanoseconds: Int64)] = [
            ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000),
            ("ms", 1_000_000),
        ]
        var at = 0, nextUnit = 0
        var total: Int64 = 0
        guard !bytes.isEmpty else { return nil }
        while at < bytes.count {
            let start = at
            while at < bytes.count, ASCII.isDigit(bytes[at]) { at += 1 }
            guard at > start, at - start <= 5,
                let value = Int64(String(decoding: bytes[start..<at], as: UTF8.self))
            else { return nil }
            let unitStart = at
            while at < bytes.count, ASCII.isAlpha(bytes[at]) { at += 1 }
            let name = String(decoding: bytes[unitStart..<at], as: UTF8.self)
            guard let unit = units.firstIndex(where: { $0.name == name }), unit >= nextUnit else {
                return nil
            }
            nextUnit = unit + 1
            total += value * units[unit].nanoseconds
        }
        return Duration(nanoseconds: total)
    }

    /// A time that may be without limit, in a text that the schema has checked: a word such as
    /// `off` and `0s` both mean that there is no limit (as in Gateway API's GEP-1742).
    public static func limit(_ text: String) -> Duration {
        guard let time = duration(text), time > .zero else { return .unlimited }
        return time
    }

    /// A duration as the file writes it.
    public static func text(_ duration: Duration) -> String {
        if duration.isUnlimited { return "off" }
        var rest = duration.nanoseconds / 1_000_000
        if rest == 0 { return "0s" }
        var text = ""
        for (unit, size) in [("h", Int64(3_600_000)), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest >= size { text += "\(rest / size)\(unit)" }
            rest %= size
        }
        return text
    }

    /// Bytes: `512`, `64KiB`, `1MiB`, `2GiB`, also `KB`, `MB`, `GB` in powers of ten.
    public static func size(_ text: String) -> Int? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard !digits.isEmpty, digits.count <= 12, let value = Int(digits) else { return nil }
        switch text.dropFirst(digits.count) {
        case "", "B": return value
        case "KiB": return value << 10
        case "MiB": return value << 20
        case "GiB": return value << 30
        case "KB": return value * 1_000
        case "MB": return value * 1_000_000
        case "GB": return value * 1_000_000_000
        default: return nil
        }
    }

    /// A number with or without decimals and exponent, such as `1.1`, `-3` or `2e6`; finite.
    public static func decimal(_ text: String) -> Double? {
        guard let first = text.utf8.first, ASCII.isDigit(first) || first == 0x2d,
            text.utf8.count <= 40,
            text.utf8.allSatisfy({ ASCII.isDigit($0) || "+-.eE".utf8.contains($0) }),
            let value = Double(text), value.isFinite
        else { return nil }
        return value
    }

    /// A decimal as the file writes it.
    public static func text(_ value: Double) -> String {
        if value == value.rounded(), abs(value) < 1e15 { return "\(Int(value))" }
        return "\(value)"
    }

    /// A percentage with at most two decimals, in hundredths of a percent: `1%` is 100.
    public static func share(_ text: String) -> Int? {
        guard text.hasSuffix("%") else { return nil }
        let parts = text.dropLast().split(
            separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard let whole = parts.first, (1...3).contains(whole.count),
            whole.allSatisfy({ $0.isASCII && $0.isNumber }), let percent = Int(whole)
        else { return nil }
        var hundredths = percent * 100
        if parts.count == 2 {
            let decimals = parts[1]
            guard (1...2).contains(decimals.count),
                decimals.allSatisfy({ $0.isASCII && $0.isNumber }), let value = Int(decimals)
            else { return nil }
            hundredths += decimals.count == 1 ? value * 10 : value
        }
        return hundredths <= 10_000 ? hundredths : nil
    }

    /// Hundredths of a percent as the file writes them.
    public static func percent(_ hundredths: Int) -> String {
        let rest = hundredths % 100
        return "\(hundredths / 100)" + (rest == 0 ? "" : ".\(rest / 10)\(rest % 10)") + "%"
    }

    /// `host:port` of a name that must be resolved.
    public static func nameAndPort(_ text: String) -> (name: String, port: UInt16)? {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let name = String(text[..<colon])
        guard let port = Address.port(Array(text[text.index(after: colon)...].utf8)[...]), port > 0,
            !name.isEmpty, name.utf8.count <= 253,
            name.utf8.allSatisfy({
                ASCII.isAlpha($0) || ASCII.isDigit($0) || $0 == 0x2d || $0 == 0x2e || $0 == 0x5f
            })
        else { return nil }
        return (name, port)
    }

    /// An address of the file: `1.2.3.4:80`, `[::1]:80`, `unix:/path`.
    public static func address(_ text: String) -> Address? {
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst(5))
            guard path.hasPrefix("/"), path.utf8.count <= UnixPaths.pathBytesMax else { return nil }
            return UnixPaths.address(path)
        }
        return Address(text)
    }
}
