import Base
import HTTPSemantics

/// Texts from the network in lines of the access log: escaped, always, so that a line is one line
/// of ASCII whatever a client or an endpoint sent.
public enum LogText {
    /// Appends bytes in the style of their surroundings: quotes, backslashes, control bytes and
    /// bytes above 127 as `\xHH`, or as JSON escapes them (RFC 8259 §7).
    static func append(
        _ bytes: Span<UInt8>, _ style: LogProgram.Style, to out: inout ByteBuffer
    ) {
        var start = 0
        while true {
            let i = start + ASCII.plainTextLength(bytes.extracting(start..<bytes.count))
            out.append(bytes.extracting(start..<i))
            if i == bytes.count { return }
            escape(bytes[i], style, &out)
            start = i + 1
        }
    }

    @inline(never)
    private static func escape(
        _ byte: UInt8, _ style: LogProgram.Style, _ out: inout ByteBuffer
    ) {
        if style == .text {
            out.append("\\x")
            out.appendHex(UInt64(byte), width: 2)
        } else if byte == 0x22 || byte == 0x5c {
            out.append(UInt8(0x5c))
            out.append(byte)
        } else {
            out.append("\\u00")
            out.appendHex(UInt64(byte), width: 2)
        }
    }

    /// Appends address and port: `1.2.3.4:80`, `[::1]:80`, or `unix`.
    public static func append(_ address: Address, to out: inout ByteBuffer) {
        if address.family == .ipv6 { out.append(UInt8(ascii: "[")) }
        address.appendHost(to: &out)
        if address.family == .ipv6 { out.append(UInt8(ascii: "]")) }
        if address.family != .unix {
            out.append(UInt8(ascii: ":"))
            out.appendDecimal(UInt64(address.port))
        }
    }

    /// The value of the first line with a name; `nil` without one.
    ///
    /// - Parameters:
    ///   - range: of the text: lines as this process has written them (`FieldText`).
    ///   - name: in lower case.
    static func value(
        of name: Span<UInt8>, in range: ByteRange, of text: Span<UInt8>
    ) -> ByteRange? {
        var at = range.lower
        while at < range.upper {
            let rest = text.extracting(at..<range.upper)
            guard let lf = ASCII.index(of: ASCII.lf, in: rest), lf > 0 else { return nil }
            // Behind the colon stands one space, and in front of the line feed its return.
            if lf >= name.count + 3, rest[name.count] == 0x3a,
                ASCII.equalFold(rest.extracting(0..<name.count), name)
            {
                let start = at + name.count + 2
                return ByteRange(start, end: max(start, at + lf - 1))
            }
            at += lf + 1
        }
        return nil
    }

    /// The value of a query's first parameter with a name, as it came; `nil` without one.
    static func parameter(
        _ name: Span<UInt8>, inTarget range: ByteRange, of text: Span<UInt8>
    ) -> ByteRange? {
        let target = text.extracting(range.range)
        guard let mark = ASCII.index(of: UInt8(ascii: "?"), in: target) else { return nil }
        var at = mark + 1
        while at < target.count {
            let rest = target.extracting(at..<target.count)
            let length = ASCII.index(of: UInt8(ascii: "&"), in: rest) ?? rest.count
            if length > name.count, rest[name.count] == UInt8(ascii: "="),
                ASCII.equal(rest.extracting(0..<name.count), name)
            {
                let start = range.lower + at + name.count + 1
                return ByteRange(start, end: range.lower + at + length)
            }
            at += length + 1
        }
        return nil
    }

    /// The quoted value behind a key of `x-forwarded-client-cert`'s element (`;Subject="…"`), with
    /// its backslashes; `nil` without one.
    ///
    /// - Parameter position: moves behind the value.
    static func certificateValue(
        _ key: StaticString, in identity: Span<UInt8>, from position: inout Int
    ) -> ByteRange? {
        let length = key.utf8CodeUnitCount
        while position < identity.count {
            guard identity.count - position >= length,
                ASCII.equal(identity.extracting(position..<position + length), key)
            else {
                position = skip(identity, position)
                continue
            }
            let start = position + length
            var end = start
            while end < identity.count, identity[end] != UInt8(ascii: "\"") {
                end += identity[end] == 0x5c ? 2 : 1
            }
            end = min(end, identity.count)
            position = end + 1
            return ByteRange(start, end: end)
        }
        return nil
    }

    /// The position behind the next byte, or behind a whole quoted value.
    private static func skip(_ identity: Span<UInt8>, _ position: Int) -> Int {
        guard identity[position] == UInt8(ascii: "\"") else { return position + 1 }
        var end = position + 1
        while end < identity.count, identity[end] != UInt8(ascii: "\"") {
            end += identity[end] == 0x5c ? 2 : 1
        }
        return min(end + 1, identity.count)
    }
}

/// Appends times by the pieces of a format of strftime, in UTC.
enum LogTime {
    static func append(
        _ time: WallTime, _ steps: borrowing FixedArray<LogProgram.TimeStep>, _ range: Range<Int>,
        _ store: borrowing ByteStore, to out: inout ByteBuffer
    ) {
        for i in range {
            let step = steps[i]
            switch step.letter {
            case 0: appendFraction(time, digits: Int(step.digits), to: &out)
            case 1: out.append(store.bytes(step.literal))
            default: append(time, step.letter, to: &out)
            }
        }
    }

    /// Appends the first digits of the second's fraction, 1...9.
    static func appendFraction(_ time: WallTime, digits: Int, to out: inout ByteBuffer) {
        var rest = max(0, time.microseconds) % 1_000_000
        var unit: Int64 = 100_000
        for _ in 0..<digits {
            out.append(UInt8(truncatingIfNeeded: 0x30 + (unit == 0 ? 0 : rest / unit)))
            if unit > 0 {
                rest %= unit
                unit /= 10
            }
        }
    }

    private static func two(_ value: Int64, _ out: inout ByteBuffer) {
        out.appendTwoDigits(UInt8(truncatingIfNeeded: value % 100))
    }

    private static func append(_ time: WallTime, _ letter: UInt8, to out: inout ByteBuffer) {
        let seconds = max(0, time.seconds)
        switch letter {
        case UInt8(ascii: "s"): out.appendDecimal(UInt64(seconds))
        case UInt8(ascii: "H"): two(seconds / 3_600 % 24, &out)
        case UInt8(ascii: "M"): two(seconds / 60 % 60, &out)
        case UInt8(ascii: "S"): two(seconds % 60, &out)
        case UInt8(ascii: "I"): two((seconds / 3_600 + 11) % 12 + 1, &out)
        case UInt8(ascii: "p"): out.append(seconds / 3_600 % 24 < 12 ? "AM" : "PM")
        case UInt8(ascii: "z"): out.append("+0000")
        case UInt8(ascii: "Z"): out.append("UTC")
        case UInt8(ascii: "T"), UInt8(ascii: "R"):
            two(seconds / 3_600 % 24, &out)
            out.append(UInt8(ascii: ":"))
            two(seconds / 60 % 60, &out)
            guard letter == UInt8(ascii: "T") else { return }
            out.append(UInt8(ascii: ":"))
            two(seconds % 60, &out)
        default: appendDay(seconds / 86_400, letter, to: &out)
        }
    }

    private static func appendDay(_ days: Int64, _ letter: UInt8, to out: inout ByteBuffer) {
        let (year, month, day) = HTTPDate.civil(days: days)
        switch letter {
        case UInt8(ascii: "Y"):
            two(year / 100, &out)
            two(year % 100, &out)
        case UInt8(ascii: "y"): two(year % 100, &out)
        case UInt8(ascii: "m"): two(month, &out)
        case UInt8(ascii: "d"): two(day, &out)
        case UInt8(ascii: "e"):
            if day < 10 { out.append(UInt8(0x20)) }
            out.appendDecimal(UInt64(day))
        case UInt8(ascii: "b"): append(monthName(month), lettersMax: 3, to: &out)
        case UInt8(ascii: "B"): append(monthName(month), lettersMax: 9, to: &out)
        case UInt8(ascii: "a"): append(weekday((days + 4) % 7), lettersMax: 3, to: &out)
        case UInt8(ascii: "A"): append(weekday((days + 4) % 7), lettersMax: 9, to: &out)
        case UInt8(ascii: "u"): out.appendDecimal(UInt64((days + 3) % 7 + 1))
        case UInt8(ascii: "j"): appendDayOfYear(days, year, to: &out)
        case UInt8(ascii: "F"), UInt8(ascii: "D"):
            appendCalendar(year, month, day, letter, to: &out)
        default: break
        }
    }

    private static func appendCalendar(
        _ year: Int64, _ month: Int64, _ day: Int64, _ letter: UInt8, to out: inout ByteBuffer
    ) {
        if letter == UInt8(ascii: "F") {
            two(year / 100, &out)
            two(year % 100, &out)
            out.append(UInt8(ascii: "-"))
            two(month, &out)
            out.append(UInt8(ascii: "-"))
            two(day, &out)
        } else {
            two(month, &out)
            out.append(UInt8(ascii: "/"))
            two(day, &out)
            out.append(UInt8(ascii: "/"))
            two(year % 100, &out)
        }
    }

    private static func appendDayOfYear(_ days: Int64, _ year: Int64, to out: inout ByteBuffer) {
        // Days of this year lie behind those until its first of January.
        let before = year - 1
        let first = before * 365 + before / 4 - before / 100 + before / 400 - 719_162
        let number = days - first + 1
        out.append(UInt8(truncatingIfNeeded: 0x30 + number / 100))
        two(number % 100, &out)
    }

    private static func append(
        _ name: StaticString, lettersMax: Int, to out: inout ByteBuffer
    ) {
        let start = out.writerIndex
        out.append(name)
        out.truncate(to: min(out.writerIndex, start + lettersMax))
    }

    private static func monthName(_ month: Int64) -> StaticString {
        switch month {
        case 1: return "January"
        case 2: return "February"
        case 3: return "March"
        case 4: return "April"
        case 5: return "May"
        case 6: return "June"
        case 7: return "July"
        case 8: return "August"
        case 9: return "September"
        case 10: return "October"
        case 11: return "November"
        default: return "December"
        }
    }

    private static func weekday(_ day: Int64) -> StaticString {
        switch day {
        case 0: return "Sunday"
        case 1: return "Monday"
        case 2: return "Tuesday"
        case 3: return "Wednesday"
        case 4: return "Thursday"
        case 5: return "Friday"
        default: return "Saturday"
        }
    }
}
