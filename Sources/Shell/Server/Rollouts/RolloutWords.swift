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

    static let planEdited =
        "the plan in the file was edited: this rollout goes on by the plan that it began with, and "
        + "the edit holds from the next start"

    /// One stage of a forecast.
    static func line(_ row: StageForecast) -> String {
        var words = "\(row.stage)  \(percent(row.share))  "
        words += "\(number(row.unitsPerSecond)) a second on the canary; "
        let left = Units.text(whole(row.timeUntilLeft))
        if row.timeToConclude == nil, row.unitsToConclude == nil, row.detectableRate == nil {
            words += "left after \(left), without a comparison"
        } else if row.timeToConclude ?? .unlimited > row.maxTime {
            words += "not decided by its maxTime of \(Units.text(whole(row.maxTime)))"
        } else {
            words += "a canary that is no worse leaves it after about \(left)"
        }
        words += "; until then about \(row.exposed) requests or sessions get the canary"
        if let rate = row.detectableRate {
            let most = Units.text(whole(row.maxTime))
            let early = row.detectableUntilLeft.map { "\(percent($0)) errors" } ?? "no error rate"
            words += ", and \(early) or more would be found"
            if row.timeUntilLeft < row.maxTime {
                words += "; a canary that is worse is watched longer, and by maxTime (\(most)) "
                words += "\(percent(rate)) errors or more would be found"
            }
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
