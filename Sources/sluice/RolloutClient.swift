import ArgumentParser
import Base
import Configuration
import JSON
import Platform
import Server

/// The ground of the commands of `sluice rollout`: they ask a running process.
enum RolloutClient {
    /// Sends a command, and says what became of it.
    ///
    /// - Returns: the name of the rollout that a start has begun, such as `shop-3`.
    @discardableResult
    static func command(
        _ target: AdminTarget, _ path: String, _ form: RolloutCommandForm
    ) throws -> String? {
        let reply = try target.send("POST", path)
        let answer = try? JSONReader.read(Array(reply.body.utf8))
        let page = form.json ? nil : answer
        if let text = page?["text"]?.text {
            let id = page?["id"]?.text.map { "started \($0): " } ?? ""
            try say(id + text)
        } else if let text = page?["error"]?.text {
            Files.write(2, all: "sluice: \(text)\n")
        } else {
            try say(reply.body, terminator: "")
        }
        try AdminTarget.end(reply)
        return answer?["id"]?.text
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

    /// How long a process that answered before may be away, as during a restart.
    private static let awayMax = Duration.seconds(30)

    /// Waits until a rollout has ended, needs a person, or is past a stage. A process that is
    /// started anew meanwhile is waited for.
    ///
    /// - Parameter id: the rollout; `nil`: the first that there is.
    static func wait(
        _ target: AdminTarget, _ name: String, _ wish: RolloutWish, id: String? = nil
    ) throws {
        var id = id
        let deadline = wish.limit.map { SystemClock.now() + $0 } ?? .never
        var told: RolloutState?
        var toldAt = SystemClock.now()
        var awaySince: Instant?
        while true {
            do {
                var state = try status(target, name)
                awaySince = nil
                if id == nil, !state.id.isEmpty { id = state.id }
                if let id, state.id != id {
                    // Another one has begun, so this one is over.
                    let next = state.id
                    state = try ended(target, name, id)
                    Files.write(2, all: "sluice: \(id) is over, and \(next) has begun\n")
                }
                // The numbers change each second: a log wants the steps, and a sign of life.
                let isStep = state.place != told?.place || wish.exitCode(state) != nil
                if isStep || SystemClock.now() >= toldAt + .seconds(30) {
                    try say(state.line)
                    told = state
                    toldAt = SystemClock.now()
                }
                if let code = wish.exitCode(state) {
                    if let stage = wish.stage, code == 0, state.passedOver.contains(stage) {
                        Files.write(
                            2,
                            all: "sluice: the rollout is behind stage \(stage), which was passed "
                                + "over: never entered, or left without the judge's word\n")
                    }
                    if code == 0 { return }
                    throw ExitCode(code)
                }
            } catch let failure as AdminClient.Failure {
                let now = SystemClock.now()
                if awaySince == nil, told != nil {
                    awaySince = now
                    Files.write(
                        2,
                        all: "sluice: \(failure); it answered before, and is waited for for "
                            + "\(Units.text(awayMax))\n")
                }
                guard let awaySince, now < awaySince + awayMax else { throw failure }
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

extension RolloutClient {
    /// The end of a rollout that others have followed, as the journal tells it.
    private static func ended(
        _ target: AdminTarget, _ name: String, _ id: String
    ) throws -> RolloutState {
        let reply = try target.send(
            "GET", "/rollouts/history?name=\(AdminTarget.encoded(name))")
        let page = try? JSONReader.read(Array(reply.body.utf8))
        guard let number = id.split(separator: "-").last.flatMap({ Int($0) }),
            let end = page?["rollouts"]?.elements?.last(where: { $0["number"]?.integer == number })
        else {
            Files.write(
                2,
                all: "sluice: \(id) is over, and the journal does not say how; sluice rollout "
                    + "history \(name) has what there is\n")
            throw ExitCode(1)
        }
        return RolloutState(id: id, end: end)
    }
}

/// The state of one rollout, as `GET /rollouts` tells it.
struct RolloutState {
    var id = ""
    var state = ""
    var stage = ""
    /// Place of the stage in the plan, from 0.
    var stageIndex = -1
    /// The weights of the stage came into force.
    var isEntered = false
    /// Names of the plan's stages.
    var stages: [String] = []
    /// Those that were never entered, or left without the judge's word, because a person or `when`
    /// passed them over.
    var passedOver: [String] = []
    var reason = ""

    init(_ node: JSONNode) {
        id = node["id"]?.text ?? ""
        state = node["state"]?.text ?? ""
        stage = node["stage"]?.text ?? ""
        stageIndex = node["stageIndex"]?.integer ?? -1
        if case .bool(true)? = node["stageEntered"]?.content { isEntered = true }
        let entries = node["stages"]?.elements ?? []
        stages = entries.compactMap { $0["name"]?.text }
        passedOver = entries.filter { $0["progress"]?.text == "passedOver" }
            .compactMap { $0["name"]?.text }
        reason = node["reason"]?.text ?? ""
    }

    /// A rollout that is over, as `GET /rollouts/history` tells it.
    init(id: String, end: JSONNode) {
        self.id = id
        state = end["end"]?.text ?? ""
        reason = end["reason"]?.text ?? ""
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
        let isBack = ["rolling back", "rollback blocked"].contains(state.state)
        if let stage, !isBack, let wanted = state.stages.firstIndex(of: stage),
            state.stageIndex > wanted || state.stageIndex == wanted && state.isEntered
        {
            return 0
        }
        switch state.state {
        case "succeeded": return 0
        case "rolled back", "superseded": return 3
        case "aborted": return 6
        case "held": return 4
        case "awaiting approval" where endsAtApproval: return 5
        default: return nil
        }
    }
}
