import ArgumentParser

/// The pages about one rollout.
protocol RolloutReading: ParsableCommand {
    static var page: String { get }
    var target: AdminTarget { get }
    var json: Bool { get }
    var name: String { get }
}

extension RolloutReading {
    func run() throws {
        try target.ask(
            "GET",
            "/rollouts/\(Self.page)?name=\(AdminTarget.encoded(name))"
                + (json ? "" : "&format=text"))
    }
}

struct RolloutHistory: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history", abstract: "Print what a plan's rollouts did, and who did it.",
        discussion: """
            EXAMPLES
              sluice rollout history shop -c sluice.yaml
              sluice rollout history shop --verify -c sluice.yaml

            The lines come from the journal, with the number of the record of each. --verify says
            whether every record follows from the one before, by its SHA-256, and ends with 2
            where one does not.
            """)
    @OptionGroup var target: AdminTarget
    @Flag(help: "Print JSON.") var json = false
    @Flag(help: "Say whether the journal is as it was written.") var verify = false
    @Argument(help: "The plan.", completion: .list([])) var name: String

    func run() throws {
        let page = verify ? "verify" : "history"
        try target.ask(
            "GET",
            "/rollouts/\(page)?name=\(AdminTarget.encoded(name))"
                + (json ? "" : "&format=text"))
    }
}

struct RolloutExplain: RolloutReading {
    static let page = "explain"
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Print the judge's last verdict with its numbers.",
        discussion: "EXAMPLES\n  sluice rollout explain shop -c sluice.yaml")
    @OptionGroup var target: AdminTarget
    @Flag(help: "Print JSON.") var json = false
    @Argument(help: "The plan.", completion: .list([])) var name: String
}

struct RolloutForecast: RolloutReading {
    static let page = "plan"
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Say how long each stage would take at the traffic of now.",
        discussion: "EXAMPLES\n  sluice rollout plan shop -c sluice.yaml")
    @OptionGroup var target: AdminTarget
    @Flag(help: "Print JSON.") var json = false
    @Argument(help: "The plan.", completion: .list([])) var name: String
}
