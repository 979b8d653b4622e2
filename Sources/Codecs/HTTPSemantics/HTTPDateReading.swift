import Base

extension HTTPDate {
    /// Seconds since 1970 of an HTTP date in any of its three forms (RFC 9110 §5.6.7); `nil` when
    /// it is none.
    public static func seconds(_ text: Span<UInt8>) -> Int64? {
        var reader = Reader(text)
        let name = reader.letters()
        guard name >= 3 else { return nil }
        if reader.take(",") {
            guard reader.take(" "), let day = reader.number(digits: 2) else { return nil }
            // IMF-fixdate has a space here, the form of RFC 850 a dash and a year of two digits.
            let isFixed = reader.take(" ")
            guard isFixed || reader.take("-"), let month = reader.month(),
                reader.take(isFixed ? " " : "-"),
                var year = reader.number(digits: isFixed ? 4 : 2), reader.take(" "),
                let clock = reader.clock(), reader.take(" GMT"), reader.isAtEnd
            else { return nil }
            if !isFixed { year += year < 70 ? 2_000 : 1_900 }
            return seconds(year, month, day, clock)
        }
        // asctime: Sun Nov  6 08:49:37 1994
        guard reader.take(" "), let month = reader.month(), reader.take(" "),
            let day = reader.take(" ") ? reader.number(digits: 1) : reader.number(digits: 2),
            reader.take(" "), let clock = reader.clock(), reader.take(" "),
            let year = reader.number(digits: 4), reader.isAtEnd
        else { return nil }
        return seconds(year, month, day, clock)
    }

    private static func seconds(
        _ year: Int64, _ month: Int64, _ day: Int64, _ clock: Int64
    ) -> Int64? {
        guard (1970...9999).contains(year), (1...31).contains(day) else { return nil }
        let days = days(year: year, month: month, day: day)
        let back = civil(days: days)
        // 31 April is no day.
        guard back.month == month, back.day == day else { return nil }
        return days * 86_400 + clock
    }

    /// The day number of a date (Hinnant's days_from_civil).
    private static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let y = month <= 2 ? year - 1 : year
        let era = y / 400
        let yoe = y - era * 400
        let doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
    }

    /// Takes a date's parts one by one.
    private struct Reader: ~Escapable {
        private let text: Span<UInt8>
        private var at = 0

        @_lifetime(copy text)
        init(_ text: Span<UInt8>) { self.text = text }

        var isAtEnd: Bool { at == text.count }

        mutating func letters() -> Int {
            let start = at
            while at < text.count, ASCII.isAlpha(text[at]) { at += 1 }
            return at - start
        }

        mutating func take(_ literal: StaticString) -> Bool {
            let count = literal.utf8CodeUnitCount
            guard text.count - at >= count,
                ASCII.equal(text.extracting(at..<at + count), literal)
            else { return false }
            at += count
            return true
        }

        mutating func number(digits: Int) -> Int64? {
            guard text.count - at >= digits else { return nil }
            var value: Int64 = 0
            for i in at..<at + digits {
                guard ASCII.isDigit(text[i]) else { return nil }
                value = value * 10 + Int64(text[i] - 0x30)
            }
            at += digits
            return value
        }

        mutating func month() -> Int64? {
            for month in Int64(1)...12 where take(HTTPDate.shortMonth(month)) { return month }
            return nil
        }

        /// Reads a time of day, in seconds since midnight.
        mutating func clock() -> Int64? {
            guard let hour = number(digits: 2), take(":"), let minute = number(digits: 2),
                take(":"), let second = number(digits: 2), hour < 24, minute < 60, second <= 60
            else { return nil }
            return hour * 3_600 + minute * 60 + second
        }
    }
}

/// Reads the field `Retry-After` (RFC 9110 §10.2.3).
public enum RetryAfter {
    /// 68 years, in seconds: what is later is as good as never.
    private static let longest: UInt64 = 1 << 31

    /// How long to wait from now on; `nil` when the value says nothing.
    public static func wait(_ value: Span<UInt8>, wall: WallTime) -> Duration? {
        if let seconds = ASCII.decimal(value) {
            return .seconds(Int64(min(seconds, longest)))
        }
        guard let at = HTTPDate.seconds(value) else { return nil }
        return .seconds(min(max(0, at - wall.seconds), Int64(longest)))
    }
}
