import Base

/// The rule of a TZif file's footer: the POSIX form of TZ, such as `CET-1CEST,M3.5.0,M10.5.0/3`,
/// with the times of RFC 9636 §3.3.1, -167 to 167 hours.
struct PosixZone: Sendable, Equatable {
    /// A day of each year, and the time of that day.
    struct Change: Sendable, Equatable {
        enum Day: Sendable, Equatable {
            /// `Jn`, 1...365, where 29 February is never counted.
            case julian(Int)
            /// `n`, 0...365, where 29 February is counted.
            case ordinal(Int)
            /// `Mm.w.d`: the w-th weekday d of a month, Sunday being 0 and the fifth the last.
            case weekday(month: Int, week: Int, day: Int)
        }
        var day: Day
        /// Seconds after midnight, of the local time until then.
        var time: Int
    }

    struct Daylight: Sendable, Equatable {
        /// Seconds east of UTC.
        var offset: Int
        var start: Change
        var end: Change
    }

    /// Seconds east of UTC.
    let standard: Int
    let daylight: Daylight?

    init(_ text: [UInt8]) throws(ZoneRules.Failure) {
        var reader = PosixReader(text)
        try reader.name()
        standard = -(try reader.time(hoursMax: 24))
        guard !reader.isAtEnd else {
            daylight = nil
            return
        }
        try reader.name()
        var offset = standard + 3_600
        if !reader.take(0x2c) {
            offset = -(try reader.time(hoursMax: 24))
            guard reader.take(0x2c) else { throw PosixReader.bad }
        }
        let start = try reader.change()
        guard reader.take(0x2c) else { throw PosixReader.bad }
        let end = try reader.change()
        guard reader.isAtEnd else { throw PosixReader.bad }
        daylight = Daylight(offset: offset, start: start, end: end)
    }

    func offset(at seconds: Int64) -> Int {
        guard let daylight else { return standard }
        let before = changes(around: seconds, daylight).last { $0.time <= seconds }
        return before?.isStart == true ? daylight.offset : standard
    }

    func transition(after seconds: Int64) -> Int64? {
        guard let daylight else { return nil }
        return changes(around: seconds, daylight).first { $0.time > seconds }?.time
    }

    /// The changes of the years around a time, in order; a start stands behind an end of one time,
    /// so that daylight time may hold all year.
    private func changes(
        around seconds: Int64, _ daylight: Daylight
    ) -> [(time: Int64, isStart: Bool)] {
        let year = Calendar.date(ofDay: Calendar.floor(seconds, 86_400)).year
        var changes: [(time: Int64, isStart: Bool)] = []
        for year in (year - 1)...(year + 1) {
            changes.append((daylight.start.time(in: year) - Int64(standard), true))
            changes.append((daylight.end.time(in: year) - Int64(daylight.offset), false))
        }
        return changes.sorted { ($0.time, $0.isStart ? 1 : 0) < ($1.time, $1.isStart ? 1 : 0) }
    }
}

extension PosixZone.Change {
    /// Seconds since 1970 on the local clock.
    fileprivate func time(in year: Int) -> Int64 {
        let first = Calendar.day(year: year, month: 1, day: 1)
        let number: Int64
        switch day {
        case .ordinal(let count): number = first + Int64(count)
        case .julian(let count):
            number = first + Int64(count - 1) + (count >= 60 && Calendar.isLeap(year) ? 1 : 0)
        case .weekday(let month, let week, let day):
            let start = Calendar.day(year: year, month: month, day: 1)
            // Monday is 0 there, Sunday 0 here.
            let weekday = (Calendar.weekday(start) + 1) % 7
            var found = start + Int64((day - weekday + 7) % 7 + (week - 1) * 7)
            let next =
                month == 12
                ? Calendar.day(year: year + 1, month: 1, day: 1)
                : Calendar.day(year: year, month: month + 1, day: 1)
            if found >= next { found -= 7 }
            number = found
        }
        return number * 86_400 + Int64(time)
    }
}

/// Reads the parts of a footer.
private struct PosixReader {
    static let bad = ZoneRules.Failure("its footer is no rule of local time")

    private let bytes: [UInt8]
    private var at = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { at == bytes.count }

    mutating func take(_ byte: UInt8) -> Bool {
        guard at < bytes.count, bytes[at] == byte else { return false }
        at += 1
        return true
    }

    /// `CET`, or `<+03>`.
    mutating func name() throws(ZoneRules.Failure) {
        if take(0x3c) {
            guard let end = bytes[at...].firstIndex(of: 0x3e) else { throw PosixReader.bad }
            at = end + 1
            return
        }
        let start = at
        while at < bytes.count, ASCII.isAlpha(bytes[at]) { at += 1 }
        guard at - start >= 3 else { throw PosixReader.bad }
    }

    mutating func number(_ range: ClosedRange<Int>) throws(ZoneRules.Failure) -> Int {
        var value = 0, count = 0
        while at < bytes.count, ASCII.isDigit(bytes[at]), count < 4 {
            value = value * 10 + Int(bytes[at] - 0x30)
            at += 1
            count += 1
        }
        guard count > 0, range.contains(value) else { throw PosixReader.bad }
        return value
    }

    /// `[+-]hh[:mm[:ss]]` in seconds.
    mutating func time(hoursMax: Int) throws(ZoneRules.Failure) -> Int {
        let isNegative = take(0x2d)
        if !isNegative { _ = take(0x2b) }
        var seconds = try number(0...hoursMax) * 3_600
        if take(0x3a) {
            seconds += try number(0...59) * 60
            if take(0x3a) { seconds += try number(0...59) }
        }
        return isNegative ? -seconds : seconds
    }

    mutating func change() throws(ZoneRules.Failure) -> PosixZone.Change {
        let day: PosixZone.Change.Day
        if take(0x4a) {
            day = .julian(try number(1...365))
        } else if take(0x4d) {
            let month = try number(1...12)
            guard take(0x2e) else { throw PosixReader.bad }
            let week = try number(1...5)
            guard take(0x2e) else { throw PosixReader.bad }
            day = .weekday(month: month, week: week, day: try number(0...6))
        } else {
            day = .ordinal(try number(0...365))
        }
        return PosixZone.Change(day: day, time: take(0x2f) ? try time(hoursMax: 167) : 7_200)
    }
}

/// Days of the Gregorian calendar, numbered from 1970-01-01, which is 0.
enum Calendar {
    /// A quotient rounded towards the past.
    static func floor(_ value: Int64, _ divisor: Int64) -> Int64 {
        let quotient = value / divisor
        return value % divisor < 0 ? quotient - 1 : quotient
    }

    static func isLeap(_ year: Int) -> Bool {
        year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    }

    /// - Parameters month, day: from 1.
    static func day(year: Int, month: Int, day: Int) -> Int64 {
        // Years begin in March, so that the leap day is the last of one.
        let year = month <= 2 ? year - 1 : year
        let era = (year >= 0 ? year : year - 399) / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return Int64(era * 146_097 + dayOfEra - 719_468)
    }

    static func date(ofDay number: Int64) -> (year: Int, month: Int, day: Int) {
        let shifted = Int(number) + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * month + 2) / 5 + 1
        let number = month < 10 ? month + 3 : month - 9
        return (yearOfEra + era * 400 + (number <= 2 ? 1 : 0), number, day)
    }

    /// Monday is 0.
    static func weekday(_ number: Int64) -> Int {
        // 1970-01-01 was a Thursday.
        Int(((number + 3) % 7 + 7) % 7)
    }
}
