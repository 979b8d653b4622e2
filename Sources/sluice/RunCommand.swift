import ArgumentParser
import Platform
import Server

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Serve a configuration until SIGTERM or SIGINT.",
        discussion: """
            EXAMPLES
              sluice run -c sluice.yaml
              sluice run -c /etc/sluice/sluice.yaml --watch --workers 2
              sluice run -c sluice.yaml --allow-commands /etc/sluice/commands

            SIGNALS  SIGHUP reload · SIGTERM, SIGINT drain and exit 0 · SIGUSR1 reopen access log
            """)

    @OptionGroup var source: ConfigurationSource
    @Flag(help: "Reload when the file changes.") var watch = false
    @Option(
        help: "Worker threads, 1 to 64; the file's setting otherwise.",
        completion: .list(["1", "2", "4", "8"]))
    var workers: Int?
    @Option(
        help: """
            Seed of the draws, of new sessions' positions and of all else that begins at random, \
            for tests and replays; random otherwise.
            """,
        completion: .list([]))
    var seed: UInt64?

    @Option(
        help: ArgumentHelp(
            "Let rollouts run the programs of this directory; none otherwise.",
            discussion: "Directory and programs belong to root or to Sluice's own user, and nobody "
                + "else may write them.",
            valueName: "dir"),
        completion: .directory)
    var allowCommands: String?

    func validate() throws {
        if let workers, !(1...64).contains(workers) {
            throw ValidationError("--workers is \(workers), expected 1 to 64")
        }
    }

    func run() throws {
        var options = ServerOptions(configPath: source.config)
        options.watches = watch
        options.workers = workers ?? 0
        options.seed = seed
        if let allowCommands {
            do throws(ProgramProblem) {
                options.programs = try ProgramDirectory(allowCommands)
            } catch {
                throw ValidationError("--allow-commands: \(error.message)")
            }
        }
        throw ExitCode(Startup.run(options))
    }
}
