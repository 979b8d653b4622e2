import Base

/// A time of the week in which a stage may be entered: `Mon-Fri 09:00-16:00 Europe/Berlin`.
///
/// Days are a range or a list (`Mon,Wed,Fri`), every day without them; the zone is a name of the
/// tz database, UTC without one. A window whose end is not after its beginning crosses midnight,
/// and its days are those on which it begins. The end itself is outside. The clock on the wall of
/// the zone counts: where it is set forward over the beginning, the window opens at the jump.
public struct TimeWindow: Sendable, Equatable {
    /// Why a text is no window.
    public struct Failure: Error, Sendable, Equatable {
        public var message: String
        public var hint: String
    }

    /// By day, Monday first.
    public let days: [Bool]
    /// Minutes after midnight, 0...1,439.
    public let start: Int
    /// Minutes after the midnight in front of `start`, above `start`, at most 2,879.
    public let end: Int
    public let zone: String
    /// The text that was read.
    public let text: String

    public static func == (a: TimeWindow, b: TimeWindow) -> Bool {
        a.days == b.days && a.start == b.start && a.end == b.end && a.zone == b.zone
    }

    static let dayNames = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    private static let form = "write Mon-Fri 09:00-16:00 Europe/Berlin"

    public init(_ text: String) throws(Failure) {
        var parts = text.split(whereSeparator: \.isWhitespace)
        guard !parts.isEmpty, parts.count <= 3, text.utf8.count <= 200 else {
            throw Failure(message: "\"\(text.prefix(80))\" is no window", hint: TimeWindow.form)
        }
        self.text = text
        if !parts[0].contains(":"), parts.count > 1 {
            days = try TimeWindow.days(parts.removeFirst())
        } else {
            days = [Bool](repeating: true, count: 7)
        }
        let times = parts[0].split(separator: "-", omittingEmptySubsequences: false)
        guard times.count == 2, let first = TimeWindow.minutes(times[0]), first < 1_440,
            let last = TimeWindow.minutes(times[1])
        else {
            throw Failure(
                message: "\"\(parts[0])\" is no time of the day from one minute to another",
                hint: "write 09:00-16:00, with hours from 00 to 23, or 24:00 for the end of a day")
        }
        guard first != last else {
            throw Failure(
                message: "the window begins and ends at \(times[0])",
                hint: "write 00:00-24:00 for the whole day")
        }
        start = first
        end = last > first ? last : last + 1_440
        zone = parts.count > 1 ? String(parts[1]) : "UTC"
        guard parts.count <= 2, ZoneName.isValid(zone) else {
            throw Failure(
                message: "\"\(parts.dropFirst().joined(separator: " "))\" is no time zone",
                hint: "write the name of the tz database, such as Europe/Berlin or UTC")
        }
    }

    private static func minutes(_ text: Substring) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].utf8.count == 2, parts[1].utf8.count == 2,
            parts.allSatisfy({ $0.utf8.allSatisfy(ASCII.isDigit) }), let hour = Int(parts[0]),
            let minute = Int(parts[1]), minute < 60, hour < 24 || hour == 24 && minute == 0
        else { return nil }
        return hour * 60 + minute
    }

    private static func days(_ text: Substring) throws(Failure) -> [Bool] {
        var days = [Bool](repeating: false, count: 7)
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false)
            let numbers = ends.map { name in
                dayNames.firstIndex { $0.lowercased() == name.lowercased() }
            }
            guard (1...2).contains(numbers.count), let first = numbers[0],
                let last = numbers[numbers.count - 1]
            else {
                throw Failure(
                    message: "\"\(part)\" is no day and no range of days",
                    hint: "days are Mon, Tue, Wed, Thu, Fri, Sat, Sun: " + form)
            }
            // Sat-Mon goes over the end of the week.
            var day = first
            while true {
                days[day] = true
                if day == last { break }
                day = (day + 1) % 7
            }
        }
        return days
    }

    /// Whether a time of the week, in minutes since Monday's midnight, is inside.
    func contains(minuteOfWeek minute: Int) -> Bool {
        for day in 0..<7 where days[day] {
            let begins = day * 1_440 + start
            let since = (minute - begins + 10_080) % 10_080
            if since < end - start { return true }
        }
        return false
    }
}

/// Names of the tz database, as they may stand in a path.
public enum ZoneName {
    /// Whether a text has the form of a name: parts of letters, digits, `_`, `-`, `+`, between
    /// slashes, each beginning with a letter.
    public static func isValid(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        return !text.isEmpty && text.utf8.count <= 64
            && parts.allSatisfy { part in
                part.utf8.first.map(ASCII.isAlpha) == true
                    && part.utf8.allSatisfy {
                        ASCII.isAlpha($0) || ASCII.isDigit($0) || $0 == 0x5f || $0 == 0x2d
                            || $0 == 0x2b
                    }
            }
    }
}
