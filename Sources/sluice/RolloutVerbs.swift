import ArgumentParser
import Base
import Configuration
import JSON
import Platform
import Server

/// The ground of the commands of `sluice rollout`: they ask a running process.
enum RolloutClient {
    /// Sends a command, and says what became of it.
    static func command(
        _ target: AdminTarget, _ path: String, _ form: RolloutCommandForm
    ) throws {
        let reply = try target.send("POST", path)
        let page = form.json ? nil : try? JSONReader.read(Array(reply.body.utf8))
        if let text = page?["text"]?.text {
            let id = page?["id"]?.text.map { "started \($0): " } ?? ""
            try say(id + text)
        } else if let text = page?["error"]?.text {
            Files.write(2, all: "sluice: \(text)\n")
        } else {
            try say(reply.body, terminator: "")
        }
        try AdminTarget.end(reply)
    }

    /// The rollout of a plan as it is now.
    static func status(_ target: AdminTarget, _ name: String) throws -> RolloutState {
        let reply = try target.send("GET", "/rollouts?name=\(AdminTarget.encoded(name))")
        guard reply.status == 200 else {
            try say(reply.body, terminator: "")
            try AdminTarget.end(reply)
            throw ExitCode(1)
        }
        guard let page = try? JSONReader.read(Array(reply.body.utf8)),
            let entry = page["rollouts"]?.elements?.first
        else {
            Files.write(
                2, all: "sluice: the process's page /rollouts is none that this sluice reads\n")
            throw ExitCode(1)
        }
        return RolloutState(entry)
    }

    /// Waits until the rollout has ended, needs a person, or is past a stage.
    static func wait(_ target: AdminTarget, _ name: String, _ wish: RolloutWish) throws {
        let deadline = wish.limit.map { SystemClock.now() + $0 } ?? .never
        var told: RolloutState?
        var toldAt = SystemClock.now()
        while true {
            let state = try status(target, name)
            // The numbers change each second: a log wants the steps, and a sign of life.
            let isStep = state.place != told?.place || wish.exitCode(state) != nil
            if isStep || SystemClock.now() >= toldAt + .seconds(30) {
                try say(state.line)
                told = state
                toldAt = SystemClock.now()
            }
            if let code = wish.exitCode(state) {
                if code == 0 { return }
                throw ExitCode(code)
            }
            if SystemClock.now() >= deadline {
                Files.write(
                    2,
                    all: "sluice: the wait is over, and the rollout goes on; sluice rollout wait "
                        + "\(name) waits again, sluice rollout abort \(name) ends the rollout\n")
                throw ExitCode(7)
            }
            SystemClock.pause(.milliseconds(500))
        }
    }
}

/// The state of one rollout, as `GET /rollouts` tells it.
struct RolloutState {
    var id = ""
    var state = ""
    var stage = ""
    /// Place of the stage in the plan, from 0.
    var stageIndex = -1
    /// Names of the plan's stages.
    var stages: [String] = []
    var reason = ""

    init(_ node: JSONNode) {
        id = node["id"]?.text ?? ""
        state = node["state"]?.text ?? ""
        stage = node["stage"]?.text ?? ""
        stageIndex = node["stageIndex"]?.integer ?? -1
        stages = node["stages"]?.elements?.compactMap { $0["name"]?.text } ?? []
        reason = node["reason"]?.text ?? ""
    }

    /// All but the numbers.
    var place: [String] { [id, state, stage] }

    var line: String {
        [state, stage.isEmpty ? "" : "stage \(stage)", reason].filter { !$0.isEmpty }
            .joined(separator: " · ")
    }
}

/// Options of each command that changes a rollout.
struct RolloutCommandForm: ParsableArguments {
    @Option(
        name: .customLong("by"), help: "Who you are, for the journal.", completion: .list([]))
    var person: String?
    @Flag(help: "Print the process's answer as JSON.") var json = false

    /// The person as a parameter of the request, with `&` in front; empty without one.
    var by: String { person.map { "&by=" + AdminTarget.encoded($0) } ?? "" }
}

/// The states that a caller of `wait` waits for, and the exit code that each state means then.
struct RolloutWish {
    var limit: Duration?
    /// The stage that is to be entered; `nil`: the end.
    var stage: String?
    /// Ends at a rollout that waits for an approval; otherwise goes on waiting.
    var endsAtApproval = false

    /// - Returns: `nil`: wait on.
    func exitCode(_ state: RolloutState) -> Int32? {
        switch state.state {
        case "succeeded": return 0
        case "rolled back", "superseded": return 3
        case "aborted": return 6
        case "held": return 4
        case "awaiting approval" where endsAtApproval: return 5
        default: break
        }
        if let stage, let wanted = state.stages.firstIndex(of: stage), state.stageIndex >= wanted {
            return 0
        }
        return nil
    }
}

struct RolloutStatus: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Say where rollouts stand: stage, share, evidence, reason.",
        discussion: """
            EXAMPLES
              sluice rollout status -c sluice.yaml
              sluice rollout status shop --watch -c sluice.yaml
              sluice rollout status shop --json --admin 127.0.0.1:15000
            """)

    @OptionGroup var target: AdminTarget
    @Flag(help: "Draw again each second, until the rollout has ended.") var watch = false
    @Flag(help: "Print JSON.") var json = false
    @Argument(help: "The plan; all without.", completion: .list([])) var name: String?

    private var path: String {
        let name = name.map { "name=" + AdminTarget.encoded($0) }
        let query = [name, json ? nil : "format=text"].compactMap { $0 }.joined(separator: "&")
        return "/rollouts" + (query.isEmpty ? "" : "?" + query)
    }

    func run() throws {
        guard watch else { return try target.ask("GET", path) }
        while true {
            let reply = try target.send("GET", path)
            // Home, each line over the old one, and nothing of the old one below.
            let body = reply.body.split(separator: "\n", omittingEmptySubsequences: false)
                .joined(separator: "\u{1b}[K\n")
            try say("\u{1b}[H\u{1b}[2J" + body, terminator: "")
            try AdminTarget.end(reply)
            if let name {
                let state = try RolloutClient.status(target, name)
                if ["succeeded", "rolled back", "superseded", "aborted"].contains(state.state) {
                    return
                }
            }
            SystemClock.pause(.seconds(1))
        }
    }
}

struct RolloutStart: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start", abstract: "Start the rollout of a plan.",
        discussion: """
            EXAMPLES
              sluice rollout start shop -c sluice.yaml
              sluice rollout start shop --revision 1.4.2 --set branch=main --wait -c sluice.yaml

            EXIT CODES with --wait
              0 succeeded · 2 the plan or the command is refused · 3 rolled back · 4 held: a
              person decides · 5 waits for an approval (--exit-on-approval) · 6 aborted by a
              person · 7 the wait timed out · 1 anything else
            """)

    @OptionGroup var target: AdminTarget
    @Option(help: "The revision of the canary.", completion: .list([])) var revision: String?
    @Option(
        name: .customLong("set"), help: "NAME=VALUE for the plan's when: and match:.",
        completion: .list([]))
    var values: [String] = []
    @OptionGroup var form: RolloutCommandForm
    @Flag(help: "End the rollout that runs, and begin this one.") var supersede = false
    @Flag(help: "Look and judge, and change no weight.") var dryRun = false
    @Flag(help: "Wait for the end.") var wait = false
    @Option(help: "How long to wait.", completion: .list(["10m", "2h"])) var timeout: String?
    @Flag(help: "With --wait: end with 5 where the rollout waits for an approval.")
    var exitOnApproval = false
    @Argument(help: "The plan.", completion: .list([])) var name: String

    func validate() throws {
        try RolloutStart.check(values)
        _ = try RolloutWait.limit(timeout)
    }

    /// Whether words of `--set` are values.
    static func check(_ values: [String]) throws {
        if let bad = values.first(where: { !$0.contains("=") }) {
            throw ValidationError("\"\(bad)\" is no value, expected NAME=VALUE: --set branch=main")
        }
    }

    func run() throws {
        var query = "name=" + AdminTarget.encoded(name)
        if let revision { query += "&revision=" + AdminTarget.encoded(revision) }
        for value in values { query += "&set=" + AdminTarget.encoded(value) }
        query += form.by
        if supersede { query += "&supersede=1" }
        if dryRun { query += "&dryRun=1" }
        try RolloutClient.command(target, "/rollouts/start?" + query, form)
        guard wait else { return }
        let wish = RolloutWish(
            limit: try RolloutWait.limit(timeout), stage: nil, endsAtApproval: exitOnApproval)
        try RolloutClient.wait(target, name, wish)
    }
}

struct RolloutWait: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait", abstract: "Wait for a rollout's end, or for a stage.",
        discussion: """
            EXAMPLES
              sluice rollout wait shop -c sluice.yaml
              sluice rollout wait shop --for half --timeout 2h -c sluice.yaml

            Exit codes as with sluice rollout start --wait.
            """)

    @OptionGroup var target: AdminTarget
    @Option(
        name: .customLong("for"), help: "A stage's name, or ended.", completion: .list(["ended"]))
    var stage = "ended"
    @Option(help: "How long to wait.", completion: .list(["10m", "2h"])) var timeout: String?
    @Flag(help: "End with 5 where the rollout waits for an approval.") var exitOnApproval = false
    @Argument(help: "The plan.", completion: .list([])) var name: String

    /// The time of `--timeout`; `nil` without one.
    static func limit(_ text: String?) throws -> Duration? {
        guard let text else { return nil }
        guard let limit = Units.duration(text), limit > .zero else {
            throw ValidationError(
                "--timeout is \"\(text)\", expected a duration such as 2h"
                    + Advice.duration(text))
        }
        return limit
    }

    func run() throws {
        let limit = try RolloutWait.limit(timeout)
        if stage != "ended" {
            let state = try RolloutClient.status(target, name)
            guard state.stages.contains(stage) else {
                let meant = DidYouMean.closest(to: stage, among: state.stages)
                throw ValidationError(
                    "\(name) has no stage \"\(stage)\"; "
                        + (meant.map { "did you mean \"\($0)\"?" }
                            ?? "there are: " + state.stages.joined(separator: ", ")))
            }
        }
        try RolloutClient.wait(
            target, name,
            RolloutWish(
                limit: limit, stage: stage == "ended" ? nil : stage,
                endsAtApproval: exitOnApproval))
    }
}

struct RolloutApprove: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "approve", abstract: "Agree to what a rollout waits for, or goes on from.",
        discussion: """
            EXAMPLES
              sluice rollout approve shop -c sluice.yaml
              sluice rollout approve shop gate --by anna -c sluice.yaml
            """)

    @OptionGroup var target: AdminTarget
    @OptionGroup var form: RolloutCommandForm
    @Argument(help: "The plan.", completion: .list([])) var name: String
    @Argument(help: "The stage; the one under way without.", completion: .list([]))
    var stage: String?

    func run() throws {
        // An approval is for one stage of one rollout: whoever answers late approves nothing else.
        let state = try RolloutClient.status(target, name)
        var query = "name=\(AdminTarget.encoded(name))&id=\(AdminTarget.encoded(state.id))"
        query += "&stage=\(AdminTarget.encoded(stage ?? state.stage))"
        query += form.by
        try RolloutClient.command(target, "/rollouts/approve?" + query, form)
    }
}

struct RolloutSkip: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "skip",
        abstract: "Pass a stage over: the rollout goes on with the stage behind it.",
        discussion: """
            EXAMPLES
              sluice rollout skip shop half -c sluice.yaml

            A stage of now is left without the judge's word, a later one is never entered. A stage
            with an approval, and the last stage, are not passed over; sluice rollout finish --force
            gives everybody the canary.
            """)

    @OptionGroup var target: AdminTarget
    @OptionGroup var form: RolloutCommandForm
    @Argument(help: "The plan.", completion: .list([])) var name: String
    @Argument(help: "The stage to pass over.", completion: .list([])) var stage: String

    func run() throws {
        var query = "name=\(AdminTarget.encoded(name))&stage=\(AdminTarget.encoded(stage))"
        query += form.by
        try RolloutClient.command(target, "/rollouts/skip?" + query, form)
    }
}

/// The rollout that a command changes, and how.
struct RolloutSubject: ParsableArguments {
    @OptionGroup var target: AdminTarget
    @OptionGroup var form: RolloutCommandForm
    @Argument(help: "The plan.", completion: .list([])) var name: String
}

/// The commands that need no more than a name.
protocol RolloutVerb: ParsableCommand {
    static var verb: String { get }
    var subject: RolloutSubject { get }
    /// Further parameters of the request, each with `&` in front.
    var parameters: String { get }
}

extension RolloutVerb {
    var parameters: String { "" }

    func run() throws {
        let query = "name=\(AdminTarget.encoded(subject.name))\(subject.form.by)\(parameters)"
        try RolloutClient.command(
            subject.target, "/rollouts/\(Self.verb)?\(query)", subject.form)
    }
}

struct RolloutPause: RolloutVerb {
    static let verb = "pause"
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Stop a rollout where it is; the judge looks on.",
        discussion: "EXAMPLES\n  sluice rollout pause shop -c sluice.yaml")
    @OptionGroup var subject: RolloutSubject
}

struct RolloutResume: RolloutVerb {
    static let verb = "resume"
    static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Go on with a paused rollout, at the beginning of its stage.",
        discussion: "EXAMPLES\n  sluice rollout resume shop -c sluice.yaml")
    @OptionGroup var subject: RolloutSubject
}

struct RolloutLook: RolloutVerb {
    static let verb = "look"
    static let configuration = CommandConfiguration(
        commandName: "look", abstract: "Begin the time of a held stage again.",
        discussion: "EXAMPLES\n  sluice rollout look shop -c sluice.yaml")
    @OptionGroup var subject: RolloutSubject
}

struct RolloutRetry: RolloutVerb {
    static let verb = "retry"
    static let configuration = CommandConfiguration(
        commandName: "retry",
        abstract: "Start a rollout again whose revision was rolled back; with a budget of its own.",
        discussion: """
            EXAMPLES
              sluice rollout retry shop -c sluice.yaml
              sluice rollout retry shop --set branch=main -c sluice.yaml

            The revision and the values of --set are those of the rollout before, but for the
            values that are given anew.
            """)
    @OptionGroup var subject: RolloutSubject
    @Option(
        name: .customLong("set"), help: "NAME=VALUE for the plan's when: and match:.",
        completion: .list([]))
    var values: [String] = []
    var parameters: String { values.map { "&set=" + AdminTarget.encoded($0) }.joined() }

    func validate() throws { try RolloutStart.check(values) }
}

struct RolloutAbort: RolloutVerb {
    static let verb = "abort"
    static let configuration = CommandConfiguration(
        commandName: "abort", abstract: "End a rollout: the canary's share goes to 0 at once.",
        discussion: "EXAMPLES\n  sluice rollout abort shop -c sluice.yaml")
    @OptionGroup var subject: RolloutSubject
    @Flag(help: "Also where the stable version lacks endpoints.") var force = false
    @Flag(help: "Of a rollout whose journal cannot be read.") var discardJournal = false
    var parameters: String {
        (force ? "&force=1" : "") + (discardJournal ? "&discardJournal=1" : "")
    }
}

struct RolloutFinish: RolloutVerb {
    static let verb = "finish"
    static let configuration = CommandConfiguration(
        commandName: "finish",
        abstract: "End a rollout well at once: the canary becomes the stable version.",
        discussion: "EXAMPLES\n  sluice rollout finish shop --force -c sluice.yaml",
        aliases: ["promote"])
    @OptionGroup var subject: RolloutSubject
    @Flag(help: "You mean it: stages, judge and approvals are left out.") var force = false
    var parameters: String { force ? "&force=1" : "" }
}
