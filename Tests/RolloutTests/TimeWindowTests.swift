import Base
import Rollout
import Testing

@Suite("A window of the week")
struct TimeWindowTests {
    static let week = [true, true, true, true, true, true, true]

    static let forms: [(String, [Bool], Int, Int, String)] = [
        (
            "Mon-Fri 09:00-16:00 Europe/Berlin", [true, true, true, true, true, false, false], 540,
            960, "Europe/Berlin"
        ),
        ("09:00-16:00", week, 540, 960, "UTC"),
        ("00:00-24:00 Etc/GMT+5", week, 0, 1_440, "Etc/GMT+5"),
        (
            "Sat-Mon 22:00-03:00", [true, false, false, false, false, true, true], 1_320, 1_620,
            "UTC"
        ),
        (
            "mon,WED,Fri 10:00-11:30", [true, false, true, false, true, false, false], 600, 690,
            "UTC"
        ),
        ("Sun 23:00-00:00", [false, false, false, false, false, false, true], 1_380, 1_440, "UTC"),
    ]

    @Test("days, times and the zone are read", arguments: forms)
    func read(_ text: String, _ days: [Bool], _ start: Int, _ end: Int, _ zone: String) throws {
        let window = try TimeWindow(text)
        #expect(window.days == days)
        #expect(window.start == start && window.end == end && window.zone == zone)
    }

    static let bad: [(String, String)] = [
        ("", "no window"), ("Mon-Fri", "no time of the day"), ("Mon-Fri 9:00-16:00", "no time"),
        ("Mon-Fri 09:00", "no time"), ("09:00-25:00", "no time"), ("09:00-24:30", "no time"),
        ("24:00-09:00", "no time"), ("09:60-10:00", "no time"), ("Mo-Fr 09:00-16:00", "no day"),
        ("Mon-Wed-Fri 09:00-16:00", "no day"), ("Mon, 09:00-16:00", "no day"),
        ("09:00-09:00", "begins and ends"), ("09:00-16:00 /etc/passwd", "no time zone"),
        ("09:00-16:00 ../../x", "no time zone"), ("09:00-16:00 Europe//Berlin", "no time zone"),
        ("09:00-16:00 UTC x", "no time zone"), ("Mon-Fri 09:00-16:00 UTC x", "no window"),
    ]

    @Test("a text that is none is refused with what to write", arguments: bad)
    func refused(_ text: String, _ message: String) {
        do throws(TimeWindow.Failure) {
            _ = try TimeWindow(text)
            Issue.record("it is taken")
        } catch {
            #expect(error.message.contains(message), "\(error.message)")
            #expect(error.hint.hasPrefix("write ") || error.hint.contains(": write "))
        }
    }

    @Test("a window over midnight belongs to the day on which it begins")
    func midnight() throws {
        let window = try TimeWindow("Fri 22:00-02:00")
        // 2026-11-27 is a Friday.
        let friday: Int64 = 1_795_737_600
        func isOpen(_ hours: Double) -> Bool {
            let time = friday + Int64(hours * 3_600)
            return window.isOpen(at: WallTime(microseconds: time * 1_000_000), in: .utc)
        }
        #expect(!isOpen(1) && !isOpen(21.9))
        #expect(isOpen(22) && isOpen(25.9))
        #expect(!isOpen(26) && !isOpen(46))
    }

    @Test("times before 1970, and parts of a second, are rounded towards the past")
    func rounding() throws {
        let window = try TimeWindow("Thu 00:00-00:01")
        // 1970-01-01 was a Thursday.
        #expect(!window.isOpen(at: WallTime(microseconds: -1), in: .utc))
        #expect(window.isOpen(at: WallTime(microseconds: 0), in: .utc))
        #expect(window.isOpen(at: WallTime(microseconds: 59_999_999), in: .utc))
        #expect(!window.isOpen(at: WallTime(microseconds: 60_000_000), in: .utc))
        let next = window.nextOpening(from: WallTime(microseconds: -1), in: .utc)
        #expect(next == WallTime(microseconds: 0))
    }
}
