import Base

/// IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7), and RFC 3339 for logs.
public enum HTTPDate {
    /// Year, month 1...12, day 1...31 of a day number since 1970-01-01 (Hinnant's civil_from_days).
    public static func civil(days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let z = days + 719_468
        let era = (z >= 0 ? z : z - 146_096) / 146_097
        let doe = z - era * 146_097
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100)
        let mp = (5 * doy + 2) / 153
        let month = mp < 10 ? mp + 3 : mp - 9
        return (yoe + era * 400 + (month <= 2 ? 1 : 0), month, doy - (153 * mp + 2) / 5 + 1)
    }

    private static func two(_ value: Int64, _ out: inout ByteBuffer) {
        out.appendTwoDigits(UInt8(truncatingIfNeeded: value % 100))
    }

    /// Appends the Date field's value: 29 bytes.
    public static func append(_ time: WallTime, to out: inout ByteBuffer) {
        let seconds = max(0, time.seconds)
        let days = seconds / 86_400
        let (year, month, day) = civil(days: days)
        switch (days + 4) % 7 {
        case 0: out.append("Sun, ")
        case 1: out.append("Mon, ")
        case 2: out.append("Tue, ")
        case 3: out.append("Wed, ")
        case 4: out.append("Thu, ")
        case 5: out.append("Fri, ")
        default: out.append("Sat, ")
        }
        two(day, &out)
        out.append(month: month)
        two(year / 100, &out)
        two(year % 100, &out)
        out.append(UInt8(0x20))
        clock(seconds % 86_400, &out)
        out.append(" GMT")
    }

    /// Appends `2026-11-23T20:08:00.123456Z`, to the microsecond.
    public static func appendRFC3339(_ time: WallTime, to out: inout ByteBuffer) {
        appendRFC3339(second: time, to: &out)
        appendRFC3339(fraction: time, to: &out)
    }

    /// The part that holds for a second, up to its fraction: `2026-11-23T22:29:49`.
    public static func appendRFC3339(second time: WallTime, to out: inout ByteBuffer) {
        let seconds = max(0, time.microseconds) / 1_000_000
        let (year, month, day) = civil(days: seconds / 86_400)
        two(year / 100, &out)
        two(year % 100, &out)
        out.append(UInt8(0x2d))
        two(month, &out)
        out.append(UInt8(0x2d))
        two(day, &out)
        out.append(UInt8(0x54))
        clock(seconds % 86_400, &out)
    }

    /// Appends the part behind the second: `.009001Z`.
    public static func appendRFC3339(fraction time: WallTime, to out: inout ByteBuffer) {
        let rest = max(0, time.microseconds) % 1_000_000
        out.append(UInt8(0x2e))
        two(rest / 10_000, &out)
        two(rest / 100 % 100, &out)
        two(rest % 100, &out)
        out.append(UInt8(0x5a))
    }

    /// Appends the part behind the second with three digits: `.009Z`.
    public static func appendRFC3339(milliseconds time: WallTime, to out: inout ByteBuffer) {
        let rest = max(0, time.microseconds) % 1_000_000 / 1_000
        out.append(UInt8(0x2e))
        out.append(UInt8(0x30 + rest / 100))
        two(rest % 100, &out)
        out.append(UInt8(0x5a))
    }

    /// Appends `23/Nov/2026:20:08:00 +0000`, the common log format's time.
    public static func appendCommonLog(_ time: WallTime, to out: inout ByteBuffer) {
        let seconds = max(0, time.seconds)
        let (year, month, day) = civil(days: seconds / 86_400)
        two(day, &out)
        out.append(UInt8(0x2f))
        out.append(shortMonth(month))
        out.append(UInt8(0x2f))
        two(year / 100, &out)
        two(year % 100, &out)
        out.append(UInt8(0x3a))
        clock(seconds % 86_400, &out)
        out.append(" +0000")
    }

    private static func clock(_ second: Int64, _ out: inout ByteBuffer) {
        two(second / 3600, &out)
        out.append(UInt8(0x3a))
        two(second / 60 % 60, &out)
        out.append(UInt8(0x3a))
        two(second % 60, &out)
    }

    static func shortMonth(_ month: Int64) -> StaticString {
        switch month {
        case 1: return "Jan"
        case 2: return "Feb"
        case 3: return "Mar"
        case 4: return "Apr"
        case 5: return "May"
        case 6: return "Jun"
        case 7: return "Jul"
        case 8: return "Aug"
        case 9: return "Sep"
        case 10: return "Oct"
        case 11: return "Nov"
        default: return "Dec"
        }
    }
}

extension ByteBuffer {
    fileprivate mutating func append(month: Int64) {
        append(UInt8(0x20))
        append(HTTPDate.shortMonth(month))
        append(UInt8(0x20))
    }
}
