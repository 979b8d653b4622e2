import ArgumentParser
import Base
import Configuration
import JSON
import Platform
import Server

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
        commandName: "start",
        abstract: "Start a plan's rollout: the running process gives the canary its first share.",
        discussion: """
            EXAMPLES
              sluice rollout start shop -c sluice.yaml
              sluice rollout start shop --revision 1.4.2 --set branch=main --wait -c sluice.yaml

            The process checks everything first, and says what stands against the start. Over a
            TCP admin address it wants a token: that of admin.token, or one of admin.tokens with
            may: [all]. Everything but start, retry, skip and finish is allowed with less: pause
            and resume with pause, approve and look with approve, abort with abort.

            EXIT CODES with --wait
              0 succeeded · 2 the plan or the command is refused · 3 rolled back, or superseded by
              another rollout · 4 held: a person decides · 5 waits for an approval
              (--exit-on-approval) · 6 aborted by a person · 7 the wait timed out · 1 anything else
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
    @Option(help: "With --wait: how long, such as 2h.", completion: .list(["10m", "2h"]))
    var timeout: String?
    @Flag(help: "With --wait: end with 5 where the rollout waits for an approval.")
    var exitOnApproval = false
    @Argument(help: "The plan's name.", completion: .list([])) var name: String

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
        let id = try RolloutClient.command(target, "/rollouts/start?" + query, form)
        guard wait else { return }
        let wish = RolloutWish(
            limit: try RolloutWait.limit(timeout), stage: nil, endsAtApproval: exitOnApproval)
        try RolloutClient.wait(target, name, wish, id: id)
    }
}

struct RolloutWait: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait", abstract: "Wait for a rollout's end, or for a stage.",
        discussion: """
            EXAMPLES
              sluice rollout wait shop -c sluice.yaml
              sluice rollout wait shop --for half --timeout 2h -c sluice.yaml

            The wait is for the rollout that there is when it begins, and ends with that one,
            though another has begun. A stage that was entered already ends the wait with 0, and so
            does one that was passed over, with a line on the standard error. A process that is
            started anew meanwhile is waited for, up to 30 s. Exit codes as with sluice rollout
            start --wait.
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
        guard let limit = Units.duration(text) else {
            throw ValidationError(
                "--timeout is \"\(text)\", expected a duration such as 2h"
                    + Advice.duration(text))
        }
        guard limit > .zero else {
            throw ValidationError(
                "--timeout is \"\(text)\", expected more than no time, such as 2h; sluice rollout "
                    + "status says how it is now")
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
