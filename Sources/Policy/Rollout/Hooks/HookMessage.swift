import Base
import JSON

/// One message of a rollout to a hook: what happened, when, and the numbers of that moment.
public struct HookMessage: Sendable, Equatable {
    public typealias Hook = RolloutPlan.Hook

    public struct Number: Sendable, Equatable {
        public var name: String
        public var value: Double
        public init(name: String, value: Double) {
            self.name = name
            self.value = value
        }
    }

    /// The rollout's id; with `sequence` it names the message, however often that is delivered.
    public var rollout: String
    /// From 1, within the rollout; of all messages to all hooks.
    public var sequence: Int
    public var event: Hook.Event
    /// When it happened, which may be long before it is delivered.
    public var time: WallTime
    public var service = ""
    public var canary = ""
    public var stable = ""
    /// The canary's; empty where it has none.
    public var revision = ""
    public var state = ""
    public var stage = ""
    /// The canary's share in hundredths of a percent.
    public var weight = 0
    /// The reason, in one or two sentences.
    public var text = ""
    public var numbers: [Number] = []
    public var labels: [RolloutPlan.Label] = []

    public init(rollout: String, sequence: Int, event: Hook.Event, time: WallTime) {
        self.rollout = rollout
        self.sequence = sequence
        self.event = event
        self.time = time
    }

    /// The message's name for receivers that look for repeats.
    public var idempotencyKey: String { "\(rollout).\(sequence)" }

    /// The body of a webhook: JSON.
    public func body(_ format: Hook.Format) -> [UInt8] {
        switch format {
        case .sluice: return Array(json.line().utf8)
        case .slack: return Array(JSONText.object([("text", .string(slackText))]).line().utf8)
        }
    }

    private var json: JSONText {
        .object([
            ("rollout", .string(rollout)), ("sequence", .integer(sequence)),
            ("event", .string(event.rawValue)), ("time", .string(HookMessage.text(time))),
            ("service", .string(service)), ("canary", .string(canary)),
            ("stable", .string(stable)), ("revision", .string(revision)),
            ("state", .string(state)), ("stage", .string(stage)),
            ("weight", .number(Double(weight) / 100)), ("text", .string(text)),
            ("numbers", .object(numbers.map { ($0.name, HookMessage.json($0.value)) })),
            ("labels", .object(labels.map { ($0.name, .string($0.value)) })),
        ])
    }

    /// A number as JSON has it; one that is not finite is `null`.
    private static func json(_ value: Double) -> JSONText {
        value.isFinite ? .number(value) : .null
    }

    /// The message in Slack's text: three characters are escaped, so that no text of ours becomes a
    /// link or calls a channel.
    private var slackText: String {
        let share = CallText.number(Double(weight) / 100)
        var line = "*\(service)* \(event.rawValue): \(canary) at \(share) %"
        if !stage.isEmpty { line += ", stage \(stage)" }
        line += " (rollout \(rollout))"
        if !text.isEmpty { line += "\n\(text)" }
        var out = ""
        for character in line {
            switch character {
            case "&": out += "&amp;"
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            default: out.append(character)
            }
        }
        return out
    }

    /// A time in UTC as RFC 3339 writes it, in whole seconds.
    static func text(_ time: WallTime) -> String {
        let seconds = time.microseconds >= 0 ? time.seconds : 0
        // Days to a date: Howard Hinnant's civil_from_days, for days from 1970 on.
        let days = seconds / 86_400 + 719_468
        let era = days / 146_097
        let ofEra = days % 146_097
        let year = (ofEra - ofEra / 1_460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * year + year / 4 - year / 100)
        let month = (5 * ofYear + 2) / 153
        let day = ofYear - (153 * month + 2) / 5 + 1
        let number = month < 10 ? month + 3 : month - 9
        let full = year + era * 400 + (number <= 2 ? 1 : 0)
        func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let clock = [seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60].map(two)
        return "\(full)-\(two(number))-\(two(day))T\(clock.joined(separator: ":"))Z"
    }
}

/// The calls that hooks are, and how their outcomes are taken.
public struct HookCalls: Sendable {
    private let hook: RolloutPlan.Hook
    private let settings: CallSettings

    public init(_ hook: RolloutPlan.Hook, settings: CallSettings = CallSettings()) {
        self.hook = hook
        self.settings = settings
    }

    /// The call that tells a hook of something, or asks one that stands before a stage.
    public func call(
        _ message: HookMessage, _ values: CallValues
    ) throws(CallProblem) -> OutgoingCall {
        switch hook.call {
        case .webhook(let url, let secretFile, let format):
            var request = CallRequest(url: try CallTemplate(url).url(values))
            request.content = .body(message.body(format), type: "application/json")
            request.settings = settings
            request.settings.headers.append(
                .init(name: "idempotency-key", value: .text(message.idempotencyKey)))
            request.signingKeyFile = secretFile
            return OutgoingCall(.request(request), limit: hook.timeout)
        case .command(let words):
            var program = try CallPrograms.program(words, values)
            let own = [
                ("EVENT", message.event.rawValue), ("SEQUENCE", "\(message.sequence)"),
                ("STATE", message.state), ("TEXT", String(message.text.prefix(1_000))),
            ]
            for (name, value) in own {
                let label = RolloutPlan.Label(
                    name: "SLUICE_ROLLOUT_" + name, value: CallText.shown(value, most: 1_000))
                program.environment.removeAll { $0.name == label.name }
                program.environment.append(label)
            }
            return OutgoingCall(.program(program), limit: hook.timeout)
        }
    }

    /// The word of a hook that stands before a stage.
    public enum Word: Sendable, Equatable {
        case passes
        case askAgain(String)
        case fails(String)
    }

    /// A program's exit code 75, and an answer of 425, 429 or 503, ask to be asked again; so does a
    /// call that Sluice itself did not make. Every other thing that is no success is a failure.
    public static func word(_ outcome: CallOutcome) -> Word {
        switch outcome {
        case .answered(let answer):
            guard let complaint = answer.complaint else { return .passes }
            return [425, 429, 503].contains(answer.status)
                ? .askAgain(complaint) : .fails(complaint)
        case .ended(let end):
            switch end.word {
            case .passes: return .passes
            case .askAgain: return .askAgain(end.text)
            case .fails: return .fails(end.text)
            }
        case .failed(let failure):
            switch failure.kind {
            case .busy, .cancelled: return .askAgain(failure.message)
            default: return .fails(failure.message)
            }
        }
    }
}
