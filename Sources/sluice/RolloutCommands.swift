import ArgumentParser
import Configuration
import Files
import Platform

/// The commands of rollouts; each subcommand that needs more than a few lines has its own file.
struct RolloutCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollout",
        abstract: "Give a new version its share step by step, judged, and take it back.",
        discussion: """
            EXAMPLES
              sluice rollout init shop -c sluice.yaml     print the shortest plan of a service
              sluice rollout plan shop -c sluice.yaml     how long each stage would take now
              sluice rollout start shop --wait -c sluice.yaml
              sluice rollout status shop --watch -c sluice.yaml
              sluice rollout approve shop -c sluice.yaml
              sluice rollout abort shop -c sluice.yaml    everybody is back at once
            """,
        subcommands: [
            RolloutInit.self, RolloutStatus.self, RolloutStart.self, RolloutApprove.self,
            RolloutPause.self, RolloutResume.self, RolloutAbort.self, RolloutRetry.self,
            RolloutSkip.self, RolloutLook.self, RolloutFinish.self, RolloutWait.self,
            RolloutHistory.self, RolloutExplain.self, RolloutForecast.self, RolloutReplay.self,
        ])
}

struct RolloutInit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Print the shortest plan of a service, with comments.",
        discussion: """
            EXAMPLES
              sluice rollout init shop -c sluice.yaml
              sluice rollout init shop --canary v3 -c sluice.yaml

            Prints lines to be put into the file, which itself stays as it is. The canary is
            the last version without weight, unless --canary names another.
            """)

    @OptionGroup var source: ConfigurationSource
    @Option(help: "The version that is to grow.", completion: .list([])) var canary: String?
    @Argument(help: "The service.", completion: .list([])) var service: String

    func run() throws {
        switch ConfigurationFile.read(source.config) {
        case .failure(let rejection):
            try say(rejection: rejection.text, rejection.json, isJSON: false)
            throw ExitCode(2)
        case .success(let reading):
            guard let document = reading.document else { throw ExitCode(2) }
            switch PlanSketch.text(document, service: service, canary: canary) {
            case .success(let text): try say(text, terminator: "")
            case .failure(let failure):
                Files.write(2, all: "sluice: \(failure.text)\n")
                throw ExitCode(2)
            }
        }
    }
}
