import Base
import Configuration
import HTTPSemantics
import Rollout

/// Words of rollouts for the log and the pages.
enum RolloutWords {
    /// A time of day in UTC (RFC 3339).
    static func time(_ wall: WallTime) -> String {
        var out = ByteBuffer()
        HTTPDate.appendRFC3339(second: wall, to: &out)
        return ASCII.string(out.readable) + "Z"
    }

    /// One stage of a forecast.
    static func line(_ row: StageForecast) -> String {
        var words = "\(row.stage)  \(percent(row.share))  "
        words += "\(number(row.unitsPerSecond)) a second on the canary, "
        if let time = row.timeToConclude {
            words += "conclusive in about \(Units.text(whole(time)))"
        } else {
            words += "not judged, at least \(Units.text(whole(row.minTime)))"
        }
        words += ", about \(row.exposed) requests or sessions exposed"
        if let rate = row.detectableRate {
            words += "; an error rate of \(percent(rate)) would be found"
        }
        return words + (row.advice.map { "; \($0)" } ?? "")
    }

    /// A span to the second, for people.
    static func span(_ time: Duration) -> String { Units.text(whole(time)) }

    private static func whole(_ time: Duration) -> Duration {
        .seconds(max(1, time.nanoseconds / 1_000_000_000))
    }

    private static func percent(_ share: Double) -> String { number(share * 100) + " %" }

    private static func number(_ value: Double) -> String {
        guard value.isFinite, value < 1e9 else { return "\(value)" }
        let scaled = Int((value * 100).rounded())
        let fraction = scaled % 100
        return "\(scaled / 100).\(fraction < 10 ? "0" : "")\(fraction)"
    }
}
