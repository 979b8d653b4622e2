import ArgumentParser
import Platform
import Server

/// The command line: one subcommand a file.
@main
struct Sluice: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sluice",
        abstract: "A traffic-splitting sidecar proxy: exact shares, users that never flip back.",
        discussion: """
            EXAMPLES
              sluice validate -c sluice.yaml        check a file; exit code 2 when it is bad
              sluice run -c sluice.yaml --watch     serve it, and reload it when it changes
              sluice explain -c sluice.yaml GET http://reviews/cart -H 'cookie: session=abc'
              sluice diff old.yaml new.yaml         which routes change, which users move
              sluice weights set shop v1=80% v2=20% -c sluice.yaml   shift a running process's users
              sluice reload -c sluice.yaml          make the running process read its file
              sluice evidence -c sluice.yaml        what each version did, side by side

            EXIT CODES  0 done · 1 failed · 2 bad configuration · 64 wrong usage
            """,
        version: SluiceVersion.text,
        subcommands: [
            RunCommand.self, ValidateCommand.self, ExplainCommand.self, DiffCommand.self,
            WeightsCommand.self, SchemaCommand.self, DemoCommand.self, ReloadCommand.self,
            DrainCommand.self, EvidenceCommand.self, GuardCommand.self, RolloutCommand.self,
            VersionCommand.self,
        ])

    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        // Whoever starts the process may send it a signal at once.
        if arguments.first == "run" { Signals.holdBack() }
        let commands = configuration.subcommands.compactMap {
            $0.configuration.commandName
        }
        if let hint = UsageHints.unknownCommand(arguments, commands: commands) {
            Files.write(2, all: "sluice: \(hint)\nSee 'sluice --help'.\n")
            exit(withError: ExitCode.validationFailure)
        }
        var parsed: (any ParsableCommand)?
        do {
            var command = try parseAsRoot(arguments)
            parsed = command
            try command.run()
        } catch {
            if exitCode(for: error) == .validationFailure,
                let hint = UsageHints.missingOption(arguments)
                    ?? UsageHints.otherOption(arguments)
            {
                Files.write(2, all: "sluice: \(hint)\n")
            }
            if let wrong = error as? ValidationError, let parsed {
                // Thrown by the command itself, whose usage is wanted and not that of the root.
                let command = type(of: parsed)
                let usage = usageString(for: command)
                // The command's whole name, such as "sluice rollout wait", stands in front.
                let name = usage.split(separator: " ").prefix(while: isCommandName)
                    .joined(separator: " ")
                Files.write(
                    2,
                    all: "Error: \(wrong.message)\nUsage: \(usage)\n"
                        + "  See '\(name) --help' for more information.\n")
                exit(withError: ExitCode.validationFailure)
            }
            exit(withError: error)
        }
    }

    private static func isCommandName(_ word: Substring) -> Bool {
        word.first != "-" && word.allSatisfy { $0.isLetter || $0 == "-" }
    }
}

struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Print the version.",
        discussion: "EXAMPLES\n  sluice version\n  sluice version --json")

    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        try say(json ? "{\"version\": \"\(SluiceVersion.text)\"}" : "sluice \(SluiceVersion.text)")
    }
}
