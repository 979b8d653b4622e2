import Base

extension TimeWindow {
    /// Whether a time is inside, by the clock on the wall of the zone.
    ///
    /// - Parameter rules: those of `zone`.
    public func isOpen(at time: WallTime, in rules: ZoneRules) -> Bool {
        isOpen(at: Calendar.floor(time.microseconds, 1_000_000), rules)
    }

    /// The first time, not before another, that is inside: that time itself where the window is
    /// open, `nil` where it does not open within two weeks.
    ///
    /// - Parameter rules: those of `zone`.
    public func nextOpening(from time: WallTime, in rules: ZoneRules) -> WallTime? {
        // Clocks that are wrong by thousands of years must not make sums overflow.
        let now = min(
            max(Calendar.floor(time.microseconds, 1_000_000), -ZoneRules.secondsMax),
            ZoneRules.secondsMax)
        if isOpen(at: now, rules) { return time }
        let end = now + 15 * 86_400
        // A window opens where the local clock comes to its beginning, or where the clock is set.
        var openings: [Int64] = []
        let today = Calendar.floor(now + Int64(rules.offset(at: now)), 86_400)
        for day in (today - 1)...(today + 15) {
            let local = day * 86_400 + Int64(start) * 60
            for near in [local - 93_600, local, local + 93_600] {
                openings.append(local - Int64(rules.offset(at: near)))
            }
        }
        var at = now
        while let next = rules.transition(after: at), next <= end, openings.count < 200 {
            openings.append(next)
            at = next
        }
        let first = openings.filter { $0 > now && $0 <= end && isOpen(at: $0, rules) }.min()
        return first.map { WallTime(microseconds: $0 * 1_000_000) }
    }

    /// A time by the clock on the wall of a zone: `Mon 2026-11-30 09:00`.
    public static func text(of time: WallTime, in rules: ZoneRules) -> String {
        let seconds = min(
            max(Calendar.floor(time.microseconds, 1_000_000), -ZoneRules.secondsMax),
            ZoneRules.secondsMax)
        let local = seconds + Int64(rules.offset(at: seconds))
        let day = Calendar.floor(local, 86_400)
        let date = Calendar.date(ofDay: day)
        let minute = Int((local - day * 86_400) / 60)
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return dayNames[Calendar.weekday(day)] + " \(date.year)-\(two(date.month))-\(two(date.day))"
            + " \(two(minute / 60)):\(two(minute % 60))"
    }

    private func isOpen(at seconds: Int64, _ rules: ZoneRules) -> Bool {
        let local = seconds + Int64(rules.offset(at: seconds))
        let day = Calendar.floor(local, 86_400)
        let minute = Int((local - day * 86_400) / 60)
        return contains(minuteOfWeek: Calendar.weekday(day) * 1_440 + minute)
    }
}
