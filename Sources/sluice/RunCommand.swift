import ArgumentParser
import Server

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Serve a configuration until SIGTERM or SIGINT.",
        discussion: """
            EXAMPLES
              sluice run -c sluice.yaml
              sluice run -c /etc/sluice/sluice.yaml --watch --workers 2

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
        throw ExitCode(Startup.run(options))
    }
}
